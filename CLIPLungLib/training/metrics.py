"""Figures of merit with patient bootstrap intervals. Arrays in, numbers out; knows nothing of torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

BOOTSTRAPS = 1000
INTERVAL = (2.5, 97.5)


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve; NaN when only one kind is there."""
    return float(roc_auc_score(positive, score)) if 0 < np.count_nonzero(positive) < len(positive) else float("nan")


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; NaN when one side is constant."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def brier(positive: np.ndarray, probability: np.ndarray) -> float:
    """Mean squared error of probabilities."""
    return float(np.mean((probability - positive) ** 2))


def expected_calibration_error(positive: np.ndarray, probability: np.ndarray, bins: int = 15) -> float:
    """ECE over bins of equal width: mean |frequency - probability|, weighted by the bins' counts."""
    index = np.clip((np.asarray(probability) * bins).astype(int), 0, bins - 1)
    gaps = [abs(np.sum(positive[index == b]) - np.sum(probability[index == b])) for b in np.unique(index)]
    return float(np.sum(gaps) / len(probability))


def patient_bootstrap(
    patients: np.ndarray, statistic: Callable[[np.ndarray], float], seed: int = 0, repeats: int = BOOTSTRAPS
) -> tuple[float, float]:
    """95 % interval of a statistic when patients (with all their nodules) are drawn again.

    Args:
        patients: (N,) patient of each sample.
        statistic: of an array of sample indices.
        seed: of the draws.
        repeats: number of draws; those where the statistic is NaN do not count.
    """
    names, own = np.unique(patients, return_inverse=True)
    members = [np.flatnonzero(own == index) for index in range(len(names))]
    rng = np.random.default_rng(seed)
    values = [
        statistic(np.concatenate([members[p] for p in rng.integers(len(names), size=len(names))]))
        for _ in range(repeats)
    ]
    low, high = np.nanpercentile(values, INTERVAL)
    return float(low), float(high)
