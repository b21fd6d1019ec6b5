"""From raw readings to what a reader is told."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from CLIPLungLib.calibration.calibrations import Calibrations
from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.inference.calibrated_result import CUT_OFF, attribute_results, reading_warnings, sign_level
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.inference.outline_measurement import Measurement
from CLIPLungLib.inference.readout import Reading, level_probabilities
from CLIPLungLib.vocabulary import LEVEL_COUNT, level_columns

PLAIN = Calibrations(Calibration(1.0, (0.0, 1.0, 2.0)), 0.5, None)


def reading(cosines: np.ndarray, text_scale: float, measurement: Measurement | None = None) -> Reading:
    probabilities = level_probabilities(cosines, text_scale)
    return Reading(None, 0.0, cosines, probabilities, 9.0, np.zeros(4), measurement, 0.9, 1.0)


def test_probabilities_of_each_attribute_sum_to_one():
    found = level_probabilities(np.random.default_rng(0).normal(size=LEVEL_COUNT), 3.0)
    assert found[level_columns("calcification")].sum() == pytest.approx(1)
    assert found.sum() == pytest.approx(8)


def test_degrees_are_read_off_the_texts():
    cosines = np.zeros(LEVEL_COUNT)
    cosines[level_columns("spiculation")][4] = 0.8  # marked spiculation
    sign = attribute_results(reading(cosines, 2.0), PLAIN)[6]
    share = math.exp(1.6) / (math.exp(1.6) + 4)
    assert sign.name == "spiculation"
    assert sign.similarity == pytest.approx(0.8)
    assert sign.level_probabilities[4] == pytest.approx(share)
    assert sign.level == pytest.approx(5 * share + (1 - share) / 4 * (1 + 2 + 3 + 4))
    # The expected level is 3.9: the text is that degree, not the single likeliest one.
    assert (sign.code, sign.text) == (4, "with considerable spiculation")


def test_kinds_are_not_averaged():
    cosines = np.zeros(LEVEL_COUNT)
    cosines[level_columns("calcification")] = (0.8, 0, 0, 0, 0, 0.7)  # popcorn, or absent: nothing in between
    sign = attribute_results(reading(cosines, 1.0), PLAIN)[2]
    assert (sign.code, sign.text) == (1, "with popcorn calcification")


def test_a_degree_halfway_between_two_is_the_upper_one():
    cosines = np.zeros(LEVEL_COUNT)
    cosines[level_columns("margin")] = (0, 0, 1, 1, 0)
    sign = attribute_results(reading(cosines, 1000.0), PLAIN)[4]
    assert sign.level == pytest.approx(3.5)
    assert sign.code == 4


def test_measured_shape_has_a_say_in_sphericity_only_with_an_outline(tiny_checkpoint_file):
    calibrations = load_checkpoint(tiny_checkpoint_file).calibrations
    ball = Measurement(10.0, 10.0, np.pi / 6 * 1000, np.zeros(3), np.ones((1, 1, 1), bool), False)
    cosines = np.zeros(LEVEL_COUNT)
    assert sign_level("sphericity", reading(cosines, 1.0), calibrations) == pytest.approx(3.0)
    # 1 + 0.2 * 3 + 1.5 * 1 + 0.5 * 1
    assert sign_level("sphericity", reading(cosines, 1.0, ball), calibrations) == pytest.approx(3.6)
    assert sign_level("margin", reading(cosines, 1.0, ball), calibrations) == pytest.approx(3.0)


def test_warnings_name_what_is_cut_and_what_is_strange(tiny_checkpoint_file):
    calibrations = load_checkpoint(tiny_checkpoint_file).calibrations
    cut = Measurement(10.0, 10.0, 500.0, np.zeros(3), np.ones((1, 1, 1), bool), True)
    known = reading(np.zeros(LEVEL_COUNT), 1.0, cut)
    assert reading_warnings(known, calibrations) == (CUT_OFF,)
    (strange,) = reading_warnings(replace(known, measurement=None, distance=9.5), calibrations)
    assert "looks unlike the nodules" in strange
    (nothing,) = reading_warnings(replace(known, measurement=None, presence=0.05), calibrations)
    assert "Nothing that looks like a nodule" in nothing
