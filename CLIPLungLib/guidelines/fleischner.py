"""Fleischner Society 2017: follow-up of incidental nodules in adults of 35 years and more.

Sizes are the mean of long and short axis, rounded to whole mm, so "below 6 mm" is 5 mm and less, and "over 8 mm"
is 9 mm and more. The table's column for larger subsolid nodules reads "> 100 mm3" beside ">= 6 mm"; exactly 100 mm3
counts as larger here.
A solid component of 6 mm or more is highly suspicious in the table; the text asks for work-up over 8 mm.
"""

from __future__ import annotations

from dataclasses import dataclass

from CLIPLungLib.guidelines.case import Case
from CLIPLungLib.guidelines.recommendation import Decision, Guideline, Recommendation
from CLIPLungLib.guidelines.requirements import refuse, require, required
from CLIPLungLib.guidelines.thresholds import Threshold, near_warnings, rounded, size_words

FLEISCHNER = Guideline(
    "Fleischner Society", "2017", "MacMahon H, et al. Radiology 2017;284:228-243", "10.1148/radiol.2017161659"
)
YOUNGEST_YEARS = 35
MIDDLE_FROM = Threshold(6.0, 100.0)
# Over 8 mm and over 250 mm3, after rounding to whole numbers.
LARGE_FROM = Threshold(9.0, 251.0)
LARGEST_NODULE_MM = 30.0
# Bands of the whole nodule, and of the solid component where it decides.
SMALL, MIDDLE, LARGE, FROM_SIX = "below 6 mm", "6 to 8 mm", "over 8 mm", "6 mm or more"
SOLID_SMALL, SOLID_MIDDLE, SOLID_LARGE = "solid part below 6 mm", "solid part 6 to 8 mm", "solid part over 8 mm"

_NONE = "No routine follow-up."
_OPTIONAL = "CT after 12 months is optional; it is more worth while for a suspicious shape, an upper lobe, or both."
_THREE_TO_SIX = "CT after 3 to 6 months"
_GUIDE = "The most suspicious nodule guides what follows."


@dataclass(frozen=True)
class Cell:
    """A cell of the published table.

    Attributes:
        kind: "solid", "ground glass", "part-solid" or "subsolid".
        multiple: more than one nodule.
        band: of size.
        risk: "low" or "high"; "" where risk does not matter.
        management: in our words.
    """

    kind: str
    multiple: bool
    band: str
    risk: str
    management: str

    @property
    def key(self) -> str:
        """Names the cell."""
        risk = f", {self.risk} risk" if self.risk else ""
        return f"{'multiple' if self.multiple else 'single'} {self.kind}, {self.band}{risk}"


CELLS = (
    Cell("solid", False, SMALL, "low", _NONE),
    Cell("solid", False, SMALL, "high", _OPTIONAL),
    Cell("solid", False, MIDDLE, "low", "CT after 6 to 12 months; then consider CT after 18 to 24 months."),
    Cell("solid", False, MIDDLE, "high", "CT after 6 to 12 months, and again after 18 to 24 months."),
    Cell("solid", False, LARGE, "low", "Consider CT after 3 months, PET/CT, or tissue sampling."),
    Cell("solid", False, LARGE, "high", "Consider CT after 3 months, PET/CT, or tissue sampling."),
    Cell("solid", True, SMALL, "low", _NONE),
    Cell("solid", True, SMALL, "high", "CT after 12 months is optional."),
    Cell("solid", True, MIDDLE, "low", f"{_THREE_TO_SIX}; then consider CT after 18 to 24 months. {_GUIDE}"),
    Cell("solid", True, MIDDLE, "high", f"{_THREE_TO_SIX}, and again after 18 to 24 months. {_GUIDE}"),
    Cell("solid", True, LARGE, "low", f"{_THREE_TO_SIX}; then consider CT after 18 to 24 months. {_GUIDE}"),
    Cell("solid", True, LARGE, "high", f"{_THREE_TO_SIX}, and again after 18 to 24 months. {_GUIDE}"),
    Cell("ground glass", False, SMALL, "", f"{_NONE} For a suspicious one, consider CT after 2 and 4 years."),
    Cell(
        "ground glass",
        False,
        FROM_SIX,
        "",
        "CT after 6 to 12 months to see whether it persists; then CT every 2 years up to 5 years. "
        "Growth or a solid part: consider resection.",
    ),
    Cell("part-solid", False, SMALL, "", _NONE),
    Cell(
        "part-solid",
        False,
        SOLID_SMALL,
        "",
        f"{_THREE_TO_SIX} to see whether it persists; while it does not change, CT every year for 5 years.",
    ),
    Cell(
        "part-solid",
        False,
        SOLID_MIDDLE,
        "",
        f"{_THREE_TO_SIX}; one that persists is highly suspicious. "
        "A suspicious shape or a growing solid part: PET/CT, biopsy or resection.",
    ),
    Cell(
        "part-solid",
        False,
        SOLID_LARGE,
        "",
        "PET/CT, biopsy or resection; CT after 3 to 6 months can first show whether it persists.",
    ),
    Cell("subsolid", True, SMALL, "", f"{_THREE_TO_SIX}; if stable, consider CT after 2 and 4 years."),
    Cell("subsolid", True, FROM_SIX, "", f"{_THREE_TO_SIX}. {_GUIDE}"),
)
BENIGN, JUXTAPLEURAL = "benign feature", "typical juxtapleural nodule"
MANAGEMENT = {
    **{cell.key: cell.management for cell in CELLS},
    BENIGN: "The table is for nodules without calcification or fat; one of a benign pattern needs no follow-up.",
    JUXTAPLEURAL: "Looks like a lymph node in the lung: no CT follow-up, even above 6 mm.",
}


