"""What CLIPLung needs to know of a DICOM file before its pixels, and the search for such files. Reads no names."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom.field_values import number, numbers, text
from CLIPLungLib.image.dicom.frames import each_frame, frame_count, has_frames
from CLIPLungLib.image.dicom.number_format import NUMBER_TAGS, PlainPixels, number_format
from CLIPLungLib.image.dicom.obstacle import obstacle_of
from CLIPLungLib.image.dicom.scan_marks import SCAN_TAGS, scan_marks
from CLIPLungLib.image.regular_file import is_regular, open_regular

if TYPE_CHECKING:
    from pydicom import Dataset

TAGS = (
    *NUMBER_TAGS, *SCAN_TAGS, "Columns", "ImageOrientationPatient", "ImagePositionPatient", "InstanceNumber", "LossyImageCompression",
    "Modality", "NumberOfFrames", "PatientID", "PerFrameFunctionalGroupsSequence", "PhotometricInterpretation", "PixelPaddingValue",
    "PixelSpacing", "RescaleIntercept", "RescaleSlope", "RescaleType", "Rows", "SOPClassUID", "SOPInstanceUID", "SamplesPerPixel",
    "SeriesInstanceUID", "SharedFunctionalGroupsSequence", "VolumeBasedCalculationTechnique",
)  # fmt: skip
# Implicit and explicit VR, little endian, nothing packed.
PLAIN_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
PIXEL_DATA, OTHER_PIXELS, NO_LENGTH = 0x7FE00010, (0x7FE00008, 0x7FE00009), 0xFFFFFFFF
MARK, PREAMBLE_BYTES = b"DICM", 128
DEFLATED = "1.2.840.10008.1.2.1.99"
# Pixels do not pack more tightly; a file that claims so is made to fill the memory.
DEFLATED_RATIO_AT_MOST = 100
# A file that lost its modality is still of a class for CT alone: single slices, enhanced, converted to enhanced.
CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
LOSSY = "01"


@dataclass(frozen=True, eq=False, kw_only=True)
class SliceHeader:
    """One DICOM file, or one frame of it.

    Attributes:
        path: the file.
        frame: which of its frames, from 0.
        instance_number: as in the file; None where missing.
        series_uid, study_uid, frame_of_reference_uid, modality, description: as in the file, empty where missing; a file of a class for
            CT is CT without a modality, too.
        transfer_syntax: name of the pixels' encoding.
        obstacle: why this file cannot be a slice of a CT volume; empty when it can. The fields below count only then.
        shape: (rows, columns).
        position_lps: (3,) centre of the first pixel, mm.
        orientation_lps: (2, 3) unit directions of growing column and growing row index.
        spacing_mm: (2,) distance between rows and between columns.
        thickness_mm: nominal slice thickness; None where missing.
        slope, intercept: of the stored numbers to HU; None where missing.
        is_inverted: whether bright shows low numbers (MONOCHROME1); HU are the stored ones all the same.
        plain: where the pixels lie; None where they are packed, of several frames or described wrongly.
        padding: the stored number outside the scan; None where not stated.
        patient_id: to notice slices of several patients; told nowhere.
        sop_instance_uid: of the file, empty where missing.
        scan_marks: values of the tags that tell scans and reconstructions apart.
        is_original: whether it was reconstructed, not derived from other images.
        has_loss: whether its pixels were once compressed with loss.
    """

    path: Path
    frame: int
    instance_number: int | None
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
    slope: float | None
    intercept: float | None
    is_inverted: bool
    plain: PlainPixels | None = None
    padding: int | None = None
    patient_id: str = ""
    sop_instance_uid: str = ""
    scan_marks: tuple[str, ...] = ()
    is_original: bool = True
    has_loss: bool = False

    @property
    def has_rescale(self) -> bool:
        """Whether slope and intercept are both there."""
        return self.slope is not None and self.intercept is not None

    @property
    def normal_lps(self) -> np.ndarray:
        """(3,) unit vector across the slice."""
        normal = np.cross(*self.orientation_lps)
        return np.asarray(normal / np.linalg.norm(normal))


def is_dicom(path: Path) -> bool:
    """Whether a file carries DICOM's mark, or begins like DICOM without it.

    Raises:
        InputError: not a regular file, or one that may not be read.
    """
    with open_regular(path) as stream:
        head = stream.read(PREAMBLE_BYTES + len(MARK))
    return head[PREAMBLE_BYTES:] == MARK or _begins_without_preamble(head)


def _begins_without_preamble(head: bytes) -> bool:
    """Whether the first element is one of the groups a DICOM file begins with, with a type or a short length."""
    if len(head) < PREAMBLE_BYTES:
        return False
    group, element = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:4], "little")
    if group not in (2, 8) or element > 0x60:
        return False
    return head[4:6] in (b"UL", b"OB", b"UI", b"CS", b"DA", b"SH", b"LO") or int.from_bytes(head[4:8], "little") <= 128


def scan_files(paths: Iterable[Path]) -> tuple[list[SliceHeader], list[Path]]:
    """Headers of the DICOM files among `paths`, and the DICOM files too damaged to tell what they are. Skips all others."""
    headers: list[SliceHeader] = []
    damaged = []
    for path in paths:
        # A DICOMDIR is a table of contents.
        if not is_regular(path) or path.name.upper() == "DICOMDIR":
            continue
        try:
            if is_dicom(path):
                headers.extend(read_headers(path))
        except InputError:
            if _has_mark(path):
                damaged.append(path)
    return headers, damaged


def _has_mark(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(PREAMBLE_BYTES + len(MARK))[PREAMBLE_BYTES:] == MARK
    except OSError:
        return True


def read_headers(path: Path) -> list[SliceHeader]:
    """The header of one DICOM file, or of each of its frames.

    Raises:
        InputError: cut off or garbled within the header, or a file that belongs to no series.
    """
    try:
        _require_believable_deflation(path)
        dataset, plain = _read_before_pixels(path)
        if text(dataset, "SeriesInstanceUID"):
            syntax = dataset.file_meta.get("TransferSyntaxUID")
            syntax_name = syntax.name if syntax else "unknown"
            if has_frames(dataset):
                return [_slice_header(path, n, syntax_name, fields) for n, fields in enumerate(each_frame(dataset))]
            return [_slice_header(path, 0, syntax_name, dataset, plain)]
    except Exception as error:  # A garbled header makes pydicom raise nearly anything, also when a value is first used.
        raise InputError(f"The DICOM header of '{path.name}' is damaged ({error}). Copy the file again.") from error
    raise InputError(
        f"'{path.name}' is DICOM but belongs to no series: it is cut off, its UIDs were removed, or it is a list of files. "
        "Give the folder of the CT series."
    )


def _require_believable_deflation(path: Path) -> None:
    """pydicom unpacks a deflated file whole; one that grows without end is refused before."""
    import pydicom

    with path.open("rb") as stream:
        if stream.read(PREAMBLE_BYTES + len(MARK))[PREAMBLE_BYTES:] != MARK:
            return
        stream.seek(0)
        meta = pydicom.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") != DEFLATED:
            return
        # The group's length counts from behind its own element.
        stream.seek(PREAMBLE_BYTES + len(MARK) + 12 + int(meta.FileMetaInformationGroupLength))
        packed = stream.read()
    unpacker, most = zlib.decompressobj(-zlib.MAX_WBITS), DEFLATED_RATIO_AT_MOST * len(packed)
    if len(unpacker.decompress(packed, most + 1)) > most:
        raise InputError(f"it unpacks to more than {DEFLATED_RATIO_AT_MOST} times its size")


def _read_before_pixels(path: Path) -> tuple[Dataset, PlainPixels | None]:
    """The elements before the pixels, and where these lie, if that is plain."""
    from pydicom.filereader import read_partial

    pixels: list[tuple[int, int]] = []

    with path.open("rb") as stream:

        def at_pixels(tag: int, _vr: str | None, length: int) -> bool:
            if tag == PIXEL_DATA and length != NO_LENGTH:
                pixels.append((stream.tell(), length))
            return tag == PIXEL_DATA or tag in OTHER_PIXELS

        dataset = read_partial(stream, at_pixels, force=True, specific_tags=_tag_numbers())
    return dataset, _plain_pixels(dataset, *pixels[0]) if pixels else None


@cache
def _tag_numbers() -> list[Any]:
    from pydicom.tag import Tag

    return [Tag(keyword) for keyword in TAGS]


def _plain_pixels(dataset: Dataset, offset_bytes: int, size_bytes: int) -> PlainPixels | None:
    try:
        if dataset.file_meta.get("TransferSyntaxUID") in PLAIN_SYNTAXES and frame_count(dataset) == 1:
            fields = {keyword: dataset.get(keyword) for keyword in NUMBER_TAGS}
            return PlainPixels(offset_bytes, size_bytes, number_format(fields))
    except Exception:  # Values are converted when they are first used; who reads the pixels says what is wrong.
        return None
    return None


def _slice_header(
    path: Path,
    frame: int,
    transfer_syntax: str,
    fields: Mapping[str, Any] | Dataset,
    plain: PlainPixels | None = None,
) -> SliceHeader:
    position, orientation, spacing = (
        numbers(fields, keyword, count)
        for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    )
    thickness, slope, intercept = (
        number(fields, keyword) for keyword in ("SliceThickness", "RescaleSlope", "RescaleIntercept")
    )
    return SliceHeader(
        path=path,
        frame=frame,
        instance_number=_whole(fields, "InstanceNumber"),
        series_uid=text(fields, "SeriesInstanceUID"),
        study_uid=text(fields, "StudyInstanceUID"),
        frame_of_reference_uid=text(fields, "FrameOfReferenceUID"),
        modality=_modality(fields),
        description=text(fields, "SeriesDescription"),
        transfer_syntax=transfer_syntax,
        obstacle=obstacle_of(fields, position, orientation, spacing),
        shape=(int(fields.get("Rows") or 0), int(fields.get("Columns") or 0)),
        position_lps=_or_nan(position, 3),
        orientation_lps=_unit_rows(_or_nan(orientation, 6).reshape(2, 3)),
        spacing_mm=_or_nan(spacing, 2),
        thickness_mm=None if thickness is None or thickness <= 0 else thickness,
        slope=slope,
        intercept=intercept,
        is_inverted=text(fields, "PhotometricInterpretation") == "MONOCHROME1",
        plain=plain,
        padding=_padding(fields),
        patient_id=text(fields, "PatientID"),
        sop_instance_uid=text(fields, "SOPInstanceUID"),
        scan_marks=scan_marks(fields),
        is_original=bool(np.atleast_1d(fields.get("ImageType") or "")[0] == "ORIGINAL"),
        has_loss=text(fields, "LossyImageCompression") == LOSSY,
    )


def _modality(fields: Mapping[str, Any] | Dataset) -> str:
    return text(fields, "Modality") or ("CT" if text(fields, "SOPClassUID") in CT_CLASSES else "")


def _whole(fields: Mapping[str, Any] | Dataset, keyword: str) -> int | None:
    found = number(fields, keyword)
    return None if found is None else int(found)


def _padding(fields: Mapping[str, Any] | Dataset) -> int | None:
    value = fields.get("PixelPaddingValue")
    if isinstance(value, bytes):  # Where the file does not say whether its numbers are signed.
        return int.from_bytes(value[:4], "little")
    return value if isinstance(value, int) else None


def _unit_rows(axes: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    return axes / np.where(lengths > 0, lengths, 1.0)


def _or_nan(numbers: np.ndarray | None, count: int) -> np.ndarray:
    return np.full(count, np.nan) if numbers is None else numbers
