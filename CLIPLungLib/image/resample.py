"""Trilinear values of a CT at any points in space. Touches only the voxels it needs."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.hounsfield import PADDING_READ_AS_HU


def grid_coordinates(ct: CTVolume, patch_to_ras: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Continuous i, j, k of the scan at every patch voxel: (Z, Y, X, 3)."""
    patch_to_ijk = ct.ras_to_ijk @ patch_to_ras
    k, j, i = (np.arange(n, dtype=np.float64) for n in shape)
    columns = patch_to_ijk[:3, :3].T
    turned = (
        k[:, None, None, None] * columns[2] + j[None, :, None, None] * columns[1] + i[None, None, :, None] * columns[0]
    )
    return np.asarray(turned + patch_to_ijk[:3, 3])


def sample_hu(ct: CTVolume, coordinates_ijk: np.ndarray) -> np.ndarray:
    """Trilinear HU (float32, shape ...) at continuous i, j, k (..., 3); beyond the scan the border's value.

    Padding (-2048, -32768 ...) counts as air, so that it does not darken the tissue it borders on.

    Raises:
        InputError: voxels that are not numbers among those needed.
    """
    box, kji = _voxels_around(ct, coordinates_ijk)
    if not np.isfinite(box).all():
        raise InputError(
            f"'{ct.name}' holds values that are not numbers within the patch. Repair or reload the CT; nothing is guessed for them."
        )
    np.maximum(box, PADDING_READ_AS_HU, out=box)
    return _trilinear(box, kji)


def sample_as_stored(volume: CTVolume, coordinates_ijk: np.ndarray) -> np.ndarray:
    """Trilinear values (float32, shape ...) of any scalar volume at continuous i, j, k (..., 3), for pictures.

    NaN beyond the volume and where it holds no number; padding stays as it is.
    """
    values = _trilinear(*_voxels_around(volume, coordinates_ijk))
    values[~volume.contains_ijk(coordinates_ijk) | ~np.isfinite(values)] = np.nan
    return values


def _voxels_around(volume: CTVolume, coordinates_ijk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A copy (float32) of the smallest box of voxels around the coordinates (..., 3), and these as k, j, i (3, ...) within it."""
    clamped = np.clip(coordinates_ijk, 0.0, volume.size_ijk - 1.0)
    low = np.floor(clamped.reshape(-1, 3).min(axis=0)).astype(int)
    high = np.ceil(clamped.reshape(-1, 3).max(axis=0)).astype(int) + 1
    box = volume.hu[low[2] : high[2], low[1] : high[1], low[0] : high[0]].astype(np.float32)
    return box, np.moveaxis(clamped - low, -1, 0)[::-1]


def _trilinear(box: np.ndarray, kji: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.map_coordinates(box, kji, order=1, mode="nearest", output=np.float32))
