"""The images of a LIDC-IDRI nodule with a click on it, and places of the same scans where no nodule is."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.dataset.array_file import read_arrays
from CLIPLungLib.dataset.insertion import Host, insertions
from CLIPLungLib.dataset.nodule_table import IMAGE_KINDS, MASK_KINDS, TABLE_NAME, Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.read import read_ct

logger = logging.getLogger(__name__)
SLICES_NAME = "slices.npz"
# What a training patch or an answer is of; a background point lies in a cube or crop, well beyond the nodule; an inserted nodule is
# that of a volume, put into other lung.
PATCH_KINDS = ("volume", "slice", "cube", "crop", "background", "inserted")
TRUE_CONTEXT = ("cube", "crop")
# Points without a nodule, taken from every cube and crop: how many, and how far from the nodule's rim.
BACKGROUND_POINTS, BACKGROUND_BEYOND_MM = 6, 10.0
# In all so many are enough; more would only fill the memory.
BACKGROUND_ENOUGH = 2000


@dataclass(frozen=True, eq=False)
class NoduleImage:
    """One image and a click in it.

    Attributes:
        nodule: index into the table.
        kind: one of PATCH_KINDS.
        ct: the image, in a frame of its own.
        point_ras: (3,) RAS mm.
        outline: the readers', where it is at hand.
    """

    nodule: int
    kind: str
    ct: CTVolume
    point_ras: np.ndarray
    outline: NoduleOutline | None = None


@dataclass(frozen=True, eq=False)
class NoduleOutline:
    """The readers' outline of a nodule.

    Attributes:
        inside: 1 inside, 0 outside.
        point_ras: (3,) the click on the nodule, RAS mm of that frame.
    """

    inside: CTVolume
    point_ras: np.ndarray


def nodule_images(
    folder: Path, nodules: Sequence[Nodule], chosen: Sequence[int], hosts: Sequence[Host] = ()
) -> Iterator[NoduleImage]:
    """Every image of the chosen nodules, with background points; one file is in memory at a time.

    Args:
        folder: of the table; its file SLICES_NAME may be missing.
        nodules: all rows of the table.
        chosen: indices of the wanted rows.
        hosts: lung that outlined volumes are put into, one each.
    """
    slices = read_slices(folder, nodules)
    for index in chosen:
        nodule = nodules[index]
        slice_hu = None if slices is None or nodule.slice_index is None else slices[nodule.slice_index]
        yield from images_of_nodule(folder, index, nodule, slice_hu, Surroundings(BACKGROUND_POINTS, tuple(hosts), 1))


@dataclass(frozen=True)
class Surroundings:
    """What is taken besides the images of a nodule.

    Attributes:
        background: how many points each cube and crop gives at most.
        hosts: lung to put outlined volumes into.
        insertions: into how many of them.
    """

    background: int = BACKGROUND_POINTS
    hosts: tuple[Host, ...] = ()
    insertions: int = 0


def images_of_nodule(
    folder: Path, index: int, nodule: Nodule, slice_hu: np.ndarray | None, surroundings: Surroundings
) -> Iterator[NoduleImage]:
    """Every image of one nodule, with background points and the nodule in other lung.

    Args:
        index: of its row.
        slice_hu: (rows, columns) HU of its single slice; None without one.
        surroundings: what to take besides.
    """
    outlines = nodule_outlines(folder, nodule)
    for kind in (kind for kind in IMAGE_KINDS if kind in nodule.images):
        ct, point_ras = image_and_click(folder, nodule, kind)
        outline = outlines.get(kind)
        yield NoduleImage(index, kind, ct, point_ras, outline)
        if kind in TRUE_CONTEXT:
            for point in background_points(ct, nodule)[: surroundings.background]:
                yield NoduleImage(index, "background", ct, point)
        elif outline is not None:
            for found in insertions(folder, nodule, ct, outline.inside, surroundings.hosts, surroundings.insertions):
                yield NoduleImage(
                    index, "inserted", found.ct, found.point_ras, NoduleOutline(found.outline, found.point_ras)
                )
    if slice_hu is not None:
        yield NoduleImage(index, "slice", slice_volume(slice_hu, nodule.slice_pixel_mm), np.zeros(3))


def background_points_per_image(nodules: Sequence[Nodule]) -> int:
    """How many points without a nodule each cube and crop gives: fewer where there are many, as their number is what counts."""
    images = sum(kind in nodule.images for nodule in nodules for kind in TRUE_CONTEXT)
    return min(BACKGROUND_POINTS, max(1, BACKGROUND_ENOUGH // max(1, images)))


def image_and_click(folder: Path, nodule: Nodule, kind: str) -> tuple[CTVolume, np.ndarray]:
    """An image of a nodule and the click on it, (3,) in RAS mm of that image's own frame."""
    # Cubes and crops have the click as the origin of their own frame.
    click_ras = np.asarray(nodule.point_ras) if kind == "volume" else np.zeros(3)
    return read_ct(Path(folder) / nodule.images[kind]), click_ras


