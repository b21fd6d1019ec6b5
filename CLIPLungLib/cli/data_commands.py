"""Commands that make data to learn from: prepare."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cli.options import EXIT_OK, add_command, add_config, progress_bar

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands
    from CLIPLungLib.image.patch import PatchSpec


def add_data_commands(commands: Commands) -> None:
    """`prepare`, which is `lidc prepare` too."""
    lidc = commands.add_parser("lidc", help="LIDC-IDRI data").add_subparsers(required=True, metavar="COMMAND")
    for place in (commands, lidc):
        prepare = add_command(place, "prepare", _prepare, "make training data of a collection of scans")
        prepare.add_argument("source", type=Path, help="a data folder with nodules.csv")
        prepare.add_argument("--output", type=Path, required=True, help="the .npz file to write")
        add_config(prepare)


def _prepare(options: argparse.Namespace) -> int:
    from CLIPLungLib.training.config import TrainConfig

    _write_patches(options.source, TrainConfig.read(options.config).patch, options.output)
    return EXIT_OK


def _write_patches(folder: Path, spec: PatchSpec, output: Path) -> None:
    from CLIPLungLib.dataset.training_patches import prepare_patches

    progress = progress_bar("nodule")
    patches = prepare_patches(folder, spec, lambda done, total: progress(done, total, ""))
    patches.save(output)
    print(f"written: {output} ({len(patches.kind)} patches, {len(patches.hu)} planes)")
