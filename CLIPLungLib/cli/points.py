"""Points on the command line, in any notation of numbers; ~ in any path; and no argument without a value."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from itertools import pairwise

from CLIPLungLib.inference.table_path import in_home

POINT_OPTIONS = ("--point", "--prior-point")
# What looks like a number, also one that is written in a way that cannot be read.
NUMBER_LIKE = re.compile(r"[-+]?[\d.,;][\d.,;e+-]*", re.IGNORECASE)
# A comma within a number, in a text whose numbers are apart by something else.
DECIMAL_COMMA = re.compile(r"\d,\d.*[;\s]|[;\s].*\d,\d")
EMPTY = re.compile(r"(--[\w-]+=)?\s*")
# Shells leave ~ as it is behind an option's "=", some of Windows everywhere: a folder of that name would be made.
OPTION_AND_PATH = re.compile(r"(--[\w-]+=)?(~.*)", re.DOTALL)


class PointParser(argparse.ArgumentParser):
    """Takes the numbers of a point in any notation; argparse alone takes -5.6e+01 and -56. for options.

    An empty argument is refused: as a path it would stand for the folder one is in, with whatever lies there.
    """

    def parse_known_args(  # type: ignore[override] # one signature for argparse's overloads
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's own."""
        arguments = list(sys.argv[1:] if args is None else args)
        for before, argument in pairwise([self.prog, *arguments]):
            if EMPTY.fullmatch(argument) and before not in POINT_OPTIONS:
                what = f"'{argument}'" if argument.strip() else f"the argument behind '{before}'"
                self.error(f"{what} is empty: it may be a variable that is not set. Give it a value")
        joined = _with_joined_points([_in_home(text) for text in arguments])
        for option in POINT_OPTIONS:
            if sum(text == option or text.startswith(f"{option}=") for text in joined) > 1:
                # argparse would take the last one.
                self.error(
                    f"{option} is given twice, and one nodule is asked about. For several, give 'cliplung batch' a table"
                )
        return super().parse_known_args(joined, namespace)


def _in_home(argument: str) -> str:
    """The argument with the user's home folder in place of ~."""
    found = OPTION_AND_PATH.fullmatch(argument)
    return f"{found[1] or ''}{in_home(found[2])}" if found else argument


def _with_joined_points(arguments: list[str]) -> list[str]:
    """The arguments with the numbers behind the options of points joined to it."""
    joined, place = [], 0
    while place < len(arguments):
        if arguments[place] in POINT_OPTIONS:
            behind = arguments[place + 1 : place + 4]
            taken = next((n for n in (3, 1) if _numbers(behind[:n])), _number_like(behind))
            if taken:
                joined.append(f"{arguments[place]}=" + " ".join(arguments[place + 1 : place + 1 + taken]))
                place += 1 + taken
                continue
        joined.append(arguments[place])
        place += 1
    return joined


def _number_like(texts: Sequence[str]) -> int:
    """How many of the first texts are meant for numbers: `point` says what is wrong with them."""
    return next((n for n, text in enumerate(texts) if not NUMBER_LIKE.fullmatch(text)), len(texts))


def _numbers(texts: Sequence[str]) -> list[float]:
    """The three numbers of one text or of three; nothing when they are none, or may be two with a decimal comma."""
    joined = " ".join(text.strip() for text in texts)
    try:
        found = [float(part) for part in joined.replace(",", " ").replace(";", " ").split()]
    except ValueError:
        return []
    if DECIMAL_COMMA.search(joined):
        return []
    return found if len(found) == 3 and all(map(math.isfinite, found)) else []


def point(text: str) -> list[float]:
    found = _numbers([text])
    if not found:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no point: give three numbers R A S in mm with decimal points, such as --point -56.3 -86.4 -115.9"
        )
    return found
