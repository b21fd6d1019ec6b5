"""A comparison in words, for page, panel and command line."""

from __future__ import annotations

from CLIPLungLib.followup.comparison import Comparison
from CLIPLungLib.followup.growth import Growth
from CLIPLungLib.guidelines.bts import BTS
from CLIPLungLib.inference.result import NoduleResult

# Doubling times beyond ten years are told as that.
LONGEST_DAYS = 3650.0


def change_lines(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Headings, each with its lines."""
    size = ["not outlined in both CTs"] if comparison.growth is None else size_lines(comparison.growth)
    found = [("Size", size)]
    if comparison.growth is not None:
        found.append(("Change", trend_lines(comparison.growth)))
    found.append(("Malignancy probability (apart from growth)", [probability_line(comparison)]))
    warnings = [
        *comparison.warnings,
        *(f"Now: {warning}" for warning in comparison.current.warnings),
        *(f"Before: {warning}" for warning in comparison.prior.warnings),
    ]
    return [*found, ("Warnings", warnings)] if warnings else found


def size_lines(change: Growth) -> list[str]:
    """Diameters and volumes."""
    return [
        f"diameter {change.prior_diameter_mm:.1f} mm, now {change.diameter_mm:.1f} mm ({change.diameter_change_mm:+.1f} mm)",
        f"volume {change.prior_volume_mm3:.0f} mm3, now {change.volume_mm3:.0f} mm3 (by {change.volume_by})",
    ]


def trend_lines(change: Growth) -> list[str]:
    """How much, whether that is more than noise, and how fast."""
    low, high = change.volume_change_interval_percent
    noise_low, noise_high = change.repeatability.limits_percent
    verdict = (
        "beyond repeatability" if change.is_beyond_repeatability else "no significant change: within repeatability"
    )
    lines = [
        f"volume {change.volume_change_percent:+.0f} % (95 %: {low:+.0f} to {high:+.0f} %), {verdict}",
        f"repeatability: {noise_low:.0f} to {noise_high:+.0f} % without any change ({change.repeatability.source})",
    ]
    if change.days is not None:
        lines.append(f"{change.days} days between the CTs; {doubling_words(change)}")
    if change.bts is not None:
        lines.append(f"{BTS.name} {BTS.version}, solid nodules: {change.bts}")
    return lines


def doubling_words(change: Growth) -> str:
    """The doubling time with its interval."""
    if change.doubling_days is None or change.doubling_interval_days is None:
        return "no doubling time: the volume has not grown"
    low, high = change.doubling_interval_days
    end = "no growth" if high is None else _days(high)
    return f"volume doubling time {_days(change.doubling_days)} (95 %: {_days(low)} to {end})"


def probability_line(comparison: Comparison) -> str:
    """Both probabilities."""
    before, now = (_percent(result) for result in (comparison.prior, comparison.current))
    return f"{before} before, {now} now ({100 * comparison.probability_change:+.0f} points)"


def _days(days: float) -> str:
    return "more than 10 years" if days > LONGEST_DAYS else f"{days:.0f} days"


def _percent(result: NoduleResult) -> str:
    return f"{100 * result.malignancy_probability:.0f} %"
