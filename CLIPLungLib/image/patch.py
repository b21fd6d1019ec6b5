"""What the network sees: a block of fixed size in mm around a point, resampled in patient space.

The block's axes are the patient's (columns to the left, rows to the back, planes upwards), whatever the scan's own axes are.
Planes outside the scan are marked absent; inside an existing plane, pixels beyond the border repeat the border's value,
because air there would be an invention.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.blank_planes import without_blank_ends
from CLIPLungLib.image.ct_volume import BORDER_TOLERANCE, CTVolume
from CLIPLungLib.image.filled_in import filled_in
from CLIPLungLib.image.patch_grid import PatchGrid
from CLIPLungLib.image.resample import grid_coordinates

# A point is "in air" when nothing within this radius is denser than emphysematous lung.
AIR_RADIUS_MM = 5.0
AIR_HU = -925.0


@dataclass(frozen=True)
class PatchSpec:
    """Size and grey scale of a patch.

    Attributes:
        shape: (planes, rows, columns).
        spacing_mm: distance between planes, rows and columns.
        window_hu: HU mapped to 0 and 1; values beyond are clipped.
    """

    shape: tuple[int, int, int] = (25, 64, 64)
    spacing_mm: tuple[float, float, float] = (2.0, 0.75, 0.75)
    window_hu: tuple[float, float] = (-1000.0, 400.0)

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or any(n < 1 for n in self.shape):
            raise ValueError(f"shape must be three positive numbers, not {self.shape}")
        if len(self.spacing_mm) != 3 or any(s <= 0 for s in self.spacing_mm):
            raise ValueError(f"spacing_mm must be three positive numbers, not {self.spacing_mm}")
        if self.window_hu[0] >= self.window_hu[1]:
            raise ValueError(f"window_hu must rise, not {self.window_hu}")

    @property
    def size_mm(self) -> tuple[float, float, float]:
        """Extent along planes, rows and columns, each voxel counted whole."""
        z, y, x = (n * s for n, s in zip(self.shape, self.spacing_mm, strict=True))
        return z, y, x

    def grid_to_ras(self, center_ras: np.ndarray) -> np.ndarray:
        """(4, 4) IJK-to-RAS of a patch centred on a RAS point: i to the left, j to the back, k upwards."""
        step_ijk = np.array(self.spacing_mm[::-1]) * (-1.0, -1.0, 1.0)
        matrix = np.diag([*step_ijk, 1.0])
        middle_ijk = (np.array(self.shape[::-1]) - 1) / 2
        matrix[:3, 3] = np.asarray(center_ras, dtype=np.float64) - step_ijk * middle_ijk
        return matrix

    def normalise(self, hu: np.ndarray) -> np.ndarray:
        """Grey values 0..1 (float32) of HU."""
        low, high = self.window_hu
        return np.clip((hu - low) / (high - low), 0.0, 1.0).astype(np.float32)


# The cube around the ball of that radius, in voxels of 1 mm.
AROUND = PatchSpec((11, 11, 11), (1.0, 1.0, 1.0))


@dataclass(frozen=True, eq=False)
class Patch:
    """A resampled block.

    Attributes:
        center_ras: (3,) the point asked for, RAS mm.
        hu: (Z, Y, X) float32.
        exists: (Z,) bool; False for planes outside the scan.
        ijk_to_ras: (4, 4) of the block.
        inside_fraction: share of the block's voxels that lie in the scan.
        warnings: facts the reader of a result should know.
    """

    center_ras: np.ndarray
    hu: np.ndarray
    exists: np.ndarray
    ijk_to_ras: np.ndarray
    inside_fraction: float
    warnings: tuple[str, ...] = field(default_factory=tuple)


def require_point(ct: CTVolume, point_ras: np.ndarray) -> np.ndarray:
    """The point as (3,) float64 RAS mm, when a nodule can be there.

    Raises:
        InputError: not three finite numbers, outside the scan, in unreadable voxels, or in air.
    """
    try:
        point = np.asarray(point_ras, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        point = np.empty(0)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise InputError(
            f"A point needs three finite coordinates (R, A, S in mm), not {np.asarray(point_ras, dtype=object).tolist()}."
        )
    if not ct.contains_ijk(ct.to_ijk(point)):
        low, high = ct.bounds_ras()
        raise InputError(
            f"The point {_mm(point)} lies outside '{ct.name}', which spans R {low[0]:.0f}..{high[0]:.0f}, A {low[1]:.0f}..{high[1]:.0f}, "
            f"S {low[2]:.0f}..{high[2]:.0f} mm. Place it on the nodule in this CT, and check that its coordinates are RAS, not LPS."
        )
    return point


def extract_patch(ct: CTVolume, point_ras: np.ndarray, spec: PatchSpec) -> Patch:
    """Resample the neighbourhood of a point (trilinear in patient space). Touches only the voxels it needs.

    Args:
        ct: the scan.
        point_ras: (3,) RAS mm, the centre of the patch.
        spec: size and spacing.

    Raises:
        InputError: point outside or in air, image not a CT, voxels that are not numbers, slices missing or blank within the patch.
    """
    point = require_point(ct, point_ras)
    ct.require_ct()
    _require_tissue(ct, point)
    matrix = spec.grid_to_ras(point)
    grid = PatchGrid(ct, matrix, spec.shape)
    _require_sound_planes(ct, grid)
    sound = _without_blank_ends(ct, grid)
    if sound is not ct:
        return extract_patch(sound, point, spec)
    hu = grid.hu()
    axis_ras = np.repeat(point[None], spec.shape[0], axis=0)
    axis_ras[:, 2] = matrix[2, 3] + matrix[2, 2] * np.arange(spec.shape[0])
    exists = ct.contains_ijk(ct.to_ijk(axis_ras))  # (Z,)
    exists[np.argmin(np.abs(axis_ras[:, 2] - point[2]))] = True
    warnings = (*_plane_warnings(ct, exists), *_filled_warnings(ct, hu, spec))
    return Patch(point, hu, exists, matrix, grid.inside_fraction(), warnings)


def _require_sound_planes(ct: CTVolume, grid: PatchGrid) -> None:
    """Refuse a patch that would be interpolated from planes that are missing or off their place."""
    if not ct.doubtful_k:
        return
    lowest_k, highest_k = grid.range_along(2)
    low, high = np.floor(lowest_k + BORDER_TOLERANCE), np.ceil(highest_k - BORDER_TOLERANCE)
    touched = [k for k in ct.doubtful_k if low <= k <= high]
    if touched:
        raise InputError(
            f"'{ct.name}' lacks slices, or has them off their place, within the {len(touched)} plane(s) {touched} around the point "
            f"(counted from 0). {ct.source.get('note', '')} Copy or export the complete series."
        )


def _without_blank_ends(ct: CTVolume, grid: PatchGrid) -> CTVolume:
    return without_blank_ends(ct, ct.upward_axis, *grid.range_along(ct.upward_axis))


def _require_tissue(ct: CTVolume, point_ras: np.ndarray) -> None:
    """Refuse a point with nothing but air around it (outside the body, a large airway, a bulla)."""
    around_ras = AROUND.grid_to_ras(point_ras)
    in_ball = np.linalg.norm(np.indices(AROUND.shape).T - AIR_RADIUS_MM, axis=-1) <= AIR_RADIUS_MM
    in_ball &= ct.contains_ijk(grid_coordinates(ct, around_ras, AROUND.shape))
    # The densest tenth, not the maximum: a single noisy voxel is no tissue.
    densest = float(np.percentile(PatchGrid(ct, around_ras, AROUND.shape).hu()[in_ball], 90))
    if densest < AIR_HU:
        raise InputError(
            f"The point {_mm(point_ras)} lies in air: almost nothing within {AIR_RADIUS_MM:.0f} mm is denser than {densest:.0f} HU. "
            "Place it on the nodule."
        )


def _plane_warnings(ct: CTVolume, exists: np.ndarray) -> tuple[str, ...]:
    warnings = []
    if ct.spacing_mm.max() > 3.0:
        warnings.append(f"Thick slices ({ct.spacing_mm.max():.1f} mm): small nodules and fine spicules may be blurred.")
    if ct.doubtful_k:
        warnings.append(
            f"{len(ct.doubtful_k)} slice(s) of the scan are missing or off their place, none of them within the patch."
        )
    if exists.sum() < 3:
        warnings.append(f"Only {int(exists.sum())} plane(s) of the scan around the point: the answer rests on little.")
    return tuple(warnings)


def _filled_warnings(ct: CTVolume, hu: np.ndarray, spec: PatchSpec) -> tuple[str, ...]:
    filled = filled_in(hu, spec.window_hu[1])
    if filled is None or not ct.carries_noise:
        return ()
    value_hu, share = filled
    return (
        f"{share:.0%} of the block around the point hold the one value {value_hu:g} HU, which no scanner measures: they were masked, "
        "clipped or filled in. Use the CT as it was reconstructed.",
    )


def _mm(point_ras: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.1f}" for value in point_ras) + ") RAS mm"
