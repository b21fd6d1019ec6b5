"""The outlines as a DICOM segmentation beside the report: read back by highdicom, at the places that the files state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("highdicom", reason="needs the extra 'report'")
import highdicom as hd
import pydicom
from helpers.synthetic_dicom import write_series
from pydicom.sr.codedict import codes

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.outline_mask import OutlineMask
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.result import AttributeResult, NoduleMeasurement, NoduleResult
from CLIPLungLib.report.dicom_seg import segmentation_path, write_report_with_segmentation
from CLIPLungLib.report.dicom_sr import ReportedNodule
from CLIPLungLib.vocabulary import ATTRIBUTES

SLICES, ROWS, COLUMNS = 10, 24, 30
TILT = np.radians(12)
SERIES = {
    "upwards": ([(-30.0, -20.0, -50.0 + 2.5 * k) for k in range(SLICES)], ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))),
    "downwards": ([(-30.0, -20.0, -50.0 - 2.5 * k) for k in range(SLICES)], ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))),
    "turned": (
        [(-30.0, -20.0, 2.5 * k) for k in range(SLICES)],
        ((np.cos(TILT), np.sin(TILT), 0.0), (-np.sin(TILT), np.cos(TILT), 0.0)),
    ),
}
# (slice of the file order, row, column)
NODULE, OTHER = (4, 9, 17), (5, 16, 6)


def stated_lps(files, voxel) -> np.ndarray:
    """Where a pixel lies by the headers alone, as the standard's equation C.7.6.2.1-1 has it."""
    image = pydicom.dcmread(files[voxel[0]])
    along_row, along_column = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
    row_mm, column_mm = map(float, image.PixelSpacing)
    return (
        np.array(image.ImagePositionPatient, float)
        + along_row * column_mm * voxel[2]
        + along_column * row_mm * voxel[1]
    )


def outlined(ct: CTVolume, files, voxel, by_hand=False) -> NoduleResult:
    """A box of 2 slices, 3 rows and 4 columns that begins at a pixel."""
    point_ras = stated_lps(files, voxel) * (-1, -1, 1)
    voxels = [(voxel[0] + k, voxel[1] + j, voxel[2] + i) for k in range(2) for j in range(3) for i in range(4)]
    inside = np.zeros(ct.hu.shape, bool)
    ijk = np.rint(ct.to_ijk(np.array([stated_lps(files, v) for v in voxels]) * (-1, -1, 1))).astype(int)
    inside[tuple(ijk[:, ::-1].T)] = True
    size = NoduleMeasurement(
        11.5, (9.0, 14.0), 10.0, 600.0, (400.0, 900.0), tuple(point_ras), 8.5, corrected_by_hand=by_hand
    )
    return NoduleResult(
        point_ras=tuple(point_ras),
        malignancy_probability=0.83,
        class_probabilities=(0.1, 0.2, 0.7),
        diameter_mm=11.5,
        attributes=tuple(
            AttributeResult(a.name, 0.25, float(len(a.levels)), tuple(np.eye(len(a.levels))[-1]), a.levels[-1])
            for a in ATTRIBUTES
        ),
        heatmap=np.zeros((2, 2, 2), np.float32),
        heatmap_to_ras=np.eye(4),
        model={"name": "CLIPLung", "version": "1.2.3", "sha256": "ab" * 32},
        measurement=size,
        outline=np.zeros((2, 2, 2), bool),
        outline_on_ct=OutlineMask(inside, ct.ijk_to_ras).cropped(),
    )


def series(folder, kind):
    positions, axes = SERIES[kind]
    hu = np.full((SLICES, ROWS, COLUMNS), -800, np.int16)
    return write_series(folder, hu, positions, axes_lps=axes, spacing_mm=(0.8, 0.7))


