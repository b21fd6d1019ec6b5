"""From the network's malignancy score to probabilities: one ordinal logistic curve, fitted on patients the network had not seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from CLIPLungLib.vocabulary import reached_cuts

LARGEST_LOGARITHM = 30.0


@dataclass(frozen=True)
class Calibration:
    """P(cut reached) = 1 / (1 + exp(offset - slope * malignancy_score)), one rising offset per cut of `vocabulary.reached_cuts`.

    With one slope for all cuts the three answers can never contradict each other.

    Attributes:
        slope: positive.
        offsets: for a mean rating >= 2.5, > 3, > 3.5.
    """

    slope: float
    offsets: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not (
            np.isfinite([self.slope, *self.offsets]).all()
            and self.slope > 0
            and list(self.offsets) == sorted(self.offsets)
        ):
            raise ValueError(f"calibration needs a positive slope and rising offsets, not {self}")

    def exceeds(self, malignancy_score: np.ndarray) -> np.ndarray:
        """(N, 3) probability that the mean rating reaches each cut, for (N,) malignancy scores."""
        logits = self.slope * np.asarray(malignancy_score, dtype=np.float64)[:, None] - np.array(self.offsets)
        # The logistic function, in the form that cannot overflow.
        probability: np.ndarray = (1 + np.tanh(logits / 2)) / 2
        return probability

    def class_probabilities(self, malignancy_score: np.ndarray) -> np.ndarray:
        """(N, 3) probabilities of benign (< 2.5), unsure, malignant (> 3.5), each row summing to 1."""
        above = self.exceeds(malignancy_score)
        return np.stack([1 - above[:, 0], above[:, 0] - above[:, 2], above[:, 2]], axis=1)

    def malignancy_probability(self, malignancy_score: np.ndarray) -> np.ndarray:
        """(N,) probability that the mean rating exceeds 3."""
        return self.exceeds(malignancy_score)[:, 1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def _positive(logarithm: np.ndarray) -> np.ndarray:
    # Where the score tells the classes apart without an error, the likeliest slope would be infinite.
    return np.asarray(np.exp(np.clip(logarithm, -LARGEST_LOGARITHM, LARGEST_LOGARITHM)))


def fit_calibration(malignancy_score: np.ndarray, mean_rating: np.ndarray) -> Calibration:
    """The calibration of highest likelihood.

    Args:
        malignancy_score: (N,) of nodules whose patients the network has not learned from.
        mean_rating: (N,) mean malignancy ratings of the same nodules.
    """
    from scipy.optimize import minimize

    above = np.array([reached_cuts(rating) for rating in np.asarray(mean_rating).tolist()])  # (N, 3)

    def offsets_of(parameters: np.ndarray) -> np.ndarray:
        offsets: np.ndarray = parameters[1] + np.array([0.0, *np.cumsum(_positive(parameters[2:]))])
        return offsets

    def negative_log_likelihood(parameters: np.ndarray) -> float:
        logits = _positive(parameters[0]) * malignancy_score[:, None] - offsets_of(parameters)
        return float(np.logaddexp(0.0, np.where(above, -logits, logits)).mean())

    found = minimize(negative_log_likelihood, np.zeros(4), method="BFGS").x
    not_benign, exceeds_3, malignant = (float(value) for value in offsets_of(found))
    return Calibration(float(_positive(found[0])), (not_benign, exceeds_3, malignant))
