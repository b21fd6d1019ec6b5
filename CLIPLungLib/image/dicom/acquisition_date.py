"""The date a DICOM series was acquired: read only when it is asked for, and kept nowhere else."""

from __future__ import annotations

from pathlib import Path

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom.header import is_dicom
from CLIPLungLib.image.dicom.search import MOST_FILES_OF_STUDY, files_below, files_beside

# The first of them that is there counts.
DATE_TAGS = ("AcquisitionDate", "SeriesDate", "StudyDate")


def acquisition_date(path: Path, series_uid: str = "") -> str:
    """The date of a series as DICOM writes it, YYYYMMDD; empty where no file of it tells.

    Args:
        path: a DICOM folder or file; other files have no date.
        series_uid: of the series that was read; any without it.
    """
    path = Path(path)
    for file in files_below(path, MOST_FILES_OF_STUDY) if path.is_dir() else [path, *files_beside(path)]:
        found = _date_in(file, series_uid)
        if found is not None:
            return found
        if not path.is_dir() and file == path and not _is_dicom(file):
            break
    return ""


def _is_dicom(file: Path) -> bool:
    try:
        return is_dicom(file)
    except InputError:
        return False


def _date_in(file: Path, series_uid: str) -> str | None:
    """The date in one file; None where it is no file of the series, or tells no date."""
    import pydicom

    if not _is_dicom(file):
        return None
    try:
        dataset = pydicom.dcmread(
            file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", *DATE_TAGS], force=True
        )
        if series_uid and str(dataset.get("SeriesInstanceUID", "")) != series_uid:
            return None
        return next((text for tag in DATE_TAGS if (text := str(dataset.get(tag) or "").strip())), None)
    except Exception:  # a damaged header fails in many ways
        return None
