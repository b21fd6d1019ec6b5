"""Small DICOM series made of nothing but numbers, for tests. LPS mm, as in DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def ramp_hu(slices: int = 6, rows: int = 5, columns: int = 7) -> np.ndarray:
    """(K, J, I) int16 HU, different in every voxel and air somewhere."""
    return (np.arange(slices * rows * columns, dtype=np.int16) * 3 - 1000).reshape(slices, rows, columns)


def slice_dataset(
    stored: np.ndarray,
    position_lps: tuple[float, float, float] = (0.0, 0.0, 0.0),
    axes_lps: tuple[tuple[float, float, float], ...] = AXIAL,
    spacing_mm: tuple[float, float] = (1.0, 1.0),
    series_uid: str = "1.2.3.1",
    **tags: object,
) -> Dataset:
    """One CT image. `spacing_mm` is between rows, between columns. A tag given as None is left out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    values = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": dataset.file_meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": series_uid,
        "StudyInstanceUID": "1.2.3",
        "FrameOfReferenceUID": "1.2.4",
        "PatientName": "Secret^Person",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "ImagePositionPatient": [f"{value:.6f}" for value in position_lps],
        "ImageOrientationPatient": [f"{value:.8f}" for axis in axes_lps for value in axis],
        "PixelSpacing": list(spacing_mm),
        # Wrong on purpose: nothing may use it while there are positions.
        "SliceThickness": "9",
        "RescaleSlope": "1",
        "RescaleIntercept": "-1024",
        "PixelData": stored.tobytes(),
    }
    for keyword, value in (values | tags).items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def write_series(
    folder: Path,
    hu: np.ndarray,
    positions_lps: list[tuple[float, float, float]] | None = None,
    names: list[str] | None = None,
    **tags: object,
) -> list[Path]:
    """Write (K, J, I) whole HU as one file a slice, intercept -1024; without positions 2.5 mm apart from z = -50 upwards."""
    folder.mkdir(parents=True, exist_ok=True)
    positions_lps = positions_lps or [(-30.0, -20.0, -50.0 + 2.5 * k) for k in range(len(hu))]
    paths = [folder / (names[k] if names else f"{k:03}.dcm") for k in range(len(hu))]
    for path, plane, position_lps in zip(paths, hu, positions_lps, strict=True):
        write(path, slice_dataset((plane + 1024).astype(np.int16), position_lps, **tags))
    return paths


def multi_frame_dataset(
    hu: np.ndarray,
    positions_lps: list[tuple[float, float, float]],
    sop_class: str = EnhancedCTImageStorage,
    rescales: list[tuple[str, str]] | None = None,
    **tags: object,
) -> Dataset:
    """(K, J, I) whole HU as one multi-frame CT; its geometry and rescale stand in functional groups only.

    Without `rescales` (slope, intercept of each frame) the shared group says 1 and -1024.
    """
    rescales = rescales or [("1", "-1024")] * len(hu)
    stored = [(plane - int(intercept)) // int(slope) for plane, (slope, intercept) in zip(hu, rescales, strict=True)]
    own = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept")
    values = {"SOPClassUID": sop_class, "SliceThickness": None, "NumberOfFrames": len(hu)} | dict.fromkeys(own) | tags
    dataset = slice_dataset(np.stack(stored).astype(np.int16)[0], **values)
    dataset.PixelData = np.stack(stored).astype(np.int16).tobytes()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    shared = Dataset()
    shared.PixelMeasuresSequence = [_item(PixelSpacing=[1.0, 1.0], SliceThickness="9")]
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for position_lps, (slope, intercept) in zip(positions_lps, rescales, strict=True):
        frame = Dataset()
        frame.PlanePositionSequence = [_item(ImagePositionPatient=list(position_lps))]
        frame.PixelValueTransformationSequence = [
            _item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU")
        ]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    return dataset


def _item(**tags: object) -> Dataset:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item


def write(path: Path, dataset: Dataset) -> Path:
    """Save as a DICOM file with its header."""
    dataset.save_as(path, enforce_file_format=True)
    return path
