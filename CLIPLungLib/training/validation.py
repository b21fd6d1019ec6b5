"""The metric that chooses the epoch, on held-out training patients."""

from __future__ import annotations

import math

import torch
from scipy.stats import spearmanr
from torch import nn

from CLIPLungLib.dataset.nodule_table import fewest_readers
from CLIPLungLib.dataset.training_patches import one_patch_per_nodule
from CLIPLungLib.training.batches import evaluation_batches
from CLIPLungLib.training.training_set import TrainingSet

# The mean of one reader's opinion is that opinion; it counts only where a table has hardly any other.
FEWEST_READERS = 2


def validation_score(network: nn.Module, data: TrainingSet, device: torch.device) -> float:
    """Spearman of the malignancy score with mean rating or outcome over the validation patients, one patch per nodule.

    NaN with fewer than three nodules, or when scores or ratings are all the same. Leaves the network in evaluation mode.
    """
    readers = min(FEWEST_READERS, fewest_readers(data.nodules))
    chosen = one_patch_per_nodule(data.patches, data.nodules, data.validation_nodules, readers)
    network.eval()
    scores: list[float] = []
    ratings: list[float] = []
    with torch.inference_mode():
        for patches, batch in evaluation_batches(data.patches, data.nodules, chosen, data.config.patch):
            output = network(batch.planes.to(device), batch.exists.to(device))
            scores += output.malignancy_score.tolist()
            ratings += [data.nodules[index].malignancy for index in data.patches.nodule[patches]]
    if len(scores) < 3 or len(set(scores)) == 1 or len(set(ratings)) == 1:
        return math.nan
    return float(spearmanr(scores, ratings).statistic)
