"""Slices that were stored twice: files of one SOPInstanceUID whose header was edited or whose pixels were packed anew in between."""

from __future__ import annotations

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom.header import SliceHeader
from CLIPLungLib.image.dicom.pixels import read_planes


def without_repeats(slices: list[SliceHeader]) -> tuple[list[SliceHeader], int]:
    """The slices without those that another file holds as well, with the same UID, place and HU; and how many were left out."""
    kept: list[SliceHeader] = []
    by_identity: dict[tuple[object, ...], SliceHeader] = {}
    for header in slices:
        if header.sop_instance_uid and not header.obstacle:
            grid = header.position_lps, header.orientation_lps, header.spacing_mm
            identity = (header.sop_instance_uid, header.frame, *(numbers.tobytes() for numbers in grid))
            first = by_identity.setdefault(identity, header)
            if first is not header and _same_hu(first, header):
                continue
        kept.append(header)
    return kept, len(slices) - len(kept)


def _same_hu(first: SliceHeader, second: SliceHeader) -> bool:
    try:
        one, other = read_planes([first, second])
    except InputError:
        return False
    return bool(np.array_equal(one, other))
