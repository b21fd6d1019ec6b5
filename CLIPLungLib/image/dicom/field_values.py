"""Single values of a DICOM file or of one of its frames; what is missing or garbled is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset


def text(fields: Mapping[str, Any] | Dataset, keyword: str) -> str:
    """A value as words; empty where missing."""
    return str(fields.get(keyword) or "").strip()


def numbers(fields: Mapping[str, Any] | Dataset, keyword: str, count: int) -> np.ndarray | None:
    """(count,) finite numbers, or None."""
    try:
        found = np.atleast_1d(np.array(fields.get(keyword), dtype=np.float64))
    except (ValueError, TypeError):
        return None
    return found if found.shape == (count,) and np.isfinite(found).all() else None


def number(fields: Mapping[str, Any] | Dataset, keyword: str) -> float | None:
    """A finite number, or None."""
    found = numbers(fields, keyword, 1)
    return None if found is None else float(found[0])
