"""From LIDC images to patches for training: one file with every existing plane of every nodule, wider than the network sees.

Each image of a nodule becomes a training patch: a stack of planes with the readers' outline. The margin is for training's shifts
and turns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from CLIPLungLib.atomic_write import remove_leftovers, writing
from CLIPLungLib.dataset.array_file import read_arrays
from CLIPLungLib.dataset.image_choice import one_image_per_nodule
from CLIPLungLib.dataset.insertion import read_hosts
from CLIPLungLib.dataset.nodule_images import (
    PATCH_KINDS,
    TRUE_CONTEXT,
    NoduleImage,
    NoduleOutline,
    Surroundings,
    background_points_per_image,
    images_of_nodule,
    read_slices,
)
from CLIPLungLib.dataset.nodule_table import IMAGE_KINDS, TABLE_NAME, Nodule, is_trusted, read_nodules
from CLIPLungLib.dataset.worker_pool import each_result
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.image.resample import grid_coordinates, sample_hu

logger = logging.getLogger(__name__)
MARGIN_PIXELS = 8
# Planes this far beyond the nodule's ends show none of it.
EMPTY_BEYOND_MM = 3.0
# How much of the scan around a background point is kept.
BACKGROUND_HALF_MM = 8.0
# Into so many hosts every outlined volume is put.
INSERTIONS = 2


@dataclass(frozen=True, eq=False)
class TrainingPatches:
    """All training patches of all nodules: N patches, their P planes one after the other.

    Attributes:
        hu: (P, H, W) int16 planes, MARGIN_PIXELS wider than the network's patch on every side.
        outline: (P, H, W) uint8, 255 inside the readers' outline; nothing in patches of kind "background".
        height_mm: (P,) height of the plane above the click.
        first_plane, plane_count: (N,) the planes of each patch.
        nodule: (N,) index into the table's rows.
        kind: (N,) index into PATCH_KINDS.
        is_outlined: (N,) bool, True where the outline is the readers' own (or truly empty), not a ball of their diameter.
    """

    hu: np.ndarray
    outline: np.ndarray
    height_mm: np.ndarray
    first_plane: np.ndarray
    plane_count: np.ndarray
    nodule: np.ndarray
    kind: np.ndarray
    is_outlined: np.ndarray

    def save(self, file: Path) -> None:
        """Write as an uncompressed .npz without pickled objects, at once: a reader never sees half of it."""
        remove_leftovers(file)
        with writing(file) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **vars(self))

    @classmethod
    def load(cls, file: Path) -> TrainingPatches:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, damaged, or holds something else.
        """
        remedy = f"Make it from the data folder DATA: 'cliplung prepare DATA --output {file}'."
        try:
            patches = cls(**read_arrays(Path(file), tuple(cls.__dataclass_fields__)))
            patches._require_consistent()
        except FileNotFoundError as error:
            raise InputError(f"There is no file of training patches {file}. {remedy}") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{file} holds no training patches, or is damaged ({error}). {remedy}") from error
        return patches

    def planes(self, patch: int) -> slice:
        """The planes of a patch."""
        return slice(int(self.first_plane[patch]), int(self.first_plane[patch] + self.plane_count[patch]))

    def slots(self, planes: np.ndarray, spec: PatchSpec) -> np.ndarray:
        """Which plane of the network's patch each of these prepared planes is."""
        step_mm, middle = spec.spacing_mm[0], (spec.shape[0] - 1) / 2
        slots: np.ndarray = np.rint(self.height_mm[planes] / step_mm + middle).astype(np.int64)
        return slots

    def require_fit(self, nodules: Sequence[Nodule], spec: PatchSpec) -> None:
        """Refuse a table or a patch size that these patches were not prepared from.

        Raises:
            InputError: they do not fit.
        """
        remedy = "Prepare them anew with this table and configuration: 'cliplung lidc prepare'."
        if self.nodule.max() >= len(nodules):
            raise InputError(
                f"The training patches are of {self.nodule.max() + 1} nodules or more, the table holds {len(nodules)}. {remedy}"
            )
        slots = self.slots(np.arange(len(self.hu)), spec)
        if self.hu.shape[1:] != _widened(spec).shape[1:] or slots.min() < 0 or slots.max() >= spec.shape[0]:
            raise InputError(f"The training patches were not prepared for patches of {spec.shape} voxels. {remedy}")

    def _require_consistent(self) -> None:
        planes, patches = self.hu.shape[0] if self.hu.ndim else 0, self.nodule.size
        of_patch = (self.first_plane, self.plane_count, self.nodule, self.kind, self.is_outlined)
        if (
            self.hu.ndim != 3
            or self.outline.shape != self.hu.shape
            or self.hu.dtype != np.dtype(np.int16)
            or self.outline.dtype != np.dtype(np.uint8)
            or self.is_outlined.dtype != np.dtype(np.bool_)
            or self.height_mm.shape != (planes,)
            or not np.isfinite(self.height_mm).all()
            or any(values.shape != (patches,) for values in of_patch)
            or any(not np.issubdtype(values.dtype, np.integer) for values in of_patch[:4])
        ):
            raise ValueError("its arrays do not fit together")
        if (
            patches == 0
            or self.plane_count.min() < 1
            or self.first_plane.min() < 0
            # Apart, as their sum may overflow.
            or max(self.first_plane.max(), self.plane_count.max()) > planes
            or (self.first_plane.astype(np.int64) + self.plane_count.astype(np.int64)).max() > planes
            or self.nodule.min() < 0
            or not np.isin(self.kind, np.arange(len(PATCH_KINDS))).all()
        ):
            raise ValueError("its indices lead nowhere")


