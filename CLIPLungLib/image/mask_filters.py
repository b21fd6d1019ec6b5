"""Filters on small masks and maps (Z, Y, X). By SimpleITK, which reading a CT needs anyway: to import scipy takes a first answer longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from CLIPLungLib.image.itk import simple_itk


def connected_parts(mask: np.ndarray) -> np.ndarray:
    """(Z, Y, X) labels of the parts of a bool mask: 1, 2 ... in the order of their first voxels, 0 outside.

    Voxels that share a face, an edge or a corner belong together.
    """
    return _filtered(mask.astype(np.uint8), lambda image: simple_itk().ConnectedComponent(image, True))


def dilated(mask: np.ndarray) -> np.ndarray:
    """(Z, Y, X) bool: the mask and all voxels that share a face, an edge or a corner with it."""
    found = np.zeros(mask.shape, dtype=bool)
    if mask.any():
        # The mask is small against the array it lies in.
        places = np.argwhere(mask)
        box = tuple(slice(max(0, low - 1), high + 2) for low, high in zip(places.min(0), places.max(0), strict=True))
        itk = simple_itk()
        dilate = _filtered(mask[box].astype(np.uint8), lambda image: itk.BinaryDilate(image, (1, 1, 1), itk.sitkBox))
        found[box] = dilate > 0
    return found


def smoothed_in_plane(values: np.ndarray) -> np.ndarray:
    """(Z, Y, X) each value averaged with its 8 neighbours in the plane; those beyond the edge count as the edge's."""
    return _filtered(values, lambda image: simple_itk().Mean(image, (1, 1, 0)))


def signed_distance_mm(mask: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """(Z, Y, X) from every voxel of a bool mask to the nearest one of the other side: negative within, positive outside.

    Args:
        mask: with voxels of both sides.
        spacing_mm: (3,) of planes, rows and columns.
    """

    def distance(image: Any) -> Any:
        image.SetSpacing(np.asarray(spacing_mm, dtype=float)[::-1].tolist())
        return simple_itk().SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)

    outside, inside = (_filtered(side.astype(np.uint8), distance) for side in (mask, ~mask))
    return np.where(mask, -inside, outside)


def affine_sampled(values: np.ndarray, to_values: np.ndarray, shape: tuple[int, ...], beyond: float) -> np.ndarray:
    """Trilinear values on another grid of this shape (Z, Y, X).

    Args:
        values: (Z, Y, X).
        to_values: (4, 4) from i, j, k of the other grid to i, j, k of the values.
        shape: of the other grid.
        beyond: where the values end.
    """
    itk = simple_itk()
    transform = itk.AffineTransform(3)
    transform.SetMatrix(to_values[:3, :3].ravel().tolist())
    transform.SetTranslation(to_values[:3, 3].tolist())
    size, origin, spacing, direction = list(shape[::-1]), (0.0,) * 3, (1.0,) * 3, np.eye(3).ravel().tolist()
    return _filtered(
        values,
        lambda image: itk.Resample(image, size, transform, itk.sitkLinear, origin, spacing, direction, beyond),
    )


def _filtered(values: np.ndarray, change: Callable[[Any], Any]) -> np.ndarray:
    itk = simple_itk()
    return np.asarray(itk.GetArrayFromImage(change(itk.GetImageFromArray(values))))
