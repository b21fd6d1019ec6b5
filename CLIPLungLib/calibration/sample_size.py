"""How many local cases a calibration needs: a statement of precision from the cases at hand, not a rule of thumb.

The width of a calibrated probability follows from a logistic regression of the events on the old logit (delta method on the
scale of logits); patients with several cases count as groups. The number of cases for calibration-in-the-large follows Riley et
al., Minimum sample size for external validation of a clinical prediction model with a binary outcome, Stat Med 40:4230-4251
(2021): SE(ln(O/E)) = sqrt((1 - event rate) / (n * event rate)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

from CLIPLungLib.errors import InputError

PROBABILITIES = (0.1, 0.5, 0.9)
TARGET_HALF_WIDTH = 0.05
# Of the 95 % interval.
Z = 1.959964
MOST_STEPS, SMALLEST_STEP, RIDGE = 100, 1e-9, 1e-9


@dataclass(frozen=True, eq=False)
class LogisticFit:
    """P(event) = 1 / (1 + exp(-(intercept + slope * x))), as fitted on n cases.

    Attributes:
        intercept, slope: of highest likelihood.
        covariance: (2, 2) of intercept and slope.
        n: cases.
    """

    intercept: float
    slope: float
    covariance: np.ndarray
    n: int

    def logit_error(self, probability: float) -> float:
        """Standard error of the logit where the fit gives this probability."""
        place = np.array([1.0, (logit(probability) - self.intercept) / self.slope])
        return float(np.sqrt(place @ self.covariance @ place))


@dataclass(frozen=True)
class PowerStatement:
    """What so many cases can tell, and how many more would tell enough.

    Attributes:
        cases, patients: at hand.
        event_rate: of the cases.
        half_widths: of the 95 % interval of a calibrated probability, at each of PROBABILITIES.
        cases_needed: of the same mix, for TARGET_HALF_WIDTH at each of PROBABILITIES.
        half_width_in_the_large: of the mean probability against the rate of events, with the cases at hand.
        cases_in_the_large: for TARGET_HALF_WIDTH of that.
    """

    cases: int
    patients: int
    event_rate: float
    half_widths: tuple[float, ...]
    cases_needed: tuple[int, ...]
    half_width_in_the_large: float
    cases_in_the_large: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def power_statement(old_logit: np.ndarray, event: np.ndarray, patient: np.ndarray) -> PowerStatement:
    """What these cases can tell.

    Args:
        old_logit: (N,) logit of the event's probability before calibration on these cases.
        event: (N,) bool.
        patient: (N,) whose case it is.

    Raises:
        InputError: as `fit_logistic`.
    """
    fit = fit_logistic(old_logit, event, patient)
    rate = float(np.mean(event))
    effect = design_effect(np.asarray(event) - expit(fit.intercept + fit.slope * np.asarray(old_logit)), patient)
    return PowerStatement(
        cases=fit.n,
        patients=len(np.unique(patient)),
        event_rate=rate,
        half_widths=tuple(half_width(p, fit.logit_error(p)) for p in PROBABILITIES),
        cases_needed=tuple(cases_for_half_width(fit, p, TARGET_HALF_WIDTH) for p in PROBABILITIES),
        half_width_in_the_large=Z * float(np.sqrt(effect * rate * (1 - rate) / fit.n)),
        cases_in_the_large=cases_in_the_large(rate, TARGET_HALF_WIDTH, effect),
    )


def fit_logistic(x: np.ndarray, event: np.ndarray, patient: np.ndarray) -> LogisticFit:
    """Logistic regression of highest likelihood, with the larger of two covariances: the model's and that of whole patients.

    Args:
        x: (N,) one number per case.
        event: (N,) bool.
        patient: (N,) whose case it is.

    Raises:
        InputError: x parts the events from the others without overlap, or does not rise with them.
    """
    x, event = np.asarray(x, dtype=np.float64), np.asarray(event, dtype=bool)
    _require_overlap(x, event)
    rows = np.column_stack([np.ones(len(x)), (x - x.mean()) / x.std()])
    coefficients = _most_likely(rows, event)
    if coefficients[1] <= 0:
        raise InputError(
            "The network's score does not rise with the truth of these cases, which no calibration can mend. "
            "Check the labels (1 is malignant) and the points."
        )
    probability = expit(rows @ coefficients)
    information = rows.T @ (rows * (probability * (1 - probability))[:, None])
    model = np.linalg.inv(information)
    grouped = _grouped_covariance(rows * (event - probability)[:, None], model, patient)
    larger = grouped if np.trace(grouped @ information) > np.trace(model @ information) else model
    # Back from x in standard deviations to x as it is.
    back = np.array([[1.0, -x.mean() / x.std()], [0.0, 1 / x.std()]])
    intercept, slope = (float(value) for value in back @ coefficients)
    return LogisticFit(intercept, slope, back @ larger @ back.T, len(x))


def _most_likely(rows: np.ndarray, event: np.ndarray) -> np.ndarray:
    """(2,) coefficients by Newton's method; a step that runs too far is halved."""

    def loss(coefficients: np.ndarray) -> float:
        logits = rows @ coefficients
        return float(np.logaddexp(0.0, np.where(event, -logits, logits)).sum())

    coefficients = np.zeros(2)
    for _ in range(MOST_STEPS):
        probability = expit(rows @ coefficients)
        information = rows.T @ (rows * (probability * (1 - probability))[:, None])
        step = np.linalg.solve(information + RIDGE * np.eye(2), rows.T @ (event - probability))
        while loss(coefficients + step) > loss(coefficients) and np.abs(step).max() > SMALLEST_STEP:
            step = step / 2
        coefficients = coefficients + step
        if np.abs(step).max() <= SMALLEST_STEP:
            break
    return coefficients


