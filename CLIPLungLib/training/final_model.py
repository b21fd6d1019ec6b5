"""From prepared views to a finished checkpoint: cross-validation, what follows from its answers, and the final training on all folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.calibration.conformal import fit_class_sets
from CLIPLungLib.calibration.measurement import fit_measurement_calibration
from CLIPLungLib.calibration.ordinal import fit_calibration
from CLIPLungLib.calibration.out_of_distribution import OutOfDistributionDetector, fit_detector
from CLIPLungLib.calibration.sphericity import fit_sphericity
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.cross_fitting import FEWEST_READERS
from CLIPLungLib.inference.checkpoint import Checkpoint, save_checkpoint
from CLIPLungLib.lidc.nodule_table import LidcNodule, read_nodules
from CLIPLungLib.lidc.training_patches import PATCH_KINDS, TrainingPatches
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.cross_validation import cross_validate, learned_features, read_judgements
from CLIPLungLib.training.parallel import process_rank
from CLIPLungLib.training.predict import Predictions, one_view_per_nodule
from CLIPLungLib.training.trainer import Trainer

CHECKPOINT_NAME = "cliplung.safetensors"
DATA_CITATION = (
    "Armato SG III, et al. Data From LIDC-IDRI. The Cancer Imaging Archive (2015). doi:10.7937/K9/TCIA.2015.LO9QL9SX; "
    "Armato SG III, et al. Med Phys 38:915-931 (2011). CC BY 3.0."
)
METHOD_CITATION = "Lei Y, et al. CLIP-Lung: Textual Knowledge-Guided Lung Nodule Malignancy Prediction. MICCAI 2023. arXiv:2304.08013."


def produce_checkpoint(
    config: TrainConfig,
    views_file: Path,
    lidc_folder: Path,
    output: Path,
    device: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> Path:
    """Cross-validate, train on all folds, and write `cliplung.safetensors`; a run that was stopped continues where it was.

    Everything that turns the network's answers into statements (probabilities, class sets, size intervals) is fitted on the
    out-of-fold answers, so every nodule counts and none was seen by the network that answered for it.

    Returns:
        The checkpoint's path.
    """
    if len(config.train_folds) < 2:
        raise InputError(
            f"Training needs two folds at least, to answer for each with the others; got {config.train_folds}."
        )
    views, nodules = TrainingPatches.load(views_file), read_nodules(lidc_folder)
    answers = cross_validate(config, views, nodules, output, device, progress=progress)
    final = Trainer(config, views, nodules, output / "all", device)
    final.run(lambda done, total: progress(done, total, "all folds") if progress else None)
    file = output / CHECKPOINT_NAME
    if process_rank() > 0:
        return file
    statements = fit_statements(answers, views, nodules)
    familiarity, provenance = _familiarity(config, final, views, output), _provenance(config, final, nodules)
    save_checkpoint(file, as_checkpoint(final, statements, familiarity, provenance))
    return file


def as_checkpoint(
    finished: Trainer,
    statements: dict[str, Any],
    familiarity: OutOfDistributionDetector | None,
    provenance: dict[str, Any],
) -> Checkpoint:
    """What a finished training has learned, with the `statements` of `fit_statements`."""
    network = finished.run()
    bank = finished.objective.eval().text_bank()
    return Checkpoint(
        network=network.cpu(),
        class_text=bank.classes.float().cpu(),
        level_text=bank.levels.float().cpu(),
        text_scale=float(finished.objective.scale.detach()),
        patch=finished.config.patch,
        **statements,
        familiarity=familiarity,
        provenance=provenance,
    )


def fit_statements(answers: Predictions, views: TrainingPatches, nodules: Sequence[LidcNodule]) -> dict[str, Any]:
    """Calibrations of probability, class set, diameter and volume from out-of-fold answers, as fields of a Checkpoint."""
    chosen = one_view_per_nodule(views, nodules, np.arange(len(nodules)), FEWEST_READERS)
    own = answers.of(np.isin(answers.view, chosen))
    rated = [nodules[index] for index in own.nodule]
    calibration = fit_calibration(own.malignancy_score, np.array([nodule.malignancy for nodule in rated]))
    probabilities = calibration.class_probabilities(own.malignancy_score)
    # Only volumes show a nodule from end to end.
    whole = (views.kind[own.view] == PATCH_KINDS.index("volume")) & np.isfinite(own.measured[:, 0])
    measured, outlined = own.measured[whole], [rated[index] for index in np.flatnonzero(whole)]
    return {
        "calibration": calibration,
        "class_set_threshold": fit_class_sets(probabilities, np.array([nodule.label for nodule in rated])),
        "diameter_calibration": fit_measurement_calibration(
            measured[:, 0], np.array([nodule.diameter_mm for nodule in outlined])
        ),
        "volume_calibration": fit_measurement_calibration(
            measured[:, 2], np.array([nodule.volume_mm3 for nodule in outlined])
        ),
        "sphericity": fit_sphericity(
            own.attribute_level("sphericity")[whole],
            *measured[:, :3].T,
            np.array([nodule.mean_rating("sphericity") for nodule in outlined]),
        ),
    }


def _familiarity(
    config: TrainConfig, final: Trainer, views: TrainingPatches, output: Path
) -> OutOfDistributionDetector | None:
    if not config.losses.outline:
        return None
    judged = read_judgements(output, config.train_folds)
    # A single slice shows less of a nodule than any scan does, and would loosen the limits.
    shows_nodule = np.isin(views.kind[judged.view], [PATCH_KINDS.index(kind) for kind in ("volume", "cube", "crop")])
    return fit_detector(learned_features(final), judged.presence[shows_nodule], distances=judged.distance[shows_nodule])


def _provenance(config: TrainConfig, final: Trainer, nodules: Sequence[LidcNodule]) -> dict[str, Any]:
    calibrated_on = sum(nodule.fold in config.train_folds and nodule.n_readers >= FEWEST_READERS for nodule in nodules)
    return {
        "trained_on": f"LIDC-IDRI, patient folds {list(config.train_folds)}",
        "nodules": len(final.data.patches_of_nodule),
        "calibrated_on": f"out-of-fold answers for {calibrated_on} nodules with >= {FEWEST_READERS} readers",
        "text_encoder": final.objective.texts.encoder.name,
        "epochs": config.epochs,
        "losses": asdict(config.losses),
        "seed": config.seed,
        "data": DATA_CITATION,
        "method": METHOD_CITATION,
        "use": "Research use only.",
    }
