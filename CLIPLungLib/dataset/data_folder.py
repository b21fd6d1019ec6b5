"""Writing a data folder: the nodule table and, for every nodule, the part of its CT around it.

DATA/nodules.csv      one row per nodule (nodule_table)
DATA/crops/           NRRD, int16 HU at native spacing; the click is the origin of its frame
DATA/crop_masks/      where outlines are known: 1 inside, on the crop's grid
DATA/patches.npz      what training reads (training_patches)
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.dataset.nodule_table import COLUMNS, IMAGE_KINDS, MALIGNANCY, MASK_KINDS, TABLE_NAME, Nodule
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.write import write_volume
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

CROPS, CROP_MASKS, PATCHES_NAME = "crops", "crop_masks", "patches.npz"
# The widest patch of training reaches 30 mm from the click; the rest is for clicks beside the middle.
CROP_HALF_MM = 40.0
LOWEST_HU, HIGHEST_HU = -32768, 32767


def crop_around(ct: CTVolume, point_ras: np.ndarray, half_mm: float = CROP_HALF_MM) -> CTVolume:
    """The voxels of a box that holds all within `half_mm` of a point along R, A and S; the point is the origin of its frame.

    Voxels are neither copied nor resampled. The box ends where the scan ends.

    Args:
        point_ras: (3,) RAS mm, inside the scan.
    """
    corners = np.array(np.meshgrid(*[(-half_mm, half_mm)] * 3)).reshape(3, -1).T + point_ras
    ijk = ct.to_ijk(corners)
    shape_ijk = np.array(ct.hu.shape[::-1])
    first = np.clip(np.floor(ijk.min(axis=0)).astype(int), 0, shape_ijk - 1)
    last = np.clip(np.ceil(ijk.max(axis=0)).astype(int), 0, shape_ijk - 1)
    (i0, j0, k0), (i1, j1, k1) = first, last
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :3] @ first - point_ras
    return CTVolume(ct.hu[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1], matrix, ct.name)


def write_crop(file: Path, crop: CTVolume) -> None:
    """Write HU as int16 NRRD.

    Raises:
        InputError: it cannot be written.
    """
    hu = np.clip(np.rint(crop.hu), LOWEST_HU, HIGHEST_HU).astype(np.int16)
    write_volume(hu, crop.ijk_to_ras, file)


def write_mask(file: Path, inside: np.ndarray, ijk_to_ras: np.ndarray) -> None:
    """Write an outline (K, J, I), True or not 0 inside, as NRRD.

    Raises:
        InputError: it cannot be written.
    """
    write_volume((inside > 0).astype(np.uint8), ijk_to_ras, file)


def write_nodules(folder: Path, nodules: Sequence[Nodule]) -> Path:
    """Write the nodule table of a data folder, at once.

    Raises:
        InputError: it cannot be written.
    """
    file = Path(folder) / TABLE_NAME
    with writing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(_row(nodule) for nodule in nodules)
    return file


def _row(nodule: Nodule) -> dict[str, str]:
    return {
        "nodule_id": nodule.nodule_id,
        "patient_id": nodule.patient_id,
        "fold": str(nodule.fold),
        "n_readers": str(nodule.n_readers),
        "diameter_mm": _number(nodule.diameter_mm),
        "volume_mm3": _number(nodule.volume_mm3),
        "malignancy_mean": _number(nodule.malignancy),
        **{name: " ".join(map(str, nodule.ratings.get(name, ()))) for name in ATTRIBUTE_NAMES},
        MALIGNANCY: " ".join(map(str, nodule.malignancy_ratings)),
        **{kind: nodule.images.get(kind, "") for kind in (*IMAGE_KINDS, *MASK_KINDS)},
        "point_ras": " ".join(f"{value:.3f}" for value in nodule.point_ras or ()),
        "slice_index": "" if nodule.slice_index is None else str(nodule.slice_index),
        "slice_pixel_mm": _number(nodule.slice_pixel_mm),
        "truth": nodule.truth,
    }


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}".rstrip("0").rstrip(".")
