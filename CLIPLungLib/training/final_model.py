"""The model that ships: trained on all folds, with calibrations from the cross-validation's answers."""

from __future__ import annotations

from pathlib import Path

from CLIPLungLib.atomic_write import remove_leftovers
from CLIPLungLib.dataset.nodule_table import read_nodules
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.inference.checkpoint import save_checkpoint
from CLIPLungLib.training.calibrate import fit_calibrations
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.cross_validation import CHECKPOINT_NAME, Progress, as_checkpoint, cross_validate
from CLIPLungLib.training.processes import process_rank
from CLIPLungLib.training.trainer import Trainer


def train_final_model(
    config: TrainConfig,
    patches_file: Path,
    data_folder: Path,
    output: Path,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Cross-validate, train on all folds, and write `cliplung.safetensors`; a run that was stopped continues where it was.

    Args:
        config: settings.
        patches_file: of `cliplung lidc prepare`.
        data_folder: of the nodule table and its images.
        output: folder for the folds, the final training in `all/`, and the checkpoint.
        device: where to compute.
        progress: called as (epochs done, epochs in all, what is trained).

    Returns:
        The checkpoint's path.

    Raises:
        InputError: fewer than two folds, data that cannot be read, or a folder of a run with other settings.
    """
    patches, nodules = TrainingPatches.load(patches_file), read_nodules(data_folder)
    answers = cross_validate(config, patches, nodules, data_folder, output, device, progress=progress)
    final = Trainer(config, patches, nodules, output / "all", device)
    final.run(lambda done, total: progress(done, total, "all folds") if progress else None)
    file = output / CHECKPOINT_NAME
    if process_rank() == 0:
        calibrations = fit_calibrations(answers, nodules, draws_outline=config.losses.outline > 0)
        remove_leftovers(file)
        save_checkpoint(file, as_checkpoint(final, calibrations))
    return file
