"""The results file: every cross-validation of a folder and the size-only floors on the same nodules, with patient bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.bootstrap import BOOTSTRAPS, Estimate, estimate, patient_weights
from CLIPLungLib.evaluation.cross_fitting import Predictions, network_predictions, size_predictions
from CLIPLungLib.evaluation.figures import ECE, Figure, figures_of
from CLIPLungLib.evaluation.fold_models import FinishedRun
from CLIPLungLib.evaluation.interval_coverage import (
    class_set_figures,
    measurement_figures,
    own_diameter_mm,
    warning_figures,
)
from CLIPLungLib.evaluation.reader_reference import SIGN_NAMES, ReaderReference, reader_pairs
from CLIPLungLib.training.calibrate import FEWEST_READERS, one_answer_per_nodule
from CLIPLungLib.training.fold_answers import FoldAnswers

FORMAT_VERSION = 2
READERS_DIAMETER, OWN_DIAMETER, SHIPPED = "readers_diameter", "own_diameter", "shipped"
VOLUMES, SLICES, CONTEXT, ALL_NODULES = "volumes", "slices", "true_context", "all_nodules"
# Where a nodule is seen -> the kinds of image that show it so; `all_nodules` takes each once, whoever read it, as papers do.
SETTINGS: dict[str, tuple[str, ...]] = {
    VOLUMES: ("volume",),
    SLICES: ("slice",),
    CONTEXT: ("cube", "crop"),
    ALL_NODULES: (),
}
# In these, all runs are compared; elsewhere the shipped one and the floors.
COMPARED_IN = (VOLUMES, ALL_NODULES)

Estimates = dict[str, dict[str, Any]]


def evaluate(
    folder: Path,
    nodules: Sequence[Nodule],
    repeats: int = BOOTSTRAPS,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """All figures of all cross-validations in a folder. Reads answers and checkpoints; computes no network.

    Args:
        folder: one sub-folder per run (`cliplung crossvalidate`, and "shipped" by `cliplung train`).
        nodules: all rows of the table.
        repeats: of the bootstrap.
        progress: called before each setting with what is done, how many there are, and its name.

    Raises:
        InputError: the run "shipped" is not there, or a cross-validation is not finished.
    """
    runs = _read_runs(folder)
    shipped = runs[SHIPPED]
    settings: dict[str, Any] = {}
    for done, setting in enumerate(SETTINGS):
        if progress:
            progress(done, len(SETTINGS), setting)
        chosen = _chosen(setting, shipped.answers, nodules)
        if chosen.any():
            settings[setting] = _setting(setting, chosen, runs, nodules, repeats)
    volumes = _chosen(VOLUMES, shipped.answers, nodules)
    answers, reference = shipped.answers.of(volumes), _reference(shipped.answers.of(volumes), nodules)
    predictions = network_predictions(answers, shipped.calibrations)
    return {
        "format": FORMAT_VERSION,
        "folds": shipped.folds,
        "fewest_readers": FEWEST_READERS,
        "bootstraps": repeats,
        "runs": {name: {"epochs": run.epochs} for name, run in runs.items()},
        "settings": settings,
        "measurement": measurement_figures(shipped, answers, reference, repeats),
        "class_sets": class_set_figures(shipped, answers, predictions, reference, repeats),
        "warnings": warning_figures(shipped, nodules, repeats),
    }


def _read_runs(folder: Path) -> dict[str, FinishedRun]:
    """Name -> run, the shipped one last."""
    names = sorted(path.name for path in folder.iterdir() if any(path.glob("fold*"))) if folder.is_dir() else []
    if SHIPPED not in names:
        raise InputError(
            f"{folder} holds no run '{SHIPPED}'. Run 'cliplung train --output {folder / SHIPPED}' or 'cliplung crossvalidate' first."
        )
    ordered = [name for name in names if name != SHIPPED] + [SHIPPED]
    return {name: FinishedRun.read(folder / name) for name in ordered}


def _chosen(setting: str, answers: FoldAnswers, nodules: Sequence[Nodule]) -> np.ndarray:
    """(V,) bool: the answers a setting is about."""
    if setting == ALL_NODULES:
        return one_answer_per_nodule(answers, nodules, fewest_readers=1)
    readers = np.array([nodules[index].n_readers for index in answers.nodule])
    chosen: np.ndarray = (readers >= FEWEST_READERS) & answers.is_kind(*SETTINGS[setting]) & ~answers.refused
    return chosen


def _reference(answers: FoldAnswers, nodules: Sequence[Nodule]) -> ReaderReference:
    return ReaderReference.of_nodules([nodules[index] for index in answers.nodule])


def _setting(
    setting: str, chosen: np.ndarray, runs: Mapping[str, FinishedRun], nodules: Sequence[Nodule], repeats: int
) -> dict[str, Any]:
    shipped = runs[SHIPPED]
    everything, fit = _reference(shipped.answers, nodules), _chosen(VOLUMES, shipped.answers, nodules)
    own_mm = own_diameter_mm(shipped, shipped.answers)
    predictions = {
        READERS_DIAMETER: size_predictions(everything.diameter_mm, everything, fit).of(chosen),
        OWN_DIAMETER: size_predictions(own_mm, everything, fit).of(chosen),
    }
    for name, run in runs.items() if setting in COMPARED_IN else {SHIPPED: shipped}.items():
        predictions[name] = network_predictions(run.answers, run.calibrations).of(_same(run, shipped, chosen))
    reference = _reference(shipped.answers.of(chosen), nodules)
    found, gains = compare(predictions, reference, READERS_DIAMETER, repeats)
    return {
        "nodules": len(np.unique(shipped.answers.nodule[chosen])),
        "patients": len(np.unique(reference.patient)),
        "exactly_3": int((reference.rating == 3).sum()),
        "figures": found,
        f"gain_over_{READERS_DIAMETER}": gains,
        "one_reader": one_reader_figures([nodules[index] for index in shipped.answers.nodule[chosen]], repeats),
    }


def _same(run: FinishedRun, reference: FinishedRun, chosen: np.ndarray) -> np.ndarray:
    """(V,) bool for another run; its images come in the same order, since both were read from the same table.

    Raises:
        InputError: they do not.
    """
    same = all(
        np.array_equal(getattr(run.answers, name), getattr(reference.answers, name))
        for name in ("nodule", "kind", "fold")
    )
    if not same or run.answers.refused[chosen].any():
        raise InputError(
            f"{run.folder} answers for other images than {reference.folder}. Cross-validate both with the same data and folds."
        )
    return chosen


def compare(
    predictions: Mapping[str, Predictions], reference: ReaderReference, floor: str, repeats: int = BOOTSTRAPS
) -> tuple[dict[str, Estimates], dict[str, Estimates]]:
    """Figures of every prediction, and the paired differences of each to the floor's, all from the same draws of patients."""
    weights = patient_weights(reference.patient, repeats)
    figures = {name: figures_of(one, reference) for name, one in predictions.items()}
    found: dict[str, Estimates] = {name: {} for name in predictions}
    gains: dict[str, Estimates] = {name: {} for name in predictions if name != floor}
    for name, own in figures.items():
        for key, figure in own.items():
            found[name][key] = _estimate(figure, weights).to_dict()
            if name != floor and key in figures[floor] and key != ECE:
                gain = Figure(figure.n, _difference(figure, figures[floor][key]))
                gains[name][key] = _estimate(gain, weights).to_dict()
        # The percentile bootstrap of the ECE excludes its own value, so chance stands beside it instead.
        chance = metrics.chance_calibration_error(predictions[name].probability)
        found[name][ECE] |= {"interval": None, "by_chance": chance}
    return found, gains


def _difference(figure: Figure, floor: Figure) -> Callable[[np.ndarray], np.ndarray]:
    def difference(weights: np.ndarray) -> np.ndarray:
        found: np.ndarray = figure.value(weights) - floor.value(weights)
        return found

    return difference


def _estimate(figure: Figure, weights: np.ndarray) -> Estimate:
    return estimate(figure.value, weights, figure.n)


def one_reader_figures(nodules: Sequence[Nodule], repeats: int = BOOTSTRAPS) -> Estimates:
    """Spearman of one reader with the mean of the others, for every sign; nodules with fewer than three readers do not count."""
    found: Estimates = {}
    for sign in SIGN_NAMES:
        one, others, place = reader_pairs(nodules, sign)
        patients = np.array([nodules[index].patient_id for index in place])
        weights = patient_weights(patients, repeats)
        figure = Figure(len(np.unique(place)), partial(metrics.spearman, one, others))
        found[f"spearman_{sign}"] = _estimate(figure, weights).to_dict()
    return found
