"""Calibrations of a network trained on own cases. Where they are too few, a prior is used, or the calibration is left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from CLIPLungLib.calibration.calibrations import Calibrations, OutlineCalibrations
from CLIPLungLib.calibration.conformal import fit_class_sets
from CLIPLungLib.calibration.measurement import MeasurementCalibration, fit_measurement_calibration
from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.out_of_distribution import fit_limits
from CLIPLungLib.calibration.sphericity import SphericityCalibration, fit_sphericity
from CLIPLungLib.calibration.truth import Truth
from CLIPLungLib.calibration.updating import unchanged, update_calibration
from CLIPLungLib.dataset.nodule_table import Nodule, fewest_readers
from CLIPLungLib.errors import InputError
from CLIPLungLib.training.data_source import whose_truth
from CLIPLungLib.training.fold_answers import FoldAnswers
from CLIPLungLib.training.fold_calibrations import WHOLE_NODULE, one_answer_per_nodule
from CLIPLungLib.vocabulary import reached_cuts

# About what the score of a trained network means; a dozen cases move it.
PLAIN = Calibration(2.0, (-1.0, 0.0, 1.0))
# The 90 % quantile needs so many.
FEWEST_FOR_SETS = 9
# Nodules of known size: to fit anew, and to do better than an earlier fit.
FEWEST_SIZES, FEWEST_SIZES_FOR_ANOTHER = 10, 30


def fit_own_calibrations(
    answers: FoldAnswers, nodules: Sequence[Nodule], draws_outline: bool, name: str, earlier: Calibrations | None
) -> Calibrations:
    """Calibrations for a network trained on the nodules of a table that is not LIDC-IDRI's.

    Args:
        answers: out of fold.
        nodules: all rows of the table.
        draws_outline: whether the networks outline nodules.
        name: of the data.
        earlier: of the checkpoint that the training started from.

    Raises:
        InputError: no nodule with an answer and a malignancy.
    """
    chosen = answers.of(one_answer_per_nodule(answers, nodules, fewest_readers(nodules)))
    rated = [nodules[index] for index in chosen.nodule]
    if not rated:
        raise InputError(f"No nodule of {name} has both an answer and a malignancy. Check points and labels.")
    cuts = np.array([reached_cuts(nodule.malignancy) for nodule in rated])
    whose = whose_truth(rated)
    start = unchanged(earlier.probability if earlier else PLAIN, whose)
    probability = update_calibration(start, chosen.malignancy_score, cuts.sum(axis=1), whose).calibration
    threshold = earlier.class_set_threshold if earlier else 1.0
    if len(rated) >= FEWEST_FOR_SETS:
        classes = probability.class_probabilities(chosen.malignancy_score)
        threshold = fit_class_sets(classes, np.array([nodule.label for nodule in rated]))
    patients = len({nodule.patient_id for nodule in rated})
    truth = Truth(whose, len(rated), patients, int(cuts[:, 1].sum()), name[:255])
    outline = _outline(answers, nodules, earlier.outline if earlier else None) if draws_outline else None
    return Calibrations(probability, threshold, outline, truth)


def _outline(
    answers: FoldAnswers, nodules: Sequence[Nodule], earlier: OutlineCalibrations | None
) -> OutlineCalibrations | None:
    """None where the sizes can be calibrated neither by these nodules nor by an earlier fit."""
    usable = answers.is_kind(*WHOLE_NODULE) & ~answers.refused
    seen = answers.of(usable)
    once = answers.of(one_answer_per_nodule(answers, nodules, 0) & usable & np.isfinite(answers.diameter_mm))
    own = [nodules[index] for index in once.nodule]
    diameter = _size(
        once.measured_diameter_mm, [nodule.diameter_mm for nodule in own], earlier.diameter if earlier else None
    )
    volume = _size(once.volume_mm3, [nodule.volume_mm3 for nodule in own], earlier.volume if earlier else None)
    sphericity = _sphericity(once, own, earlier.sphericity if earlier else None)
    if diameter is None or volume is None or sphericity is None or not len(seen.nodule):
        return None
    return OutlineCalibrations(diameter, volume, sphericity, fit_limits(seen.distance, seen.presence))


def _size(
    measured: np.ndarray, known: Sequence[float], earlier: MeasurementCalibration | None
) -> MeasurementCalibration | None:
    both = np.isfinite(measured) & np.isfinite(known)
    if both.sum() < (FEWEST_SIZES_FOR_ANOTHER if earlier else FEWEST_SIZES):
        return earlier
    try:
        return fit_measurement_calibration(measured[both], np.array(known)[both])
    except InputError:  # Measurements that do not rise with the known sizes.
        return earlier


def _sphericity(
    answers: FoldAnswers, nodules: Sequence[Nodule], earlier: SphericityCalibration | None
) -> SphericityCalibration | None:
    rating = np.array([nodule.mean_rating("sphericity") for nodule in nodules])
    rated = np.isfinite(rating)
    if rated.sum() < (FEWEST_SIZES_FOR_ANOTHER if earlier else FEWEST_SIZES):
        return earlier
    own = answers.of(rated)
    return fit_sphericity(
        own.level("sphericity"), own.diameter_mm, own.short_diameter_mm, own.volume_mm3, rating[rated]
    )
