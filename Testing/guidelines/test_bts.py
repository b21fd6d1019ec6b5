"""The charts of the British Thoracic Society 2015, with both sides of each limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.brock import cancer_probability
from CLIPLungLib.guidelines.bts import MANAGEMENT, bts, doubling_time_days
from CLIPLungLib.guidelines.case import Case, Prior, Size

PATIENT = Case(
    Size(long_mm=9.0),
    "solid",
    nodule_count=1,
    upper_lobe=False,
    spiculation=False,
    age=60.0,
    sex="male",
    family_history=False,
    emphysema=False,
)
# Below and above a Brock probability of 10 % at 9 mm.
LIKELY = replace(PATIENT, upper_lobe=True, spiculation=True, sex="female", family_history=True, age=70.0)


def mm(value: float) -> Size:
    return Size(long_mm=value)


@pytest.mark.parametrize(
    ("size", "key"),
    [
        (mm(4.9), "small"),
        (mm(5.0), "ct_at_1_year"),
        (mm(5.9), "ct_at_1_year"),
        (mm(6.0), "ct_at_3_months"),
        (mm(7.9), "ct_at_3_months"),
        (mm(8.0), "surveillance"),
        (Size(volume_mm3=79.0), "small"),
        (Size(volume_mm3=80.0), "ct_at_3_months"),
        (Size(volume_mm3=299.0), "ct_at_3_months"),
        (Size(long_mm=7.9, volume_mm3=300.0), "surveillance"),
        # Diameter and volume disagree: the larger band counts.
        (Size(long_mm=5.5, volume_mm3=79.0), "ct_at_1_year"),
        (Size(long_mm=5.5, volume_mm3=80.0), "ct_at_3_months"),
        (Size(long_mm=4.5, volume_mm3=80.0), "ct_at_3_months"),
        (Size(long_mm=8.0, volume_mm3=250.0), "surveillance"),
    ],
)
def test_first_step_for_solid_nodules(size, key):
    assert bts(replace(PATIENT, size=size)).key == key


@pytest.mark.parametrize("nodule_type", ["part_solid", "ground_glass"])
@pytest.mark.parametrize(
    ("size", "key"),
    [
        (mm(4.9), "small"),
        (mm(5.0), "subsolid_ct_at_3_months"),
        (mm(25.0), "subsolid_ct_at_3_months"),
        (Size(volume_mm3=79.0), "small"),
        (Size(volume_mm3=80.0), "subsolid_ct_at_3_months"),
    ],
)
def test_first_step_for_subsolid_nodules(nodule_type, size, key):
    assert bts(replace(PATIENT, nodule_type=nodule_type, size=size)).key == key


def test_brock_risk_of_10_percent_asks_for_pet():
    below, above = bts(PATIENT), bts(LIKELY)
    assert (below.key, above.key) == ("surveillance", "pet_ct")
    assert below.probability == pytest.approx(cancer_probability(PATIENT))
    assert above.probability == pytest.approx(cancer_probability(LIKELY))
    assert below.probability < 0.05 < 0.2 < above.probability
    assert "Herder" in above.management
    # The longest diameter at which this patient's risk crosses 10 %, to a micrometre.
    low, high = 8.0, 30.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if cancer_probability(replace(PATIENT, size=mm(middle))) < 0.1 else (low, middle)
    assert bts(replace(PATIENT, size=mm(low))).key == "surveillance"
    assert bts(replace(PATIENT, size=mm(high))).key == "pet_ct"


def test_brock_is_asked_for_only_where_it_decides():
    bare = Case(mm(6.0), "solid")
    assert bts(bare).key == "ct_at_3_months"
    with pytest.raises(InputError) as refused:
        bts(replace(bare, size=mm(8.0)))
    assert str(refused.value).startswith("BTS 2015 needs more: sex (--sex), upper lobe")
    with pytest.raises(InputError, match="--long"):
        bts(replace(PATIENT, size=Size(volume_mm3=300.0)))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"benign_feature": "fat", "size": mm(20.0)}, "benign"),
        ({"benign_feature": "laminated_calcification"}, "benign"),
        ({"juxtapleural": True, "size": mm(9.9)}, "juxtapleural"),
    ],
)
def test_benign_nodules_need_no_follow_up(changes, key):
    answer = bts(replace(PATIENT, **changes))
    assert answer.key == key
    assert answer.management == "No follow-up."


def test_juxtapleural_rule_ends_at_10_mm_and_is_not_for_spiculated_nodules():
    assert bts(replace(PATIENT, juxtapleural=True, spiculation=True, size=mm(7.0))).key == "ct_at_3_months"
    assert bts(replace(PATIENT, juxtapleural=True, size=mm(10.0))).key == "surveillance"
    assert bts(replace(LIKELY, juxtapleural=True, size=mm(9.0))).key == "pet_ct"


# 100 mm3 becomes 125 mm3: doubling time = days * ln 2 / ln 1.25 = 3.106 * days.
@pytest.mark.parametrize(
    ("point", "now_mm3", "days", "key"),
    [
        ("3_months", 124.9, 91, "ct_at_1_year_next"),
        ("1_year", 124.9, 365, "discharge"),
        ("2_years", 124.9, 730, "discharge"),
        ("1_year", 60.0, 365, "discharge"),
        ("3_months", 125.1, 91, "investigate"),
        ("3_months", 125.1, 135, "ct_at_1_year_next"),
        ("3_months", 125.1, 200, "ct_at_1_year_next"),
        ("1_year", 200.0, 400, "investigate"),
        ("1_year", 200.0, 401, "biopsy_or_surveillance"),
        ("1_year", 200.0, 600, "biopsy_or_surveillance"),
        ("1_year", 200.0, 601, "discharge_or_surveillance"),
        ("2_years", 200.0, 400, "investigate"),
        ("2_years", 200.0, 500, "biopsy_or_surveillance"),
        ("2_years", 200.0, 730, "discharge_or_surveillance"),
    ],
)
def test_surveillance_by_volume(point, now_mm3, days, key):
    prior = Prior(Size(volume_mm3=100.0), days)
    assert bts(Case(Size(volume_mm3=now_mm3), "solid", prior=prior, surveillance=point)).key == key


# A cube of the diameter that grows by 25 % is 7.72 % longer; one that doubles, 26 %.
@pytest.mark.parametrize(
    ("point", "now_mm", "days", "key"),
    [
        ("3_months", 10.77, 91, "ct_at_1_year_next"),
        ("3_months", 10.78, 91, "investigate"),
        ("1_year", 10.77, 365, "ct_at_2_years"),
        ("2_years", 10.77, 730, "discharge"),
        ("3_months", 12.599, 91, "investigate"),
        ("3_months", 12.599, 401, "ct_at_1_year_next"),
        ("3_months", 12.599, 601, "ct_at_1_year_next"),
        ("2_years", 12.599, 500, "biopsy_or_surveillance"),
        ("2_years", 12.599, 390, "investigate"),
        ("1_year", 12.599, 365, "investigate"),
        ("1_year", 12.599, 500, "biopsy_or_surveillance"),
        ("1_year", 12.599, 700, "ct_at_2_years"),
        ("2_years", 12.599, 730, "surveillance_goes_on"),
    ],
)
def test_surveillance_by_diameter_discharges_later(point, now_mm, days, key):
    answer = bts(Case(mm(now_mm), "solid", prior=Prior(mm(10.0), days), surveillance=point))
    assert answer.key == key
    assert "Volumetry is preferred" in " ".join(answer.warnings)


def test_doubling_time():
    assert doubling_time_days(100.0, 400) == pytest.approx(400.0)
    assert doubling_time_days(25.0, 91) == pytest.approx(282.68, abs=0.01)
    assert doubling_time_days(300.0, 400) == pytest.approx(200.0)


@pytest.mark.parametrize(
    ("now", "before", "changes", "key"),
    [
        ((12.0, None), (10.0, None), {"nodule_type": "ground_glass"}, "subsolid_growth"),
        ((11.9, None), (10.0, None), {"nodule_type": "ground_glass"}, "subsolid_surveillance"),
        ((10.0, 4.0), (10.0, 2.0), {"nodule_type": "part_solid"}, "subsolid_growth"),
        ((10.0, 3.9), (10.0, 2.0), {"nodule_type": "part_solid"}, "subsolid_surveillance"),
        ((10.0, 2.0), (10.0, 0.0), {"nodule_type": "part_solid"}, "subsolid_growth"),
        (
            (10.0, None),
            (10.0, None),
            {"nodule_type": "ground_glass", "suspicious_features": ("other",)},
            "subsolid_options",
        ),
        ((10.0, None), (10.0, None), {"nodule_type": "ground_glass", "days": 1459}, "subsolid_surveillance"),
        ((10.0, None), (10.0, None), {"nodule_type": "ground_glass", "days": 1460}, "discharge"),
    ],
)
def test_subsolid_follow_up(now, before, changes, key):
    prior = Prior(mm(before[0]), changes.pop("days", 91), before[1])
    assert bts(replace(PATIENT, size=mm(now[0]), solid_mm=now[1], prior=prior, **changes)).key == key


def test_stable_subsolid_nodule_of_high_risk_is_discussed():
    case = replace(LIKELY, spiculation=False, nodule_type="ground_glass", size=mm(14.0), prior=Prior(mm(14.0), 91))
    answer = bts(case)
    assert answer.key == "subsolid_options"
    assert answer.probability == pytest.approx(cancer_probability(case))
    assert answer.probability > 0.1
    assert "1, 2 and 4 years" in answer.management


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (Case(mm(7.0)), "--type"),
        (Case(Size(mean_mm=7.0), "solid"), "--long"),
        (Case(mm(7.0), "solid", prior=Prior(mm(6.0), 91)), "--surveillance"),
        (Case(mm(7.0), "solid", prior=Prior(mm(6.0)), surveillance="1_year"), "--prior-days"),
        (Case(mm(7.0), "solid", prior=Prior(Size(volume_mm3=99.0), 91), surveillance="1_year"), "--prior-volume"),
        (Case(mm(7.0), "ground_glass", prior=Prior(Size(volume_mm3=99.0), 91)), "--prior-long"),
        (Case(mm(7.0), "part_solid", prior=Prior(mm(7.0), 91)), "--prior-solid"),
        (Case(mm(7.0), "solid", age=17.0), "below 18 years"),
        (Case(mm(7.0), finding="cyst_multilocular"), "cysts"),
    ],
)
def test_refusals(case, said):
    with pytest.raises(InputError, match=said):
        bts(case)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"known_cancer": True}, "metastasis"),
        ({"size": mm(31.0)}, "mass"),
        ({"smoking": "never", "age": 49.0}, "never smoked"),
        ({"size": mm(8.4)}, "0.5 mm smaller, the answer is 'ct_at_3_months'"),
    ],
)
def test_warnings(changes, said):
    assert said in " ".join(bts(replace(PATIENT, **changes)).warnings)
    assert said not in " ".join(bts(PATIENT).warnings)


def test_every_answer_has_a_text():
    assert all(text.endswith(".") for text in MANAGEMENT.values())
    assert bts(PATIENT).doi == "10.1136/thoraxjnl-2015-207168"
