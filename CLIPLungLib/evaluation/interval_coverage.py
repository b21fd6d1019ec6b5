"""How well the further statements hold out of fold: sizes with their intervals, class sets, and warnings of the unfamiliar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from CLIPLungLib.calibration.conformal import class_set, fit_class_sets
from CLIPLungLib.calibration.measurement import MEASUREMENT_COVERAGE, fit_measurement_calibration
from CLIPLungLib.calibration.out_of_distribution import KNOWN_SHARE
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.cross_fitting import Opinion, Truth, cross_fitted
from CLIPLungLib.lidc.nodule_table import LidcNodule
from CLIPLungLib.lidc.training_patches import PATCH_KINDS, TrainingPatches
from CLIPLungLib.training.cross_validation import Judgements
from CLIPLungLib.training.predict import Predictions
from CLIPLungLib.vocabulary import CLASSES

# Below, a voxel decides; above, readers differ by more than a millimetre themselves.
JUDGED_MM = (5.0, 20.0)
WHOLE_NODULE = ("volume", "cube", "crop")


def measurement_figures(answers: Predictions, nodules: Sequence[LidcNodule]) -> dict[str, Any]:
    """Own diameter and volume against the readers', calibrated on the other folds."""
    rows = [nodules[index] for index in answers.nodule]
    truth = Truth.of_nodules(rows)
    outlined = np.isfinite(answers.measured[:, 0])
    figures: dict[str, Any] = {"outlined": {"value": float(outlined.mean()), "n": len(rows)}}
    volume_mm3 = np.array([nodule.volume_mm3 for nodule in rows])
    for name, measured, readers in (
        ("diameter", answers.measured[:, 0], truth.size_mm),
        ("volume", answers.measured[:, 2], volume_mm3),
    ):
        value, low, high = _calibrated(measured, readers, truth.fold, outlined).T
        covered = (readers >= low) & (readers <= high)
        figures[f"{name}, share of {MEASUREMENT_COVERAGE:.0%} intervals that hold the readers'"] = _with_interval(
            covered.astype(float), outlined, truth.patient, np.mean
        )
        figures[f"median relative error of the {name}"] = _with_interval(
            np.abs(value / readers - 1), outlined, truth.patient, np.median
        )
        if name == "diameter":
            judged = outlined & (truth.size_mm >= JUDGED_MM[0]) & (truth.size_mm <= JUDGED_MM[1])
            error_mm = value - readers
            figures["median error of the diameter, 5 to 20 mm, mm"] = _with_interval(
                np.abs(error_mm), judged, truth.patient, np.median
            )
            figures["bias of the diameter, 5 to 20 mm, mm"] = _with_interval(error_mm, judged, truth.patient, np.median)
    return figures


def class_set_figures(opinion: Opinion, answers: Predictions, nodules: Sequence[LidcNodule]) -> dict[str, Any]:
    """Coverage and size of the class sets, with thresholds of the other folds."""
    truth = Truth.of_nodules([nodules[index] for index in answers.nodule])

    def answer(learn: np.ndarray, own: np.ndarray) -> np.ndarray:
        threshold = fit_class_sets(opinion.classes[learn], truth.label[learn])
        sets = [class_set(row, threshold) for row in opinion.classes[own]]
        return np.array([[CLASSES[label] in s, len(s)] for s, label in zip(sets, truth.label[own], strict=True)])

    everyone = np.ones(len(truth.label), dtype=bool)
    covered, size = cross_fitted(truth.fold, everyone, answer, width=2).T
    return {
        "share of 90% sets that hold the readers' class": _with_interval(covered, everyone, truth.patient, np.mean),
        "classes per set": _with_interval(size, everyone, truth.patient, np.mean),
        "share of sets with one class": _with_interval(size == 1, everyone, truth.patient, np.mean),
    }


def familiarity_figures(judged: Judgements, views: TrainingPatches, nodules: Sequence[LidcNodule]) -> dict[str, Any]:
    """Share of views that are called unfamiliar, with limits of the other folds: few nodules, many places without one."""
    rows = [nodules[index] for index in views.nodule[judged.view]]
    fold, patient = np.array([row.fold for row in rows]), np.array([row.patient_id for row in rows])
    kind = views.kind[judged.view]
    whole = np.isin(kind, [PATCH_KINDS.index(name) for name in WHOLE_NODULE])
    lost = (1 - KNOWN_SHARE) / 2

    def answer(learn: np.ndarray, own: np.ndarray) -> np.ndarray:
        far = judged.distance[own] > np.quantile(judged.distance[learn], 1 - lost)
        return far | (judged.presence[own] < np.quantile(judged.presence[learn], lost))

    warned = cross_fitted(fold, whole, answer, width=1)[:, 0]
    return {
        f"warned, {name}": _with_interval(warned, kind == index, patient, np.mean)
        for index, name in enumerate(PATCH_KINDS)
        if (kind == index).any()
    }


def _calibrated(measured: np.ndarray, readers: np.ndarray, fold: np.ndarray, outlined: np.ndarray) -> np.ndarray:
    """(N, 3) value, low and high end of the interval; NaN where nothing was outlined."""

    def answer(learn: np.ndarray, own: np.ndarray) -> np.ndarray:
        calibration = fit_measurement_calibration(measured[learn], readers[learn])
        return np.array([[calibration.value(value), *calibration.interval(value)] for value in measured[own]])

    return cross_fitted(fold, outlined, answer, width=3)


def _with_interval(values: np.ndarray, members: np.ndarray, patient: np.ndarray, statistic: Any) -> dict[str, Any]:
    own = np.asarray(values, dtype=np.float64)[members]
    low, high = metrics.patient_bootstrap(patient[members], lambda drawn: float(statistic(own[drawn])))
    return {"value": float(statistic(own)), "interval": [low, high], "n": len(own)}
