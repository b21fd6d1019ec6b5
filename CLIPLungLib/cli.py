"""The command `cliplung`: classify a nodule, run a cohort, prepare LIDC-IDRI, train, evaluate, demonstrate.

Exit codes: 0 done, 1 unexpected fault, 2 refused input, 3 a cohort finished with failed rows, 130 stopped by the user.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CLIPLungLib.errors import CLIPLungError
from CLIPLungLib.inference.result import DISCLAIMER, NoduleResult
from CLIPLungLib.version import __version__

EXIT_OK, EXIT_REFUSED, EXIT_FAILED_ROWS, EXIT_STOPPED = 0, 2, 3, 130

if TYPE_CHECKING:
    # Generic for type checkers only.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Refusals are one line on standard error, never a traceback."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        return int(options.run(options))
    except CLIPLungError as error:
        print(f"cliplung: {error}", file=sys.stderr)
    except OSError as error:
        where = f"'{error.filename}': " if error.filename else ""
        print(
            f"cliplung: {where}{error.strerror or error}. Check the path, its permissions and the disk.",
            file=sys.stderr,
        )
    except KeyboardInterrupt:
        print("cliplung: stopped; finished rows and epochs are kept, the same command continues", file=sys.stderr)
        return EXIT_STOPPED
    return EXIT_REFUSED


class _Parser(argparse.ArgumentParser):
    """Takes the numbers of a point in any notation; argparse alone takes -5.6e+01 and -56. for options."""

    def parse_known_args(  # type: ignore[override] # one signature for argparse's overloads
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's own."""
        return super().parse_known_args(_with_joined_points(list(sys.argv[1:] if args is None else args)), namespace)


def _with_joined_points(arguments: list[str]) -> list[str]:
    """The arguments with the numbers behind --point joined to it."""
    joined, place = [], 0
    while place < len(arguments):
        if arguments[place] == "--point":
            taken = next((n for n in (3, 1) if _numbers(arguments[place + 1 : place + 1 + n])), 0)
            if taken:
                joined.append("--point=" + " ".join(arguments[place + 1 : place + 1 + taken]))
                place += 1 + taken
                continue
        joined.append(arguments[place])
        place += 1
    return joined


def _numbers(texts: Sequence[str]) -> list[float]:
    """The three numbers of one text or of three; nothing when they are none."""
    try:
        found = [float(part) for part in " ".join(texts).replace(",", " ").replace(";", " ").split()]
    except ValueError:
        return []
    return found if len(found) == 3 and all(map(math.isfinite, found)) else []


def _point(text: str) -> list[float]:
    found = _numbers([text])
    if not found:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no point: give three numbers R A S in mm with decimal points, such as --point -56.3 -86.4 -115.9"
        )
    return found


def _classify(options: argparse.Namespace) -> int:
    from CLIPLungLib.image.read import read_ct
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.result_files import write_heatmap, write_json
    from CLIPLungLib.report.page import save_report

    ct = read_ct(options.ct, options.series)
    if ct.source.get("note"):
        print(ct.source["note"])
    result = NoduleClassifier.load(options.checkpoint, options.device).classify(ct, options.point)
    write_json(result, options.output / "result.json")
    write_heatmap(result, options.output / "heatmap.nrrd")
    save_report(ct, result, options.output / "report.png")
    for line in _summary(result):
        print(line)
    print(f"written: {options.output}/result.json, heatmap.nrrd, report.png\n{DISCLAIMER}")
    return EXIT_OK


def _summary(result: NoduleResult) -> list[str]:
    size = f"about {result.diameter_mm:.1f} mm (not outlined)"
    if result.measurement is not None:
        low, high = result.measurement.diameter_interval_mm
        size = f"{result.diameter_mm:.1f} mm ({low:.1f} to {high:.1f}), volume {result.measurement.volume_mm3:.0f} mm3"
    return [
        f"P(malignancy rating > 3) = {result.malignancy_probability:.3f}   looks {result.predicted_class}",
        f"diameter {size}; not excluded: {', '.join(result.class_set)}",
        *(f"  {a.name:<18} {a.level:4.2f}  {a.text}  (similarity {a.similarity:+.3f})" for a in result.attributes),
        *(f"warning: {warning}" for warning in result.warnings),
    ]


def _batch(options: argparse.Namespace) -> int:
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.cohort import RESULTS_NAME, run_batch

    classifier = NoduleClassifier.load(options.checkpoint, options.device)
    failures = run_batch(options.cohort, options.output, classifier, options.heatmaps, _progress("nodule"))
    print(f"written: {options.output / RESULTS_NAME}")
    if failures:
        print(
            f"cliplung: {failures} row(s) failed; see the columns status and error. The same command tries them again.",
            file=sys.stderr,
        )
        return EXIT_FAILED_ROWS
    return EXIT_OK