def _widened(spec: PatchSpec) -> PatchSpec:
    planes, rows, columns = spec.shape
    return replace(spec, shape=(planes, rows + 2 * MARGIN_PIXELS, columns + 2 * MARGIN_PIXELS))


def one_patch_per_nodule(
    patches: TrainingPatches, nodules: Sequence[Nodule], chosen: Sequence[int] | np.ndarray, fewest_readers: int
) -> np.ndarray:
    """Indices of patches, kind after kind: one of every chosen nodule with enough readers, see `one_image_per_nodule`.

    Args:
        chosen: indices into `nodules`.
    """
    enough = [int(index) for index in chosen if is_trusted(nodules[index], fewest_readers)]
    found = np.flatnonzero(one_image_per_nodule(patches.nodule, patches.kind, np.isin(patches.nodule, enough)))
    in_order: np.ndarray = found[np.argsort(patches.kind[found], kind="stable")]
    return in_order


def prepare_patches(
    folder: Path, spec: PatchSpec, progress: Callable[[int, int], None] | None = None, jobs: int = 1
) -> TrainingPatches:
    """Resample every image of every nodule in a data folder on the grid the network will see.

    Needs the memory of the result once, and in each process that of one nodule's image.

    Args:
        folder: with the nodule table and the images it names; without SLICES_NAME, nodules have no slices.
        spec: what the network will see.
        progress: called as (nodules done, nodules in all).
        jobs: number of processes.

    Raises:
        InputError: no table, an image that cannot be read, or no image at all.
    """
    folder = Path(folder)
    nodules = read_nodules(folder)
    slices = read_slices(folder, nodules)
    surroundings = Surroundings(background_points_per_image(nodules), read_hosts(folder), INSERTIONS)
    tasks = (
        _NoduleTask(
            folder,
            index,
            nodule,
            None if slices is None or nodule.slice_index is None else slices[nodule.slice_index],
            surroundings,
        )
        for index, nodule in enumerate(nodules)
    )
    widened = _widened(spec)
    joined = _Joined(widened, sum(_planes_at_most(nodule, widened, surroundings) for nodule in nodules))
    for done, stacks in enumerate(each_result(partial(_stacks, spec=widened), tasks, min(jobs, len(nodules)))):
        if progress:
            progress(done, len(nodules))
        for stack in stacks:
            joined.add(stack)
    if not joined.nodule:
        raise InputError(
            f"{folder} holds no image of any nodule. Give the folder with the images that {TABLE_NAME} names."
        )
    if progress:
        progress(len(nodules), len(nodules))
    return joined.patches()


@dataclass(frozen=True, eq=False)
class _Stack:
    """One training patch before it is joined with the others; attributes as those of TrainingPatches."""

    nodule: int
    kind: str
    hu: np.ndarray
    outline: np.ndarray
    height_mm: np.ndarray
    is_outlined: bool


@dataclass(frozen=True, eq=False)
class _NoduleTask:
    """One nodule to cut: its row and the number of it, its single slice, and what is taken besides its images."""

    folder: Path
    index: int
    nodule: Nodule
    slice_hu: np.ndarray | None
    surroundings: Surroundings


def _stacks(task: _NoduleTask, spec: PatchSpec) -> list[_Stack]:
    """One stack for each image of a nodule, and those of background around it."""
    images = images_of_nodule(task.folder, task.index, task.nodule, task.slice_hu, task.surroundings)
    return [_stack(image, task.nodule, spec) for image in images]


