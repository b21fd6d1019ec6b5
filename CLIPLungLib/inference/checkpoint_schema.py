"""What the header of a checkpoint may hold: one declared schema, checked before anything is built from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from CLIPLungLib.calibration.truth import LONGEST_TABLE_NAME, MOST_CASES, OUTCOME, READERS
from CLIPLungLib.model.encoder_names import ENCODERS

Rule = Callable[[Any], str]
"""Says what is wrong with a value; nothing when it is right."""
Schema = Mapping[str, Any]


def check(values: Any, schema: Schema, path: str = "") -> None:
    """Compare values with a schema: the same names, and every value as its rule wants it.

    Args:
        values: from JSON.
        schema: name -> rule, or another schema for what lies below it.
        path: where `values` stand, for messages.

    Raises:
        ValueError: naming the first place that is wrong.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{path or 'the header'} must be a table of names and values")
    if values.keys() != schema.keys():
        wrong = sorted(values.keys() ^ schema.keys(), key=str)[:3]
        raise ValueError(f"{path or 'the header'} has missing or unknown names: {', '.join(map(str, wrong))[:120]}")
    for name, rule in schema.items():
        where = f"{path}.{name}" if path else name
        if isinstance(rule, Mapping):
            check(values[name], rule, where)
        elif problem := rule(values[name]):
            raise ValueError(f"{where} {problem}")


def number(low: float, high: float) -> Rule:
    """A finite number from low to high."""

    def rule(value: Any) -> str:
        # Written so that NaN fails it too.
        is_right = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        return "" if is_right and math.isfinite(value) else f"must be a number from {low:g} to {high:g}"

    return rule


def whole(low: int, high: int) -> Rule:
    """A whole number from low to high."""

    def rule(value: Any) -> str:
        is_right = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return "" if is_right else f"must be a whole number from {low} to {high}"

    return rule


def each(count: int, rule: Rule) -> Rule:
    """A list of so many values under the same rule."""

    def rule_of_list(value: Any) -> str:
        if not isinstance(value, list) or len(value) != count:
            return f"must be a list of {count}"
        return next((f"{problem}, each" for one in value if (problem := rule(one))), "")

    return rule_of_list


def one_of(*choices: Any) -> Rule:
    """One of these values, of the same type."""

    def rule(value: Any) -> str:
        is_right = any(type(value) is type(choice) and value == choice for choice in choices)
        return "" if is_right else f"must be one of {', '.join(map(str, choices))}"

    return rule


def optional(schema: Schema) -> Rule:
    """Null, or a table under a schema."""

    def rule(value: Any) -> str:
        if value is not None:
            try:
                check(value, schema)
            except ValueError as error:
                return f"is wrong: {error}"
        return ""

    return rule


def text(longest: int) -> Rule:
    """A text of so many characters at most."""

    def rule(value: Any) -> str:
        is_right = isinstance(value, str) and len(value) <= longest
        return "" if is_right else f"must be a text of at most {longest} characters"

    return rule


def plain_facts(value: Any) -> str:
    """A table of texts, numbers and lists or tables of such."""
    return "" if isinstance(value, dict) else "must be a table of facts"


_SIZE = {"scale": number(1e-6, 1e6), "power": number(1e-3, 1e3), "log_half_width": number(0, 100)}
_SPHERICITY = {name: number(-1e3, 1e3) for name in ("intercept", "text", "axis_ratio", "compactness")}
_LIMITS = {"largest_distance": number(1e-9, 1e6), "least_presence": number(-1e-6, 1)}
_CALIBRATIONS = {
    "probability": {"slope": number(1e-6, 1e6), "offsets": each(3, number(-1e6, 1e6))},
    "class_set_threshold": number(0, 1),
    "outline": optional({"diameter": _SIZE, "volume": _SIZE, "sphericity": _SPHERICITY, "limits": _LIMITS}),
}
_TRUTH = {
    "whose": one_of(READERS, OUTCOME),
    "cases": whole(1, MOST_CASES),
    "patients": whole(1, MOST_CASES),
    "events": whole(0, MOST_CASES),
    "table": text(LONGEST_TABLE_NAME),
    "date": text(10),
}
HEADER_SCHEMA: Schema = {
    "network": {
        "encoder": one_of(*ENCODERS),
        "planes": whole(1, 256),
        "pixels": whole(8, 512),
        "groups": whole(1, 64),
        "text_dim": whole(1, 4096),
        "dropout": number(0, 1),
        "ordinal_rating": one_of(True, False),
    },
    "patch": {
        "shape": each(3, whole(1, 512)),
        "spacing_mm": each(3, number(0.01, 50)),
        "window_hu": each(2, number(-1e4, 1e5)),
    },
    "text_scale": number(1e-3, 1e4),
    "draws_outline": one_of(True, False),
    "calibrations": optional(_CALIBRATIONS),
    "provenance": plain_facts,
}
# Of weights calibrated on local cases.
LOCAL_HEADER_SCHEMA: Schema = {**HEADER_SCHEMA, "calibrations": optional({**_CALIBRATIONS, "truth": _TRUTH})}
