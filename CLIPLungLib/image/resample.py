"""Trilinear values of a CT at any points in space. Touches only the voxels it needs."""

from __future__ import annotations

import numpy as np

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
    low_ijk, high_ijk, clamped = _reach(ct, coordinates_ijk)
    return _trilinear(hu_box(ct, low_ijk, high_ijk), clamped - low_ijk)


def hu_box(ct: CTVolume, low_ijk: np.ndarray, high_ijk: np.ndarray) -> np.ndarray:
    """A copy (float32) of the voxels from `low_ijk` to `high_ijk`, both included, with padding as air.

    Raises:
        InputError: voxels that are not numbers among them.
    """
    box = _box(ct, low_ijk, high_ijk)
    if ct.hu.dtype.kind == "f" and not np.isfinite(box).all():
        raise InputError(
            f"'{ct.name}' holds values that are not numbers within the patch. Repair or reload the CT; nothing is guessed for them."
        )
    return np.asarray(np.maximum(box, PADDING_READ_AS_HU, out=box))


def sample_as_stored(volume: CTVolume, coordinates_ijk: np.ndarray) -> np.ndarray:
    """Trilinear values (float32, shape ...) of any scalar volume at continuous i, j, k (..., 3), for pictures.

    NaN beyond the volume and where it holds no number; padding stays as it is.
    """
    low_ijk, high_ijk, clamped = _reach(volume, coordinates_ijk)
    values = _trilinear(_box(volume, low_ijk, high_ijk), clamped - low_ijk)
    values[~volume.contains_ijk(coordinates_ijk) | ~np.isfinite(values)] = np.nan
    return values


def _reach(volume: CTVolume, coordinates_ijk: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(3,) lowest and highest voxel around the coordinates (..., 3), and these drawn in to the volume."""
    clamped = np.clip(coordinates_ijk, 0.0, volume.size_ijk - 1.0)
    points = clamped.reshape(-1, 3)
    return np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int), clamped


def _box(volume: CTVolume, low_ijk: np.ndarray, high_ijk: np.ndarray) -> np.ndarray:
    i, j, k = (slice(low, high + 1) for low, high in zip(low_ijk, high_ijk, strict=True))
    return volume.hu[k, j, i].astype(np.float32)


def _trilinear(box: np.ndarray, ijk_in_box: np.ndarray) -> np.ndarray:
    # Not at the top: a patch along the axes of its CT needs no scipy, and a first answer does not wait for it.
    from scipy import ndimage

    kji = np.moveaxis(ijk_in_box, -1, 0)[::-1]
    return np.asarray(ndimage.map_coordinates(box, kji, order=1, mode="nearest", output=np.float32))
