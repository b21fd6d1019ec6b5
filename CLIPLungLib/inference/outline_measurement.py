"""The program's own measurement: from the outline the network draws around the click to diameters and volume in mm.

Diameters are taken as readers take them: on the axial plane with the largest area, the longest one and the widest across it.
The rim is where the outline's probability crosses one half, interpolated between pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CLIPLungLib.errors import InputError

# A click may miss the nodule's rim by this much and still mean it.
REACH_MM = 4.0
RIM = 0.5


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
    """

    diameter_mm: float
    short_diameter_mm: float
    volume_mm3: float
    center_offset_mm: np.ndarray
    mask: np.ndarray
    is_cut: bool

    @property
    def mean_diameter_mm(self) -> float:
        """Mean of the longest and the short diameter, as guidelines on nodules ask for."""
        return (self.diameter_mm + self.short_diameter_mm) / 2


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
    parts, _ = ndimage.label(shown > RIM, structure=np.ones((3, 3, 3)))
    mask = _part_at_middle(parts, np.array(spacing_mm), reach_mm)
    if mask is None:
        return None
    share = _share_of_object(shown, parts, mask)
    plane = int((share * mask).sum(axis=(1, 2)).argmax())
    longest_mm, across_mm = _diameters_mm(_rim_points(share[plane]) * spacing_mm[1:])
    middle = (np.array(mask.shape) - 1) / 2
    return Measurement(
        diameter_mm=longest_mm,
        short_diameter_mm=across_mm,
        volume_mm3=float(share.sum() * np.prod(spacing_mm)),
        center_offset_mm=(np.array(ndimage.center_of_mass(share)) - middle) * spacing_mm,
        mask=mask,
        is_cut=_is_cut(mask, exists),
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
    near = ndimage.binary_dilation(mask, structure=np.ones((3, 3, 3))) & (mask | (parts == 0))
    return np.where(near, inside, 0.0)


def _rim_points(plane: np.ndarray) -> np.ndarray:
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


def _diameters_mm(points_mm: np.ndarray) -> tuple[float, float]:
    """Longest distance between two of the points (N, 2), and the extent of all of them across it."""
    apart = points_mm[:, None] - points_mm[None]  # (N, N, 2)
    length_mm = np.linalg.norm(apart, axis=2)
    longest = np.unravel_index(length_mm.argmax(), length_mm.shape)
    along = apart[longest] / length_mm[longest]
    return float(length_mm[longest]), float(np.ptp(points_mm @ [-along[1], along[0]]))


def _is_cut(mask: np.ndarray, exists: np.ndarray) -> bool:
    touched = mask.any(axis=(1, 2))
    missing = np.pad(~exists, 1, constant_values=True)
    at_missing_plane = (touched & (missing[:-2] | missing[2:])).any()
    return bool(at_missing_plane or mask[:, [0, -1]].any() or mask[:, :, [0, -1]].any())
