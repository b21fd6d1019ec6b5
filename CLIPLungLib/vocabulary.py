"""The LIDC-IDRI vocabulary: attributes, their rating scales, classes, and the texts that name them.

Codes and their meaning are those of the LIDC-IDRI annotation instructions (Armato et al., Med Phys 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CLASSES = ("benign", "unsure", "malignant")
# What people read; files keep the names of CLASSES.
CLASS_TITLES = {"benign": "benign", "unsure": "indeterminate", "malignant": "malignant"}
BENIGN_BELOW = 2.5
MALIGNANT_ABOVE = 3.5
EVENT_ABOVE = 3.0


@dataclass(frozen=True)
class Attribute:
    """One radiological sign and its rating scale.

    Attributes:
        name: column name in LIDC tables.
        title: what a reader sees.
        levels: a short text per code 1, 2, 3 ...; completes "a lung nodule ...".
        sign_level: the code whose text the reported similarity compares with.
        ordinal: False where the codes are kinds, not degrees.
        poles: what the low and the high end of the scale mean, for axes of charts.
    """

    name: str
    title: str
    levels: tuple[str, ...]
    sign_level: int
    poles: tuple[str, str]
    ordinal: bool = True

    @property
    def codes(self) -> tuple[int, ...]:
        """The rating codes, 1 .. number of levels."""
        return tuple(range(1, len(self.levels) + 1))


ATTRIBUTES = (
    Attribute(
        "subtlety",
        "Subtlety",
        (
            "that is extremely subtle",
            "that is moderately subtle",
            "that is fairly subtle",
            "that is moderately obvious",
            "that is obvious",
        ),
        5,
        ("subtle", "obvious"),
    ),
    Attribute(
        "internalStructure",
        "Internal structure",
        ("made of soft tissue", "filled with fluid", "containing fat", "containing air"),
        1,
        ("soft tissue", "air"),
        ordinal=False,
    ),
    Attribute(
        "calcification",
        "Calcification",
        (
            "with popcorn calcification",
            "with laminated calcification",
            "with solid calcification",
            "with non-central calcification",
            "with central calcification",
            "without calcification",
        ),
        3,
        ("popcorn", "absent"),
        ordinal=False,
    ),
    Attribute(
        "sphericity",
        "Sphericity",
        ("of linear shape", "of elongated shape", "of ovoid shape", "of nearly round shape", "of round shape"),
        5,
        ("linear", "round"),
    ),
    Attribute(
        "margin",
        "Margin",
        (
            "with a poorly defined margin",
            "with a rather blurred margin",
            "with a moderately defined margin",
            "with a rather sharp margin",
            "with a sharp margin",
        ),
        5,
        ("poorly defined", "sharp"),
    ),
    Attribute(
        "lobulation",
        "Lobulation",
        (
            "without lobulation",
            "with slight lobulation",
            "with moderate lobulation",
            "with considerable lobulation",
            "with marked lobulation",
        ),
        5,
        ("none", "marked"),
    ),
    Attribute(
        "spiculation",
        "Spiculation",
        (
            "without spiculation",
            "with slight spiculation",
            "with moderate spiculation",
            "with considerable spiculation",
            "with marked spiculation",
        ),
        5,
        ("none", "marked"),
    ),
    Attribute(
        "texture",
        "Texture",
        (
            "of ground-glass texture",
            "of mostly ground-glass texture",
            "of part-solid texture",
            "of mostly solid texture",
            "of solid texture",
        ),
        5,
        ("ground glass", "solid"),
    ),
)
ATTRIBUTE_NAMES = tuple(attribute.name for attribute in ATTRIBUTES)
ATTRIBUTE_OF_NAME = {attribute.name: attribute for attribute in ATTRIBUTES}
LEVEL_COUNT = sum(len(attribute.levels) for attribute in ATTRIBUTES)


def level_columns(name: str) -> slice:
    """Where the levels of an attribute stand among all LEVEL_COUNT levels, attribute after attribute.

    Raises:
        KeyError: no such attribute.
    """
    first = 0
    for attribute in ATTRIBUTES:
        if attribute.name == name:
            return slice(first, first + len(attribute.levels))
        first += len(attribute.levels)
    raise KeyError(name)


def best_code(attribute: Attribute, level_probabilities: Sequence[float], level: float) -> int:
    """The one code by which a sign is named everywhere: the nearest degree, or the most probable kind.

    Between two degrees lies a degree; between two kinds lies nothing.

    Args:
        level_probabilities: one per code.
        level: expected code.
    """
    if attribute.ordinal:
        return min(max(int(level + 0.5), 1), len(attribute.levels))
    return max(attribute.codes, key=lambda code: level_probabilities[code - 1])


def class_prompts() -> tuple[str, ...]:
    """One text per class, in the order of CLASSES (the paper's template)."""
    return tuple(f"a nodule image of {name}" for name in CLASSES)


def level_prompts(attribute: Attribute) -> tuple[str, ...]:
    """One text per level of an attribute, in the order of its codes."""
    return tuple(f"a lung nodule {level}" for level in attribute.levels)


def reached_cuts(mean_rating: float) -> tuple[bool, bool, bool]:
    """Whether a mean malignancy rating (1..5) is not benign, exceeds 3, is malignant.

    The one rule for ratings on a boundary: 2.5 and 3.5 are unsure, and exactly 3 does not exceed 3.
    """
    return mean_rating >= BENIGN_BELOW, mean_rating > EVENT_ABOVE, mean_rating > MALIGNANT_ABOVE


def malignancy_class(mean_rating: float) -> int:
    """Index into CLASSES of a mean malignancy rating (1..5): benign below 2.5, malignant above 3.5, unsure from 2.5 to 3.5."""
    not_benign, _, is_malignant = reached_cuts(mean_rating)
    return int(not_benign) + int(is_malignant)
