"""The stated number of cases gives the stated width, in simulated data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from CLIPLungLib.calibration.sample_size import (
    PROBABILITIES,
    Z,
    cases_for_observed_expected,
    cases_in_the_large,
    design_effect,
    fit_logistic,
    half_width,
    power_statement,
)
from CLIPLungLib.errors import InputError

INTERCEPT, SLOPE = 0.4, 0.8


def simulated(n: int, rng: np.random.Generator, per_patient: int = 1, spread: float = 0.0):
    """Old logits, events and patients; the cases of a patient share a part of their risk."""
    x, shared = rng.normal(-0.5, 2, n), rng.normal(0, spread, n // per_patient + 1).repeat(per_patient)[:n]
    return x, rng.random(n) < expit(INTERCEPT + SLOPE * x + shared), np.arange(n) // per_patient


def spread_of(values: list[float]) -> float:
    """Half of where 95 % of the values lie."""
    return float(np.ptp(np.percentile(values, [2.5, 97.5])) / 2)


@pytest.mark.parametrize("place", range(3))
def test_cases_needed_give_the_promised_half_width(place):
    rng = np.random.default_rng(place)
    needed = power_statement(*simulated(5000, rng)).cases_needed[place]
    x = (logit(PROBABILITIES[place]) - INTERCEPT) / SLOPE
    fits = [fit_logistic(*simulated(needed, rng)) for _ in range(500)]
    found = [float(expit(fit.intercept + fit.slope * x)) for fit in fits]
    assert spread_of(found) == pytest.approx(0.05, rel=0.15)


def test_half_widths_with_the_cases_at_hand_are_those_seen_again_and_again():
    rng = np.random.default_rng(3)
    stated = np.mean([power_statement(*simulated(120, rng)).half_widths for _ in range(40)], axis=0)
    fits = [fit_logistic(*simulated(120, rng)) for _ in range(500)]
    for place, probability in enumerate(PROBABILITIES):
        x = (logit(probability) - INTERCEPT) / SLOPE
        seen = spread_of([float(expit(fit.intercept + fit.slope * x)) for fit in fits])
        assert stated[place] == pytest.approx(seen, rel=0.2), probability


def test_patients_with_several_cases_count_as_what_they_are():
    rng = np.random.default_rng(4)
    fits = [fit_logistic(*simulated(240, rng, 6, 1.5)) for _ in range(300)]
    logits = [fit.intercept for fit in fits]
    stated = np.median([Z * np.sqrt(fit.covariance[0, 0]) for fit in fits])
    assert stated == pytest.approx(spread_of(logits), rel=0.2)
    x, event, _ = simulated(240, rng, 6, 1.5)
    alone = Z * np.sqrt(fit_logistic(x, event, np.arange(240)).covariance[0, 0])
    assert stated > 1.3 * alone


def test_cases_in_the_large_show_the_promised_agreement():
    rng = np.random.default_rng(5)
    n = cases_in_the_large(0.2, 0.05)
    # By hand: 0.2 * 0.8 * (1.96 / 0.05)^2.
    assert n == 246
    rates = [float((rng.random(n) < 0.2).mean()) for _ in range(4000)]
    assert spread_of(rates) == pytest.approx(0.05, rel=0.1)


def test_rileys_formula_gives_the_error_of_observed_over_expected():
    rng = np.random.default_rng(6)
    n = cases_for_observed_expected(0.1, 0.1)
    # By hand: 0.9 / (0.1 * 0.1^2).
    assert n == pytest.approx(900)
    ratios = [np.log((rng.random(900) < 0.1).mean() / 0.1) for _ in range(4000)]
    assert np.std(ratios) == pytest.approx(0.1, rel=0.1)


def test_design_effect_is_the_size_of_groups_that_are_alike():
    patient = np.arange(60) // 3
    alike = np.where(patient % 2, 0.5, -0.5)
    assert design_effect(alike, patient) == pytest.approx(3)
    assert design_effect(alike, np.arange(60)) == pytest.approx(1)
    # Opposites within a patient do not make cases worth more than they are.
    assert design_effect(np.tile([0.5, -0.5, 0.0], 20), patient) == 1


def test_half_width_stays_within_what_a_probability_can_be():
    assert half_width(0.5, 0.1) == pytest.approx(0.25 * 0.1 * Z, rel=0.01)
    assert half_width(0.1, 100.0) == pytest.approx(0.5)


def test_fit_is_the_one_of_highest_likelihood_on_any_scale():
    from sklearn.linear_model import LogisticRegression

    x, event, patient = simulated(200, np.random.default_rng(7))
    theirs = LogisticRegression(C=1e10, tol=1e-10).fit(x[:, None], event)
    for scale, middle in ((1.0, 0.0), (1000.0, 50.0), (1e-3, -1.0)):
        ours = fit_logistic(scale * x + middle, event, patient)
        assert ours.slope * scale == pytest.approx(theirs.coef_[0, 0], rel=1e-3)
        assert ours.intercept + ours.slope * middle == pytest.approx(theirs.intercept_[0], abs=1e-3)
        assert ours.logit_error(0.3) == pytest.approx(fit_logistic(x, event, patient).logit_error(0.3), rel=1e-6)


def test_cases_that_overlap_by_one_alone_have_a_fit():
    x, event = np.linspace(-50, 50, 100), np.arange(100) >= 50
    event[[49, 50]] = event[[50, 49]]
    fit = fit_logistic(x, event, np.arange(100))
    assert np.isfinite([fit.slope, fit.intercept, *fit.covariance.ravel()]).all()


@pytest.mark.parametrize(
    ("x", "event", "reason"),
    [
        ([0, 1, 2, 3], [0, 0, 1, 1], "without any overlap"),
        ([0, 1, 1, 2], [0, 0, 1, 1], "without any overlap"),
        ([3, 2, 1, 0], [0, 0, 1, 1], "without any overlap"),
        ([0, 1, 2, 3], [1, 1, 1, 1], "one kind"),
        ([0, 1, 2, 3], [0, 0, 0, 0], "one kind"),
        ([0, 1, 2, 3, 4, 5], [1, 1, 0, 1, 0, 0], "does not rise"),
    ],
)
def test_cases_that_tell_no_slope_are_refused_with_the_reason(x, event, reason):
    with pytest.raises(InputError, match=reason):
        fit_logistic(np.array(x, float), np.array(event, bool), np.arange(len(x)))
