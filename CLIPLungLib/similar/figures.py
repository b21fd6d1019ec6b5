"""How well neighbours predict the readers' ratings: one figure and its interval per rating, stored in the index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, ATTRIBUTE_OF_NAME

MALIGNANCY, DIAMETER = "malignancy", "diameter_mm"
# The codes of calcification are kinds, so their mean says nothing: the share of readers who saw none does.
CALCIFICATION, NO_CALCIFICATION = "calcification", "calcification_absent"
# What readers say of a nodule, in the order of an index's columns.
RATED = (MALIGNANCY, *(NO_CALCIFICATION if name == CALCIFICATION else name for name in ATTRIBUTE_NAMES))
# And what is measured in their outlines.
COMPARED = (*RATED, DIAMETER)
TITLES = {
    MALIGNANCY: "Malignancy",
    **{name: attribute.title for name, attribute in ATTRIBUTE_OF_NAME.items() if name != CALCIFICATION},
    NO_CALCIFICATION: "No calcification",
    DIAMETER: "Diameter",
}


@dataclass(frozen=True)
class Figure:
    """A Spearman correlation with the mean of the readers.

    Attributes:
        value: -1..1; None where it is not defined.
        interval: low and high end of its 95 % bootstrap interval by patient; None where there is none.
        n: nodules.
    """

    value: float | None
    interval: tuple[float, float] | None
    n: int

    def __str__(self) -> str:
        if self.value is None:
            return "not defined"
        return f"{self.value:.2f}" + (f" ({self.interval[0]:.2f} to {self.interval[1]:.2f})" if self.interval else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"value": self.value, "interval": list(self.interval) if self.interval else None, "n": self.n}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Figure:
        """The inverse of `to_dict`; other values are refused with TypeError, KeyError or ValueError."""
        value, interval, n = plain["value"], plain["interval"], plain["n"]
        if type(n) is not int or n < 0:
            raise ValueError(f"{str(n)[:20]} is no number of nodules")
        return cls(
            None if value is None else _correlation(value),
            None if interval is None else (_correlation(interval[0]), _correlation(interval[1])),
            n,
        )


@dataclass(frozen=True)
class Agreement:
    """How well one of COMPARED is predicted.

    Attributes:
        neighbours: by the mean of the neighbours' readers.
        network: by the model's own prediction.
    """

    neighbours: Figure
    network: Figure

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: figure.to_dict() for name, figure in vars(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Agreement:
        """The inverse of `to_dict`; other values are refused with TypeError, KeyError or ValueError."""
        return cls(Figure.from_dict(plain["neighbours"]), Figure.from_dict(plain["network"]))


def _correlation(value: Any) -> float:
    if type(value) not in (int, float) or not -1.0 <= value <= 1.0:
        raise ValueError(f"{str(value)[:20]} is no correlation")
    return float(value)
