"""Cross-validation by patient folds: for each fold a checkpoint trained on the others, and its predictions for the held-out fold.

The checkpoint of a fold is complete. Its calibrations are fitted on the predictions for the other folds, so that all its outputs for the
held-out fold (probabilities, sets, intervals, warnings) can be evaluated as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from CLIPLungLib.atomic_write import remove_leftovers
from CLIPLungLib.calibration.calibrations import Calibrations
from CLIPLungLib.calibration.out_of_distribution import fit_feature_space
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.inference.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.model.second_reader import SecondReader
from CLIPLungLib.model.text_encoder import TextEncoder
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.data_source import DataSource, provenance
from CLIPLungLib.training.fold_answers import ANSWERS_NAME, FoldAnswers, answer_fold, join_answers
from CLIPLungLib.training.fold_calibrations import fit_calibrations
from CLIPLungLib.training.learned_features import learned_features
from CLIPLungLib.training.own_calibrations import fit_own_calibrations
from CLIPLungLib.training.pretrained import TRUNK_ORIGIN
from CLIPLungLib.training.processes import process_rank, wait_for_all
from CLIPLungLib.training.requirements import require_trainable
from CLIPLungLib.training.run_origin import STATE_NAME, RunOrigin
from CLIPLungLib.training.second_reader import SecondReaderFits
from CLIPLungLib.training.starting_point import require_same_network
from CLIPLungLib.training.trainer import Trainer

CHECKPOINT_NAME = "cliplung.safetensors"
Progress = Callable[[int, int, str], None]


def fold_folder(run: Path, fold: int) -> Path:
    """Folder of a fold within a cross-validation."""
    return run / f"fold{fold}"


def cross_validate(
    config: TrainConfig,
    patches: TrainingPatches,
    nodules: Sequence[Nodule],
    data_folder: Path,
    output: Path,
    device: str = "auto",
    text_encoder: TextEncoder | None = None,
    progress: Progress | None = None,
    init: Checkpoint | None = None,
    second_readers: SecondReaderFits | None = None,
) -> FoldAnswers:
    """Train on all folds but one and predict that one, for each fold in turn. A stopped run is resumed.

    Args:
        config: settings; each of its `train_folds` is held out in turn.
        patches: prepared from the images of `nodules`.
        nodules: all rows of the table.
        data_folder: of the table and its images.
        output: folder; `foldN/` gets a checkpoint and predictions.
        device: where to compute.
        text_encoder: built from the configuration unless given.
        progress: called as (steps done, steps in all, what is done). A step is an epoch, or the predictions of a fold.
        init: checkpoint that the training of every fold starts from; it must not have been trained on these patients.
        second_readers: to share extracted features with a later fit; made here unless given.

    Returns:
        The predictions of all folds.

    Raises:
        InputError: folds or labels that cannot be trained on, an `init` trained on these patients or of another network, a folder of
            a run with other settings or data, or one that cannot be written.
    """
    config, source = config.with_folds_of(nodules), DataSource.of(data_folder, nodules, patches)
    require_trainable(config.train_folds, patches, nodules)
    if init is not None:
        source.require_unseen(init)
        require_same_network(config, init)
    settings = [_without(config, fold) for fold in config.train_folds]
    for fold, fold_config in zip(config.train_folds, settings, strict=True):
        _require_same_origin(
            fold_folder(output, fold), RunOrigin(fold_config, source.sha256, init.sha256 if init else "")
        )
    second_readers = second_readers or SecondReaderFits(config, patches, nodules, device, init)
    steps = steps_of_folds(config)
    for place, (fold, fold_config) in enumerate(zip(config.train_folds, settings, strict=True)):
        file = fold_folder(output, fold) / CHECKPOINT_NAME
        if not file.is_file():
            trainer = Trainer(fold_config, patches, nodules, file.parent, device, text_encoder, init)
            trainer.run(part_of_progress(progress, place * config.epochs, steps, f"fold {fold}"))
            if process_rank() == 0:
                part_of_progress(progress, place * config.epochs, steps, f"fold {fold}: second reader")(
                    config.epochs, steps
                )
                save_checkpoint(
                    file, trained_checkpoint(trainer, None, source, second_readers.of(fold_config.train_folds))
                )
            wait_for_all()
    if process_rank() == 0:
        answered = part_of_progress(progress, len(config.train_folds) * config.epochs, steps, "predictions")
        _answer_and_calibrate(config.train_folds, nodules, data_folder, output, device, (source, init), answered)
    wait_for_all()
    return read_answers(output, config.train_folds)


def steps_of_folds(config: TrainConfig) -> int:
    """Number of steps in the progress of `cross_validate`."""
    return len(config.train_folds) * (config.epochs + 1)


def _without(config: TrainConfig, fold: int) -> TrainConfig:
    """The settings that hold out a fold."""
    return replace(config, train_folds=tuple(other for other in config.train_folds if other != fold))


def _require_same_origin(folder: Path, origin: RunOrigin) -> None:
    """Refuse the folder of another run; remove partial files of a killed one."""
    if any((folder / name).is_file() for name in (STATE_NAME, CHECKPOINT_NAME)):
        origin.require_same(folder)
    if process_rank() == 0 and folder.is_dir():
        remove_leftovers(folder)


def _answer_and_calibrate(
    folds: Sequence[int],
    nodules: Sequence[Nodule],
    data_folder: Path,
    output: Path,
    device: str,
    origin: tuple[DataSource, Checkpoint | None],
    progress: Callable[[int, int], None],
) -> None:
    for done, fold in enumerate(folds, start=1):
        folder = fold_folder(output, fold)
        if not (folder / ANSWERS_NAME).is_file():
            classifier = NoduleClassifier(load_checkpoint(folder / CHECKPOINT_NAME), device)
            answer_fold(classifier, data_folder, nodules, fold).save(folder / ANSWERS_NAME)
        progress(done, len(folds))
    answers = read_answers(output, folds)
    for fold in folds:
        file = fold_folder(output, fold) / CHECKPOINT_NAME
        checkpoint = load_checkpoint(file)
        calibrations = calibrations_of(answers.of(answers.fold != fold), nodules, checkpoint.draws_outline, *origin)
        if checkpoint.calibrations != calibrations:
            save_checkpoint(file, replace(checkpoint, calibrations=calibrations))


def calibrations_of(
    answers: FoldAnswers, nodules: Sequence[Nodule], draws_outline: bool, source: DataSource, init: Checkpoint | None
) -> Calibrations:
    """Calibrations from out-of-fold predictions; for data other than LIDC-IDRI with a prior, since cases may be few.

    Raises:
        InputError: too few nodules, or measurements that do not rise with the readers'.
    """
    if source.is_lidc:
        return fit_calibrations(answers, nodules, draws_outline)
    return fit_own_calibrations(answers, nodules, draws_outline, source.name, init.calibrations if init else None)


def read_answers(run: Path, folds: Sequence[int]) -> FoldAnswers:
    """The predictions of a finished cross-validation, in the order of the folds.

    Raises:
        InputError: it is not finished.
    """
    return join_answers([FoldAnswers.load(fold_folder(run, fold) / ANSWERS_NAME) for fold in folds])


def trained_checkpoint(
    trainer: Trainer, calibrations: Calibrations | None, source: DataSource, second_reader: SecondReader | None
) -> Checkpoint:
    """The checkpoint of a finished training."""
    draws_outline = trainer.draws_outline
    features = learned_features(trainer) if draws_outline else None
    bank = trainer.text_bank()
    return Checkpoint(
        network=trainer.best_network.cpu().requires_grad_(False),
        class_text=bank.classes.float().cpu(),
        level_text=bank.levels.float().cpu(),
        text_scale=trainer.text_scale,
        patch=trainer.config.patch,
        draws_outline=draws_outline,
        feature_space=fit_feature_space(features) if features is not None else None,
        calibrations=calibrations,
        provenance=provenance(trainer, source) | ({"second_reader": TRUNK_ORIGIN} if second_reader else {}),
        second_reader=second_reader,
    )


def part_of_progress(progress: Progress | None, before: int, total: int, name: str) -> Callable[[int, int], None]:
    """Report the progress of one part as that of the whole."""

    def show(done: int, _of_part: int) -> None:
        if progress:
            progress(before + done, total, name)

    return show