def _planes_at_most(nodule: Nodule, spec: PatchSpec, surroundings: Surroundings) -> int:
    """How many planes the stacks of a nodule can have."""
    planes, background = spec.shape[0], surroundings.background
    near = min(planes, int(2 * BACKGROUND_HALF_MM / spec.spacing_mm[0]) + 1)
    whole = sum(kind in nodule.images for kind in IMAGE_KINDS) * planes
    around = sum(kind in nodule.images for kind in TRUE_CONTEXT) * background * near
    inserted = ("volume" in nodule.images) * min(surroundings.insertions, len(surroundings.hosts)) * planes
    return whole + around + inserted + (nodule.slice_index is not None)


class _Joined:
    """Stacks one after the other. Arrays are made once, for as many planes as there can be: unused memory costs nothing."""

    def __init__(self, spec: PatchSpec, planes_at_most: int) -> None:
        self._hu = np.empty((planes_at_most, *spec.shape[1:]), np.int16)
        self._outline = np.empty((planes_at_most, *spec.shape[1:]), np.uint8)
        self._height_mm: list[np.ndarray] = []
        self._is_outlined: list[bool] = []
        self._kind: list[int] = []
        self._planes = [0]
        self.nodule: list[int] = []

    def add(self, stack: _Stack) -> None:
        first, end = self._planes[-1], self._planes[-1] + len(stack.hu)
        self._hu[first:end], self._outline[first:end] = stack.hu, stack.outline
        self._height_mm.append(stack.height_mm)
        self._is_outlined.append(stack.is_outlined)
        self._kind.append(PATCH_KINDS.index(stack.kind))
        self._planes.append(end)
        self.nodule.append(stack.nodule)

    def patches(self) -> TrainingPatches:
        first_plane = np.array(self._planes)
        return TrainingPatches(
            hu=self._hu[: first_plane[-1]],
            outline=self._outline[: first_plane[-1]],
            height_mm=np.concatenate(self._height_mm).astype(np.float32),
            first_plane=first_plane[:-1],
            plane_count=np.diff(first_plane),
            nodule=np.array(self.nodule),
            kind=np.array(self._kind),
            is_outlined=np.array(self._is_outlined),
        )


def _stack(image: NoduleImage, nodule: Nodule, spec: PatchSpec) -> _Stack:
    """The planes of the patch around a click that exist in the image; of background only those near it.

    Raises:
        InputError: there is none, for the click lies outside the image.
    """
    matrix = spec.grid_to_ras(image.point_ras)
    height_mm = matrix[2, 3] + matrix[2, 2] * np.arange(spec.shape[0]) - image.point_ras[2]
    chosen = image.ct.contains_ijk(image.ct.to_ijk(image.point_ras + height_mm[:, None] * [0.0, 0.0, 1.0]))
    if image.kind == "background":
        chosen = chosen & (np.abs(height_mm) <= BACKGROUND_HALF_MM)
        inside, is_outlined = np.zeros(spec.shape, np.uint8), True
    else:
        inside, is_outlined = _outline(nodule, image.outline, spec), image.outline is not None
    if not chosen.any():
        raise InputError(
            f"The {image.kind} of nodule {nodule.nodule_id} does not hold the click on it. Mend its point_ras."
        )
    hu = sample_hu(image.ct, grid_coordinates(image.ct, matrix, spec.shape)[chosen])
    grey = np.clip(np.rint(hu), -32000, 32000).astype(np.int16)
    return _Stack(image.nodule, image.kind, grey, inside[chosen], height_mm[chosen], is_outlined)


def _outline(nodule: Nodule, outline: NoduleOutline | None, spec: PatchSpec) -> np.ndarray:
    """(Z, H, W) uint8: the readers' outline around the click, or a ball of their diameter where no outline is at hand."""
    if outline is not None:
        coordinates = grid_coordinates(outline.inside, spec.grid_to_ras(outline.point_ras), spec.shape)
        share = sample_hu(outline.inside, coordinates)
        return np.where(outline.inside.contains_ijk(coordinates), 255 * share, 0).astype(np.uint8)
    k, j, i = np.indices(spec.shape)
    grid = spec.grid_to_ras(np.zeros(3))
    distance_mm = np.linalg.norm(np.stack([i, j, k], axis=-1) @ grid[:3, :3].T + grid[:3, 3], axis=-1)
    return np.where(distance_mm <= nodule.diameter_mm / 2, 255, 0).astype(np.uint8)
