"""A calibration brought up to date on local cases: ordinal logistic regression with the old calibration as its prior.

The old logit of every cut is stretched and shifted, and the distances between the cuts are stretched. How far is decided by
penalised likelihood: each change has a normal prior around "no change". A handful of cases moves the shift first, which is
easiest to learn; with many cases the prior no longer matters. No step and no test decides between a small and a full revision.
Sources: Steyerberg et al., Stat Med 23:2567-2586 (2004), on updating with shrinkage; Vergouwe et al., Stat Med 36:4529-4539
(2017), on the choice between revisions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.truth import OUTCOME

# Standard deviations of the priors: the shift in logits, the stretches as logarithms of factors.
PRIOR_SHIFT, PRIOR_STRETCH = 1.5, 0.5
# Cuts of a calibration on outcomes coincide; readers' cuts begin to part from here.
SMALLEST_GAP = 0.05
STEP = 1e-3


@dataclass(frozen=True)
class Update:
    """An updated calibration and what was done.

    Attributes:
        calibration: to use.
        slope_factor: by which the old logits were stretched.
        shift: in logits, of the event "mean rating > 3" or "malignant", at an old probability of 0.5.
        slope_weight, shift_weight: share (0..1) of the prior's variance that the local cases took away; 0 leaves the old calibration.
    """

    calibration: Calibration
    slope_factor: float
    shift: float
    slope_weight: float
    shift_weight: float


def update_calibration(old: Calibration, malignancy_score: np.ndarray, cuts_reached: np.ndarray, whose: str) -> Update:
    """The calibration of highest posterior density.

    Args:
        old: of the network.
        malignancy_score: (N,) of local cases.
        cuts_reached: (N,) how many cuts of `vocabulary.reached_cuts` each case's truth reaches; 0 or 3 for outcomes.
        whose: READERS or OUTCOME; all cuts of an outcome are one.
    """
    from scipy.optimize import minimize

    score, reached = np.asarray(malignancy_score, dtype=np.float64), np.asarray(cuts_reached)
    count = 2 if whose == OUTCOME else 4

    def negative_log_posterior(standard: np.ndarray) -> float:
        calibration = _changed(old, standard)
        likelihood = _case_probabilities(calibration, score, reached)
        return float(0.5 * standard @ standard - np.log(np.maximum(likelihood, 1e-12)).sum())

    found = minimize(negative_log_posterior, np.zeros(count), method="BFGS").x
    weight = 1 - np.diag(np.linalg.inv(_hessian(negative_log_posterior, found)))
    return Update(
        calibration=_changed(old, found),
        slope_factor=float(np.exp(PRIOR_STRETCH * found[0])),
        shift=float(PRIOR_SHIFT * found[1]),
        slope_weight=float(np.clip(weight[0], 0, 1)),
        shift_weight=float(np.clip(weight[1], 0, 1)),
    )


def unchanged(old: Calibration, whose: str) -> Calibration:
    """The old calibration for another truth: an outcome has one cut, that of the event."""
    event = old.offsets[1]
    return Calibration(old.slope, (event, event, event)) if whose == OUTCOME else old


def _changed(old: Calibration, standard: np.ndarray) -> Calibration:
    """Args: standard (2,) stretch and shift, or (4,) with the gaps below and above, in standard deviations of their priors."""
    factor = float(np.exp(PRIOR_STRETCH * standard[0]))
    event = factor * old.offsets[1] - PRIOR_SHIFT * float(standard[1])
    if len(standard) == 2:
        return Calibration(factor * old.slope, (event, event, event))
    below, above = factor * np.maximum(np.diff(old.offsets), SMALLEST_GAP) * np.exp(PRIOR_STRETCH * standard[2:])
    return Calibration(factor * old.slope, (event - float(below), event, event + float(above)))


def _case_probabilities(calibration: Calibration, score: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """(N,) probability of the cuts that each case did reach."""
    logits = calibration.slope * score[:, None] - np.array(calibration.offsets)
    ends = np.column_stack([np.ones(len(score)), expit(logits), np.zeros(len(score))])
    rows = np.arange(len(score))
    probability: np.ndarray = ends[rows, reached] - ends[rows, reached + 1]
    return probability


def _hessian(function: Callable[[np.ndarray], float], place: np.ndarray) -> np.ndarray:
    """Second derivatives (P, P) by central differences."""
    steps = STEP * np.eye(len(place))

    def second_derivative(row: np.ndarray, column: np.ndarray) -> float:
        same = function(place + row + column) + function(place - row - column)
        other = function(place + row - column) + function(place - row + column)
        return (same - other) / (4 * STEP**2)

    return np.array([[second_derivative(row, column) for column in steps] for row in steps])
