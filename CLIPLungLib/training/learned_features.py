"""Features of the training nodules, the reference of out-of-distribution detection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from CLIPLungLib.training.batches import evaluation_batches

if TYPE_CHECKING:
    from CLIPLungLib.training.trainer import Trainer


# A sample is enough for the few directions that are kept.
PATCHES_AT_MOST = 1200


def learned_features(trainer: Trainer) -> np.ndarray:
    """(N, 2 C) pooled features of training patches without augmentation; of many, a random sample."""
    network = trainer.best_network.to(trainer.device)
    learned, parts = trainer.learned_patches(), []
    chosen = np.sort(np.random.default_rng(trainer.config.seed).permutation(learned)[:PATCHES_AT_MOST])
    with torch.inference_mode():
        for _, batch in evaluation_batches(
            trainer.training_patches, trainer.data.nodules, chosen, trainer.config.patch
        ):
            output = network(batch.planes.to(trainer.device), batch.exists.to(trainer.device))
            parts.append(output.pooled.float().cpu().numpy())
    return np.concatenate(parts)
