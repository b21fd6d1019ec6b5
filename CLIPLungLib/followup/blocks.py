"""Blocks of a CT on a grid along the patient's axes, as numbers and as SimpleITK images: what a registration compares.

A block's physical space is RAS mm less a reference point, for both scans alike. ITK does not mind that its own frame is LPS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.itk import simple_itk
from CLIPLungLib.image.resample import sample_as_stored

# Lung, vessels and nodules; denser tissue counts as equal, lest ribs outweigh the lung.
WINDOW_HU = (-1000.0, 200.0)
LUNG_BELOW_HU = -500.0
# Walls and nodules on them belong to the picture of a lung.
LUNG_RIM_MM = 6.0
# How far from the walls a place counts as inside.
WALL_MM = 4.5
LEAST_LUNG_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Block:
    """A cube-like part of a scan.

    Attributes:
        grey: (K, J, I) float32 in 0..1, k upwards, j to the front, i to the right; 0 where there is no scan.
        is_scan: (K, J, I) bool.
        first_ras: (3,) RAS mm of voxel (0, 0, 0).
        step_mm: between voxels along every axis.
    """

    grey: np.ndarray
    is_scan: np.ndarray
    first_ras: np.ndarray
    step_mm: float

    def lung(self) -> np.ndarray:
        """(K, J, I) bool: lung with a rim of what borders on it; the whole scan where there is hardly any lung."""
        near = ndimage.binary_dilation(self._air(), iterations=max(1, round(LUNG_RIM_MM / self.step_mm))) & self.is_scan
        return near if near.mean() >= LEAST_LUNG_SHARE else self.is_scan

    def inside_lung(self) -> np.ndarray:
        """(K, J, I) bool: lung with its vessels and nodules, clear of its walls; the whole scan where there is hardly any lung.

        Walls are alike in all people; vessels tell one from another.
        """
        steps = max(1, round(LUNG_RIM_MM / self.step_mm))
        # Beyond the block's end lung goes on as it is there.
        air = np.pad(self._air(), steps, mode="edge")
        filled = ndimage.binary_closing(air, iterations=steps)
        cleared = ndimage.binary_erosion(filled, iterations=max(1, round(WALL_MM / self.step_mm)), border_value=1)
        inside = cleared[(slice(steps, -steps),) * 3] & self.is_scan
        return inside if inside.mean() >= LEAST_LUNG_SHARE else self.is_scan

    def _air(self) -> np.ndarray:
        low, high = WINDOW_HU
        return np.asarray(self.is_scan & (self.grey < (LUNG_BELOW_HU - low) / (high - low)))

    def image(self, values: np.ndarray, reference_ras: np.ndarray) -> Any:
        """A SimpleITK image of values (K, J, I) on this grid, whose origin is the reference point (3,) RAS mm."""
        image = simple_itk().GetImageFromArray(values)
        image.SetSpacing([self.step_mm] * 3)
        image.SetOrigin((self.first_ras - reference_ras).tolist())
        return image


def block_around(ct: CTVolume, center_ras: np.ndarray, size_mm: float, step_mm: float) -> Block:
    """The cube of `size_mm` around a point (3,) RAS mm. Reads only the voxels it needs."""
    count = round(size_mm / step_mm) + 1
    first_ras = np.asarray(center_ras, dtype=np.float64) - (count - 1) / 2 * step_mm
    return _sampled(ct, first_ras, np.array([count] * 3), step_mm)


def whole_block(ct: CTVolume, step_mm: float) -> Block:
    """The whole scan on a coarse grid, from the means of the voxels around each coarse one."""
    thinned = thinned_out(ct, step_mm)
    low, high = ct.bounds_ras()
    count = np.maximum(1, np.floor((high - low) / step_mm)).astype(int)
    return _sampled(thinned, (low + high) / 2 - (count - 1) / 2 * step_mm, count, step_mm)


def thinned_out(ct: CTVolume, step_mm: float) -> CTVolume:
    """The scan downsampled by averaging to about `step_mm`; a plane is in memory at a time."""
    sizes = np.maximum(1, np.round(step_mm / ct.spacing_mm)).astype(int)
    i_size, j_size, k_size = np.minimum(sizes, ct.size_ijk).tolist()
    planes, rows, columns = (n // size for n, size in zip(ct.hu.shape, (k_size, j_size, i_size), strict=True))
    means = np.zeros((planes, rows, columns), np.float32)
    for k in range(planes):
        slab = ct.hu[k * k_size : (k + 1) * k_size, : rows * j_size, : columns * i_size]
        # Half of the planes tell as much at this size, and are read in half the time.
        used = np.clip(slab[:: 2 if k_size > 2 else 1], *WINDOW_HU).astype(np.float32)
        means[k] = (
            np.nan_to_num(used, nan=WINDOW_HU[0]).mean(axis=0).reshape(rows, j_size, columns, i_size).mean((1, 3))
        )
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, :3] *= (i_size, j_size, k_size)
    matrix[:3, 3] = ct.to_ras((np.array([i_size, j_size, k_size]) - 1) / 2)
    return CTVolume(means, matrix, ct.name)


def _sampled(ct: CTVolume, first_ras: np.ndarray, count: np.ndarray, step_mm: float) -> Block:
    x, y, z = (first_ras[axis] + step_mm * np.arange(count[axis]) for axis in range(3))
    points_ras = np.stack(np.broadcast_arrays(x[None, None, :], y[None, :, None], z[:, None, None]), axis=-1)
    hu = sample_as_stored(ct, ct.to_ijk(points_ras))
    low, high = WINDOW_HU
    is_scan = ~np.isnan(hu)
    grey = np.where(is_scan, (np.clip(hu, low, high) - low) / (high - low), 0.0).astype(np.float32)
    return Block(grey, is_scan, first_ras, step_mm)
