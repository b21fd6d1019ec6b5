"""Updating a calibration: a handful of cases moves it little, many move it to where they lie."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.truth import OUTCOME, READERS
from CLIPLungLib.calibration.updating import unchanged, update_calibration

OLD = Calibration(2.0, (-1.0, 0.0, 1.0))


def outcomes(n: int, slope: float, offset: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 1, n)
    return score, 3 * (rng.random(n) < expit(slope * score - offset))


def ratings(n: int, truth: Calibration, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 1, n)
    return score, (rng.random(n)[:, None] < truth.exceeds(score)).sum(axis=1)


def excess_loss(calibration: Calibration, slope: float, offset: float) -> float:
    """Expected log loss beyond that of the right curve."""
    score = np.random.default_rng(99).normal(0, 1, 20_000)
    right, said = expit(slope * score - offset), calibration.malignancy_probability(score)
    return float(np.mean(right * np.log(right / said) + (1 - right) * np.log((1 - right) / (1 - said))))


def test_many_outcomes_have_the_last_word():
    found = update_calibration(OLD, *outcomes(20_000, 1.0, 1.5), OUTCOME)
    assert found.calibration.slope == pytest.approx(1.0, abs=0.05)
    assert found.calibration.offsets == pytest.approx((1.5,) * 3, abs=0.05)
    assert len(set(found.calibration.offsets)) == 1
    assert found.slope_factor == pytest.approx(0.5, abs=0.03)
    assert found.shift == pytest.approx(-1.5, abs=0.05)
    assert min(found.slope_weight, found.shift_weight) > 0.98


def test_many_ratings_have_the_last_word_on_every_cut():
    truth = Calibration(1.5, (-2.0, 0.5, 0.9))
    found = update_calibration(OLD, *ratings(20_000, truth), READERS).calibration
    assert found.slope == pytest.approx(truth.slope, abs=0.06)
    assert found.offsets == pytest.approx(truth.offsets, abs=0.08)


def test_few_cases_leave_most_to_the_old_calibration():
    found = update_calibration(OLD, *outcomes(12, 1.0, 1.5), OUTCOME)
    assert found.slope_weight < 0.6
    # The shift is learned first.
    assert found.slope_weight < found.shift_weight < 0.95


def test_one_case_of_each_kind_that_part_perfectly_is_no_reason_for_certainty():
    found = update_calibration(OLD, np.array([-1.0, 1.0]), np.array([0, 3]), OUTCOME)
    assert OLD.slope < found.calibration.slope < 1.4 * OLD.slope


@pytest.mark.parametrize(("slope", "offset"), [(2.0, 0.0), (2.0, 2.0), (1.0, -1.0)])
def test_an_update_on_30_cases_beats_a_full_refit(slope, offset):
    from sklearn.linear_model import LogisticRegression

    ours, theirs = [], []
    for seed in range(15):
        score, reached = outcomes(30, slope, offset, seed)
        ours.append(excess_loss(update_calibration(OLD, score, reached, OUTCOME).calibration, slope, offset))
        fit = LogisticRegression(C=1e6).fit(score[:, None], reached > 0)
        refit = Calibration(max(float(fit.coef_[0, 0]), 1e-3), (-float(fit.intercept_[0]),) * 3)
        theirs.append(excess_loss(refit, slope, offset))
    assert np.mean(ours) < np.mean(theirs)


def test_a_calibration_of_outcomes_can_become_one_of_readers():
    by_outcome = Calibration(2.0, (0.3, 0.3, 0.3))
    truth = Calibration(2.0, (-1.0, 0.0, 1.0))
    found = update_calibration(by_outcome, *ratings(5_000, truth), READERS).calibration
    assert found.offsets[0] < found.offsets[1] < found.offsets[2]


def test_what_is_kept_for_an_outcome_is_the_event():
    kept = unchanged(OLD, OUTCOME)
    score = np.linspace(-2, 2, 9)
    np.testing.assert_array_equal(kept.malignancy_probability(score), OLD.malignancy_probability(score))
    np.testing.assert_array_equal(kept.class_probabilities(score)[:, 1], 0)
    assert unchanged(OLD, READERS) is OLD