def nodule_outlines(folder: Path, nodule: Nodule) -> dict[str, NoduleOutline]:
    """Kind of image -> the outline that belongs to it. A slice's height within the outline is not recorded, so it has none."""
    found = {kind: _outline(folder, nodule, kind) for kind in MASK_KINDS if kind in nodule.images}
    of_volume = found.get("mask") if nodule.point_ras is not None else None
    chosen = {"volume": of_volume} | dict.fromkeys(TRUE_CONTEXT, found.get("crop_mask", of_volume))
    return {kind: outline for kind, outline in chosen.items() if outline is not None}


def _outline(folder: Path, nodule: Nodule, kind: str) -> NoduleOutline:
    mask = read_ct(Path(folder) / nodule.images[kind])
    inside = CTVolume((mask.hu > 0).astype(np.uint8), mask.ijk_to_ras, mask.name)
    return NoduleOutline(inside, np.asarray(nodule.point_ras) if kind == "mask" else np.zeros(3))


def read_slices(folder: Path, nodules: Sequence[Nodule]) -> np.ndarray | None:
    """(N, rows, columns) int16 HU of single slices; None where the folder holds none.

    Raises:
        InputError: the file is damaged, or is not that of the table.
    """
    file = Path(folder) / SLICES_NAME
    indices = [nodule.slice_index for nodule in nodules if nodule.slice_index is not None]
    if not file.is_file():
        if indices:
            logger.warning("%s is not there: %d nodules go without their slice", file, len(indices))
        return None
    try:
        slices = read_arrays(file, ["hu"])["hu"]
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file} cannot be read ({error}). Copy it anew, or remove it to do without slices."
        ) from error
    if slices.ndim != 3 or max(indices, default=-1) >= len(slices):
        raise InputError(
            f"{file} holds an array of shape {slices.shape}, but {TABLE_NAME} names slice {max(indices, default=0)}. "
            "Give the slices that belong to this table, or remove them to do without."
        )
    return slices


def slice_volume(hu: np.ndarray, pixel_mm: float) -> CTVolume:
    """A single axial slice (rows to the back, columns to the left) centred on the origin, as a volume of one plane."""
    matrix = np.diag([-pixel_mm, -pixel_mm, 1.0, 1.0])
    matrix[:2, 3] = pixel_mm * (np.array(hu.shape[::-1]) - 1) / 2
    return CTVolume(hu[None], matrix, "slice")


def background_points(ct: CTVolume, nodule: Nodule) -> np.ndarray:
    """(N, 3) RAS mm: random points of a cube or crop, well beyond the nodule at its origin; the same in every run."""
    rng = np.random.default_rng([int(digits) for digits in re.findall(r"\d+", nodule.nodule_id)])
    low, high = ct.bounds_ras()
    candidates = rng.uniform(low * 0.75, high * 0.75, (200, 3))
    beyond = np.linalg.norm(candidates, axis=1) > nodule.diameter_mm / 2 + BACKGROUND_BEYOND_MM
    points: np.ndarray = candidates[beyond][:BACKGROUND_POINTS]
    return points
