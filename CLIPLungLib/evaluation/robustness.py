"""Robustness: the same nodules under perturbations, predicted by the checkpoint that was not trained on their patient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.dataset.nodule_images import TRUE_CONTEXT, image_and_click
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.bootstrap import Estimate, estimate, patient_weights
from CLIPLungLib.evaluation.fold_models import FoldModel, fold_models, folds_of_run
from CLIPLungLib.evaluation.perturbations import conditions
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import Patch, extract_patch
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.calibrated_result import require_calibrations
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.vocabulary import EVENT_ABOVE, reached_cuts

DICOM_FOLDER = "dicom"
WHOLE_SCAN, OTHER_IMAGE, IN_CONTEXT = "whole_scan", "context_instead_of_volume", "context_"
LABELS = {
    **{condition.key: condition.label for condition in conditions()},
    WHOLE_SCAN: "whole DICOM scan instead of volumes",
    OTHER_IMAGE: "true context instead of volumes",
    **{f"{IN_CONTEXT}{condition.key}": f"in true context, {condition.label}" for condition in conditions()},
}

# Of one nodule: probability without and with the change, whether the class changed, mean rating, patient, mm the click moved.
PairRow = tuple[float, float, bool, float, str, float]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Predictions for the same N nodules without and with a perturbation.

    Attributes:
        reference, condition: (N,) probability without and with the change.
        changed_class: (N,) bool, whether the most probable class is another one.
        rating: (N,) mean malignancy rating.
        patient: (N,) str.
        click_mm: (N,) how far the click moved.
        refused: clicks that were refused under the condition, and so have no answer.
    """

    reference: np.ndarray
    condition: np.ndarray
    changed_class: np.ndarray
    rating: np.ndarray
    patient: np.ndarray
    click_mm: np.ndarray
    refused: int = 0


