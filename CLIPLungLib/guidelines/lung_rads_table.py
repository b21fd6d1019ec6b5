"""The table of ACR Lung-RADS v2022 (November 2022) as data: size ladders, other findings, management in our words."""

from __future__ import annotations

from collections.abc import Mapping

from CLIPLungLib.guidelines.recommendation import Guideline
from CLIPLungLib.guidelines.thresholds import Step, Threshold

LUNG_RADS = Guideline(
    "Lung-RADS",
    "v2022",
    "American College of Radiology, Lung-RADS v2022 (November 2022); Christensen J, et al. Chest 2024;165:738-753",
    "10.1016/j.chest.2023.10.028",
)
# From harmless to suspicious.
CATEGORIES = ("0", "1", "2", "3", "4A", "4B", "4X")
GROWTH_MM, GROWTH_DAYS = 1.5, 366
# The table says "6-month" and "3-month" follow-up; one that comes up to two weeks early counts.
SIX_MONTHS_DAYS, THREE_MONTHS_DAYS = 183 - 14, 91 - 14

FOUR, SIX, EIGHT = Threshold(4.0, 34.0), Threshold(6.0, 113.0), Threshold(8.0, 268.0)
JUXTAPLEURAL_LIMIT = Threshold(10.0, 524.0)
FIFTEEN, THIRTY = Threshold(15.0, 1767.0), Threshold(30.0, 14137.0)

SOLID_BASELINE = (Step("2", SIX), Step("3", EIGHT), Step("4A", FIFTEEN), Step("4B", None))
SOLID_NEW = (Step("2", FOUR), Step("3", SIX), Step("4A", EIGHT), Step("4B", None))
SOLID_GROWING = (Step("4A", EIGHT), Step("4B", None))
# Part-solid nodules of 6 mm and more, by the mean diameter of the solid component.
COMPONENT_BASELINE = (Step("3", SIX), Step("4A", EIGHT), Step("4B", None))
COMPONENT_NEW_OR_GROWING = (Step("4A", FOUR), Step("4B", None))
# New part-solid nodules below 6 mm.
SMALL_NEW_COMPONENT = (Step("3", FOUR), Step("4B", None))
GROUND_GLASS = (Step("2", THIRTY), Step("3", None))

# Category of findings that are no nodule, and the row in words. A thin-walled cyst has no category.
OTHER_FINDINGS: Mapping[str, tuple[str, str]] = {
    "prior_awaited": ("0", "an earlier chest CT is still to be compared with"),
    "not_evaluable": ("0", "a part of the lungs cannot be judged"),
    "inflammation_suspected": ("0", "the findings suggest infection or inflammation"),
    "airway_subsegmental": ("2", "a subsegmental airway nodule"),
    "airway_segmental": ("4A", "an airway nodule, segmental or more central, seen for the first time"),
    "airway_segmental_persistent": ("4B", "an airway nodule, segmental or more central, that stayed or grew"),
    "cyst_thick_walled": ("4A", "a cyst with a wall of 2 mm or more"),
    "cyst_thick_walled_growing_lumen": ("3", "a thick-walled cyst whose cystic part grows"),
    "cyst_thick_walled_growing_wall": ("4B", "a thick-walled cyst whose wall or nodularity grows"),
    "cyst_multilocular": ("4A", "a multilocular cyst on the first CT"),
    "cyst_becomes_multilocular": ("4A", "a cyst that has become multilocular"),
    "cyst_multilocular_growing": ("4B", "a multilocular cyst that grows"),
    "cyst_multilocular_denser": ("4B", "a multilocular cyst with more chambers or a new or larger opacity"),
}
_WITH_PET = "PET/CT is an option where the nodule or its solid part reaches 8 mm."
MANAGEMENT: Mapping[str, str] = {
    "0": "No final category yet: compare with the earlier CT, complete the examination, or repeat low-dose CT after "
    "1 to 3 months where infection is likely.",
    "1": "Stay in yearly screening: next low-dose CT in 12 months.",
    "2": "Stay in yearly screening: next low-dose CT in 12 months.",
    "3": "Low-dose CT in 6 months.",
    "4A": f"Low-dose CT in 3 months. {_WITH_PET}",
    "4B": "Refer for clinical work-up: diagnostic chest CT, tissue sampling, or both, by the probability of cancer and "
    f"the patient's wishes. {_WITH_PET}",
    "4X": "As 4B: refer for clinical work-up, by the features that raised the suspicion.",
}
