"""What a structured report takes from the files of a CT: which images they are, where they lie, and the patient as text in UTF-8.

Headers come from everywhere. What identifies an image or its place must be right; what is wrong about patient and study is left empty.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from CLIPLungLib.errors import InputError

if TYPE_CHECKING:
    import pydicom

logger = logging.getLogger(__name__)
IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality")
# How many numbers each has.
PLACE = {"Rows": 1, "Columns": 1, "PixelSpacing": 2, "ImagePositionPatient": 3, "ImageOrientationPatient": 6}
# Present though empty in a valid image; scans stripped of identities may lack them.
MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
MAY_BE_ABSENT = ("IssuerOfPatientID", "PatientAge", "PatientIdentityRemoved", "StudyDescription")
LENGTHS_MM = ("SliceThickness", "SpacingBetweenSlices")
SEXES = ("M", "F", "O")
UTF_8 = "ISO_IR 192"


def read_series(files: Sequence[Path]) -> list[pydicom.Dataset]:
    """The headers of one CT series, in the order of the files; nothing but what a report needs, and as the standard wants it.

    Raises:
        InputError: no files, or files that are not one CT series with a place in the patient.
    """
    if not files:
        raise InputError(
            "A structured report refers to the DICOM files of the CT; none were given. Load the CT from DICOM."
        )
    images = [_read_header(Path(file)) for file in files]
    if len({image.SeriesInstanceUID for image in images}) > 1:
        raise InputError("The files belong to several series. Give the files of the one CT series that was analyzed.")
    if len({image.FrameOfReferenceUID for image in images}) > 1:
        raise InputError(
            "The files of the series name different frames of reference (FrameOfReferenceUID), so a point has no one place in them. "
            "Export the series again, or anonymize it so that this UID stays the same in all files."
        )
    return images


def corners_ras(image: pydicom.Dataset) -> np.ndarray:
    """(2, 3) RAS mm of the first voxel of a slice and of the last one."""
    place = slice_place(image)
    across = np.array([image.Columns - 1, image.Rows - 1]) @ place.steps_ras
    return np.stack([place.origin_ras, place.origin_ras + across])


@dataclass(frozen=True, eq=False)
class SlicePlace:
    """Where a slice lies: RAS mm of its first pixel (3,), and the steps (2, 3) to the next column and to the next row."""

    origin_ras: np.ndarray
    steps_ras: np.ndarray


def slice_place(image: pydicom.Dataset) -> SlicePlace:
    """Where a slice lies, by its header."""
    to_ras = np.array([-1.0, -1.0, 1.0])
    along_row, along_column = np.array(image.ImageOrientationPatient, dtype=float).reshape(2, 3)
    row_mm, column_mm = (float(value) for value in image.PixelSpacing)
    steps = np.stack([along_row * column_mm, along_column * row_mm]) * to_ras
    return SlicePlace(np.array(image.ImagePositionPatient, dtype=float) * to_ras, steps)


def _read_header(file: Path) -> pydicom.Dataset:
    import pydicom

    names = [*IDENTITY, *PLACE, *MAY_BE_EMPTY, *MAY_BE_ABSENT, *LENGTHS_MM, "SpecificCharacterSet"]
    try:
        image = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=names)
    except Exception as error:  # a damaged header fails in many ways
        raise InputError(f"'{file}' cannot be read as DICOM: {error}. Import the series again.") from error
    header = pydicom.Dataset()
    header.SpecificCharacterSet = UTF_8
    _copy_identity(image, header, file)
    _copy_place(image, header, file)
    for name in (*MAY_BE_EMPTY, *MAY_BE_ABSENT):
        text = _text(image, name, file)
        if text or name in MAY_BE_EMPTY:
            setattr(header, name, text)
    for name in LENGTHS_MM:
        length_mm = _numbers(_value(image, name))
        if len(length_mm) == 1 and length_mm[0] > 0:
            setattr(header, name, image[name].value)
    return header


def _copy_identity(image: pydicom.Dataset, header: pydicom.Dataset, file: Path) -> None:
    values = {name: _value(image, name) for name in IDENTITY}
    missing = [name for name, value in values.items() if not value]
    if missing:
        raise InputError(f"'{file}' lacks {', '.join(missing)}, which a structured report must refer to.")
    for name, value in values.items():
        if not isinstance(value, str):
            raise InputError(f"'{file}' has a wrong {name} ({value}): a structured report needs one. Export it again.")
        setattr(header, name, value)
    if header.Modality != "CT":
        raise InputError(f"'{file}' is {header.Modality}, not CT. Choose the files of the CT that was analyzed.")


def _copy_place(image: pydicom.Dataset, header: pydicom.Dataset, file: Path) -> None:
    for name, count in PLACE.items():
        value = _value(image, name)
        if len(_numbers(value)) != count:
            raise InputError(
                f"'{file}' does not say where it lies (its {name} is {'missing' if value is None else repr(str(value))}), "
                "so a report cannot refer to it. Choose another series."
            )
        setattr(header, name, value)


def _value(image: pydicom.Dataset, name: str) -> Any:
    """The value of a tag; None where it is absent, empty or unreadable."""
    try:
        value = image[name].value if name in image else None
    except Exception:  # values of the wrong length or type fail in many ways
        return None
    return None if value is None or value == "" else value


def _numbers(value: Any) -> list[float]:
    """The finite numbers of a value; none if one of them is no such number."""
    try:
        numbers = [float(number) for number in np.atleast_1d(value)]
    except (TypeError, ValueError):
        return []
    return numbers if np.isfinite(numbers).all() else []


def _text(image: pydicom.Dataset, name: str, file: Path) -> str:
    """A tag of patient or study as text; empty, and logged, where it is not what the standard wants."""
    value = _value(image, name)
    if value is None:
        return ""
    try:
        return _normal(name, value)
    except (TypeError, ValueError, LookupError) as error:
        logger.warning("%s of '%s' is left out of the report: %s", name, file, error)
        return ""


def _normal(name: str, value: Any) -> str:
    from pydicom.datadict import dictionary_VR
    from pydicom.sequence import Sequence as DicomSequence
    from pydicom.valuerep import DA, TM

    if isinstance(value, (bytes, list, DicomSequence)) or (not isinstance(value, str) and hasattr(value, "append")):
        raise ValueError("one text is allowed")
    text = str(value).strip("\0 ")
    kind = dictionary_VR(name)
    if kind == "DA":
        return f"{DA(text):%Y%m%d}"
    if kind == "TM":
        return str(TM(text.replace(":", "")))
    if name == "PatientSex" and text not in SEXES:
        raise ValueError(f"'{text}' is none of {', '.join(SEXES)}")
    if name == "PatientAge" and not (len(text) == 4 and text[:3].isdigit() and text[3] in "DWMY"):
        raise ValueError(f"'{text}' is no age such as 064Y")
    plain = "".join(letter for letter in text if unicodedata.category(letter) != "Cc")
    if "\\" in text or (kind != "PN" and plain != text):
        raise ValueError("it holds characters that are not allowed")
    return plain