def fleischner(case: Case) -> Recommendation:
    """What the Fleischner Society advises for an incidental nodule.

    Raises:
        InputError: outside of the guideline's scope, or an input is missing.
    """
    _require_scope(case)
    decision = _decide(case)
    warnings = [*near_warnings(_decide, case, decision.key), *_warnings(case)]
    return FLEISCHNER.recommends(decision, MANAGEMENT[decision.key], warnings)


def _require_scope(case: Case) -> None:
    if case.finding != "nodule":
        refuse(FLEISCHNER, "cysts and airway findings", "Ask lung-rads for a screening CT.")
    require(FLEISCHNER, case, "context", "age", "immunosuppressed", "known_cancer")
    if case.context == "screening":
        refuse(FLEISCHNER, "lung cancer screening", "Ask lung-rads.")
    if required(case.age) < YOUNGEST_YEARS:
        refuse(
            FLEISCHNER,
            f"patients below {YOUNGEST_YEARS} years",
            "Decide case by case; infection is more likely than cancer.",
        )
    if case.immunosuppressed:
        refuse(FLEISCHNER, "immunosuppressed patients", "Decide case by case; think of infection.")
    if case.known_cancer:
        refuse(FLEISCHNER, "patients with a known cancer", "Decide case by case; think of metastasis.")


def _decide(case: Case) -> Decision:
    if case.benign_feature is not None:
        return Decision(BENIGN, case.benign_feature.replace("_", " "))
    require(FLEISCHNER, case, "nodule_type")
    if case.juxtapleural and case.nodule_type == "solid" and not (case.spiculation or case.suspicious_features):
        return Decision(JUXTAPLEURAL, "smooth solid oval, lentiform or triangular nodule at pleura or fissure")
    require(FLEISCHNER, case, "nodule_count", *(() if case.size.volume_mm3 is not None else ("size.mean_diameter_mm",)))
    kind = _kind(case)
    band, measured = _band(case, kind)
    risk = _risk(case) if kind == "solid" else ""
    cell = next(c for c in CELLS if (c.kind, c.multiple, c.band, c.risk) == (kind, _is_multiple(case), band, risk))
    return Decision(cell.key, f"{measured}; {cell.key}")


def _kind(case: Case) -> str:
    if case.nodule_type == "solid":
        return "solid"
    if _is_multiple(case):
        return "subsolid"
    return "ground glass" if case.nodule_type == "ground_glass" else "part-solid"


def _band(case: Case, kind: str) -> tuple[str, str]:
    mean_mm, volume_mm3 = case.size.mean_diameter_mm, case.size.volume_mm3
    whole_mm = rounded(mean_mm, 0) if mean_mm is not None else None
    whole_mm3 = rounded(volume_mm3, 0) if volume_mm3 is not None else None
    words = size_words(whole_mm, whole_mm3, "rounded mean diameter")
    if not MIDDLE_FROM.reached_by(whole_mm, whole_mm3):
        return SMALL, words
    if kind == "part-solid":
        return _solid_band(case, words)
    if kind != "solid":
        return FROM_SIX, words
    return (LARGE if LARGE_FROM.reached_by(whole_mm, whole_mm3) else MIDDLE), words


def _solid_band(case: Case, words: str) -> tuple[str, str]:
    require(FLEISCHNER, case, "solid_mm")
    solid_mm = rounded(required(case.solid_mm), 0)
    words = f"{words}, rounded solid part {solid_mm:g} mm"
    if not MIDDLE_FROM.reached_by(solid_mm):
        return SOLID_SMALL, words
    return (SOLID_LARGE if LARGE_FROM.reached_by(solid_mm) else SOLID_MIDDLE), words


def _risk(case: Case) -> str:
    require(FLEISCHNER, case, "high_risk")
    return "high" if case.high_risk else "low"


def _is_multiple(case: Case) -> bool:
    return (case.nodule_count or 0) > 1


def _warnings(case: Case) -> list[str]:
    found = []
    factors = {
        "smoking": case.smoking in ("former", "current"),
        "family history": case.family_history,
        "emphysema": case.emphysema,
        "upper lobe": case.upper_lobe,
        "spiculation": case.spiculation,
    }
    named = [words for words, present in factors.items() if present]
    if case.nodule_type == "solid" and case.high_risk is False and named:
        found.append(
            f"Low risk was confirmed in spite of {', '.join(named)}; high risk begins at an estimated 5 % for cancer."
        )
    if case.prior is not None:
        found.append(
            "The table is for a nodule's first CT; growth since the prior CT is not weighed here and asks for more."
        )
    if (case.size.long_mm or case.size.mean_diameter_mm or 0) > LARGEST_NODULE_MM:
        found.append(f"Over {LARGEST_NODULE_MM:g} mm this is a mass, not a nodule.")
    if _is_multiple(case):
        found.append("Give the size of the most suspicious nodule; it need not be the largest.")
    return found
