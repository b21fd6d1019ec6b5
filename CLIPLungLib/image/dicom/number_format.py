"""How a DICOM file stores the numbers of its pixels, and where, if they lie there plain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from CLIPLungLib.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

NUMBER_TAGS = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")


@dataclass(frozen=True)
class NumberFormat:
    """How pixels are stored: numbers of `stored` bits that end at bit `high` of `allocated`; other bits may hold overlays."""

    allocated: int
    stored: int
    high: int
    signed: bool


@dataclass(frozen=True)
class PlainPixels:
    """Pixels of a single frame that lie in the file as little-endian numbers.

    Attributes:
        offset_bytes: of the first pixel from the file's beginning.
        size_bytes: as the file states it.
        numbers: their form.
    """

    offset_bytes: int
    size_bytes: int
    numbers: NumberFormat


def number_format(fields: Mapping[str, Any] | Dataset) -> NumberFormat:
    """The form of the pixels of a file.

    Raises:
        InputError: bits that no image has.
    """
    allocated, signed = int(fields.get("BitsAllocated") or 0), int(fields.get("PixelRepresentation") or 0) == 1
    stored = int(fields.get("BitsStored") or allocated)
    high = int(fields.get("HighBit") or stored - 1)
    if allocated not in (8, 16, 32) or not 1 <= stored <= high + 1 <= allocated:
        raise InputError(f"its pixels have {stored} of {allocated} bits up to bit {high}")
    return NumberFormat(allocated, stored, high, signed)


def without_other_bits(raw: np.ndarray, numbers: NumberFormat) -> np.ndarray:
    """Whole numbers (int32, or int64 for numbers of more than 16 bits) of unsigned ones of `allocated` bits as they lie in the file."""
    wide = 32 if numbers.allocated <= 16 else 64
    unsigned = np.dtype(f"u{wide // 8}")
    up = raw.astype(unsigned)
    up <<= unsigned.type(wide - 1 - numbers.high)
    up = up.view(f"i{wide // 8}") if numbers.signed else up
    up >>= up.dtype.type(wide - numbers.stored)
    return up.view(f"i{wide // 8}")
