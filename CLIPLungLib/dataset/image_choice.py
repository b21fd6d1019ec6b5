"""Which of a nodule's images stands for it where every nodule counts once."""

from __future__ import annotations

import numpy as np

from CLIPLungLib.dataset.nodule_images import PATCH_KINDS

# A table with volumes has single slices of all other nodules, and its figures are about these two.
WITH_VOLUMES = ("volume", "slice")
WITHOUT_VOLUMES = ("crop", "cube", "slice")


def one_image_per_nodule(nodule: np.ndarray, kind: np.ndarray, is_usable: np.ndarray) -> np.ndarray:
    """(V,) bool: of every nodule its volume, or its slice where there is none; in tables without volumes crop, cube or slice.

    Args:
        nodule: (V,) whose image it is.
        kind: (V,) index into PATCH_KINDS.
        is_usable: (V,) bool, False for images that must not be chosen.
    """
    has_volumes = (kind == PATCH_KINDS.index("volume")).any()
    chosen = np.zeros(len(nodule), dtype=bool)
    for name in WITH_VOLUMES if has_volumes else WITHOUT_VOLUMES:
        chosen |= is_usable & (kind == PATCH_KINDS.index(name)) & ~np.isin(nodule, nodule[chosen])
    return chosen
