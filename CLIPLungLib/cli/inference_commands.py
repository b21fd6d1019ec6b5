"""Commands for those who read scans: classify, batch, demo."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.calibration.truth import truth_phrase
from CLIPLungLib.cli.options import EXIT_FAILED_ROWS, EXIT_OK, add_command, add_device, progress_bar
from CLIPLungLib.cli.points import point
from CLIPLungLib.inference.result import NoduleResult

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands

CLASSIFY_FILES = ("result.json", "heatmap.nrrd", "report.png")


def add_inference_commands(commands: Commands) -> None:
    """`classify`, `batch` and `demo`."""
    classify = add_command(commands, "classify", _classify, "classify one nodule of one CT")
    classify.add_argument("ct", type=Path, help="NRRD, NIfTI, MHA or DICOM (file or folder)")
    classify.add_argument("--series", metavar="UID", help="which series of a DICOM folder (its UID or the UID's end)")
    classify.add_argument(
        "--output", type=Path, required=True, help="folder for result.json, heatmap.nrrd and report.png"
    )
    batch = add_command(commands, "batch", _batch, "classify every row of a table (id,image,r,a,s)")
    batch.add_argument("cohort", type=Path, help="CSV; images relative to its folder")
    batch.add_argument("--output", type=Path, required=True, help="folder for results.csv")
    batch.add_argument("--heatmaps", action="store_true", help="also write heatmaps/<id>.nrrd")
    demo = add_command(commands, "demo", _demo, "the whole way of work on a synthetic chest, or on your own CT")
    demo.add_argument("--output", type=Path, default=Path("demo-output"))
    demo.add_argument("--ct", type=Path, help="your own CT instead of the synthetic chest")
    for command, required in ((classify, True), (demo, False)):
        command.add_argument(
            "--point", type=point, required=required, metavar="R A S", help="the nodule, three numbers in RAS mm"
        )
    for command in (classify, batch, demo):
        command.add_argument("--checkpoint", type=Path, help="other weights than the bundled ones")
        add_device(command)


def _classify(options: argparse.Namespace) -> int:
    from CLIPLungLib.atomic_write import remove_leftovers
    from CLIPLungLib.image.read import read_ct
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.result_files import write_heatmap, write_json
    from CLIPLungLib.report.page import save_report

    ct = read_ct(options.ct, options.series)
    if ct.source.get("note"):
        print(ct.source["note"])
    result = NoduleClassifier.load(options.checkpoint, options.device).classify(ct, options.point)
    numbers, heatmap, report = (options.output / name for name in CLASSIFY_FILES)
    for file in (numbers, heatmap, report):
        # The halves of its own files alone: the folder may be another program's, too.
        remove_leftovers(file)
    write_json(result, numbers)
    write_heatmap(result, heatmap)
    save_report(ct, result, report)
    for line in _summary(result):
        print(line)
    print(f"written: {options.output}/{', '.join(CLASSIFY_FILES)}\n{result.notice}")
    return EXIT_OK


def _summary(result: NoduleResult) -> list[str]:
    size = f"about {result.diameter_mm:.1f} mm (not outlined)"
    if result.measurement is not None:
        low, high = result.measurement.diameter_interval_mm
        size = f"{result.diameter_mm:.1f} mm ({low:.1f} to {high:.1f}), volume {result.measurement.volume_mm3:.0f} mm3"
    return [
        f"P({truth_phrase(result.truth)}) = {result.malignancy_probability:.3f}   looks {result.predicted_class}",
        f"diameter {size}; not excluded: {', '.join(result.class_set)}",
        *(f"  {a.name:<18} {a.level:4.2f}  {a.text}  (similarity {a.similarity:+.3f})" for a in result.attributes),
        *(f"warning: {warning}" for warning in result.warnings),
    ]


def _batch(options: argparse.Namespace) -> int:
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.cohort import RESULTS_NAME, run_batch

    classifier = NoduleClassifier.load(options.checkpoint, options.device)
    failures = run_batch(options.cohort, options.output, classifier, options.heatmaps, progress_bar("nodule"))
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
