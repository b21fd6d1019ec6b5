"""RLE Lossless pixels (DICOM PS3.5 annex G). Decoded here: ITK's decoder ends the program on a garbled head."""

from __future__ import annotations

import struct

import numpy as np

HEADER_BYTES = 64


def decode_rle(packed: bytes, shape: tuple[int, int], allocated: int) -> np.ndarray:
    """(J, I) unsigned numbers of `allocated` bits.

    Raises:
        ValueError: another number of segments or bytes than the shape needs.
    """
    sample_bytes, pixels = allocated // 8, shape[0] * shape[1]
    if len(packed) < HEADER_BYTES:
        raise ValueError("the head of the run lengths is cut off")
    count, *offsets = struct.unpack_from("<16I", packed)
    if count != sample_bytes:
        raise ValueError(f"{count} segments are there where {sample_bytes} are needed")
    ends = [*offsets[1:count], len(packed)]
    planes = np.empty((pixels, sample_bytes), np.uint8)
    for segment, (start, end) in enumerate(zip(offsets[:count], ends, strict=True)):
        if not HEADER_BYTES <= start <= end <= len(packed):
            raise ValueError("its segments lie outside the data")
        planes[:, segment] = np.frombuffer(_runs(packed[start:end], pixels), np.uint8)
    # The first segment holds the highest byte.
    return planes.view(f">u{sample_bytes}").reshape(shape)


def _runs(data: bytes, wanted: int) -> bytes:
    out, at, end = bytearray(), 0, len(data)
    while len(out) < wanted and at + 1 < end:
        head = data[at]
        if head < 128:
            out += data[at + 1 : at + 2 + head]
            at += 2 + head
        elif head > 128:
            out += data[at + 1 : at + 2] * (257 - head)
            at += 2
        else:
            at += 1
    if len(out) != wanted:
        raise ValueError(f"a segment unpacks to {len(out)} bytes, not {wanted}")
    return bytes(out)
