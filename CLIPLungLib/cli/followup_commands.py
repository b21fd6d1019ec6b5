"""The command compare: one nodule in a current and a prior CT."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cli.earlier_files import remove_earlier
from CLIPLungLib.cli.options import EXIT_OK, add_command, add_device
from CLIPLungLib.cli.points import point

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands

COMPARE_FILES = ("comparison.json", "comparison.png")


def add_followup_commands(commands: Commands) -> None:
    """`compare`."""
    command = add_command(commands, "compare", _compare, "compare a nodule with the same nodule in a prior CT")
    command.add_argument("ct", type=Path, metavar="CURRENT", help="NRRD, NIfTI, MHA or DICOM (file or folder)")
    command.add_argument(
        "--point", type=point, required=True, metavar="R A S", help="the nodule in the current CT, RAS mm"
    )
    command.add_argument("--prior", type=Path, required=True, help="the prior CT")
    command.add_argument(
        "--prior-point",
        type=point,
        metavar="R A S",
        help="the nodule in the prior CT, RAS mm (default: by registration)",
    )
    for name, whose in (("", "current"), ("prior-", "prior")):
        command.add_argument(
            f"--{name}date", metavar="YYYY-MM-DD", help=f"of the {whose} CT (default: from its DICOM header)"
        )
        command.add_argument(f"--{name}series", metavar="UID", help=f"which series of the {whose} DICOM folder")
    command.add_argument("--output", type=Path, required=True, help=f"folder for {' and '.join(COMPARE_FILES)}")
    command.add_argument("--checkpoint", type=Path, help="weights (default: the bundled ones)")
    add_device(command)


def _compare(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from CLIPLungLib.followup.comparison import compare, days_of, write_comparison
    from CLIPLungLib.followup.dates import date_of_scan, mixed_dates
    from CLIPLungLib.followup.wording import change_lines
    from CLIPLungLib.image.read import read_ct
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.report.comparison_page import save_comparison_page

    current = read_ct(options.ct, options.series)
    prior = read_ct(options.prior, options.prior_series)
    dates = (
        date_of_scan(options.date, "the current CT", options.ct, current),
        date_of_scan(options.prior_date, "the prior CT", options.prior, prior),
    )
    # Wrong dates are told before the work.
    days_of(dates)
    for ct in (current, prior):
        if ct.source.get("note"):
            print(f"{ct.name}: {ct.source['note']}")
    classifier = NoduleClassifier.load(options.checkpoint, options.device)
    found = compare(current, options.point, prior, classifier, options.prior_point, dates)
    found = replace(found, warnings=(*found.warnings, *mixed_dates((options.date, options.prior_date), dates)))
    numbers, picture = (options.output / name for name in COMPARE_FILES)
    remove_earlier(numbers, found.to_json(), (picture,))
    write_comparison(found, numbers)
    save_comparison_page(current, prior, found, picture)
    place = ", ".join(f"{value:.1f}" for value in found.prior.point_ras)
    how = f"proposed, correlation {found.match.similarity:.2f}: confirm it" if found.match else "as given"
    print(f"place in the prior CT: {place} RAS mm ({how})")
    for heading, lines in change_lines(found):
        print(heading, *(f"  {line}" for line in lines), sep="\n")
    print(f"written: {options.output}/{', '.join(COMPARE_FILES)}\n{found.current.notice}")
    return EXIT_OK