def _demo(options: argparse.Namespace) -> int:
    from CLIPLungLib.demo.run import run_demo

    for line in run_demo(options.output, options.ct, options.point, options.checkpoint, options.device):
        print(line, flush=True)
    return EXIT_OK


def _lidc_prepare(options: argparse.Namespace) -> int:
    from CLIPLungLib.lidc.training_patches import prepare_patches
    from CLIPLungLib.training.config import TrainConfig

    progress = _progress("nodule")
    patches = prepare_patches(
        options.lidc, TrainConfig.read(options.config).patch, lambda done, total: progress(done, total, "")
    )
    patches.save(options.output)
    print(f"written: {options.output} ({len(patches.kind)} patches, {len(patches.hu)} planes)")
    return EXIT_OK


def _train(options: argparse.Namespace) -> int:
    from CLIPLungLib.training.config import TrainConfig
    from CLIPLungLib.training.final_model import train_final_model
    from CLIPLungLib.training.processes import joined_processes

    config = TrainConfig.read(options.config)
    with joined_processes(options.device) as device:
        file = train_final_model(config, options.patches, options.lidc, options.output, str(device), _progress("epoch"))
    print(f"written: {file}")
    return EXIT_OK


def _crossvalidate(options: argparse.Namespace) -> int:
    from CLIPLungLib.lidc.nodule_table import read_nodules
    from CLIPLungLib.lidc.training_patches import TrainingPatches
    from CLIPLungLib.training.config import TrainConfig
    from CLIPLungLib.training.cross_validation import CHECKPOINT_NAME, cross_validate
    from CLIPLungLib.training.fold_answers import ANSWERS_NAME
    from CLIPLungLib.training.processes import joined_processes

    config, nodules = TrainConfig.read(options.config), read_nodules(options.lidc)
    patches = TrainingPatches.load(options.patches)
    with joined_processes(options.device) as device:
        cross_validate(config, patches, nodules, options.lidc, options.output, str(device), progress=_progress("epoch"))
    print(f"written: {options.output}/fold*/{CHECKPOINT_NAME} and {ANSWERS_NAME}")
    return EXIT_OK


def _evaluate(options: argparse.Namespace) -> int:
    from CLIPLungLib.evaluation.comparison import evaluate
    from CLIPLungLib.evaluation.tables import results_text
    from CLIPLungLib.lidc.nodule_table import read_nodules

    results = evaluate(options.runs, read_nodules(options.lidc), progress=_progress("setting"))
    print(results_text(results))
    return _written(options.output, results)


def _robustness(options: argparse.Namespace) -> int:
    from CLIPLungLib.evaluation.robustness import measure_robustness
    from CLIPLungLib.lidc.nodule_table import read_nodules

    nodules, progress = read_nodules(options.lidc), _progress("part")
    return _written(
        options.output, measure_robustness(options.run_folder, options.lidc, nodules, options.device, progress)
    )


def _saliency(options: argparse.Namespace) -> int:
    from CLIPLungLib.evaluation.saliency import measure_saliency
    from CLIPLungLib.lidc.nodule_table import read_nodules

    nodules, progress = read_nodules(options.lidc), _progress("fold")
    return _written(
        options.output, measure_saliency(options.run_folder, options.lidc, nodules, options.device, progress)
    )


def _model_card(options: argparse.Namespace) -> int:
    from CLIPLungLib.evaluation.tables import write_readme_table
    from CLIPLungLib.model_card.from_files import read_figures, write_model_card

    files = (options.results, options.robustness, options.saliency)
    file = write_model_card(*files, options.runs, options.lidc, options.output, options.gallery)
    print(f"written: {file}")
    if options.readme:
        write_readme_table(options.readme, read_figures(options.results))
    return EXIT_OK


def _written(file: Path, values: dict[str, Any]) -> int:
    from CLIPLungLib.atomic_write import remove_leftovers, writing

    remove_leftovers(file)
    with writing(file) as temporary:
        temporary.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"written: {file}")
    return EXIT_OK


