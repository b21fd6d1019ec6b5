"""Cross-validation over the given patient folds: train on four, answer for the fifth, keep every answer in one file per variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from CLIPLungLib.atomic_write import atomic_write
from CLIPLungLib.calibration.out_of_distribution import fit_feature_space
from CLIPLungLib.errors import InputError
from CLIPLungLib.lidc.nodule_table import LidcNodule
from CLIPLungLib.lidc.training_patches import TrainingPatches
from CLIPLungLib.model.text_encoder import TextEncoder
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.parallel import process_rank, wait_for_all
from CLIPLungLib.training.predict import Predictions, features_and_presence, join_predictions
from CLIPLungLib.training.trainer import Trainer

ANSWERS_NAME, JUDGEMENTS_NAME = "answers.npz", "judgements.npz"


def cross_validate(
    config: TrainConfig,
    views: TrainingPatches,
    nodules: Sequence[LidcNodule],
    output: Path,
    device: str = "auto",
    text_encoder: TextEncoder | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Predictions:
    """Out-of-fold answers for every view; a run that was stopped continues.

    Args:
        config: settings; its `train_folds` are all folds, of which each is left out in turn.
        output: folder; one sub-folder per fold, and the answers in ANSWERS_NAME.
    """
    parts = []
    total = len(config.train_folds) * config.epochs
    for place, fold in enumerate(config.train_folds):
        folder = output / f"fold{fold}"
        file = folder / ANSWERS_NAME
        if not file.is_file():
            own = replace(config, train_folds=tuple(other for other in config.train_folds if other != fold))
            trainer = Trainer(own, views, nodules, folder, device, text_encoder)
            before = place * config.epochs
            trainer.run(lambda done, _, b=before, f=fold: progress(b + done, total, f"fold {f}") if progress else None)
            if process_rank() == 0:
                if config.losses.outline:
                    judge_fold(trainer, fold, folder / JUDGEMENTS_NAME)
                answer_fold(trainer, views, nodules, fold).save(file)
            wait_for_all()
        parts.append(Predictions.load(file))
    return join_predictions(parts)


def answer_fold(trainer: Trainer, views: TrainingPatches, nodules: Sequence[LidcNodule], fold: int) -> Predictions:
    """Answers of a finished training for every view of a fold it has not seen."""
    of_fold = np.array([nodule.fold == fold for nodule in nodules])[views.nodule]
    return trainer.answer(trainer.run(), np.flatnonzero(of_fold))


@dataclass(frozen=True, eq=False)
class Judgements:
    """How familiar views looked to the network that had not seen their patients.

    Attributes:
        view: (V,) index into the prepared views.
        presence: (V,) of an outline at the click.
        distance: (V,) from the nodules that network knew.
    """

    view: np.ndarray
    presence: np.ndarray
    distance: np.ndarray


def read_judgements(output: Path, folds: Sequence[int]) -> Judgements:
    """The judgements of all folds of a cross-validation, one after the other."""
    parts = []
    for fold in folds:
        with np.load(output / f"fold{fold}" / JUDGEMENTS_NAME, allow_pickle=False) as arrays:
            parts.append({name: arrays[name] for name in Judgements.__dataclass_fields__})
    return Judgements(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def judge_fold(trainer: Trainer, fold: int, file: Path) -> None:
    """Write how familiar every view of a left-out fold looks to a finished training."""
    of_fold = np.array([nodule.fold == fold for nodule in trainer.data.nodules])[trainer.views.nodule]
    space = fit_feature_space(learned_features(trainer))
    view, feature, found = features_and_presence(
        trainer.run(),
        trainer.views,
        trainer.data.nodules,
        np.flatnonzero(of_fold),
        trainer.config.patch,
        trainer.device,
    )
    with atomic_write(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, view=view, presence=found, distance=space.distance(feature))


def finished_answers(folder: Path, folds: Sequence[int]) -> Predictions:
    """The out-of-fold answers of a cross-validation's folder.

    Raises:
        InputError: it is not finished.
    """
    files = [folder / f"fold{fold}" / ANSWERS_NAME for fold in folds]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise InputError(f"{missing[0]} is missing: that cross-validation is not finished. Run its command again.")
    return join_predictions([Predictions.load(file) for file in files])


def learned_features(trainer: Trainer) -> np.ndarray:
    """(N, D) features of the views a finished training has learned from."""
    chosen = np.concatenate(list(trainer.data.patches_of_nodule.values()))
    _, feature, _ = features_and_presence(
        trainer.run(), trainer.views, trainer.data.nodules, chosen, trainer.config.patch, trainer.device
    )
    return feature
