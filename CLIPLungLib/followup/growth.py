"""Growth of a nodule between two scans: change with interval, doubling time. Numbers only."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from CLIPLungLib.errors import InputError
from CLIPLungLib.followup.repeatability import NORMAL_95, Repeatability, log_sd_of_interval, repeatability_at
from CLIPLungLib.guidelines.bts import BTS, FAST_DAYS, GROWTH_PERCENT, SLOW_DAYS
from CLIPLungLib.inference.result import NoduleMeasurement

BY_DENSITY, BY_OUTLINE = "density within the outline", "outline"


@dataclass(frozen=True)
class Growth:
    """The change from the prior scan to the current one. Says nothing about malignancy.

    Attributes:
        prior_diameter_mm, diameter_mm: longest diameter.
        prior_volume_mm3, volume_mm3: by BY_DENSITY or BY_OUTLINE, in both scans alike.
        volume_change_percent: of the prior volume.
        volume_change_interval_percent: 95 %, by the repeatability.
        is_beyond_repeatability: whether the interval leaves out no change.
        repeatability: the measurement noise that was assumed.
        outline_log_sd: the noise if both outlines had the errors of outlines of different nodules; an upper bound.
        days: between the scans; None where a date is missing.
        doubling_days: in which the volume doubles; None without dates, and where it has not grown.
        doubling_interval_days: 95 %; its end is None where the nodule may not grow at all.
        bts: the BTS term for such a change; None without dates or within the repeatability.
        volume_by: how both volumes were measured.
    """

    prior_diameter_mm: float
    diameter_mm: float
    prior_volume_mm3: float
    volume_mm3: float
    volume_change_percent: float
    volume_change_interval_percent: tuple[float, float]
    is_beyond_repeatability: bool
    repeatability: Repeatability
    outline_log_sd: float
    days: int | None
    doubling_days: float | None
    doubling_interval_days: tuple[float, float | None] | None
    bts: str | None
    volume_by: str = BY_OUTLINE

    @property
    def diameter_change_mm(self) -> float:
        """Of the longest diameter."""
        return self.diameter_mm - self.prior_diameter_mm

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self)
        plain["diameter_change_mm"] = self.diameter_change_mm
        plain["repeatability"]["limits_percent"] = list(self.repeatability.limits_percent)
        plain["bts_source"] = BTS.source if self.bts else None
        return plain


def growth(
    prior: NoduleMeasurement,
    current: NoduleMeasurement,
    days: int | None,
    repeatability: Repeatability | None = None,
    densities_mm3: tuple[float, float] | None = None,
) -> Growth:
    """The change between two measurements of one nodule.

    Args:
        prior, current: as measured in the earlier and the later scan.
        days: from the earlier to the later one, more than 0; None where unknown.
        repeatability: of volumes; that for the smaller diameter unless given.
        densities_mm3: earlier and later volume by density, in place of those of the outlines.

    Raises:
        InputError: sizes that are not positive numbers, or days that are none.
    """
    volumes_mm3 = densities_mm3 or (prior.volume_mm3, current.volume_mm3)
    sizes = (prior.diameter_mm, current.diameter_mm, *volumes_mm3)
    # Written so that NaN fails it too.
    if not all(0 < size < math.inf for size in sizes):
        raise InputError(f"Sizes must be positive numbers, not {sizes}. Measure the nodule again in both CTs.")
    repeatability = repeatability or repeatability_at(min(prior.diameter_mm, current.diameter_mm))
    log_ratio = math.log(volumes_mm3[1] / volumes_mm3[0])
    reach = NORMAL_95 * repeatability.log_sd
    is_beyond = abs(log_ratio) > reach
    doubling = None if days is None else doubling_time(log_ratio, reach, days)
    single = [log_sd_of_interval(one.volume_interval_mm3) for one in (prior, current)]
    return Growth(
        *sizes,
        volume_change_percent=100 * math.expm1(log_ratio),
        volume_change_interval_percent=(100 * math.expm1(log_ratio - reach), 100 * math.expm1(log_ratio + reach)),
        is_beyond_repeatability=is_beyond,
        repeatability=repeatability,
        outline_log_sd=math.hypot(*single),
        days=days,
        doubling_days=None if doubling is None else doubling[0],
        doubling_interval_days=None if doubling is None else doubling[1],
        bts=bts_words(100 * math.expm1(log_ratio), None if doubling is None else doubling[0])
        if is_beyond and days is not None
        else None,
        volume_by=BY_DENSITY if densities_mm3 else BY_OUTLINE,
    )


def doubling_time(log_ratio: float, reach: float, days: int) -> tuple[float, tuple[float, float | None]] | None:
    """Days in which a volume doubles, with its interval; None where it has not grown.

    Args:
        log_ratio: logarithm of current over prior volume.
        reach: half the width of its interval; where that holds no growth, the doubling time has no upper end.
        days: between the scans.

    Raises:
        InputError: days that are not positive.
    """
    if not days > 0:
        raise InputError(f"{days} days lie between the CTs: a doubling time needs one or more. Check the dates.")
    if log_ratio <= 0:
        return None
    slowest = log_ratio - reach
    doubled = days * math.log(2)
    return doubled / log_ratio, (doubled / (log_ratio + reach), doubled / slowest if slowest > 0 else None)


def bts_words(percent: float, doubling_days: float | None) -> str:
    """The BTS term for solid nodules; a statement about two numbers, no recommendation."""
    if percent < GROWTH_PERCENT or doubling_days is None:
        return f"volume grown by less than {GROWTH_PERCENT:g} %"
    if doubling_days <= FAST_DAYS:
        return f"volume doubling time of {FAST_DAYS:g} days or less"
    if doubling_days <= SLOW_DAYS:
        return f"volume doubling time of {FAST_DAYS:g} to {SLOW_DAYS:g} days"
    return f"volume doubling time of more than {SLOW_DAYS:g} days"
