"""The old calibration against the local recalibration: figures with patient-bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.bootstrap import BOOTSTRAPS, Estimate, estimate, patient_weights
from CLIPLungLib.recalibration.fit import LocalCalibration, log_losses

LOG_LOSS, BRIER, ECE, EXCESS = "log_loss", "brier", "ece", "mean_probability_minus_rate"
LABELS = {LOG_LOSS: "log loss", BRIER: "Brier score", ECE: "ECE, 15 bins", EXCESS: "mean probability - event rate"}
Figure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Of a probability (N,) and weights (R, N): (R,)."""


@dataclass(frozen=True)
class Comparison:
    """One figure of merit: with the old calibration, with the recalibration on held-out patients, and the difference."""

    before: Estimate
    after: Estimate
    change: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: value.to_dict() for name, value in vars(self).items()}


def compare_calibrations(found: LocalCalibration, repeats: int = BOOTSTRAPS) -> dict[str, Comparison]:
    """Key of LABELS -> comparison."""
    weights = patient_weights(found.patient, repeats)

    def compared(figure: Figure) -> Comparison:
        return Comparison(
            before=estimate(lambda drawn: figure(found.before, drawn), weights),
            after=estimate(lambda drawn: figure(found.after, drawn), weights),
            change=estimate(lambda drawn: figure(found.after, drawn) - figure(found.before, drawn), weights),
        )

    return {name: compared(figure) for name, figure in _figures(found.event).items()}


def _figures(event: np.ndarray) -> dict[str, Figure]:
    return {
        LOG_LOSS: lambda probability, drawn: metrics.mean(log_losses(event, probability), drawn),
        BRIER: lambda probability, drawn: metrics.brier(event, probability, drawn),
        ECE: lambda probability, drawn: metrics.expected_calibration_error(event, probability, drawn),
        EXCESS: lambda probability, drawn: metrics.mean(probability - event, drawn),
    }


def verdict(compared: dict[str, Comparison]) -> str:
    """In words, whether the recalibration is better, by its log loss."""
    change = compared[LOG_LOSS].change
    if change.value is None or change.value >= 0:
        return "After is NOT better than before on patients it was not fitted on."
    if change.interval is None or change.interval[1] >= 0:
        return "After is better, but by no more than chance may bring with so few patients."
    return "After is better than before, beyond what chance brings."
