"""Renewing calibrations on local cases: what is renewed, what is kept and why, and that no patient judges himself."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from CLIPLungLib.calibration.calibrations import Calibrations, OutlineCalibrations
from CLIPLungLib.calibration.measurement import MeasurementCalibration
from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.out_of_distribution import OutOfDistributionLimits
from CLIPLungLib.calibration.sphericity import SphericityCalibration
from CLIPLungLib.calibration.truth import OUTCOME, READERS, Truth
from CLIPLungLib.dataset.case_table import Case
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.cohort_table import CohortRow
from CLIPLungLib.recalibration.answers import LocalAnswers
from CLIPLungLib.recalibration.comparison import LABELS, LOG_LOSS, compare_calibrations, verdict
from CLIPLungLib.recalibration.fit import FOLDS, calibrate_locally, patient_folds

OUTLINE = OutlineCalibrations(
    diameter=MeasurementCalibration(1.0, 1.0, 0.2),
    volume=MeasurementCalibration(1.0, 1.0, 0.5),
    sphericity=SphericityCalibration(1.0, 0.2, 1.5, 0.5),
    limits=OutOfDistributionLimits(largest_distance=9.0, least_presence=0.1),
)
OLD = Calibrations(Calibration(2.0, (-1.0, 0.0, 1.0)), 0.7, OUTLINE)


def case(name: str, patient: str, malignancy: float, truth: str, diameter_mm: float) -> Case:
    row = CohortRow(name, None, None)
    return Case(row, patient, None, malignancy, truth, 1, {}, diameter_mm, math.nan)


def answers(score, malignancy, truth, patient=None, known_mm=None) -> LocalAnswers:
    n = len(score)
    patient = np.arange(n) if patient is None else patient
    measured = np.random.default_rng(1).uniform(5, 20, n)
    known = measured * 1.5 if known_mm is None else known_mm
    cases = tuple(case(f"n{i}", f"p{patient[i]}", malignancy[i], truth, known[i]) for i in range(n))
    return LocalAnswers(cases, np.asarray(score), measured, measured**3 / 2, np.full(n, 3.0), np.full(n, 0.9), {})


def outcomes(n: int, slope: float = 2.0, offset: float = 2.0, seed: int = 0, **others) -> LocalAnswers:
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 1, n)
    event = rng.random(n) < expit(slope * score - offset)
    return answers(score, np.where(event, 5.0, 1.0), OUTCOME, **others)


def calibrated(found: LocalAnswers, whose: str = OUTCOME):
    return calibrate_locally(found, OLD, whose, "cases.csv", "2026-11-26")


def test_outcomes_of_a_rarer_disease_move_the_probability_and_say_so():
    given = outcomes(300)
    found = calibrated(given)
    event = np.array([one.malignancy == 5 for one in given.cases])
    assert found.is_updated
    assert found.decisions["probability"].startswith("updated")
    assert found.calibrations.truth == Truth(OUTCOME, 300, 300, int(event.sum()), "cases.csv", "2026-11-26")
    fresh = outcomes(4000, seed=7)
    happened = np.array([one.malignancy == 5 for one in fresh.cases])
    said = found.calibrations.probability.malignancy_probability(fresh.malignancy_score)
    assert said.mean() == pytest.approx(happened.mean(), abs=0.05)
    compared = compare_calibrations(found, repeats=200)
    assert compared.keys() == LABELS.keys()
    assert compared[LOG_LOSS].change.interval[1] < 0
    assert compared["mean_probability_minus_rate"].before.value > 0.15
    assert verdict(compared) == "After is better than before, beyond what chance brings."


def test_an_update_that_does_not_help_other_patients_is_not_used():
    found = calibrated(outcomes(60, offset=0.0, seed=2))
    assert not found.is_updated
    assert found.decisions["probability"].startswith("kept")
    assert found.calibrations.probability == Calibration(2.0, (0.0, 0.0, 0.0))
    compared = compare_calibrations(found, repeats=50)
    assert "NOT better" in verdict(compared)
    assert compared[LOG_LOSS].change.value >= 0


def test_it_never_is_worse_than_the_old_one_on_patients_it_was_not_fitted_on():
    for seed in range(8):
        found = calibrated(outcomes(40, offset=0.5, seed=seed))
        change = compare_calibrations(found, repeats=10)[LOG_LOSS].change.value
        assert found.is_updated == (change < 0)


def test_ratings_keep_three_cuts_and_are_still_the_readers():
    rng = np.random.default_rng(0)
    score = rng.normal(0, 1, 400)
    above = rng.random(400)[:, None] < Calibration(2.0, (0.5, 2.0, 2.5)).exceeds(score)
    rating = np.array([1.0, 2.75, 3.25, 4.5])[above.sum(axis=1)]
    found = calibrated(answers(score, rating, READERS), READERS)
    assert found.is_updated
    assert found.calibrations.truth.whose == READERS
    assert found.calibrations.probability.offsets == pytest.approx((0.5, 2.0, 2.5), abs=0.4)


def test_no_patient_is_in_two_folds_and_events_are_spread():
    patient = np.repeat(np.arange(60), 3)
    event = patient % 3 == 0
    fold = patient_folds(event, patient)
    assert all(len(np.unique(fold[patient == one])) == 1 for one in range(60))
    assert len(np.unique(fold)) == FOLDS
    assert all(event[fold == one].any() and not event[fold == one].all() for one in range(FOLDS))


def test_a_patients_label_does_not_reach_the_probability_that_judges_it():
    given = outcomes(40, patient=np.arange(40) // 2)
    flipped = tuple(
        replace(one, malignancy=6.0 - one.malignancy) if one.patient_id == "p3" else one for one in given.cases
    )
    # Folds depend on who has an event; only pairs of mixed patients leave them alone.
    assert {one.malignancy for one in given.cases if one.patient_id == "p3"} == {1.0, 5.0}
    before, after = calibrated(given), calibrated(replace(given, cases=flipped))
    np.testing.assert_array_equal(before.after[6:8], after.after[6:8])
    assert not np.array_equal(before.after, after.after)


def test_class_sets_are_kept_with_few_of_a_class_and_refitted_with_enough():
    few, enough = calibrated(outcomes(30, offset=2.5)), calibrated(outcomes(200))
    assert few.calibrations.class_set_threshold == OLD.class_set_threshold
    assert few.decisions["class sets"].startswith("kept: only ")
    assert "malignant (10 of every class" in few.decisions["class sets"]
    assert enough.decisions["class sets"].startswith("refitted")
    fresh = outcomes(3000, seed=9)
    rows = enough.calibrations.probability.class_probabilities(fresh.malignancy_score)
    names = ["malignant" if one.malignancy == 5 else "benign" for one in fresh.cases]
    held = [name in enough.calibrations.class_set(row) for row, name in zip(rows, names, strict=True)]
    assert np.mean(held) == pytest.approx(0.9, abs=0.06)


def test_sizes_are_refitted_where_enough_are_known():
    found = calibrated(outcomes(100))
    assert found.calibrations.outline.diameter.scale == pytest.approx(1.5, rel=0.01)
    assert "held the known size in 0%" in found.decisions["diameter"]
    assert found.calibrations.outline.volume == OUTLINE.volume
    assert "0 cases have a known and a measured size" in found.decisions["volume"]
    known = np.where(np.arange(100) < 29, 10.0, np.nan)
    assert calibrated(outcomes(100, known_mm=known)).calibrations.outline == OUTLINE


def test_sizes_that_make_no_sense_are_kept_with_the_reason():
    measured = np.random.default_rng(1).uniform(5, 20, 100)
    found = calibrated(outcomes(100, known_mm=100 / measured))
    assert found.calibrations.outline.diameter == OUTLINE.diameter
    assert "do not rise" in found.decisions["diameter"]


def test_warnings_are_counted_and_their_limits_kept():
    given = outcomes(100)
    found = calibrated(replace(given, distance=np.where(np.arange(100) < 25, 12.0, 3.0)))
    assert found.calibrations.outline.limits == OUTLINE.limits
    assert found.decisions["warnings"].startswith("limits kept; 25%")


def test_a_network_without_outlines_has_neither_sizes_nor_warnings():
    found = calibrate_locally(outcomes(100), replace(OLD, outline=None), OUTCOME, "cases.csv", "2026-11-26")
    assert found.calibrations.outline is None
    assert found.decisions.keys() == {"probability", "class sets"}


def test_too_few_patients_of_a_kind_are_refused_with_the_counts():
    score, rating = np.linspace(-1, 1, 40), np.where(np.arange(40) % 8 == 7, 5.0, 1.0)
    # Five events, of four patients.
    patient = np.where(np.arange(40) == 15, 7, np.arange(40))
    with pytest.raises(InputError, match=r"4 patient\(s\) with an event .* 35 without"):
        calibrated(answers(score, rating, OUTCOME, patient))
    assert calibrated(answers(score, rating, OUTCOME)).power.cases == 40


def test_labels_the_wrong_way_round_are_refused():
    given = outcomes(100)
    turned = tuple(replace(one, malignancy=6.0 - one.malignancy) for one in given.cases)
    with pytest.raises(InputError, match="does not rise"):
        calibrated(replace(given, cases=turned))


def test_cases_that_the_score_parts_are_refused():
    score = np.linspace(-1, 1, 40)
    with pytest.raises(InputError, match="without any overlap"):
        calibrated(answers(score, np.where(score > 0, 5.0, 1.0), OUTCOME))
