"""Finding a place for a nodule in the lungs of the synthetic chest."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CLIPLungLib.errors import InputError
from CLIPLungLib.phantom.grid import Grid

SEARCH_MM = 16.0
LUNG_BELOW_HU = -600.0
# Lighter still are airways and the air around the body.
AIRWAY_BELOW_HU = -950.0
# Blur that hides small vessels, which a nodule may well lie on, and leaves walls and large vessels.
SMALL_VESSEL_MM = 1.6
CLEARANCE_MM = 3.0
# A nodule on the pleura is flattened against it: its middle lies this share of its reach inside.
ON_WALL_SHARE = 0.5
COST_PER_MM_MOVED = 0.15


def find_site(hu: np.ndarray, grid: Grid, near_lps: np.ndarray, reach_mm: float, on_wall: bool) -> np.ndarray:
    """(3,) mm LPS near a requested position where a nodule lies free in the lung, or against its wall.

    Args:
        hu: (K, J, I) HU of the chest.
        grid: its voxels.
        near_lps: (3,) mm, the requested position.
        reach_mm: largest radius of the nodule.
        on_wall: whether it shall touch the wall.

    Raises:
        InputError: no lung within the search distance.
    """
    around = SEARCH_MM + reach_mm + 4.0
    box = grid.box(near_lps - around, near_lps + around)
    x, y, z = grid.coordinates(box)
    moved_mm = np.sqrt((x - near_lps[0]) ** 2 + (y - near_lps[1]) ** 2 + (z - near_lps[2]) ** 2)
    sigma = [SMALL_VESSEL_MM / spacing for spacing in grid.spacing_mm]
    smooth_hu = ndimage.gaussian_filter(hu[box].astype(np.float32), sigma)
    lung = (smooth_hu < LUNG_BELOW_HU) & (smooth_hu > AIRWAY_BELOW_HU)
    allowed = lung & (moved_mm <= SEARCH_MM)
    if not allowed.any():
        wish = ", ".join(f"{value:.0f}" for value in near_lps)
        raise InputError(
            f"A nodule cannot go to ({wish}) mm LPS: no lung lies within {SEARCH_MM:.0f} mm. "
            "Use a chest of full size from synthetic_chest, or choose a point in its lungs."
        )
    to_tissue_mm = ndimage.distance_transform_edt(lung, sampling=grid.spacing_mm)
    wanted_mm = reach_mm * ON_WALL_SHARE if on_wall else reach_mm + CLEARANCE_MM
    shortfall = np.abs(to_tissue_mm - wanted_mm) if on_wall else np.maximum(wanted_mm - to_tissue_mm, 0.0)
    best = np.argmin(np.where(allowed, shortfall + COST_PER_MM_MOVED * moved_mm, np.inf))
    k, j, i = np.unravel_index(best, lung.shape)
    return np.array([x[0, 0, i], y[0, j, 0], z[k, 0, 0]], dtype=np.float64)
