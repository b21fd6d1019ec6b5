"""Commands that train: train, crossvalidate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cli.options import EXIT_OK, add_command, add_config, add_data, add_device, progress_bar

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands
    from CLIPLungLib.inference.checkpoint import Checkpoint
    from CLIPLungLib.model.text_encoder import TextEncoder
    from CLIPLungLib.training.config import TrainConfig


def add_training_commands(commands: Commands) -> None:
    """`train` and `crossvalidate`."""
    train = add_command(
        commands,
        "train",
        _train,
        "cross-validate, train on all folds, write a checkpoint; resumes a stopped run",
    )
    crossvalidate = add_command(
        commands,
        "crossvalidate",
        _crossvalidate,
        "train on all folds but one and predict that one, for each fold; one checkpoint per fold; resumes a stopped run",
    )
    for command in (train, crossvalidate):
        add_data(command)
        command.add_argument("--patches", type=Path, help="training patches (default: patches.npz of the data folder)")
        command.add_argument("--output", type=Path, required=True, help="folder of the run")
        command.add_argument(
            "--init",
            type=Path,
            metavar="FILE",
            help="weights to fine-tune, with their texts; they must not have been trained on these patients",
        )
        command.add_argument(
            "--clip-weights",
            type=Path,
            metavar="FILE",
            help="CLIP's weights (safetensors), for the text encoder 'clip'",
        )
        add_config(command)
        add_device(command)


def _train(options: argparse.Namespace) -> int:
    from CLIPLungLib.training.config import TrainConfig
    from CLIPLungLib.training.final_model import train_final_model
    from CLIPLungLib.training.processes import joined_processes

    config, init = TrainConfig.read(options.config), _init(options)
    _warn(options, config)
    with joined_processes(options.device) as device:
        file = train_final_model(
            config,
            _patches(options),
            options.data,
            options.output,
            str(device),
            progress_bar("step"),
            init,
            _text_encoder(options, config),
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

    config, init, nodules = TrainConfig.read(options.config), _init(options), read_nodules(options.data)
    _warn(options, config)
    patches, progress = TrainingPatches.load(_patches(options)), progress_bar("step")
    with joined_processes(options.device) as device:
        encoder = _text_encoder(options, config)
        cross_validate(config, patches, nodules, options.data, options.output, str(device), encoder, progress, init)
    print(f"written: {options.output}/fold*/{CHECKPOINT_NAME} and {ANSWERS_NAME}")
    return EXIT_OK


def _init(options: argparse.Namespace) -> Checkpoint | None:
    from CLIPLungLib.inference.checkpoint import load_checkpoint

    return load_checkpoint(options.init) if options.init else None


def _text_encoder(options: argparse.Namespace, config: TrainConfig) -> TextEncoder | None:
    """The text encoder with the weights that the user gave; None lets training build that of the settings."""
    from CLIPLungLib.model.text_encoder import build_text_encoder

    return build_text_encoder(config.text_encoder, options.clip_weights) if options.clip_weights else None


def _warn(options: argparse.Namespace, config: TrainConfig) -> None:
    """Warn of folds and labels that are missing, before hours of training."""
    from CLIPLungLib.dataset.nodule_table import read_nodules
    from CLIPLungLib.training.requirements import not_learned

    nodules = read_nodules(options.data)
    left_over = sorted({nodule.fold for nodule in nodules} - set(config.with_folds_of(nodules).train_folds))
    if left_over:
        print(f"warning: the settings leave out the folds {left_over} of the table", file=sys.stderr)
    unknown = [] if options.init else not_learned(nodules)
    if unknown:
        print(
            f"warning: no case has a label for {', '.join(unknown)}, so the model cannot learn them. Fill in the columns, or start from the "
            "bundled weights with --init.",
            file=sys.stderr,
        )


def _patches(options: argparse.Namespace) -> Path:
    from CLIPLungLib.dataset.data_folder import PATCHES_NAME

    return Path(options.patches or options.data / PATCHES_NAME)
