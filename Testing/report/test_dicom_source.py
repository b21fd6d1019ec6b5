"""Headers from everywhere: the report keeps the patient, leaves out what is wrong, and never fails with somebody else's words."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("highdicom", reason="needs the extra 'report'")
import highdicom as hd
import pydicom
from helpers.synthetic_dicom import ramp_hu, slice_dataset, write, write_series
from pydicom.sr.codedict import codes
from report.test_dicom_sr import result

from CLIPLungLib.errors import InputError, MissingPackageError
from CLIPLungLib.report.dicom_sr import ReportedNodule, write_structured_report

NODULES = [ReportedNodule("N-1", result())]


def reported(folder: Path, nodules=NODULES, **tags) -> pydicom.Dataset:
    """The report of a series with these tags, read back."""
    files = write_series(folder / "series", ramp_hu(slices=3), **tags)
    write_structured_report(nodules, files, folder / "report.dcm")
    return pydicom.dcmread(folder / "report.dcm")


def edited(folder: Path, edit) -> list[Path]:
    """A series of which every header was changed after writing it."""
    files = write_series(folder / "series", ramp_hu(slices=3))
    for file in files:
        image = pydicom.dcmread(file)
        edit(image)
        image.save_as(file)
    return files


def thicknesses(report: pydicom.Dataset) -> list[float]:
    document = hd.sr.Comprehensive3DSR.from_dataset(report)
    return [
        item.value
        for item in hd.sr.utils.find_content_items(document.content[0], name=codes.DCM.SliceThickness, recursive=True)
    ]


@pytest.mark.parametrize("thickness", ["", None, "0", "-1"], ids=["empty", "absent", "zero", "negative"])
def test_slice_thickness_that_is_not_known_is_no_part_of_the_report(tmp_path, thickness):
    report = reported(tmp_path, SliceThickness=thickness)
    assert thicknesses(report) == []
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert len(evidence.ReferencedSOPSequence) == 3


def test_known_slice_thickness_is_reported_and_one_without_it_does_not_borrow_it(tmp_path):
    files = write_series(tmp_path / "series", ramp_hu(slices=3))
    image = pydicom.dcmread(files[1])
    del image.SliceThickness
    image.save_as(files[1])
    write_structured_report(NODULES, files, tmp_path / "report.dcm")
    assert thicknesses(pydicom.dcmread(tmp_path / "report.dcm")) == [9, 9]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce"),
        (["ISO 2022 IR 6", "ISO 2022 IR 87"], "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "\uff94\uff8f\uff80\uff9e^\uff80\uff9b\uff73=\u5c71\u7530^\u592a\u90ce"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=\u6d2a^\u5409\u6d1e=\ud64d^\uae38\ub3d9"),
        ("ISO_IR 100", "M\u00fcller^J\u00fcrgen"),
        ("ISO_IR 101", "W\u0105sowski^\u0141ukasz"),
        ("ISO_IR 144", "\u041b\u044e\u043a\u0441\u0435\u043c\u0431\u0443\u0440\u0433"),
        ("ISO_IR 126", "\u0394\u03b9\u03bf\u03bd\u03c5\u03c3\u03b9\u03bf\u03c2"),
        ("ISO_IR 166", "\u0e19\u0e32\u0e22"),
        ("GB18030", "Wang^XiaoDong=\u738b^\u5c0f\u4e1c"),
        ("GBK", "Wang^XiaoDong=\u738b^\u5c0f\u4e1c"),
        ("ISO_IR 192", "Wang^XiaoDong=\u738b^\u5c0f\u6771"),
        # A name in Persian holds a letter that is not printed (zero width non-joiner).
        ("ISO_IR 192", "\u0646\u06cc\u06a9\u200c\u0631\u0648\u0634"),
        (None, "Plain^Name"),
        ("", "Plain^Name"),
    ],
)
def test_patients_name_is_kept_in_every_script(tmp_path, character_set, name):
    # In its own script also the label of a nodule and what else is text.
    nodules = [ReportedNodule("\u7d50\u7bc0 1 \u00e4", result())]
    report = reported(tmp_path, nodules, SpecificCharacterSet=character_set, PatientName=name, StudyDescription="CT")
    assert str(report.PatientName) == name
    (group,) = hd.sr.Comprehensive3DSR.from_dataset(report).content.get_planar_roi_measurement_groups()
    assert group.tracking_identifier == "\u7d50\u7bc0 1 \u00e4"
    assert report.StudyDescription == "CT"


def set_tag(name: str, vr: str, value: object):
    def edit(image: pydicom.Dataset) -> None:
        image[name] = pydicom.DataElement(name, vr, value)

    return edit


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "vr", "value", "kept"),
    [
        ("PatientID", "LO", ["one", "two"], ""),
        ("PatientID", "US", 4711, "4711"),
        ("PatientID", "LO", "1234567890" * 9, "1234567890" * 9),
        ("PatientName", "PN", ["One^A", "Two^B"], ""),
        ("PatientSex", "CS", "male", ""),
        ("PatientSex", "CS", "F", "F"),
        ("PatientBirthDate", "DA", "20201350", ""),
        ("PatientBirthDate", "DA", "1961.02.03", "19610203"),
        ("PatientBirthDate", "LO", "unknown", ""),
        ("StudyDate", "DA", ["20200101", "20200102"], ""),
        ("StudyDate", "DA", "20200101-20200102", ""),
        ("StudyTime", "TM", "12:30:00", "123000"),
        ("StudyTime", "TM", "99", ""),
        ("StudyID", "SH", ["1", "2"], ""),
        ("AccessionNumber", "SH", ["1", "2"], ""),
        ("AccessionNumber", "SQ", [pydicom.Dataset()], ""),
        ("ReferringPhysicianName", "PN", ["A^B", "C^D"], ""),
        ("PatientAge", "AS", "64", None),
        ("PatientAge", "AS", "064Y", "064Y"),
        ("SpacingBetweenSlices", "DS", "", None),
        ("SliceThickness", "LO", "thin", None),
    ],
)
def test_odd_tag_is_left_empty_and_the_report_is_written(tmp_path, name, vr, value, kept):
    files = edited(tmp_path, set_tag(name, vr, value))
    write_structured_report(NODULES, files, tmp_path / "report.dcm")
    found = pydicom.dcmread(tmp_path / "report.dcm").get(name)
    assert (found if found is None else str(found)) == kept


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "vr", "value"),
    [
        ("FrameOfReferenceUID", "UI", ["1.2", "1.3"]),
        ("SOPClassUID", "UI", "1.2.840.10008.5.1.4.1.1.88.11"),
        ("Rows", "US", None),
        ("PixelSpacing", "DS", ["1"]),
        ("ImagePositionPatient", "DS", ["0", "0"]),
        ("ImagePositionPatient", "LO", "here"),
        ("ImageOrientationPatient", "DS", None),
        ("Modality", "CS", ["CT", "PT"]),
    ],
)
def test_what_identifies_or_places_an_image_is_refused_with_its_file(tmp_path, name, vr, value):
    files = edited(tmp_path, set_tag(name, vr, value))
    with pytest.raises(InputError, match=r"000\.dcm") as refused:
        write_structured_report(NODULES, files, tmp_path / "report.dcm")
    assert name in str(refused.value) or "does not fit the standard" in str(refused.value)
    assert not (tmp_path / "report.dcm").exists()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_and_cut_headers_are_refused_with_their_file(tmp_path):
    file = write(tmp_path / "cut.dcm", slice_dataset(np.zeros((4, 4), np.int16)))
    whole = file.read_bytes()
    for length in range(140, 620, 7):
        file.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.dcm"):
            write_structured_report(NODULES, [file], tmp_path / "report.dcm")


def test_frame_of_reference_per_slice_is_named(tmp_path):
    plane = np.zeros((4, 4), np.int16)
    files = [write(tmp_path / f"{k}.dcm", slice_dataset(plane, FrameOfReferenceUID=f"1.2.{k}")) for k in range(2)]
    with pytest.raises(InputError, match="FrameOfReferenceUID"):
        write_structured_report(NODULES, files, tmp_path / "report.dcm")


def test_report_names_the_degree_that_the_panel_names(tmp_path):
    # The likeliest code is 1, the expected one nearer to 3: everything else says "moderate", so the report says so, too.
    attributes = [
        replace(a, level=2.8, level_probabilities=(0.4, 0.0, 0.1, 0.4, 0.1)) if a.name == "spiculation" else a
        for a in result().attributes
    ]
    changed = replace(result(), attributes=tuple(attributes))
    report = reported(tmp_path, [ReportedNodule("N-1", changed)])
    (group,) = hd.sr.Comprehensive3DSR.from_dataset(report).content.get_planar_roi_measurement_groups()
    said = {e.name.meaning: e.value.meaning for e in group.get_qualitative_evaluations()}
    assert said["Spiculation"] == "3: with moderate spiculation"


def test_result_with_a_number_that_is_none_is_not_reported(tmp_path):
    with pytest.raises(InputError, match="NaN"):
        reported(tmp_path, [ReportedNodule("N-1", replace(result(), malignancy_probability=float("nan")))])


def test_missing_highdicom_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingPackageError, match="pip install highdicom"):
        reported(tmp_path)
    assert not (tmp_path / "report.dcm").exists()


def test_report_that_cannot_be_written_is_refused_with_its_name(tmp_path):
    (tmp_path / "file").write_text("")
    files = write_series(tmp_path / "series", ramp_hu(slices=3))
    with pytest.raises(InputError, match=r"report\.dcm' cannot be written .*choose another"):
        write_structured_report(NODULES, files, tmp_path / "file" / "report.dcm")
