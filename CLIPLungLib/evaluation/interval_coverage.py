"""Held-out performance of the fold checkpoints' other outputs: sizes with intervals, class sets, warnings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from CLIPLungLib.calibration.conformal import class_set
from CLIPLungLib.calibration.double_reading import second_output, sizes_disagree
from CLIPLungLib.calibration.measurement import MeasurementCalibration
from CLIPLungLib.dataset.nodule_images import PATCH_KINDS
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.bootstrap import Estimate, estimate, patient_weights
from CLIPLungLib.evaluation.cross_fitting import Predictions
from CLIPLungLib.evaluation.fold_models import FinishedRun
from CLIPLungLib.evaluation.reader_reference import ReaderReference
from CLIPLungLib.model.second_outputs import LOG_DIAMETER
from CLIPLungLib.training.fold_answers import FoldAnswers
from CLIPLungLib.vocabulary import CLASSES

# Below, a voxel decides; above, readers differ by more than a millimetre themselves.
JUDGED_MM = (5.0, 20.0)

Figures = dict[str, dict[str, Any]]


def measurement_figures(run: FinishedRun, answers: FoldAnswers, reference: ReaderReference, repeats: int) -> Figures:
    """The model's diameter and volume against the readers'; `reference` is of the same images as `answers`."""
    outlined = np.isfinite(answers.diameter_mm)
    sized, filled = outlined & np.isfinite(reference.diameter_mm), outlined & np.isfinite(reference.volume_mm3)
    value_mm, low_mm, high_mm = _calibrated(run, answers, "diameter", answers.measured_diameter_mm)
    value_mm3, low_mm3, high_mm3 = _calibrated(run, answers, "volume", answers.volume_mm3)
    looked_at = outlined & np.isfinite(second_output(answers.second, LOG_DIAMETER))
    judged = outlined & (reference.diameter_mm >= JUDGED_MM[0]) & (reference.diameter_mm <= JUDGED_MM[1])
    error_mm = value_mm - reference.diameter_mm
    figure = partial(_estimate, patient=reference.patient, repeats=repeats)
    everyone = np.ones(len(outlined), dtype=bool)
    found = {
        "outlined": figure(outlined, everyone, metrics.mean),
        "outline_in_doubt": figure(sizes_disagree(answers.diameter_mm, answers.second), looked_at, metrics.mean),
        "diameter_coverage": figure(_within(reference.diameter_mm, low_mm, high_mm), sized, metrics.mean),
        "diameter_median_relative_error": figure(np.abs(value_mm / reference.diameter_mm - 1), sized, metrics.median),
        "diameter_median_error_mm": figure(np.abs(error_mm), judged, metrics.median),
        "diameter_bias_mm": figure(error_mm, judged, metrics.median),
        "volume_coverage": figure(_within(reference.volume_mm3, low_mm3, high_mm3), filled, metrics.mean),
        "volume_median_relative_error": figure(np.abs(value_mm3 / reference.volume_mm3 - 1), filled, metrics.median),
    }
    return {name: found_figure.to_dict() for name, found_figure in found.items() if found_figure.n}


def own_diameter_mm(run: FinishedRun, answers: FoldAnswers) -> np.ndarray:
    """(V,) the diameter as users see it: calibrated, or the direct estimate where nothing was outlined."""
    measured = _calibrated(run, answers, "diameter", answers.measured_diameter_mm)[0]
    return np.where(np.isfinite(measured), measured, answers.estimated_diameter_mm)


def class_set_figures(
    run: FinishedRun, answers: FoldAnswers, predictions: Predictions, reference: ReaderReference, repeats: int
) -> Figures:
    """Coverage and size of the class sets."""
    sets = [
        class_set(row, run.calibrations[fold].class_set_threshold)
        for row, fold in zip(predictions.classes, answers.fold, strict=True)
    ]
    held = np.array([CLASSES[label] in one for one, label in zip(sets, reference.label, strict=True)])
    size, everyone = np.array([len(one) for one in sets]), np.ones(len(sets), dtype=bool)
    found = {
        "coverage": _estimate(held, everyone, metrics.mean, reference.patient, repeats),
        "classes_per_set": _estimate(size, everyone, metrics.mean, reference.patient, repeats),
        "one_class": _estimate(size == 1, everyone, metrics.mean, reference.patient, repeats),
    }
    return {name: figure.to_dict() for name, figure in found.items()}


def warning_figures(run: FinishedRun, nodules: Sequence[Nodule], repeats: int) -> Figures:
    """Share of images with an out-of-distribution warning, per kind: few of the nodules, many of the places without one.

    A refused click shows no answer, so it counts in neither; `refused` says how many there were.
    """
    answers = run.answers
    warned = np.zeros(len(answers.fold), dtype=bool)
    for place in np.flatnonzero(~answers.refused):
        outline = run.calibrations[int(answers.fold[place])].outline
        if outline is not None:
            warned[place] = bool(outline.limits.warnings(answers.distance[place], answers.presence[place]))
    patient = np.array([nodules[index].patient_id for index in answers.nodule])
    found: Figures = {}
    # Inserted nodules are there to learn from.
    for kind in (kind for kind in PATCH_KINDS if kind != "inserted"):
        shown = answers.is_kind(kind)
        if (shown & ~answers.refused).any():
            figure = _estimate(warned, shown & ~answers.refused, metrics.mean, patient, repeats)
            found[kind] = figure.to_dict() | {"refused": int((shown & answers.refused).sum())}
    return found


def _calibrated(
    run: FinishedRun, answers: FoldAnswers, what: str, measured: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, low and high end of the interval, each (V,), by the checkpoint of the image's fold; NaN without an outline."""
    value, low, high = np.full((3, len(measured)), np.nan)
    for place in np.flatnonzero(np.isfinite(measured)):
        outline = run.calibrations[int(answers.fold[place])].outline
        if outline is not None:
            calibration: MeasurementCalibration = getattr(outline, what)
            value[place] = calibration.value(measured[place])
            low[place], high[place] = calibration.interval(measured[place])
    return value, low, high


def _within(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return (values >= low) & (values <= high)


def _estimate(
    values: np.ndarray,
    members: np.ndarray,
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray],
    patient: np.ndarray,
    repeats: int,
) -> Estimate:
    chosen = np.asarray(values, dtype=np.float64)[members]
    weights = patient_weights(patient[members], repeats)
    return estimate(lambda drawn: statistic(chosen, drawn), weights)
