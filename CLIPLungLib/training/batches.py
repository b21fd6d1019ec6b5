"""Batches of patches with the readers' opinion: augmented ones to learn from, plain ones to evaluate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.lidc.nodule_table import LidcNodule
from CLIPLungLib.lidc.training_patches import EMPTY_BEYOND_MM, MARGIN_PIXELS, PATCH_KINDS, TrainingPatches
from CLIPLungLib.training.augmentation import apply_grids, random_grey, random_grids
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.objective import Targets
from CLIPLungLib.vocabulary import ATTRIBUTES

# How often each kind of view is drawn when a nodule has several.
KIND_WEIGHTS = {"volume": 0.5, "slice": 0.25, "cube": 0.25, "crop": 0.25}
BACKGROUND = PATCH_KINDS.index("background")


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches (B, Z, H, W) in 0..1, which planes exist (B, Z), and what the readers said."""

    planes: Tensor
    exists: Tensor
    targets: Targets


class TrainingSet:
    """Nodules of some patient folds; every epoch shows each nodule once, in one of its views, changed at random.

    The order and all changes follow from (seed, epoch, step, place in the batch) alone, so a resumed run sees what an uninterrupted
    one would have seen, and so do several processes that share the batches.
    """

    def __init__(self, views: TrainingPatches, nodules: Sequence[LidcNodule], config: TrainConfig) -> None:
        self.views = views
        self.nodules = nodules
        self.config = config
        patients = np.array([nodule.patient_id for nodule in nodules])
        in_folds = np.isin([nodule.fold for nodule in nodules], config.train_folds)
        apart = validation_patients(np.unique(patients[in_folds]), config.validation_share, config.seed)
        is_apart = np.isin(patients, apart)
        self.validation_nodules = np.flatnonzero(in_folds & is_apart)
        chosen = (in_folds & ~is_apart)[views.nodule]
        shows_nodule = views.kind != BACKGROUND
        self.patches_of_nodule = {
            int(n): np.flatnonzero(chosen & shows_nodule & (views.nodule == n))
            for n in np.unique(views.nodule[chosen & shows_nodule])
        }
        if not self.patches_of_nodule:
            raise InputError(
                f"There is no nodule to learn from in the folds {list(config.train_folds)}. Choose other folds, or a smaller validation_share."
            )
        self.background_patches_found = np.flatnonzero(chosen & ~shows_nodule)
        self.empty_planes = _empty_planes(views, np.flatnonzero(chosen))
        readers = np.array([nodule.n_readers for nodule in nodules], dtype=np.float64)
        self.sample_weight = np.sqrt(readers) / np.sqrt(readers[list(self.patches_of_nodule)]).mean()

    def steps(self) -> int:
        """Batches per epoch."""
        return max(1, len(self.patches_of_nodule) // self.config.batch_size)

    def require_patches_for(self, processes: int) -> None:
        """Every process needs a patch in every batch.

        Raises:
            InputError: there are more processes than patches.
        """
        patches = min(self.config.batch_size, len(self.patches_of_nodule)) + self._background_count()
        if patches < processes:
            raise InputError(
                f"{processes} processes cannot share batches of {patches} patches. Start fewer processes, or raise batch_size."
            )

    def epoch(self, epoch: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        """The batches of one epoch, or the share of each that falls to one of several processes."""
        rng = np.random.default_rng([self.config.seed, epoch])
        order = rng.permutation(list(self.patches_of_nodule))
        size = self.config.batch_size
        for step in range(self.steps()):
            nodules = order[step * size : (step + 1) * size]
            with_background = np.concatenate([nodules, np.full(self._background_count(), -1)])
            own = np.array_split(np.arange(len(with_background)), processes)[process]
            seeds = [np.random.SeedSequence([self.config.seed, epoch, step, int(place)]) for place in own]
            yield self._batch(with_background[own], [np.random.default_rng(seed) for seed in seeds])

    def _background_count(self) -> int:
        return self.config.background_patches if len(self.background_patches_found) else 0

    def _batch(self, nodules: np.ndarray, generators: list[np.random.Generator]) -> Batch:
        """Args: nodules (B,), -1 for a patch without one; one source of randomness per patch."""
        draws = [self._draw(int(nodule), rng) for nodule, rng in zip(nodules, generators, strict=True)]
        views, rows, slots = zip(*draws, strict=True)
        views = np.array(views)
        patch_of_plane = np.repeat(np.arange(len(views)), [len(part) for part in rows])
        rows, slots = np.concatenate(rows), np.concatenate(slots)
        narrow = self.views.kind[views] != PATCH_KINDS.index("volume")
        grids = random_grids(self.config.patch, self.views.hu.shape[-1], narrow, generators)[patch_of_plane]
        hu = apply_grids(torch.from_numpy(self.views.hu[rows].astype(np.float32)), grids)
        hu = random_grey(hu, patch_of_plane, generators)
        outline = apply_grids(torch.from_numpy(self.views.outline[rows].astype(np.float32) / 255), grids)
        weight = np.where(self.views.kind[views] == BACKGROUND, 0.0, self.sample_weight[self.views.nodule[views]])
        return _assemble(
            self.nodules, self.views, views, weight, hu, outline, (patch_of_plane, slots), self.config.patch
        )

    def _draw(self, nodule: int, rng: np.random.Generator) -> tuple[int, np.ndarray, np.ndarray]:
        """A view of the nodule (or one without, for -1), and which of its planes go where: their rows and their slots."""
        if nodule < 0:
            view = int(rng.choice(self.background_patches_found))
            return view, *self._draw_planes(view, rng)
        views = self.patches_of_nodule[nodule]
        weights = np.array([KIND_WEIGHTS[PATCH_KINDS[kind]] for kind in self.views.kind[views]])
        view = int(rng.choice(views, p=weights / weights.sum()))
        rows, slots = self._draw_planes(view, rng)
        free = np.setdiff1d(np.arange(self.config.patch.shape[0]), slots)
        wanted = int(rng.integers(self.config.empty_planes + 1)) if len(self.empty_planes) else 0
        count = min(wanted, len(free))
        empty_rows = rng.choice(self.empty_planes, count) if count else np.array([], dtype=np.int64)
        empty_slots = rng.choice(free, count, replace=False)
        return view, np.concatenate([rows, empty_rows]), np.concatenate([slots, empty_slots])

    def _draw_planes(self, view: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Some planes of the view, the middle one among them: their rows and their slots."""
        planes = np.arange(self.views.planes(view).start, self.views.planes(view).stop)
        middle = planes[np.argmin(np.abs(self.views.height_mm[planes]))]
        others = rng.permutation(planes[planes != middle])[: self.config.largest_stack - 1]
        rows = np.concatenate([[middle], others])
        return rows, _slots(self.views, rows, self.config.patch)


def validation_patients(patients: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A random share of the patients, the same for the same seed."""
    return np.random.default_rng([seed, 1]).permutation(patients)[: round(share * len(patients))]


def evaluation_batches(
    views: TrainingPatches, nodules: Sequence[LidcNodule], chosen: np.ndarray, patch: PatchSpec, batch_size: int = 16
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Unchanged patches of the views `chosen`, with their indices; every plane that exists is there."""
    inner = slice(MARGIN_PIXELS, -MARGIN_PIXELS)
    ordered = chosen[np.argsort(views.plane_count[chosen], kind="stable")]
    for start in range(0, len(ordered), batch_size):
        part = ordered[start : start + batch_size]
        rows = np.concatenate([np.arange(s.start, s.stop) for s in map(views.planes, part)])
        patch_of_plane = np.repeat(np.arange(len(part)), views.plane_count[part])
        hu = torch.from_numpy(views.hu[rows][:, inner, inner].astype(np.float32))
        outline = torch.from_numpy(views.outline[rows][:, inner, inner] / np.float32(255))
        places = (patch_of_plane, _slots(views, rows, patch))
        yield part, _assemble(nodules, views, part, np.ones(len(part)), hu, outline, places, patch)


def _slots(views: TrainingPatches, rows: np.ndarray, patch: PatchSpec) -> np.ndarray:
    """Which plane of the patch each prepared plane is."""
    step_mm, middle = patch.spacing_mm[0], (patch.shape[0] - 1) / 2
    return np.rint(views.height_mm[rows] / step_mm + middle).astype(np.int64)


def _assemble(
    nodules: Sequence[LidcNodule],
    views: TrainingPatches,
    chosen: np.ndarray,
    weight: np.ndarray,
    hu: Tensor,
    outline: Tensor,
    places: tuple[np.ndarray, np.ndarray],
    patch: PatchSpec,
) -> Batch:
    patch_of_plane, slot = (torch.from_numpy(index) for index in places)
    exists = torch.zeros(len(chosen), patch.shape[0], dtype=torch.bool)  # (B, Z)
    exists[patch_of_plane, slot] = True
    low, high = patch.window_hu
    planes, outlines = (hu.new_zeros(*exists.shape, *hu.shape[1:]) for _ in range(2))
    planes[patch_of_plane, slot] = ((hu - low) / (high - low)).clamp(0, 1)
    outlines[patch_of_plane, slot] = outline
    rows = [nodules[index] for index in views.nodule[chosen]]
    targets = Targets(
        label=torch.tensor([row.label for row in rows]),
        rating=torch.tensor([row.malignancy for row in rows]),
        level_weight=torch.from_numpy(np.stack([row.level_shares() for row in rows]) / len(ATTRIBUTES)),
        log_diameter=torch.tensor([row.diameter_mm for row in rows]).log(),
        sample_weight=torch.from_numpy(weight.astype(np.float32)),
        outline=outlines,
        is_outlined=torch.from_numpy(views.is_outlined[chosen].astype(np.float32)),
    )
    return Batch(planes, exists, targets)


def _empty_planes(views: TrainingPatches, chosen: np.ndarray) -> np.ndarray:
    """Planes of scans with true context that lie well beyond their nodule."""
    found = []
    for view in chosen:
        if PATCH_KINDS[views.kind[view]] not in ("cube", "crop"):
            continue
        planes = np.arange(views.planes(view).start, views.planes(view).stop)
        height = views.height_mm[planes]
        with_nodule = height[views.outline[planes].max(axis=(1, 2)) > 0]
        if len(with_nodule):
            beyond = (height < with_nodule.min() - EMPTY_BEYOND_MM) | (height > with_nodule.max() + EMPTY_BEYOND_MM)
            found.append(planes[beyond])
    return np.concatenate(found) if found else np.array([], dtype=np.int64)