def written(tmp_path, kind="upwards", **named):
    files = series(tmp_path / "ct", kind)
    ct = read_ct(tmp_path / "ct")
    nodules = [
        ReportedNodule("N-1", outlined(ct, files, NODULE, **named)),
        ReportedNodule("N-2", replace(outlined(ct, files, OTHER), outline=None, outline_on_ct=None, measurement=None)),
        ReportedNodule("N-3", outlined(ct, files, OTHER)),
    ]
    return files, write_report_with_segmentation(nodules, files, tmp_path / "nodules.dcm", ct)


@pytest.mark.parametrize(("stated", "expected"), [("", 2.5), ("1.25", 1.25)])
def test_frames_are_as_thick_as_the_ct_states_or_as_its_slices_are_apart(tmp_path, stated, expected):
    files = series(tmp_path / "ct", "upwards")
    for file in files:
        image = pydicom.dcmread(file)
        image.SliceThickness = stated
        image.save_as(file)
    ct = read_ct(tmp_path / "ct")
    nodule = ReportedNodule("N-1", outlined(ct, files, NODULE))
    report, place = write_report_with_segmentation([nodule], files, tmp_path / "nodules.dcm", ct)
    measures = pydicom.dcmread(place).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (expected, 2.5)
    # The report says nothing that the CT does not say.
    assert ("Slice Thickness" in str(pydicom.dcmread(report))) is bool(stated)


@pytest.mark.parametrize("kind", SERIES)
def test_segments_lie_where_the_headers_put_their_pixels(tmp_path, kind):
    files, (_, place) = written(tmp_path, kind)
    document = hd.seg.segread(place)
    assert document.number_of_segments == 2
    for number, voxel in ((1, NODULE), (2, OTHER)):
        volume = document.get_volume(segment_numbers=[number], combine_segments=True, relabel=True)
        index = np.argwhere(volume.array > 0)
        found = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        wanted = [
            stated_lps(files, (voxel[0] + k, voxel[1] + j, voxel[2] + i))
            for k in range(2)
            for j in range(3)
            for i in range(4)
        ]
        apart_mm = np.linalg.norm(found[:, None] - np.array(wanted)[None], axis=2)
        assert len(found) == len(wanted)
        assert apart_mm.min(axis=1).max() < 1e-3
        assert apart_mm.min(axis=0).max() < 1e-3


def test_frames_name_the_images_they_were_drawn_on(tmp_path):
    files, (_, place) = written(tmp_path)
    document = pydicom.dcmread(place)
    for frame in document.PerFrameFunctionalGroupsSequence:
        uid = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        image = next(i for i in map(pydicom.dcmread, files) if i.SOPInstanceUID == uid)
        np.testing.assert_allclose(frame.PlanePositionSequence[0].ImagePositionPatient, image.ImagePositionPatient)
    # Slices without a nodule take no room.
    assert document.NumberOfFrames == 4


def test_report_refers_to_the_segments_and_keeps_the_click(tmp_path):
    files, (report, place) = written(tmp_path)
    document = hd.seg.segread(place)
    content = hd.sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(report)).content
    groups = content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["N-1", "N-3"]
    for number, group in enumerate(groups, start=1):
        (reference,) = [item for item in group[0].ContentSequence if item.name == codes.DCM.ReferencedSegment]
        item = reference.ReferencedSOPSequence[0]
        assert item.ReferencedSOPInstanceUID == document.SOPInstanceUID
        assert item.ReferencedSegmentNumber == number
        assert group.tracking_uid == document.get_segment_description(number).tracking_uid
        (center,) = [item for item in group[0].ContentSequence if item.name.value == "111010"]
        np.testing.assert_allclose(center.value[0], stated_lps(files, (NODULE, OTHER)[number - 1]), atol=1e-3)
    # What has no outline refers to its point, as before.
    (planar,) = content.get_planar_roi_measurement_groups()
    assert planar.tracking_identifier == "N-2"