def measure_robustness(
    run: Path,
    data_folder: Path,
    nodules: Sequence[Nodule],
    device: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Key of LABELS -> figures of `compare_pairs`, over the nodules with three readers or more.

    Args:
        run: folder of a finished cross-validation.
        data_folder: of the table and its images.
        nodules: all rows of the table.
        device: where to compute.
        progress: called after each fold and kind of image.
    """
    kinds, folds = ("volume", *TRUE_CONTEXT), folds_of_run(run)
    parts: dict[str, list[Pairs]] = {}
    for done, model in enumerate(fold_models(run, nodules, device)):
        for step, kind in enumerate(kinds):
            for key, found in _pairs_of_kind(data_folder, model, kind).items():
                parts.setdefault(key, []).append(found)
            if progress:
                progress(done * len(kinds) + step + 1, len(folds) * len(kinds), f"fold {model.fold}, {kind}s")
    return {key: compare_pairs(join_pairs(parts[key])) for key in LABELS if key in parts}


def _pairs_of_kind(folder: Path, model: FoldModel, kind: str) -> dict[str, Pairs]:
    found = changed_scans(folder, model.nodules, model.classifier, kind)
    if kind == "volume":
        return found | _named(WHOLE_SCAN, whole_scans(folder, model.nodules, model.classifier))
    in_context = {f"{IN_CONTEXT}{key}": pairs for key, pairs in found.items()}
    return in_context | _named(OTHER_IMAGE, other_images(folder, model.nodules, model.classifier, kind))


def _named(key: str, pairs: Pairs | None) -> dict[str, Pairs]:
    return {} if pairs is None else {key: pairs}


def changed_scans(
    folder: Path, nodules: Sequence[Nodule], classifier: NoduleClassifier, kind: str = "volume", seed: int = 0
) -> dict[str, Pairs]:
    """Predictions for every condition on the images of one kind, paired with those for the unchanged images.

    Nodules that a condition leaves as they are (slices as thick already) do not count for it. One nodule is in memory at a time.

    Args:
        folder: of the LIDC nodules.
        nodules: those to ask for; ones without such an image are passed over.
        classifier: that answers.
        kind: "volume" is only as long in z as its nodule: moved clicks then end at its first and last slice, and thick slices hold
            no lung from beyond. "cube" and "crop" have true context.
        seed: of clicks and noise.
    """
    rows: dict[str, list[PairRow]] = {condition.key: [] for condition in conditions()}
    refused = dict.fromkeys(rows, 0)
    for nodule in nodules:
        if kind not in nodule.images or (kind == "volume" and nodule.point_ras is None):
            continue
        ct, point = image_and_click(folder, nodule, kind)
        # The nodule's own generator: its clicks do not depend on which other nodules are asked for before it.
        rng = np.random.default_rng([seed, *nodule.nodule_id.encode()])
        keys, patches, volumes, distances = [], [extract_patch(ct, point, classifier.checkpoint.patch)], [ct], []
        for key, changed, click in _changes(ct, point, rng):
            try:
                patches.append(extract_patch(changed, click, classifier.checkpoint.patch))
            except InputError:
                refused[key] += 1
                continue
            volumes.append(changed)
            keys.append(key)
            distances.append(float(np.linalg.norm(click - point)))
        probability, label = _answers(classifier, patches, volumes)
        for place, (key, distance) in enumerate(zip(keys, distances, strict=True), start=1):
            pair = (probability[0], probability[place], label[0] != label[place])
            rows[key].append((*pair, nodule.malignancy, nodule.patient_id, distance))
    return {key: _pairs(found, refused[key]) for key, found in rows.items() if found}


def _changes(ct: CTVolume, point: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, CTVolume, np.ndarray]]:
    """Key, scan and click of every condition that does change something."""
    for condition in conditions():
        changed, click = condition.change(ct, point, rng)
        if changed is not ct or click is not point:
            yield condition.key, changed, click


def other_images(
    folder: Path, nodules: Sequence[Nodule], classifier: NoduleClassifier, kind: str, reference: str = "volume"
) -> Pairs | None:
    """Predictions for images of two kinds, for the nodules that have both; None without any."""
    rows = []
    for nodule in nodules:
        if kind in nodule.images and reference in nodule.images and nodule.point_ras is not None:
            images = [image_and_click(folder, nodule, name) for name in (reference, kind)]
            rows.append(_pair_of_images(images, nodule, classifier))
    return _pairs(rows, 0) if rows else None


def whole_scans(folder: Path, nodules: Sequence[Nodule], classifier: NoduleClassifier) -> Pairs | None:
    """Predictions for a click in the whole DICOM scan, paired with those for the volume; None without any."""
    rows = []
    for nodule in nodules:
        series = folder / DICOM_FOLDER / nodule.patient_id
        if series.is_dir() and nodule.point_ras is not None and "volume" in nodule.images:
            volume, click = image_and_click(folder, nodule, "volume")
            rows.append(_pair_of_images([(volume, click), (read_ct(series), click)], nodule, classifier))
    return _pairs(rows, 0) if rows else None


def _pair_of_images(
    images: Sequence[tuple[CTVolume, np.ndarray]], nodule: Nodule, classifier: NoduleClassifier
) -> PairRow:
    patches = [extract_patch(ct, click, classifier.checkpoint.patch) for ct, click in images]
    (first, second), (before, after) = _answers(classifier, patches, [ct for ct, _ in images])
    return first, second, before != after, nodule.malignancy, nodule.patient_id, 0.0


def _answers(
    classifier: NoduleClassifier, patches: Sequence[Patch], volumes: Sequence[CTVolume]
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) probability that the mean rating exceeds 3, and (N,) most probable class."""
    calibration = require_calibrations(classifier.checkpoint).probability
    score = np.array([reading.malignancy_score for reading in classifier.read_patches(patches, volumes)])
    return calibration.malignancy_probability(score), calibration.class_probabilities(score).argmax(axis=1)


def join_pairs(parts: Sequence[Pairs]) -> Pairs:
    """Concatenate the pairs of several folds."""
    arrays = [field.name for field in fields(Pairs) if field.name != "refused"]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    return Pairs(**joined, refused=sum(part.refused for part in parts))


def compare_pairs(pairs: Pairs) -> dict[str, Any]:
    """How a condition changes the predictions for the same nodules.

    Returns:
        n, patients, n_auc (a mean rating of exactly 3 has no part in the AUC), auc_reference, auc_condition, and auc_difference
        (condition less reference) with its 95 % interval; mean and 95th percentile of |change of probability|; the share of nodules
        whose class changed; mean distance of the clicks; clicks refused. AUC figures are None where one side of the rating is missing.
    """
    change, decided = np.abs(pairs.condition - pairs.reference), pairs.rating != EVENT_ABOVE
    return {
        "n": len(change),
        "patients": len(np.unique(pairs.patient)),
        "n_auc": int(decided.sum()),
        **_auc_figures(pairs, decided),
        "mean_change": float(change.mean()),
        "p95_change": float(np.percentile(change, 95)),
        "changed_class": float(np.mean(pairs.changed_class)),
        "mean_click_mm": float(pairs.click_mm.mean()),
        "refused": pairs.refused,
    }


def _auc_figures(pairs: Pairs, decided: np.ndarray) -> dict[str, Any]:
    event = np.array([reached_cuts(rating)[1] for rating in pairs.rating[decided]], dtype=bool)
    before, after = pairs.reference[decided], pairs.condition[decided]
    weights = patient_weights(pairs.patient[decided])

    def difference(drawn: np.ndarray) -> np.ndarray:
        gain: np.ndarray = metrics.auc(event, after, drawn) - metrics.auc(event, before, drawn)
        return gain

    found = {
        "auc_reference": estimate(lambda drawn: metrics.auc(event, before, drawn), weights[:1]),
        "auc_condition": estimate(lambda drawn: metrics.auc(event, after, drawn), weights[:1]),
        "auc_difference": estimate(difference, weights),
    }
    interval = found["auc_difference"].interval
    return {name: _value(one) for name, one in found.items()} | {
        "auc_difference_interval": None if interval is None else list(interval)
    }


def _value(found: Estimate) -> float | None:
    return found.value


def _pairs(rows: Sequence[PairRow], refused: int) -> Pairs:
    reference, condition, changed_class, rating, patient, click_mm = map(np.array, zip(*rows, strict=True))
    return Pairs(reference, condition, changed_class, rating, patient, click_mm, refused)
