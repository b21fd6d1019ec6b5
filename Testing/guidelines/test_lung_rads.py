"""Every row of the table of Lung-RADS v2022, with both sides of each limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.case import FINDINGS, Case, Prior, Size
from CLIPLungLib.guidelines.lung_rads import growth_mm, lung_rads

HALF_YEAR, YEAR = 183, 365


def mm(value: float) -> Size:
    return Size(mean_mm=value)


def mm3(value: float) -> Size:
    return Size(volume_mm3=value)


def first(nodule_type: str, size: Size, seen: str = "baseline", solid_mm: float | None = None, **changes) -> Case:
    return Case(size, nodule_type, solid_mm=solid_mm, context="screening", seen=seen, **changes)


def known(
    nodule_type: str, now: float, then: float, days: int = YEAR, category: str = "2", solid=None, **changes
) -> Case:
    """A known nodule; `solid` is (now, then) of its solid component in mm."""
    solid_now, solid_then = solid or (None, None)
    prior = Prior(mm(then), days, solid_then, category)
    return Case(mm(now), nodule_type, solid_mm=solid_now, context="screening", seen="known", prior=prior, **changes)


def category(case: Case) -> str:
    return lung_rads(case).key


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (mm(5.9), "2"),
        (mm(5.94), "2"),
        (mm(5.95), "3"),
        (mm(6.0), "3"),
        (mm(7.9), "3"),
        (mm(8.0), "4A"),
        (mm(14.9), "4A"),
        (mm(15.0), "4B"),
        (mm(40.0), "4B"),
        (mm3(112), "2"),
        (mm3(113), "3"),
        (mm3(267), "3"),
        (mm3(268), "4A"),
        (mm3(1766), "4A"),
        (mm3(1767), "4B"),
        (Size(long_mm=6.4, short_mm=5.4), "2"),
        (Size(long_mm=6.5, short_mm=5.4), "3"),
    ],
)
def test_solid_baseline(size, expected):
    assert category(first("solid", size)) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (mm(3.9), "2"),
        (mm(4.0), "3"),
        (mm(5.9), "3"),
        (mm(6.0), "4A"),
        (mm(7.9), "4A"),
        (mm(8.0), "4B"),
        (mm(20.0), "4B"),
        (mm3(33), "2"),
        (mm3(34), "3"),
        (mm3(112), "3"),
        (mm3(113), "4A"),
        (mm3(267), "4A"),
        (mm3(268), "4B"),
    ],
)
def test_solid_new(size, expected):
    assert category(first("solid", size, "new")) == expected


@pytest.mark.parametrize(
    ("now", "then", "expected"),
    [(5.0, 3.4, "4A"), (7.9, 6.3, "4A"), (8.0, 6.4, "4B"), (12.0, 8.0, "4B")],
)
def test_solid_growing(now, then, expected):
    assert category(known("solid", now, then, category="3")) == expected


@pytest.mark.parametrize(
    ("now", "then", "grows"),
    [(6.5, 5.0, False), (6.6, 5.0, True), (6.54, 5.0, False), (6.55, 5.0, True), (9.5, 8.0, False), (9.6, 8.0, True)],
)
def test_growth_is_more_than_1_5_mm_of_rounded_diameters(now, then, grows):
    case = known("solid", now, then, category="3")
    assert (growth_mm(case) > 1.5) == grows
    assert ("growing" in lung_rads(case).rule) == grows


@pytest.mark.parametrize(
    ("size", "solid_mm", "expected"),
    [
        (mm(5.9), 3.0, "2"),
        (mm(5.9), 5.9, "2"),
        (mm(6.0), 5.9, "3"),
        (mm(25.0), 5.9, "3"),
        (mm(6.0), 6.0, "4A"),
        (mm(10.0), 7.9, "4A"),
        (mm(10.0), 8.0, "4B"),
        (mm3(112), 3.0, "2"),
        (mm3(113), 3.0, "3"),
    ],
)
def test_part_solid_baseline(size, solid_mm, expected):
    assert category(first("part_solid", size, solid_mm=solid_mm)) == expected


@pytest.mark.parametrize(
    ("size", "solid_mm", "expected"),
    [
        (mm(5.9), 3.9, "3"),
        (mm(6.0), 3.9, "4A"),
        (mm(20.0), 3.9, "4A"),
        (mm(6.0), 4.0, "4B"),
        (mm(20.0), 9.0, "4B"),
        # Both rows fit; the more suspicious one is taken.
        (mm(5.9), 4.0, "4B"),
    ],
)
def test_part_solid_new(size, solid_mm, expected):
    assert category(first("part_solid", size, "new", solid_mm)) == expected


@pytest.mark.parametrize(
    ("solid_now", "solid_then", "expected"),
    [
        (3.9, 0.0, "4A"),
        (4.0, 0.0, "4B"),
        (3.9, 2.3, "4A"),
        (4.0, 2.4, "4B"),
        (7.0, 5.4, "4B"),
        # 1.5 mm is no growth: category 3 of a year ago steps down.
        (3.9, 2.4, "2"),
        (5.5, 4.0, "2"),
    ],
)
def test_part_solid_with_new_or_growing_component(solid_now, solid_then, expected):
    assert category(known("part_solid", 10.0, 9.5, category="3", solid=(solid_now, solid_then))) == expected


@pytest.mark.parametrize("seen", ["baseline", "new"])
@pytest.mark.parametrize(
    ("size", "expected"), [(mm(29.9), "2"), (mm(30.0), "3"), (mm3(14136), "2"), (mm3(14137), "3"), (mm(3.0), "2")]
)
def test_ground_glass_baseline_and_new(size, expected, seen):
    assert category(first("ground_glass", size, seen)) == expected


@pytest.mark.parametrize(
    ("now", "then", "before", "expected"),
    [
        (29.9, 20.0, "2", "2"),
        (31.0, 31.0, "3", "2"),
        (32.5, 31.0, "3", "2"),
        # No row of the table; the more suspicious reading.
        (33.0, 31.0, "3", "3"),
        (30.2, 29.5, "2", "3"),
    ],
)
def test_ground_glass_known(now, then, before, expected):
    assert category(known("ground_glass", now, then, category=before)) == expected


@pytest.mark.parametrize("nodule_type", ["solid", "part_solid"])
def test_slow_growth_is_4b_but_not_for_ground_glass(nodule_type):
    solid = (3.0, 3.0) if nodule_type == "part_solid" else None
    assert category(known(nodule_type, 7.0, 6.2, category="3", solid=solid, slow_growing=True)) == "4B"
    assert category(known("ground_glass", 31.0, 30.2, category="2", slow_growing=True)) == "2"


@pytest.mark.parametrize(
    ("before", "days", "expected"),
    [
        ("1", YEAR, "2"),
        ("2", 30, "2"),
        ("3", 168, "3"),
        ("3", 169, "2"),
        ("3", HALF_YEAR, "2"),
        ("4A", 76, "4A"),
        ("4A", 77, "3"),
        ("4A", HALF_YEAR, "3"),
        ("4B", YEAR, "4B"),
        ("4X", YEAR, "4X"),
    ],
)
@pytest.mark.parametrize(("now", "then"), [(7.0, 7.0), (5.0, 7.0), (7.5, 7.0)])
def test_stepped_management_without_growth(before, days, expected, now, then):
    assert category(known("solid", now, then, days, before)) == expected


@pytest.mark.parametrize(
    ("now", "then", "before", "expected"),
    [
        (6.0, 5.5, "2", "3"),
        (8.0, 7.0, "3", "4A"),
        (15.0, 14.5, "4A", "4B"),
        (7.9, 7.0, "3", "2"),
        (5.9, 5.0, "2", "2"),
    ],
)
def test_crossing_a_size_counts_without_growth(now, then, before, expected):
    assert category(known("solid", now, then, HALF_YEAR, before)) == expected


@pytest.mark.parametrize("before", ["1", "2", "3", "4A", "4B", "4X"])
@pytest.mark.parametrize("nodule_type", ["solid", "part_solid", "ground_glass"])
def test_growth_never_lowers_a_category(nodule_type, before):
    order = ("1", "2", "3", "4A", "4B", "4X")
    solid = (3.9, 2.0) if nodule_type == "part_solid" else None
    after = category(known(nodule_type, 7.9, 6.0, HALF_YEAR, before, solid))
    assert order.index(after) >= order.index(before)


def test_part_solid_whose_ground_glass_alone_grows_goes_by_size_and_is_told():
    answer = lung_rads(known("part_solid", 12.0, 9.0, category="3", solid=(3.0, 3.0)))
    assert answer.key == "2"
    assert "no row for this" in " ".join(answer.warnings)


@pytest.mark.parametrize(
    ("size", "changes", "expected"),
    [
        (mm(9.9), {}, "2"),
        (mm(10.0), {}, "4A"),
        (mm3(523), {}, "2"),
        (mm3(524), {}, "4A"),
        (mm(9.9), {"seen": "new"}, "2"),
        (mm(9.9), {"juxtapleural": False}, "4A"),
        (mm(9.9), {"juxtapleural": None}, "4A"),
    ],
)
def test_juxtapleural(size, changes, expected):
    assert category(first("solid", size, **{"juxtapleural": True, **changes})) == expected


def test_juxtapleural_rule_is_for_solid_nodules_that_do_not_grow():
    assert category(first("part_solid", mm(9.0), solid_mm=7.0, juxtapleural=True)) == "4A"
    assert category(known("solid", 8.0, 6.0, juxtapleural=True)) == "4B"


@pytest.mark.parametrize(
    "feature",
    ["complete_calcification", "central_calcification", "popcorn_calcification", "laminated_calcification", "fat"],
)
def test_benign_features_are_category_1_at_any_size(feature):
    assert category(Case(mm(25.0), context="screening", benign_feature=feature)) == "1"


def test_proven_benign_is_category_2():
    assert category(known("solid", 16.0, 16.0, category="4B", proven_benign=True)) == "2"


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        ("prior_awaited", "0"),
        ("not_evaluable", "0"),
        ("inflammation_suspected", "0"),
        ("airway_subsegmental", "2"),
        ("airway_segmental", "4A"),
        ("airway_segmental_persistent", "4B"),
        ("cyst_thick_walled", "4A"),
        ("cyst_thick_walled_growing_lumen", "3"),
        ("cyst_thick_walled_growing_wall", "4B"),
        ("cyst_multilocular", "4A"),
        ("cyst_becomes_multilocular", "4A"),
        ("cyst_multilocular_growing", "4B"),
        ("cyst_multilocular_denser", "4B"),
    ],
)
def test_other_findings(finding, expected):
    assert category(Case(Size(), context="screening", finding=finding)) == expected


def test_thin_walled_cyst_has_no_category():
    assert "cyst_thin_walled" in FINDINGS
    with pytest.raises(InputError, match="not for a thin-walled cyst"):
        lung_rads(Case(Size(), context="screening", finding="cyst_thin_walled"))


@pytest.mark.parametrize(
    ("size_mm", "features", "expected"),
    [
        (7.0, ("spiculation",), "4X"),
        (9.0, ("lymphadenopathy", "other"), "4X"),
        (20.0, ("metastasis",), "4X"),
        (5.0, ("spiculation",), "2"),
        (9.0, (), "4A"),
    ],
)
def test_4x_is_for_categories_3_and_4_and_only_when_the_reader_says_so(size_mm, features, expected):
    answer = lung_rads(first("solid", mm(size_mm), suspicious_features=features, spiculation=True))
    assert answer.key == expected
    assert ("--four-x spiculation" in " ".join(answer.warnings)) == (expected == "4A")
    assert ("did not change" in " ".join(answer.warnings)) == (expected == "2")


def test_ground_glass_that_doubled_is_4x_though_its_size_is_category_2():
    assert category(known("ground_glass", 16.0, 12.0, suspicious_features=("doubled_ground_glass",))) == "4X"
    assert category(known("solid", 5.0, 5.0, suspicious_features=("doubled_ground_glass",))) == "2"


@pytest.mark.parametrize(
    ("expected", "case", "named"),
    [
        ("0", Case(Size(), context="screening", finding="inflammation_suspected"), "1 to 3 months"),
        ("1", Case(Size(), context="screening", benign_feature="fat"), "12 months"),
        ("2", first("solid", mm(5)), "12 months"),
        ("3", first("solid", mm(7)), "6 months"),
        ("4A", first("solid", mm(9)), "3 months"),
        ("4B", first("solid", mm(16)), "tissue sampling"),
        ("4X", first("solid", mm(16), suspicious_features=("other",)), "work-up"),
    ],
)
def test_management(expected, case, named):
    answer = lung_rads(case)
    assert answer.key == expected
    assert named in answer.management
    assert answer.doi == "10.1016/j.chest.2023.10.028"


def test_rule_names_thresholds_and_inputs():
    said = lung_rads(first("solid", Size(long_mm=8.6, short_mm=7.8))).rule
    assert said == "baseline solid nodule, mean diameter 8.2 mm: at least 8 mm (268 mm3) and below 15 mm (1767 mm3)"
    said = lung_rads(known("solid", 8.2, 6.0, 180, "3")).rule
    assert "8.2 mm, +2.2 mm in 180 days, growing" in said


@pytest.mark.parametrize(
    ("case", "options"),
    [
        (Case(mm(7)), {"--context"}),
        (Case(Size(), context="screening"), {"--type", "--seen", "--size", "--long", "--short"}),
        (first("part_solid", mm(9)), {"--solid"}),
        (
            Case(mm(7), "solid", context="screening", seen="known"),
            {"--prior-size", "--prior-long", "--prior-short", "--prior-days", "--prior-category"},
        ),
        (known("part_solid", 9.0, 9.0, solid=(3.0, None)), {"--prior-solid"}),
        (replace(known("solid", 9.0, 9.0), size=mm3(300)), {"--size", "--long", "--short"}),
    ],
)
def test_missing_inputs_are_all_named(case, options):
    with pytest.raises(InputError) as refused:
        lung_rads(case)
    assert {word.strip("().,") for word in str(refused.value).split() if "--" in word} == options


def test_chance_findings_are_out_of_scope():
    with pytest.raises(InputError, match="not for nodules found by chance"):
        lung_rads(replace(first("solid", mm(7)), context="incidental"))


def test_larger_measurement_counts_and_the_other_is_told():
    answer = lung_rads(first("solid", Size(mean_mm=7.0, volume_mm3=300.0)))
    assert answer.key == "4A"
    assert "by diameter alone, the answer is '3'" in " ".join(answer.warnings)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (known("solid", 8.0, 6.0, 500, "3"), "More than 12 months"),
        (first("solid", mm(7), known_cancer=True), "no screening"),
        (first("solid", mm(7), "new", immunosuppressed=True), "infection"),
    ],
)
def test_warnings(case, said):
    assert said in " ".join(lung_rads(case).warnings)
    assert said not in " ".join(lung_rads(first("solid", mm(7))).warnings)


@pytest.mark.parametrize("seen", ["baseline", "new"])
@pytest.mark.parametrize("nodule_type", ["solid", "part_solid", "ground_glass"])
def test_a_larger_nodule_is_never_less_suspicious(nodule_type, seen):
    order = ("1", "2", "3", "4A", "4B")
    solid = 0.8 if nodule_type == "part_solid" else None
    ranks = [
        order.index(category(first(nodule_type, mm(size / 10), seen, solid * size / 10 if solid else None)))
        for size in range(20, 350, 3)
    ]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) >= 2
