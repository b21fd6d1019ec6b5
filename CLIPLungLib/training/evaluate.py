"""Figures of a checkpoint on patients it has not seen, beside the size-only floor, with patient bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.attributes import ATTRIBUTES, BENIGN_BELOW, MALIGNANT_ABOVE, SUSPICIOUS_ABOVE
from CLIPLungLib.checkpoint import Checkpoint, load_checkpoint
from CLIPLungLib.device import choose_device
from CLIPLungLib.errors import InputError
from CLIPLungLib.lidc.prepare import VIEW_KINDS, PreparedViews
from CLIPLungLib.lidc.table import LidcNodule, read_nodules
from CLIPLungLib.training.metrics import auc, brier, expected_calibration_error, patient_bootstrap, spearman
from CLIPLungLib.training.predict import Predictions, predict_views, views_of
from CLIPLungLib.training.produce import FEWEST_READERS

# What is shown to the network -> the kinds of view that hold it.
SETTINGS = {"volumes": ("volume",), "slices": ("slice",), "true context (cubes and crops)": ("cube", "crop")}


def evaluate_checkpoint(
    checkpoint_file: Path | None, views_file: Path, lidc_folder: Path, fold: int, device: str = "auto"
) -> dict[str, Any]:
    """All figures on the nodules of one patient fold with at least three readers, per kind of image.

    Args:
        checkpoint_file: None for the bundled one.
        views_file: what `cliplung lidc prepare` wrote.
        lidc_folder: folder with nodules.csv.
        fold: must not be among the checkpoint's training folds for the figures to mean anything; the result says which those were.
    """
    checkpoint = load_checkpoint(checkpoint_file)
    views, nodules = PreparedViews.load(views_file), read_nodules(lidc_folder)
    evaluation: dict[str, Any] = {
        "model_sha256": checkpoint.sha256,
        "trained_on": checkpoint.provenance.get("trained_on", "unknown"),
        "fold": fold,
        "rule": f"nodules of patient fold {fold} with >= {FEWEST_READERS} readers; 95 % intervals by patient bootstrap",
        "settings": {},
    }
    if fold not in {nodule.fold for nodule in nodules}:
        raise InputError(
            f"There is no nodule in fold {fold}; the folds are {sorted({nodule.fold for nodule in nodules})}."
        )
    for name, kinds in SETTINGS.items():
        chosen = views_of(views, nodules, [fold], [VIEW_KINDS.index(kind) for kind in kinds])
        chosen = chosen[[nodules[index].n_readers >= FEWEST_READERS for index in views.nodule[chosen]]]
        if len(chosen) == 0:
            continue
        found = predict_views(checkpoint.network, views, nodules, chosen, checkpoint.patch, choose_device(device))
        evaluation["settings"][name] = figures(found, checkpoint, [nodules[index] for index in found.nodule])
    return evaluation


def figures(found: Predictions, checkpoint: Checkpoint, nodules: Sequence[LidcNodule]) -> dict[str, Any]:
    """Every figure for one set of answers; `nodules` are those of the answers, in their order."""
    rating = np.array([nodule.malignancy for nodule in nodules])
    size_mm = np.array([nodule.diameter_mm for nodule in nodules])
    patients = np.array([nodule.patient_id for nodule in nodules])
    probability = checkpoint.calibration.malignancy_probability(found.suspicion)
    classes = checkpoint.calibration.class_probabilities(found.suspicion).argmax(axis=1)
    label = np.array([nodule.label for nodule in nodules])
    suspicious = rating > SUSPICIOUS_ABOVE
    pairs = {
        "mean above against below 3": np.flatnonzero(rating != SUSPICIOUS_ABOVE),
        "< 2.5 against > 3.5": np.flatnonzero((rating < BENIGN_BELOW) | (rating > MALIGNANT_ABOVE)),
    }

    def measured(statistic: Callable[[np.ndarray], float], members: np.ndarray | None = None) -> dict[str, Any]:
        """A statistic of sample indices, its interval, and its n; no value where it is not defined (a constant rating)."""
        own = np.arange(len(nodules)) if members is None else members
        value = statistic(own)
        if np.isnan(value):
            return {"value": None, "interval": None, "n": len(own)}
        interval = patient_bootstrap(patients[own], lambda drawn: statistic(own[drawn]))
        return {"value": value, "interval": list(interval), "n": len(own)}

    result: dict[str, Any] = {"nodules": len(nodules), "patients": len(np.unique(patients))}
    for name, members in pairs.items():
        result[f"AUC, {name}"] = {
            "model": measured(lambda i: auc(suspicious[i], found.suspicion[i]), members),
            "readers' diameter": measured(lambda i: auc(suspicious[i], size_mm[i]), members),
            "difference": measured(
                lambda i: auc(suspicious[i], found.suspicion[i]) - auc(suspicious[i], size_mm[i]), members
            ),
        }
    result["accuracy, 3 classes"] = measured(lambda i: float(np.mean(classes[i] == label[i])))
    result["Brier score"] = measured(lambda i: brier(suspicious[i], probability[i]))
    result["ECE, 15 bins"] = measured(lambda i: expected_calibration_error(suspicious[i], probability[i]))
    result["Spearman, malignancy"] = measured(lambda i: spearman(found.suspicion[i], rating[i]))
    result["median diameter error, mm"] = measured(
        lambda i: float(np.median(np.abs(found.diameter_mm[i] - size_mm[i])))
    )
    levels = attribute_levels(found.image_features, checkpoint)
    for column, attribute in enumerate(ATTRIBUTES):
        mean = np.array([nodule.mean_rating(attribute.name) for nodule in nodules])
        result[f"Spearman, {attribute.name}"] = measured(lambda i, c=column, m=mean: spearman(levels[i, c], m[i]))
    return result


def attribute_levels(image_features: np.ndarray, checkpoint: Checkpoint) -> np.ndarray:
    """(N, A) expected level of every attribute, read off the text bank as the classifier does."""
    from CLIPLungLib.classifier import read_attributes

    return np.array([[a.level for a in read_attributes(features, checkpoint)] for features in image_features])
