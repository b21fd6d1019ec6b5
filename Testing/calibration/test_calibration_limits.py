"""Every calibration by hand-computed numbers, and on either side of each of its limits."""

from __future__ import annotations

import json

import numpy as np
import pytest

from CLIPLungLib.calibration.calibrations import Calibrations, OutlineCalibrations
from CLIPLungLib.calibration.conformal import class_set, conformal_quantile, fit_class_sets
from CLIPLungLib.calibration.measurement import MeasurementCalibration, fit_measurement_calibration
from CLIPLungLib.calibration.ordinal import Calibration, fit_calibration
from CLIPLungLib.calibration.out_of_distribution import (
    KNOWN_SHARE,
    PRESENCE_RADIUS_MM,
    FeatureSpace,
    OutOfDistributionLimits,
    fit_feature_space,
    fit_limits,
    presence_at_click,
)
from CLIPLungLib.calibration.sphericity import SphericityCalibration, fit_sphericity
from CLIPLungLib.errors import InputError
from CLIPLungLib.vocabulary import CLASSES, malignancy_class, reached_cuts

OUTLINE = OutlineCalibrations(
    MeasurementCalibration(1.1, 0.9, 0.2),
    MeasurementCalibration(1.2, 0.8, 0.5),
    SphericityCalibration(1.0, 0.2, 1.5, 0.5),
    OutOfDistributionLimits(9.0, 0.1),
)
CURVE = Calibration(2.0, (-1.0, 0.5, 1.5))


# Ratings on a boundary.


@pytest.mark.parametrize(
    ("rating", "cuts", "index"),
    [
        (1.0, (False, False, False), 0),
        (2.49, (False, False, False), 0),
        (2.5, (True, False, False), 1),
        (3.0, (True, False, False), 1),
        (3.01, (True, True, False), 1),
        (3.5, (True, True, False), 1),
        (3.51, (True, True, True), 2),
        (5.0, (True, True, True), 2),
    ],
)
def test_a_rating_on_a_boundary_is_unsure_and_exactly_three_does_not_exceed_three(rating, cuts, index):
    assert reached_cuts(rating) == cuts
    assert malignancy_class(rating) == index


# From score to probabilities.


