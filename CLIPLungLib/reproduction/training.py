"""One training: SGD with momentum, a cosine over the epochs, averaged weights of the last epoch. No epoch is chosen on test data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from CLIPLungLib.device import autocast
from CLIPLungLib.model.text_encoder import TextEncoder
from CLIPLungLib.reproduction.network import PublishedNetwork
from CLIPLungLib.reproduction.nodule_set import NoduleSet
from CLIPLungLib.reproduction.objective import TextTerms, loss_terms
from CLIPLungLib.reproduction.protocol import Row, Task
from CLIPLungLib.reproduction.settings import PublishedSettings

TESTED_AT_ONCE = 128
# oneDNN computes in blocks of channels, 16 with AVX-512. With fewer, in channels-last order, the weights' gradient of a strided 1x1
# convolution overwrites foreign memory, and the process ends now or later.
NARROWEST_CHANNELS_LAST = 16
# (epochs done, means of the epoch)
AfterEpoch = Callable[[int, dict[str, float]], None]


def train_network(
    settings: PublishedSettings,
    nodules: NoduleSet,
    learned: np.ndarray,
    task: Task,
    row: Row,
    encoder: TextEncoder | None,
    device: torch.device,
    after_epoch: AfterEpoch | None = None,
) -> PublishedNetwork:
    """Train on some nodules from random weights; the same on the same machine each time.

    Args:
        learned: indices of nodules whose labels belong to the task.
        encoder: needed when the row has texts.
        after_epoch: called after every epoch.

    Returns:
        The averaged weights after the last epoch, in evaluation mode.
    """
    torch.manual_seed(settings.seed)
    voxels, groups = settings.crop_voxels, settings.context_tokens
    own_encoder = encoder if row.has_texts else None
    network = PublishedNetwork(
        voxels, settings.width, len(task.classes), groups, own_encoder.dim if own_encoder is not None else None
    )
    order = torch.channels_last if settings.width >= NARROWEST_CHANNELS_LAST else torch.contiguous_format
    network.to(device, memory_format=order)  # type: ignore[call-overload] # torch lacks this one
    text_terms = None
    if own_encoder is not None:
        text_terms = TextTerms(own_encoder.to(device), task, row, settings).to(device)
    modules: list[nn.Module] = [network, *([text_terms] if text_terms is not None else [])]
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(
        parameters, lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    average = AveragedModel(network, avg_fn=_moving_average(settings.ema_decay), use_buffers=True)
    for epoch in range(settings.epochs):
        started = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
        sums: dict[str, float] = {}
        network.train()
        for share, batch in _batches(settings, nodules, learned, task, epoch):
            with autocast(device):
                terms = loss_terms(network, text_terms, *(values.to(device) for values in batch))
            optimizer.zero_grad(set_to_none=True)
            loss: Tensor = torch.stack(list(terms.values())).sum()
            loss.backward()  # type: ignore[no-untyped-call] # torch's own
            optimizer.step()
            average.update_parameters(network)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + share * value.item()
        if after_epoch is not None:
            after_epoch(epoch + 1, {"seconds": time.monotonic() - started} | sums)
    return cast(PublishedNetwork, average.module.eval())


@torch.no_grad()
def class_logits(
    network: PublishedNetwork, settings: PublishedSettings, nodules: NoduleSet, tested: np.ndarray
) -> np.ndarray:
    """(len(tested), K) float32 logits of nodules without augmentation."""
    device = next(network.parameters()).device
    found = []
    for start in range(0, len(tested), TESTED_AT_ONCE):
        crops = grey_values(nodules.crops.hu[tested[start : start + TESTED_AT_ONCE]], settings)
        with autocast(device):
            found.append(network(torch.from_numpy(crops).to(device)).float().cpu().numpy())
    answers = network.head.out_features
    return np.concatenate(found) if found else np.zeros((0, answers), np.float32)


def grey_values(hu: np.ndarray, settings: PublishedSettings) -> np.ndarray:
    """HU -> float32 0..1 over the window."""
    low, high = settings.window_hu
    return np.asarray(np.clip((hu - np.float32(low)) / np.float32(high - low), 0, 1), np.float32)


def turned(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A crop (Z, Y, X) mirrored along each axis or not, and turned by a multiple of 90 degrees in its planes."""
    mirrored = crop[tuple(slice(None, None, int(step)) for step in rng.choice((-1, 1), 3))]
    return np.rot90(mirrored, int(rng.integers(4)), axes=(1, 2))


def _batches(
    settings: PublishedSettings, nodules: NoduleSet, learned: np.ndarray, task: Task, epoch: int
) -> Iterator[tuple[float, tuple[Tensor, Tensor, Tensor]]]:
    """Share of the epoch, and crops, answers and attribute weights; every nodule once, in an order of the epoch's own."""
    rng = np.random.default_rng([settings.seed, epoch])
    order = rng.permutation(learned)
    for start in range(0, len(order), settings.batch_size):
        chosen = order[start : start + settings.batch_size]
        hu = np.stack([turned(crop, rng) for crop in nodules.crops.hu[chosen]])
        answer = torch.from_numpy(task.answer_of(nodules.label[chosen]).astype(np.int64))
        weight = torch.from_numpy(nodules.attribute_weight[chosen])
        yield len(chosen) / len(order), (torch.from_numpy(grey_values(hu, settings)), answer, weight)


def _moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential, but never over more steps than a tenth of those taken: a short run would else keep its random weights."""

    def average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        taken = float(steps)
        return averaged + (1 - min(decay, (1 + taken) / (10 + taken))) * (current - averaged)

    return average
