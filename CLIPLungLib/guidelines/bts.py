"""British Thoracic Society 2015: first step for a nodule, and what the CTs of its surveillance lead to.

Sizes are longest diameters or volumes; where both are given and disagree, the larger band counts.
Interpretation of ambiguous cases:

- A Brock probability of exactly 10 % goes to PET/CT: the text says "over 10 %", the chart leaves no gap.
- A nodule of 5 to 6 mm whose volume reaches 80 mm3 gets the earlier CT, at 3 months.
- A doubling time of exactly 400 days counts as fast, one of exactly 600 days as intermediate.
- Without volumetry, change is reckoned from the cube of the longest diameter. Nothing is discharged on it at one year.
- Shrinking nodules go the way of stable ones: the charts do not show them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from CLIPLungLib.guidelines.brock import cancer_probability
from CLIPLungLib.guidelines.case import Case, Prior
from CLIPLungLib.guidelines.recommendation import Decision, Guideline, Recommendation
from CLIPLungLib.guidelines.requirements import refuse, require, required
from CLIPLungLib.guidelines.thresholds import Threshold, near_warnings, size_words

BTS = Guideline(
    "BTS",
    "2015",
    "Callister MEJ, et al. British Thoracic Society guidelines. Thorax 2015;70(Suppl 2):ii1-ii54",
    "10.1136/thoraxjnl-2015-207168",
)
FOLLOWED_FROM, THREE_MONTHS_FROM, RISK_FROM = Threshold(5.0, 80.0), Threshold(6.0, 80.0), Threshold(8.0, 300.0)
JUXTAPLEURAL_BELOW_MM = 10.0
PET_FROM_PROBABILITY = 0.10
GROWTH_PERCENT = 25.0
FAST_DAYS, SLOW_DAYS = 400.0, 600.0
SUBSOLID_GROWTH_MM, SUBSOLID_STABLE_DAYS = 2.0, 4 * 365
ADULT_YEARS, LARGEST_NODULE_MM = 18, 30.0

MANAGEMENT: Mapping[str, str] = {
    "benign": "No follow-up.",
    "juxtapleural": "No follow-up.",
    "small": "No follow-up.",
    "ct_at_1_year": "CT 1 year after the first one.",
    "ct_at_3_months": "CT 3 months after the first one.",
    "surveillance": "CT surveillance, beginning 3 months after the first CT.",
    "pet_ct": "PET/CT, where the nodule is large enough for the local scanner; then estimate the risk anew with the "
    "Herder model. Below 10 %: CT surveillance. 10 to 70 %: consider image-guided biopsy. "
    "Over 70 %: consider resection or other treatment.",
    "subsolid_ct_at_3_months": "Thin-section CT 3 months after the first one; a nodule that is gone needs no more.",
    "subsolid_surveillance": "Thin-section CT 1, 2 and 4 years after the first one.",
    "subsolid_options": "Discuss the choices with the patient: CT after 1, 2 and 4 years, image-guided biopsy, or "
    "resection or other treatment.",
    "subsolid_growth": "Growth of 2 mm, or a new or growing solid part, favours resection or other treatment; "
    "if pure ground glass is watched instead, CT within 6 months.",
    "discharge": "End of surveillance.",
    "ct_at_2_years": "CT 2 years after the first one: without volumetry, one year is not enough.",
    "ct_at_1_year_next": "Go on with CT 1 year after the first one.",
    "investigate": "Further work-up: biopsy, imaging or resection.",
    "biopsy_or_surveillance": "Consider biopsy or further CT surveillance, as the patient prefers.",
    "surveillance_goes_on": "Go on with CT surveillance.",
    "discharge_or_surveillance": "Consider discharge or further CT surveillance, as the patient prefers.",
}


# (CT of the surveillance, growth): the next step by volumetry, and by diameters.
NEXT_STEPS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("3_months", "stable"): ("ct_at_1_year_next", "ct_at_1_year_next"),
    ("3_months", "slow"): ("ct_at_1_year_next", "ct_at_1_year_next"),
    ("3_months", "intermediate"): ("ct_at_1_year_next", "ct_at_1_year_next"),
    ("3_months", "fast"): ("investigate", "investigate"),
    ("1_year", "stable"): ("discharge", "ct_at_2_years"),
    ("1_year", "slow"): ("discharge_or_surveillance", "ct_at_2_years"),
    ("1_year", "intermediate"): ("biopsy_or_surveillance", "biopsy_or_surveillance"),
    ("1_year", "fast"): ("investigate", "investigate"),
    ("2_years", "stable"): ("discharge", "discharge"),
    # Discharge of a growing nodule is for volumetry only.
    ("2_years", "slow"): ("discharge_or_surveillance", "surveillance_goes_on"),
    ("2_years", "intermediate"): ("biopsy_or_surveillance", "biopsy_or_surveillance"),
    ("2_years", "fast"): ("investigate", "investigate"),
}


def bts(case: Case) -> Recommendation:
    """What the British Thoracic Society advises.

    Without a prior CT: the first step. With one: the next step of the surveillance.

    Raises:
        InputError: outside of the guideline's scope, or an input is missing.
    """
    _require_scope(case)
    decision = _decide(case)
    return BTS.recommends(
        decision, MANAGEMENT[decision.key], [*near_warnings(_decide, case, decision.key), *_warnings(case)]
    )


def _require_scope(case: Case) -> None:
    if case.finding != "nodule":
        refuse(BTS, "cysts and airway findings", "Ask lung-rads for a screening CT.")
    if case.age is not None and case.age < ADULT_YEARS:
        refuse(BTS, "patients below 18 years", "Decide case by case.")


def _decide(case: Case) -> Decision:
    if case.benign_feature is not None:
        return Decision("benign", case.benign_feature.replace("_", " "))
    require(BTS, case, "nodule_type")
    solid = case.nodule_type == "solid"
    if solid and case.juxtapleural and not _is_spiculated(case):
        require(BTS, case, "size.long_mm")
        if required(case.size.long_mm) < JUXTAPLEURAL_BELOW_MM:
            return Decision("juxtapleural", "typical nodule at pleura or fissure, below 10 mm")
    if case.prior is None:
        return _solid_at_first(case) if solid else _subsolid_at_first(case)
    return _solid_follow_up(case, case.prior) if solid else _subsolid_follow_up(case, case.prior)


def _solid_at_first(case: Case) -> Decision:
    longest_mm, volume_mm3, size = _measured(case)
    if not FOLLOWED_FROM.reached_by(longest_mm, volume_mm3):
        return Decision("small", f"{size}: below 5 mm (80 mm3)")
    if RISK_FROM.reached_by(longest_mm, volume_mm3):
        return _by_risk(case, f"{size}: at least 8 mm (300 mm3)", "surveillance", "pet_ct")
    if THREE_MONTHS_FROM.reached_by(longest_mm, volume_mm3):
        return Decision("ct_at_3_months", f"{size}: at least 6 mm (80 mm3), below 8 mm (300 mm3)")
    return Decision("ct_at_1_year", f"{size}: 5 mm or more, below 6 mm (80 mm3)")


def _subsolid_at_first(case: Case) -> Decision:
    longest_mm, volume_mm3, size = _measured(case)
    if not FOLLOWED_FROM.reached_by(longest_mm, volume_mm3):
        return Decision("small", f"sub-solid, {size}: below 5 mm (80 mm3)")
    return Decision("subsolid_ct_at_3_months", f"sub-solid, {size}: at least 5 mm (80 mm3)")


def _solid_follow_up(case: Case, prior: Prior) -> Decision:
    require(BTS, case, "surveillance", "prior.days")
    percent, by_volume = _change_percent(case, prior)
    words = f"{'volume' if by_volume else 'cube of the longest diameter'} {percent:+.0f} % in {prior.days} days"
    if percent < GROWTH_PERCENT:
        speed, words = "stable", f"{words}: less than 25 % is no growth"
    else:
        doubling_days = doubling_time_days(percent, int(required(prior.days)))
        speed, words = _speed(doubling_days), f"{words}: volume doubles in {doubling_days:.0f} days"
    by_volumetry, by_diameter = NEXT_STEPS[str(case.surveillance), speed]
    return Decision(by_volumetry if by_volume else by_diameter, words)


def _speed(doubling_days: float) -> str:
    if doubling_days <= FAST_DAYS:
        return "fast"
    return "slow" if doubling_days > SLOW_DAYS else "intermediate"


def _subsolid_follow_up(case: Case, prior: Prior) -> Decision:
    require(BTS, case, "size.long_mm", "prior.days")
    if prior.size.long_mm is None:
        refuse(BTS, "a sub-solid nodule without its longest diameter before", "Give --prior-long.")
    increase_mm = round(required(case.size.long_mm) - prior.size.long_mm, 6)
    if increase_mm >= SUBSOLID_GROWTH_MM or _solid_part_grew(case, prior):
        return Decision("subsolid_growth", f"longest diameter {increase_mm:+g} mm, or a new or growing solid part")
    if required(prior.days) >= SUBSOLID_STABLE_DAYS:
        return Decision("discharge", "sub-solid and stable for 4 years")
    if _is_spiculated(case):
        return Decision("subsolid_options", "stable, with a suspicious look")
    return _by_risk(case, "sub-solid and stable", "subsolid_surveillance", "subsolid_options")


def _solid_part_grew(case: Case, prior: Prior) -> bool:
    if case.nodule_type != "part_solid":
        return False
    require(BTS, case, "solid_mm", "prior.solid_mm")
    before_mm, now_mm = required(prior.solid_mm), required(case.solid_mm)
    return before_mm == 0 or round(now_mm - before_mm, 6) >= SUBSOLID_GROWTH_MM


def _by_risk(case: Case, words: str, below: str, above: str) -> Decision:
    # BTS follows nodules at pleura and fissures that are spiculated or of 10 mm and more like any other.
    probability = cancer_probability(replace(case, juxtapleural=None), "2b", BTS)
    words = f"{words}, Brock model 2b {probability:.2%}"
    if probability < PET_FROM_PROBABILITY:
        return Decision(below, f"{words}: below 10 %", probability)
    return Decision(above, f"{words}: 10 % or more", probability)


def doubling_time_days(percent: float, days: int) -> float:
    """Volume doubling time of a volume that changed by `percent` (more than 0) in `days`."""
    return days * math.log(2) / math.log1p(percent / 100)


def _change_percent(case: Case, prior: Prior) -> tuple[float, bool]:
    """Change of the volume in percent, and whether it was measured by volumetry."""
    now, before = case.size, prior.size
    if now.volume_mm3 is not None and before.volume_mm3 is not None:
        return 100 * (now.volume_mm3 / before.volume_mm3 - 1), True
    if now.long_mm is None or before.long_mm is None:
        refuse(BTS, "a comparison of unlike sizes", "Give --volume and --prior-volume, or --long and --prior-long.")
    return 100 * ((now.long_mm / before.long_mm) ** 3 - 1), False


def _measured(case: Case) -> tuple[float | None, float | None, str]:
    require(BTS, case, *(() if case.size.volume_mm3 is not None else ("size.long_mm",)))
    longest_mm, volume_mm3 = case.size.long_mm, case.size.volume_mm3
    return longest_mm, volume_mm3, size_words(longest_mm, volume_mm3, "longest diameter")


def _is_spiculated(case: Case) -> bool:
    return bool(case.spiculation) or bool(case.suspicious_features)


def _warnings(case: Case) -> list[str]:
    found = []
    if case.known_cancer:
        found.append(
            "With a known cancer, think of metastasis; consider to follow larger nodules at pleura and fissures, too."
        )
    if case.size.long_mm is not None and case.size.long_mm > LARGEST_NODULE_MM:
        found.append(f"Over {LARGEST_NODULE_MM:g} mm this is a mass, not a nodule.")
    if (
        case.prior is not None
        and case.nodule_type == "solid"
        and None in (case.size.volume_mm3, case.prior.size.volume_mm3)
    ):
        found.append("Diameters measure growth badly: a change below 2 mm is within the error. Volumetry is preferred.")
    if case.smoking == "never" and case.age is not None and case.age < 50:
        found.append("The Brock model is less sure in patients below 50 who never smoked.")
    return found
