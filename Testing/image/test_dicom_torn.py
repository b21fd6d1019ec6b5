"""Series torn apart by their UIDs, by a tiny tilt or by the folders of a CD are read whole, or refused; never cut in silence."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.synthetic_dicom import ramp_hu, slice_dataset, write, write_series
from pydicom import dcmread
from pydicom.uid import RLELossless, generate_uid
from scipy.spatial.transform import Rotation

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.read import read_ct

UIDS = ("SeriesInstanceUID", "FrameOfReferenceUID", "StudyInstanceUID")


def changed(paths: list[Path], **tags: object) -> list[Path]:
    """Each file with tags of its own: a value, or a function of its number."""
    for number, path in enumerate(paths):
        dataset = dcmread(path)
        for keyword, value in tags.items():
            setattr(dataset, keyword, value(number) if callable(value) else value)
        write(path, dataset)
    return paths


def anonymised(folder: Path, *keywords: str, hu: np.ndarray | None = None) -> list[Path]:
    paths = write_series(folder, ramp_hu() if hu is None else hu)
    return changed(paths, **dict.fromkeys(keywords, lambda _: generate_uid()))


@pytest.mark.parametrize("keywords", [UIDS[:1], UIDS[1:2], UIDS[:2], UIDS])
@pytest.mark.parametrize("given", ["folder", "file"])
def test_uids_that_differ_in_every_file_do_not_tear_an_even_stack(tmp_path, keywords, given):
    paths = anonymised(tmp_path / "series", *keywords)
    ct = read_ct(tmp_path / "series" if given == "folder" else paths[3])
    assert (ct.hu == ramp_hu()).all()
    assert "6 slices form one even stack" in ct.source["note"]
    # No UID stands for all slices, so none is told.
    assert [ct.source["series_uid"], ct.source["frame_of_reference_uid"]].count("") == len(
        set(keywords) & set(UIDS[:2])
    )


@pytest.mark.parametrize("keyword", UIDS[:2])
def test_uids_that_differ_in_every_file_of_an_uneven_stack_are_refused(tmp_path, keyword):
    paths = anonymised(tmp_path / "series", keyword)
    paths[2].unlink()
    for path in (tmp_path / "series", paths[3]):
        with pytest.raises(InputError, match=rf"{keyword} was changed file by file.*Anonymise the original again"):
            read_ct(path)


def test_two_stacks_of_torn_slices_are_refused(tmp_path):
    anonymised(tmp_path / "a", "SeriesInstanceUID")
    anonymised(tmp_path / "b", "SeriesInstanceUID", hu=ramp_hu() + 7)
    with pytest.raises(InputError, match="12 CT series of one slice each"):
        read_ct(tmp_path)


def test_a_whole_series_beside_torn_slices_is_chosen_when_it_is_larger(tmp_path):
    write_series(tmp_path / "a", ramp_hu(9))
    anonymised(tmp_path / "b", "SeriesInstanceUID", hu=ramp_hu(4))
    assert (read_ct(tmp_path).hu == ramp_hu(9)).all()


def test_a_series_named_by_its_uid_is_read_alone(tmp_path):
    paths = anonymised(tmp_path, "SeriesInstanceUID")
    paths[2].unlink()
    uid = str(dcmread(paths[0]).SeriesInstanceUID)
    assert read_ct(tmp_path, uid).hu.shape == (1, 5, 7)


def turned_axes(degrees: float) -> list[float]:
    return Rotation.from_euler("z", degrees, degrees=True).as_matrix()[:, :2].T.ravel().tolist()


@pytest.mark.parametrize("degrees", [0.02, 0.07, 0.09])
def test_a_tilt_that_moves_nothing_is_told_and_tolerated(tmp_path, degrees):
    changed(write_series(tmp_path, ramp_hu())[3:], ImageOrientationPatient=turned_axes(degrees))
    ct = read_ct(tmp_path)
    assert (ct.hu == ramp_hu()).all()
    assert f"tilted against each other by up to {degrees:.2f} degrees" in ct.source["note"]


@pytest.mark.parametrize("degrees", [0.2, 1, -7])
@pytest.mark.parametrize("first", [1, 3, 5])
def test_a_larger_tilt_within_a_series_is_refused(tmp_path, degrees, first):
    changed(write_series(tmp_path, ramp_hu())[first:], ImageOrientationPatient=turned_axes(degrees))
    with pytest.raises(InputError, match=rf"tilted by {abs(degrees):.2f} degrees against the others"):
        read_ct(tmp_path)


def cd_export(folder: Path, numbers: bool = True) -> list[Path]:
    """Six slices, three in each of two folders."""
    paths = write_series(folder / "A", ramp_hu())
    if numbers:
        changed(paths, InstanceNumber=lambda k: k + 1)
    (folder / "B").mkdir()
    return [*paths[:3], *(path.rename(folder / "B" / path.name) for path in paths[3:])]


@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize("which", [1, 4])
def test_one_file_stands_for_its_series_also_in_the_folders_beside_it(tmp_path, numbers, which):
    ct = read_ct(cd_export(tmp_path / "cd", numbers)[which])
    assert (ct.hu == ramp_hu()).all()
    assert f"3 of its slices lie in other folders ('{'B' if which == 1 else 'A'}')" in ct.source["note"]


def test_one_file_above_the_folders_of_its_series(tmp_path):
    paths = cd_export(tmp_path / "cd")
    assert (read_ct(paths[0].rename(tmp_path / "cd" / "first.dcm")).hu == ramp_hu()).all()


def test_slices_in_other_folders_that_do_not_fit_are_left_out_and_told(tmp_path):
    paths = write_series(tmp_path / "cd" / "A", ramp_hu())
    write_series(tmp_path / "cd" / "B", ramp_hu() + 1)
    ct = read_ct(paths[0])
    assert (ct.hu == ramp_hu()).all()
    assert "6 more slices with its UID in other folders ('B') were left out" in ct.source["note"]


def test_instance_numbers_that_do_not_start_at_one_are_told(tmp_path):
    paths = changed(write_series(tmp_path / "cd", ramp_hu()), InstanceNumber=lambda k: k + 21)
    assert "instance numbers run from 21 to 26" in read_ct(paths[0]).source["note"]


def test_byte_identical_copies_are_ignored_and_told(tmp_path):
    paths = write_series(tmp_path / "a", ramp_hu())
    shutil.copytree(tmp_path / "a", tmp_path / "backup")
    ct = read_ct(tmp_path)
    assert (ct.hu == ramp_hu()).all()
    assert "6 byte-identical copies of its files were ignored" in ct.source["note"]
    assert (read_ct(paths[0]).hu == ramp_hu()).all()


def packed_anew(path: Path) -> None:
    dataset = dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    write(path, dataset)


def renamed(path: Path) -> None:
    changed([path], PatientName="Other^Name", PatientID="7")


@pytest.mark.parametrize("edit", [packed_anew, renamed])
@pytest.mark.parametrize("count", [6, 2])
def test_slices_stored_twice_are_read_once_and_told(tmp_path, edit, count):
    paths = write_series(tmp_path / "a", ramp_hu())
    shutil.copytree(tmp_path / "a", tmp_path / "again")
    for path in sorted((tmp_path / "again").iterdir()):
        edit(path) if path.name < f"{count:03}.dcm" else path.unlink()
    ct = read_ct(tmp_path)
    assert (ct.hu == ramp_hu()).all()
    assert f"{count} slices that were stored twice" in ct.source["note"]
    assert (read_ct(paths[0]).hu == ramp_hu()).all()


@pytest.mark.parametrize("tags", [{"RescaleIntercept": "-1000"}, {"SOPInstanceUID": lambda _: generate_uid()}])
def test_other_slices_at_the_same_place_are_no_repeats(tmp_path, tags):
    write_series(tmp_path / "a", ramp_hu())
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    changed(sorted((tmp_path / "b").iterdir()), **tags)
    with pytest.raises(InputError, match=r"6 position.* occur more than once"):
        read_ct(tmp_path)


@pytest.mark.parametrize("numbers", ["12", "123"])
def test_scans_that_lie_between_each_other_are_refused(tmp_path, numbers):
    changed(write_series(tmp_path, ramp_hu(12)), AcquisitionNumber=lambda k: numbers[k % len(numbers)])
    with pytest.raises(
        InputError, match=rf"12 slices are of {len(numbers)} acquisitions .* that alternate.*Export each"
    ):
        read_ct(tmp_path)


@pytest.mark.parametrize(("keyword", "values"), [
    ("StudyInstanceUID", ("1.2.8", "1.2.9")), ("FrameOfReferenceUID", ("1.2.8", "1.2.9")), ("AcquisitionDate", ("20200101", "20210101")),
    ("AcquisitionTime", ("101500", "101507")), ("ContentTime", ("101500", "101507.5")), ("SeriesNumber", (3, 4)),
    ("SeriesDescription", ("insp", "exp")), ("ImageType", (["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "PRIMARY", "AXIAL"])),
    ("ConvolutionKernel", ("B30f", "B70f", "B80f")), ("KVP", ("80", "140")), ("SliceThickness", ("1", "5")),
    ("TemporalPositionIdentifier", (1, 2)), ("NominalPercentageOfCardiacPhase", (30.0, 70.0)), ("TriggerTime", ("0", "300")),
])  # fmt: skip
def test_scans_are_told_apart_by_any_tag_that_alternates(tmp_path, keyword, values):
    paths = changed(write_series(tmp_path, ramp_hu(12)), **{keyword: lambda k: values[k % len(values)]})
    with pytest.raises(
        InputError, match=rf"12 slices are of {len(values)} acquisitions .*\({keyword}\) that alternate"
    ):
        read_ct(tmp_path)
    # One after the other, as two parts of a long scan are.
    changed(paths, **{keyword: lambda k: values[k // 6]})
    assert (read_ct(tmp_path).hu == ramp_hu(12)).all()


def test_a_garbled_tag_that_only_tells_scans_apart_costs_no_slice(tmp_path):
    paths = changed(write_series(tmp_path, ramp_hu(12)), KVP="120")
    paths[4].write_bytes(paths[4].read_bytes().replace(b"DS\x04\x00120 ", b"DS\x04\x00kV? "))
    assert b"kV?" in paths[4].read_bytes()
    assert (read_ct(tmp_path).hu == ramp_hu(12)).all()


@pytest.mark.parametrize(
    "number",
    [
        lambda k: 1,
        lambda k: k + 1,
        lambda k: k // 2,
        lambda k: k // 6,
        lambda k: 1 + (k in (3, 8)),
        lambda k: None if k == 5 else k % 2,
    ],
    ids=["one", "each its own", "each rotation", "one after the other", "two strays", "not everywhere stated"],
)
def test_other_numbers_of_acquisitions_are_none_of_that(tmp_path, number):
    changed(write_series(tmp_path, ramp_hu(12)), AcquisitionNumber=number)
    assert (read_ct(tmp_path).hu == ramp_hu(12)).all()


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links on this system")
@pytest.mark.parametrize("number", [0, 4])
def test_a_link_to_one_file_stands_for_the_series_it_leads_to(tmp_path, number):
    paths = write_series(tmp_path / "archive" / "series", ramp_hu())
    link = tmp_path / "work" / "inputs" / "ct.dcm"
    link.parent.mkdir(parents=True)
    link.symlink_to(paths[number])
    assert (read_ct(link).hu == ramp_hu()).all()


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links on this system")
def test_links_in_one_folder_to_files_that_lie_each_in_its_own(tmp_path):
    links = []
    for path in write_series(tmp_path / "series", ramp_hu()):
        store = tmp_path / "store" / path.stem / "content"
        store.parent.mkdir(parents=True)
        path.rename(store)
        path.symlink_to(store)
        links.append(path)
    assert (read_ct(links[2]).hu == ramp_hu()).all()
    assert (read_ct(tmp_path / "series").hu == ramp_hu()).all()


def test_linked_folders_and_files_are_followed(tmp_path):
    paths = write_series(tmp_path / "store", ramp_hu())
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "series").symlink_to(tmp_path / "store")
    assert (read_ct(tmp_path / "study").hu == ramp_hu()).all()
    (tmp_path / "links").mkdir()
    for path in paths:
        (tmp_path / "links" / path.name).symlink_to(path)
    assert (read_ct(tmp_path / "links").hu == ramp_hu()).all()


@pytest.mark.parametrize("kept", ["file meta", "nothing"])
def test_files_without_preamble_are_found(tmp_path, kept):
    folder = tmp_path / "series"
    for path in write_series(folder, ramp_hu()):
        data = path.read_bytes()
        meta_bytes = 12 + int.from_bytes(data[140:144], "little")
        path.write_bytes(data[132 if kept == "file meta" else 132 + meta_bytes :])
    for path in (folder, folder / "002.dcm"):
        assert (read_ct(path).hu == ramp_hu()).all()


def test_an_inverted_display_leaves_the_numbers_as_they_are(tmp_path):
    write_series(tmp_path, ramp_hu(), PhotometricInterpretation="MONOCHROME1")
    ct = read_ct(tmp_path)
    assert (ct.hu == ramp_hu()).all()
    assert "MONOCHROME1" in ct.source["note"]


def test_signed_pixels_with_other_bits_above_them(tmp_path):
    stored = np.arange(-20, 15, dtype=np.int16).reshape(5, 7)
    mixed = (stored & 0x0FFF) | 0x3000
    write(tmp_path / "0.dcm", slice_dataset(mixed.astype(np.int16), BitsStored=12, HighBit=11))
    assert (read_ct(tmp_path).hu == stored.astype(int) - 1024).all()
