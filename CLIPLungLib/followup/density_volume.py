"""Density-based volume of a solid nodule, for follow-up: outlines of two scans differ by more than a nodule grows.

Within and just around the outline, tissue is what is brighter than half-way between the lung and the nodule. Vessels thinner than the
nodule are cut off by an opening. Each voxel counts by its partial volume, so that voxels of another size give the same volume.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.outline_mask import OutlineMask, first_voxel_ijk

# How far around the outline is looked, how far tissue may reach beyond it, and how far its blurred edge reaches.
AROUND_MM, BEYOND_MM, EDGE_MM = 7.0, 2.0, 1.5
# The lung's density is that of voxels so far from the outline.
LUNG_MM, LUNG_HU = (2.0, 6.0), -500.0
# Vessels up to twice as thick are cut off; of small nodules less, or nothing would be left.
OPENING_MM, OPENING_SHARE = 2.0, 0.6
# The nodule's own density is that of its inner voxels, by their depth as a share of the deepest one's.
INNER_SHARE = 0.6
# Less dense than that above the lung, a nodule is not solid and has no such edge.
LEAST_CONTRAST_HU = 450.0
Away = Callable[[np.ndarray], np.ndarray]


def density_volume_mm3(ct: CTVolume, outline: OutlineMask) -> float | None:
    """Volume of the nodule in an outline on the CT's own grid.

    Returns:
        mm3; None where the outline lies on another grid, no lung lies around it, or the nodule is not dense enough.
    """
    placed = _box(ct, outline)
    if placed is None:
        return None
    hu, inside = placed
    spacing_kji_mm = outline.spacing_mm[::-1]

    def away_mm(mask: np.ndarray) -> np.ndarray:
        """Distance of every voxel from a mask."""
        return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing_kji_mm))

    outside_mm, depth_mm = away_mm(inside), away_mm(~inside)
    around = hu[(outside_mm > LUNG_MM[0]) & (outside_mm <= LUNG_MM[1]) & (hu < LUNG_HU)]
    if not len(around):
        return None
    lung_hu = float(np.median(around))
    nodule_hu = float(np.median(hu[depth_mm >= INNER_SHARE * depth_mm.max()]))
    if nodule_hu - lung_hu < LEAST_CONTRAST_HU:
        return None
    tissue = (hu > (nodule_hu + lung_hu) / 2) & (outside_mm <= BEYOND_MM)
    body = _opened(tissue, inside, away_mm)
    if body is None:
        return None
    region = (away_mm(body) <= EDGE_MM) & (body | ~tissue)
    share = np.clip((hu[region] - lung_hu) / (nodule_hu - lung_hu), 0, 1)
    return float(share.sum() * np.prod(spacing_kji_mm))


def _box(ct: CTVolume, outline: OutlineMask) -> tuple[np.ndarray, np.ndarray] | None:
    """HU and outline in the voxels around it, (K, J, I) each."""
    first_ijk = None if outline.is_empty else first_voxel_ijk(outline, ct.ijk_to_ras)
    if first_ijk is None:
        return None
    reach_ijk = np.ceil(AROUND_MM / outline.spacing_mm).astype(int)
    last_ijk = first_ijk + outline.inside.shape[::-1]
    low, high = np.maximum(first_ijk - reach_ijk, 0), np.minimum(last_ijk + reach_ijk, ct.size_ijk)
    if (first_ijk < 0).any() or (last_ijk > ct.size_ijk).any():
        return None
    hu = ct.hu[low[2] : high[2], low[1] : high[1], low[0] : high[0]].astype(np.float32)
    inside = np.zeros(hu.shape, dtype=bool)
    i, j, k = first_ijk - low
    depth, rows, columns = outline.inside.shape
    inside[k : k + depth, j : j + rows, i : i + columns] = outline.inside
    return (hu, inside) if np.isfinite(hu).all() else None


def _opened(tissue: np.ndarray, inside: np.ndarray, away_mm: Away) -> np.ndarray | None:
    """The tissue without its thin parts: its deepest part within the outline, grown back; None where there is none."""
    depth_mm = away_mm(~tissue)
    deepest = np.unravel_index(np.argmax(depth_mm * inside), depth_mm.shape)
    if depth_mm[deepest] == 0:
        return None
    cut_mm = min(OPENING_MM, OPENING_SHARE * float(depth_mm[deepest]))
    parts, _ = ndimage.label(depth_mm > cut_mm)
    core = parts == parts[deepest]
    # Half a millimetre more, as distances are between the middles of voxels.
    return np.asarray(tissue & (away_mm(core) <= cut_mm + 0.5))
