"""The command that builds the index of similar cases: similar-index."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cli.options import EXIT_OK, add_command, add_data

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands


def add_similar_commands(commands: Commands) -> None:
    """`similar-index`."""
    command = add_command(
        commands, "similar-index", _similar_index, "build the index of similar cases from out-of-fold predictions"
    )
    command.add_argument(
        "--answers",
        type=Path,
        required=True,
        metavar="NPZ",
        help="predictions written by 'cliplung evaluate --keep-answers'",
    )
    add_data(command)
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        help="file to write; for weights.safetensors it must be weights.similar.safetensors beside it",
    )
    command.add_argument("--checkpoint", type=Path, help="weights that the index is for (default: the bundled ones)")
    command.add_argument("--page", type=Path, help="also update the generated tables of this page")


def _similar_index(options: argparse.Namespace) -> int:
    from CLIPLungLib.dataset.nodule_table import read_nodules
    from CLIPLungLib.evaluation.kept_answers import read_kept_answers
    from CLIPLungLib.evaluation.similar_build import build_index
    from CLIPLungLib.evaluation.similar_tables import similar_tables, write_similar_tables
    from CLIPLungLib.inference.checkpoint import load_checkpoint
    from CLIPLungLib.similar.index_file import write_index

    nodules = read_nodules(options.data)
    index = build_index(read_kept_answers(options.answers, nodules), nodules, load_checkpoint(options.checkpoint))
    print(similar_tables(index))
    write_index(options.output, index)
    print(f"written: {options.output}")
    if options.page:
        write_similar_tables(options.page, index)
        print(f"written: {options.page}")
    return EXIT_OK
