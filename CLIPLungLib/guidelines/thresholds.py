"""Sizes against thresholds: rounding as the guidelines ask for, ladders of categories, and what lies near."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.case import Case
from CLIPLungLib.guidelines.recommendation import Decision

# Readers differ by more than this; a threshold within it is told.
NEAR_MM = 0.5


@dataclass(frozen=True)
class Threshold:
    """A limit in mm, and the volume that the guideline puts beside it (None where it gives none)."""

    mm: float
    mm3: float | None = None

    def reached_by(self, diameter_mm: float | None, volume_mm3: float | None = None) -> bool:
        """Whether either measurement is at or over the limit: where they disagree, the larger one counts."""
        by_diameter = diameter_mm is not None and diameter_mm >= self.mm
        by_volume = volume_mm3 is not None and self.mm3 is not None and volume_mm3 >= self.mm3
        return by_diameter or by_volume


@dataclass(frozen=True)
class Step:
    """A category for sizes below a limit; None is no limit."""

    category: str
    below: Threshold | None


def climb(ladder: Sequence[Step], diameter_mm: float | None, volume_mm3: float | None = None) -> Decision:
    """The first step of a ladder whose limit is not reached.

    Args:
        ladder: from small to large; the last step has no limit.
    """
    reached = ""
    for step in ladder:
        if step.below is None or not step.below.reached_by(diameter_mm, volume_mm3):
            limit = f"below {_words(step.below)}" if step.below else ""
            return Decision(step.category, " and ".join(filter(None, (reached, limit))) or "any size")
        reached = f"at least {_words(step.below)}"
    raise InputError("A ladder of categories ends with a limit. Let its last step have none.")


def rounded(value: float, places: int) -> float:
    """Rounded to decimal places, halves up, as readers do (Python rounds halves to even)."""
    # The mean of two decimals is often a hair below the half that it is meant to be.
    return float(Decimal(str(round(value, 6))).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP))


def size_words(diameter_mm: float | None, volume_mm3: float | None, name: str = "mean diameter") -> str:
    """The measurements in words."""
    diameter = f"{name} {diameter_mm:g} mm" if diameter_mm is not None else ""
    volume = f"volume {volume_mm3:g} mm3" if volume_mm3 is not None else ""
    return ", ".join(filter(None, (diameter, volume)))


def near_warnings(decide: Callable[[Case], Decision], case: Case, here: str) -> list[str]:
    """What the same guideline would say of a nodule a little smaller or larger, and of diameter and volume alone.

    Args:
        decide: from case to cell of the table.
        here: the key of the case itself.
    """
    found = []
    for words, changes in _neighbours(case):
        # Not every neighbour can be: a solid component is never larger than its nodule, say.
        try:
            key = decide(replace(case, **changes)).key
        except InputError:
            continue
        if key != here:
            found.append(f"Near a threshold: {words}, the answer is '{key}'.")
    return found


def _neighbours(case: Case) -> list[tuple[str, dict[str, Any]]]:
    neighbours: list[tuple[str, dict[str, Any]]] = []
    for delta_mm, words in ((-NEAR_MM, "smaller"), (NEAR_MM, "larger")):
        size = case.size.grown_by(delta_mm)
        if size is not None:
            neighbours.append((f"with a nodule {NEAR_MM} mm {words}", {"size": size}))
        if case.solid_mm is not None and case.solid_mm + delta_mm > 0:
            neighbours.append((f"with a solid component {NEAR_MM} mm {words}", {"solid_mm": case.solid_mm + delta_mm}))
    if case.size.volume_mm3 is not None:
        neighbours.append(("by diameter alone", {"size": case.size.without_volume()}))
        neighbours.append(("by volume alone", {"size": case.size.only_volume()}))
    return neighbours


def _words(threshold: Threshold) -> str:
    volume = f" ({threshold.mm3:g} mm3)" if threshold.mm3 is not None else ""
    return f"{threshold.mm:g} mm{volume}"