@pytest.mark.parametrize(
    ("by_hand", "kind", "method"),
    [(False, "AUTOMATIC", "Outline drawn by the program"), (True, "SEMIAUTOMATIC", "Outline corrected by hand")],
)
def test_who_drew_the_outline_is_said(tmp_path, by_hand, kind, method):
    _, (report, place) = written(tmp_path, by_hand=by_hand)
    assert hd.seg.segread(place).get_segment_description(1).algorithm_type.value == kind
    content = hd.sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(report)).content
    measured = content.get_volumetric_roi_measurement_groups()[0].get_measurements()
    methods = {m.name.meaning: m.method.meaning for m in measured if m.method is not None}
    assert methods == dict.fromkeys(("Long Axis", "Short Axis", "Volume"), method)


def test_overlapping_outlines_are_both_whole(tmp_path):
    files = series(tmp_path / "ct", "upwards")
    ct = read_ct(tmp_path / "ct")
    first, second = outlined(ct, files, NODULE), outlined(ct, files, (NODULE[0], NODULE[1] + 1, NODULE[2]))
    nodules = [ReportedNodule("a", first), ReportedNodule("b", second)]
    _, place = write_report_with_segmentation(nodules, files, tmp_path / "o.dcm", ct)
    document = hd.seg.segread(place)
    for number in (1, 2):
        volume = document.get_volume(segment_numbers=[number], combine_segments=True, relabel=True)
        assert (volume.array > 0).sum() == 24


@pytest.mark.parametrize(
    ("label", "name"), [("left\\upper", "left/upper"), ("two\nlines", "two lines"), ("  ", "Nodule 1"), ("long " * 20, ("long " * 20).strip())]
)  # fmt: skip
def test_any_label_names_one_nodule_in_report_and_segmentation(tmp_path, label, name):
    files = series(tmp_path / "ct", "upwards")
    ct = read_ct(tmp_path / "ct")
    nodule = ReportedNodule(label, outlined(ct, files, NODULE))
    report, place = map(pydicom.dcmread, write_report_with_segmentation([nodule], files, tmp_path / "nodules.dcm", ct))
    (group,) = hd.sr.Comprehensive3DSR.from_dataset(report).content.get_volumetric_roi_measurement_groups()
    (segment,) = place.SegmentSequence
    assert group.tracking_identifier == segment.TrackingID == name
    assert segment.SegmentLabel == name[:64].strip()


def test_only_the_report_is_written_where_nothing_is_outlined(tmp_path):
    files = series(tmp_path / "ct", "upwards")
    ct = read_ct(tmp_path / "ct")
    bare = replace(outlined(ct, files, NODULE), outline=None, outline_on_ct=None, measurement=None)
    report = tmp_path / "r.dcm"
    assert write_report_with_segmentation([ReportedNodule("N-1", bare)], files, report, ct) == [report]
    assert not segmentation_path(report).exists()


def test_what_cannot_be_referred_to_is_refused_and_nothing_is_left(tmp_path):
    files = series(tmp_path / "ct", "upwards")
    ct = read_ct(tmp_path / "ct")
    nodule = ReportedNodule("N-1", outlined(ct, files, NODULE))
    with pytest.raises(InputError, match="Load the CT from DICOM"):
        write_report_with_segmentation([nodule], [], tmp_path / "r.dcm", ct)
    shifted = np.eye(4)
    shifted[0, 3] = 0.35
    off = replace(nodule.result.outline_on_ct, ijk_to_ras=shifted @ nodule.result.outline_on_ct.ijk_to_ras)
    between = ReportedNodule("N-1", replace(nodule.result, outline_on_ct=off))
    with pytest.raises(InputError, match="does not lie on the slices"):
        write_report_with_segmentation([between], files, tmp_path / "r.dcm", ct)
    moved = CTVolume(ct.hu, shifted @ ct.ijk_to_ras, ct.name)
    with pytest.raises(InputError, match="no longer lies"):
        write_report_with_segmentation([nodule], files, tmp_path / "r.dcm", moved)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ct"]
