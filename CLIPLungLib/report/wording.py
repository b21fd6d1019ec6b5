"""An answer in words, the same in panel, page and table: probability, class, size, and the reading of each sign."""

from __future__ import annotations

import math
from dataclasses import dataclass

from CLIPLungLib.inference.result import AttributeResult, NoduleResult
from CLIPLungLib.vocabulary import ATTRIBUTE_OF_NAME, CLASS_TITLES, Attribute

# Kinds in a word or two, in the order of their codes.
KIND_TITLES = {
    "internalStructure": ("soft tissue", "fluid", "fat", "air"),
    "calcification": ("popcorn", "laminated", "solid", "non-central", "central", "absent"),
}


@dataclass(frozen=True)
class SignReading:
    """What is shown of one sign.

    Attributes:
        title: of the sign.
        value: its degree as "4.5 / 5", or its kind in words.
        share: of the scale that lies below the degree, 0..1; None for a kind.
        spread: from and to which share of the scale the readers' opinions spread, one standard deviation to each side;
            None for a kind.
        cells: probability of each kind, in the order of the codes; empty for a degree.
        best: index of the likeliest kind in `cells`.
        neighbours: the texts of the scale around the degree, or the likeliest kinds.
        similarity: cosine of image and text, as "+0.12".
        compared_with: the text that the similarity compares with.
    """

    title: str
    value: str
    share: float | None
    spread: tuple[float, float] | None
    cells: tuple[float, ...]
    best: int
    neighbours: str
    similarity: str
    compared_with: str


def read_sign(sign: AttributeResult) -> SignReading:
    """The reading of one sign."""
    attribute = ATTRIBUTE_OF_NAME[sign.name]
    is_degree = attribute.ordinal
    return SignReading(
        title=attribute.title,
        value=_degree(sign.level, attribute) if is_degree else KIND_TITLES[sign.name][sign.code - 1],
        share=_share(sign.level, attribute) if is_degree else None,
        spread=_spread(sign, attribute) if is_degree else None,
        cells=() if is_degree else sign.level_probabilities,
        best=sign.code - 1,
        neighbours=_neighbouring_degrees(sign.level, attribute) if is_degree else _likeliest_kinds(sign),
        similarity=f"{sign.similarity:+.2f}",
        compared_with=f"a lung nodule {attribute.levels[attribute.sign_level - 1]}",
    )


def percent(probability: float) -> str:
    """A share for a reader: whole percent, never the certainty of 0% or 100%."""
    if probability < 0.005:
        return "<1%"
    return ">99%" if probability >= 0.995 else f"{100 * probability:.0f}%"


def class_title(result: NoduleResult) -> str:
    """The most probable class."""
    return CLASS_TITLES[result.predicted_class]


def compatible_classes(result: NoduleResult) -> str:
    """The other classes that the answer is compatible with; empty when there is none."""
    return ", ".join(CLASS_TITLES[name] for name in result.class_set if name != result.predicted_class)


def _degree(level: float, attribute: Attribute) -> str:
    return f"{level:.1f} / {len(attribute.levels)}"


def _share(level: float, attribute: Attribute) -> float:
    return min(max((level - 1) / (len(attribute.levels) - 1), 0.0), 1.0)


def _spread(sign: AttributeResult, attribute: Attribute) -> tuple[float, float]:
    pairs = list(zip(attribute.codes, sign.level_probabilities, strict=True))
    mean = sum(code * probability for code, probability in pairs)
    deviation = math.sqrt(sum(probability * (code - mean) ** 2 for code, probability in pairs))
    return _share(sign.level - deviation, attribute), _share(sign.level + deviation, attribute)


def _neighbouring_degrees(level: float, attribute: Attribute) -> str:
    shown = round(level, 1)
    codes = sorted({math.floor(shown), math.ceil(shown)} & set(attribute.codes))
    return ", ".join(f"{code} is '{attribute.levels[code - 1]}'" for code in codes)


def _likeliest_kinds(sign: AttributeResult) -> str:
    pairs = sorted(zip(sign.level_probabilities, KIND_TITLES[sign.name], strict=True), reverse=True)
    return ", ".join(f"{title} {percent(probability)}" for probability, title in pairs[:3])
