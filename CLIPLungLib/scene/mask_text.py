"""A mask as text inside a scene: packed bits, compressed, in base64."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

import numpy as np


def mask_to_plain(mask: np.ndarray) -> dict[str, Any]:
    """A mask (Z, Y, X) bool as plain values for JSON."""
    packed = zlib.compress(np.packbits(mask.astype(bool)).tobytes())
    return {"shape": list(mask.shape), "bits": base64.b64encode(packed).decode("ascii")}


def mask_from_plain(plain: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `mask_to_plain`, for a mask of a known shape; whatever the text says, no more memory than that is taken.

    Raises:
        ValueError: not a mask of this shape.
    """
    if not isinstance(plain, dict) or plain.get("shape") != list(shape) or not isinstance(plain.get("bits"), str):
        raise ValueError(f"the outline is not on the heat map's grid {shape}")
    voxels = int(np.prod(shape))
    expected_bytes = (voxels + 7) // 8
    decompressor = zlib.decompressobj()
    try:
        # One byte more than it may be, so that a longer one is noticed and not unpacked.
        packed = decompressor.decompress(base64.b64decode(plain["bits"], validate=True), expected_bytes + 1)
    except (binascii.Error, zlib.error) as error:
        raise ValueError("the outline cannot be unpacked") from error
    if len(packed) != expected_bytes or not decompressor.eof or decompressor.unused_data:
        raise ValueError("the outline holds more or less than its grid")
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=voxels).astype(bool).reshape(shape)
