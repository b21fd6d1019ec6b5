"""The command that measures what each loss term adds: ablation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cli.options import (
    add_command,
    add_config,
    add_data,
    add_device,
    progress_bar,
    whole_number,
    write_figures,
)

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands

SEEDS, TESTED_FOLDS = (0, 1), (3, 4)
RESULTS_NAME = "results.json"


def add_ablation_commands(commands: Commands) -> None:
    """`ablation`."""
    command = add_command(
        commands,
        "ablation",
        _ablation,
        "train with subsets of the loss terms, over several seeds, and measure what each term adds; resumes a stopped run",
    )
    add_data(command)
    command.add_argument("--patches", type=Path, help="training patches (default: patches.npz of the data folder)")
    command.add_argument("--output", type=Path, required=True, help="folder of the run")
    command.add_argument("--rows", nargs="+", help="train only these rows, so that processes can share the work")
    command.add_argument(
        "--seeds", nargs="+", type=whole_number, default=SEEDS, help=f"of the trainings (default: {_listed(SEEDS)})"
    )
    command.add_argument(
        "--test-folds",
        nargs="+",
        type=whole_number,
        default=TESTED_FOLDS,
        help=f"to evaluate on; the others train (default: {_listed(TESTED_FOLDS)})",
    )
    command.add_argument("--page", type=Path, help="also update the generated table of this page")
    add_config(command)
    add_device(command)


def _ablation(options: argparse.Namespace) -> int:
    from CLIPLungLib.ablation.results import results_of
    from CLIPLungLib.ablation.rows import ROWS, find_rows
    from CLIPLungLib.ablation.run import AblationData, parts_of, read_parts, run_ablation
    from CLIPLungLib.ablation.table import results_text, write_page_table
    from CLIPLungLib.dataset.data_folder import PATCHES_NAME
    from CLIPLungLib.dataset.nodule_table import read_nodules
    from CLIPLungLib.dataset.training_patches import TrainingPatches
    from CLIPLungLib.training.config import TrainConfig

    parts, recipe = parts_of(find_rows(options.rows or list(ROWS)), options.seeds), TrainConfig.read(options.config)
    patches = TrainingPatches.load(options.patches or options.data / PATCHES_NAME)
    data = AblationData(options.data, read_nodules(options.data), patches, tuple(options.test_folds))
    run_ablation(recipe, data, parts, options.output, device=options.device, progress=progress_bar("epoch"))
    results = results_of(read_parts(recipe, data, options.output), data, recipe, parts)
    print(results_text(results))
    if options.page:
        write_page_table(options.page, results)
        print(f"written: {options.page}")
    return write_figures(options.output / RESULTS_NAME, results)


def _listed(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))
