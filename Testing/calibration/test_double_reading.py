"""Two readings made one: where each has a say, and where the network reads alone."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.calibration.double_reading import (
    SCORE_PER_RATING,
    SIZES_DISAGREE_ABOVE,
    joint_diameter_mm,
    joint_estimate_mm,
    joint_level,
    joint_score,
    network_alone,
    no_second_readings,
    second_alone,
    second_output,
    sizes_disagree,
)
from CLIPLungLib.model.second_outputs import GRADED_SIGNS, SECOND_OUTPUTS
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES


def second_reading(**values: float) -> np.ndarray:
    return np.array([values.get(name, np.nan) for name in SECOND_OUTPUTS])


def test_without_a_second_reader_the_network_stands():
    alone = no_second_readings(3)
    score = np.array([-1.0, 0.2, 1.5])
    np.testing.assert_array_equal(joint_score(score, alone), score)
    np.testing.assert_array_equal(joint_level("margin", score, alone), score)
    sizes_mm = np.array([4.0, 9.0, 30.0])
    np.testing.assert_allclose(joint_estimate_mm(sizes_mm, alone), sizes_mm)
    np.testing.assert_allclose(joint_diameter_mm(sizes_mm, np.array([1.0, np.nan, 2.0]), alone), sizes_mm)


def test_both_have_their_say():
    second = np.stack([second_reading(malignancy=5.0), second_reading(malignancy=1.0)])
    np.testing.assert_allclose(joint_score(np.array([0.0, 1.0]), second), [SCORE_PER_RATING, 0.5 - SCORE_PER_RATING])
    assert joint_level("spiculation", np.array(2.0), second_reading(spiculation=4.0)) == 3.0
    nine = second_reading(log_diameter=np.log(9.0))
    both_mm = joint_estimate_mm(np.array(4.0), nine)
    assert both_mm == pytest.approx(6.0)
    # Of 16 mm outlined, 4 mm estimated and 9 mm by the second reader.
    assert joint_diameter_mm(np.array(16.0), both_mm, nine) == pytest.approx((16 * 4 * 9) ** (1 / 3))
    assert np.isnan(joint_diameter_mm(np.array(np.nan), both_mm, nine))


@pytest.mark.parametrize(("told", "level"), [(6.2, 5.0), (-3.0, 3.0)])
def test_no_degree_leaves_the_scale(told, level):
    assert joint_level("margin", np.array(5.0), second_reading(margin=told)) == level


def test_a_middling_second_reading_moves_nothing_to_a_side():
    second = np.stack([second_reading(malignancy=3.0)] * 2)
    np.testing.assert_allclose(joint_score(np.array([-2.0, 2.0]), second), [-1, 1])


@pytest.mark.parametrize("attribute", sorted(set(ATTRIBUTE_NAMES) - set(GRADED_SIGNS)))
def test_kinds_are_left_to_the_texts(attribute):
    assert joint_level(attribute, np.array(2.0), np.full(len(SECOND_OUTPUTS), 5.0)) == 2.0


def test_an_output_that_nobody_told_leaves_the_others():
    second = second_reading(malignancy=4.0)
    assert joint_level("texture", np.array(2.0), second) == 2.0
    assert second_output(second, "malignancy") == 4.0


def test_each_reading_can_be_had_back():
    score, second = np.array([-1.0, 0.5, 2.0]), no_second_readings(3)
    second[:2, SECOND_OUTPUTS.index("malignancy")] = [1.5, 4.5]
    joint = joint_score(score, second)
    np.testing.assert_allclose(network_alone(joint, second), score)
    np.testing.assert_allclose(second_alone(second)[:2], [-1.5 * SCORE_PER_RATING, 1.5 * SCORE_PER_RATING])
    assert np.isnan(second_alone(second)[2])


def test_sizes_disagree_only_where_both_are_known():
    second = no_second_readings(4)
    second[:3, SECOND_OUTPUTS.index("log_diameter")] = np.log(10.0)
    outline_mm = np.array([10 * SIZES_DISAGREE_ABOVE * 1.01, 10 / SIZES_DISAGREE_ABOVE * 1.01, np.nan, 3.0])
    assert sizes_disagree(outline_mm, second).tolist() == [True, False, False, False]
