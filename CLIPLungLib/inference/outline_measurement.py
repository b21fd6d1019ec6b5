"""The program's own measurement: from the outline the network draws around the click to diameters and volume in mm.

Diameters are taken as readers take them: on the axial plane with the largest area, the longest one and the widest across it.
The rim is where the outline's probability crosses one half, interpolated between pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.mask_filters import connected_parts, dilated

# A click may miss the nodule's rim by this much and still mean it.
REACH_MM = 4.0
RIM = 0.5
CUT_OFF = "The nodule reaches the end of what was looked at: it may be larger than measured."
OUTLINE_IN_DOUBT = (
    "The outline may be wrong: the nodule looks much larger or smaller than it. Check it, and correct it where needed."
)
# Above this many points of a rim only the corners of their hull are compared: no diameter ends elsewhere.
MOST_RIM_POINTS = 2000


@dataclass(frozen=True, eq=False)
class Measurement:
    """One nodule, measured on its patch.

    Attributes:
        diameter_mm: longest diameter in the axial plane of largest area.
        short_diameter_mm: extent across it, in the same plane.
        volume_mm3: of the outlined part.
        center_offset_mm: (3,) centroid of the outline less the middle of the patch, along planes, rows, columns.
        mask: (Z, Y, X) bool.
        is_cut: the object reaches the patch's border or a plane that does not exist, so it may be larger than measured.
        long_axis_mm: (2, 3) ends of the longest diameter less the middle of the patch, along planes, rows, columns.
        short_axis_mm: (2, 3) ends of the extent across it, likewise.
    """

    diameter_mm: float
    short_diameter_mm: float
    volume_mm3: float
    center_offset_mm: np.ndarray
    mask: np.ndarray
    is_cut: bool
    long_axis_mm: np.ndarray | None = None
    short_axis_mm: np.ndarray | None = None

    @property
    def mean_diameter_mm(self) -> float:
        """Mean of the longest and the short diameter, as guidelines on nodules ask for."""
        return (self.diameter_mm + self.short_diameter_mm) / 2


@dataclass(frozen=True, eq=False)
class PlaneAxes:
    """Long and short axis of an outline in its plane, in mm.

    Attributes:
        long_mm: (2, 2) ends of the longest diameter.
        short_mm: (2, 2) ends of the extent across it; drawn half way between the two places that reach farthest.
    """

    long_mm: np.ndarray
    short_mm: np.ndarray

    @property
    def lengths_mm(self) -> tuple[float, float]:
        """Of the long and of the short axis."""
        long_mm, short_mm = (np.linalg.norm(ends[1] - ends[0]) for ends in (self.long_mm, self.short_mm))
        return float(long_mm), float(short_mm)


def measure_outline(
    inside: np.ndarray,
    spacing_mm: tuple[float, float, float],
    exists: np.ndarray | None = None,
    reach_mm: float = REACH_MM,
) -> Measurement | None:
    """Measure the object at the middle of a patch.

    Args:
        inside: (Z, Y, X) probability that a voxel lies inside the nodule.
        spacing_mm: of planes, rows and columns.
        exists: (Z,) bool, which planes lie in the scan; all of them unless given.
        reach_mm: how far from the middle the object may begin.

    Returns:
        None when there is no object within reach.

    Raises:
        InputError: an outline with other than three axes, or values that are not probabilities.
    """
    _require_probabilities(inside)
    exists = np.ones(len(inside), dtype=bool) if exists is None else np.asarray(exists, dtype=bool)
    shown = np.where(exists[:, None, None], inside, 0.0)
    parts = connected_parts(shown > RIM)
    mask = _part_at_middle(parts, np.array(spacing_mm), reach_mm)
    if mask is None:
        return None
    share = _share_of_object(shown, parts, mask)
    plane = int((share * mask).sum(axis=(1, 2)).argmax())
    axes = plane_axes(rim_points(share[plane]) * spacing_mm[1:])
    longest_mm, across_mm = axes.lengths_mm
    middle = (np.array(mask.shape) - 1) / 2
    middle_mm = middle * spacing_mm
    return Measurement(
        diameter_mm=longest_mm,
        short_diameter_mm=across_mm,
        volume_mm3=float(share.sum() * np.prod(spacing_mm)),
        center_offset_mm=(_centroid(share) - middle) * spacing_mm,
        mask=mask,
        is_cut=_is_cut(mask, exists),
        long_axis_mm=np.insert(axes.long_mm, 0, plane * spacing_mm[0], axis=1) - middle_mm,
        short_axis_mm=np.insert(axes.short_mm, 0, plane * spacing_mm[0], axis=1) - middle_mm,
    )


def _require_probabilities(inside: np.ndarray) -> None:
    if inside.ndim != 3:
        raise InputError(
            f"An outline has three axes (plane, row, column), not {inside.ndim}. Give one patch at a time."
        )
    # Written so that NaN fails it too.
    if not ((inside >= 0) & (inside <= 1)).all():
        raise InputError(
            "The outline holds values that are not probabilities between 0 and 1, so nothing can be measured. "
            "Check the image for damaged voxels and the weights file for damage."
        )


def _part_at_middle(parts: np.ndarray, spacing_mm: np.ndarray, reach_mm: float) -> np.ndarray | None:
    """The labelled part (Z, Y, X) nearest to the middle, as a mask; None when none is within reach."""
    voxels = np.argwhere(parts)
    if len(voxels) == 0:
        return None
    distance_mm = np.linalg.norm((voxels - (np.array(parts.shape) - 1) / 2) * spacing_mm, axis=1)
    nearest = distance_mm.argmin()
    if distance_mm[nearest] > reach_mm:
        return None
    mask: np.ndarray = parts == parts[tuple(voxels[nearest])]
    return mask


def _share_of_object(inside: np.ndarray, parts: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(Z, Y, X) how much of each voxel is the object's: its rim lies half outside the mask, but not in another part."""
    near = dilated(mask) & (mask | (parts == 0))
    return np.where(near, inside, 0.0)


