"""The structured report, read back by highdicom and by the rules of 3D Slicer's TID 1500 reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("highdicom", reason="needs the extra 'report'")
import highdicom as hd
import pydicom
from helpers.synthetic_dicom import ramp_hu, slice_dataset, write, write_series
from pydicom.sr.codedict import codes

from CLIPLungLib.calibration.truth import OUTCOME, READERS, Truth
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.result import AttributeResult, NoduleMeasurement, NoduleResult
from CLIPLungLib.report import dicom_codes
from CLIPLungLib.report.dicom_sr import SERIES_DESCRIPTION, ReportedNodule, write_structured_report
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASSES


def result(point_ras=(-56.3, -86.4, -115.9), outlined=True) -> NoduleResult:
    attributes = tuple(
        AttributeResult(a.name, 0.25, float(len(a.levels)), tuple(np.eye(len(a.levels))[-1]), a.levels[-1])
        for a in ATTRIBUTES
    )
    measurement = NoduleMeasurement(11.5, (9.0, 14.0), 10.0, 600.0, (400.0, 900.0), point_ras) if outlined else None
    return NoduleResult(
        point_ras=point_ras,
        malignancy_probability=0.83,
        class_probabilities=(0.1, 0.2, 0.7),
        diameter_mm=11.5,
        attributes=attributes,
        heatmap=np.zeros((2, 2, 2), np.float32),
        heatmap_to_ras=np.eye(4),
        model={"name": "CLIPLung", "version": "1.2.3", "sha256": "ab" * 32},
        measurement=measurement,
    )


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> list[Path]:
    return write_series(tmp_path_factory.mktemp("series"), ramp_hu())


@pytest.fixture(scope="module")
def report(series, tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "nodules.dcm"
    nodules = [ReportedNodule("N-1", result()), ReportedNodule("N-2", result((10.0, 20.0, 30.0), outlined=False))]
    write_structured_report(nodules, series, file)
    return hd.sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(file))


def point_groups(report):
    return report.content.get_planar_roi_measurement_groups(
        graphic_type=hd.sr.GraphicTypeValues3D.POINT, reference_type=codes.DCM.ImageRegion
    )


def test_report_is_what_slicers_reader_takes_for_tid_1500(report):
    assert report.Modality == "SR"
    assert report.SOPClassUID == pydicom.uid.Comprehensive3DSRStorage
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    # It names its table after these two.
    assert report.SeriesDescription == SERIES_DESCRIPTION
    assert report.SeriesNumber is not None
    for group in point_groups(report):
        assert group.finding_type == codes.SCT.Nodule
        assert group.finding_sites[0].value == codes.SCT.Lung
        assert group.tracking_uid
    # Its table takes the columns of the first nodule for all.
    evaluations = [[e.name for e in group.get_qualitative_evaluations()] for group in point_groups(report)]
    assert evaluations[0] == evaluations[1]


def test_points_are_in_the_patients_left_posterior_superior_axes(report):
    first, second = point_groups(report)
    np.testing.assert_allclose(first.roi.value, [[56.3, 86.4, -115.9]], atol=1e-4)
    np.testing.assert_allclose(second.roi.value, [[-10.0, -20.0, 30.0]], atol=1e-4)
    assert first.roi.frame_of_reference_uid == "1.2.4"
    assert [group.tracking_identifier for group in (first, second)] == ["N-1", "N-2"]


def test_numbers_and_signs_are_the_results(report):
    first, second = point_groups(report)
    values = {m.name.value: (m.value, m.unit.value) for m in first.get_measurements()}
    assert values[dicom_codes.PROBABILITIES[READERS][0]] == (0.83, "1")
    assert values[dicom_codes.LONG_AXIS[0]] == (11.5, "mm")
    assert values[dicom_codes.VOLUME[0]] == (600.0, "mm3")
    assert values[dicom_codes.similarity_code("margin")[0]] == (0.25, "1")
    # What could not be outlined was not measured as an axis.
    assert dicom_codes.LONG_AXIS[0] not in {m.name.value for m in second.get_measurements()}
    said = {e.name.meaning: e.value for e in first.get_qualitative_evaluations()}
    assert said["Texture"].scheme_designator == "RADLEX"
    assert said["Texture"].meaning == "solid pulmonary nodule"
    assert said["Malignancy"].meaning.endswith(CLASSES[2])


def test_an_outcome_has_codes_of_its_own_and_says_so(series, tmp_path):
    by_outcome = replace(result(), class_probabilities=(0.17, 0.0, 0.83), truth=Truth(OUTCOME, 412, 300, 120))
    write_structured_report([ReportedNodule("N-1", by_outcome)], series, tmp_path / "outcome.dcm")
    document = hd.sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(tmp_path / "outcome.dcm"))
    (group,) = point_groups(document)
    names = {m.name.value: m.name.meaning for m in group.get_measurements()}
    assert names[dicom_codes.PROBABILITIES[OUTCOME][0]] == "Probability of a malignant outcome"
    assert dicom_codes.PROBABILITIES[READERS][0] not in names
    said = {e.name.meaning: e.value.meaning for e in group.get_qualitative_evaluations()}
    assert said["Malignancy"] == "Estimated outcome: malignant"
    assert "calibrated on 412 local cases" in document.to_json()


def test_answers_by_different_truths_do_not_share_a_report(series, tmp_path):
    by_outcome = replace(result(), truth=Truth(OUTCOME, 412, 300, 120))
    nodules = [ReportedNodule("N-1", result()), ReportedNodule("N-2", by_outcome)]
    with pytest.raises(InputError, match="with one model"):
        write_structured_report(nodules, series, tmp_path / "mixed.dcm")
    assert list(tmp_path.iterdir()) == []


def test_algorithm_and_source_series_are_named(report, series):
    text = report.to_json()
    assert "weights SHA-256 " + "ab" * 32 in text
    assert "1.2.3" in text
    assert "Research use only" in text
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.SeriesInstanceUID == "1.2.3.1"
    assert len(evidence.ReferencedSOPSequence) == len(series)
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert report.VerificationFlag == "UNVERIFIED"


def test_every_code_fits_its_dicom_field_and_means_one_thing():
    level_codes = [dicom_codes.level_code(a.name, level + 1) for a in ATTRIBUTES for level in range(len(a.levels))]
    all_codes = [
        *dicom_codes.SIGNS.values(),
        *dicom_codes.CLASS_CODES[READERS].values(),
        *dicom_codes.CLASS_CODES[OUTCOME].values(),
        *(dicom_codes.similarity_code(name) for name in dicom_codes.SIGNS),
        *level_codes,
        *dicom_codes.PROBABILITIES.values(),
    ]
    assert len({code[:2] for code in all_codes}) == len(all_codes)
    for value, scheme, meaning in all_codes:
        assert len(value) <= 16, value
        assert len(scheme) <= 16, scheme
        assert len(meaning) <= 64, meaning
    assert set(dicom_codes.SIGNS) == {a.name for a in ATTRIBUTES}


def test_refusals_name_the_file_and_the_remedy(series, tmp_path):
    nodules, output = [ReportedNodule("N-1", result())], tmp_path / "out.dcm"
    with pytest.raises(InputError, match="Analyze a nodule first"):
        write_structured_report([], series, output)
    with pytest.raises(InputError, match="Load the CT from DICOM"):
        write_structured_report(nodules, [], output)
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(InputError, match=r"text\.dcm"):
        write_structured_report(nodules, [tmp_path / "text.dcm"], output)
    plane = np.zeros((4, 4), np.int16)
    other = write(tmp_path / "other.dcm", slice_dataset(plane, series_uid="9.9"))
    with pytest.raises(InputError, match="several series"):
        write_structured_report(nodules, [*series, other], output)
    with pytest.raises(InputError, match="is MR, not CT"):
        write_structured_report(nodules, [write(tmp_path / "mr.dcm", slice_dataset(plane, Modality="MR"))], output)
    frameless = write(tmp_path / "frameless.dcm", slice_dataset(plane, FrameOfReferenceUID=None))
    with pytest.raises(InputError, match="lacks FrameOfReferenceUID"):
        write_structured_report(nodules, [frameless], output)
    assert not output.exists()


def moved(ct, matrix):
    return CTVolume(ct.hu, matrix @ ct.ijk_to_ras, ct.name)


def test_ct_that_lies_where_its_files_put_it_is_reported(series, tmp_path):
    write_structured_report([ReportedNodule("N-1", result())], series, tmp_path / "a.dcm", read_ct(series[0].parent))
    assert (tmp_path / "a.dcm").is_file()


@pytest.mark.parametrize(
    "matrix",
    [
        np.array([[1, 0, 0, 3.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.array([[1, 0, 0, 0.0], [0, 1, 0, 0], [0, 0, 1, 2.5], [0, 0, 0, 1]]),
        np.diag([-1.0, -1.0, 1.0, 1.0]),
        np.diag([1.0, 1.0, 1.1, 1.0]),
    ],
    ids=["shifted", "shifted by a slice", "turned", "stretched"],
)
def test_ct_moved_since_it_was_loaded_is_refused(series, tmp_path, matrix):
    ct = moved(read_ct(series[0].parent), matrix)
    with pytest.raises(InputError, match="no longer lies where its DICOM series does"):
        write_structured_report([ReportedNodule("N-1", result())], series, tmp_path / "a.dcm", ct)
    assert not (tmp_path / "a.dcm").exists()


def test_ct_put_together_from_several_series_is_refused(series, tmp_path):
    """Its files were given a SeriesInstanceUID each, and are read as one stack all the same."""
    for number, file in enumerate(write_series(tmp_path / "torn", ramp_hu())):
        image = pydicom.dcmread(file)
        image.SeriesInstanceUID += f".{number}"
        image.save_as(file)
    ct = read_ct(tmp_path / "torn")
    # One of its files alone must not stand for it, nor must another series in the same place.
    for files in (sorted((tmp_path / "torn").iterdir()), [next((tmp_path / "torn").iterdir())], series):
        with pytest.raises(InputError, match=r"several series|different SeriesInstanceUIDs"):
            write_structured_report([ReportedNodule("N-1", result())], files, tmp_path / "report.dcm", ct)
    assert not (tmp_path / "report.dcm").exists()


def test_files_of_another_series_than_the_ct_are_refused(series, tmp_path):
    others = write_series(tmp_path / "other", ramp_hu())
    for file in others:
        image = pydicom.dcmread(file)
        image.SeriesInstanceUID += ".7"
        image.save_as(file)
    with pytest.raises(InputError, match=r"is series .*, the files are series .*\.7\. Give the files of the series"):
        write_structured_report(
            [ReportedNodule("N-1", result())], others, tmp_path / "report.dcm", read_ct(series[0].parent)
        )
    write_structured_report(
        [ReportedNodule("N-1", result())], others, tmp_path / "report.dcm", read_ct(tmp_path / "other")
    )


def test_turn_about_the_own_middle_is_noticed(series, tmp_path):
    ct = read_ct(series[0].parent)
    middle = ct.to_ras((ct.size_ijk - 1) / 2)
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    turn[:3, 3] = middle - turn[:3, :3] @ middle
    with pytest.raises(InputError, match="no longer lies"):
        write_structured_report([ReportedNodule("N-1", result())], series, tmp_path / "a.dcm", moved(ct, turn))
