"""The crop of the paper: a cube of twice the nodule's diameter, resampled to 32 x 32 x 32 voxels. It holds the nodule's own scan only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.dataset.nodule_images import image_and_click
from CLIPLungLib.dataset.nodule_table import READERS, Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.image.resample import grid_coordinates, sample_hu
from CLIPLungLib.reproduction.settings import PublishedSettings
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

# The first that is there is taken: true context before volumes that end with the nodule.
PREFERRED_KINDS = ("crop", "cube", "volume")
NO_IMAGE, SINGLE_SLICE = "no image", "a single slice only"
NO_DIAMETER = "no diameter of the readers"
NO_RATINGS = "not rated by readers in malignancy and all eight signs"


@dataclass(frozen=True, eq=False)
class Crop:
    """One nodule as the published network sees it.

    Attributes:
        hu: (Z, Y, X) float32; planes upwards, rows to the back, columns to the left.
        repeated_planes: share of the planes that lie wholly outside the image and repeat its border.
        repeated_voxels: share of the voxels outside the image.
    """

    hu: np.ndarray
    repeated_planes: float
    repeated_voxels: float


@dataclass(frozen=True, eq=False)
class Crops:
    """The crops of N nodules.

    Attributes:
        hu: (N, Z, Y, X) int16.
        nodule: (N,) index into the table.
        kind: of each, one of PREFERRED_KINDS.
        repeated_planes, repeated_voxels: (N,) shares that repeat the image's border.
        left_out: reason -> number of nodules of the table.
    """

    hu: np.ndarray
    nodule: np.ndarray
    kind: tuple[str, ...]
    repeated_planes: np.ndarray
    repeated_voxels: np.ndarray
    left_out: dict[str, int]


def cut_crop(ct: CTVolume, click_ras: np.ndarray, diameter_mm: float, settings: PublishedSettings) -> Crop:
    """A cube around a click, trilinear in patient space; beyond the image its border repeats.

    Args:
        click_ras: (3,) RAS mm, the nodule's middle.
        diameter_mm: of the nodule.

    Raises:
        InputError: the image is no CT, or holds voxels that are not numbers there.
    """
    ct.require_ct()
    voxels = settings.crop_voxels
    step_mm = settings.crop_diameters * diameter_mm / voxels
    grid = PatchSpec((voxels,) * 3, (step_mm,) * 3, settings.window_hu)
    coordinates_ijk = grid_coordinates(ct, grid.grid_to_ras(click_ras), grid.shape)
    inside = ct.contains_ijk(coordinates_ijk)
    return Crop(sample_hu(ct, coordinates_ijk), float(1 - inside.any(axis=(1, 2)).mean()), float(1 - inside.mean()))


def cut_crops(folder: Path, nodules: Sequence[Nodule], settings: PublishedSettings) -> Crops:
    """The crops of all nodules of a data folder with planes of their own, a diameter and all ratings; the others are counted.

    Raises:
        InputError: an image cannot be read, or no nodule is left.
    """
    crops, chosen, kinds = [], [], []
    left_out: Counter[str] = Counter()
    for index, nodule in enumerate(nodules):
        reason = _reason_to_leave_out(nodule)
        if reason is None:
            kind = _kind(nodule)
            ct, click_ras = image_and_click(folder, nodule, kind)
            # An image of one plane would give 32 copies of it.
            reason = SINGLE_SLICE if ct.size_ijk.min() < 2 else None
        if reason is not None:
            left_out[reason] += 1
            continue
        crops.append(cut_crop(ct, click_ras, nodule.diameter_mm, settings))
        chosen.append(index)
        kinds.append(kind)
    if not crops:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in left_out.items())
        raise InputError(
            f"No nodule of {folder} can be used ({reasons}). Give a folder with volumes or crops of nodules, their diameters, and readers' ratings of malignancy and all eight signs."
        )
    return Crops(
        np.array([np.rint(crop.hu) for crop in crops], np.int16),
        np.array(chosen),
        tuple(kinds),
        np.array([crop.repeated_planes for crop in crops]),
        np.array([crop.repeated_voxels for crop in crops]),
        dict(left_out),
    )


def _kind(nodule: Nodule) -> str:
    return next(kind for kind in PREFERRED_KINDS if kind in nodule.images)


def _reason_to_leave_out(nodule: Nodule) -> str | None:
    if not any(kind in nodule.images for kind in PREFERRED_KINDS):
        return NO_IMAGE if nodule.slice_index is None else SINGLE_SLICE
    if not math.isfinite(nodule.diameter_mm):
        return NO_DIAMETER
    is_rated = all(math.isfinite(nodule.mean_rating(name)) for name in ATTRIBUTE_NAMES)
    if not (is_rated and nodule.has_malignancy and nodule.truth == READERS):
        return NO_RATINGS
    return None
