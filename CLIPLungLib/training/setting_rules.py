"""Rules for the values of a settings file: what each must be, as data; unknown and missing names are errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# From a value of the file to that of the configuration; ValueError says what it must be.
Rule = Callable[[Any], Any]
HIGHEST_NUMBER = 1e9


def read_json(file: Path) -> Any:
    """The content of a settings file, in UTF-8 with or without a byte-order mark.

    Raises:
        OSError: it cannot be read.
        ValueError: no JSON, or a name that is there twice, of which JSON's readers take the last.
        RecursionError: nested too deeply.
    """
    return json.loads(Path(file).read_text(encoding="utf-8-sig"), object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the setting '{doubled}' is there twice")
    return values


def checked(values: Any, rules: Mapping[str, Rule | Mapping[str, Rule]], prefix: str = "") -> dict[str, Any]:
    """The values, each converted by its rule; nested settings stay nested.

    Args:
        values: settings by name, as read from JSON.
        rules: a rule for every setting, or the rules of nested settings.
        prefix: what the names of nested settings begin with in errors.

    Raises:
        ValueError: not settings by name, unknown or missing names, or a value that breaks its rule.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{prefix.rstrip('.') or 'it'} must hold settings by name")
    for word, names in (("unknown", set(values) - set(rules)), ("missing", set(rules) - set(values))):
        if names:
            raise ValueError(f"{word} settings: {', '.join(sorted(prefix + str(name) for name in names))}")
    converted: dict[str, Any] = {}
    for name, rule in rules.items():
        if isinstance(rule, Mapping):
            converted[name] = checked(values[name], rule, f"{prefix}{name}.")
            continue
        try:
            converted[name] = rule(values[name])
        except ValueError as error:
            raise ValueError(f"{prefix}{name} must be {error}, not {values[name]!r}") from error
    return converted


def whole(least: int, most: int | None = None) -> Rule:
    """A whole number of at least `least`, and at most `most` where it is given."""
    words = f"a whole number of at least {least}" if most is None else f"a whole number of {least} to {most}"

    def check(value: Any) -> int:
        # A bool is an int to Python.
        if type(value) is not int or not least <= value <= (HIGHEST_NUMBER if most is None else most):
            raise ValueError(words)
        return value

    return check


def number(words: str, is_allowed: Callable[[float], bool]) -> Rule:
    """A finite number that is allowed; `words` say which are."""

    def check(value: Any) -> float:
        # NaN and infinity do not compare as smaller.
        if type(value) not in (int, float) or not abs(value) < HIGHEST_NUMBER or not is_allowed(value):
            raise ValueError(words)
        return float(value)

    return check


def true_or_false(value: Any) -> bool:
    """A rule: true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def one_of(*names: str) -> Rule:
    """One of some names."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return value

    return check


def list_of(count: int, rule: Rule) -> Rule:
    """A list of so many values, each after the same rule; becomes a tuple."""

    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or len(value) != count:
            raise ValueError(f"a list of {count} values")
        try:
            return tuple(rule(item) for item in value)
        except ValueError as error:
            raise ValueError(f"a list of {count} values, each {error}") from error

    return check


ANY_NUMBER = number("a number", lambda _: True)
POSITIVE = number("a number above 0", lambda value: value > 0)
NOT_NEGATIVE = number("a number of at least 0", lambda value: value >= 0)
SHARE = number("a number of at least 0 and below 1", lambda value: 0 <= value < 1)
SHARE_OF_ALL = number("a number above 0 and at most 1", lambda value: 0 < value <= 1)
