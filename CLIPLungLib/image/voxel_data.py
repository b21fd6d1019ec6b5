"""The voxels of a file, plain or packed: exactly as many bytes as its header states, with the checksum verified."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.regular_file import require_believable_size

CHUNK_BYTES = 1 << 20
# Deflate cannot pack more tightly.
DEFLATE_RATIO_AT_MOST = 1032
# A CT packs to a half or a quarter. A small image may be made up; a large one that packs so well is made to fill the memory.
CT_RATIO_AT_MOST = 100
LARGE_BYTES = 1 << 28

Packing = Literal["raw", "gzip", "zlib"]


def read_voxels(
    path: Path, stream: BinaryIO, packing: Packing, size_ijk: Sequence[int], dtype: np.dtype, skipped_bytes: int = 0
) -> np.ndarray:
    """The voxels a header promises.

    Args:
        path: named in messages.
        stream: the file, at the first byte of its (packed) data.
        packing: how the data are packed.
        size_ijk: voxels along i, j, k.
        dtype: of the stored numbers, with their byte order.
        skipped_bytes: bytes of the unpacked data that come before the voxels.

    Returns:
        (K, J, I), in the machine's byte order.

    Raises:
        InputError: an unbelievable size, fewer or more bytes than promised, a wrong checksum.
    """
    wanted = require_believable_size(path.name, size_ijk, dtype.itemsize)
    stored = os.fstat(stream.fileno()).st_size - stream.tell()
    promised = skipped_bytes + wanted
    if packing == "raw" and stored != promised:
        raise wrong_length(path, stored, promised)
    if packing != "raw" and stored * DEFLATE_RATIO_AT_MOST < promised:
        raise wrong_length(path, stored, promised)
    if packing != "raw" and wanted > LARGE_BYTES and wanted > stored * CT_RATIO_AT_MOST:
        raise InputError(
            f"'{path.name}' packs {wanted / 2**20:.0f} MB into {stored / 2**20:.1f} MB, which no CT does. Copy or export it again."
        )
    data = np.empty(wanted, np.uint8)
    _fill(path, data, _unpacked(stream, packing), skipped_bytes)
    voxels = data.view(dtype).reshape(tuple(size_ijk)[::-1])
    return voxels if dtype.isnative else voxels.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _fill(path: Path, data: np.ndarray, chunks: Iterator[bytes], skipped_bytes: int) -> None:
    """Copy the chunks behind the skipped bytes into `data`; they must fill it exactly. Stops at the first byte too many."""
    at = -skipped_bytes
    try:
        for chunk in chunks:
            if at + len(chunk) > data.size:
                raise wrong_length(path, None, skipped_bytes + data.size)
            used = chunk[max(0, -at) :]
            start = max(0, at)
            data[start : start + len(used)] = np.frombuffer(used, np.uint8)
            at += len(chunk)
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(path) from error
    if at != data.size:
        raise wrong_length(path, skipped_bytes + at, skipped_bytes + data.size)


def _unpacked(stream: BinaryIO, packing: Packing) -> Iterator[bytes]:
    if packing == "zlib":
        return _inflated(stream)
    if packing == "gzip":
        with_checksum = gzip.GzipFile(fileobj=stream)  # Raises at the end where the checksum or the length is wrong.
        return iter(lambda: with_checksum.read(CHUNK_BYTES), b"")
    return iter(lambda: stream.read(CHUNK_BYTES), b"")


def _inflated(stream: BinaryIO) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    while not unpacker.eof:
        packed = unpacker.unconsumed_tail or stream.read(CHUNK_BYTES)
        chunk = unpacker.decompress(packed, CHUNK_BYTES)
        if not chunk and not packed:
            raise EOFError
        yield chunk


def wrong_length(path: Path, found: int | None, promised: int) -> InputError:
    """The error of data that are too short or too long; `found` is None where there are more than promised."""
    count = "more" if found is None else str(found)
    if found is not None and found < promised:
        return InputError(
            f"'{path.name}' is incomplete: {found} of {promised} bytes are there. Copy or export it again."
        )
    return InputError(
        f"'{path.name}' is damaged: {count} bytes are there where its header promises {promised}. Copy or export it again."
    )


def damaged(path: Path) -> InputError:
    """The error of packed data that do not unpack, or whose checksum is wrong."""
    return InputError(f"'{path.name}' is damaged: its compressed voxels cannot be unpacked. Copy or export it again.")
