"""Rounding, ladders of categories, and what lies near."""

from __future__ import annotations

import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.case import Case, Size
from CLIPLungLib.guidelines.recommendation import Decision
from CLIPLungLib.guidelines.thresholds import Step, Threshold, climb, near_warnings, rounded

LADDER = (Step("small", Threshold(6.0, 100.0)), Step("large", None))


@pytest.mark.parametrize(
    ("value", "places", "expected"),
    [
        (5.95, 1, 6.0),
        ((5.9 + 6.0) / 2, 1, 6.0),
        ((8.1 + 8.2) / 2, 1, 8.2),
        (5.949, 1, 5.9),
        (5.5, 0, 6.0),
        (6.5, 0, 7.0),
        (8.49, 0, 8.0),
        (112.5, 0, 113.0),
    ],
)
def test_halves_are_rounded_up(value, places, expected):
    assert rounded(value, places) == expected


@pytest.mark.parametrize(
    ("diameter_mm", "volume_mm3", "category"),
    [
        (5.9, None, "small"),
        (6.0, None, "large"),
        (None, 99.0, "small"),
        (None, 100.0, "large"),
        (5.9, 99.0, "small"),
        # Where they disagree, the larger counts.
        (5.9, 100.0, "large"),
        (6.0, 99.0, "large"),
    ],
)
def test_either_measurement_reaches_a_limit(diameter_mm, volume_mm3, category):
    assert climb(LADDER, diameter_mm, volume_mm3).key == category


def test_a_limit_without_volume_is_reached_by_diameter_only():
    assert not Threshold(6.0).reached_by(None, 1e6)
    assert Threshold(6.0).reached_by(6.0, 1.0)


def test_a_step_is_named_by_its_limits():
    assert climb(LADDER, 5.0).rule == "below 6 mm (100 mm3)"
    assert climb(LADDER, 7.0).rule == "at least 6 mm (100 mm3)"
    with pytest.raises(InputError, match="ends with a limit"):
        climb(LADDER[:1], 7.0)


def decide(case: Case) -> Decision:
    if case.size.mean_diameter_mm is None:
        raise InputError("no diameter")
    return climb(LADDER, case.size.mean_diameter_mm, case.size.volume_mm3)


@pytest.mark.parametrize(
    ("size", "warnings"),
    [
        (Size(mean_mm=5.4), []),
        (Size(mean_mm=5.5), ["Near a threshold: with a nodule 0.5 mm larger, the answer is 'large'."]),
        (Size(mean_mm=6.4), ["Near a threshold: with a nodule 0.5 mm smaller, the answer is 'small'."]),
        (Size(mean_mm=6.5), []),
        (Size(mean_mm=5.0, volume_mm3=150.0), ["Near a threshold: by diameter alone, the answer is 'small'."]),
        (Size(mean_mm=1.3), []),
    ],
)
def test_what_lies_within_half_a_millimetre_is_told(size, warnings):
    case = Case(size)
    assert near_warnings(decide, case, decide(case).key) == warnings


def test_a_neighbour_that_cannot_be_is_left_out():
    case = Case(Size(mean_mm=8.0), "part_solid", solid_mm=7.8)
    assert near_warnings(lambda one: Decision(f"{one.solid_mm:.1f}", ""), case, "7.8") == [
        "Near a threshold: with a solid component 0.5 mm smaller, the answer is '7.3'."
    ]