def _require_overlap(x: np.ndarray, event: np.ndarray) -> None:
    if event.all() or not event.any():
        raise InputError("All cases are of one kind. Calibration needs events and cases without: add the other kind.")
    yes, no = x[event], x[~event]
    if yes.min() >= no.max() or no.min() >= yes.max():
        raise InputError(
            "The network's score parts these cases without any overlap, so the slope of a calibration has no limit. "
            "Add cases, above all doubtful ones."
        )


def _grouped_covariance(scores: np.ndarray, model: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """The sandwich of Liang and Zeger (1986), for cases of one patient that are alike.

    Args:
        scores: (N, 2) of the likelihood.
        model: (2, 2) the model's own covariance.
    """
    names, group = np.unique(patient, return_inverse=True)
    sums = np.zeros((len(names), 2))
    np.add.at(sums, group, scores)
    covariance: np.ndarray = model @ (sums.T @ sums) @ model * len(names) / max(len(names) - 1, 1)
    return covariance


def half_width(probability: float, logit_error: float) -> float:
    """Half the length of the 95 % interval around a probability, for a standard error of its logit."""
    low, high = expit(logit(probability) + np.array([-Z, Z]) * logit_error)
    return float(high - low) / 2


def cases_for_half_width(fit: LogisticFit, probability: float, target: float) -> int:
    """How many cases of the same mix give this half-width at this probability; errors shrink with the root of their number."""
    from scipy.optimize import brentq

    allowed = brentq(lambda error: half_width(probability, error) - target, 1e-9, 1e3)
    return int(np.ceil(fit.n * (fit.logit_error(probability) / allowed) ** 2))


def cases_for_observed_expected(event_rate: float, standard_error: float) -> float:
    """Riley's n for a standard error of ln(observed / expected events)."""
    return (1 - event_rate) / (event_rate * standard_error**2)


def cases_in_the_large(event_rate: float, target: float, effect: float = 1.0) -> int:
    """How many cases show that mean probability and rate of events agree within +-target, 95 %.

    Args:
        event_rate: expected.
        target: difference of the two, 0..1.
        effect: of `design_effect`.
    """
    # A difference of the rates, seen as a share of the events.
    standard_error = target / event_rate / Z
    return int(np.ceil(effect * cases_for_observed_expected(event_rate, standard_error)))


def design_effect(residual: np.ndarray, patient: np.ndarray) -> float:
    """How many cases that share patients count as one of its own, 1 at least.

    Args:
        residual: (N,) event less probability.
        patient: (N,) whose case it is.
    """
    group = np.unique(patient, return_inverse=True)[1]
    sums = np.bincount(group, weights=residual)
    return max(1.0, float((sums**2).sum() / max((residual**2).sum(), 1e-12)))
