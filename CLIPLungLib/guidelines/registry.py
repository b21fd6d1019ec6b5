"""The guidelines by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.brock import brock
from CLIPLungLib.guidelines.bts import bts
from CLIPLungLib.guidelines.case import Case
from CLIPLungLib.guidelines.fleischner import fleischner
from CLIPLungLib.guidelines.lung_rads import lung_rads
from CLIPLungLib.guidelines.recommendation import Recommendation
from CLIPLungLib.guidelines.units import unit_warnings

GUIDELINES: Mapping[str, Callable[[Case], Recommendation]] = {
    "lung-rads": lung_rads,
    "fleischner": fleischner,
    "bts": bts,
    "brock": brock,
}


def ask(name: str, case: Case, brock_model: str = "2b") -> Recommendation:
    """What a guideline says of a case.

    Args:
        name: one of GUIDELINES.
        brock_model: for "brock" only.

    Raises:
        InputError: no such guideline, outside of its scope, or an input is missing.
    """
    if name not in GUIDELINES:
        raise InputError(f"There is no guideline '{name}'. Choose one of {', '.join(GUIDELINES)}.")
    answer = brock(case, brock_model) if name == "brock" else GUIDELINES[name](case)
    return replace(answer, warnings=(*unit_warnings(case), *answer.warnings))


def ask_all(case: Case, brock_model: str = "2b") -> tuple[dict[str, Recommendation], dict[str, str]]:
    """What every guideline says by its name, and for those that cannot answer, why."""
    answers, reasons = {}, {}
    for name in GUIDELINES:
        try:
            answers[name] = ask(name, case, brock_model)
        except InputError as error:
            reasons[name] = str(error)
    return answers, reasons


def key_of_other_size(name: str, case: Case, delta_mm: float, brock_model: str = "2b") -> str | None:
    """What a guideline says of the nodule with diameters longer by `delta_mm`; None where it cannot say."""
    size = case.size.grown_by(delta_mm)
    if size is None:
        return None
    try:
        return ask(name, replace(case, size=size), brock_model).key
    except InputError:
        return None
