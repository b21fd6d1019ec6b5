"""Commands that measure: evaluate, robustness, saliency, model-card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cli.options import EXIT_OK, add_command, add_data, add_device, progress_bar, write_figures

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands


def add_evaluation_commands(commands: Commands) -> None:
    """`evaluate`, `robustness`, `saliency` and `model-card`."""
    evaluate = add_command(commands, "evaluate", _evaluate, "figures of all runs of a folder, and the size-only floors")
    robustness = add_command(
        commands, "robustness", _robustness, "the same nodules under other conditions, out of fold"
    )
    saliency = add_command(commands, "saliency", _saliency, "whether heat maps lie on the nodule, out of fold")
    card = add_command(commands, "model-card", _model_card, "the model card with its plots, from the files of figures")
    for command in (evaluate, robustness, saliency, card):
        add_data(command)
    for command in (evaluate, card):
        source = command.add_mutually_exclusive_group(required=True)
        source.add_argument(
            "--runs", type=Path, help="folder of the cross-validations, the main one named 'shipped'; or the only one"
        )
        source.add_argument("--answers", type=Path, help="answers that 'cliplung evaluate --keep-answers' wrote")
    for command in (robustness, saliency):
        command.add_argument(
            "--run", dest="run_folder", type=Path, required=True, help="folder of a finished cross-validation"
        )
        add_device(command)
    for command in (evaluate, robustness, saliency):
        command.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    evaluate.add_argument("--keep-answers", type=Path, metavar="NPZ", help="also keep the main run's answers, small")
    saliency.add_argument(
        "--methods",
        nargs="+",
        default=["shipped"],
        metavar="METHOD",
        help="of making maps, to compare; 'all', or some of those the documentation names (default: that of the product)",
    )
    saliency.add_argument(
        "--other-run", type=Path, metavar="RUN", help="the same from another seed: do its maps agree?"
    )
    saliency.add_argument("--sample", type=int, metavar="N", help="judge N images only, drawn at random")
    card.add_argument("--output", type=Path, required=True, help="folder for model_card.md")
    card.add_argument("--results", type=Path, required=True, help="what 'cliplung evaluate' wrote")
    card.add_argument("--robustness", type=Path, help="what 'cliplung robustness' wrote")
    card.add_argument("--saliency", type=Path, help="what 'cliplung saliency' wrote")
    card.add_argument("--gallery", action="store_true", help="also show failures: pictures of patients' scans")
    card.add_argument("--readme", type=Path, help="also put the main table between the marks of this README")


def _evaluate(options: argparse.Namespace) -> int:
    from CLIPLungLib.dataset.nodule_table import read_nodules
    from CLIPLungLib.evaluation.comparison import evaluate
    from CLIPLungLib.evaluation.kept_answers import keep_answers, read_kept_answers
    from CLIPLungLib.evaluation.run_choice import read_runs
    from CLIPLungLib.evaluation.tables import results_text

    nodules = read_nodules(options.data)
    runs = read_runs(options.runs) if options.runs else [read_kept_answers(options.answers, nodules)]
    results = evaluate(runs, nodules, progress=progress_bar("setting"))
    print(results_text(results))
    if options.keep_answers:
        keep_answers(options.keep_answers, runs[-1], nodules)
        print(f"written: {options.keep_answers}")
    return write_figures(options.output, results)


def _robustness(options: argparse.Namespace) -> int:
    from CLIPLungLib.dataset.nodule_table import read_nodules
    from CLIPLungLib.evaluation.robustness import measure_robustness

    nodules, progress = read_nodules(options.data), progress_bar("part")
    return write_figures(
        options.output, measure_robustness(options.run_folder, options.data, nodules, options.device, progress)
    )


def _saliency(options: argparse.Namespace) -> int:
    from CLIPLungLib.dataset.nodule_table import read_nodules
    from CLIPLungLib.evaluation.saliency import measure_saliency
    from CLIPLungLib.evaluation.saliency_methods import chosen_methods
    from CLIPLungLib.model_card.saliency_table import saliency_table

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
    from CLIPLungLib.evaluation.kept_answers import read_kept_answers
    from CLIPLungLib.evaluation.run_choice import main_run
    from CLIPLungLib.evaluation.tables import write_readme_table
    from CLIPLungLib.model_card.from_files import read_figures, write_model_card

    files, nodules = (options.results, options.robustness, options.saliency), read_nodules(options.data)
    run = main_run(options.runs) if options.runs else read_kept_answers(options.answers, nodules)
    file = write_model_card(*files, run, nodules, options.data, options.output, options.gallery)
    print(f"written: {file}")
    if options.readme:
        write_readme_table(options.readme, read_figures(options.results))
    return EXIT_OK
