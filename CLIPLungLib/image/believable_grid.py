"""Whether the voxels of a volume can lie as a scanner laid them.

A file can be whole and yet have lost its spacing on the way: arrays saved without it, with their axes in another order, or in centimetres.
Sizes in mm, and with them the answer, would be wrong.
"""

from __future__ import annotations

import numpy as np

SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.05, 30.0
# Slices are reconstructed on so many pixels, or on 768, 1024 or 2048.
SCANNER_PIXELS = 512
# A scanner's smallest field of view is 50 mm, and that of a chest never is; a tall patient and the table are shorter.
SMALLEST_SLICE_MM, LARGEST_EXTENT_MM = 55.0, 2500.0
SAME_SPACING, OTHER_SPACING = 1e-3, 0.05


def grid_problem(size_ijk: np.ndarray, ijk_to_ras: np.ndarray) -> str:
    """Why voxels of this size (3,) and place (4, 4) are no CT of a chest, and the remedy; empty when they can be."""
    spacing_mm = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    if _is_transposed(size_ijk, spacing_mm):
        return (
            f"has {_times(size_ijk)} voxels of {_times(spacing_mm)} mm: its square slices have oblong pixels, so its axes were saved in the "
            "reverse order of its spacing. Turn the axes of the array round and save it again, or load it from DICOM."
        )
    if _is_placeless(size_ijk, ijk_to_ras):
        return (
            f"has {_times(size_ijk)} voxels of exactly 1 mm that begin at the origin, which no scanner makes: its spacing and place were lost "
            "when it was saved. Save it with those of its DICOM, or load it from DICOM."
        )
    if _is_other_unit(size_ijk, spacing_mm):
        return (
            f"has {_times(size_ijk)} voxels of {_times(spacing_mm)} mm, which no CT of a chest has: its lengths may be in another unit than "
            "mm. Export it again in mm, or load it from DICOM."
        )
    return ""


def _is_other_unit(size_ijk: np.ndarray, spacing_mm: np.ndarray) -> bool:
    extent_mm = size_ijk * spacing_mm
    return bool(
        spacing_mm.min() < SMALLEST_SPACING_MM
        or spacing_mm.max() > LARGEST_SPACING_MM
        or extent_mm.max() > LARGEST_EXTENT_MM
        or (extent_mm[size_ijk >= SCANNER_PIXELS] < SMALLEST_SLICE_MM).any()
    )


def _is_placeless(size_ijk: np.ndarray, ijk_to_ras: np.ndarray) -> bool:
    """Whole slices under a matrix of nothing but ones: what is written where nothing is known."""
    axes = np.abs(ijk_to_ras[:3, :3])
    is_plain = np.isin(axes, (0.0, 1.0)).all() and (axes.sum(axis=0) == 1.0).all() and not ijk_to_ras[:3, 3].any()
    return bool(is_plain and np.sort(size_ijk)[1] >= SCANNER_PIXELS)


def _is_transposed(size_ijk: np.ndarray, spacing_mm: np.ndarray) -> bool:
    """An array (slice, row, column) saved as (i, j, k) beside the spacing of (column, row, slice)."""
    i, j, k = size_ijk
    along_i, along_j, along_k = spacing_mm
    return bool(
        j == k != i
        and j >= SCANNER_PIXELS
        and abs(along_i / along_j - 1) < SAME_SPACING
        and abs(along_k / along_j - 1) > OTHER_SPACING
    )


def _times(numbers: np.ndarray) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
