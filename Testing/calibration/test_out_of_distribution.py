"""What is unlike anything learned raises a warning; what is like it does not."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from CLIPLungLib.calibration.out_of_distribution import (
    NOTHING_THERE,
    UNLIKE_KNOWN,
    FeatureSpace,
    OutOfDistributionLimits,
    fit_feature_space,
    fit_limits,
    presence_at_click,
)
from CLIPLungLib.errors import InputError, MissingPackageError

SPACING_MM = (2.0, 0.75, 0.75)


def drawn_features(rng: np.random.Generator, count: int, shift: float = 0.0) -> np.ndarray:
    """(count, 60) features in 8 hidden directions, a little noise, and one channel that is always off."""
    directions = np.random.default_rng(0).normal(size=(8, 60))
    features = (rng.normal(size=(count, 8)) + shift) @ directions + 0.1 * rng.normal(size=(count, 60))
    features[:, 7] = 0.0
    return features


def test_distance_of_known_features_has_unit_spread_in_every_direction():
    rng = np.random.default_rng(1)
    space = fit_feature_space(drawn_features(rng, 4000), directions=8)
    assert space.whitening.shape == (60, 8)
    white = (drawn_features(rng, 4000) - space.mean) @ space.whitening
    np.testing.assert_allclose(np.cov(white.T), np.eye(8), atol=0.12)
    # The mean square distance is the number of directions.
    assert np.mean(space.distance(drawn_features(rng, 4000)) ** 2) == pytest.approx(8, rel=0.05)


def test_nineteen_of_twenty_known_pass_and_strangers_are_named():
    rng = np.random.default_rng(2)
    space = fit_feature_space(drawn_features(rng, 800))
    limits = fit_limits(space.distance(drawn_features(rng, 800)), rng.beta(20, 1, 800), known_share=0.95)
    distances, presence = space.distance(drawn_features(rng, 2000)), rng.beta(20, 1, 2000)
    passed = [not limits.warnings(d, p) for d, p in zip(distances, presence, strict=True)]
    assert np.mean(passed) == pytest.approx(0.95, abs=0.025)
    strangers = [limits.warnings(d, 1.0) for d in space.distance(drawn_features(rng, 100, shift=4.0))]
    assert strangers.count((UNLIKE_KNOWN,)) >= 99


def test_half_of_the_lost_share_goes_to_either_limit():
    limits = fit_limits(np.linspace(0, 100, 201), np.linspace(0, 1, 201), known_share=0.9)
    assert limits.largest_distance == pytest.approx(95.0)
    assert limits.least_presence == pytest.approx(0.05)


def test_warning_says_what_is_wrong_and_only_once():
    limits = OutOfDistributionLimits(largest_distance=5.0, least_presence=0.4)
    assert limits.warnings(1.0, 0.9) == ()
    assert limits.warnings(5.0, 0.4) == ()
    assert limits.warnings(5.1, 0.9) == (UNLIKE_KNOWN,)
    assert limits.warnings(1.0, 0.39) == (NOTHING_THERE,)
    assert limits.warnings(5.1, 0.39) == (NOTHING_THERE,)
    assert limits.warnings(np.nan, 0.9) == (UNLIKE_KNOWN,)
    assert limits.warnings(1.0, np.nan) == (NOTHING_THERE,)


def test_presence_is_that_of_the_neighbourhood_of_the_click():
    inside = np.zeros((9, 33, 33), np.float32)
    assert presence_at_click(inside, SPACING_MM) == 0
    inside[4, 15:18, 19:22] = 0.9  # 3 mm from the middle
    assert presence_at_click(inside, SPACING_MM) == pytest.approx(0.9)
    assert presence_at_click(inside, SPACING_MM, radius_mm=1.0) == 0
    far = np.zeros_like(inside)
    far[4, 15:18, 25:28] = 0.9  # 7.5 mm from the middle
    assert presence_at_click(far, SPACING_MM) == 0


def test_a_single_bright_pixel_is_no_presence():
    inside = np.zeros((9, 33, 33), np.float32)
    inside[4, 16, 16] = 0.9
    assert presence_at_click(inside, SPACING_MM) == pytest.approx(0.1)


def test_what_cannot_be_fitted_is_refused(monkeypatch):
    features = drawn_features(np.random.default_rng(5), 30)
    with pytest.raises(InputError, match="2 nodules or more"):
        fit_feature_space(features[:1])
    with pytest.raises(InputError, match="finite features"):
        fit_feature_space(np.where(features > 1, np.nan, features))
    with pytest.raises(InputError, match="same feature"):
        fit_feature_space(np.ones((30, 4)))
    with pytest.raises(InputError, match="share of known"):
        fit_limits(np.ones(30), np.ones(30), known_share=1.0)
    with pytest.raises(InputError, match="presence of known"):
        fit_limits(np.ones(30), np.array([]))
    with pytest.raises(InputError, match="distances of known"):
        fit_limits(np.array([np.nan]), np.ones(30))
    monkeypatch.setitem(sys.modules, "sklearn.covariance", None)
    with pytest.raises(MissingPackageError, match="train"):
        fit_feature_space(features)


@pytest.mark.parametrize(
    "arrays",
    [(np.zeros(3), np.zeros((2, 1))), (np.zeros((2, 2)), np.zeros((2, 1))), (np.full(2, np.nan), np.ones((2, 1)))],
)
def test_space_that_does_not_fit_together_is_refused(arrays):
    with pytest.raises(ValueError, match=r"fit together|finite"):
        FeatureSpace(*arrays)


@pytest.mark.parametrize("limits", [(np.nan, 0.5), (0.0, 0.5), (5.0, np.inf)])
def test_limits_that_are_no_numbers_are_refused(limits):
    with pytest.raises(ValueError, match="limits must be numbers"):
        OutOfDistributionLimits(*limits)
