"""The way to the workers: of a scheduler that runs already, or processes of this machine that live as long as the run."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.errors import InputError, MissingPackageError

if TYPE_CHECKING:
    from distributed import Client, Security

ADDRESS = re.compile(r"(tcp|tls)://[^\s/]+:\d{1,5}")
CONNECT_S = 15
# So many workers may die of one task before it is given up; for schedulers started elsewhere, their own setting holds.
LOCAL_DEATHS_ALLOWED = 1
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


@dataclass(frozen=True)
class TlsFiles:
    """Files (PEM) by which this computer and the scheduler know each other.

    Attributes:
        authority: certificate of the authority that has signed all others.
        certificate, key: of this computer.
    """

    authority: Path
    certificate: Path
    key: Path


@contextmanager
def scheduler_at(address: str, tls: TlsFiles | None = None) -> Iterator[Client]:
    """A connection to a scheduler that runs already.

    Args:
        address: tcp://HOST:PORT or tls://HOST:PORT.
        tls: None where the connection is not encrypted, or where Dask's own configuration names the files.

    Raises:
        InputError: no address, or nobody answers there.
        MissingPackageError: distributed is not installed.
    """
    _require_distributed()
    from distributed import Client

    if not ADDRESS.fullmatch(address):
        raise InputError(
            f"'{address}' is no address of a scheduler. Write it as tcp://HOST:PORT or tls://HOST:PORT; 'dask scheduler' tells it when it starts."
        )
    _be_quiet()
    security = _security(tls) if tls else None
    try:
        client = Client(address, security=security, timeout=CONNECT_S, set_as_default=False)
    except (asyncio.TimeoutError, OSError, TypeError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(
            f"No scheduler answers at {address} ({reason}). Start one with 'dask scheduler', or check address, firewall and certificates."
        ) from error
    try:
        yield client
    finally:
        # The scheduler forgets what it was to do for a client that has gone.
        with suppress(Exception):
            client.close(timeout=2)


@contextmanager
def local_workers(count: int) -> Iterator[Client]:
    """So many worker processes on this machine, with its threads divided among them, and nobody else let in.

    Raises:
        InputError: they do not start.
        MissingPackageError: distributed or cryptography is not installed.
    """
    _require_distributed()
    import dask
    from distributed import Client, LocalCluster, Security

    _be_quiet()
    try:
        # Whoever reaches a scheduler can run code in its name: also other users of this machine.
        security = Security.temporary()
    except ImportError as error:
        raise MissingPackageError(
            "Worker processes need the package 'cryptography', which keeps others out: pip install cryptography"
        ) from error
    settings = {
        "distributed.scheduler.allowed-failures": LOCAL_DEATHS_ALLOWED,
        "distributed.worker.multiprocessing-method": "spawn",
        # Pages on the state of the run, which anybody on this machine could read.
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    with dask.config.set(settings):
        try:
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                protocol="tls",
                security=security,
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                # Voxels are not Dask's to move out to disk; a limit would pause the worker for ever.
                memory_limit=None,
                silence_logs=logging.CRITICAL,
                preload=["CLIPLungLib.cluster.worker_process"],
                env=dict.fromkeys(THREAD_VARIABLES, str(threads_of_each(count))),
            )
        except (asyncio.TimeoutError, OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{count} worker process(es) cannot be started ({error}). Use fewer --workers.") from error
        try:
            with Client(cluster, security=security, timeout=CONNECT_S, set_as_default=False) as client:
                yield client
        finally:
            with suppress(Exception):
                cluster.close(timeout=5)


def threads_of_each(count: int) -> int:
    """Threads of one worker, when so many share what torch would use on this machine."""
    import torch

    return max(1, torch.get_num_threads() // count)


def _require_distributed() -> None:
    try:
        import distributed
    except ImportError as error:
        raise MissingPackageError(
            "A cohort on several processes or machines needs the package 'distributed': pip install distributed cryptography"
        ) from error
    del distributed


def _be_quiet() -> None:
    """What goes wrong is told once, by this program, unless the user wants to hear more."""
    if logging.getLogger().getEffectiveLevel() > logging.INFO:
        for name in ("distributed", "distributed.client", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _security(tls: TlsFiles) -> Security:
    from distributed import Security

    for file in (tls.authority, tls.certificate, tls.key):
        if not file.is_file():
            raise InputError(
                f"There is no file '{file}'. Name the certificate and key that the scheduler's keeper gave."
            )
    return Security(
        tls_ca_file=str(tls.authority),
        tls_client_cert=str(tls.certificate),
        tls_client_key=str(tls.key),
        require_encryption=True,
    )
