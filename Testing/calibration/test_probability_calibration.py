"""The calibration of probabilities, on data that a known curve has made."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.calibration.ordinal import Calibration, fit_calibration


def test_calibration_recovers_the_curve_that_made_the_data():
    rng = np.random.default_rng(0)
    true = Calibration(2.0, (-1.0, 0.5, 1.5))
    malignancy_score = rng.normal(0, 1.5, 20_000)
    above = rng.random(len(malignancy_score))[:, None] < true.exceeds(malignancy_score)
    rating = np.array([2.0, 2.75, 3.25, 4.0])[above.sum(axis=1)]
    found = fit_calibration(malignancy_score, rating)
    assert found.slope == pytest.approx(true.slope, rel=0.05)
    np.testing.assert_allclose(found.offsets, true.offsets, atol=0.1)


def test_calibrated_classes_sum_to_one_and_never_contradict_the_headline():
    calibration = Calibration(1.7, (-0.5, 0.0, 0.9))
    malignancy_score = np.linspace(-5, 5, 101)
    classes = calibration.class_probabilities(malignancy_score)
    headline = calibration.malignancy_probability(malignancy_score)
    np.testing.assert_allclose(classes.sum(axis=1), 1)
    assert (classes >= 0).all()
    assert (np.diff(headline) > 0).all()
    assert (classes[:, 2] <= headline).all()
