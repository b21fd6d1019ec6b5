"""Metrics of one heat map: localisation within the readers' outline, deletion and insertion, rank correlation with another map."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import spearmanr

from CLIPLungLib.image.patch import Patch

# Lung is darker than this; where a patch shows none, it is filled with the usual value.
LUNG_BELOW_HU, USUAL_LUNG_HU = -500.0, -850.0
# How much is deleted or inserted, in volumes of the nodule as the readers outlined it.
NODULE_VOLUMES = (0.5, 1.0, 2.0, 4.0)
# Maps that look alike are ranked alike.
RANK_STEP = 0.01

Predict = Callable[[np.ndarray], np.ndarray]


def energy_inside(heat: np.ndarray, outline: np.ndarray) -> float:
    """Share of a map's sum within the outline; 0 for an empty map, Both (Z, Y, X)."""
    total = float(heat.sum())
    return float(heat[outline].sum()) / total if total > 0 else 0.0


def peak_inside(heat: np.ndarray, outline: np.ndarray) -> bool:
    """Pointing game (Zhang et al., IJCV 2018): whether the largest value lies within the outline; never for an empty map."""
    return bool(heat.max() > 0 and outline.ravel()[heat.argmax()])


def rank_correlation(first: np.ndarray, second: np.ndarray, exists: np.ndarray) -> float:
    """Spearman correlation over the voxels of existing planes; NaN where one map is flat there. Maps (Z, Y, X), exists (Z,) bool."""
    ranked = [np.rint(heat[exists].ravel() / RANK_STEP) for heat in (first, second)]
    if any(np.ptp(values) == 0 for values in ranked):
        return float("nan")
    return float(spearmanr(*ranked).statistic)


def lung_hu(patch: Patch) -> float:
    """Median HU of the lung in a patch."""
    hu = patch.hu[patch.exists]
    lung = hu[hu < LUNG_BELOW_HU]
    return float(np.median(lung)) if lung.size else USUAL_LUNG_HU


def deletion_and_insertion(
    heat: np.ndarray, patch: Patch, nodule_voxels: int, predict: Predict, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Deletion and insertion: the probability while the most relevant voxels are replaced by lung, or alone are kept (Petsiuk et al., BMVC 2018).

    Args:
        heat: (Z, Y, X).
        patch: in HU.
        nodule_voxels: of the readers' outline, at least 1.
        predict: from HU (K, Z, Y, X) to (K,) probabilities of the side the map is for.
        seed: of the order of voxels that are alike.

    Returns:
        (K,) each, by NODULE_VOLUMES. A good map makes the first fall early and the second rise early.
    """
    exists = np.broadcast_to(patch.exists[:, None, None], heat.shape).ravel()
    voxels = np.flatnonzero(exists)
    alike = np.random.default_rng(seed).permutation(len(voxels))
    order = voxels[np.lexsort((alike, -heat.ravel()[voxels]))]
    lung = np.where(exists, np.float32(lung_hu(patch)), patch.hu.ravel())
    deleted, inserted = [], []
    for volumes in NODULE_VOLUMES:
        marked = order[: max(1, round(volumes * nodule_voxels))]
        without, alone = patch.hu.ravel().copy(), lung.copy()
        without[marked], alone[marked] = lung[marked], without[marked]
        deleted.append(without)
        inserted.append(alone)
    return tuple(predict(np.stack(images).reshape(-1, *heat.shape)) for images in (deleted, inserted))  # type: ignore[return-value]
