"""Batches of patches with the readers' opinion: augmented ones to learn from, plain ones to evaluate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from CLIPLungLib.attributes import ATTRIBUTES
from CLIPLungLib.lidc.prepare import EMPTY_BEYOND_MM, MARGIN_PIXELS, VIEW_KINDS, PreparedViews
from CLIPLungLib.lidc.table import LidcNodule
from CLIPLungLib.model.objective import Targets
from CLIPLungLib.patch import PatchSpec
from CLIPLungLib.training.augment import apply_grids, random_grey, random_grids
from CLIPLungLib.training.config import TrainConfig

# How often each kind of view is drawn when a nodule has several.
VIEW_WEIGHTS = {"volume": 0.5, "slice": 0.25, "cube": 0.25, "crop": 0.25}
GATE_CELL_PIXELS = 8


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches (B, Z, H, W) in 0..1, which planes exist (B, Z), and what the readers said."""

    planes: Tensor
    exists: Tensor
    targets: Targets


class TrainingSet:
    """Nodules of some patient folds; every epoch shows each nodule once, in one of its views, changed at random.

    The order and all changes follow from (seed, epoch) alone, so a resumed run sees what an uninterrupted one would have seen.
    """

    def __init__(self, views: PreparedViews, nodules: Sequence[LidcNodule], config: TrainConfig) -> None:
        self.views = views
        self.nodules = nodules
        self.config = config
        folds = np.array([nodule.fold for nodule in nodules])
        chosen = np.isin(folds[views.nodule], config.train_folds)
        self.views_of_nodule = {
            int(n): np.flatnonzero(chosen & (views.nodule == n)) for n in np.unique(views.nodule[chosen])
        }
        self.empty_planes = _empty_planes(views, np.flatnonzero(chosen))
        readers = np.array([nodule.n_readers for nodule in nodules], dtype=np.float64)
        self.sample_weight = np.sqrt(readers) / np.sqrt(readers[list(self.views_of_nodule)]).mean()

    def steps(self) -> int:
        """Batches per epoch."""
        return max(1, len(self.views_of_nodule) // self.config.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch."""
        rng = np.random.default_rng([self.config.seed, epoch])
        order = rng.permutation(list(self.views_of_nodule))
        for step in range(self.steps()):
            yield self._batch(order[step * self.config.batch_size : (step + 1) * self.config.batch_size], rng)

    def _batch(self, nodules: np.ndarray, rng: np.random.Generator) -> Batch:
        views = np.array([self._draw_view(int(nodule), rng) for nodule in nodules])
        stacks = [self._draw_planes(int(view), rng) for view in views]
        patch_of_plane = np.repeat(np.arange(len(stacks)), [len(rows) for rows, _ in stacks])
        rows, slots = (np.concatenate(parts) for parts in zip(*stacks, strict=True))
        narrow = self.views.kind[views] != VIEW_KINDS.index("volume")
        grids = random_grids(len(views), self.config.patch, self.views.hu.shape[-1], narrow, rng)[patch_of_plane]
        hu = apply_grids(torch.from_numpy(self.views.hu[rows].astype(np.float32)), grids)
        hu = random_grey(hu, patch_of_plane, rng)
        outline = torch.from_numpy(self.views.outline[rows].astype(np.float32) / 255)
        gate = functional.avg_pool2d(apply_grids(outline, grids), GATE_CELL_PIXELS)
        return _assemble(
            self.nodules, self.sample_weight, nodules, hu, gate, (patch_of_plane, slots), self.config.patch
        )

    def _draw_view(self, nodule: int, rng: np.random.Generator) -> int:
        views = self.views_of_nodule[nodule]
        weights = np.array([VIEW_WEIGHTS[VIEW_KINDS[kind]] for kind in self.views.kind[views]])
        return int(rng.choice(views, p=weights / weights.sum()))

    def _draw_planes(self, view: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Some planes of the view, the middle one among them, and some empty ones of other scans: their rows and their slots."""
        planes = np.arange(self.views.planes(view).start, self.views.planes(view).stop)
        middle = planes[np.argmin(np.abs(self.views.height_mm[planes]))]
        others = rng.permutation(planes[planes != middle])[: self.config.largest_stack - 1]
        rows = np.concatenate([[middle], others])
        slots = _slots(self.views, rows, self.config.patch)
        free = np.setdiff1d(np.arange(self.config.patch.shape[0]), slots)
        wanted = int(rng.integers(self.config.empty_planes + 1)) if len(self.empty_planes) else 0
        count = min(wanted, len(free))
        empty_rows = rng.choice(self.empty_planes, count)
        empty_slots = rng.choice(free, count, replace=False)
        return np.concatenate([rows, empty_rows]), np.concatenate([slots, empty_slots])


def evaluation_batches(
    views: PreparedViews, nodules: Sequence[LidcNodule], chosen: np.ndarray, patch: PatchSpec, batch_size: int = 16
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Unchanged patches of the views `chosen`, with their indices; every plane that exists is there."""
    inner = slice(MARGIN_PIXELS, -MARGIN_PIXELS)
    ordered = chosen[np.argsort(views.plane_count[chosen], kind="stable")]
    for start in range(0, len(ordered), batch_size):
        part = ordered[start : start + batch_size]
        rows = np.concatenate([np.arange(s.start, s.stop) for s in map(views.planes, part)])
        patch_of_plane = np.repeat(np.arange(len(part)), views.plane_count[part])
        hu = torch.from_numpy(views.hu[rows][:, inner, inner].astype(np.float32))
        gate = functional.avg_pool2d(
            torch.from_numpy(views.outline[rows][:, inner, inner] / np.float32(255)), GATE_CELL_PIXELS
        )
        weight = np.ones(len(nodules))
        places = (patch_of_plane, _slots(views, rows, patch))
        yield part, _assemble(nodules, weight, views.nodule[part], hu, gate, places, patch)


def _slots(views: PreparedViews, rows: np.ndarray, patch: PatchSpec) -> np.ndarray:
    """Which plane of the patch each prepared plane is."""
    step_mm, middle = patch.spacing_mm[0], (patch.shape[0] - 1) / 2
    return np.rint(views.height_mm[rows] / step_mm + middle).astype(np.int64)


def _assemble(
    nodules: Sequence[LidcNodule],
    weight: np.ndarray,
    chosen: np.ndarray,
    hu: Tensor,
    gate: Tensor,
    places: tuple[np.ndarray, np.ndarray],
    patch: PatchSpec,
) -> Batch:
    patch_of_plane, slot = (torch.from_numpy(index) for index in places)
    exists = torch.zeros(len(chosen), patch.shape[0], dtype=torch.bool)  # (B, Z)
    exists[patch_of_plane, slot] = True
    low, high = patch.window_hu
    planes = hu.new_zeros(*exists.shape, *hu.shape[1:])
    planes[patch_of_plane, slot] = ((hu - low) / (high - low)).clamp(0, 1)
    gates = gate.new_zeros(*exists.shape, *gate.shape[1:])
    gates[patch_of_plane, slot] = gate
    rows = [nodules[int(index)] for index in chosen]
    targets = Targets(
        label=torch.tensor([row.label for row in rows]),
        rating=torch.tensor([row.malignancy for row in rows]),
        level_weight=torch.from_numpy(np.stack([row.level_shares() for row in rows]) / len(ATTRIBUTES)),
        log_diameter=torch.tensor([row.diameter_mm for row in rows]).log(),
        sample_weight=torch.from_numpy(weight[chosen].astype(np.float32)),
        gate=gates,
    )
    return Batch(planes, exists, targets)


def _empty_planes(views: PreparedViews, chosen: np.ndarray) -> np.ndarray:
    """Planes of scans with true context that lie well beyond their nodule."""
    found = []
    for view in chosen:
        if VIEW_KINDS[views.kind[view]] not in ("cube", "crop"):
            continue
        planes = np.arange(views.planes(view).start, views.planes(view).stop)
        height = views.height_mm[planes]
        with_nodule = height[views.outline[planes].max(axis=(1, 2)) > 0]
        if len(with_nodule):
            beyond = (height < with_nodule.min() - EMPTY_BEYOND_MM) | (height > with_nodule.max() + EMPTY_BEYOND_MM)
            found.append(planes[beyond])
    return np.concatenate(found) if found else np.array([], dtype=np.int64)
