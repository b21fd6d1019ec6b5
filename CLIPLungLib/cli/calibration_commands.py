"""The command that recalibrates a network on local cases: calibrate."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CLIPLungLib.cli.options import EXIT_OK, add_command, add_device, progress_bar

if TYPE_CHECKING:
    from CLIPLungLib.calibration.sample_size import PowerStatement
    from CLIPLungLib.cli.options import Commands
    from CLIPLungLib.evaluation.bootstrap import Estimate
    from CLIPLungLib.inference.checkpoint import Checkpoint
    from CLIPLungLib.recalibration.comparison import Comparison
    from CLIPLungLib.recalibration.fit import LocalCalibration

SUFFIX = ".safetensors"


def add_calibration_commands(commands: Commands) -> None:
    """`calibrate`."""
    calibrate = add_command(
        commands,
        "calibrate",
        _calibrate,
        "refit the probabilities of a network on local cases that it was not trained on",
    )
    calibrate.add_argument(
        "table", type=Path, help="CSV with id,image,r,a,s,malignancy (1 to 5, or 0/1 outcome), or a data folder"
    )
    calibrate.add_argument("--output", type=Path, required=True, help=f"the {SUFFIX} file to write; it must not exist")
    calibrate.add_argument("--checkpoint", type=Path, help="weights to calibrate (default: the bundled ones)")
    add_device(calibrate)


def _calibrate(options: argparse.Namespace) -> int:
    from datetime import date

    from CLIPLungLib.inference.calibrated_result import require_calibrations
    from CLIPLungLib.inference.checkpoint import save_checkpoint
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.recalibration.answers import answer_cases
    from CLIPLungLib.recalibration.cases import read_local_cases
    from CLIPLungLib.recalibration.comparison import compare_calibrations
    from CLIPLungLib.recalibration.fit import calibrate_locally, require_enough

    _require_new_file(options.output)
    local = read_local_cases(options.table)
    require_enough(local.cases)
    classifier = NoduleClassifier.load(options.checkpoint, options.device)
    old = require_calibrations(classifier.checkpoint)
    answers = answer_cases(local.cases, classifier, progress_bar("case"))
    left_out = local.left_out | answers.left_out
    for line in _left_out_lines(left_out, len(local.cases) + len(local.left_out)):
        print(line)
    name = options.table.resolve().name
    found = calibrate_locally(answers, old, local.whose, name, date.today().isoformat())
    compared = compare_calibrations(found)
    for line in _lines(found, compared, local.notes):
        print(line)
    save_checkpoint(options.output, _recalibrated(classifier.checkpoint, found, compared, len(left_out)))
    print(f"written: {options.output}")
    return EXIT_OK


def _require_new_file(output: Path) -> None:
    """Check before the long computation that the weights can be written and overwrite nothing."""
    from tempfile import TemporaryFile

    from CLIPLungLib.atomic_write import cannot_write, remove_leftovers
    from CLIPLungLib.errors import InputError

    if output.suffix.lower() != SUFFIX:
        raise InputError(f"'{output}' is no name for weights. Choose one that ends in {SUFFIX}.")
    if output.exists() or output.is_symlink():
        raise InputError(f"'{output}' exists already. Choose another name, or remove it first.")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=output.parent):
            remove_leftovers(output)
    except OSError as error:
        raise cannot_write(output, error) from error


def _recalibrated(
    checkpoint: Checkpoint, found: LocalCalibration, compared: Mapping[str, Comparison], left_out: int
) -> Checkpoint:
    """The same network with the new calibrations and their record: counts and figures, no patient and no path."""
    from dataclasses import replace

    record: dict[str, Any] = {
        **found.calibrations.truth.to_dict(),
        "left_out": left_out,
        "calibrated_from_sha256": checkpoint.sha256,
        "is_updated": found.is_updated,
        "decisions": found.decisions,
        "figures": {name: figure.to_dict() for name, figure in compared.items()},
        "power": found.power.to_dict(),
    }
    network = checkpoint.network.cpu()
    provenance = {**checkpoint.provenance, "local_calibration": record}
    return replace(checkpoint, network=network, calibrations=found.calibrations, provenance=provenance, sha256="")


def _left_out_lines(left_out: Mapping[str, str], count: int) -> Iterator[str]:
    if left_out:
        yield f"{len(left_out)} of {count} cases left out:"
    for name, reason in left_out.items():
        yield f"  {name}: {reason}"


def _lines(found: LocalCalibration, compared: Mapping[str, Comparison], notes: tuple[str, ...]) -> Iterator[str]:
    from CLIPLungLib.calibration.truth import truth_phrase
    from CLIPLungLib.recalibration.comparison import LABELS, verdict

    truth = found.calibrations.truth
    yield from (f"note: {note}" for note in notes)
    yield f"{truth.cases} cases of {truth.patients} patients, {truth.events} with the event: P({truth_phrase(truth)})"
    yield ""
    yield from (f"{part:<13} {decision}" for part, decision in found.decisions.items())
    yield ""
    yield f"{'with 95 % intervals over patients':<36} {'before':<26} {'after (other patients)':<26} change"
    for name, figure in compared.items():
        cells = (_cell(estimate) for estimate in (figure.before, figure.after, figure.change))
        yield f"  {LABELS[name]:<34} {'{:<26} {:<26} {}'.format(*cells)}"
    yield verdict(dict(compared))
    yield ""
    yield from _power_lines(found.power)
    yield ""


def _cell(estimate: Estimate) -> str:
    if estimate.value is None or estimate.interval is None:
        return "-"
    return f"{estimate.value:.3f} ({estimate.interval[0]:.3f} to {estimate.interval[1]:.3f})"


def _power_lines(power: PowerStatement) -> Iterator[str]:
    from CLIPLungLib.calibration.sample_size import PROBABILITIES, TARGET_HALF_WIDTH

    widths = ", ".join(f"{p:g} +-{width:.2f}" for p, width in zip(PROBABILITIES, power.half_widths, strict=True))
    needed = ", ".join(f"{n} at {p:g}" for p, n in zip(PROBABILITIES, power.cases_needed, strict=True))
    yield f"How sure {power.cases} cases ({power.event_rate:.0%} with the event) make a probability, 95 %: {widths}."
    yield f"Cases of the same mix for +-{TARGET_HALF_WIDTH:g}: {needed}."
    yield (
        f"Mean probability against the rate of events: +-{power.half_width_in_the_large:.2f} now; "
        f"{power.cases_in_the_large} cases show it within +-{TARGET_HALF_WIDTH:g}."
    )