def logistic(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def test_probabilities_of_a_score_by_hand():
    score = np.array([0.25, -3.0])
    expected = [[logistic(2 * s - offset) for offset in (-1.0, 0.5, 1.5)] for s in score]
    np.testing.assert_allclose(CURVE.exceeds(score), expected)
    np.testing.assert_allclose(CURVE.malignancy_probability(score), [row[1] for row in expected])
    np.testing.assert_allclose(
        CURVE.class_probabilities(score), [[1 - row[0], row[0] - row[2], row[2]] for row in expected]
    )


@pytest.mark.parametrize(
    ("slope", "offsets"),
    [
        (0.0, (0.0, 1.0, 2.0)),
        (-1.0, (0.0, 1.0, 2.0)),
        (np.nan, (0.0, 1.0, 2.0)),
        (np.inf, (0.0, 1.0, 2.0)),
        (1.0, (0.0, 2.0, 1.0)),
        (1.0, (1.0, 0.0, 2.0)),
        (1.0, (0.0, np.nan, 2.0)),
        (1.0, (0.0, 1.0, np.inf)),
    ],
)
def test_curve_that_falls_or_crosses_itself_is_refused(slope, offsets):
    with pytest.raises(ValueError, match="positive slope and rising offsets"):
        Calibration(slope, offsets)


def test_cuts_that_fall_together_are_allowed_and_a_slope_may_be_small():
    assert Calibration(0.5, (1.0, 1.0, 1.0)).class_probabilities(np.array([2.0]))[0, 1] == 0


def test_ratings_on_a_boundary_are_fitted_as_the_vocabulary_counts_them():
    """2.5 counts as not benign, 3 and 3.5 as not above: the offsets stand where these shares put them."""
    rng = np.random.default_rng(4)
    score = rng.normal(0, 1.5, 20_000)
    above = rng.random(len(score))[:, None] < Calibration(1.5, (-1.0, 0.0, 2.0)).exceeds(score)
    found = fit_calibration(score, np.array([2.49, 2.5, 3.5, 5.0])[above.sum(axis=1)])
    assert found.slope == pytest.approx(1.5, rel=0.06)
    np.testing.assert_allclose(found.offsets, (-1.0, 0.0, 2.0), atol=0.12)


# Class sets.


def test_class_sets_take_the_quantile_of_what_the_true_class_lacks():
    true = np.linspace(0.5, 0.99, 19)
    rows = np.column_stack([(1 - true) / 2, true, (1 - true) / 2])
    labels = np.ones(19, int)
    # The 18th of 20 places, counted from the surest.
    assert fit_class_sets(rows, labels) == pytest.approx(1 - true[1])
    assert fit_class_sets(rows, labels, coverage=0.5) == pytest.approx(1 - true[9])
    assert fit_class_sets(rows, np.array([2] * 19), coverage=0.5) == pytest.approx(1 - (1 - true[9]) / 2)


@pytest.mark.parametrize("label", [-1, 3, 0.5])
def test_label_that_names_no_class_is_refused(label):
    with pytest.raises(InputError, match=r"one label 0\.\.2 per row"):
        fit_class_sets(np.full((20, 3), 1 / 3), np.append(np.zeros(19), label))


def test_a_class_exactly_at_the_threshold_is_held():
    assert class_set(np.array([0.5, 0.25, 0.25]), 0.75) == CLASSES
    assert class_set(np.array([0.5, 0.25, 0.25]), 0.74) == CLASSES[:1]


def test_both_of_two_most_probable_classes_stay():
    assert class_set(np.array([0.5, 0.5, 0.0]), 0.0) == CLASSES[:2]


def test_certain_probabilities_are_probabilities():
    assert class_set(np.array([1.0, 0.0, 0.0]), 0.5) == CLASSES[:1]


@pytest.mark.parametrize("row", [(1.01, 0.0, 0.0), (-0.01, 0.5, 0.51), (0.25, 0.25, 0.25, 0.25)])
def test_what_is_no_probability_of_three_classes_is_refused(row):
    with pytest.raises(InputError, match="probabilities of 3 classes"):
        class_set(np.array(row), 0.5)


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.5, 1.5])
def test_coverage_of_nothing_or_everything_is_refused(coverage):
    with pytest.raises(InputError, match="between 0 and 1"):
        conformal_quantile(np.arange(50.0), coverage)


@pytest.mark.parametrize(
    ("count", "coverage", "rank"), [(9, 0.9, 9), (10, 0.9, 10), (11, 0.9, 11), (99, 0.9, 90), (3, 0.5, 2), (4, 0.5, 3)]
)
def test_rank_of_the_quantile(count, coverage, rank):
    assert conformal_quantile(np.arange(1.0, count + 1), coverage) == rank


# Sizes.


def test_half_width_of_nothing_is_allowed():
    calibration = MeasurementCalibration(0.5, 0.5, 0.0)
    assert calibration.interval(4.0) == (1.0, 1.0)


@pytest.mark.parametrize("values", [(-0.1, 1.0, 0.1), (1.0, 0.0, 0.1), (1.0, 1.0, -0.001), (1.0, np.inf, 0.1)])
def test_size_calibration_at_its_limits_is_refused(values):
    with pytest.raises(ValueError, match="positive scale and power"):
        MeasurementCalibration(*values)


@pytest.mark.parametrize("count", [0, 1])
def test_one_nodule_calibrates_nothing(count):
    with pytest.raises(InputError, match=f"^{count} nodules of one size"):
        fit_measurement_calibration(np.full(count, 5.0), np.full(count, 6.0))


def test_two_nodules_get_as_far_as_the_interval():
    with pytest.raises(InputError, match="2 cases are too few"):
        fit_measurement_calibration(np.array([4.0, 8.0]), np.array([4.0, 9.0]))


