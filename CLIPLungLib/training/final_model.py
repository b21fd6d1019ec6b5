"""The final model: trained on all folds, with calibrations from the predictions of the cross-validation."""

from __future__ import annotations

from pathlib import Path

from CLIPLungLib.atomic_write import remove_leftovers
from CLIPLungLib.dataset.nodule_table import read_nodules
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.inference.checkpoint import Checkpoint, save_checkpoint
from CLIPLungLib.model.text_encoder import TextEncoder
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.cross_validation import (
    CHECKPOINT_NAME,
    Progress,
    calibrations_of,
    cross_validate,
    part_of_progress,
    steps_of_folds,
    trained_checkpoint,
)
from CLIPLungLib.training.data_source import DataSource
from CLIPLungLib.training.processes import process_rank
from CLIPLungLib.training.second_reader import SecondReaderFits
from CLIPLungLib.training.trainer import Trainer


def train_final_model(
    config: TrainConfig,
    patches_file: Path,
    data_folder: Path,
    output: Path,
    device: str = "auto",
    progress: Progress | None = None,
    init: Checkpoint | None = None,
    text_encoder: TextEncoder | None = None,
) -> Path:
    """Cross-validate, train on all folds, and write `cliplung.safetensors`. A stopped run is resumed.

    With `init`, the network of the checkpoint is fine-tuned and its texts stay fixed. Optimizer and weight averages start anew; feature
    space and calibrations are refitted where there are enough data.

    Args:
        config: settings.
        patches_file: of `cliplung prepare`.
        data_folder: of the nodule table and its images.
        output: folder for the folds, the final training in `all/`, and the checkpoint.
        device: where to compute.
        progress: called as (steps done, steps in all, what is done), see `cross_validate`.
        init: checkpoint to start from; it must not have been trained on these patients.
        text_encoder: built from the configuration unless given.

    Returns:
        The checkpoint's path.

    Raises:
        InputError: data that cannot be read, or as `cross_validate`.
    """
    nodules = read_nodules(data_folder)
    patches, config = TrainingPatches.load(patches_file), config.with_folds_of(nodules)
    second_readers = SecondReaderFits(config, patches, nodules, device, init)
    before = steps_of_folds(config)
    total = before + config.epochs

    def of_folds(done: int, _total: int, name: str) -> None:
        if progress:
            progress(done, total, name)

    answers = cross_validate(
        config, patches, nodules, data_folder, output, device, text_encoder, of_folds, init, second_readers
    )
    final = Trainer(config, patches, nodules, output / "all", device, text_encoder, init)
    final.run(part_of_progress(progress, before, total, "all folds"))
    file = output / CHECKPOINT_NAME
    if process_rank() == 0:
        source = DataSource.of(data_folder, nodules, patches)
        calibrations = calibrations_of(answers, nodules, final.draws_outline, source, init)
        remove_leftovers(file)
        save_checkpoint(file, trained_checkpoint(final, calibrations, source, second_readers.of(config.train_folds)))
    return file
