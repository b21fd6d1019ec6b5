"""The Brock (PanCan) models: probability that a nodule on a first CT is or becomes cancer within 2 to 4 years.

Coefficients, centring and scope are those of Table 2 and the text of McWilliams et al. 2013. Models 1a and 1b are
parsimonious, 2a and 2b full; 1b and 2b include spiculation. Size is the longest diameter: the study recorded the
"maximum transverse size".
The models were made for smokers of 50 to 75 years in screening.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.case import Case
from CLIPLungLib.guidelines.recommendation import Decision, Guideline, Recommendation
from CLIPLungLib.guidelines.requirements import refuse, require, required
from CLIPLungLib.guidelines.thresholds import NEAR_MM

BROCK = Guideline(
    "Brock (PanCan)", "2013", "McWilliams A, et al. N Engl J Med 2013;369:910-919", "10.1056/NEJMoa1214726"
)
CENTRE_AGE_YEARS, CENTRE_COUNT = 62, 4
# (4 mm / 10) ** -0.5: the transformed size is 0 at 4 mm.
CENTRE_SIZE = 1.58113883
STUDY_AGES_YEARS = (50, 75)
LARGEST_NODULE_MM = 30.0


@dataclass(frozen=True)
class Coefficients:
    """Log-odds of one model; 0 for inputs that it does not use.

    Attributes:
        constant: for a man of 62 with four nodules, this one solid, 4 mm, and in no upper lobe.
        size: for the transformed size.
        age, count: per year and per nodule.
    """

    constant: float
    female: float
    size: float
    upper_lobe: float
    spiculation: float = 0.0
    age: float = 0.0
    family_history: float = 0.0
    emphysema: float = 0.0
    ground_glass: float = 0.0
    part_solid: float = 0.0
    count: float = 0.0


MODELS: Mapping[str, Coefficients] = {
    "1a": Coefficients(constant=-6.5929, female=0.5806, size=-5.8616, upper_lobe=0.6439),
    "1b": Coefficients(constant=-6.6144, female=0.6467, size=-5.5537, upper_lobe=0.6009, spiculation=0.9309),
    "2a": Coefficients(
        constant=-6.8071,
        female=0.5635,
        size=-5.6693,
        upper_lobe=0.7116,
        age=0.0321,
        family_history=0.3013,
        emphysema=0.3462,
        ground_glass=-0.3005,
        part_solid=0.3395,
        count=-0.0803,
    ),
    "2b": Coefficients(
        constant=-6.7892,
        female=0.6011,
        size=-5.3854,
        upper_lobe=0.6581,
        spiculation=0.7729,
        age=0.0287,
        family_history=0.2961,
        emphysema=0.2953,
        ground_glass=-0.1276,
        part_solid=0.3770,
        count=-0.0824,
    ),
}
WORDS: Mapping[str, str] = {
    "1a": "parsimonious, without spiculation",
    "1b": "parsimonious, with spiculation",
    "2a": "full, without spiculation",
    "2b": "full, with spiculation",
}
MANAGEMENT = (
    "An estimate, no advice: BTS 2015 asks for PET/CT from 10 %; Lung-RADS points to the models for category 4B."
)
PARSIMONIOUS_QUESTIONS = ("size.long_mm", "sex", "upper_lobe")
FULL_QUESTIONS = ("age", "family_history", "emphysema", "nodule_type", "nodule_count")


def brock(case: Case, model: str = "2b") -> Recommendation:
    """Probability of cancer by one of the Brock models.

    Args:
        model: one of MODELS.

    Raises:
        InputError: no such model, outside of its scope, or an input is missing.
    """
    probability = cancer_probability(case, model)
    rule = f"model {model} ({WORDS[model]}), longest diameter {required(case.size.long_mm):g} mm"
    return BROCK.recommends(Decision(f"{probability:.1%}", rule, probability), MANAGEMENT, _warnings(case, model))


def cancer_probability(case: Case, model: str = "2b", guideline: Guideline = BROCK) -> float:
    """Probability (0..1) of cancer.

    Args:
        model: one of MODELS.
        guideline: who asks, for the messages.

    Raises:
        InputError: no such model, outside of its scope, or an input is missing.
    """
    if model not in MODELS:
        raise InputError(f"There is no Brock model '{model}'. Choose one of {', '.join(MODELS)}.")
    _require_scope(case)
    spiculation = ("spiculation",) if model.endswith("b") else ()
    full = FULL_QUESTIONS if model.startswith("2") else ()
    require(guideline, case, *PARSIMONIOUS_QUESTIONS, *full, *spiculation)
    return 1 / (1 + math.exp(-_log_odds(case, MODELS[model])))


def transformed_size(longest_mm: float) -> float:
    """The size as the models take it: 0 at 4 mm, falling as the nodule gets larger."""
    return float((longest_mm / 10) ** -0.5 - CENTRE_SIZE)


def _log_odds(case: Case, by: Coefficients) -> float:
    kinds = {"ground_glass": by.ground_glass, "part_solid": by.part_solid}
    age = required(case.age) - CENTRE_AGE_YEARS if by.age else 0.0
    count = required(case.nodule_count) - CENTRE_COUNT if by.count else 0.0
    return (
        by.constant
        + by.size * transformed_size(required(case.size.long_mm))
        + by.female * (case.sex == "female")
        + by.upper_lobe * bool(case.upper_lobe)
        + by.spiculation * bool(case.spiculation)
        + by.family_history * bool(case.family_history)
        + by.emphysema * bool(case.emphysema)
        + kinds.get(str(case.nodule_type), 0.0)
        + by.age * age
        + by.count * count
    )


def _require_scope(case: Case) -> None:
    if case.finding != "nodule":
        refuse(BROCK, "cysts and airway findings", "Ask lung-rads for a screening CT.")
    if case.benign_feature is not None:
        refuse(BROCK, "nodules with benign calcification or fat", "They were held benign in the study.")
    if case.juxtapleural:
        refuse(BROCK, "typical nodules at the fissures", "None of the 571 in the study was cancer.")
    if "lymphadenopathy" in case.suspicious_features:
        refuse(
            BROCK,
            "patients with enlarged hilar or mediastinal lymph nodes",
            "They need a work-up whatever the nodule's size.",
        )


def _warnings(case: Case, model: str) -> list[str]:
    found = []
    near = [case.size.grown_by(delta_mm) for delta_mm in (-NEAR_MM, NEAR_MM)]
    chances = [cancer_probability(replace(case, size=size, solid_mm=None), model) for size in near if size is not None]
    found.append(
        f"With the nodule {NEAR_MM} mm smaller or larger: {' or '.join(f'{chance:.1%}' for chance in chances)}."
    )
    youngest, oldest = STUDY_AGES_YEARS
    if case.age is not None and not youngest <= case.age <= oldest:
        found.append(f"The study's patients were {youngest} to {oldest} years old.")
    if case.smoking == "never":
        found.append("The study's patients were smokers or former smokers.")
    if case.context == "incidental":
        found.append("The models were made in screening; other patients may have other odds.")
    if case.size.long_mm is not None and case.size.long_mm > LARGEST_NODULE_MM:
        found.append(f"Over {LARGEST_NODULE_MM:g} mm this is a mass, not a nodule.")
    if case.seen in ("new", "known"):
        found.append("The models are for nodules on a first CT; growth is not weighed.")
    return found
