"""The results file: every cross-validation of a folder and the size-only baselines on the same nodules, with patient bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from CLIPLungLib.calibration.double_reading import network_alone, second_alone
from CLIPLungLib.dataset.nodule_table import OUTCOME, Nodule, fewest_readers
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.bootstrap import BOOTSTRAPS, Estimate, estimate, patient_weights
from CLIPLungLib.evaluation.cross_fitting import Predictions, network_predictions, score_predictions, size_predictions
from CLIPLungLib.evaluation.figures import ECE, Figure, figures_of
from CLIPLungLib.evaluation.fold_models import FinishedRun
from CLIPLungLib.evaluation.interval_coverage import (
    class_set_figures,
    measurement_figures,
    own_diameter_mm,
    warning_figures,
)
from CLIPLungLib.evaluation.one_reader import beside_one_reader
from CLIPLungLib.evaluation.reader_reference import ReaderReference
from CLIPLungLib.evaluation.settings import ALL_NODULES, SETTINGS, judged_answers, main_setting
from CLIPLungLib.training.fold_answers import FoldAnswers

FORMAT_VERSION = 3
READERS_DIAMETER, OWN_DIAMETER = "readers_diameter", "own_diameter"
NETWORK_ALONE, SECOND_ALONE = "network_alone", "second_reader_alone"
GAINS, BESIDE_ONE_READER = f"gain_over_{READERS_DIAMETER}", "beside_one_reader"

Estimates = dict[str, dict[str, Any]]


def evaluate(
    runs: Sequence[FinishedRun],
    nodules: Sequence[Nodule],
    repeats: int = BOOTSTRAPS,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """All figures of finished cross-validations. Runs no network. Figures without labels in the data are left out.

    Args:
        runs: on the same data; the last one is the main one, for which every figure is computed.
        nodules: all rows of the table.
        repeats: of the bootstrap.
        progress: called before each setting with what is done, how many there are, and its name.

    Raises:
        InputError: runs of other data, or without an answer for any nodule whose malignancy is known.
    """
    main = runs[-1]
    chief = main_setting(main.answers, nodules)
    # In these, all runs are compared; elsewhere the main one and the baselines.
    compared_in = (chief, ALL_NODULES)
    settings: dict[str, Any] = {}
    for done, setting in enumerate(SETTINGS):
        if progress:
            progress(done, len(SETTINGS), setting)
        chosen = judged_answers(setting, main.answers, nodules)
        if chosen.any():
            shown = runs if setting in compared_in else [main]
            settings[setting] = _setting(chosen, shown, judged_answers(chief, main.answers, nodules), nodules, repeats)
    answers = main.answers.of(judged_answers(chief, main.answers, nodules))
    reference, predictions = _reference(answers, nodules), network_predictions(answers, main.calibrations)
    return {
        "format": FORMAT_VERSION,
        "folds": main.folds,
        "fewest_readers": fewest_readers(nodules),
        "bootstraps": repeats,
        "runs": {run.name: {"epochs": run.epochs} for run in runs},
        "main_run": main.name,
        "main_setting": chief,
        "settings": settings,
        "measurement": measurement_figures(main, answers, reference, repeats),
        "class_sets": class_set_figures(main, answers, predictions, reference, repeats),
        "warnings": warning_figures(main, nodules, repeats),
    }


def _reference(answers: FoldAnswers, nodules: Sequence[Nodule]) -> ReaderReference:
    """The reference of each prediction, with the fold of its network: a table prepared anew may have other folds."""
    return replace(ReaderReference.of_nodules([nodules[index] for index in answers.nodule]), fold=answers.fold)


def _setting(
    chosen: np.ndarray, runs: Sequence[FinishedRun], fit: np.ndarray, nodules: Sequence[Nodule], repeats: int
) -> dict[str, Any]:
    """Figures for the chosen answers; size-only baselines are fitted on those in `fit`."""
    main = runs[-1]
    beside = size_baselines(main, nodules, fit) | single_readers(main, nodules, fit)
    predictions = {name: one.of(chosen) for name, one in beside.items()}
    predictions = {name: baseline for name, baseline in predictions.items() if baseline.is_known.any()}
    for run in runs:
        predictions[run.name] = network_predictions(run.answers, run.calibrations).of(_same(run, main, chosen))
    judged = [nodules[index] for index in main.answers.nodule[chosen]]
    reference = ReaderReference.of_nodules(judged)
    found, gains = compare(predictions, reference, READERS_DIAMETER, repeats)
    return {
        "nodules": len(judged),
        "patients": len(np.unique(reference.patient)),
        "outcomes": sum(nodule.truth == OUTCOME for nodule in judged),
        "exactly_3": int((reference.rating == 3).sum()),
        "figures": found,
        **({GAINS: gains} if gains else {}),
        BESIDE_ONE_READER: beside_one_reader(judged, predictions[main.name], repeats),
    }


def size_baselines(run: FinishedRun, nodules: Sequence[Nodule], fit: np.ndarray) -> dict[str, Predictions]:
    """Size-only baselines for all answers, from the readers' diameter and from the run's own; fitted on those in `fit` (V,)."""
    reference = _reference(run.answers, nodules)
    sizes = {READERS_DIAMETER: reference.diameter_mm, OWN_DIAMETER: own_diameter_mm(run, run.answers)}
    return {name: size_predictions(size_mm, reference, fit) for name, size_mm in sizes.items()}


def single_readers(run: FinishedRun, nodules: Sequence[Nodule], fit: np.ndarray) -> dict[str, Predictions]:
    """Predictions of the network alone and of the second reader alone; empty without a second reader. Args as of `size_baselines`."""
    answers, reference = run.answers, _reference(run.answers, nodules)
    scores = {
        NETWORK_ALONE: network_alone(answers.malignancy_score, answers.second),
        SECOND_ALONE: second_alone(answers.second),
    }
    if not np.isfinite(scores[SECOND_ALONE]).any():
        return {}
    return {name: score_predictions(score, reference, fit) for name, score in scores.items()}


def _same(run: FinishedRun, main: FinishedRun, chosen: np.ndarray) -> np.ndarray:
    """(V,) bool for another run, whose images are in the same order, as both were read from the same table.

    Raises:
        InputError: they do not.
    """
    names = ("nodule", "kind", "fold")
    same = all(np.array_equal(getattr(run.answers, name), getattr(main.answers, name)) for name in names)
    if not same or run.answers.refused[chosen].any():
        raise InputError(
            f"{run.source} answers for other images than {main.source}. Cross-validate both with the same data and folds."
        )
    return chosen


def compare(
    predictions: Mapping[str, Predictions], reference: ReaderReference, baseline: str, repeats: int = BOOTSTRAPS
) -> tuple[dict[str, Estimates], dict[str, Estimates]]:
    """Figures of every prediction, and their paired differences to the baseline, all from the same draws of patients.

    Differences use the images with a baseline; without a baseline there are none.
    """
    weights = patient_weights(reference.patient, repeats)
    found: dict[str, Estimates] = {}
    for name, one in predictions.items():
        found[name] = {key: _estimate(figure, weights).to_dict() for key, figure in figures_of(one, reference).items()}
        # The percentile bootstrap of the ECE excludes its own value, so chance stands beside it instead.
        chance = metrics.chance_calibration_error(one.probability[one.is_known])
        found[name][ECE] |= {"interval": None, "by_chance": chance}
    if baseline not in predictions:
        return found, {}
    below = predictions[baseline]
    gains = {name: _gains(one, below, reference, weights) for name, one in predictions.items() if name != baseline}
    return found, gains


def _gains(one: Predictions, below: Predictions, reference: ReaderReference, weights: np.ndarray) -> Estimates:
    figures, baseline = figures_of(one, reference, below.is_known), figures_of(below, reference, one.is_known)
    return {
        key: _estimate(Figure(figure.n, _difference(figure, baseline[key])), weights).to_dict()
        for key, figure in figures.items()
        if key in baseline and key != ECE
    }


def _difference(figure: Figure, baseline: Figure) -> Callable[[np.ndarray], np.ndarray]:
    def difference(weights: np.ndarray) -> np.ndarray:
        found: np.ndarray = figure.value(weights) - baseline.value(weights)
        return found

    return difference


def _estimate(figure: Figure, weights: np.ndarray) -> Estimate:
    return estimate(figure.value, weights, figure.n)
