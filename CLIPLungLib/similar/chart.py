"""Where the cases lie in the small plot of diameter against malignancy, for whoever draws it."""

from __future__ import annotations

from dataclasses import dataclass

from CLIPLungLib.similar.cases import SimilarCases
from CLIPLungLib.similar.figures import MALIGNANCY

LOWEST_RATING, HIGHEST_RATING = 1.0, 5.0
RATING_TICKS = (1, 2, 3, 4, 5)
# The axis of diameters has at most so many steps of one of these lengths.
STEPS_MM, MOST_STEPS = (5, 10, 20, 50, 100, 200), 6


@dataclass(frozen=True)
class Dot:
    """A place in the plot: both from 0 (left, below) to 1 (right, above)."""

    x: float
    y: float


@dataclass(frozen=True)
class SimilarChart:
    """Diameter (mm) to the right, the readers' mean malignancy upwards.

    Attributes:
        dots: the cases of known diameter and malignancy, the nearest first.
        this_x: of the answer's diameter; what readers would say of it is not known.
        mean_y: of the cases' mean malignancy; None where none is known.
        diameter_ticks: (x, mm).
        rating_ticks: (y, rating).
    """

    dots: tuple[Dot, ...]
    this_x: float
    mean_y: float | None
    diameter_ticks: tuple[tuple[float, int], ...]
    rating_ticks: tuple[tuple[float, int], ...]


def similar_chart(found: SimilarCases) -> SimilarChart:
    """The plot of an answer's similar cases."""
    known = [(case.diameter_mm, case.malignancy) for case in found.cases]
    sizes = [found.diameter_mm, *(diameter for diameter, _ in known if diameter is not None)]
    step = next((step for step in STEPS_MM if step * MOST_STEPS > max(sizes)), STEPS_MM[-1])
    end = step * (int(max(sizes) // step) + 1)
    mean = found.mean(MALIGNANCY)
    return SimilarChart(
        dots=tuple(Dot(d / end, _height(rating)) for d, rating in known if d is not None and rating is not None),
        this_x=found.diameter_mm / end,
        mean_y=None if mean is None else _height(mean),
        diameter_ticks=tuple((mm / end, mm) for mm in range(0, end + 1, step)),
        rating_ticks=tuple((_height(rating), rating) for rating in RATING_TICKS),
    )


def _height(rating: float) -> float:
    return (rating - LOWEST_RATING) / (HIGHEST_RATING - LOWEST_RATING)
