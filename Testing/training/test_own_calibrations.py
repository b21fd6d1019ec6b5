"""Calibrations of a network trained on own cases: from the cases where they are enough, else from the weights it started with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.tiny_training import nodule

from CLIPLungLib.calibration.calibrations import Calibrations, OutlineCalibrations
from CLIPLungLib.calibration.double_reading import no_second_readings
from CLIPLungLib.calibration.measurement import MeasurementCalibration
from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.out_of_distribution import OutOfDistributionLimits
from CLIPLungLib.calibration.sphericity import SphericityCalibration
from CLIPLungLib.calibration.truth import OUTCOME, READERS
from CLIPLungLib.dataset.nodule_images import PATCH_KINDS
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.training.fold_answers import FoldAnswers
from CLIPLungLib.training.own_calibrations import fit_own_calibrations
from CLIPLungLib.vocabulary import LEVEL_COUNT

EARLIER = Calibrations(
    Calibration(2.0, (-1.0, 0.0, 1.0)),
    0.7,
    OutlineCalibrations(
        diameter=MeasurementCalibration(1.3, 1.0, 0.2),
        volume=MeasurementCalibration(1.1, 1.0, 0.5),
        sphericity=SphericityCalibration(1.0, 0.2, 1.5, 0.5),
        limits=OutOfDistributionLimits(largest_distance=9.0, least_presence=0.1),
    ),
)


def answers_of(nodules: list[Nodule]) -> FoldAnswers:
    """For the crop of every nodule: scores that mostly rise with the truth, sizes of 2 / 3 of the known ones."""
    count, rng = len(nodules), np.random.default_rng(1)
    diameter = rng.uniform(4, 20, count)
    return FoldAnswers(
        nodule=np.arange(count),
        kind=np.full(count, PATCH_KINDS.index("crop")),
        fold=np.array([item.fold for item in nodules]),
        refused=np.zeros(count, dtype=bool),
        malignancy_score=np.array([(item.malignancy - 3) / 2 for item in nodules]) + rng.normal(0, 0.8, count),
        level_probabilities=np.full((count, LEVEL_COUNT), 0.2),
        estimated_diameter_mm=diameter,
        diameter_mm=diameter,
        short_diameter_mm=0.8 * diameter,
        volume_mm3=diameter**3 / 3,
        presence=rng.uniform(0.5, 1, count),
        distance=rng.uniform(1, 6, count),
        second=no_second_readings(count),
    )


def cases(count: int, **changes: object) -> list[Nodule]:
    return [replace(nodule(index), slice_index=None, images={"crop": "c"}, **changes) for index in range(count)]


def outcomes(count: int) -> list[Nodule]:
    return [
        replace(item, truth=OUTCOME, n_readers=0, malignancy=(1.0, 5.0)[index % 2], diameter_mm=float("nan"))
        for index, item in enumerate(
            cases(count, volume_mm3=float("nan"), ratings=dict.fromkeys(nodule(0).ratings, ()))
        )
    ]


def test_outcomes_have_one_cut_and_a_truth_of_their_own():
    nodules = outcomes(40)
    found = fit_own_calibrations(answers_of(nodules), nodules, True, "hospital", EARLIER)
    assert len(set(found.probability.offsets)) == 1
    assert (found.truth.whose, found.truth.cases, found.truth.patients, found.truth.events) == (OUTCOME, 40, 20, 20)
    assert found.truth.table == "hospital"
    assert found.class_set_threshold != EARLIER.class_set_threshold


def test_what_cases_are_too_few_for_stays_as_it_was():
    nodules = outcomes(8)
    answers = answers_of(nodules)
    found = fit_own_calibrations(answers, nodules, True, "hospital", EARLIER)
    assert found.class_set_threshold == EARLIER.class_set_threshold
    for part in ("diameter", "volume", "sphericity"):
        assert getattr(found.outline, part) == getattr(EARLIER.outline, part)
    # The feature space is another network's, so its limits are always of these cases.
    assert found.outline.limits.largest_distance <= answers.distance.max()
    # A few cases move the old curve, but not far.
    assert 1.0 < found.probability.slope < 5.0


def test_known_sizes_are_used_when_there_are_enough():
    nodules = cases(40)
    answers = answers_of(nodules)
    nodules = [replace(item, diameter_mm=1.5 * d) for item, d in zip(nodules, answers.diameter_mm, strict=True)]
    found = fit_own_calibrations(answers, nodules, True, "hospital", EARLIER)
    assert found.outline.diameter.value(10.0) == pytest.approx(15.0)
    assert found.truth.whose == READERS
    assert len(set(found.probability.offsets)) == 3


def test_without_earlier_weights_sizes_that_nobody_knows_mean_nothing():
    nodules = outcomes(40)
    found = fit_own_calibrations(answers_of(nodules), nodules, True, "hospital", None)
    assert found.outline is None
    sized = [replace(nodule(index), truth=OUTCOME, malignancy=(1.0, 5.0)[index % 2]) for index in range(40)]
    answers = answers_of(sized)
    sized = [
        replace(n, diameter_mm=d, volume_mm3=v)
        for n, d, v in zip(sized, answers.diameter_mm, answers.volume_mm3, strict=True)
    ]
    assert fit_own_calibrations(answers, sized, True, "hospital", None).outline is not None
    assert fit_own_calibrations(answers, sized, False, "hospital", None).outline is None


def test_scores_that_part_the_cases_leave_a_probability_with_doubt():
    nodules = outcomes(12)
    parted = replace(answers_of(nodules), malignancy_score=np.array([n.malignancy - 3 for n in nodules]))
    found = fit_own_calibrations(parted, nodules, False, "hospital", EARLIER)
    assert 0.9 < found.probability.malignancy_probability(np.array([2.0]))[0] < 0.99999


def test_no_answer_with_a_label_is_told():
    nodules = [replace(item, malignancy=float("nan"), truth=READERS) for item in outcomes(12)]
    answers = replace(answers_of(nodules), malignancy_score=np.zeros(12))
    with pytest.raises(InputError, match="No nodule of hospital has both"):
        fit_own_calibrations(answers, nodules, True, "hospital", EARLIER)
