"""Someone's own cases: from a table to a data folder, and what is refused on the way."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.cohort import write_image
from helpers.synthetic_dicom import write_series

from CLIPLungLib.cli import main
from CLIPLungLib.dataset import own_cases
from CLIPLungLib.dataset.case_table import read_cases
from CLIPLungLib.dataset.data_folder import PATCHES_NAME
from CLIPLungLib.dataset.data_name import PREPARED_NAME, data_name
from CLIPLungLib.dataset.nodule_table import OUTCOME, READERS, read_nodules
from CLIPLungLib.dataset.own_cases import SKIPPED_NAME, crop_file, prepare_cases
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.read import read_ct

# Of the ball of `ball_ct`.
POINT = "10,-20,30"


def table(folder: Path, header: str, *lines: str) -> Path:
    """A table of cases; every line is what follows the point."""
    file = folder / "cases.csv"
    rows = [f"n{index},ct.nrrd,{POINT}{',' * bool(header)}{line}" for index, line in enumerate(lines)]
    file.write_text("\n".join([f"id,image,r,a,s{',' * bool(header)}{header}", *rows]) + "\n", encoding="utf-8")
    return file


def labels(folder: Path, *cells: str) -> list[tuple[float, str, int]]:
    """Malignancy, truth and readers of cells of the column malignancy."""
    return [
        (case.malignancy, case.truth, case.n_readers) for case in read_cases(table(folder, "malignancy", *cells)).cases
    ]


def test_zeros_and_ones_are_outcomes(tmp_path):
    nothing = pytest.approx(float("nan"), nan_ok=True)
    assert labels(tmp_path, "0", "1", "", "1.0") == [
        (1, OUTCOME, 0),
        (5, OUTCOME, 0),
        (nothing, READERS, 0),
        (5, OUTCOME, 0),
    ]
    assert labels(tmp_path, "0") == [(1, OUTCOME, 0)]


def test_one_to_five_are_ratings_of_one_reader_or_several(tmp_path):
    found = labels(tmp_path, "3", "3.5", '"3,5"', "3 4 5", "1")
    assert found == [(3, READERS, 1), (3.5, READERS, 1), (3.5, READERS, 1), (4, READERS, 3), (1, READERS, 1)]
    assert labels(tmp_path, "1 1 1") == [(1, READERS, 3)]
    assert labels(tmp_path, "1 2", "1") == [(1.5, READERS, 2), (1, READERS, 1)]
    assert [mean for mean, *_ in labels(tmp_path, '"3,4"', '"3,67"')] == [3.4, 3.67]
    assert [mean for mean, *_ in labels(tmp_path, '"2,5"', '"4,5"')] == [2.5, 4.5]


@pytest.mark.parametrize("missing", ["NA", "N/A", "#N/A", "null", "."])
def test_missing_labels_of_statistics_programs_are_unknown(tmp_path, missing):
    first, second = read_cases(
        table(tmp_path, "malignancy,margin,diameter_mm", f"4,{missing},{missing}", f"{missing},2,8")
    ).cases
    assert (first.malignancy, first.ratings["margin"]) == (4, ())
    assert np.isnan([first.diameter_mm, second.malignancy]).all()
    with pytest.raises(InputError, match="patient_id must be given in every row"):
        read_cases(table(tmp_path, "malignancy,patient_id", f"4,{missing}"))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("0", "1", "3"), r"mixes outcomes \(0\) with ratings \(3\)\. Give ratings from 1 to 5"),
        (("0", "0.5"), r"mixes outcomes"),
        (("0", "1 1"), r"mixes outcomes \(0\) with ratings \(several values in a cell\)"),
        (("1", "1", ""), r"is ambiguous: every malignancy is 1"),
        (("1", "2", ""), r"is ambiguous: every malignancy is 1 or 2, low ratings or codes of two outcomes"),
        (('"3,4"', "2"), r"is ambiguous: the malignancy '3,4' is two ratings or one number. Write '3 4' or '3.4'"),
        (('"3,5"', '"1,2"'), r"is ambiguous: the malignancy '1,2'"),
        (("TRUE", "FALSE"), r"line 2: malignancy must be numbers, not 'TRUE'\. .*outcomes: 0 benign, 1 malignant"),
        (("1", "6"), "holds 6, which is neither rating nor outcome"),
        (("1", "-2"), "holds -2, which is neither"),
        (("3", "malignant"), r"line 3: malignancy must be numbers, not 'malignant'"),
        (("3", "nan"), r"line 3: malignancy must be numbers"),
        (("3", "inf"), r"line 3: malignancy must be numbers"),
        (("", ""), "holds no label. Add a column 'malignancy', or one of the signs: subtlety, "),
    ],
)
def test_malignancy_that_is_neither_is_refused_with_reason_and_remedy(tmp_path, cells, message):
    with pytest.raises(InputError, match=message):
        labels(tmp_path, *cells)


def test_signs_have_several_names_and_readers(tmp_path):
    file = table(tmp_path, "Internal Structure,MARGIN,Spiculation,note", "1 2,5.0,,a", ",,3,b")
    first, second = read_cases(file).cases
    assert (first.ratings["internalStructure"], first.ratings["margin"], first.ratings["spiculation"]) == (
        (1, 2),
        (5,),
        (),
    )
    assert second.ratings["spiculation"] == (3,)
    assert (first.n_readers, second.n_readers) == (2, 1)
    assert np.isnan(first.malignancy)


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("margin", "6", r"line 2: margin must be codes from 1 to 5 \(1 with a poorly defined margin, 2 .*, not '6'"),
        ("margin", "0", "codes from 1 to 5"),
        ("internal structure", "5", r"internal structure must be codes from 1 to 4 \(1 made of soft tissue"),
        ("calcification", "7", "codes from 1 to 6 .* 6 without calcification"),
        ("margin", "3.5", "codes from 1 to 5"),
        ("margin", "sharp", "margin must be numbers"),
        ("malignancy,diameter_mm", "3,0", "diameter_mm must be one number above 0"),
        ("malignancy,diameter_mm", "3,8 mm", "diameter_mm must be numbers"),
        ("malignancy,volume_mm3", "3,-5", "volume_mm3 must be one number above 0"),
        ("malignancy,fold", "3,", "fold must be one whole number from 0 to 999 in every row"),
        ("malignancy,fold", "3,1.5", "fold must be one whole number"),
        ("malignancy,fold", "3,-1", "fold must be one whole number"),
        ("malignancy,fold", "3,1000", "fold must be one whole number"),
        ("malignancy,patient_id", "3,", "patient_id must be given in every row or in none"),
        ("internalStructure,internal structure", "1,1", "two columns of one sign"),
        ("malignancy,malignancy", "1,2", "more than one column 'malignancy'"),
    ],
)
def test_label_that_is_none_is_refused_with_its_line(tmp_path, header, line, message):
    with pytest.raises(InputError, match=message) as refused:
        read_cases(table(tmp_path, header, line))
    assert str(refused.value).startswith("Table ")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("n0,a.nrrd,1,2,3,2,p,0", "n1,b.nrrd,1,2,3,4,p,1"), "the patient 'p' has two values of fold"),
        (("n0,a.nrrd,1,2,3,2,p,0", "n1,./a.nrrd,1,2,3,4,q,0"), "the image 'a.nrrd' has two values of patient_id"),
    ],
)
def test_torn_patients_are_refused(tmp_path, rows, message):
    file = tmp_path / "cases.csv"
    file.write_text("\n".join(["id,image,r,a,s,malignancy,patient_id,fold", *rows]), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_cases(file)


def test_without_patients_every_image_is_one_however_it_is_written(tmp_path):
    file = tmp_path / "cases.csv"
    lines = ["a.nrrd", "./a.nrrd", "sub/../a.nrrd", str(tmp_path / "a.nrrd"), "b.nrrd"]
    rows = [f"n{index},{image},1,2,3,{index + 1}" for index, image in enumerate(lines)]
    file.write_text("\n".join(["id,image,r,a,s,malignancy", *rows]), encoding="utf-8")
    found = read_cases(file)
    assert not found.names_patients
    assert [case.patient_id for case in found.cases] == ["a.nrrd"] * 4 + ["b.nrrd"]


def test_semicolons_points_in_lps_and_names_of_luna16_are_read(tmp_path):
    (tmp_path / "subset0").mkdir()
    (tmp_path / "subset0" / "1.2.mhd").touch()
    file = tmp_path / "cases.csv"
    file.write_text("seriesuid;coordX;coordY;coordZ;diameter_mm;malignancy\n1.2;-1,5;2;3;8,5;0\n", encoding="utf-8")
    (case,) = read_cases(file).cases
    assert case.row.point_mm == (1.5, -2.0, 3.0)
    assert case.row.image == tmp_path / "subset0" / "1.2.mhd"
    assert (case.diameter_mm, case.row.row_id) == (8.5, "1.2_1")


@pytest.fixture
def scans(tmp_path, ball_ct) -> Path:
    """Three CTs, an MR, and a table with good and bad rows."""
    for index in range(3):
        write_image(ball_ct, tmp_path / f"ct{index}.nrrd")
    rng = np.random.default_rng(0)
    mr = CTVolume(rng.integers(100, 900, ball_ct.hu.shape).astype(np.int16), ball_ct.ijk_to_ras, "mr")
    write_image(mr, tmp_path / "mr.nrrd")
    rows = [
        f"a0,ct0.nrrd,{POINT},0,",
        "a1,ct0.nrrd,12,-18,31,1,",
        f"b0,ct1.nrrd,{POINT},1,9",
        f"c0,ct2.nrrd,{POINT},,",
        f"d0,absent.nrrd,{POINT},1,",
        "e0,ct1.nrrd,500,0,0,1,",
        "f0,ct1.nrrd,x,0,0,1,",
        f"g0,mr.nrrd,{POINT},0,",
    ]
    (tmp_path / "cases.csv").write_text("\n".join(["id,image,r,a,s,malignancy,diameter_mm", *rows]), encoding="utf-8")
    return tmp_path


def test_usable_rows_become_a_data_folder_and_all_others_are_named(scans, capsys):
    output = scans / "DATA"
    assert main(["prepare", str(scans / "cases.csv"), "--output", str(output)]) == 0
    told = capsys.readouterr()
    assert "no column patient_id: every image counts as a patient of its own (2)" in told.err
    assert "2 patients were assigned to 2 folds at random" in told.err
    assert "5 row(s) skipped" in told.err
    assert "written" in told.out
    with (output / SKIPPED_NAME).open(newline="", encoding="utf-8") as stream:
        reasons = {row["id"]: row["reason"] for row in csv.DictReader(stream)}
    assert reasons.keys() == {"c0", "d0", "e0", "f0", "g0"}
    for name, words in (
        ("c0", "neither a malignancy"),
        ("d0", "no file"),
        ("e0", "outside"),
        ("f0", "must be numbers"),
    ):
        assert words in reasons[name]
    assert "chest CT" in reasons["g0"] or "Hounsfield" in reasons["g0"]
    nodules = read_nodules(output)
    assert [(n.nodule_id, n.patient_id, n.malignancy, n.truth) for n in nodules] == [
        ("a0", "ct0.nrrd", 1.0, OUTCOME),
        ("a1", "ct0.nrrd", 5.0, OUTCOME),
        ("b0", "ct1.nrrd", 5.0, OUTCOME),
    ]
    assert nodules[0].fold == nodules[1].fold != nodules[2].fold
    assert nodules[2].diameter_mm == 9
    assert data_name(output, nodules) == "cases"
    patches = TrainingPatches.load(output / PATCHES_NAME)
    assert set(patches.nodule.tolist()) == {0, 1, 2}
    of_unknown_size = patches.nodule < 2
    assert not patches.is_outlined[of_unknown_size].any()
    planes = np.concatenate([np.arange(200)[patches.planes(int(place))] for place in np.flatnonzero(of_unknown_size)])
    assert patches.outline[planes].max() == 0


def test_crop_shows_the_nodule_at_its_origin(scans, ball_ct):
    prepare_cases(scans / "cases.csv", scans / "DATA")
    crop = read_ct(crop_file(scans / "DATA", "a1"))
    k, j, i = np.rint(crop.to_ijk(np.array([-2.0, -2.0, -1.0]))).astype(int)[::-1]
    assert crop.hu[k, j, i] == 40
    np.testing.assert_allclose(crop.spacing_mm, ball_ct.spacing_mm)


def test_second_run_keeps_crops_of_unchanged_rows_and_cuts_the_others_anew(scans, monkeypatch):
    table_file, output, read = scans / "cases.csv", scans / "DATA", []
    prepare_cases(table_file, output)
    before = {file.name: file.stat().st_mtime_ns for file in (output / "crops").iterdir()}
    monkeypatch.setattr(own_cases, "read_ct", lambda path: read.append(path.name) or read_ct(path))
    again = prepare_cases(table_file, output)
    assert [nodule.nodule_id for nodule in again.nodules] == ["a0", "a1", "b0"]
    # Only those that could not be used are tried again.
    assert sorted(read) == ["absent.nrrd", "ct1.nrrd", "mr.nrrd"]
    assert {file.name: file.stat().st_mtime_ns for file in (output / "crops").iterdir()} == before
    text = table_file.read_text(encoding="utf-8")
    table_file.write_text(text.replace("12,-18,31", "11,-19,30"), encoding="utf-8")
    prepare_cases(table_file, output)
    after = {file.name: file.stat().st_mtime_ns for file in (output / "crops").iterdir()}
    assert [name for name in after if after[name] != before[name]] == ["a1.nrrd"]


def test_run_that_was_stopped_goes_on_and_never_trusts_a_crop_of_another_point(scans, monkeypatch):
    table_file, output = scans / "cases.csv", scans / "DATA"
    prepare_cases(table_file, output)
    first = crop_file(output, "a1").read_bytes()
    text = table_file.read_text(encoding="utf-8")
    table_file.write_text(text.replace("12,-18,31", "11,-19,30"), encoding="utf-8")

    class StoppedError(Exception):
        pass

    def stop(*_):
        raise StoppedError

    # The new crop is written; the table is not.
    monkeypatch.setattr(own_cases, "_write_skipped", stop)
    with pytest.raises(StoppedError):
        prepare_cases(table_file, output)
    monkeypatch.undo()
    assert crop_file(output, "a1").read_bytes() != first
    table_file.write_text(text, encoding="utf-8")
    prepare_cases(table_file, output)
    assert crop_file(output, "a1").read_bytes() == first


def test_image_with_several_cases_is_read_once(scans, monkeypatch):
    read = []
    monkeypatch.setattr(own_cases, "read_ct", lambda path: read.append(path.name) or read_ct(path))
    steps = []
    prepare_cases(scans / "cases.csv", scans / "DATA", lambda *step: steps.append(step))
    assert sorted(read) == ["absent.nrrd", "ct0.nrrd", "ct1.nrrd", "mr.nrrd"]
    assert steps[-1][:2] == (8, 8)
    assert [done for done, *_ in steps] == list(range(2, 9))


def test_table_without_any_usable_row_is_refused_and_says_why(tmp_path):
    with pytest.raises(InputError, match=r"none of its 1 rows can be used; 'n0': There is no file .*skipped\.csv"):
        prepare_cases(table(tmp_path, "malignancy", "3"), tmp_path / "DATA")
    assert (tmp_path / "DATA" / SKIPPED_NAME).is_file()
    assert not (tmp_path / "DATA" / "nodules.csv").exists()


def test_other_data_are_never_overwritten(folder, scans):
    output = scans / "LIDC"
    output.mkdir()
    (output / "nodules.csv").write_bytes((folder / "nodules.csv").read_bytes())
    with pytest.raises(InputError, match="holds a data folder of another origin"):
        prepare_cases(scans / "cases.csv", output)
    (output / PREPARED_NAME).write_text('{"name": "LIDC-IDRI"}', encoding="utf-8")
    with pytest.raises(InputError, match="another origin"):
        prepare_cases(scans / "cases.csv", output)
    assert (output / "nodules.csv").read_bytes() == (folder / "nodules.csv").read_bytes()


@pytest.mark.parametrize("content", ["", "[", "[]", '{"crops": []}', '{"crops": {"a0": 3}}', "\x00"])
def test_damaged_record_is_written_anew(scans, content):
    (scans / "DATA").mkdir()
    (scans / "DATA" / PREPARED_NAME).write_text(content, encoding="utf-8")
    prepare_cases(scans / "cases.csv", scans / "DATA")
    record = json.loads((scans / "DATA" / PREPARED_NAME).read_text(encoding="utf-8"))
    assert sorted(record["crops"]) == ["a0", "a1", "b0"]


def test_folds_of_the_table_are_kept(scans):
    file = scans / "cases.csv"
    rows = [f"{name},ct{index}.nrrd,{POINT},{index + 2},{index + 3}" for index, name in enumerate("abc")]
    file.write_text("\n".join(["id,image,r,a,s,malignancy,fold", *rows]), encoding="utf-8")
    done = prepare_cases(file, scans / "DATA")
    assert [nodule.fold for nodule in done.nodules] == [3, 4, 5]
    assert not any("no column fold" in note for note in done.notes)


def test_assigned_folds_are_even_for_both_kinds_and_the_same_in_every_run(tmp_path):
    rows = [f"n{index},ct{index // 2}.nrrd,{POINT},{int(index // 2 % 4 == 0)}" for index in range(40)]
    file = tmp_path / "cases.csv"
    file.write_text("\n".join(["id,image,r,a,s,malignancy", *rows]), encoding="utf-8")
    cases = read_cases(file).cases
    folds = own_cases._folds(cases)
    assert folds == own_cases._folds(cases)
    malignant = {case.patient_id for case in cases if case.malignancy > 3}
    assert np.bincount(list(folds.values())).tolist() == [4] * 5
    assert np.bincount([folds[patient] for patient in malignant]).tolist() == [1] * 5


def test_unused_columns_and_what_the_reader_says_are_told_and_kept(tmp_path):
    hu = np.full((30, 60, 60), -850, np.int16)
    hu[12:18, 27:33, 27:33] = 40
    for uid, count in (("1.2.3.1", 30), ("1.2.3.2", 28)):
        write_series(tmp_path / "study" / uid, hu[:count], series_uid=uid)
    file = tmp_path / "cases.csv"
    # The middle of the block, LPS (0, 10, -12.5).
    file.write_text("id,image,r,a,s,malignancy,texturre,patient\nn1,study,0,-10,-12.5,4,5,A\n", encoding="utf-8")
    for _ in range(2):  # The second run keeps the crop and has the note from the record.
        notes = " ".join(prepare_cases(file, tmp_path / "data").notes)
        assert "columns that are not used: texturre, patient." in notes
        assert "n1: Series 1.2.3.1" in notes
        assert "was chosen, the CT series with most slices" in notes


def test_a_case_of_another_series_than_its_image_is_skipped(tmp_path, ball_ct):
    hu = np.full((30, 60, 60), -850, np.int16)
    write_series(tmp_path / "study", hu, series_uid="1.2.3.1")
    file = tmp_path / "cases.csv"
    file.write_text("id,image,seriesuid,r,a,s,malignancy\nn1,study,1.2.3.9,0,-10,-12.5,4\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"gave the series 1\.2\.3\.1, and the column seriesuid names 1\.2\.3\.9"):
        prepare_cases(file, tmp_path / "data")


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ("0.8,", r"diameter_mm must be at least 1 \(mm, not cm\), not '0\.8'"),
        (",0.3", r"volume_mm3 must be at least 1 \(mm3, not ml\), not '0\.3'"),
        ("8,2.6", r"volume_mm3 must be that of a nodule of 8 mm \(as a ball it measures 1\.7 mm\)"),
        ("4,268", r"volume_mm3 must be that of a nodule of 4 mm \(as a ball it measures 8\.0 mm\)"),
    ],
)
def test_sizes_of_other_units_or_nodules_are_refused(tmp_path, sizes, reason):
    read_cases(table(tmp_path, "malignancy,diameter_mm,volume_mm3", "4,8,268", "4,1,", "4,,1", "4,20,300"))
    with pytest.raises(InputError, match=f"line 2: {reason}"):
        read_cases(table(tmp_path, "malignancy,diameter_mm,volume_mm3", f"4,{sizes}"))


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("P01", "p01", "one patient in two ways: 'P01' and 'p01'"), ("P 01", "P_01", "in two ways"), ("007", "7", "in two ways"),
        ("7.0", "7", "in two ways"), ("P001", "P1", "in two ways"), ("1.23457E+15", "8", "'1.23457E.15' is a number that a spreadsheet"),
        ("1-11", "11-1", ""), ("P10", "P1", ""), ("a01b", "a1b", ""), ("LIDC-IDRI-0001", "LIDC-IDRI-0010", ""), ("1.2.3", "1.2.30", ""),
    ],
)  # fmt: skip
def test_a_patient_goes_by_one_name(tmp_path, first, second, reason):
    file = tmp_path / "cases.csv"
    file.write_text(
        f"id,image,r,a,s,malignancy,patient_id\na,a.nrrd,1,2,3,2,{first}\nb,b.nrrd,1,2,3,4,{second}\n", encoding="utf-8"
    )
    if reason:
        with pytest.raises(InputError, match=reason):
            read_cases(file)
    else:
        assert [case.patient_id for case in read_cases(file).cases] == [first, second]


def test_rows_of_one_place_are_told(tmp_path):
    file = tmp_path / "cases.csv"
    lines = ["a,x.nrrd,1,2,3,4", "b,./x.nrrd,1,2,3.5,3", "c,x.nrrd,1,2,9,4", "d,y.nrrd,1,2,3,4", "e,x.nrrd,1,2,3,"]
    file.write_text("\n".join(["id,image,r,a,s,malignancy", *lines]), encoding="utf-8")
    (note,) = read_cases(file).notes
    assert "the rows 'a' and 'b' point at one place of one image: each counts as a nodule" in note
    file.write_text("\n".join(["id,image,r,a,s,malignancy", *lines[2:]]), encoding="utf-8")
    assert read_cases(file).notes == ()


def test_a_folder_may_hold_the_series_of_several_patients(tmp_path):
    file = tmp_path / "cases.csv"
    text = "id,image,seriesuid,r,a,s,malignancy,patient_id\na,all,1.2.1,1,2,3,4,p\nb,all,1.2.2,1,2,3,4,q\n"
    file.write_text(text, encoding="utf-8")
    assert [case.patient_id for case in read_cases(file).cases] == ["p", "q"]
    assert read_cases(file).notes == ()
    file.write_text(text.replace("1.2.2", "1.2.1"), encoding="utf-8")
    with pytest.raises(InputError, match="two values of patient_id"):
        read_cases(file)


def test_one_scan_under_two_names_is_told_in_every_run(scans):
    for _ in range(2):
        notes = " ".join(prepare_cases(scans / "cases.csv", scans / "DATA").notes)
        assert "the images of 'a0' and 'b0' hold the same voxels and count as two patients" in notes
    table_file = scans / "cases.csv"
    text = "id,image,r,a,s,malignancy,patient_id\n" + "".join(
        f"{n},{n}.nrrd,{POINT},{m},{p}\n" for n, m, p in (("ct0", 0, "p"), ("ct1", 1, "p"))
    )
    table_file.write_text(text, encoding="utf-8")
    assert "same voxels" not in " ".join(prepare_cases(table_file, scans / "other").notes)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_names_the_image_it_leads_to(tmp_path):
    (tmp_path / "a.nrrd").touch()
    (tmp_path / "b.nrrd").symlink_to("a.nrrd")
    file = tmp_path / "cases.csv"
    file.write_text("id,image,r,a,s,malignancy\na,a.nrrd,1,2,3,2\nb,b.nrrd,4,5,6,4\n", encoding="utf-8")
    assert [case.patient_id for case in read_cases(file).cases] == ["a.nrrd", "a.nrrd"]


@pytest.mark.parametrize(("column", "most"), [("diameter_mm", 300), ("volume_mm3", 2e7)])
def test_sizes_that_no_nodule_has_are_refused(tmp_path, column, most):
    read_cases(table(tmp_path, f"malignancy,{column}", f"4,{most:g}"))
    with pytest.raises(InputError, match=f"{column} must be one number above 0 and not over {re.escape(f'{most:g}')}"):
        read_cases(table(tmp_path, f"malignancy,{column}", f"4,{most * 1.01:g}"))


def test_skipped_rows_name_files_of_no_encoding(tmp_path):
    own_cases._write_skipped(tmp_path, [("a", "'x\udcff.dcm' is damaged"), ("b", "")])
    assert (tmp_path / "skipped.csv").read_text(encoding="utf-8").splitlines() == [
        "id,reason",
        r"a,'x\udcff.dcm' is damaged",
    ]
