"""The Brock models against values worked out apart from the program, and what must be true of any nodule."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.brock import CENTRE_SIZE, MODELS, brock, cancer_probability, transformed_size
from CLIPLungLib.guidelines.case import Case, Size

REFERENCE = Case(
    Size(long_mm=4.0),
    "solid",
    nodule_count=4,
    upper_lobe=False,
    spiculation=False,
    age=62.0,
    sex="male",
    family_history=False,
    emphysema=False,
)
WOMAN = replace(
    REFERENCE,
    size=Size(long_mm=10.0),
    nodule_type="part_solid",
    nodule_count=3,
    upper_lobe=True,
    spiculation=True,
    age=70.0,
    sex="female",
    family_history=True,
    emphysema=True,
)


# By `bc -l`, from the coefficients as printed in Table 2 of the paper.
@pytest.mark.parametrize(
    ("model", "expected"),
    [("1a", 0.001368186520), ("1b", 0.001339123449), ("2a", 0.001104673697), ("2b", 0.001124602953)],
)
def test_reference_patient_has_the_constant_alone(model, expected):
    assert cancer_probability(REFERENCE, model) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    ("model", "case", "expected"),
    [
        ("2b", WOMAN, 0.414101623399),
        ("2b", replace(REFERENCE, size=Size(long_mm=8.0), nodule_count=1), 0.017157808593),
        ("2a", replace(REFERENCE, size=Size(long_mm=8.0), nodule_count=1), 0.019063733604),
        (
            "2a",
            replace(
                REFERENCE,
                size=Size(long_mm=12.0),
                nodule_type="ground_glass",
                nodule_count=2,
                upper_lobe=True,
                age=55.0,
                sex="female",
                emphysema=True,
            ),
            0.146566448026,
        ),
        (
            "2b",
            replace(
                REFERENCE,
                size=Size(long_mm=20.0),
                nodule_type="ground_glass",
                nodule_count=6,
                upper_lobe=True,
                age=75.0,
                family_history=True,
            ),
            0.259746256843,
        ),
        ("1a", replace(REFERENCE, size=Size(long_mm=10.0), sex="female", upper_lobe=True), 0.123251128363),
        (
            "1b",
            replace(REFERENCE, size=Size(long_mm=10.0), sex="female", upper_lobe=True, spiculation=True),
            0.229979089778,
        ),
        ("1b", replace(REFERENCE, size=Size(long_mm=20.0)), 0.146754247146),
    ],
)
def test_patients_worked_out_by_hand(model, case, expected):
    assert cancer_probability(case, model) == pytest.approx(expected, abs=1e-10)


def test_model_2b_is_that_of_another_publication_without_centring():
    """Table 2 of doi:10.1007/s00330-019-06168-x prints model 2b with one offset of 0.2761."""
    x = (
        0.2761
        + 0.0287 * 70
        + 0.6011
        + 0.2961
        + 0.2953
        + 0.6581
        - 5.3854 * (10 / 10) ** -0.5
        + 0.7729
        + 0.377
        - 0.0824 * 3
    )
    assert cancer_probability(WOMAN, "2b") == pytest.approx(1 / (1 + math.exp(-x)), abs=2e-5)


# The odds ratios that Table 2 prints beside the coefficients, to two places.
@pytest.mark.parametrize(
    ("model", "field", "odds_ratio"),
    [
        ("1a", "female", 1.79),
        ("1a", "upper_lobe", 1.90),
        ("1b", "female", 1.91),
        ("1b", "upper_lobe", 1.82),
        ("1b", "spiculation", 2.54),
        ("2a", "age", 1.03),
        ("2a", "female", 1.76),
        ("2a", "family_history", 1.35),
        ("2a", "emphysema", 1.41),
        ("2a", "ground_glass", 0.74),
        ("2a", "part_solid", 1.40),
        ("2a", "upper_lobe", 2.04),
        ("2a", "count", 0.92),
        ("2b", "age", 1.03),
        ("2b", "female", 1.82),
        ("2b", "family_history", 1.34),
        ("2b", "emphysema", 1.34),
        ("2b", "ground_glass", 0.88),
        ("2b", "part_solid", 1.46),
        ("2b", "upper_lobe", 1.93),
        ("2b", "count", 0.92),
        ("2b", "spiculation", 2.17),
    ],
)
def test_coefficients_are_the_logarithms_of_the_printed_odds_ratios(model, field, odds_ratio):
    assert math.exp(getattr(MODELS[model], field)) == pytest.approx(odds_ratio, abs=0.0051)


def test_size_is_centred_on_4_mm():
    assert transformed_size(4.0) == pytest.approx(0.0, abs=1e-8)
    assert pytest.approx(0.4**-0.5, abs=1e-8) == CENTRE_SIZE


@pytest.mark.parametrize("model", MODELS)
def test_a_larger_nodule_is_never_less_likely_cancer(model):
    chances = [cancer_probability(replace(WOMAN, size=Size(long_mm=mm)), model) for mm in range(1, 31)]
    assert chances == sorted(chances)
    assert len(set(chances)) == len(chances)


@pytest.mark.parametrize("model", ["2a", "2b"])
def test_chance_rises_with_age_and_falls_with_the_number_of_nodules(model):
    ages = [cancer_probability(replace(REFERENCE, age=float(age)), model) for age in range(50, 76)]
    counts = [cancer_probability(replace(REFERENCE, nodule_count=count), model) for count in range(1, 20)]
    assert ages == sorted(ages)
    assert counts == sorted(counts, reverse=True)
    kinds = [
        cancer_probability(replace(REFERENCE, nodule_type=t), model) for t in ("ground_glass", "solid", "part_solid")
    ]
    assert kinds == sorted(set(kinds))


@pytest.mark.parametrize("model", MODELS)
def test_every_finding_of_a_model_raises_the_chance_and_no_other_changes_it(model):
    known = {"upper_lobe", "sex"} | ({"spiculation"} if model.endswith("b") else set())
    known |= {"family_history", "emphysema"} if model.startswith("2") else set()
    base = cancer_probability(REFERENCE, model)
    for field, value in {
        "upper_lobe": True,
        "sex": "female",
        "spiculation": True,
        "family_history": True,
        "emphysema": True,
    }.items():
        chance = cancer_probability(replace(REFERENCE, **{field: value}), model)
        assert (chance > base) == (field in known), field
        assert chance >= base


@pytest.mark.parametrize("model", ["1a", "1b"])
@pytest.mark.parametrize(
    "changes", [{"nodule_type": "ground_glass"}, {"nodule_type": "part_solid"}, {"age": 75.0}, {"nodule_count": 1}]
)
def test_parsimonious_models_know_neither_type_nor_age_nor_number(model, changes):
    assert cancer_probability(replace(REFERENCE, **changes), model) == cancer_probability(REFERENCE, model)


@pytest.mark.parametrize(
    ("model", "needed"),
    [
        ("1a", {"--long", "--sex", "--upper-lobe"}),
        ("1b", {"--long", "--sex", "--upper-lobe", "--spiculation"}),
        ("2a", {"--long", "--sex", "--upper-lobe", "--age", "--family-history", "--emphysema", "--type", "--nodules"}),
    ],
)
def test_missing_inputs_are_all_named(model, needed):
    with pytest.raises(InputError) as refused:
        brock(Case(Size(mean_mm=8.0)), model)
    said = str(refused.value)
    assert {word.strip("().,") for word in said.split() if "--" in word} == needed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"benign_feature": "fat"}, "benign calcification or fat"),
        ({"juxtapleural": True}, "fissures"),
        ({"suspicious_features": ("lymphadenopathy",)}, "lymph nodes"),
        ({"finding": "cyst_multilocular"}, "cysts"),
    ],
)
def test_out_of_scope(changes, said):
    with pytest.raises(InputError, match=said):
        brock(replace(REFERENCE, **changes))


def test_there_are_four_models():
    with pytest.raises(InputError, match="1a, 1b, 2a, 2b"):
        brock(REFERENCE, "3")


def test_answer_names_model_probability_and_what_lies_near():
    answer = brock(WOMAN)
    assert (answer.key, answer.probability) == ("41.4%", pytest.approx(0.414101623399))
    assert "model 2b (full, with spiculation)" in answer.rule
    below, above = (cancer_probability(replace(WOMAN, size=Size(long_mm=mm))) for mm in (9.5, 10.5))
    assert answer.warnings[0] == f"With the nodule 0.5 mm smaller or larger: {below:.1%} or {above:.1%}."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"age": 49.0}, "50 to 75 years"),
        ({"age": 76.0}, "50 to 75 years"),
        ({"smoking": "never"}, "smokers"),
        ({"context": "incidental"}, "screening"),
        ({"size": Size(long_mm=31.0)}, "mass"),
        ({"seen": "known"}, "first CT"),
    ],
)
def test_patients_unlike_those_of_the_study_are_told(changes, said):
    assert any(said in text for text in brock(replace(REFERENCE, **changes)).warnings)
    assert not any(said in text for text in brock(REFERENCE).warnings)
