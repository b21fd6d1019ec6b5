"""Lung tissue, slice by slice: outline, density, texture, fissures and lobes."""

from __future__ import annotations

import numpy as np

from CLIPLungLib.phantom import outline
from CLIPLungLib.phantom.grid import blend, coverage_of

# Lung is denser at the back, where blood and weight settle.
LUNG_HU = -872.0
GRADIENT_HU_PER_MM = 0.24
COARSE_HU = 8.0
FINE_HU = 9.0
FISSURE_RISE_HU = 105.0
FISSURE_MM = 0.75
# A voxel counts as lung when it lies this deep, clear of partial volume at the pleura.
LOBE_DEPTH_MM = 1.0


def paint_lung(
    hu: np.ndarray, lobes: np.ndarray, x: np.ndarray, y: np.ndarray, z: float, outside: np.ndarray,
    wobble: np.ndarray, coarse: np.ndarray, fine: np.ndarray, edge_mm: float,
) -> None:  # fmt: skip
    """Paint one slice, in place.

    Args:
        hu: (J, I) float32.
        lobes: (J, I) int8; receives 1..3 for right upper, middle, lower, 4 and 5 for left upper, lower lobe.
        x, y: (1, I) and (J, 1) mm LPS.
        z: height in mm.
        outside: (J, I) signed distance to the lungs.
        wobble, coarse, fine: (J, I) random fields, from coarse to fine.
        edge_mm: width of a surface's partial volume.
    """
    oblique, minor = _fissures(x, y, z, 4.0 * wobble + 0.8 * coarse)
    lower = oblique > 0
    nearest = np.minimum(np.abs(oblique), np.where((x < 0) & ~lower, np.abs(minor), 99.0))
    # Fine texture is skewed: vessels too small to be drawn are brighter than the tissue is dark.
    tissue = LUNG_HU + GRADIENT_HU_PER_MM * y + COARSE_HU * coarse + FINE_HU * fine * (1.0 + 0.35 * np.abs(fine))
    tissue += FISSURE_RISE_HU * np.exp(-((nearest / FISSURE_MM) ** 2))
    blend(hu, coverage_of(-outside, edge_mm), tissue)
    right = np.where(lower, 3, np.where(minor > 0, 1, 2))
    left = np.where(lower, 5, 4)
    lobes[...] = np.where(outside < -LOBE_DEPTH_MM, np.where(x < 0, right, left), 0)


def lung_outside(
    x: np.ndarray, y: np.ndarray, z: float, cage: np.ndarray, above: np.ndarray, streaks: np.ndarray
) -> np.ndarray:
    """(J, I) signed distance to the lungs: inside the cage, above the diaphragm, beside the mediastinum, below the apex."""
    # Pointed where the lungs meet behind the sternum, round beside the spine.
    round_mm = 7.0 + 9.0 * np.clip((y - 10.0) / 50.0, 0.0, 1.0)
    outside = outline.smooth_max(cage, 0.6 * streaks - outline.mediastinum(x, y, z), round_mm)
    if z > outline.APEX_BASE_Z:
        outside = outline.smooth_max(outside, outline.apex(x, y, z), 8.0)
    return outline.smooth_max(outside, 1.0 - above, 3.0)


def _fissures(x: np.ndarray, y: np.ndarray, z: float, bulge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(J, I) signed mm behind the oblique fissure and above the right lung's minor fissure."""
    # High at the back, low at the front.
    front_y = np.where(x < 0, -6.0, -2.0)
    oblique = 0.62 * (y - front_y) - 0.78 * (z - 148.0) + 0.0022 * (np.abs(x) - 60.0) ** 2 + bulge
    minor = (z - 162.0) + 0.10 * (y + 40.0) + 0.0016 * (x + 70.0) ** 2 + bulge
    return oblique, minor
