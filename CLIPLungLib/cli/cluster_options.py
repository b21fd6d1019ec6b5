"""The options of `batch` for worker processes and clusters."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.errors import InputError

if TYPE_CHECKING:
    from CLIPLungLib.cluster.run import Connect

TLS_OPTIONS = ("tls_ca", "tls_cert", "tls_key")


def add_cluster(command: argparse.ArgumentParser) -> None:
    """Options for worker processes of this machine, or of a scheduler of Dask."""
    where = command.add_mutually_exclusive_group()
    where.add_argument("--workers", type=_count, metavar="N", help="compute in N processes of this machine")
    where.add_argument(
        "--scheduler", metavar="ADDRESS", help="compute on the workers of a Dask scheduler: tcp://HOST:PORT"
    )
    command.add_argument(
        "--tls-ca", type=Path, metavar="FILE", help="certificate of the certificate authority, for tls://HOST:PORT"
    )
    command.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate of this computer")
    command.add_argument("--tls-key", type=Path, metavar="FILE", help="key of this computer")


def workers_of(options: argparse.Namespace) -> Connect | None:
    """The way to the workers that the options ask for; None to compute in this process.

    Raises:
        InputError: some of the TLS options without the others, or without a scheduler.
    """
    files = [getattr(options, name) for name in TLS_OPTIONS]
    if any(files) and not (all(files) and options.scheduler):
        raise InputError("--tls-ca, --tls-cert and --tls-key belong together, and to --scheduler. Give all four.")
    if not (options.scheduler or options.workers):
        return None
    from CLIPLungLib.cluster.connection import TlsFiles, local_workers, scheduler_at

    if options.workers:
        return partial(local_workers, options.workers)
    return partial(scheduler_at, options.scheduler, TlsFiles(*files) if all(files) else None)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of processes: give 1 or more")
    return int(text)
