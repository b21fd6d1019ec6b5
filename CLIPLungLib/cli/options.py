"""Shared by all commands: exit codes, common options, progress bars, JSON files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Holds which options were given, among the values of all options.
GIVEN = "_given"
EXIT_OK, EXIT_REFUSED, EXIT_FAILED_ROWS, EXIT_STOPPED = 0, 2, 3, 130

if TYPE_CHECKING:
    # Generic for type checkers only.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], help_text: str
) -> argparse.ArgumentParser:
    """A command that calls `run` with its options; `run` returns the exit code."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
    for action in (None, "store"):
        command.register("action", action, StoreOnce)
    command.set_defaults(run=run)
    return command


class StoreOnce(argparse.Action):
    """Refuses an option that is given twice: argparse would take the last value and drop the others, whatever they ask for.

    The device is no part of what is asked; an alias may give one.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """As argparse's own."""
        given: frozenset[str] = getattr(namespace, GIVEN, frozenset())
        if option_string and self.dest in given and self.dest != "device":
            remedy = "Give all its values behind one" if self.nargs == "+" else "Give it once"
            parser.error(f"{option_string} is given twice, and the first would not count. {remedy}")
        setattr(namespace, GIVEN, given | {self.dest})
        setattr(namespace, self.dest, values)


def number(text: str) -> float:
    """A number of the command line; Python would also take 1_0 for ten.

    Raises:
        ValueError: no number.
    """
    if "_" in text:
        raise ValueError(text)
    return float(text)


def whole_number(text: str) -> int:
    """As `number`, without decimals.

    Raises:
        ValueError: no whole number.
    """
    if "_" in text:
        raise ValueError(text)
    return int(text)


def add_data(command: argparse.ArgumentParser) -> None:
    """The option for a data folder."""
    # --lidc is its name of version 0.2.
    command.add_argument(
        "--data", "--lidc", dest="data", metavar="DATA", type=Path, required=True, help="data folder with nodules.csv"
    )


def add_config(command: argparse.ArgumentParser) -> None:
    """The option for the settings of a training."""
    from CLIPLungLib.training import DEFAULT_CONFIG

    command.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, help="JSON settings (default: those of the bundled model)"
    )


def add_device(command: argparse.ArgumentParser) -> None:
    """The option for the device."""
    command.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, cuda:N or mps")


def progress_bar(unit: str) -> Callable[[int, int, str], None]:
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
        # A part that adds no step is named all the same.
        bar.set_postfix_str(name[:40], refresh=done == bar.n)
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return show


def write_figures(file: Path, values: dict[str, Any]) -> int:
    """Write a JSON file at once and say so; returns the exit code."""
    from CLIPLungLib.atomic_write import remove_leftovers, writing

    remove_leftovers(file)
    with writing(file) as temporary:
        temporary.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"written: {file}")
    return EXIT_OK
