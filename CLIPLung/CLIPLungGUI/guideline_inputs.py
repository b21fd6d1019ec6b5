"""What a reader tells the guidelines of a nodule and its patient: proposed, confirmed, and kept with the scene. No Qt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

if TYPE_CHECKING:
    from CLIPLungLib.guidelines.case import Case
    from CLIPLungLib.inference.result import NoduleResult

NODULE_ATTRIBUTE, PATIENT_ATTRIBUTE = "CLIPLung.guidelines", "CLIPLung.guidelinePatient"
# A sign counts as there from the middle of its scale on.
SPICULATED_FROM = 2.5
MOST_CHARACTERS = 4000
Values = dict[str, str]


@dataclass(frozen=True)
class Input:
    """One question to the reader.

    Attributes:
        name: of the field of a guideline's Case.
        title: what the reader sees.
        choices: value -> what the reader sees; empty for a number.
        isOfPatient: whether all nodules share the answer.
        highest: of a number.
        decimals: of a number.
    """

    name: str
    title: str
    choices: Mapping[str, str]
    isOfPatient: bool = False
    highest: float = 0.0
    decimals: int = 0


def inputs() -> tuple[Input, ...]:
    """All questions, in the order of the panel."""
    yesNo = {"yes": _("yes"), "no": _("no")}
    types = {"solid": _("solid"), "part_solid": _("part-solid"), "ground_glass": _("ground glass")}
    return (
        Input("context", _("Found"), {"screening": _("in screening"), "incidental": _("by chance")}, True),
        Input("seen", _("Seen"), {"baseline": _("on a first CT"), "new": _("new since the prior CT")}),
        Input("nodule_type", _("Type"), types),
        Input("solid_mm", _("Solid component, mm"), {}, highest=300.0, decimals=1),
        Input("spiculation", _("Spiculation"), yesNo),
        Input("upper_lobe", _("Upper lobe"), yesNo),
        Input("nodule_count", _("Nodules on the CT"), {}, True, highest=1000.0),
        Input("age", _("Age, years"), {}, True, highest=120.0),
        Input("sex", _("Sex"), {"female": _("female"), "male": _("male")}, True),
        Input("smoking", _("Smoking"), {"never": _("never"), "former": _("former"), "current": _("current")}, True),
        Input("family_history", _("Family history of lung cancer"), yesNo, True),
        Input("emphysema", _("Emphysema"), yesNo, True),
        Input("immunosuppressed", _("Immunosuppressed"), yesNo, True),
        Input("known_cancer", _("Known cancer"), yesNo, True),
        Input("high_risk", _("High risk of lung cancer"), yesNo, True),
    )


def proposed(result: NoduleResult, noduleCount: int) -> Values:
    """What signs and list say already; the reader confirms or corrects it."""
    from CLIPLungLib.guidelines.proposal import proposed_type

    levels = {sign.name: sign.level for sign in result.attributes}
    return {
        "nodule_type": proposed_type(levels["texture"]),
        "spiculation": "yes" if levels["spiculation"] >= SPICULATED_FROM else "no",
        "nodule_count": str(noduleCount),
    }


def ofDICOM(valueOf: Callable[[str], str]) -> Values:
    """Age and sex as the header of the scan has them; what it does not have is left out.

    Args:
        valueOf: gives the text of a tag, such as "0010,0040".
    """
    found = {}
    sex = {"F": "female", "M": "male"}.get(valueOf("0010,0040").strip().upper())
    if sex:
        found["sex"] = sex
    age = valueOf("0010,1010").strip().upper()
    born, taken = valueOf("0010,0030").strip(), valueOf("0008,0020").strip()
    if age.endswith("Y") and age[:-1].isdecimal():
        found["age"] = str(int(age[:-1]))
    elif len(born) == len(taken) == len("YYYYMMDD") and born.isdecimal() and taken.isdecimal():
        # Month and day decide whether the birthday has been.
        found["age"] = str((int(taken) - int(born)) // 10000)
    return {name: text for name, text in found.items() if text != "0"}


def sizeText(result: NoduleResult) -> str:
    """The measured size by which a confirmation is known again; empty where nothing was measured."""
    measured = result.measurement
    if measured is None:
        return ""
    return f"{measured.diameter_mm:.1f}/{measured.mean_diameter_mm:.1f}/{measured.volume_mm3:.0f}"


def caseOf(values: Values, result: NoduleResult) -> Case:
    """The case as confirmed, with the sizes as measured. The network's probability is no part of it.

    Raises:
        InputError: the nodule was not measured, or values contradict each other.
    """
    from CLIPLungLib.errors import InputError
    from CLIPLungLib.guidelines.case import Case, Size

    measured = result.measurement
    if measured is None:
        raise InputError(
            "The nodule could not be outlined, so there is no measured size. Draw its outline, or measure by hand."
        )
    size = Size(
        mean_mm=round(measured.mean_diameter_mm, 1),
        long_mm=round(measured.diameter_mm, 1),
        volume_mm3=round(measured.volume_mm3),
    )
    fields: dict[str, Any] = {}
    for question in inputs():
        text = values.get(question.name, "")
        if text and not question.choices:
            fields[question.name] = float(text) if question.decimals else int(float(text))
        elif text:
            fields[question.name] = {"yes": True, "no": False}.get(text, text)
    return Case(size, **fields)


def checked(values: Any) -> Values:
    """Of values from anywhere, those that a question allows."""
    if not isinstance(values, dict):
        return {}
    return {q.name: values[q.name] for q in inputs() if _isAllowed(q, values.get(q.name))}


def wrongText(question: Input) -> str:
    """What is wrong with a number that is not allowed."""
    return _("{title}: give a number above 0 and up to {highest:g}, or leave it empty.").format(
        title=question.title, highest=question.highest
    )


def writeValues(node: Any, attribute: str, values: Mapping[str, str]) -> None:
    """Keep values on a node of the scene."""
    node.SetAttribute(attribute, json.dumps(dict(values)))


def readValues(node: Any, attribute: str) -> dict[str, Any]:
    """What `writeValues` wrote; empty where there is nothing to read."""
    text = (node.GetAttribute(attribute) if node is not None else None) or "{}"
    try:
        plain = json.loads(text) if len(text) <= MOST_CHARACTERS else {}
    except (ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _isAllowed(question: Input, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if question.choices:
        return value in question.choices
    try:
        return 0 < float(value) <= question.highest
    except ValueError:
        return False
