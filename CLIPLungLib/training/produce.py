"""From prepared views to a finished checkpoint: calibration on patients held out, then the final training on all training folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from CLIPLungLib.calibration import Calibration, fit_calibration
from CLIPLungLib.checkpoint import Checkpoint, save_checkpoint
from CLIPLungLib.errors import InputError
from CLIPLungLib.lidc.prepare import VIEW_KINDS, PreparedViews
from CLIPLungLib.lidc.table import LidcNodule, read_nodules
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.loop import Trainer
from CLIPLungLib.training.predict import predict_views, views_of

CHECKPOINT_NAME = "cliplung.safetensors"
FEWEST_READERS = 3
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
    """Train twice and write `cliplung.safetensors`; a run that was stopped continues after its last epoch.

    The first training leaves out the last of the training folds, whose patients then fit the calibration; the second learns from all.

    Returns:
        The checkpoint's path.
    """
    if len(config.train_folds) < 2:
        raise InputError(f"Training needs two folds at least, one of them to calibrate on; got {config.train_folds}.")
    views, nodules = PreparedViews.load(views_file), read_nodules(lidc_folder)
    held_out = config.train_folds[-1]
    both = 2 * config.epochs

    def report(name: str, before: int) -> Callable[[int, int], None]:
        return lambda done, _total: progress(before + done, both, name) if progress else None

    inner = Trainer(
        replace(config, train_folds=config.train_folds[:-1]), views, nodules, output / "calibration", device
    )
    calibration, count = calibrate(inner, views, nodules, held_out, report("for calibration", 0))
    final = Trainer(config, views, nodules, output / "final", device)
    network = final.run(report("final", config.epochs))
    bank = final.objective.eval().text_bank()
    file = output / CHECKPOINT_NAME
    save_checkpoint(
        file,
        Checkpoint(
            network=network.cpu(),
            class_text=bank.classes.float().cpu(),
            level_text=bank.levels.float().cpu(),
            text_scale=float(final.objective.scale),
            patch=config.patch,
            calibration=calibration,
            provenance=_provenance(config, final, held_out, count),
        ),
    )
    return file


def calibrate(
    trainer: Trainer,
    views: PreparedViews,
    nodules: Sequence[LidcNodule],
    fold: int,
    progress: Callable[[int, int], None],
) -> tuple[Calibration, int]:
    """Calibration of a training on a fold it has not seen, one view per nodule with enough readers; and their number."""
    network = trainer.run(progress)
    chosen = one_view_per_nodule(views, nodules, fold)
    found = predict_views(network, views, nodules, chosen, trainer.config.patch, trainer.device)
    ratings = np.array([nodules[index].malignancy for index in found.nodule])
    return fit_calibration(found.suspicion, ratings), len(ratings)


def one_view_per_nodule(views: PreparedViews, nodules: Sequence[LidcNodule], fold: int) -> np.ndarray:
    """The volume of every nodule of a fold that has enough readers, or its slice where there is no volume."""
    volume, slice_ = (views_of(views, nodules, [fold], [VIEW_KINDS.index(kind)]) for kind in ("volume", "slice"))
    rest = slice_[~np.isin(views.nodule[slice_], views.nodule[volume])]
    chosen = np.concatenate([volume, rest])
    return chosen[[nodules[index].n_readers >= FEWEST_READERS for index in views.nodule[chosen]]]


def _provenance(config: TrainConfig, final: Trainer, held_out: int, count: int) -> dict:
    return {
        "trained_on": f"LIDC-IDRI, patient folds {list(config.train_folds)}",
        "nodules": len(final.data.views_of_nodule),
        "calibrated_on": f"patient fold {held_out} with a model that had not seen it, {count} nodules with >= {FEWEST_READERS} readers",
        "text_encoder": final.objective.texts.encoder.name,
        "epochs": config.epochs,
        "losses": asdict(config.losses),
        "seed": config.seed,
        "data": DATA_CITATION,
        "method": METHOD_CITATION,
        "use": "Research use only.",
    }
