"""The command `cliplung`: classify a nodule, run a cohort, prepare LIDC-IDRI, train, evaluate, demonstrate.

Exit codes: 0 done, 1 unexpected fault, 2 refused input, 3 a cohort finished with failed rows, 130 stopped by the user
or by the end of a pipe.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence

from CLIPLungLib.cli.ablation_commands import add_ablation_commands
from CLIPLungLib.cli.calibration_commands import add_calibration_commands
from CLIPLungLib.cli.data_commands import add_data_commands
from CLIPLungLib.cli.evaluation_commands import add_evaluation_commands
from CLIPLungLib.cli.followup_commands import add_followup_commands
from CLIPLungLib.cli.guideline_commands import add_guideline_commands
from CLIPLungLib.cli.inference_commands import add_inference_commands
from CLIPLungLib.cli.options import EXIT_REFUSED, EXIT_STOPPED
from CLIPLungLib.cli.points import PointParser
from CLIPLungLib.cli.reproduction_commands import add_reproduction_commands
from CLIPLungLib.cli.similar_commands import add_similar_commands
from CLIPLungLib.cli.training_commands import add_training_commands
from CLIPLungLib.errors import CLIPLungError
from CLIPLungLib.inference.result import DISCLAIMER
from CLIPLungLib.version import __version__

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Refusals are one line on standard error, never a traceback."""
    _print_any_letter()
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except CLIPLungError as error:
        print(f"cliplung: {error}", file=sys.stderr)
    except BrokenPipeError:
        # `cliplung ... | head`: whoever reads the output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_STOPPED
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


def _print_any_letter() -> None:
    """Let consoles and files of few letters show the others as codes: a name in a header or a path must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        # Slicer's console is of another kind, and shows all.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = PointParser(
        prog="cliplung", description=f"How suspicious a lung nodule looks on CT, and why. {DISCLAIMER}"
    )
    parser.add_argument("--version", action="version", version=f"cliplung {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log details to standard error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=argparse.ArgumentParser)
    add_inference_commands(commands)
    add_followup_commands(commands)
    add_data_commands(commands)
    add_training_commands(commands)
    add_calibration_commands(commands)
    add_evaluation_commands(commands)
    add_similar_commands(commands)
    add_guideline_commands(commands)
    add_reproduction_commands(commands)
    add_ablation_commands(commands)
    return parser
