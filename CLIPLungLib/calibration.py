"""From the network's answers to what readers would say, fitted on patients the network had not seen.

Suspicion becomes probabilities by one ordinal logistic curve; measurements become the readers' by a power law with an error estimate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from CLIPLungLib.attributes import BENIGN_BELOW, MALIGNANT_ABOVE, SUSPICIOUS_ABOVE
from CLIPLungLib.conformal import conformal_quantile
from CLIPLungLib.errors import InputError

CUTS = (BENIGN_BELOW, SUSPICIOUS_ABOVE, MALIGNANT_ABOVE)
MEASUREMENT_COVERAGE = 0.9


@dataclass(frozen=True)
class Calibration:
    """P(mean rating > cut) = 1 / (1 + exp(offset - slope * suspicion)), one rising offset per cut.

    With one slope for all cuts the three answers can never contradict each other.

    Attributes:
        slope: positive.
        offsets: for the cuts 2.5, 3 and 3.5 of the mean malignancy rating.
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

    def exceeds(self, suspicion: np.ndarray) -> np.ndarray:
        """(N, 3) probability that the mean rating exceeds each of CUTS, for (N,) suspicions."""
        return expit(self.slope * np.asarray(suspicion, dtype=np.float64)[:, None] - np.array(self.offsets))

    def class_probabilities(self, suspicion: np.ndarray) -> np.ndarray:
        """(N, 3) probabilities of benign (<= 2.5), unsure, malignant (> 3.5), each row summing to 1."""
        above = self.exceeds(suspicion)
        return np.stack([1 - above[:, 0], above[:, 0] - above[:, 2], above[:, 2]], axis=1)

    def malignancy_probability(self, suspicion: np.ndarray) -> np.ndarray:
        """(N,) probability that the mean rating exceeds 3."""
        return self.exceeds(suspicion)[:, 1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def fit_calibration(suspicion: np.ndarray, mean_rating: np.ndarray) -> Calibration:
    """The calibration of highest likelihood.

    Args:
        suspicion: (N,) of nodules whose patients the network has not learned from.
        mean_rating: (N,) mean malignancy ratings of the same nodules.
    """
    from scipy.optimize import minimize

    above = np.asarray(mean_rating)[:, None] > np.array(CUTS)  # (N, 3)

    def offsets_of(parameters: np.ndarray) -> np.ndarray:
        return parameters[1] + np.array([0.0, *np.cumsum(np.exp(parameters[2:]))])

    def negative_log_likelihood(parameters: np.ndarray) -> float:
        logits = np.exp(parameters[0]) * suspicion[:, None] - offsets_of(parameters)
        return float(np.logaddexp(0.0, np.where(above, -logits, logits)).mean())

    found = minimize(negative_log_likelihood, np.zeros(4), method="BFGS").x
    return Calibration(float(np.exp(found[0])), tuple(float(value) for value in offsets_of(found)))


@dataclass(frozen=True)
class MeasurementCalibration:
    """Readers' value = scale * measured ** power; one each for diameter and volume.

    Attributes:
        scale, power: positive.
        log_half_width: |log(readers' value / calibrated value)| stays below this in 90 % of nodules of other patients.
    """

    scale: float
    power: float
    log_half_width: float

    def __post_init__(self) -> None:
        values = (self.scale, self.power, self.log_half_width)
        if not (np.isfinite(values).all() and self.scale > 0 and self.power > 0 and self.log_half_width >= 0):
            raise ValueError(
                f"measurement calibration needs a positive scale and power and a half-width >= 0, not {self}"
            )

    def value(self, measured: float) -> float:
        """What readers would measure, in the unit of `measured` (mm or mm3)."""
        return float(self.scale * measured**self.power)

    def interval(self, measured: float) -> tuple[float, float]:
        """What the readers' value lies between in 90 % of nodules of other patients."""
        value, factor = self.value(measured), float(np.exp(self.log_half_width))
        return value / factor, value * factor

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def fit_measurement_calibration(measured: np.ndarray, readers: np.ndarray) -> MeasurementCalibration:
    """Least squares between logarithms, and the conformal 90 % quantile of what remains.

    Args:
        measured: (N,) diameters in mm or volumes in mm3 of nodules whose patients the network has not learned from.
        readers: (N,) from the readers' outlines.

    Raises:
        InputError: fewer than 10 nodules, all of one size, sizes that are not positive, or measurements that do not rise with the readers'.
    """
    measured, readers = (np.asarray(values, dtype=np.float64) for values in (measured, readers))
    both = np.stack([measured, readers])
    # Written so that NaN fails it too.
    if not ((both > 0) & np.isfinite(both)).all():
        raise InputError("Sizes must be positive numbers. Leave out nodules that could not be measured, and fit again.")
    log_measured, log_readers = np.log(both)
    if len(measured) < 2 or np.ptp(log_measured) == 0:
        raise InputError(f"{len(measured)} nodules of one size cannot calibrate measurements. Fit on more nodules.")
    power, offset = np.polyfit(log_measured, log_readers, 1)
    if power <= 0:
        raise InputError(
            "The measurements do not rise with the readers'. Train the network for longer, then fit again."
        )
    error = np.abs(log_readers - offset - power * log_measured)
    return MeasurementCalibration(float(np.exp(offset)), float(power), conformal_quantile(error, MEASUREMENT_COVERAGE))
