"""Batches of patches with their labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.dataset.training_patches import MARGIN_PIXELS, TrainingPatches
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.training.objective import Targets
from CLIPLungLib.vocabulary import ATTRIBUTES


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches (B, Z, H, W) in 0..1, which planes exist (B, Z), and the labels."""

    planes: Tensor
    exists: Tensor
    targets: Targets


def evaluation_batches(
    patches: TrainingPatches,
    nodules: Sequence[Nodule],
    chosen: np.ndarray,
    spec: PatchSpec,
    batch_size: int = 16,
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Training patches without augmentation, with every plane that exists.

    Args:
        patches: the prepared data.
        nodules: all rows of the table.
        chosen: indices of the wanted patches.
        spec: what the network sees.
        batch_size: patches at a time.

    Yields:
        The indices of the patches of a batch, and the batch; short stacks first.
    """
    inner = slice(MARGIN_PIXELS, -MARGIN_PIXELS)
    ordered = chosen[np.argsort(patches.plane_count[chosen], kind="stable")]
    for start in range(0, len(ordered), batch_size):
        part = ordered[start : start + batch_size]
        planes = np.concatenate([np.arange(own.start, own.stop) for own in map(patches.planes, part)])
        patch_of_plane = np.repeat(np.arange(len(part)), patches.plane_count[part])
        hu = torch.from_numpy(patches.hu[planes][:, inner, inner].astype(np.float32))
        outline = torch.from_numpy(patches.outline[planes][:, inner, inner] / np.float32(255))
        exists, (grey, inside) = stacked_planes(
            len(part), patch_of_plane, patches.slots(planes, spec), spec, (normalised(hu, spec), outline)
        )
        yield part, Batch(grey, exists, targets_of(nodules, patches, part, np.ones(len(part)), inside))


def normalised(hu: Tensor, spec: PatchSpec) -> Tensor:
    """HU to grey values 0..1 over the window of the patch."""
    return torch.from_numpy(spec.normalise(hu.numpy()))


def stacked_planes(
    count: int, patch_of_plane: np.ndarray, slots: np.ndarray, spec: PatchSpec, planes: tuple[Tensor, Tensor]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Which planes of the patches exist (B, Z), and two kinds of planes (P, H, W) at their slots of patches (B, Z, H, W), 0 elsewhere."""
    places = torch.from_numpy(patch_of_plane), torch.from_numpy(slots)
    exists = torch.zeros(count, spec.shape[0], dtype=torch.bool)
    exists[places] = True
    first, second = (values.new_zeros(*exists.shape, *values.shape[1:]) for values in planes)
    first[places], second[places] = planes
    return exists, (first, second)


def targets_of(
    nodules: Sequence[Nodule], patches: TrainingPatches, chosen: np.ndarray, weight: np.ndarray, outline: Tensor
) -> Targets:
    """The labels of the chosen patches (B,), with their weights (B,) and outlines (B, Z, H, W)."""
    rows = [nodules[index] for index in patches.nodule[chosen]]
    malignancy, diameter_mm = (
        np.array(values) for values in ([r.malignancy for r in rows], [r.diameter_mm for r in rows])
    )
    is_rated, is_sized, is_outlined = np.isfinite(malignancy), np.isfinite(diameter_mm), patches.is_outlined[chosen]
    return Targets(
        label=torch.tensor([row.label if row.has_malignancy else 0 for row in rows]),
        rating=_single(np.where(is_rated, malignancy, 0.0)),
        vote_shares=_single(np.nan_to_num(np.stack([row.vote_shares() for row in rows]))),
        has_malignancy=_single(is_rated),
        level_weight=torch.from_numpy(np.stack([row.level_shares() for row in rows]) / len(ATTRIBUTES)),
        log_diameter=_single(np.where(is_sized, diameter_mm, 1.0)).log(),
        has_diameter=_single(is_sized),
        sample_weight=_single(weight),
        outline=outline,
        is_outlined=_single(is_outlined),
        is_placed=_single(is_outlined | is_sized),
    )


def _single(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
