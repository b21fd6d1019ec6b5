"""What ITK's file readers let pass: half a NIfTI file is filled with zeros, a damaged compressed MetaImage with anything,
and a file that does not say where it lies is put at the origin. Each would give an answer about the wrong voxels.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from CLIPLungLib.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 20
LONGEST_HEADER_BYTES = 1 << 16
# MetaImage has several names for the same field.
META_PLACE_FIELDS = (
    ("ElementSpacing", "ElementSize"),
    ("Offset", "Position", "Origin"),
    ("TransformMatrix", "Rotation", "Orientation"),
)


def check_file(path: Path, file_format: str, reader: sitk.ImageFileReader) -> None:
    """Refuse a file whose voxels are incomplete or whose place in the patient is unknown. Reads no voxels into memory.

    Args:
        path: the file.
        file_format: "NRRD", "NIfTI" or "MetaImage".
        reader: has read the image's header.

    Raises:
        InputError: naming the file and what it lacks.
    """
    {"NRRD": _check_nrrd, "NIfTI": _check_nifti, "MetaImage": _check_metaimage}[file_format](path, reader)


def _check_nrrd(path: Path, reader: sitk.ImageFileReader) -> None:
    fields = {key.strip().lower() for key, _ in _header_fields(path, ":")}
    missing = [name for name in ("space", "space directions", "space origin") if name not in fields]
    if missing:
        raise _without_place(path, f"its header has no '{missing[0]}'")
    # ITK turns every anatomical space into this one and leaves others as they are.
    space = reader.GetMetaData("NRRD_space")
    if space != "left-posterior-superior":
        raise _without_place(path, f"its space is '{space}'")


def _check_nifti(path: Path, reader: sitk.ImageFileReader) -> None:
    if int(reader.GetMetaData("sform_code")) <= 0 and int(reader.GetMetaData("qform_code")) <= 0:
        raise _without_place(path, "both its sform and its qform are unset")
    voxel_bytes = math.prod(reader.GetSize()) * int(reader.GetMetaData("bitpix")) // 8
    wanted = int(float(reader.GetMetaData("vox_offset"))) + voxel_bytes
    found = _unpacked_bytes(path)
    if found < wanted:
        raise InputError(f"'{path.name}' is incomplete: {found} of {wanted} bytes are there. Copy or export it again.")


def _check_metaimage(path: Path, reader: sitk.ImageFileReader) -> None:
    fields = {key.strip(): value.strip() for key, value in _header_fields(path, "=")}
    for names in META_PLACE_FIELDS:
        if not fields.keys() & set(names):
            raise _without_place(path, f"its header has no '{names[0]}'")
    if fields.get("CompressedData", "False").lower() == "true":
        wanted = math.prod(reader.GetSize()) * _voxel_bytes(reader)
        _check_zlib(path, fields["ElementDataFile"], wanted)


def _check_zlib(path: Path, data_file: str, wanted_bytes: int) -> None:
    data_path = path if data_file.upper() == "LOCAL" else path.parent / data_file
    if not data_path.is_file():
        return  # ITK refuses it itself.
    unpacker, found = zlib.decompressobj(), 0
    with data_path.open("rb") as stream:
        if data_path == path:
            _skip_past_line(stream, b"ElementDataFile")
        try:
            found = sum(len(unpacker.decompress(chunk)) for chunk in _chunks(stream.read))
        except zlib.error as error:
            raise _damaged(path) from error
    if not unpacker.eof or found != wanted_bytes:
        raise _damaged(path)


def _unpacked_bytes(path: Path) -> int:
    """Size of a file, after unpacking where it is packed. Verifies gzip's checksum."""
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP_MAGIC
    if not packed:
        return path.stat().st_size
    try:
        with gzip.open(path, "rb") as stream:
            return sum(len(chunk) for chunk in _chunks(stream.read))
    except (EOFError, OSError, zlib.error) as error:
        raise _damaged(path) from error


def _chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    return iter(lambda: read(CHUNK_BYTES), b"")


def _header_fields(path: Path, separator: str) -> Iterator[tuple[str, str]]:
    """Key and value of the text lines a file starts with, up to an empty line (NRRD) or the last field (MetaImage)."""
    with path.open("rb") as stream:
        for line in stream.read(LONGEST_HEADER_BYTES).split(b"\n"):
            text = line.decode("latin-1").strip()
            key, found, value = text.partition(separator)
            if found:
                yield key, value
            if not text or key.strip() == "ElementDataFile":
                return


def _skip_past_line(stream: BinaryIO, start: bytes) -> None:
    for line in stream:
        if line.startswith(start):
            return


def _voxel_bytes(reader: sitk.ImageFileReader) -> int:
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.Image([1, 1, 1], reader.GetPixelID())).itemsize


def _damaged(path: Path) -> InputError:
    return InputError(f"'{path.name}' is damaged: its compressed voxels cannot be unpacked. Copy or export it again.")


def _without_place(path: Path, reason: str) -> InputError:
    return InputError(
        f"'{path.name}' does not say where it lies in the patient ({reason}), so no point can be found in it. "
        "Export the CT again with its position and orientation, or load it from DICOM."
    )
