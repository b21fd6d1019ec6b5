"""The command `cliplung`: classify a nodule, run a cohort, prepare LIDC-IDRI, train, evaluate, demonstrate.

Exit codes: 0 done, 1 unexpected fault, 2 refused input, 3 a cohort finished with failed rows, 130 stopped by the user.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from CLIPLungLib.errors import CLIPLungError
from CLIPLungLib.inference.result import DISCLAIMER, NoduleResult
from CLIPLungLib.version import __version__

EXIT_OK, EXIT_REFUSED, EXIT_FAILED_ROWS, EXIT_STOPPED = 0, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Refusals are one line on standard error, never a traceback."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        return options.run(options)
    except CLIPLungError as error:
        print(f"cliplung: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        print("cliplung: stopped; finished rows and epochs are kept, the same command continues", file=sys.stderr)
        return EXIT_STOPPED


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
    print(f"P(malignancy rating > 3) = {result.malignancy_probability:.3f}   looks {result.predicted_class}")
    print(f"diameter {_size(result)}; not excluded: {', '.join(result.class_set)}")
    for attribute in result.attributes:
        print(
            f"  {attribute.name:<18} {attribute.level:4.2f}  {attribute.text}  (similarity {attribute.similarity:+.3f})"
        )
    for warning in result.warnings:
        print(f"warning: {warning}")
    print(f"written: {options.output}/result.json, heatmap.nrrd, report.png\n{DISCLAIMER}")
    return EXIT_OK


def _size(result: NoduleResult) -> str:
    if result.measurement is None:
        return f"about {result.diameter_mm:.1f} mm (not outlined)"
    low, high = result.measurement.diameter_interval_mm
    return f"{result.diameter_mm:.1f} mm ({low:.1f} to {high:.1f}), volume {result.measurement.volume_mm3:.0f} mm3"


def _batch(options: argparse.Namespace) -> int:
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.cohort import RESULTS_NAME, run_batch

    classifier = NoduleClassifier.load(options.checkpoint, options.device)
    failures = run_batch(options.cohort, options.output, classifier, options.heatmaps, _progress("nodules"))
    print(f"written: {options.output / RESULTS_NAME}")
    if failures:
        print(
            f"cliplung: {failures} row(s) failed; see the columns status and error. The same command tries them again.",
            file=sys.stderr,
        )
        return EXIT_FAILED_ROWS
    return EXIT_OK


def _lidc_prepare(options: argparse.Namespace) -> int:
    from CLIPLungLib.lidc.training_patches import prepare_patches
    from CLIPLungLib.training.config import TrainConfig

    config = TrainConfig.read(options.config)
    progress = _progress("nodules")
    views = prepare_patches(options.lidc, config.patch, lambda done, total: progress(done, total, ""))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    views.save(options.output)
    print(f"written: {options.output} ({len(views.kind)} views, {len(views.hu)} planes)")
    return EXIT_OK


def _train(options: argparse.Namespace) -> int:
    from CLIPLungLib.training.config import TrainConfig
    from CLIPLungLib.training.final_model import produce_checkpoint
    from CLIPLungLib.training.processes import joined_processes

    logging.getLogger("CLIPLungLib").setLevel(logging.INFO)
    config = TrainConfig.read(options.config)
    with joined_processes(options.device) as device:
        file = produce_checkpoint(config, options.views, options.lidc, options.output, str(device), _progress("epochs"))
    print(f"written: {file}")
    return EXIT_OK


def _crossvalidate(options: argparse.Namespace) -> int:
    from CLIPLungLib.lidc.nodule_table import read_nodules
    from CLIPLungLib.lidc.training_patches import TrainingPatches
    from CLIPLungLib.training.config import TrainConfig
    from CLIPLungLib.training.cross_validation import cross_validate
    from CLIPLungLib.training.processes import joined_processes

    logging.getLogger("CLIPLungLib").setLevel(logging.INFO)
    config, nodules = TrainConfig.read(options.config), read_nodules(options.lidc)
    views = TrainingPatches.load(options.views)
    with joined_processes(options.device) as device:
        cross_validate(config, views, nodules, options.output, str(device), progress=_progress("epochs"))
    print(f"written: {options.output}/fold*/answers.npz")
    return EXIT_OK


def _evaluate(options: argparse.Namespace) -> int:
    from CLIPLungLib.evaluation.comparison import evaluate
    from CLIPLungLib.evaluation.tables import results_text
    from CLIPLungLib.lidc.nodule_table import read_nodules
    from CLIPLungLib.lidc.training_patches import TrainingPatches

    views, nodules = TrainingPatches.load(options.views), read_nodules(options.lidc)
    results = evaluate(options.runs, views, nodules, progress=_progress("settings"))
    print(results_text(results))
    return _written(options.output, results)


def _reality(options: argparse.Namespace) -> int:
    from CLIPLungLib.evaluation.robustness_run import check_reality
    from CLIPLungLib.lidc.nodule_table import read_nodules
    from CLIPLungLib.lidc.training_patches import TrainingPatches

    views, nodules = TrainingPatches.load(options.views), read_nodules(options.lidc)
    found = check_reality(options.runs, options.lidc, views, nodules, options.device, _progress("nodules"))
    return _written(options.output, found)


def _heatmaps(options: argparse.Namespace) -> int:
    from CLIPLungLib.evaluation.saliency import judge_heat_maps
    from CLIPLungLib.lidc.nodule_table import read_nodules
    from CLIPLungLib.lidc.training_patches import TrainingPatches

    views, nodules = TrainingPatches.load(options.views), read_nodules(options.lidc)
    found = judge_heat_maps(options.runs, options.lidc, views, nodules, options.device, _progress("folds"))
    return _written(options.output, found)


def _card(options: argparse.Namespace) -> int:
    import json

    from CLIPLungLib.evaluation.tables import write_figures
    from CLIPLungLib.model_card.from_files import write_model_card

    file = write_model_card(
        options.results,
        options.reality,
        options.heatmaps,
        options.runs,
        options.views,
        options.lidc,
        options.output,
        options.gallery,
    )
    print(f"written: {file}")
    if options.readme:
        write_figures(options.readme, json.loads(options.results.read_text(encoding="utf-8")))
    return EXIT_OK


def _written(file: Path, values: dict) -> int:
    import json

    from CLIPLungLib.atomic_write import atomic_write

    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"written: {file}")
    return EXIT_OK


def _demo(options: argparse.Namespace) -> int:
    from CLIPLungLib.demo.run import run_demo

    for line in run_demo(options.output, options.ct, options.point, options.checkpoint, options.device):
        print(line, flush=True)
    return EXIT_OK


def _progress(what: str) -> Callable[[int, int, str], None]:
    """A line on standard error with the time left, at most once a second."""
    started, shown = time.monotonic(), 0.0
    before: int | None = None

    def show(done: int, total: int, name: str) -> None:
        nonlocal shown, before
        # What an earlier run has done took no time in this one.
        before = done - 1 if before is None else before
        now = time.monotonic()
        if now - shown < 1.0 and done < total:
            return
        shown = now
        left_s = (now - started) / max(done - before, 1) * (total - done)
        end = "\n" if done >= total else ""
        print(
            f"\r{done}/{total} {what}, about {left_s:.0f} s left {name[:40]:<40}", end=end, file=sys.stderr, flush=True
        )

    return show


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cliplung", description=f"How suspicious a lung nodule looks on CT, and why. {DISCLAIMER}"
    )
    parser.add_argument("--version", action="version", version=f"cliplung {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more about what is going on")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_inference_commands(commands)
    _add_training_commands(commands)
    return parser


def _add_inference_commands(commands: argparse._SubParsersAction) -> None:
    classify = _command(commands, "classify", _classify, "classify one nodule of one CT")
    classify.add_argument("ct", type=Path, help="NRRD, NIfTI, MHA or DICOM (file or folder)")
    classify.add_argument(
        "--point", type=float, nargs=3, required=True, metavar=("R", "A", "S"), help="the nodule, RAS mm"
    )
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
    demo.add_argument("--point", type=float, nargs=3, metavar=("R", "A", "S"), help="a nodule in your own CT, RAS mm")
    for command in (classify, batch, demo):
        command.add_argument("--checkpoint", type=Path, help="other weights than the bundled ones")
        _add_device(command)


def _add_training_commands(commands: argparse._SubParsersAction) -> None:
    from CLIPLungLib.training import DEFAULT_CONFIG

    lidc = commands.add_parser("lidc", help="LIDC-IDRI data").add_subparsers(required=True, metavar="COMMAND")
    prepare = _command(lidc, "prepare", _lidc_prepare, "resample all nodules to patches for training")
    prepare.add_argument("lidc", type=Path, help="folder with nodules.csv and the images it names")
    prepare.add_argument("--output", type=Path, required=True, help="the .npz file to write")
    train = _command(
        commands, "train", _train, "train, calibrate and write a checkpoint; continues where it was stopped"
    )
    train.add_argument("--output", type=Path, required=True, help="folder for logs, state and cliplung.safetensors")
    crossvalidate = _command(
        commands,
        "crossvalidate",
        _crossvalidate,
        "train on all folds but one, answer for that one, for each fold in turn",
    )
    crossvalidate.add_argument("--output", type=Path, required=True, help="folder for one sub-folder per fold")
    evaluate = _command(
        commands, "evaluate", _evaluate, "figures of all cross-validations of a folder, and the size-only floors"
    )
    evaluate.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    reality = _command(commands, "reality", _reality, "the same nodules under other conditions, out of fold")
    reality.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    heatmaps = _command(commands, "heatmaps", _heatmaps, "whether heat maps lie on the nodule, out of fold")
    heatmaps.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    card = _command(commands, "card", _card, "the model card with its plots, from the files of evaluate and reality")
    card.add_argument("--results", type=Path, required=True, help="what 'cliplung evaluate' wrote")
    card.add_argument("--reality", type=Path, help="what 'cliplung reality' wrote")
    card.add_argument("--heatmaps", type=Path, help="what 'cliplung heatmaps' wrote")
    card.add_argument("--gallery", action="store_true", help="also show failures: pictures of patients' scans")
    card.add_argument("--readme", type=Path, help="also put the main tables between the marks of this README")
    card.add_argument("--output", type=Path, required=True, help="folder for model_card.md")
    for command in (evaluate, reality, heatmaps, card):
        command.add_argument(
            "--runs", type=Path, required=True, help="folder of the cross-validations, one of them 'shipped'"
        )
    for command in (train, crossvalidate, evaluate, reality, heatmaps, card):
        command.add_argument("--lidc", type=Path, required=True, help="folder with nodules.csv")
        command.add_argument("--views", type=Path, required=True, help="what 'cliplung lidc prepare' wrote")
        _add_device(command)
    for command in (prepare, train, crossvalidate):
        command.add_argument(
            "--config", type=Path, default=DEFAULT_CONFIG, help="JSON settings (default: those of the bundled model)"
        )


def _command(commands: argparse._SubParsersAction, name: str, run: Callable, help_text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(run=run)
    return command


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:N")


if __name__ == "__main__":
    sys.exit(main())
