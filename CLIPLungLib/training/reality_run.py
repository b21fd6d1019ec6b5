"""The reality check of a cross-validation: every nodule answered by the network that had not seen its patient, as a user would meet it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.classifier import NoduleClassifier
from CLIPLungLib.ct_files import read_ct
from CLIPLungLib.lidc.prepare import PreparedViews
from CLIPLungLib.lidc.table import LidcNodule
from CLIPLungLib.patch import extract_patch
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.cross_validation import ANSWERS_NAME
from CLIPLungLib.training.loop import CONFIG_NAME, Trainer
from CLIPLungLib.training.opinions import FEWEST_READERS
from CLIPLungLib.training.predict import Predictions, join_predictions
from CLIPLungLib.training.produce import as_checkpoint, fit_statements
from CLIPLungLib.training.reality import Pairs, changed_scans, compare_pairs, join_pairs, other_images
from CLIPLungLib.training.results import SHIPPED

TRUE_CONTEXT = ("cube", "crop")
DICOM_FOLDER = "dicom"


def check_reality(
    runs: Path,
    lidc_folder: Path,
    views: PreparedViews,
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
    folds = sorted({nodule.fold for nodule in nodules})
    answers = join_predictions([Predictions.load(runs / SHIPPED / f"fold{fold}" / ANSWERS_NAME) for fold in folds])
    statements = fit_statements(answers, views, nodules)
    pairs: dict[str, list[Pairs]] = {}
    steps = [(fold, kind) for fold in folds for kind in ("volume", *TRUE_CONTEXT)]
    classifier: NoduleClassifier | None = None
    for done, (fold, kind) in enumerate(steps):
        if kind == "volume":
            classifier = fold_classifier(runs / SHIPPED / f"fold{fold}", views, nodules, statements, device)
        own = [nodule for nodule in nodules if nodule.fold == fold and nodule.n_readers >= FEWEST_READERS]
        for name, found in _conditions(lidc_folder, own, classifier, kind).items():
            pairs.setdefault(name, []).append(found)
        if progress:
            progress(done + 1, len(steps), f"fold {fold}, {kind}s")
    cuts = _class_cuts(statements)
    return {name: compare_pairs(join_pairs(parts), cuts) for name, parts in pairs.items()}


def fold_classifier(
    folder: Path, views: PreparedViews, nodules: Sequence[LidcNodule], statements: dict[str, Any], device: str = "auto"
) -> NoduleClassifier:
    """The program as it would be without the patients of the fold that this training left out."""
    trainer = Trainer(TrainConfig.read(folder / CONFIG_NAME), views, nodules, folder, device)
    return NoduleClassifier(as_checkpoint(trainer, statements, None, {}), device)


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
    suspicion = np.linspace(-4.0, 4.0, 8001)
    classes = calibration.class_probabilities(suspicion).argmax(axis=1)
    changes = np.flatnonzero(np.diff(classes)) + 1
    return [float(p) for p in calibration.malignancy_probability(suspicion[changes])]
