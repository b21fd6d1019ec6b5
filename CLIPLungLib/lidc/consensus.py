"""The nodule that at least half of its readers agree on, in the voxels of the scan.

LIDC-IDRI's readers drew along the first pixels outside a nodule, and cut holes in the same way. Here **the outline's own pixels
count as nodule**, and those of a hole's outline stay nodule. Diameters (longest distance between two points of an outline) and
volumes (area within the line through them) of the nodule table reach to these pixels, too, and the smallest nodules would lose
most of their voxels without them. The mask is larger than the readers' line by about half a pixel all round; without these
pixels it would be as much smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from CLIPLungLib.lidc.annotations import Contour, Reading


@dataclass(frozen=True, eq=False)
class ConsensusMask:
    """Voxels of a nodule.

    Attributes:
        inside: (K, J, I) bool, a box around all outlines.
        first_ijk: (3,) voxel of the scan where the box begins.
    """

    inside: np.ndarray
    first_ijk: np.ndarray

    @property
    def is_empty(self) -> bool:
        """Whether no voxel is agreed on."""
        return not self.inside.any()

    @property
    def centroid_ijk(self) -> np.ndarray:
        """(3,) mean voxel index; the mask must not be empty."""
        return np.asarray(np.argwhere(self.inside).mean(axis=0)[::-1] + self.first_ijk)


def consensus_mask(readings: Sequence[Reading], plane_of: Callable[[float], int]) -> ConsensusMask:
    """The voxels inside the outlines of at least half of the readers.

    Args:
        readings: of one nodule.
        plane_of: the scan's plane k of an outline's height in mm.
    """
    contours = [contour for reading in readings for contour in reading.contours]
    points = np.concatenate([contour.points_px for contour in contours]).astype(int)
    planes = [plane_of(contour.z_mm) for contour in contours]
    first_ijk = np.array([*points.min(axis=0), min(planes)])
    shape = tuple((np.array([*points.max(axis=0), max(planes)]) - first_ijk + 1)[::-1])
    votes = np.zeros(shape)
    for reading in readings:
        votes += _inside(reading, plane_of, first_ijk, shape)
    return ConsensusMask(votes / len(readings) >= 0.5, first_ijk)


def _inside(
    reading: Reading, plane_of: Callable[[float], int], first_ijk: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """(K, J, I) bool: what one reader outlined."""
    inside = np.zeros(shape, dtype=bool)
    for contour in sorted(reading.contours, key=lambda contour: not contour.includes):
        plane = inside[plane_of(contour.z_mm) - first_ijk[2]]
        within, along = _within_and_along(contour, first_ijk, plane.shape)
        if contour.includes:
            plane |= within | along
        else:
            plane &= ~within | along
    return inside


def _within_and_along(contour: Contour, first_ijk: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(J, I) bool: pixels within an outline (crossed an odd number of times on the way out), and pixels on its line."""
    y, x = np.indices(shape)
    corners = contour.points_px.astype(int) - first_ijk[:2]
    within, along = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    along[corners[:, 1], corners[:, 0]] = True
    for (x0, y0), (x1, y1) in pairwise([*corners, corners[0]]):
        side = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        spans = (y0 > y) != (y1 > y)
        within ^= spans & ((side > 0) if y1 > y0 else (side < 0))
        between = (
            (np.minimum(x0, x1) <= x)
            & (x <= np.maximum(x0, x1))
            & (np.minimum(y0, y1) <= y)
            & (y <= np.maximum(y0, y1))
        )
        along |= (side == 0) & between
    return within, along
