"""What CLIPLung needs to know of a DICOM file before its pixels, and the search for such files. Reads no names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from CLIPLungLib.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

TAGS = (
    "BitsAllocated", "Columns", "FrameOfReferenceUID", "ImageOrientationPatient", "ImagePositionPatient", "ImageType",
    "Modality", "NumberOfFrames", "PhotometricInterpretation", "PixelSpacing", "RescaleIntercept", "RescaleSlope",
    "RescaleType", "Rows", "SOPClassUID", "SeriesDescription", "SeriesInstanceUID", "SliceThickness", "StudyInstanceUID",
)  # fmt: skip
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
# "US" is DICOM's word for "unspecified".
HU_RESCALE_TYPES = ("", "HU", "US", "HU_MOD")
UNIT_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False, kw_only=True)
class SliceHeader:
    """One DICOM file.

    Attributes:
        path: the file.
        series_uid, study_uid, frame_of_reference_uid, modality, description: as in the file, empty where missing.
        transfer_syntax: name of the pixels' encoding.
        obstacle: why this file cannot be a slice of a CT volume; empty when it can. The fields below count only then.
        shape: (rows, columns).
        position_lps: (3,) centre of the first pixel, mm.
        orientation_lps: (2, 3) unit directions of growing column and growing row index.
        spacing_mm: (2,) distance between rows and between columns.
        thickness_mm: nominal slice thickness; None where missing.
        has_rescale: whether slope and intercept are both there.
    """

    path: Path
    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    modality: str
    description: str
    transfer_syntax: str
    obstacle: str
    shape: tuple[int, int]
    position_lps: np.ndarray
    orientation_lps: np.ndarray
    spacing_mm: np.ndarray
    thickness_mm: float | None
    has_rescale: bool

    @property
    def normal_lps(self) -> np.ndarray:
        """(3,) unit vector across the slice."""
        normal = np.cross(*self.orientation_lps)
        return normal / np.linalg.norm(normal)


def is_dicom(path: Path) -> bool:
    """Whether a file carries DICOM's mark."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def scan_files(paths: list[Path]) -> tuple[list[SliceHeader], list[Path]]:
    """Headers of the DICOM files among `paths`, and the DICOM files too damaged to tell what they are. Skips all others."""
    headers, damaged = [], []
    for path in paths:
        # A DICOMDIR is a table of contents.
        if not path.is_file() or path.name.upper() == "DICOMDIR":
            continue
        try:
            header = read_header(path) if is_dicom(path) else None
        except (InputError, OSError):
            damaged.append(path)
            continue
        if header is not None:
            headers.append(header)
    return headers, damaged


def read_header(path: Path) -> SliceHeader:
    """The header of one DICOM file.

    Raises:
        InputError: cut off or garbled within the header, or a file that belongs to no series.
    """
    import pydicom

    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
        if _text(dataset, "SeriesInstanceUID"):
            return _slice_header(path, dataset)
    except Exception as error:  # A garbled header makes pydicom raise nearly anything, also when a value is first used.
        raise InputError(f"The DICOM header of '{path.name}' is damaged ({error}). Copy the file again.") from error
    raise InputError(
        f"'{path.name}' is DICOM but belongs to no series: it is cut off, or a list of files. Give the folder of the CT series."
    )


def _slice_header(path: Path, dataset: Dataset) -> SliceHeader:
    position, orientation, spacing = (
        _numbers(dataset, keyword, count)
        for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    )
    thickness = _numbers(dataset, "SliceThickness", 1)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    return SliceHeader(
        path=path,
        series_uid=_text(dataset, "SeriesInstanceUID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID"),
        modality=_text(dataset, "Modality"),
        description=_text(dataset, "SeriesDescription"),
        transfer_syntax=syntax.name if syntax else "unknown",
        obstacle=_obstacle(dataset, position, orientation, spacing),
        shape=(int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)),
        position_lps=_or_nan(position, 3),
        orientation_lps=_unit_rows(_or_nan(orientation, 6).reshape(2, 3)),
        spacing_mm=_or_nan(spacing, 2),
        thickness_mm=None if thickness is None or thickness[0] <= 0 else float(thickness[0]),
        has_rescale=all(_numbers(dataset, keyword, 1) is not None for keyword in ("RescaleSlope", "RescaleIntercept")),
    )


def _obstacle(
    dataset: Dataset, position: np.ndarray | None, orientation: np.ndarray | None, spacing: np.ndarray | None
) -> str:
    slope = _numbers(dataset, "RescaleSlope", 1)
    if "LOCALIZER" in (dataset.get("ImageType") or ()):
        return "localizer"
    if dataset.get("SOPClassUID") == ENHANCED_CT or int(dataset.get("NumberOfFrames") or 1) > 1:
        return "multi-frame (export single-frame DICOM, or save the volume as NRRD)"
    if not dataset.get("Rows") or not dataset.get("Columns") or not dataset.get("BitsAllocated"):
        return "without an image"
    if position is None or spacing is None or (spacing <= 0).any() or not _is_orientation(orientation):
        return "without position, orientation or pixel spacing"
    # ITK would turn MONOCHROME1 upside down, but HU are the stored values whatever the display.
    if _text(dataset, "PhotometricInterpretation") != "MONOCHROME2":
        return "with colour or inverted grey values"
    # ITK takes a slope of zero for one.
    if _text(dataset, "RescaleType").upper() not in HU_RESCALE_TYPES or (slope is not None and slope[0] == 0):
        return "not in Hounsfield units"
    return ""


def _is_orientation(orientation: np.ndarray | None) -> bool:
    if orientation is None:
        return False
    axes = orientation.reshape(2, 3)
    return bool(np.abs(axes @ axes.T - np.eye(2)).max() < UNIT_TOLERANCE)


def _unit_rows(axes: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    return axes / np.where(lengths > 0, lengths, 1.0)


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip()


def _numbers(dataset: Dataset, keyword: str, count: int) -> np.ndarray | None:
    """(count,) finite numbers, or None."""
    try:
        numbers = np.atleast_1d(np.array(dataset.get(keyword), dtype=np.float64))
    except (ValueError, TypeError):
        return None
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None


def _or_nan(numbers: np.ndarray | None, count: int) -> np.ndarray:
    return np.full(count, np.nan) if numbers is None else numbers
