"""Calibrations from the out-of-fold predictions of a cross-validation.

Probabilities and sizes are fitted on volumes and slices, of which there are most; fitted on nodules inserted into other lung they were
worse, even in true context. The limits of the warnings are fitted on true context and inserted nodules, as a click in a whole CT meets them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from CLIPLungLib.calibration.calibrations import Calibrations, OutlineCalibrations
from CLIPLungLib.calibration.conformal import fit_class_sets
from CLIPLungLib.calibration.measurement import fit_measurement_calibration
from CLIPLungLib.calibration.ordinal import fit_calibration
from CLIPLungLib.calibration.out_of_distribution import fit_limits
from CLIPLungLib.calibration.sphericity import fit_sphericity
from CLIPLungLib.dataset.image_choice import AS_CLICKED, one_image_per_nodule
from CLIPLungLib.dataset.nodule_table import Nodule, fewest_readers, is_trusted
from CLIPLungLib.training.fold_answers import FoldAnswers

# Calibrations are fitted on, and figures are about, nodules that so many readers rated.
FEWEST_READERS = 3
# A single slice shows less of a nodule than a scan, and would widen the limits of the warnings.
WHOLE_NODULE = ("volume", "cube", "crop", "inserted")


def fit_calibrations(answers: FoldAnswers, nodules: Sequence[Nodule], draws_outline: bool) -> Calibrations:
    """Fit the calibrations of a network.

    Args:
        answers: out of fold.
        nodules: all rows of the table.
        draws_outline: whether the networks have learned to outline; without, there is nothing to measure or to warn of.

    Raises:
        InputError: too few nodules, or measurements that do not rise with the readers'.
    """
    chosen = answers.of(one_answer_per_nodule(answers, nodules, fewest_readers(nodules)))
    rated = [nodules[index] for index in chosen.nodule]
    probability = fit_calibration(chosen.malignancy_score, np.array([nodule.malignancy for nodule in rated]))
    classes = probability.class_probabilities(chosen.malignancy_score)
    threshold = fit_class_sets(classes, np.array([nodule.label for nodule in rated]))
    return Calibrations(probability, threshold, _fit_outline(answers, chosen, nodules) if draws_outline else None)


def _fit_outline(answers: FoldAnswers, rated: FoldAnswers, nodules: Sequence[Nodule]) -> OutlineCalibrations:
    # A slice does not show a nodule from end to end.
    is_sized = np.array([np.isfinite(nodules[index].diameter_mm) for index in rated.nodule], dtype=bool)
    whole = rated.of(rated.is_kind(*WHOLE_NODULE) & is_sized & np.isfinite(rated.diameter_mm))
    outlined = [nodules[index] for index in whole.nodule]
    seen = answers.of(one_answer_per_nodule(answers, nodules, 0, AS_CLICKED) & answers.is_kind(*WHOLE_NODULE))
    return OutlineCalibrations(
        diameter=fit_measurement_calibration(whole.measured_diameter_mm, np.array([n.diameter_mm for n in outlined])),
        volume=fit_measurement_calibration(whole.volume_mm3, np.array([n.volume_mm3 for n in outlined])),
        sphericity=fit_sphericity(
            whole.level("sphericity"),
            whole.diameter_mm,
            whole.short_diameter_mm,
            whole.volume_mm3,
            np.array([n.mean_rating("sphericity") for n in outlined]),
        ),
        limits=fit_limits(seen.distance, seen.presence),
    )


def one_answer_per_nodule(
    answers: FoldAnswers, nodules: Sequence[Nodule], fewest_readers: int, order: tuple[str, ...] | None = None
) -> np.ndarray:
    """(V,) bool: one prediction for every nodule with enough readers, see `one_image_per_nodule`; none for refused clicks."""
    enough = np.array([is_trusted(nodules[index], fewest_readers) for index in answers.nodule], dtype=bool)
    return one_image_per_nodule(answers.nodule, answers.kind, enough & ~answers.refused, order)
