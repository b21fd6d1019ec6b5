"""Which of a nodule's images stands for it where every nodule counts once."""

from __future__ import annotations

import numpy as np

from CLIPLungLib.dataset.nodule_images import PATCH_KINDS

# A table with volumes has single slices of all other nodules, and its figures are about these two.
WITH_VOLUMES = ("volume", "slice")
WITHOUT_VOLUMES = ("crop", "cube", "slice")
# What a click meets comes first: true surroundings, then those that a nodule was put into.
AS_CLICKED = ("crop", "cube", "inserted", "volume", "slice")


def one_image_per_nodule(
    nodule: np.ndarray, kind: np.ndarray, is_usable: np.ndarray, order: tuple[str, ...] | None = None
) -> np.ndarray:
    """(V,) bool: of every nodule its volume, or its slice where there is none; in tables without volumes crop, cube or slice.

    Args:
        nodule: (V,) whose image it is.
        kind: (V,) index into PATCH_KINDS.
        is_usable: (V,) bool, False for images that must not be chosen.
        order: kinds of image, the wanted ones first, in place of the usual order.
    """
    if order is None:
        order = WITH_VOLUMES if (kind == PATCH_KINDS.index("volume")).any() else WITHOUT_VOLUMES
    chosen = np.zeros(len(nodule), dtype=bool)
    for name in order:
        chosen |= is_usable & (kind == PATCH_KINDS.index(name)) & ~np.isin(nodule, nodule[chosen])
    return chosen
