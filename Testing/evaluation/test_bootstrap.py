"""Patients are drawn with all their samples; a figure carries the interval of its draws."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.bootstrap import BOOTSTRAPS, Estimate, estimate, patient_weights

PATIENTS = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=30).map(np.array)


@settings(deadline=None)
@given(PATIENTS, st.integers(0, 5))
def test_whole_patients_are_drawn_as_many_as_there_are(patients, seed):
    weights = patient_weights(patients, repeats=20, seed=seed)
    assert weights.shape == (20, len(patients))
    assert weights.dtype == np.float64
    names, first, own = np.unique(patients, return_index=True, return_inverse=True)
    of_patient = weights[:, first]
    assert (weights == of_patient[:, own]).all()
    assert (of_patient.sum(axis=1) == len(names)).all()


@settings(deadline=None)
@given(PATIENTS, st.integers(0, 5))
def test_draws_are_those_of_one_patient_after_another(patients, seed):
    """The draws of the published figures: P integers for each resample in turn."""
    names, own = np.unique(patients, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(len(names), size=len(names)) for _ in range(7)]
    expected = [[np.count_nonzero(one == patient) for patient in own] for one in drawn]
    assert patient_weights(patients, repeats=7, seed=seed).tolist() == expected


def test_draws_differ_and_depend_on_the_seed_only():
    patients = np.arange(50)
    weights = patient_weights(patients)
    assert weights.shape == (BOOTSTRAPS, 50)
    assert len(np.unique(weights, axis=0)) == BOOTSTRAPS
    assert (weights == patient_weights(patients)).all()
    assert (weights != patient_weights(patients, seed=1)).any()
    # Each patient is drawn once in the mean; its count is binomial with variance 1 - 1/50.
    assert weights.mean(axis=0) == pytest.approx(np.ones(50), abs=0.2)
    assert weights.var() == pytest.approx(0.98, abs=0.05)


def test_interval_is_that_of_the_resamples_written_out():
    rng = np.random.default_rng(3)
    patients = rng.integers(30, size=80)
    values = rng.normal(size=80)
    weights = patient_weights(patients, repeats=200)
    found = estimate(lambda w: metrics.median(values, w), weights)
    resamples = [np.median(np.repeat(values, row.astype(int))) for row in weights]
    assert found.value == np.median(values)
    assert found.interval == pytest.approx(tuple(np.percentile(resamples, (2.5, 97.5))), abs=1e-12)
    assert found.n == 80


def test_patients_with_many_alike_samples_widen_the_interval():
    patients = np.repeat(np.arange(20), 10)
    values = np.random.default_rng(3).normal(size=20)[patients]

    def width(weights: np.ndarray) -> float:
        low, high = estimate(lambda w: metrics.mean(values, w), weights).interval
        return high - low

    # Standard errors: sd / sqrt(20) against sd / sqrt(200).
    assert width(patient_weights(patients)) == pytest.approx(
        np.sqrt(10) * width(patient_weights(np.arange(200))), rel=0.15
    )


def test_interval_of_a_mean_holds_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(5)
    hits = 0
    for seed in range(300):
        values = rng.normal(size=60)
        low, high = estimate(lambda w, v=values: metrics.mean(v, w), patient_weights(np.arange(60), 300, seed)).interval
        hits += low <= 0 <= high
    assert 0.90 <= hits / 300 <= 0.98


def test_draws_without_the_figure_do_not_count():
    positive = np.array([True, False, False, False])
    weights = patient_weights(np.arange(4), repeats=500)
    draws = metrics.auc(positive, np.array([0.6, 0.1, 0.9, 0.3]), weights)
    assert 0 < np.isnan(draws).sum() < 500
    found = estimate(lambda w: metrics.auc(positive, np.array([0.6, 0.1, 0.9, 0.3]), w), weights)
    assert found.value == pytest.approx(2 / 3)
    assert found.interval == tuple(np.nanpercentile(draws, (2.5, 97.5)))


def test_a_figure_that_does_not_exist_has_no_value_and_no_interval():
    weights = patient_weights(np.arange(3), repeats=10)
    assert estimate(lambda w: metrics.auc(np.ones(3), np.arange(3), w), weights) == Estimate(None, None, 3)
    # One value in the samples as they are, none in any draw.
    once = estimate(lambda w: metrics.mean(np.ones(3), w), np.zeros((10, 3)))
    assert once == Estimate(1.0, None, 3)
    nobody = patient_weights(np.array([], dtype=str), repeats=5)
    assert nobody.shape == (5, 0)
    assert estimate(lambda w: metrics.mean(np.zeros(0), w), nobody) == Estimate(None, None, 0)


def test_estimates_go_into_json():
    weights = patient_weights(np.arange(6), repeats=50)
    found = estimate(lambda w: metrics.mean(np.arange(6), w), weights, n=3)
    written = json.loads(json.dumps(found.to_dict()))
    assert written == {"value": 2.5, "interval": list(found.interval), "n": 3}
    assert json.loads(json.dumps(Estimate(None, None, 4).to_dict())) == {"value": None, "interval": None, "n": 4}
