"""The command compare: one nodule in a new CT and in an earlier one."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cli.options import EXIT_OK, add_command, add_device
from CLIPLungLib.cli.points import point

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands
    from CLIPLungLib.image.ct_volume import CTVolume

COMPARE_FILES = ("comparison.json", "comparison.png")


def add_followup_commands(commands: Commands) -> None:
    """`compare`."""
    command = add_command(commands, "compare", _compare, "compare a nodule with itself in an earlier CT")
    command.add_argument("ct", type=Path, metavar="CURRENT", help="NRRD, NIfTI, MHA or DICOM (file or folder)")
    command.add_argument("--point", type=point, required=True, metavar="R A S", help="the nodule there, RAS mm")
    command.add_argument("--prior", type=Path, required=True, help="the earlier CT")
    command.add_argument(
        "--prior-point", type=point, metavar="R A S", help="the nodule in it (default: found by registration)"
    )
    for name, whose in (("", "current"), ("prior-", "prior")):
        command.add_argument(
            f"--{name}date", metavar="YYYY-MM-DD", help=f"of the {whose} CT (default: as its DICOM says)"
        )
        command.add_argument(f"--{name}series", metavar="UID", help=f"which series of the {whose} DICOM folder")
    command.add_argument("--output", type=Path, required=True, help=f"folder for {' and '.join(COMPARE_FILES)}")
    command.add_argument("--checkpoint", type=Path, help="other weights than the bundled ones")
    add_device(command)


def _compare(options: argparse.Namespace) -> int:
    from CLIPLungLib.atomic_write import remove_leftovers
    from CLIPLungLib.followup.comparison import compare, days_of, write_comparison
    from CLIPLungLib.followup.wording import change_lines
    from CLIPLungLib.image.read import read_ct
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.report.comparison_page import save_comparison_page

    current = read_ct(options.ct, options.series)
    prior = read_ct(options.prior, options.prior_series)
    dates = (
        _date(options.date, "the current CT", options.ct, current),
        _date(options.prior_date, "the prior CT", options.prior, prior),
    )
    # Wrong dates are told before the work.
    days_of(dates)
    for ct in (current, prior):
        if ct.source.get("note"):
            print(f"{ct.name}: {ct.source['note']}")
    classifier = NoduleClassifier.load(options.checkpoint, options.device)
    found = compare(current, options.point, prior, classifier, options.prior_point, dates)
    numbers, picture = (options.output / name for name in COMPARE_FILES)
    for file in (numbers, picture):
        remove_leftovers(file)
    write_comparison(found, numbers)
    save_comparison_page(current, prior, found, picture)
    place = ", ".join(f"{value:.1f}" for value in found.prior.point_ras)
    how = f"proposed, correlation {found.match.similarity:.2f}: confirm it" if found.match else "as given"
    print(f"place in the prior CT: {place} RAS mm ({how})")
    for heading, lines in change_lines(found):
        print(heading, *(f"  {line}" for line in lines), sep="\n")
    print(f"written: {options.output}/{', '.join(COMPARE_FILES)}\n{found.current.notice}")
    return EXIT_OK


def _date(given: str | None, whose: str, path: Path, ct: CTVolume) -> date | None:
    """The date given, or that of the DICOM series; None where neither is there."""
    from CLIPLungLib.followup.dates import read_date
    from CLIPLungLib.image.dicom.acquisition_date import acquisition_date

    if given is not None:
        return read_date(given, whose)
    stated = acquisition_date(path, ct.source.get("series_uid", "")) if ct.source.get("format") == "DICOM" else ""
    return read_date(stated, whose) if stated else None
