"""Enhanced CT, and CT converted to it: every frame at its own place, in its own scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.synthetic_dicom import multi_frame_dataset, ramp_hu, slice_dataset, write, write_series
from pydicom import Dataset, dcmread
from pydicom.uid import EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage, RLELossless

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.read import read_ct

PLACES = [(-30.0, -20.0, -50.0 + 2.5 * k) for k in range(6)]


@pytest.mark.parametrize("sop_class", [EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage])
@pytest.mark.parametrize("given", ["folder", "file"])
def test_frames_are_stacked_by_their_own_positions(tmp_path, sop_class, given):
    order = [3, 0, 5, 1, 4, 2]
    dataset = multi_frame_dataset(ramp_hu()[order], [PLACES[k] for k in order], sop_class)
    folder = tmp_path / "series"
    folder.mkdir()
    path = write(folder / "ct.dcm", dataset)
    ct = read_ct(folder if given == "folder" else path)
    assert (ct.hu == ramp_hu()).all()
    assert ct.hu.dtype == np.int16
    assert ct.ijk_to_ras.tolist() == [[-1, 0, 0, 30], [0, -1, 0, 20], [0, 0, 2.5, -50], [0, 0, 0, 1]]
    assert ct.source["note"] == ""


def test_each_frame_has_its_own_slope_and_intercept(tmp_path):
    rescales = [("1", "-1024"), ("2", "-1000"), ("-1", "-990"), ("1", "-1010"), ("3", "-1001"), ("1", "-995")]
    hu = np.stack([np.arange(-20, 15).reshape(5, 7) * int(slope) + int(add) for slope, add in rescales])
    write(tmp_path / "ct.dcm", multi_frame_dataset(hu, PLACES, rescales=rescales))
    assert (read_ct(tmp_path).hu == hu).all()


def test_shared_groups_hold_for_every_frame(tmp_path):
    dataset = multi_frame_dataset(ramp_hu(), PLACES)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PixelValueTransformationSequence = dataset.PerFrameFunctionalGroupsSequence[
        0
    ].PixelValueTransformationSequence
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.PixelValueTransformationSequence
    write(tmp_path / "ct.dcm", dataset)
    assert (read_ct(tmp_path).hu == ramp_hu()).all()


def test_packed_frames(tmp_path):
    hu = ramp_hu(6, 32, 32)
    dataset = multi_frame_dataset(hu, PLACES)
    dataset.compress(RLELossless)
    write(tmp_path / "ct.dcm", dataset)
    assert (read_ct(tmp_path).hu == hu).all()


def test_a_series_in_several_multi_frame_files(tmp_path):
    for name, part in (("a", slice(0, 2)), ("b", slice(2, 6))):
        write(tmp_path / name, multi_frame_dataset(ramp_hu()[part], PLACES[part]))
    assert (read_ct(tmp_path).hu == ramp_hu()).all()


def test_frames_of_two_phases_are_refused(tmp_path):
    write(tmp_path / "ct.dcm", multi_frame_dataset(ramp_hu(12), PLACES * 2))
    with pytest.raises(InputError, match=r"6 position\(s\) .*occur more than once"):
        read_ct(tmp_path)


@pytest.mark.parametrize(("group", "keyword", "values"), [
    ("FrameContentSequence", "TemporalPositionIndex", (1, 2)), ("FrameContentSequence", "FrameAcquisitionNumber", (1, 2)),
    ("FrameContentSequence", "FrameAcquisitionDateTime", ("20200101101500", "20200101101507")), ("FrameContentSequence", "StackID", ("1", "2")),
    ("CTReconstructionSequence", "ConvolutionKernel", ("soft", "sharp")), ("CTXRayDetailsSequence", "KVP", (80.0, 140.0)),
    ("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase", (30.0, 70.0)),
])  # fmt: skip
def test_frames_of_scans_that_alternate_are_refused(tmp_path, group, keyword, values):
    dataset = multi_frame_dataset(ramp_hu(12), [(-30.0, -20.0, -50.0 + 2.5 * k) for k in range(12)])
    for is_alternating in (False, True):
        for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            item = Dataset()
            setattr(item, keyword, values[k % 2 if is_alternating else k // 6])
            setattr(frame, group, [item])
        write(tmp_path / "ct.dcm", dataset)
        if is_alternating:
            with pytest.raises(InputError, match=rf"12 slices are of 2 acquisitions .*\({keyword}\) that alternate"):
                read_ct(tmp_path)
        else:
            assert (read_ct(tmp_path).hu == ramp_hu(12)).all()


@pytest.mark.parametrize(
    ("technique", "is_ct"), [("NONE", True), ("MPR", True), ("MAX_IP", False), ("VOLUME_RENDER", False)]
)
@pytest.mark.parametrize("place", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_frames_that_were_computed_as_pictures_are_refused(tmp_path, technique, is_ct, place):
    dataset = multi_frame_dataset(ramp_hu(), PLACES)
    kind = Dataset()
    kind.FrameType, kind.VolumeBasedCalculationTechnique = ["DERIVED", "PRIMARY", "VOLUME", "NONE"], technique
    for group in dataset[place].value:
        group.CTImageFrameTypeSequence = [kind]
    write(tmp_path / "ct.dcm", dataset)
    if is_ct:
        assert (read_ct(tmp_path).hu == ramp_hu()).all()
    else:
        with pytest.raises(InputError, match=r"6 projection \(MIP or MinIP\) or rendering"):
            read_ct(tmp_path)


def few_groups(folder: Path) -> None:
    dataset = multi_frame_dataset(ramp_hu(), PLACES)
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:5]
    write(folder / "ct.dcm", dataset)


def few_pixels(folder: Path) -> None:
    dataset = multi_frame_dataset(ramp_hu(), PLACES)
    dataset.PixelData = dataset.PixelData[:-70]
    write(folder / "ct.dcm", dataset)


def no_positions(folder: Path) -> None:
    dataset = multi_frame_dataset(ramp_hu(), PLACES)
    del dataset.PerFrameFunctionalGroupsSequence
    write(folder / "ct.dcm", dataset)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (few_groups, "holds only damaged DICOM files"),
        (few_pixels, "350 bytes of pixels are there where 420 are stated"),
        (no_positions, "multi-frame without a position for each frame"),
    ],
)
def test_incomplete_multi_frame_files_are_refused(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        read_ct(tmp_path)


def test_a_file_that_highdicom_converted(tmp_path):
    legacy = pytest.importorskip("highdicom.legacy")
    defaults = {"PatientID": "X", "PatientSex": "O", "PatientBirthDate": "", "StudyID": "", "AccessionNumber": ""}
    defaults |= {"StudyDate": "20200101", "StudyTime": "120000", "ReferringPhysicianName": "", "SeriesNumber": 1}
    defaults |= {"AcquisitionDate": "20200101", "AcquisitionTime": "120000", "ContentDate": "20200101"}
    defaults |= {"ContentTime": "120000", "Manufacturer": "none", "SliceThickness": "2.5"}
    paths = write_series(tmp_path / "single", ramp_hu(), **defaults)
    datasets = [dcmread(path) for path in paths]
    for number, dataset in enumerate(datasets, 1):
        dataset.InstanceNumber = number
    converted = legacy.LegacyConvertedEnhancedCTImage(datasets, "1.2.3.77", 7, "1.2.3.78", 1)
    (tmp_path / "converted").mkdir()
    converted.save_as(tmp_path / "converted" / "ct.dcm", enforce_file_format=True)
    ct = read_ct(tmp_path / "converted" / "ct.dcm")
    assert (ct.hu == ramp_hu()).all()
    assert np.allclose(ct.ijk_to_ras, read_ct(tmp_path / "single").ijk_to_ras)


def test_a_single_frame_beside_a_multi_frame_series(tmp_path):
    write(tmp_path / "ct.dcm", multi_frame_dataset(ramp_hu(), PLACES))
    write(tmp_path / "other.dcm", slice_dataset(ramp_hu()[0], series_uid="1.2.9"))
    ct = read_ct(tmp_path)
    assert (ct.hu == ramp_hu()).all()
    assert "Series 1.2.9" in ct.source["note"]
