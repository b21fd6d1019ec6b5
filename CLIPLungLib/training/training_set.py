"""The training set: which nodules, patches and planes an epoch shows, and their augmentation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from CLIPLungLib.dataset.nodule_images import PATCH_KINDS, TRUE_CONTEXT
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.dataset.training_patches import EMPTY_BEYOND_MM, TrainingPatches
from CLIPLungLib.errors import InputError
from CLIPLungLib.training.augmentation import apply_grids, random_grey, random_grids
from CLIPLungLib.training.batches import Batch, normalised, stacked_planes, targets_of
from CLIPLungLib.training.config import TrainConfig

# How often each kind of image is drawn when a nodule has several.
KIND_WEIGHTS = {"volume": 0.5, "slice": 0.25, "cube": 0.25, "crop": 0.25}
BACKGROUND, VOLUME, SLICE, INSERTED = (
    PATCH_KINDS.index(kind) for kind in ("background", "volume", "slice", "inserted")
)
# Planes of these kinds beyond the nodule's ends show true surroundings.
WITH_SURROUNDINGS = tuple(PATCH_KINDS.index(kind) for kind in (*TRUE_CONTEXT, "inserted"))
BACKGROUND_PLANES = 4


class TrainingSet:
    """The nodules of some patient folds. Every epoch shows each nodule once, in one of its patches, augmented.

    Order and augmentation depend only on (seed, epoch, step, place in the batch), so a resumed run sees what an uninterrupted one
    would have seen. Several processes take turns at the places of a batch; the last ones start again at the first place, so that
    all have the same number (as torch's DistributedSampler does).

    Raises:
        InputError: patches that do not fit table or settings, or no nodule to train on.
    """

    def __init__(self, patches: TrainingPatches, nodules: Sequence[Nodule], config: TrainConfig) -> None:
        patches.require_fit(nodules, config.patch)
        self.patches = patches
        self.nodules = nodules
        self.config = config
        patients = np.array([nodule.patient_id for nodule in nodules])
        in_folds = np.isin([nodule.fold for nodule in nodules], config.train_folds)
        held_out = validation_patients(np.unique(patients[in_folds]), config.validation_share, config.seed)
        is_held_out = np.isin(patients, held_out)
        self.validation_nodules = np.flatnonzero(in_folds & is_held_out)
        chosen = (in_folds & ~is_held_out)[patches.nodule]
        of_nodule = patches.kind != BACKGROUND
        if not config.inserted_share:
            chosen = chosen & (patches.kind != INSERTED)
        self.patches_of_nodule = {
            int(n): np.flatnonzero(chosen & of_nodule & (patches.nodule == n))
            for n in np.unique(patches.nodule[chosen & of_nodule])
        }
        if not self.patches_of_nodule:
            raise InputError(
                f"There is no nodule to train on in the folds {list(config.train_folds)}. Choose other folds, or a smaller validation_share."
            )
        self.shows_nodule: np.ndarray = np.asarray(patches.outline.any(axis=(1, 2)))
        # Background alone would teach that nothing has an outline.
        self.learns_outline = bool(patches.is_outlined[chosen & of_nodule].any())
        self.background_patches = np.flatnonzero(chosen & ~of_nodule & self.learns_outline)
        self.only_slices = [n for n, places in self.patches_of_nodule.items() if (patches.kind[places] == SLICE).all()]
        self.more_than_slices = sorted(set(self.patches_of_nodule) - set(self.only_slices))
        self.empty_planes = _empty_planes(patches, np.flatnonzero(chosen))
        self.sample_weight = sample_weights(nodules, list(self.patches_of_nodule))

    def steps(self) -> int:
        """Batches per epoch."""
        return max(1, (len(self.more_than_slices) + self._slices_of_epoch()) // self.config.batch_size)

    def nodules_of_epoch(self, epoch: int) -> np.ndarray:
        """Indices of the nodules of an epoch, in order; nodules that do not fill the last batch are left out."""
        rng = np.random.default_rng([self.config.seed, epoch])
        of_slices = rng.permutation(self.only_slices)[: self._slices_of_epoch()]
        return rng.permutation(np.concatenate([self.more_than_slices, of_slices]).astype(np.int64))

    def _slices_of_epoch(self) -> int:
        """Number of nodules with nothing but a slice that an epoch shows."""
        return math.ceil(self.config.slice_share * len(self.only_slices))

    def epoch(self, epoch: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        """The batches of one epoch, or the share of one process."""
        order = self.nodules_of_epoch(epoch)
        size = self.config.batch_size
        background = self.config.background_patches if len(self.background_patches) else 0
        for step in range(self.steps()):
            nodules = order[step * size : (step + 1) * size]
            with_background = np.concatenate([nodules, np.full(background, -1)])
            own = shared_places(len(with_background), process, processes)
            seeds = [np.random.SeedSequence([self.config.seed, epoch, step, int(place)]) for place in own]
            yield self._batch(with_background[own], [np.random.default_rng(seed) for seed in seeds])

    def _batch(self, nodules: np.ndarray, generators: list[np.random.Generator]) -> Batch:
        """Args: nodules (B,), -1 for a patch without one; one source of randomness per patch."""
        draws = [self._draw(int(nodule), rng) for nodule, rng in zip(nodules, generators, strict=True)]
        chosen = np.array([patch for patch, _, _ in draws])
        planes = np.concatenate([planes for _, planes, _ in draws])
        slots = np.concatenate([slots for _, _, slots in draws])
        patch_of_plane = np.repeat(np.arange(len(draws)), [len(own) for _, own, _ in draws])
        kind = self.patches.kind[chosen]
        narrow = kind != VOLUME
        grids = random_grids(self.config.patch, self.patches.hu.shape[-1], narrow, generators)[patch_of_plane]
        hu = apply_grids(torch.from_numpy(self.patches.hu[planes].astype(np.float32)), grids)
        hu = random_grey(hu, patch_of_plane, generators)
        outline = apply_grids(torch.from_numpy(self.patches.outline[planes].astype(np.float32) / 255), grids)
        weight = np.where(kind == BACKGROUND, 0.0, self.sample_weight[self.patches.nodule[chosen]])
        exists, (grey, inside) = stacked_planes(
            len(draws), patch_of_plane, slots, self.config.patch, (normalised(hu, self.config.patch), outline)
        )
        return Batch(grey, exists, targets_of(self.nodules, self.patches, chosen, weight, inside))

    def _draw(self, nodule: int, rng: np.random.Generator) -> tuple[int, np.ndarray, np.ndarray]:
        """A patch of the nodule (-1: of background), indices of prepared planes, and their slots in the patch."""
        if nodule < 0:
            patch = int(rng.choice(self.background_patches))
            return patch, *self._draw_planes(patch, rng)
        patches = self.patches_of_nodule[nodule]
        patch = int(rng.choice(patches, p=self._chances(self.patches.kind[patches])))
        planes, slots = self._draw_planes(patch, rng)
        empty_planes, empty_slots = self._draw_empty(patch, slots, rng)
        return patch, np.concatenate([planes, empty_planes]), np.concatenate([slots, empty_slots])

    def _chances(self, kinds: np.ndarray) -> np.ndarray:
        """Probability of drawing each patch of a nodule, by its kind."""
        is_inserted = kinds == INSERTED
        weights = np.array([KIND_WEIGHTS.get(PATCH_KINDS[kind], 0.0) for kind in kinds])
        chances: np.ndarray = weights / weights.sum()
        if is_inserted.any():
            chances = np.where(
                is_inserted, self.config.inserted_share / is_inserted.sum(), chances * (1 - self.config.inserted_share)
            )
        return chances

    def _draw_planes(self, patch: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Planes of a patch that show its nodule, always with the middle one, and their slots; of background, any planes."""
        planes = self._planes(patch)
        middle = planes[np.argmin(np.abs(self.patches.height_mm[planes]))]
        is_background = self.patches.kind[patch] == BACKGROUND
        others = planes[(planes != middle) & (is_background | self.shows_nodule[planes])]
        count = BACKGROUND_PLANES if is_background else self.config.largest_stack
        drawn = np.concatenate([[middle], rng.permutation(others)[: count - 1]])
        return drawn, self.patches.slots(drawn, self.config.patch)

    def _draw_empty(self, patch: int, taken: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Planes without the nodule and their slots: of the patch itself where the scan continues, otherwise of other scans."""
        wanted = int(rng.integers(self.config.empty_planes + 1))
        if self.patches.kind[patch] in WITH_SURROUNDINGS:
            planes = self._planes(patch)
            drawn = rng.permutation(planes[~self.shows_nodule[planes]])[:wanted]
            slots = self.patches.slots(drawn, self.config.patch)
            free = ~np.isin(slots, taken)
            return drawn[free], slots[free]
        free_slots = np.setdiff1d(np.arange(self.config.patch.shape[0]), taken)
        count = min(wanted, len(free_slots)) if len(self.empty_planes) else 0
        drawn = rng.choice(self.empty_planes, count) if count else np.array([], dtype=np.int64)
        return drawn, rng.choice(free_slots, count, replace=False)

    def _planes(self, patch: int) -> np.ndarray:
        planes = self.patches.planes(patch)
        return np.arange(planes.start, planes.stop)


def sample_weights(nodules: Sequence[Nodule], learned: Sequence[int]) -> np.ndarray:
    """(N,) weight of each nodule: square root of its number of readers, relative to the mean of the nodules trained on.

    Where the outcome is known instead, a nodule is one certain observation and weighs what they weigh on average.
    """
    trust = np.sqrt([nodule.n_readers for nodule in nodules])
    of_readers = trust[learned][trust[learned] > 0]
    mean = of_readers.mean() if len(of_readers) else 1.0
    weights: np.ndarray = np.where(trust > 0, trust / mean, 1.0)
    return weights


def shared_places(places: int, process: int, processes: int) -> np.ndarray:
    """The places of a batch that belong to one process: every n-th, the same number for each process."""
    turns = -(-places // processes)
    own: np.ndarray = (process + processes * np.arange(turns)) % places
    return own


def validation_patients(patients: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A random share of the patients, the same for the same seed."""
    return np.random.default_rng([seed, 1]).permutation(patients)[: round(share * len(patients))]


def _empty_planes(patches: TrainingPatches, chosen: np.ndarray) -> np.ndarray:
    """Planes of scans with true context that lie well beyond their nodule."""
    found = []
    for patch in chosen:
        if PATCH_KINDS[patches.kind[patch]] not in TRUE_CONTEXT:
            continue
        planes = np.arange(patches.planes(patch).start, patches.planes(patch).stop)
        height = patches.height_mm[planes]
        with_nodule = height[patches.outline[planes].max(axis=(1, 2)) > 0]
        if len(with_nodule):
            beyond = (height < with_nodule.min() - EMPTY_BEYOND_MM) | (height > with_nodule.max() + EMPTY_BEYOND_MM)
            found.append(planes[beyond])
    return np.concatenate(found) if found else np.array([], dtype=np.int64)