def _centroid(share: np.ndarray) -> np.ndarray:
    """(3,) plane, row and column of the middle of what is not 0."""
    places = np.argwhere(share)
    return np.asarray(np.average(places, axis=0, weights=share[tuple(places.T)]))


def rim_points(plane: np.ndarray) -> np.ndarray:
    """(N, 2) row and column where the line between two neighbouring pixels of a plane (Y, X) crosses the rim."""
    padded = np.pad(plane, 1)
    points = []
    for axis in (0, 1):
        first, second = (np.moveaxis(padded, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        crossed = np.argwhere((first > RIM) != (second > RIM))
        before, after = first[tuple(crossed.T)], second[tuple(crossed.T)]
        place = crossed - 1.0
        place[:, 0] += (before - RIM) / (before - after)
        points.append(place if axis == 0 else place[:, ::-1])
    return np.concatenate(points)


def plane_axes(points_mm: np.ndarray) -> PlaneAxes:
    """The longest distance between two points (N, 2) of a rim, and the extent of all of them across it."""
    if len(points_mm) > MOST_RIM_POINTS:
        points_mm = _hull(points_mm)
    apart = points_mm[:, None] - points_mm[None]  # (N, N, 2)
    length_mm = np.linalg.norm(apart, axis=2)
    first, second = np.unravel_index(length_mm.argmax(), length_mm.shape)
    along = apart[first, second] / length_mm[first, second]
    across = np.array([-along[1], along[0]])
    reach_mm = points_mm @ across
    outermost = [reach_mm.argmin(), reach_mm.argmax()]
    foot = (points_mm[outermost] @ along).mean() * along
    return PlaneAxes(points_mm[[first, second]], foot + reach_mm[outermost][:, None] * across)


def _hull(points: np.ndarray) -> np.ndarray:
    """The corners (M, 2) of the convex hull of points (N, 2), by Andrew's monotone chain."""
    ordered = np.unique(points, axis=0)
    half: list[np.ndarray] = []
    for chain in (ordered, ordered[::-1]):
        corners: list[np.ndarray] = []
        for point in chain:
            while len(corners) > 1 and not _turns_left(corners[-2], corners[-1], point):
                corners.pop()
            corners.append(point)
        half += corners[:-1]
    return np.array(half)


def _turns_left(start: np.ndarray, corner: np.ndarray, end: np.ndarray) -> bool:
    (first_y, first_x), (second_y, second_x) = corner - start, end - start
    return bool(first_y * second_x - first_x * second_y > 0)


def _is_cut(mask: np.ndarray, exists: np.ndarray) -> bool:
    touched = mask.any(axis=(1, 2))
    missing = np.pad(~exists, 1, constant_values=True)
    at_missing_plane = (touched & (missing[:-2] | missing[2:])).any()
    return bool(at_missing_plane or mask[:, [0, -1]].any() or mask[:, :, [0, -1]].any())
