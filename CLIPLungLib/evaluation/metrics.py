"""Figures of merit with patient bootstrap intervals. Arrays in, numbers out; knows nothing of torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from CLIPLungLib.vocabulary import CLASSES

BOOTSTRAPS = 1000
INTERVAL = (2.5, 97.5)
BINS = 15
PERFECT_DRAWS = 200


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


def expected_calibration_error(positive: np.ndarray, probability: np.ndarray, bins: int = BINS) -> float:
    """ECE over bins of equal width: mean |frequency - probability|, weighted by the bins' counts."""
    index = np.clip((np.asarray(probability) * bins).astype(int), 0, bins - 1)
    gaps = np.bincount(index, weights=positive - np.asarray(probability), minlength=bins)
    return float(np.abs(gaps).sum() / len(probability))


def chance_calibration_error(probability: np.ndarray, seed: int = 0, bins: int = BINS) -> float:
    """The mean ECE of these probabilities if they were exactly right: what chance alone leaves with so few cases."""
    rng = np.random.default_rng(seed)
    drawn = (rng.random(len(probability)) < probability for _ in range(PERFECT_DRAWS))
    return float(np.mean([expected_calibration_error(positive, probability, bins) for positive in drawn]))


def class_figures(label: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Accuracy, macro-F1, quadratic kappa, and recall and F1 of each of CLASSES.

    Args:
        label, predicted: (N,) indices into CLASSES.

    Returns:
        Recall, F1 and macro-F1 are NaN where a class has no case.
    """
    size = len(CLASSES)
    counts = np.bincount(size * np.asarray(label) + predicted, minlength=size**2).reshape(size, size).astype(float)
    of_label, of_predicted, right = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()
    known = of_label > 0
    recall = np.divide(right, of_label, out=np.full(size, np.nan), where=known)
    f1 = np.divide(2 * right, of_label + of_predicted, out=np.full(size, np.nan), where=known)
    figures = {
        "accuracy, 3 classes": right.sum() / counts.sum(),
        "macro-F1": f1.mean(),
        "quadratic kappa": _quadratic_kappa(counts),
    }
    for index, name in enumerate(CLASSES):
        figures |= {f"recall, {name}": recall[index], f"F1, {name}": f1[index]}
    return {name: float(value) for name, value in figures.items()}


def _quadratic_kappa(counts: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights (Psychol Bull 1968); NaN when all is one class."""
    step = np.arange(len(counts))
    cost = (step[:, None] - step[None]) ** 2
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    expected = (cost * by_chance).sum()
    return float(1 - (cost * counts).sum() / expected) if expected > 0 else float("nan")


def patient_bootstrap(
    patients: np.ndarray,
    statistic: Callable[[np.ndarray], float | np.ndarray],
    seed: int = 0,
    repeats: int = BOOTSTRAPS,
) -> tuple[float, float] | np.ndarray:
    """95 % interval of a statistic when patients (with all their nodules) are drawn again.

    Args:
        patients: (N,) patient of each sample.
        statistic: of an array of sample indices; one number, or (S,) numbers that shall share the draws.
        seed: of the draws.
        repeats: number of draws; those where a number is NaN do not count for it.

    Returns:
        Low and high; or (2, S) for several numbers, NaN where all draws were.
    """
    names, own = np.unique(patients, return_inverse=True)
    members = [np.flatnonzero(own == index) for index in range(len(names))]
    rng = np.random.default_rng(seed)
    values = np.array(
        [
            statistic(np.concatenate([members[p] for p in rng.integers(len(names), size=len(names))]))
            for _ in range(repeats)
        ]
    )
    if values.ndim == 1:
        low, high = np.nanpercentile(values, INTERVAL)
        return float(low), float(high)
    defined = ~np.isnan(values).all(axis=0)
    intervals = np.full((2, values.shape[1]), np.nan)
    intervals[:, defined] = np.nanpercentile(values[:, defined], INTERVAL, axis=0)
    return intervals
