"""What a reader may tell a guideline, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from helpers.value_objects import require_values

from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.case import CHOICES, Case, Prior, Size
from CLIPLungLib.guidelines.registry import ask_all
from CLIPLungLib.guidelines.units import unit_warnings


def test_value_objects_cannot_be_changed():
    require_values("guidelines", least=8)


def test_mean_diameter_is_that_of_the_axes_or_as_given():
    assert Size(long_mm=9.0, short_mm=6.0).mean_diameter_mm == 7.5
    assert Size(mean_mm=8.2).mean_diameter_mm == 8.2
    assert Size(mean_mm=8.2, long_mm=9.0).mean_diameter_mm == 8.2
    assert Size(long_mm=9.0).mean_diameter_mm is None


@pytest.mark.parametrize("value", [0.0, -3.0, math.nan, math.inf, 300.1])
@pytest.mark.parametrize("field", ["mean_mm", "long_mm", "short_mm"])
def test_sizes_that_cannot_be_are_refused(field, value):
    with pytest.raises(InputError, match="cannot be"):
        Size(**{field: value})


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_volumes_that_cannot_be_are_refused(value):
    with pytest.raises(InputError, match="volume cannot be"):
        Size(volume_mm3=value)


def test_axes_that_contradict_each_other_are_refused():
    with pytest.raises(InputError, match="longer than the long axis"):
        Size(long_mm=6.0, short_mm=6.1)
    with pytest.raises(InputError, match="not that of the axes"):
        Size(mean_mm=8.0, long_mm=9.0, short_mm=6.0)
    with pytest.raises(InputError, match="larger than the long axis"):
        Size(mean_mm=9.2, long_mm=9.0)
    assert Size(mean_mm=7.6, long_mm=9.0, short_mm=6.0).mean_diameter_mm == 7.5

    with pytest.raises(InputError, match="longer than the mean diameter"):
        Size(mean_mm=5.0, short_mm=8.0)
    with pytest.raises(InputError, match=r"prior solid component .* is larger than the nodule was"):
        Prior(Size(mean_mm=5.0), solid_mm=9.0)


@pytest.mark.parametrize("field", ["mean_mm", "long_mm"])
def test_centimetres_are_refused(field):
    with pytest.raises(InputError, match=r"cannot be 0\.8 mm.*not centimetres"):
        Size(**{field: 0.8})
    assert Size(**{field: 1.0})
    assert Size(long_mm=2.0, short_mm=0.8)


def test_solid_components_in_centimetres_are_refused():
    size = Size(mean_mm=12.0)
    with pytest.raises(InputError, match=r"The solid component cannot be 0\.7 mm.*not centimetres"):
        Case(size, nodule_type="part_solid", solid_mm=0.7)
    with pytest.raises(InputError, match=r"prior solid component cannot be 0\.4 mm.*not centimetres"):
        Prior(size, solid_mm=0.4)
    assert Case(size, nodule_type="part_solid", solid_mm=1.0, prior=Prior(size, solid_mm=0))


def test_volumes_in_millilitres_are_refused():
    with pytest.raises(InputError, match=r"volume cannot be 0\.3 mm3.*1 ml is 1000 mm3"):
        Size(volume_mm3=0.3)
    assert Size(volume_mm3=1.0).grown_by(-0.5) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": Size(long_mm=1.2, short_mm=1.0)}, "diameter of 1.2 mm is rarely measured. Give millimetres, not centimetres"),
        ({"size": Size(volume_mm3=4.2)}, "volume of 4.2 mm3, a ball of 2.0 mm, is rarely measured. Give mm3"),
        ({"prior": Prior(Size(mean_mm=1.1), days=90)}, "A prior diameter of 1.1 mm"),
        ({"prior": Prior(Size(mean_mm=5.0), days=12)}, "Only 12 days lie between the CTs"),
        ({"size": Size(mean_mm=3.0, volume_mm3=12.0)}, ""),
        ({"size": Size(volume_mm3=15.0), "prior": Prior(Size(mean_mm=5.0), days=28)}, ""),
    ],
)  # fmt: skip
def test_numbers_that_are_usual_in_other_units_are_told(changes, said):
    told = unit_warnings(replace(Case(Size(mean_mm=8.0)), **changes))
    assert len(told) == bool(said)
    assert said in "".join(told)


def test_every_guideline_tells_of_doubtful_units():
    patient = {
        "age": 60.0,
        "context": "incidental",
        "high_risk": False,
        "known_cancer": False,
        "immunosuppressed": False,
    }
    answers, _ = ask_all(Case(Size(long_mm=1.2, short_mm=1.0), nodule_type="solid", nodule_count=1, **patient))
    assert {"fleischner", "bts"} <= set(answers)
    assert all("not centimetres" in answer.warnings[0] for answer in answers.values())


@pytest.mark.parametrize(
    ("size", "volume_mm3", "is_refused"),
    [
        ({"mean_mm": 8.0}, 268.0, False), ({"mean_mm": 8.0}, 0.268, True), ({"mean_mm": 8.0}, 5000.0, True), ({"mean_mm": 8.0}, 1300.0, False),
        ({"long_mm": 20.0, "short_mm": 4.0}, 160.0, False), ({"long_mm": 20.0, "short_mm": 4.0}, 40.0, True), ({"long_mm": 80.0}, 268.0, True),
    ],
)  # fmt: skip
def test_a_volume_of_another_unit_or_nodule_is_refused(size, volume_mm3, is_refused):
    if is_refused:
        with pytest.raises(InputError, match=r"not that of a nodule of .*1 ml is 1000 mm3"):
            Size(**size, volume_mm3=volume_mm3)
    else:
        assert Size(**size, volume_mm3=volume_mm3)


@pytest.mark.parametrize("seen", ["baseline", "new"])
def test_a_nodule_that_was_not_seen_before_has_no_prior_size(seen):
    with pytest.raises(InputError, match=f"'{seen}' has no size on a prior CT"):
        Case(Size(mean_mm=8.0), seen=seen, prior=Prior(Size(mean_mm=5.0), days=100))
    with pytest.raises(InputError, match="has no size on a prior CT"):
        Case(Size(mean_mm=8.0), seen=seen, prior=Prior(Size(), solid_mm=3.0))
    assert Case(Size(mean_mm=8.0), seen=seen, prior=Prior(Size(), category="2"))


@pytest.mark.parametrize("field", CHOICES)
def test_words_that_do_not_exist_are_refused_with_those_that_do(field):
    with pytest.raises(InputError, match=CHOICES[field][-1]):
        Case(Size(mean_mm=8.0), **{field: "perhaps"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"age": -1.0}, "age cannot be"),
        ({"age": 121.0}, "age cannot be"),
        ({"nodule_count": 0}, "nodule count cannot be"),
        ({"suspicious_features": ("halo",)}, "suspicious feature cannot be"),
        ({"solid_mm": 0.0}, "solid component cannot be"),
        ({"solid_mm": 8.1, "nodule_type": "part_solid"}, "larger than the nodule"),
        ({"solid_mm": 3.0, "nodule_type": "ground_glass"}, "no solid component"),
        ({"solid_mm": 3.0, "nodule_type": "solid"}, "no solid component"),
    ],
)
def test_cases_that_cannot_be_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        Case(Size(mean_mm=8.0), **changes)


def test_priors_that_cannot_be_are_refused():
    for changes in (
        {"days": 0},
        {"days": -5},
        {"days": 36526},
        {"solid_mm": -1.0},
        {"category": "0"},
        {"category": "5"},
    ):
        with pytest.raises(InputError):
            Prior(Size(mean_mm=8.0), **changes)
    assert Prior(Size(mean_mm=8.0), days=1, solid_mm=0.0).solid_mm == 0.0
    assert Prior(Size(mean_mm=8.0), days=36525).days == 36525


def test_a_larger_nodule_has_all_its_sizes_larger():
    ball_mm3 = math.pi / 6 * 8**3
    grown = Size(long_mm=9.0, short_mm=7.0, volume_mm3=ball_mm3).grown_by(2.0)
    assert (grown.long_mm, grown.short_mm) == (11.0, 9.0)
    assert grown.volume_mm3 == pytest.approx(math.pi / 6 * 10**3)
    assert Size(mean_mm=1.4).grown_by(-0.5) is None
    assert Size(long_mm=5.0, short_mm=1.2).grown_by(-0.5) == Size(long_mm=4.5, short_mm=0.7)
    assert Size(short_mm=0.4).grown_by(-0.5) is None
    assert Size().grown_by(0.5) is None
