"""Lung-RADS v2022: the category of one nodule on a screening CT.

Where the table is ambiguous, the more suspicious interpretation is taken:

- A new part-solid nodule below 6 mm is category 3, but 4B where its solid part reaches 4 mm: both rows fit.
- Ground glass of 30 mm or more that grows by more than 1.5 mm has no row; it is category 3.
- A part-solid nodule whose ground glass alone grows has no row; its size decides.
- Growth is an increase of more than 1.5 mm "within 12 months". Over a longer time, any such increase counts.
- Growth never lowers the category of the prior CT.
- Growth is judged by diameter. The table's "> 2 mm3" beside it is smaller than the error of any volumetry.
- A juxtapleural nodule must stay below 10 mm, as in the table; the ACR's summary says "up to 10 mm".
- A known nodule is held to have had its present type; ground glass that has become part-solid has a prior solid
  component of 0 mm.
"""

from __future__ import annotations

from collections.abc import Sequence

from CLIPLungLib.guidelines.case import Case, Prior
from CLIPLungLib.guidelines.lung_rads_table import (
    CATEGORIES,
    COMPONENT_BASELINE,
    COMPONENT_NEW_OR_GROWING,
    GROUND_GLASS,
    GROWTH_DAYS,
    GROWTH_MM,
    JUXTAPLEURAL_LIMIT,
    LUNG_RADS,
    MANAGEMENT,
    OTHER_FINDINGS,
    SIX,
    SIX_MONTHS_DAYS,
    SMALL_NEW_COMPONENT,
    SOLID_BASELINE,
    SOLID_GROWING,
    SOLID_NEW,
    THREE_MONTHS_DAYS,
)
from CLIPLungLib.guidelines.recommendation import Decision, Recommendation
from CLIPLungLib.guidelines.requirements import refuse, require, required
from CLIPLungLib.guidelines.thresholds import Step, climb, near_warnings, rounded, size_words


def lung_rads(case: Case) -> Recommendation:
    """The Lung-RADS category of a nodule.

    Raises:
        InputError: not a screening CT, a finding without category, or an input is missing.
    """
    require(LUNG_RADS, case, "context")
    if case.context != "screening":
        refuse(LUNG_RADS, "nodules found by chance", "Ask fleischner or bts, or give --context screening.")
    decision = _decide(case)
    warnings = [*near_warnings(_decide, case, decision.key), *_warnings(case, decision.key)]
    return LUNG_RADS.recommends(decision, MANAGEMENT[decision.key], warnings)


def _decide(case: Case) -> Decision:
    decision = _without_suspicion(case)
    features = ", ".join(feature.replace("_", " ") for feature in case.suspicious_features)
    doubled = case.nodule_type == "ground_glass" and "doubled_ground_glass" in case.suspicious_features
    if features and (_rank(decision.key) >= _rank("3") or doubled):
        return Decision("4X", f"{decision.rule}; category {decision.key}, raised for {features}")
    return decision


def _without_suspicion(case: Case) -> Decision:
    if case.finding != "nodule":
        return _other_finding(case.finding)
    if case.benign_feature is not None:
        return Decision("1", f"benign feature: {case.benign_feature.replace('_', ' ')}")
    if case.proven_benign:
        return Decision("2", "proven benign by a work-up")
    require(LUNG_RADS, case, "nodule_type", "seen", *_size_questions(case))
    if case.seen == "known":
        return _known(case)
    return _first_seen(case)


def _size_questions(case: Case) -> tuple[str, ...]:
    size = () if case.size.volume_mm3 is not None and case.seen != "known" else ("size.mean_diameter_mm",)
    prior = ("prior.size.mean_diameter_mm", "prior.days", "prior.category") if case.seen == "known" else ()
    solid = ("solid_mm",) if case.nodule_type == "part_solid" else ()
    prior_solid = ("prior.solid_mm",) if solid and prior else ()
    return (*size, *solid, *prior, *prior_solid)


