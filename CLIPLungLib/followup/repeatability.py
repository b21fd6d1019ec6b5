"""Repeatability of the volume of an unchanged nodule: the noise that growth has to exceed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CLIPLungLib.errors import InputError

NORMAL_95 = 1.959964


def log_sd_of_pairs(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square of log(second / first): the difference of two measurements of the same thing, including bias between them.

    Args:
        first, second: (N,) positive sizes of the same N things.

    Raises:
        InputError: fewer than two pairs, or sizes that are not positive numbers.
    """
    sizes = np.stack([np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)])
    # Written so that NaN fails it too.
    if sizes.shape[1] < 2 or not ((sizes > 0) & np.isfinite(sizes)).all():
        raise InputError(
            "Repeatability needs two or more pairs of positive sizes. Leave out what could not be measured."
        )
    return float(np.sqrt(np.mean(np.diff(np.log(sizes), axis=0) ** 2)))


@dataclass(frozen=True)
class Repeatability:
    """The noise of a change of volume.

    Attributes:
        log_sd: standard deviation of the difference of two logarithms of the volume, of a nodule that has not changed.
        source: where the number is from.
    """

    log_sd: float
    source: str

    def __post_init__(self) -> None:
        if not (np.isfinite(self.log_sd) and self.log_sd > 0):
            raise ValueError(f"log_sd must be positive, not {self.log_sd}")

    @property
    def limits_percent(self) -> tuple[float, float]:
        """Changes of the volume that 95 % of unchanged nodules stay between."""
        reach = NORMAL_95 * self.log_sd
        return 100 * float(np.expm1(-reach)), 100 * float(np.expm1(reach))


# What readers count as growth: +25 % (Callister 2015, BTS). Two scans of screened nodules that did not change differ by +-27 % in 95 %
# (Marchiano A, et al. Radiology 2009;251:919-925).
PUBLISHED = Repeatability(
    float(np.log(1.25) / NORMAL_95), "published volumetry: a change below 25 % is no growth (BTS 2015)"
)
# By Testing/measure_repeatability.py, out of fold: 125 nodules of LIDC-IDRI (9, 87 and 29 by size), each measured again as another scan
# would show it. All sizes together: 0.178. Up to which diameter in mm, and the SD.
OWN = "this program measured again on LIDC-IDRI"
MEASURED = (
    (6.0, Repeatability(0.205, f"{OWN}, below 6 mm")),
    (15.0, Repeatability(0.186, f"{OWN}, 6 to 15 mm")),
    (np.inf, Repeatability(0.141, f"{OWN}, 15 mm and more")),
)


def repeatability_at(diameter_mm: float) -> Repeatability:
    """The noise assumed for a nodule of this size: this program's own, or the published one where that is larger."""
    own = next(noise for below_mm, noise in MEASURED if diameter_mm < below_mm)
    return max(own, PUBLISHED, key=lambda one: one.log_sd)


def log_sd_of_interval(interval: tuple[float, float], coverage: float = 0.9) -> float:
    """SD of the logarithm of one size whose interval holds the readers' size in a share `coverage` of nodules.

    Args:
        interval: positive, rising, in any unit.
        coverage: of the interval.

    Raises:
        InputError: an interval that is none.
    """
    from scipy.special import ndtri

    low, high = interval
    # Written so that NaN fails it too.
    if not (0 < low <= high < np.inf):
        raise InputError(f"({low}, {high}) is no interval of a size. Measure the nodule again.")
    return float(np.log(high / low) / 2 / ndtri((1 + coverage) / 2))
