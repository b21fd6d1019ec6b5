"""Image-independent control maps for the evaluation of heat maps."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CLIPLungLib.image.patch import Patch
from CLIPLungLib.saliency.map_input import MapInput, Method

# A Gaussian as wide at half its height as the median nodule of LIDC-IDRI.
BLOB_SD_MM = 9.0 / 2.355
# As smooth as maps are, or random voxels would lose by their edges alone.
RANDOM_SD_MM = 3.0


def blob(map_input: MapInput) -> np.ndarray:
    """A Gaussian at the click, as wide as the typical nodule, independent of the image."""
    return np.asarray(blob_at(map_input.click_ras, map_input.patch) * map_input.patch.exists[:, None, None])


def random(map_input: MapInput) -> np.ndarray:
    """Smooth noise."""
    noise = np.random.default_rng(map_input.seed).standard_normal(map_input.patch.hu.shape)
    smooth = ndimage.gaussian_filter(noise, [RANDOM_SD_MM / spacing for spacing in map_input.spec.spacing_mm])
    smooth -= smooth.min()
    return np.asarray(smooth / smooth.max() * map_input.patch.exists[:, None, None])


def blob_at(click_ras: np.ndarray, patch: Patch) -> np.ndarray:
    """(Z, Y, X) a Gaussian around the click: a map that knows the click only."""
    distances_mm = np.indices(patch.hu.shape)[::-1].T @ patch.ijk_to_ras[:3, :3].T + patch.ijk_to_ras[:3, 3] - click_ras
    found: np.ndarray = np.exp(-(distances_mm**2).sum(axis=-1).T / (2 * BLOB_SD_MM**2))
    return found


CONTROLS: dict[str, Method] = {"blob": blob, "random": random}
