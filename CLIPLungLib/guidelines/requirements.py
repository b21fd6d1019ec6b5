"""What a guideline needs to know: missing inputs are named, with the place to give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.case import Case
from CLIPLungLib.guidelines.recommendation import Guideline

# Path in a Case: what it is, and the option of `cliplung guidelines`.
QUESTIONS: Mapping[str, tuple[str, str]] = {
    "size.mean_diameter_mm": ("mean diameter", "--size, or --long and --short"),
    "size": ("size", "--size, --long and --short, or --volume"),
    "size.long_mm": ("longest diameter", "--long"),
    "nodule_type": ("type of the nodule", "--type"),
    "solid_mm": ("size of the solid component", "--solid"),
    "context": ("how the nodule was found", "--context"),
    "seen": ("whether the nodule is new", "--seen"),
    "nodule_count": ("number of nodules", "--nodules"),
    "upper_lobe": ("upper lobe or not", "--upper-lobe"),
    "spiculation": ("spiculation or not", "--spiculation"),
    "prior.size": ("size on the prior CT", "--prior-size, --prior-long or --prior-volume"),
    "prior.size.mean_diameter_mm": ("mean diameter on the prior CT", "--prior-size, or --prior-long and --prior-short"),
    "prior.days": ("days since the prior CT", "--prior-days"),
    "prior.solid_mm": ("solid component on the prior CT, 0 for none", "--prior-solid"),
    "prior.category": ("Lung-RADS category of the prior CT", "--prior-category"),
    "surveillance": ("which CT of the surveillance this is", "--surveillance"),
    "age": ("age", "--age"),
    "sex": ("sex", "--sex"),
    "family_history": ("family history of lung cancer", "--family-history"),
    "emphysema": ("emphysema or not", "--emphysema"),
    "immunosuppressed": ("immunosuppression or not", "--immunosuppressed"),
    "known_cancer": ("known cancer or not", "--known-cancer"),
    "high_risk": ("low or high risk of lung cancer", "--high-risk"),
}


def require(guideline: Guideline, case: Case, *paths: str) -> None:
    """Refuse a case that leaves a question open.

    Args:
        paths: keys of QUESTIONS.

    Raises:
        InputError: names every missing input and where to give it.
    """
    missing = [QUESTIONS[path] for path in paths if _value(case, path) is None]
    if missing:
        wanted = ", ".join(f"{words} ({option})" for words, option in missing)
        raise InputError(f"{guideline.title} needs more: {wanted}. Give it; nothing is guessed.")


def required(value: float | None) -> float:
    """A number that `require` has found, for type checkers."""
    if value is None:
        raise InputError("A number that the guideline needs is missing. Ask for it with `require` first.")
    return value


def refuse(guideline: Guideline, reason: str, remedy: str) -> NoReturn:
    """Say that a guideline does not cover a case.

    Raises:
        InputError: always.
    """
    raise InputError(f"{guideline.title} is not for {reason}. {remedy}")


def _value(case: Case, path: str) -> Any:
    value: Any = case
    for name in path.split("."):
        value = getattr(value, name) if value is not None else None
    return value