def _other_finding(finding: str) -> Decision:
    if finding not in OTHER_FINDINGS:
        refuse(
            LUNG_RADS,
            "a thin-walled cyst without a nodule",
            "It is held benign and gets no category; rate the other findings.",
        )
    category, words = OTHER_FINDINGS[finding]
    return Decision(category, words)


def _first_seen(case: Case) -> Decision:
    new = case.seen == "new"
    mean_mm, volume_mm3 = _measured(case)
    size = f"{'new' if new else 'baseline'} {_type_words(case)}, {size_words(mean_mm, volume_mm3)}"
    small_juxtapleural = case.juxtapleural and not JUXTAPLEURAL_LIMIT.reached_by(mean_mm, volume_mm3)
    if small_juxtapleural and case.nodule_type == "solid":
        return Decision("2", f"{size}: typical juxtapleural nodule below {JUXTAPLEURAL_LIMIT.mm:g} mm")
    if new and case.nodule_type == "solid":
        return _named(size, climb(SOLID_NEW, mean_mm, volume_mm3))
    if new and case.nodule_type == "part_solid":
        ladder = COMPONENT_NEW_OR_GROWING if SIX.reached_by(mean_mm, volume_mm3) else SMALL_NEW_COMPONENT
        return _component(size, ladder, case)
    return _named(size, _by_size(case))


def _by_size(case: Case) -> Decision:
    """The baseline rows: by size alone."""
    mean_mm, volume_mm3 = _measured(case)
    if case.nodule_type == "ground_glass":
        return climb(GROUND_GLASS, mean_mm, volume_mm3)
    if case.nodule_type == "solid":
        return climb(SOLID_BASELINE, mean_mm, volume_mm3)
    if not SIX.reached_by(mean_mm, volume_mm3):
        return Decision("2", "below 6 mm (113 mm3)")
    return _component("at least 6 mm (113 mm3)", COMPONENT_BASELINE, case)


def _component(words: str, ladder: Sequence[Step], case: Case) -> Decision:
    solid_mm = rounded(required(case.solid_mm), 1)
    return _named(f"{words}, solid component {solid_mm:g} mm", climb(ladder, solid_mm))


def _known(case: Case) -> Decision:
    before, prior = _prior_case(case), _prior(case)
    increase = growth_mm(case)
    size = f"known {_type_words(case)}, mean diameter {_mean_mm(case):g} mm, {increase:+g} mm in {prior.days} days"
    grown, kept = _grown(case, size), _stepped(case)
    if grown is not None and _rank(grown.key) >= _rank(str(prior.category)):
        return grown
    if grown is not None:
        return Decision(str(prior.category), f"{grown.rule}; growth does not lower the category before")
    now, then = _by_size(case), _by_size(before)
    if _rank(now.key) > _rank(then.key) and _rank(now.key) > _rank(kept.key):
        return Decision(now.key, f"{size}: crossed into a larger size, {now.rule}")
    return Decision(kept.key, f"{size}: {kept.rule}")


def _grown(case: Case, size: str) -> Decision | None:
    """The rows for growth; None where none of them fits."""
    grows = growth_mm(case) > GROWTH_MM
    if case.nodule_type == "ground_glass":
        now = _by_size(case)
        return _named(f"{size}, growing", now) if grows else None
    if case.nodule_type == "part_solid" and (_component_growth_mm(case) > GROWTH_MM or _prior(case).solid_mm == 0):
        return _component(f"{size}, new or growing solid component", COMPONENT_NEW_OR_GROWING, case)
    if case.nodule_type == "solid" and grows:
        return _named(f"{size}, growing", climb(SOLID_GROWING, *_measured(case)))
    if case.slow_growing:
        return Decision("4B", f"{size}: grows slowly over several CTs")
    return None


