"""Arrays of numbers from .npz files, which may be damaged or hostile: nothing is unpickled, and no head is believed before its data are there."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from CLIPLungLib.image.regular_file import free_memory_bytes
from CLIPLungLib.image.voxel_data import CHUNK_BYTES, DEFLATE_RATIO_AT_MOST

NUMBERS = "biuf"
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile, zlib and the parser of an array's head raise for damaged files.
_DAMAGED = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError),
    *(ValueError, tokenize.TokenError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error),
)  # fmt: skip


def read_arrays(file: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of these names; others are left alone.

    Raises:
        OSError: the file cannot be opened.
        ValueError: no .npz file, damaged, without one of the names, or an array that holds no plain numbers.
    """
    with file.open("rb") as stream:
        return _read(stream, names)


def _read(stream: IO[bytes], names: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(stream) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            missing = [name for name in names if name not in members]
            if missing:
                raise ValueError(f"without {', '.join(missing)}")
            return {name: _array(archive, members[name]) for name in names}
    except _DAMAGED as error:
        reason = str(error)[:120] if isinstance(error, ValueError | zipfile.BadZipFile) else type(error).__name__
        raise ValueError(reason or type(error).__name__) from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type not in PACKINGS:
        raise ValueError(f"{member.filename} is packed in another way than deflated")
    with archive.open(member) as stream:
        shape, is_fortran, dtype = _head(stream)
        if dtype.kind not in NUMBERS:
            raise ValueError(f"{member.filename} holds {dtype}, no numbers")
        wanted = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or not wanted <= min(
            member.compress_size * DEFLATE_RATIO_AT_MOST, free_memory_bytes()
        ):
            raise ValueError(f"{member.filename} states {shape} numbers, more than the file or memory can hold")
        data = _filled(stream, wanted, member.filename).view(dtype)
    return data.reshape(shape, order="F" if is_fortran else "C")


def _head(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"an array of format {version}")


def _filled(stream: IO[bytes], wanted: int, name: str) -> np.ndarray:
    """(wanted,) bytes: all that the stream still holds, neither more nor less."""
    data, at = np.empty(wanted, np.uint8), 0
    while chunk := stream.read(CHUNK_BYTES):
        if at + len(chunk) > wanted:
            raise ValueError(f"{name} holds more than it states")
        data[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
        at += len(chunk)
    if at != wanted:
        raise ValueError(f"{name} is cut off: {at} of {wanted} bytes are there")
    return data
