"""Commands of the evaluation: evaluate, robustness, saliency, model-card."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cli.options import (
    EXIT_OK,
    add_command,
    add_data,
    add_device,
    progress_bar,
    whole_number,
    write_figures,
)

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands
    from CLIPLungLib.dataset.nodule_table import Nodule
    from CLIPLungLib.evaluation.fold_models import FinishedRun


def add_evaluation_commands(commands: Commands) -> None:
    """`evaluate`, `robustness`, `saliency` and `model-card`."""
    evaluate = add_command(
        commands, "evaluate", _evaluate, "out-of-fold metrics of all runs of a folder, and of the size-only baselines"
    )
    robustness = add_command(
        commands, "robustness", _robustness, "metrics under changed clicks, slices, noise and HU, out of fold"
    )
    saliency = add_command(
        commands, "saliency", _saliency, "localisation and faithfulness of the heat maps, out of fold"
    )
    card = add_command(
        commands, "model-card", _model_card, "write the model card, from the files of evaluate, robustness and saliency"
    )
    for command in (evaluate, robustness, saliency, card):
        add_data(command)
    for command in (evaluate, card):
        source = command.add_mutually_exclusive_group(required=True)
        source.add_argument(
            "--runs", type=Path, help="folder of cross-validations; the main one is named 'shipped', or is the only one"
        )
        source.add_argument("--answers", type=Path, help="predictions written by 'cliplung evaluate --keep-answers'")
    for command in (robustness, saliency):
        command.add_argument(
            "--run", dest="run_folder", type=Path, required=True, help="folder of a finished cross-validation"
        )
        add_device(command)
    for command in (evaluate, robustness, saliency):
        command.add_argument("--output", type=Path, required=True, help="JSON file for the results")
    evaluate.add_argument("--keep-answers", type=Path, metavar="NPZ", help="also write the main run's predictions")
    saliency.add_argument(
        "--methods",
        nargs="+",
        default=["shipped"],
        metavar="METHOD",
        help="saliency methods to compare: 'all', or names listed in the documentation (default: shipped)",
    )
    saliency.add_argument(
        "--other-run", type=Path, metavar="RUN", help="run with another seed, to compare the maps with"
    )
    saliency.add_argument("--sample", type=whole_number, metavar="N", help="use only N images, drawn at random")
    card.add_argument("--output", type=Path, required=True, help="folder for model_card.md")
    card.add_argument("--results", type=Path, required=True, help="written by 'cliplung evaluate'")
    card.add_argument("--robustness", type=Path, help="written by 'cliplung robustness'")
    card.add_argument("--saliency", type=Path, help="written by 'cliplung saliency'")
    card.add_argument("--gallery", action="store_true", help="also show failures: pictures of patients' scans")
    card.add_argument("--readme", type=Path, help="also update the generated table of this README")


def _evaluate(options: argparse.Namespace) -> int:
    from CLIPLungLib.dataset.nodule_table import read_nodules
    from CLIPLungLib.evaluation.comparison import evaluate
    from CLIPLungLib.evaluation.kept_answers import keep_answers
    from CLIPLungLib.evaluation.run_choice import read_runs
    from CLIPLungLib.evaluation.tables import results_text

    nodules = read_nodules(options.data)
    runs = read_runs(options.runs) if options.runs else [_kept_run(options.answers, nodules)]
    results = evaluate(runs, nodules, progress=progress_bar("setting"))
    print(results_text(results))
    if options.keep_answers:
        keep_answers(options.keep_answers, runs[-1], nodules)
        print(f"written: {options.keep_answers}")
    return write_figures(options.output, results)


def _kept_run(file: Path, nodules: Sequence[Nodule]) -> FinishedRun:
    from CLIPLungLib.evaluation.kept_answers import read_kept_answers

    run = read_kept_answers(file, nodules)
    if run.missing:
        print(
            f"warning: {run.missing} nodule(s) of {file} are not in the table and are left out, so the figures are those of a part",
            file=sys.stderr,
        )
    return run


def _robustness(options: argparse.Namespace) -> int:
    from CLIPLungLib.dataset.nodule_table import read_nodules
    from CLIPLungLib.evaluation.robustness import measure_robustness

    nodules, progress = read_nodules(options.data), progress_bar("part")
    return write_figures(
        options.output, measure_robustness(options.run_folder, options.data, nodules, options.device, progress)
    )


def _saliency(options: argparse.Namespace) -> int:
    from CLIPLungLib.dataset.nodule_table import read_nodules
    from CLIPLungLib.model_card.saliency_table import saliency_table
    from CLIPLungLib.saliency.methods import chosen_methods
    from CLIPLungLib.saliency.run import measure_saliency

    methods, nodules = chosen_methods(options.methods), read_nodules(options.data)
    found = measure_saliency(
        options.run_folder,
        options.data,
        nodules,
        methods,
        options.other_run,
        options.sample,
        options.device,
        progress_bar("image"),
    )
    print(saliency_table(found))
    return write_figures(options.output, found)


def _model_card(options: argparse.Namespace) -> int:
    from CLIPLungLib.dataset.nodule_table import read_nodules
    from CLIPLungLib.evaluation.run_choice import main_run
    from CLIPLungLib.evaluation.tables import write_readme_table
    from CLIPLungLib.model_card.from_files import read_figures, write_model_card

    files, nodules = (options.results, options.robustness, options.saliency), read_nodules(options.data)
    run = main_run(options.runs) if options.runs else _kept_run(options.answers, nodules)
    file = write_model_card(*files, run, nodules, options.data, options.output, options.gallery)
    print(f"written: {file}")
    if options.readme:
        write_readme_table(options.readme, read_figures(options.results))
    return EXIT_OK
