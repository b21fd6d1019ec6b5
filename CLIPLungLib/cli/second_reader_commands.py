"""The command that adds a second reader to trained weights: add-second-reader."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cli.options import EXIT_OK, add_command, add_data, add_device, progress_bar

if TYPE_CHECKING:
    from CLIPLungLib.calibration.calibrations import Calibrations
    from CLIPLungLib.cli.options import Commands
    from CLIPLungLib.training.fold_answers import FoldAnswers


ADDED = "added to a trained network"


def add_second_reader_commands(commands: Commands) -> None:
    """`add-second-reader`."""
    command = add_command(
        commands,
        "add-second-reader",
        _add_second_reader,
        "fit a second reader (kernel ridge regression) for a trained network, add it to the out-of-fold predictions, recalibrate",
    )
    add_data(command)
    command.add_argument("--patches", type=Path, help="training patches (default: patches.npz of the data folder)")
    command.add_argument(
        "--answers",
        type=Path,
        required=True,
        help="predictions of the network alone, written by 'cliplung evaluate --keep-answers'",
    )
    command.add_argument("--init", type=Path, help="weights of the network (default: the bundled ones)")
    command.add_argument("--output", type=Path, required=True, help="folder for the weights and the predictions")
    add_device(command)


def _add_second_reader(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from CLIPLungLib.dataset.data_folder import PATCHES_NAME
    from CLIPLungLib.dataset.nodule_table import read_nodules
    from CLIPLungLib.dataset.training_patches import TrainingPatches
    from CLIPLungLib.evaluation.kept_answers import keep_answers, read_kept_answers
    from CLIPLungLib.inference.checkpoint import load_checkpoint, save_checkpoint
    from CLIPLungLib.training.added_second_reader import complete_answers
    from CLIPLungLib.training.cross_validation import CHECKPOINT_NAME, calibrations_of
    from CLIPLungLib.training.data_source import DataSource
    from CLIPLungLib.training.fold_answers import ANSWERS_NAME
    from CLIPLungLib.training.pretrained import TRUNK_ORIGIN
    from CLIPLungLib.training.second_reader import fit_second_reader, see_patches

    nodules, checkpoint = read_nodules(options.data), load_checkpoint(options.init)
    run = read_kept_answers(options.answers, nodules)
    patches = TrainingPatches.load(options.patches or options.data / PATCHES_NAME)
    patches.require_fit(nodules, checkpoint.patch)
    bar = progress_bar("step")
    seen = see_patches(patches, checkpoint.patch, options.device, lambda done, total: bar(done, total, "patches"))
    others = {fold: [other for other in run.folds if other != fold] for fold in run.folds}
    readers = {fold: fit_second_reader(seen, nodules, learned) for fold, learned in others.items()}
    answers = complete_answers(
        run.answers, checkpoint, readers, options.data, nodules, options.device, progress_bar("image")
    )
    source = DataSource.of(options.data, nodules, patches)

    def calibrated(some: FoldAnswers) -> Calibrations:
        return calibrations_of(some, nodules, checkpoint.draws_outline, source, None)

    calibrations = {fold: calibrated(answers.of(answers.fold != fold)) for fold in run.folds}
    keep_answers(options.output / ANSWERS_NAME, replace(run, answers=answers, calibrations=calibrations), nodules)
    both = replace(
        checkpoint,
        second_reader=fit_second_reader(seen, nodules, run.folds),
        calibrations=calibrated(answers),
        provenance=checkpoint.provenance | {"second_reader": f"{TRUNK_ORIGIN}; {ADDED}"},
    )
    save_checkpoint(options.output / CHECKPOINT_NAME, both)
    print(f"written: {options.output}/{CHECKPOINT_NAME} and {ANSWERS_NAME}")
    return EXIT_OK
