"""Patient bootstrap: a figure with its 95 % interval; patients are resampled with all their samples.

A draw is a row of weights: how often each sample is in it. A figure of merit takes all rows at once.
Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), percentile intervals; whole patients are drawn
because the nodules of one patient are not independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

BOOTSTRAPS = 1000
INTERVAL_PERCENT = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A figure with its confidence interval.

    Attributes:
        value: of the samples as they are; None where the figure does not exist for them.
        interval: low and high end of the 95 % interval; None where the figure exists in no draw.
        n: number of samples.
    """

    value: float | None
    interval: tuple[float, float] | None
    n: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON: value, interval as [low, high] or None, n."""
        return {"value": self.value, "interval": None if self.interval is None else list(self.interval), "n": self.n}


def patient_weights(patients: np.ndarray, repeats: int = BOOTSTRAPS, seed: int = 0) -> np.ndarray:
    """How often each sample is in each bootstrap draw: as many patients as there are, drawn with replacement.

    Args:
        patients: (N,) patient of each sample.
        repeats: number of draws R.
        seed: of the draws; the same patients and seed give the same draws.

    Returns:
        (R, N) float64 counts; all samples of a patient have the same.
    """
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    if len(names) == 0:
        return np.zeros((repeats, 0))
    drawn = np.random.default_rng(seed).integers(len(names), size=(repeats, len(names)))
    cell = drawn + len(names) * np.arange(repeats)[:, None]
    counts = np.bincount(cell.ravel(), minlength=drawn.size).reshape(drawn.shape)
    weights: np.ndarray = counts.astype(np.float64)[:, patient]
    return weights


def estimate(figure: Callable[[np.ndarray], np.ndarray], weights: np.ndarray, n: int | None = None) -> Estimate:
    """A figure of the samples as they are, with the percentile interval of its draws.

    Args:
        figure: maps weights (R, N) to (R,) numbers, NaN where it does not exist.
        weights: (R, N) of `patient_weights`.
        n: number of samples to state; N unless given.

    Returns:
        No value and no interval where the figure is NaN for the samples as they are. Draws where it is NaN do not
        count for the interval.
    """
    samples = weights.shape[1]
    n = samples if n is None else n
    value = float(figure(np.ones((1, samples)))[0])
    if np.isnan(value):
        return Estimate(None, None, n)
    draws = figure(weights)
    draws = draws[~np.isnan(draws)]
    if len(draws) == 0:
        return Estimate(value, None, n)
    low, high = np.percentile(draws, INTERVAL_PERCENT)
    return Estimate(value, (float(low), float(high)), n)
