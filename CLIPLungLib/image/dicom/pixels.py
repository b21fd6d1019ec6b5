"""The pixels of DICOM slices in Hounsfield units. Plain ones are read here; packed ones by ITK, frame by frame.

Nothing is unpacked before its stated size was believed: the packed data carry a size of their own, and both must agree.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom.codestream import is_believable
from CLIPLungLib.image.dicom.frames import frame_count
from CLIPLungLib.image.dicom.header import SliceHeader
from CLIPLungLib.image.dicom.number_format import NUMBER_TAGS, NumberFormat, number_format, without_other_bits
from CLIPLungLib.image.dicom.rle import decode_rle
from CLIPLungLib.image.hounsfield import PADDING_READ_AS_HU

if TYPE_CHECKING:
    from pydicom import Dataset

# A CT slice has 512 to 2048 pixels along a side.
MOST_PIXELS_PER_SLICE = 4096 * 4096
RLE_LOSSLESS = "1.2.840.10008.1.2.5"
PIXEL_TAGS = (*NUMBER_TAGS, "Columns", "NumberOfFrames", "PixelData", "Rows")
# Metal alone lies higher in a patient; padding that does is read as air, as low padding is.
HIGH_PADDING_FROM_HU = 2000.0
# Of stored numbers of up to 16 bits; a slope and an intercept of less keep HU within 32 bits.
SMALL_RESCALE = 1 << 14


def read_planes(headers: Iterable[SliceHeader]) -> Iterator[np.ndarray]:
    """(J, I) HU of each slice: whole numbers where slope and intercept are whole, else float32.

    Raises:
        InputError: pixels that are missing, of another size than stated, or packed in an unknown way.
    """
    path, dataset = None, None
    for header in headers:
        plain = _plain_plane(header)
        if plain is not None:
            yield _without_high_padding(_to_hu(plain, header), plain, header)
            continue
        if header.path != path:
            path, dataset = header.path, _pixel_dataset(header)
        assert dataset is not None
        stored = _stored_pixels(header, dataset)
        yield _without_high_padding(_to_hu(stored, header), stored, header)


def _without_high_padding(hu: np.ndarray, stored: np.ndarray, header: SliceHeader) -> np.ndarray:
    """The same HU, with air where the file says that nothing was measured and the number there looks like metal."""
    if header.padding is not None:
        # Files state it signed or unsigned, whatever their pixels are.
        is_padding = (stored & 0xFFFF) == (header.padding & 0xFFFF)
        hu[is_padding & (hu > HIGH_PADDING_FROM_HU)] = PADDING_READ_AS_HU
    return hu


def _to_hu(stored: np.ndarray, header: SliceHeader) -> np.ndarray:
    slope = 1.0 if header.slope is None else header.slope
    intercept = 0.0 if header.intercept is None else header.intercept
    if slope.is_integer() and intercept.is_integer() and max(abs(slope), abs(intercept)) < 2**31:
        if stored.dtype == np.int32 and max(abs(slope), abs(intercept)) < SMALL_RESCALE:
            return np.asarray(stored * np.int32(slope) + np.int32(intercept))
        return stored.astype(np.int64) * int(slope) + int(intercept)
    return (stored * slope + intercept).astype(np.float32)


def _plain_plane(header: SliceHeader) -> np.ndarray | None:
    """(J, I) numbers as stored, straight from their place in the file; None where they must be looked for or something is amiss."""
    plain, pixels = header.plain, header.shape[0] * header.shape[1]
    if plain is None or pixels > MOST_PIXELS_PER_SLICE:
        return None
    wanted = pixels * plain.numbers.allocated // 8
    if plain.size_bytes not in (wanted, wanted + wanted % 2):
        return None
    try:
        with header.path.open("rb") as stream:
            stream.seek(plain.offset_bytes)
            data = stream.read(plain.size_bytes)
    except OSError:
        return None
    if len(data) != plain.size_bytes:
        return None
    raw = np.frombuffer(data[:wanted], f"<u{plain.numbers.allocated // 8}")
    return without_other_bits(raw.reshape(header.shape), plain.numbers)


def _pixel_dataset(header: SliceHeader) -> Dataset:
    import pydicom

    rows, columns = header.shape
    if rows * columns > MOST_PIXELS_PER_SLICE:
        raise InputError(
            f"The slice '{header.path.name}' states {rows} x {columns} pixels; at most {MOST_PIXELS_PER_SLICE} are read. "
            "Copy or export it again."
        )
    try:
        return pydicom.dcmread(header.path, specific_tags=list(PIXEL_TAGS), force=True)
    except Exception as error:  # pydicom raises nearly anything on garbled files.
        raise _undecodable(header, "its pixels cannot be found") from error


def _stored_pixels(header: SliceHeader, dataset: Dataset) -> np.ndarray:
    """(J, I) numbers as stored, before slope and intercept."""
    try:
        numbers = number_format(dataset)
        data, frames = bytes(dataset.get("PixelData") or b""), frame_count(dataset)
        syntax = dataset.file_meta.get("TransferSyntaxUID")
        is_packed = bool(syntax and syntax.is_compressed and syntax.is_encapsulated)
        order = "<" if not syntax or syntax.is_little_endian else ">"
    except InputError as error:
        raise _undecodable(header, str(error)) from error
    except Exception as error:  # Values are converted when they are first used.
        raise _undecodable(header, "the description of its pixels is damaged") from error
    if is_packed:
        return _unpacked(header, _packed_frame(header, data, frames), str(syntax), numbers)
    plane_bytes = header.shape[0] * header.shape[1] * numbers.allocated // 8
    wanted = plane_bytes * frames
    if len(data) not in (wanted, wanted + wanted % 2):
        raise _undecodable(header, f"{len(data)} bytes of pixels are there where {wanted} are stated")
    start = header.frame * plane_bytes
    raw = np.frombuffer(data[start : start + plane_bytes], f"{order}u{numbers.allocated // 8}")
    return without_other_bits(raw.reshape(header.shape), numbers)


def _unpacked(header: SliceHeader, packed: bytes, syntax: str, numbers: NumberFormat) -> np.ndarray:
    if syntax == RLE_LOSSLESS:
        try:
            return without_other_bits(decode_rle(packed, header.shape, numbers.allocated), numbers)
        except ValueError as error:
            raise _undecodable(header, str(error)) from error
    if not is_believable(packed, syntax, header.shape, numbers.allocated):
        raise _undecodable(header, "its packed pixels are of another size or kind than its header states")
    with tempfile.TemporaryDirectory(prefix="cliplung-") as folder:
        path = Path(folder) / "slice.dcm"
        path.write_bytes(_single_frame_file(packed, syntax, header.shape, numbers))
        pixels = _read_by_itk(path, header)
    if pixels.shape != (1, *header.shape):
        raise _undecodable(header, f"it decodes to {pixels.shape} pixels, not {header.shape}")
    return np.asarray(pixels[0])


def _packed_frame(header: SliceHeader, data: bytes, frames: int) -> bytes:
    from pydicom import encaps

    try:
        if hasattr(encaps, "get_frame"):
            return bytes(encaps.get_frame(data, header.frame, number_of_frames=frames))
        for number, frame in enumerate(encaps.generate_pixel_data_frame(data, frames)):  # pydicom 2
            if number == header.frame:
                return bytes(frame)
    except Exception as error:  # pydicom raises nearly anything on garbled packets.
        raise _undecodable(header, "its packed pixels are damaged") from error
    raise _undecodable(header, f"frame {header.frame} is missing")


def _single_frame_file(packed: bytes, syntax: str, shape: tuple[int, int], numbers: NumberFormat) -> bytes:
    """A DICOM file of one packed frame and nothing that ITK would apply to it."""

    def element(group: int, number: int, vr: str, value: bytes | int) -> bytes:
        value = struct.pack("<H", value) if isinstance(value, int) else value + b"\0" * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, vr.encode(), len(value)) + value

    meta = (
        element(2, 2, "UI", b"1.2.840.10008.5.1.4.1.1.7")
        + element(2, 3, "UI", b"1.2.3")
        + element(2, 0x10, "UI", syntax.encode())
    )
    body = element(8, 0x16, "UI", b"1.2.840.10008.5.1.4.1.1.7") + element(8, 0x18, "UI", b"1.2.3")
    body += element(0x28, 2, "US", 1) + element(0x28, 4, "CS", b"MONOCHROME2 ")
    for number, value in (
        (0x10, shape[0]),
        (0x11, shape[1]),
        (0x100, numbers.allocated),
        (0x101, numbers.stored),
        (0x102, numbers.stored - 1),
    ):
        body += element(0x28, number, "US", value)
    body += element(0x28, 0x103, "US", int(numbers.signed))
    packed += b"\0" * (len(packed) % 2)
    item, end = struct.pack("<HH", 0xFFFE, 0xE000), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + item + struct.pack("<I", 0)
    pixels += item + struct.pack("<I", len(packed)) + packed + end
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta))
    return b"\0" * 128 + b"DICM" + length + meta + body + pixels


def _read_by_itk(path: Path, header: SliceHeader) -> np.ndarray:
    import SimpleITK as sitk

    try:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    except RuntimeError as error:
        raise _undecodable(header, "its packed pixels are damaged or packed in an unknown way") from error


def _undecodable(header: SliceHeader, reason: str) -> InputError:
    reason = re.sub(r"\s+", " ", reason)[:200]
    return InputError(
        f"The slice '{header.path.name}' cannot be decoded (transfer syntax {header.transfer_syntax}): {reason}. "
        "If the file is damaged, copy it again; if its compression is unknown here, export the series uncompressed."
    )