def _progress(unit: str) -> Callable[[int, int, str], None]:
    """A bar on standard error with the time left; silent when that is no terminal, or where tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return lambda _done, _total, _name: None
    bar = tqdm(unit=unit, disable=None, dynamic_ncols=True)

    def show(done: int, total: int, name: str) -> None:
        # What an earlier run has done took no time in this one.
        if bar.n == 0 and done > 1:
            bar.initial = bar.n = done - 1
        bar.total = total
        bar.set_postfix_str(name[:40], refresh=False)
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return show


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="cliplung", description=f"How suspicious a lung nodule looks on CT, and why. {DISCLAIMER}")
    parser.add_argument("--version", action="version", version=f"cliplung {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more about what is going on")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=argparse.ArgumentParser)
    _add_inference_commands(commands)
    _add_training_commands(commands)
    _add_evaluation_commands(commands)
    return parser


def _add_inference_commands(commands: Commands) -> None:
    classify = _command(commands, "classify", _classify, "classify one nodule of one CT")
    classify.add_argument("ct", type=Path, help="NRRD, NIfTI, MHA or DICOM (file or folder)")
    classify.add_argument("--series", metavar="UID", help="which series of a DICOM folder (its UID or the UID's end)")
    classify.add_argument(
        "--output", type=Path, required=True, help="folder for result.json, heatmap.nrrd and report.png"
    )
    batch = _command(commands, "batch", _batch, "classify every row of a table (id,image,r,a,s)")
    batch.add_argument("cohort", type=Path, help="CSV; images relative to its folder")
    batch.add_argument("--output", type=Path, required=True, help="folder for results.csv")
    batch.add_argument("--heatmaps", action="store_true", help="also write heatmaps/<id>.nrrd")
    demo = _command(commands, "demo", _demo, "the whole way of work on a synthetic chest, or on your own CT")
    demo.add_argument("--output", type=Path, default=Path("demo-output"))
    demo.add_argument("--ct", type=Path, help="your own CT instead of the synthetic chest")
    for command, required in ((classify, True), (demo, False)):
        command.add_argument(
            "--point", type=_point, required=required, metavar="R A S", help="the nodule, three numbers in RAS mm"
        )
    for command in (classify, batch, demo):
        command.add_argument("--checkpoint", type=Path, help="other weights than the bundled ones")
        _add_device(command)


def _add_training_commands(commands: Commands) -> None:
    from CLIPLungLib.training import DEFAULT_CONFIG

    lidc = commands.add_parser("lidc", help="LIDC-IDRI data").add_subparsers(required=True, metavar="COMMAND")
    prepare = _command(lidc, "prepare", _lidc_prepare, "resample all nodules to patches for training")
    prepare.add_argument("lidc", type=Path, help="folder with nodules.csv and the images it names")
    prepare.add_argument("--output", type=Path, required=True, help="the .npz file to write")
    train = _command(
        commands,
        "train",
        _train,
        "cross-validate, train on all folds, write a checkpoint; continues where it was stopped",
    )
    crossvalidate = _command(
        commands,
        "crossvalidate",
        _crossvalidate,
        "train on all folds but one and answer for that one, for each fold in turn; a checkpoint per fold",
    )
    for command in (train, crossvalidate):
        command.add_argument("--lidc", type=Path, required=True, help="folder with nodules.csv")
        command.add_argument("--patches", type=Path, required=True, help="what 'cliplung lidc prepare' wrote")
        command.add_argument("--output", type=Path, required=True, help="folder of the run")
        _add_device(command)
    for command in (prepare, train, crossvalidate):
        command.add_argument(
            "--config", type=Path, default=DEFAULT_CONFIG, help="JSON settings (default: those of the bundled model)"
        )


def _add_evaluation_commands(commands: Commands) -> None:
    evaluate = _command(commands, "evaluate", _evaluate, "figures of all runs of a folder, and the size-only floors")
    robustness = _command(commands, "robustness", _robustness, "the same nodules under other conditions, out of fold")
    saliency = _command(commands, "saliency", _saliency, "whether heat maps lie on the nodule, out of fold")
    card = _command(commands, "model-card", _model_card, "the model card with its plots, from the files of figures")
    for command in (evaluate, robustness, saliency, card):
        command.add_argument("--lidc", type=Path, required=True, help="folder with nodules.csv")
    for command in (evaluate, card):
        command.add_argument(
            "--runs", type=Path, required=True, help="folder of the cross-validations, one of them 'shipped'"
        )
    for command in (robustness, saliency):
        command.add_argument(
            "--run", dest="run_folder", type=Path, required=True, help="folder of a finished cross-validation"
        )
        _add_device(command)
    for command in (evaluate, robustness, saliency):
        command.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    card.add_argument("--output", type=Path, required=True, help="folder for model_card.md")
    card.add_argument("--results", type=Path, required=True, help="what 'cliplung evaluate' wrote")
    card.add_argument("--robustness", type=Path, help="what 'cliplung robustness' wrote")
    card.add_argument("--saliency", type=Path, help="what 'cliplung saliency' wrote")
    card.add_argument("--gallery", action="store_true", help="also show failures: pictures of patients' scans")
    card.add_argument("--readme", type=Path, help="also put the main table between the marks of this README")


def _command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], help_text: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(run=run)
    return command


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, cuda:N or mps")


if __name__ == "__main__":
    sys.exit(main())
