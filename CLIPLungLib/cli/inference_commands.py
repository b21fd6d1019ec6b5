"""Commands that run inference: classify, batch, demo."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.calibration.truth import truth_phrase
from CLIPLungLib.cli.classify_extras import add_extra_options, extra_files, write_extras
from CLIPLungLib.cli.cluster_options import add_cluster, workers_of
from CLIPLungLib.cli.earlier_files import remove, remove_earlier
from CLIPLungLib.cli.options import EXIT_FAILED_ROWS, EXIT_OK, add_command, add_device, progress_bar
from CLIPLungLib.cli.points import point
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.vocabulary import CLASS_TITLES

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands

CLASSIFY_FILES = ("result.json", "heatmap.nrrd", "report.png")
SEGMENTATION_FILE = "segmentation.seg.nrrd"


def add_inference_commands(commands: Commands) -> None:
    """`classify`, `batch` and `demo`."""
    classify = add_command(commands, "classify", _classify, "classify one nodule of one CT")
    classify.add_argument("ct", type=Path, help="NRRD, NIfTI, MHA or DICOM (file or folder)")
    classify.add_argument("--series", metavar="UID", help="series of a DICOM folder (its UID or the end of it)")
    classify.add_argument(
        "--output", type=Path, required=True, help="folder for result.json, heatmap.nrrd and report.png"
    )
    add_extra_options(classify)
    batch = add_command(commands, "batch", _batch, "classify every row of a table (id,image,r,a,s)")
    batch.add_argument("cohort", type=Path, help="CSV file; image paths are relative to its folder")
    batch.add_argument("--output", type=Path, required=True, help="folder for results.csv")
    batch.add_argument("--heatmaps", action="store_true", help="also write heatmaps/<id>.nrrd")
    add_cluster(batch)
    for command, where in ((classify, SEGMENTATION_FILE), (batch, "segmentations/<id>.seg.nrrd")):
        command.add_argument("--segmentation", action="store_true", help=f"also write the outline: {where}")
    demo = add_command(commands, "demo", _demo, "the whole workflow on a synthetic chest, or on your own CT")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="folder (default: demo-output)")
    demo.add_argument("--ct", type=Path, help="your own CT instead of the synthetic chest")
    for command, required in ((classify, True), (demo, False)):
        command.add_argument(
            "--point", type=point, required=required, metavar="R A S", help="the nodule: three coordinates in RAS mm"
        )
    for command in (classify, batch, demo):
        command.add_argument("--checkpoint", type=Path, help="weights (default: the bundled ones)")
        add_device(command)


def _classify(options: argparse.Namespace) -> int:
    from CLIPLungLib.image.read import read_ct
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.result_files import require_finite, write_heatmap, write_json
    from CLIPLungLib.report.page import save_report

    ct = read_ct(options.ct, options.series)
    if ct.source.get("note"):
        print(ct.source["note"])
    classifier = NoduleClassifier.load(options.checkpoint, options.device)
    result = classifier.classify(ct, options.point)
    # Before the report, which takes longer to draw than the answer to find.
    print("\n".join(_summary(result)), flush=True)
    numbers, heatmap, report = (options.output / name for name in CLASSIFY_FILES)
    outline, names = options.output / SEGMENTATION_FILE, list(CLASSIFY_FILES)
    require_finite(result)
    remove_earlier(numbers, result.to_json(), (heatmap, report, outline, *extra_files(options.output)))
    write_json(result, numbers)
    write_heatmap(result, heatmap)
    save_report(ct, result, report)
    if options.segmentation:
        names += _write_outline(result, outline)
    for line in write_extras(options, ct, classifier, result):
        print(line)
    print(f"written: {options.output}/{', '.join(names)}\n{result.notice}")
    return EXIT_OK


def _write_outline(result: NoduleResult, file: Path) -> list[str]:
    """Write the outline; without one, that of an earlier answer goes. Returns the names of what was written."""
    from CLIPLungLib.inference.segmentation_file import write_segmentation

    if result.outline_on_ct is not None:
        write_segmentation(result.outline_on_ct, file)
        return [file.name]
    remove(file)
    print(f"no {file.name}: nothing could be outlined at the point")
    return []


def _summary(result: NoduleResult) -> list[str]:
    size = f"about {result.diameter_mm:.1f} mm (not outlined)"
    if result.measurement is not None:
        low, high = result.measurement.diameter_interval_mm
        size = f"{result.diameter_mm:.1f} mm ({low:.1f} to {high:.1f}), volume {result.measurement.volume_mm3:.0f} mm3"
    return [
        f"P({truth_phrase(result.truth)}) = {result.malignancy_probability:.3f}   looks {CLASS_TITLES[result.predicted_class]}",
        f"diameter {size}; compatible with: {', '.join(CLASS_TITLES[name] for name in result.class_set)}",
        *(f"  {a.name:<18} {a.level:4.2f}  {a.text}  (similarity {a.similarity:+.3f})" for a in result.attributes),
        *(f"warning: {warning}" for warning in result.warnings),
    ]


def _batch(options: argparse.Namespace) -> int:
    from CLIPLungLib.errors import InputError
    from CLIPLungLib.followup.cohort import comparison_columns
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.cohort import RESULTS_NAME, run_batch
    from CLIPLungLib.inference.cohort_table import has_priors

    files = (options.heatmaps, progress_bar("nodule"), options.segmentation)
    if connect := workers_of(options):
        from CLIPLungLib.cluster.run import run_cluster_batch

        if has_priors(options.cohort):
            raise InputError(
                "Earlier scans (column prior_image) are compared in one process only. Leave out the options of the cluster."
            )
        failures = run_cluster_batch(
            options.cohort, options.output, connect, options.checkpoint, options.device, *files
        )
    else:
        classifier = NoduleClassifier.load(options.checkpoint, options.device)
        further = comparison_columns(options.cohort, classifier)
        failures = run_batch(options.cohort, options.output, classifier, *files, further)
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
