"""Axial planes of a scan that hold one value only. No scanner makes them: they were lost in a transfer, or added by a program.

At the ends of a scan they are no part of it. Between others they hide what is there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import BORDER_TOLERANCE, CTVolume

# A look at every n-th pixel tells most planes.
PIXEL_STEP = 16


def without_blank_ends(ct: CTVolume, axis: int, lowest: float, highest: float) -> CTVolume:
    """The scan without the blank planes that end it, where a patch reaches them; the same scan elsewhere. A made-up scan without noise
    has none.

    Args:
        ct: the scan.
        axis: of its voxels (i, j, k) along which the planes follow each other.
        lowest, highest: continuous planes that the patch reaches.

    Raises:
        InputError: blank planes between others within the patch.
    """
    count = int(ct.size_ijk[axis])
    first, last = (
        max(0, int(np.floor(lowest + BORDER_TOLERANCE))),
        min(count - 1, int(np.ceil(highest - BORDER_TOLERANCE))),
    )
    blank = {plane for plane in range(first, last + 1) if _is_blank(ct, axis, plane)}
    if not blank or not ct.carries_noise:
        return ct
    begin, end = _sound_end(ct, axis, 0, 1), _sound_end(ct, axis, count - 1, -1)
    between = sorted(plane for plane in blank if begin < plane < end)
    if between:
        raise InputError(
            f"'{ct.name}' holds one value only in the plane(s) {between} around the point (counted from 0): they were lost when it was copied "
            "or exported. Copy or export the complete series."
        )
    return _cut(ct, axis, begin, end)


def _is_blank(ct: CTVolume, axis: int, plane: int) -> bool:
    values = np.moveaxis(ct.hu, 2 - axis, 0)[plane]
    some = values[::PIXEL_STEP, ::PIXEL_STEP]
    return bool((some == some[0, 0]).all() and (values == values[0, 0]).all())


def _sound_end(ct: CTVolume, axis: int, plane: int, step: int) -> int:
    """The first plane from one end that is not blank."""
    while 0 <= plane < ct.size_ijk[axis] and _is_blank(ct, axis, plane):
        plane += step
    return plane


def _cut(ct: CTVolume, axis: int, begin: int, end: int) -> CTVolume:
    """The planes from `begin` to `end`, both included; none where all are blank."""
    if begin > end:
        return ct
    box = [slice(None)] * 3
    box[2 - axis] = slice(begin, end + 1)
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 3] += begin * matrix[:3, axis]
    doubtful = tuple(k - begin for k in ct.doubtful_k if begin <= k <= end) if axis == 2 else ct.doubtful_k
    return replace(ct, hu=ct.hu[tuple(box)], ijk_to_ras=matrix, doubtful_k=doubtful)
