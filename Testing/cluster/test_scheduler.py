"""Connections: lost, encrypted, refused. A cohort says what is wrong, and the same command goes on."""

from __future__ import annotations

import shutil
import socket
import subprocess
from functools import partial

import pytest
from helpers.cohort import cohort, rows
from helpers.dask_processes import dask_processes

from CLIPLungLib.cluster import connection, dispatch
from CLIPLungLib.cluster.connection import TlsFiles, scheduler_at
from CLIPLungLib.cluster.run import run_cluster_batch
from CLIPLungLib.errors import InputError, MissingPackageError
from CLIPLungLib.inference.cohort import run_batch


@pytest.fixture
def tls(tmp_path) -> TlsFiles:
    """A certificate that is its own authority."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return TlsFiles(certificate, certificate, key)


def test_an_encrypted_scheduler_that_is_lost_ends_the_run_and_one_machine_goes_on(
    tmp_path, data, tls, tiny, tiny_checkpoint_file
):
    file = cohort(tmp_path, *[f"n{i}_{j},{data}/ct{i}.nrrd,{10 + j / 10},-20,30" for i in range(5) for j in range(2)])
    options = ("--tls-ca-file", tls.authority, "--tls-cert", tls.certificate, "--tls-key", tls.key)
    (tmp_path / "dask").mkdir()
    with dask_processes(tmp_path / "dask", tuple(map(str, options))) as started:
        assert started.address.startswith("tls://")
        started.start_worker()
        run = partial(run_cluster_batch, file, tmp_path / "out", checkpoint=tiny_checkpoint_file, device="cpu")
        with pytest.raises(InputError, match="No scheduler answers at tls://"):
            run(connect=partial(scheduler_at, started.address))

        def lose(done: int, total: int, name: str) -> None:
            if done == 3:
                started.scheduler.kill()

        with pytest.raises(InputError, match=r"tls://.* is gone.*the same command goes on"):
            run(connect=partial(scheduler_at, started.address, tls), progress=lose)
    kept = rows(tmp_path / "out")
    assert 3 <= len(kept) < 10
    seen = []
    assert run_batch(file, tmp_path / "out", tiny, progress=lambda done, total, name: seen.append(name)) == 0
    assert set(seen) == {f"n{i}_{j}" for i in range(5) for j in range(2)} - set(kept)
    assert len(rows(tmp_path / "out")) == 10


def test_a_scheduler_without_workers_is_named(tmp_path, data, tiny_checkpoint_file, monkeypatch):
    monkeypatch.setattr(dispatch, "FIRST_WORKER_S", 0.2)
    file = cohort(tmp_path, f"a,{data}/ct0.nrrd,10,-20,30")
    (tmp_path / "dask").mkdir()
    with dask_processes(tmp_path / "dask") as started:
        connect = partial(scheduler_at, started.address)
        with pytest.raises(InputError, match=r"has no workers\. Start some with 'dask worker tcp://127"):
            run_cluster_batch(file, tmp_path / "out", connect, tiny_checkpoint_file)
    assert rows(tmp_path / "out") == {}


@pytest.mark.parametrize("address", ["here", "http://127.0.0.1:8786", "tcp://127.0.0.1", "tcp://a b:1", "tcp://:8786"])
def test_what_is_no_address_is_refused(address):
    with (
        pytest.raises(InputError, match=r"is no address of a scheduler\. Write it as tcp://HOST:PORT"),
        scheduler_at(address),
    ):
        pass


def test_nobody_at_an_address_is_told(monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_S", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        pytest.raises(InputError, match=f"No scheduler answers at tcp://127.0.0.1:{port}"),
        scheduler_at(f"tcp://127.0.0.1:{port}"),
    ):
        pass


def test_tls_files_that_are_not_there_are_named(tmp_path):
    files = TlsFiles(*[tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")])
    with pytest.raises(InputError, match=r"There is no file '.*ca\.pem'"), scheduler_at("tls://127.0.0.1:1", files):
        pass


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with (
        pytest.raises(MissingPackageError, match=r"'distributed': pip install distributed"),
        scheduler_at("tcp://127.0.0.1:1"),
    ):
        pass