def _stepped(case: Case) -> Decision:
    """The category of a stable nodule, from its prior category."""
    prior = _prior(case)
    before, days = str(prior.category), int(required(prior.days))
    if case.nodule_type == "ground_glass" and _rank(before) <= _rank("3"):
        return Decision("2", "ground glass that is stable or grows slowly")
    if _rank(before) <= _rank("2"):
        return Decision("2", f"category {before} before, without growth")
    if before == "3" and days >= SIX_MONTHS_DAYS:
        return Decision("2", "category 3 before, without growth for 6 months")
    if before == "4A" and days >= THREE_MONTHS_DAYS:
        return Decision("3", "category 4A before, without growth for 3 months")
    return Decision(
        before, f"category {before} before; it stays until the follow-up or work-up of that category is done"
    )


def growth_mm(case: Case) -> float:
    """Increase of the mean diameter since the prior CT, of diameters rounded to 0.1 mm.

    Raises:
        InputError: a mean diameter is missing.
    """
    return round(_mean_mm(case) - _mean_mm(_prior_case(case)), 1)


def _component_growth_mm(case: Case) -> float:
    return round(rounded(required(case.solid_mm), 1) - rounded(required(_prior(case).solid_mm), 1), 1)


def _prior_case(case: Case) -> Case:
    """The nodule as it was."""
    prior = _prior(case)
    if case.nodule_type == "part_solid" and prior.solid_mm == 0:
        return Case(prior.size, "ground_glass")
    return Case(prior.size, case.nodule_type, solid_mm=prior.solid_mm if case.nodule_type == "part_solid" else None)


def _prior(case: Case) -> Prior:
    if case.prior is None:
        refuse(LUNG_RADS, "a known nodule without its prior size", "Give --prior-size, or say --seen new or baseline.")
    return case.prior


def _mean_mm(case: Case) -> float:
    require(LUNG_RADS, case, "size.mean_diameter_mm")
    return rounded(required(case.size.mean_diameter_mm), 1)


def _measured(case: Case) -> tuple[float | None, float | None]:
    """Mean diameter to 0.1 mm and volume to 1 mm3, as Lung-RADS asks for."""
    mean_mm, volume_mm3 = case.size.mean_diameter_mm, case.size.volume_mm3
    return (
        rounded(mean_mm, 1) if mean_mm is not None else None,
        rounded(volume_mm3, 0) if volume_mm3 is not None else None,
    )


def _named(words: str, decision: Decision) -> Decision:
    return Decision(decision.key, f"{words}: {decision.rule}")


def _type_words(case: Case) -> str:
    return str(case.nodule_type).replace("_", "-") + " nodule"


def _rank(category: str) -> int:
    return CATEGORIES.index(category)


def _warnings(case: Case, category: str) -> list[str]:
    found = []
    if case.spiculation and category in ("3", "4A", "4B"):
        found.append("Spiculation may make this category 4X: say so with --four-x spiculation.")
    if case.suspicious_features and category != "4X":
        found.append(
            "Category 4X is for nodules of category 3 or 4; the suspicious features did not change the category."
        )
    if case.seen == "known" and case.prior is not None and (case.prior.days or 0) > GROWTH_DAYS:
        found.append(
            "More than 12 months lie between the CTs; an increase of more than 1.5 mm counts as growth all the same."
        )
    if (
        case.nodule_type == "part_solid"
        and case.seen == "known"
        and category in ("1", "2", "3")
        and growth_mm(case) > GROWTH_MM
    ):
        found.append(
            "Only the ground glass grew, not the solid component: the table has no row for this; consider category 4X."
        )
    if case.known_cancer:
        found.append("After a diagnosis of lung cancer, CT is no screening and Lung-RADS no longer applies.")
    if case.immunosuppressed and case.seen == "new":
        found.append(
            "With immunosuppression, a new nodule may be infection: category 0 with CT in 1 to 3 months is an option."
        )
    found.append(
        "The category of an examination is that of its most suspicious nodule; modifier S is up to the reader."
    )
    return found
