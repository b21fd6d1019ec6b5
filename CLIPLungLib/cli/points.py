"""Points on the command line, in any notation of numbers."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence

POINT_OPTIONS = ("--point", "--prior-point")


class PointParser(argparse.ArgumentParser):
    """Takes the numbers of a point in any notation; argparse alone takes -5.6e+01 and -56. for options."""

    def parse_known_args(  # type: ignore[override] # one signature for argparse's overloads
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's own."""
        return super().parse_known_args(_with_joined_points(list(sys.argv[1:] if args is None else args)), namespace)


def _with_joined_points(arguments: list[str]) -> list[str]:
    """The arguments with the numbers behind the options of points joined to it."""
    joined, place = [], 0
    while place < len(arguments):
        if arguments[place] in POINT_OPTIONS:
            taken = next((n for n in (3, 1) if _numbers(arguments[place + 1 : place + 1 + n])), 0)
            if taken:
                joined.append(f"{arguments[place]}=" + " ".join(arguments[place + 1 : place + 1 + taken]))
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


def point(text: str) -> list[float]:
    found = _numbers([text])
    if not found:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no point: give three numbers R A S in mm with decimal points, such as --point -56.3 -86.4 -115.9"
        )
    return found
