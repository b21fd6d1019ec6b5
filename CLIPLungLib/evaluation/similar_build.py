"""The index of similar cases, from the out-of-fold predictions that the weights were calibrated with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from CLIPLungLib.calibration.calibrations import Calibrations
from CLIPLungLib.dataset.data_name import LIDC
from CLIPLungLib.dataset.nodule_table import Nodule, fewest_readers
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.cross_fitting import network_predictions
from CLIPLungLib.evaluation.fold_models import FinishedRun
from CLIPLungLib.evaluation.reader_reference import SIGN_NAMES, ReaderReference
from CLIPLungLib.evaluation.similar_figures import (
    RatedNodules,
    agreements,
    chosen_metric,
    compare_metrics,
    metrics_of_folds,
    neighbour_predictions,
    usual_distance,
)
from CLIPLungLib.inference.calibrated_result import require_calibrations
from CLIPLungLib.inference.checkpoint import Checkpoint
from CLIPLungLib.lidc.citations import DATA_CITATION
from CLIPLungLib.similar.features import features
from CLIPLungLib.similar.figures import RATED
from CLIPLungLib.similar.index import NEIGHBOURS, SimilarIndex
from CLIPLungLib.training.fold_answers import FoldAnswers
from CLIPLungLib.training.fold_calibrations import fit_calibrations, one_answer_per_nodule

# Between the calibration of a weights file and one fitted again on kept answers, which are rounded.
CALIBRATION_TOLERANCE = 0.01
FEWEST_FOLDS = 3


def build_index(run: FinishedRun, nodules: Sequence[Nodule], checkpoint: Checkpoint) -> SimilarIndex:
    """Build the index, and measure how well its neighbours predict the ratings.

    Args:
        run: a finished cross-validation.
        nodules: all rows of the table.
        checkpoint: the weights that the index is for.

    Raises:
        InputError: nodules that are not public or not in the table, predictions of another cross-validation than that of the weights,
            or too few of them.
        CheckpointError: the weights have no calibrations.
    """
    _require_public(nodules)
    if run.missing:
        raise InputError(
            f"The data folder lacks {run.missing} nodule(s) of {run.source}, and an index holds all of them. Give the whole data folder."
        )
    _require_same_run(run, nodules, checkpoint)
    answers = run.answers.of(one_answer_per_nodule(run.answers, nodules, fewest_readers(nodules)))
    rated, own = rated_nodules(answers, nodules, run.calibrations), [nodules[index] for index in answers.nodule]
    choices = compare_metrics(rated)
    metric = chosen_metric(choices)
    predicted, _ = neighbour_predictions(rated, metrics_of_folds(rated))
    _, distance = neighbour_predictions(rated, [metric] * len(np.unique(rated.fold)))
    center, transform = metric.fit(rated.features)
    return SimilarIndex(
        weights_sha256=checkpoint.sha256,
        center=center.astype(np.float32),
        transform=transform.astype(np.float32),
        places=((rated.features - center) @ transform).astype(np.float16),
        nodule_ids=tuple(nodule.nodule_id for nodule in own),
        patient_ids=tuple(nodule.patient_id for nodule in own),
        readers=np.array([nodule.n_readers for nodule in own]).astype(np.uint8),
        ratings=rated.readers[:, : len(RATED)].astype(np.float32),
        diameter_mm=rated.readers[:, -1].astype(np.float32),
        usual_distance=usual_distance(distance),
        metric=metric.name,
        source=DATA_CITATION,
        figures=agreements(rated, predicted),
        choices={name: round(value, 4) for name, value in choices.items()},
    )


def rated_nodules(
    answers: FoldAnswers, nodules: Sequence[Nodule], calibrations: Mapping[int, Calibrations]
) -> RatedNodules:
    """One prediction per nodule, calibrated by its fold, with the readers' ratings.

    Raises:
        InputError: too few folds or nodules.
    """
    folds, counts = np.unique(answers.fold, return_counts=True)
    if len(folds) < FEWEST_FOLDS or len(answers.fold) - counts.max(initial=0) < 2 * NEIGHBOURS:
        raise InputError(
            f"Similar cases need answers for at least {2 * NEIGHBOURS} nodules outside of every fold, and {FEWEST_FOLDS} folds; there are "
            f"{len(answers.fold)} nodules in {len(folds)} fold(s). Cross-validate on more patients."
        )
    reference = ReaderReference.of_nodules([nodules[index] for index in answers.nodule])
    predicted, diameter_mm = network_predictions(answers, calibrations), _diameters(answers, calibrations)
    return RatedNodules(
        features=features(answers.level_probabilities, predicted.probability, diameter_mm),
        readers=np.column_stack(
            [reference.rating, *(reference.signs[name] for name in SIGN_NAMES), reference.diameter_mm]
        ),
        network=np.column_stack([predicted.probability, *(predicted.signs[name] for name in SIGN_NAMES), diameter_mm]),
        fold=answers.fold,
        patient=reference.patient,
    )


def _diameters(answers: FoldAnswers, calibrations: Mapping[int, Calibrations]) -> np.ndarray:
    """(N,) diameters as results state them: the calibrated measurement, or the direct estimate where nothing was outlined."""
    found: np.ndarray = answers.estimated_diameter_mm.copy()
    for fold, fitted in calibrations.items():
        outlined = (answers.fold == fold) & np.isfinite(answers.diameter_mm)
        if fitted.outline is not None:
            diameter = fitted.outline.diameter
            found[outlined] = [diameter.value(measured) for measured in answers.measured_diameter_mm[outlined]]
    return found


def _require_public(nodules: Sequence[Nodule]) -> None:
    """Refuse private cases: an index is distributed with its weights, and names patients."""
    other = [nodule for nodule in nodules if not nodule.patient_id.startswith(LIDC)]
    if other:
        raise InputError(
            f"Patient '{other[0].patient_id[:40]}' is not of {LIDC}: an index of similar cases travels with its weights and names patients, "
            f"so it is made of public cases only. Give the data folder of {LIDC}."
        )


def _require_same_run(run: FinishedRun, nodules: Sequence[Nodule], checkpoint: Checkpoint) -> None:
    """Refuse predictions of another cross-validation: refitted on the right ones, the calibration of the weights does not change."""
    of_weights = require_calibrations(checkpoint).probability
    of_answers = fit_calibrations(run.answers, nodules, draws_outline=False).probability
    wanted, found = ([fitted.slope, *fitted.offsets] for fitted in (of_weights, of_answers))
    if not np.allclose(found, wanted, rtol=CALIBRATION_TOLERANCE, atol=CALIBRATION_TOLERANCE):
        raise InputError(
            f"{run.source} does not belong to these weights (SHA-256 {checkpoint.sha256[:12]}): they were calibrated on other answers. "
            "Give the answers of the cross-validation that the weights come from."
        )