def test_readers_who_see_one_size_only_are_refused():
    with pytest.raises(InputError, match="do not rise"):
        # Of an even number of alternating sizes, the slope is exactly nothing.
        fit_measurement_calibration(np.tile([2.0, 4.0, 4.0, 2.0], 5), np.tile([1.0, 1.0, 1.0, 1.0], 5))


def test_interval_of_a_fit_is_nine_tenths_of_its_residuals():
    measured = np.geomspace(3, 30, 39)
    residual = np.tile([0.01, -0.01, -0.01, 0.01], 10)[:39] * np.linspace(1, 2, 39)
    found = fit_measurement_calibration(measured, 1.5 * measured * np.exp(residual))
    rest = np.abs(np.log(1.5 * measured * np.exp(residual)) - np.log(found.scale * measured**found.power))
    assert found.log_half_width == pytest.approx(np.sort(rest)[35])


# Sphericity.


def test_sphericity_by_hand():
    calibration = SphericityCalibration(intercept=0.5, text=0.25, axis_ratio=2.0, compactness=1.0)
    # A ball of 8 mm within an outline of 10 mm by 6 mm: 0.5 + 0.25 * 2 + 2 * 0.6 + 0.8.
    volume_mm3 = np.pi / 6 * 8.0**3
    level = calibration.level(np.array([2.0]), np.array([10.0]), np.array([6.0]), np.array([volume_mm3]))
    assert level == pytest.approx([3.0])


@pytest.mark.parametrize(
    ("intercept", "level"), [(-3.0, 1.0), (0.99, 1.0), (1.01, 1.01), (4.99, 4.99), (5.01, 5.0), (9.0, 5.0)]
)
def test_sphericity_stays_on_the_scale(intercept, level):
    one = np.ones(1)
    assert SphericityCalibration(intercept, 0.0, 0.0, 0.0).level(one, one, one, one) == pytest.approx([level])


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sphericity_of_no_numbers_is_refused(place, value):
    weights = [1.0, 0.2, 1.5, 0.5]
    weights[place] = value
    with pytest.raises(ValueError, match="finite numbers"):
        SphericityCalibration(*weights)


def test_ten_nodules_fit_a_sphericity_and_one_that_is_not_measured_is_refused():
    rng = np.random.default_rng(0)
    text, longest, short, volume, rating = (rng.uniform(1, 5, 10) for _ in range(5))
    fit_sphericity(text, longest, short, volume, rating)
    longest[3] = np.nan
    with pytest.raises(InputError, match="all measured; got 10"):
        fit_sphericity(text, longest, short, volume, rating)


# Out of distribution.


@pytest.mark.parametrize(
    ("offset", "is_near"),
    [
        ((0, 0, 0), True),
        ((2, 0, 0), True),
        ((3, 0, 0), False),
        ((0, 5, 0), True),
        ((0, 6, 0), False),
        ((0, 0, 5), True),
        ((0, 0, -6), False),
        ((0, 3, 4), True),
        ((0, 4, -4), False),
        ((2, 3, 0), True),
        ((-2, 4, 0), False),
    ],
)
def test_presence_reaches_five_millimetres_in_every_direction(offset, is_near):
    """Planes 2 mm apart, pixels of 1 mm; a block of 3 x 3 pixels so that its middle is seen in full."""
    inside = np.zeros((9, 25, 25), np.float32)
    z, y, x = np.add((4, 12, 12), offset)
    inside[z, y - 1 : y + 2, x - 1 : x + 2] = 0.9
    found = presence_at_click(inside, (2.0, 1.0, 1.0))
    assert PRESENCE_RADIUS_MM == 5.0
    assert (found == pytest.approx(0.9)) is is_near


