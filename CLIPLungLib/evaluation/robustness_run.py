"""The reality check of a cross-validation: every nodule answered by the network that had not seen its patient, as a user would meet it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.evaluation.fold_models import folds_of, left_out_programs, shipped_statements
from CLIPLungLib.evaluation.robustness import Pairs, changed_scans, compare_pairs, join_pairs, other_images
from CLIPLungLib.image.patch import extract_patch
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.lidc.nodule_table import LidcNodule
from CLIPLungLib.lidc.training_patches import TrainingPatches

TRUE_CONTEXT = ("cube", "crop")
DICOM_FOLDER = "dicom"


def check_reality(
    runs: Path,
    lidc_folder: Path,
    views: TrainingPatches,
    nodules: Sequence[LidcNodule],
    device: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Condition -> figures of `compare_pairs`, over the nodules with three readers or more.

    Args:
        runs: folder of the finished cross-validation "shipped".
        lidc_folder: the images.
        views, nodules: the prepared data.
        progress: called after each fold and kind of image.
    """
    statements = shipped_statements(runs, views, nodules)
    kinds, folds = ("volume", *TRUE_CONTEXT), folds_of(nodules)
    pairs: dict[str, list[Pairs]] = {}
    for done, left_out in enumerate(left_out_programs(runs, views, nodules, statements, device)):
        for step, kind in enumerate(kinds):
            for name, found in _conditions(lidc_folder, left_out.nodules, left_out.classifier, kind).items():
                pairs.setdefault(name, []).append(found)
            if progress:
                progress(done * len(kinds) + step + 1, len(folds) * len(kinds), f"fold {left_out.fold}, {kind}s")
    cuts = _class_cuts(statements)
    return {name: compare_pairs(join_pairs(parts), cuts) for name, parts in pairs.items()}


def whole_scans(lidc_folder: Path, nodules: Sequence[LidcNodule], classifier: NoduleClassifier) -> Pairs | None:
    """Nodules whose whole scan is there as DICOM: with a click alone in that scan, against their volume; None without any."""
    rows = []
    for nodule in nodules:
        series = lidc_folder / DICOM_FOLDER / nodule.patient_id
        if not series.is_dir() or nodule.point_ras is None or "volume" not in nodule.images:
            continue
        scans = [read_ct(lidc_folder / nodule.images["volume"]), read_ct(series)]
        patches = [extract_patch(ct, np.asarray(nodule.point_ras), classifier.checkpoint.patch) for ct in scans]
        rows.append((*classifier.malignancy_probabilities(patches, scans), nodule.malignancy, nodule.patient_id, 0.0))
    return Pairs(*map(np.array, zip(*rows, strict=True))) if rows else None


def _conditions(
    folder: Path, nodules: Sequence[LidcNodule], classifier: NoduleClassifier, kind: str
) -> dict[str, Pairs]:
    answer, patch = classifier.malignancy_probabilities, classifier.checkpoint.patch
    found = changed_scans(folder, nodules, answer, patch, kind)
    if kind == "volume":
        whole = whole_scans(folder, nodules, classifier)
        return found | ({"whole DICOM scan instead of volumes": whole} if whole else {})
    named = {f"in true context, {name}": pairs for name, pairs in found.items()}
    other = other_images(folder, nodules, answer, patch, kind)
    if len(other.rating):
        named["true context instead of volumes"] = other
    return named


def _class_cuts(statements: dict[str, Any]) -> list[float]:
    """Probabilities at which the most probable class changes."""
    calibration = statements["calibration"]
    malignancy_score = np.linspace(-4.0, 4.0, 8001)
    classes = calibration.class_probabilities(malignancy_score).argmax(axis=1)
    changes = np.flatnonzero(np.diff(classes)) + 1
    return [float(p) for p in calibration.malignancy_probability(malignancy_score[changes])]
