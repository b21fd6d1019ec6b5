"""From sizes measured in the outline to the readers' sizes: a power law with an interval, fitted on patients the network had not seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from CLIPLungLib.calibration.conformal import conformal_quantile
from CLIPLungLib.errors import InputError

MEASUREMENT_COVERAGE = 0.9


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