def test_presence_counts_the_middle_of_an_even_patch_between_its_pixels():
    inside = np.zeros((1, 4, 4), np.float32)
    inside[0, 1:3, 1:3] = 1.0
    # The nearest pixels lie 0.71 mm from the middle; each sees 4 of its 9 neighbours.
    assert presence_at_click(inside, (1.0, 1.0, 1.0), radius_mm=0.72) == pytest.approx(4 / 9)
    assert presence_at_click(inside, (1.0, 1.0, 1.0), radius_mm=0.70) == 0


def test_distance_by_hand():
    space = FeatureSpace(np.array([1.0, 2.0]), np.array([[2.0, 0.0], [0.0, 0.5]]))
    np.testing.assert_allclose(space.distance(np.array([[1.0, 2.0], [2.5, 10.0]])), [0.0, 5.0])


@pytest.mark.parametrize("whitening", [np.zeros(2), np.zeros((3, 1)), np.full((2, 1), np.inf)])
def test_space_of_another_shape_is_refused(whitening):
    with pytest.raises(ValueError, match=r"fit together|finite"):
        FeatureSpace(np.zeros(2), whitening)


def test_two_nodules_span_a_space_and_a_single_feature_does_not():
    rng = np.random.default_rng(0)
    assert fit_feature_space(rng.normal(size=(2, 5))).whitening.shape == (5, 1)
    with pytest.raises(InputError, match="2 nodules or more"):
        fit_feature_space(rng.normal(size=5))


def test_a_space_keeps_thirty_two_directions_and_names_float32():
    space = fit_feature_space(np.random.default_rng(0).normal(size=(200, 50)))
    assert space.whitening.shape == (50, 32)
    assert space.whitening.dtype == space.mean.dtype == np.float32


def test_channels_count_by_their_spread_and_not_by_their_unit():
    features = np.random.default_rng(0).normal(size=(500, 4))
    distances = fit_feature_space(features, 4).distance(features)
    np.testing.assert_allclose(
        fit_feature_space(features * [1, 1e3, 1e-3, 1], 4).distance(features * [1, 1e3, 1e-3, 1]), distances, rtol=1e-3
    )


def test_a_channel_that_never_changes_has_no_say():
    features = np.random.default_rng(0).normal(size=(300, 3))
    features[:, 1] = 7.0
    space = fit_feature_space(features)
    assert (space.whitening[1] == 0).all()
    assert space.distance(np.array([[0.0, 7.0, 0.0]])) == pytest.approx(space.distance(np.array([[0.0, 99.0, 0.0]])))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_share_of_nothing_or_everything_is_refused(share):
    with pytest.raises(InputError, match="share of known nodules"):
        fit_limits(np.ones(30), np.ones(30), known_share=share)


def test_nineteen_of_twenty_pass_unless_told_otherwise():
    limits = fit_limits(np.linspace(0, 1000, 1001), np.linspace(0, 1, 1001))
    assert KNOWN_SHARE == 0.95
    assert limits.largest_distance == pytest.approx(975.0)
    assert limits.least_presence == pytest.approx(0.025)
    assert fit_limits(np.array([3.0]), np.array([0.5])).largest_distance == 3.0


@pytest.mark.parametrize("distance", [-1.0, 0.0])
def test_no_distance_at_all_is_no_limit(distance):
    with pytest.raises(ValueError, match="limits must be numbers"):
        OutOfDistributionLimits(distance, 0.5)


def test_small_limits_are_limits():
    assert OutOfDistributionLimits(0.5, -0.0).warnings(0.5, 0.0) == ()


# All together.


@pytest.mark.parametrize("outline", [OUTLINE, None])
@pytest.mark.parametrize("threshold", [0.0, 0.7, 1.0])
def test_calibrations_come_back_from_json(outline, threshold):
    calibrations = Calibrations(CURVE, threshold, outline)
    assert Calibrations.from_dict(json.loads(json.dumps(calibrations.to_dict()))) == calibrations


@pytest.mark.parametrize("threshold", [-0.001, 1.001, 2.0, np.nan])
def test_threshold_outside_its_range_is_refused(threshold):
    with pytest.raises(ValueError, match="class_set_threshold"):
        Calibrations(CURVE, threshold, OUTLINE)
