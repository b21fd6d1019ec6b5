"""Commands for those who train: train, crossvalidate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cli.options import EXIT_OK, add_command, add_config, add_data, add_device, progress_bar

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands


def add_training_commands(commands: Commands) -> None:
    """`train` and `crossvalidate`."""
    train = add_command(
        commands,
        "train",
        _train,
        "cross-validate, train on all folds, write a checkpoint; continues where it was stopped",
    )
    crossvalidate = add_command(
        commands,
        "crossvalidate",
        _crossvalidate,
        "train on all folds but one and answer for that one, for each fold in turn; a checkpoint per fold",
    )
    for command in (train, crossvalidate):
        add_data(command)
        command.add_argument("--patches", type=Path, help="training patches (default: patches.npz of the data folder)")
        command.add_argument("--output", type=Path, required=True, help="folder of the run")
        add_config(command)
        add_device(command)


def _train(options: argparse.Namespace) -> int:
    from CLIPLungLib.training.config import TrainConfig
    from CLIPLungLib.training.final_model import train_final_model
    from CLIPLungLib.training.processes import joined_processes

    config = TrainConfig.read(options.config)
    with joined_processes(options.device) as device:
        file = train_final_model(
            config, _patches(options), options.data, options.output, str(device), progress_bar("epoch")
        )
    print(f"written: {file}")
    return EXIT_OK


def _crossvalidate(options: argparse.Namespace) -> int:
    from CLIPLungLib.dataset.nodule_table import read_nodules
    from CLIPLungLib.dataset.training_patches import TrainingPatches
    from CLIPLungLib.training.config import TrainConfig
    from CLIPLungLib.training.cross_validation import CHECKPOINT_NAME, cross_validate
    from CLIPLungLib.training.fold_answers import ANSWERS_NAME
    from CLIPLungLib.training.processes import joined_processes

    config, nodules = TrainConfig.read(options.config), read_nodules(options.data)
    patches = TrainingPatches.load(_patches(options))
    with joined_processes(options.device) as device:
        cross_validate(
            config, patches, nodules, options.data, options.output, str(device), progress=progress_bar("epoch")
        )
    print(f"written: {options.output}/fold*/{CHECKPOINT_NAME} and {ANSWERS_NAME}")
    return EXIT_OK


def _patches(options: argparse.Namespace) -> Path:
    from CLIPLungLib.dataset.data_folder import PATCHES_NAME

    return Path(options.patches or options.data / PATCHES_NAME)
