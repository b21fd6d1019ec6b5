"""Worker processes of this machine, by the command itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest
import torch
from helpers.cohort import cohort, rows
from helpers.dask_processes import wait_until
from helpers.repository import ROOT

from CLIPLungLib.cli import main
from CLIPLungLib.cluster import own_gpu
from CLIPLungLib.cluster.connection import threads_of_each
from CLIPLungLib.cluster.own_gpu import claimed, own_device
from CLIPLungLib.inference.cohort import run_batch


def any_left(group: int) -> bool:
    """Whether a process of the group is still there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(
    sys.platform == "win32", reason="sends Ctrl-C to a group of processes, as a terminal of Linux or macOS does"
)
def test_ctrl_c_stops_all_processes_and_one_process_goes_on(tmp_path, data, tiny, tiny_checkpoint_file):
    points = [f"n{i}_{j},{data}/ct{i}.nrrd,{10 + j / 100},-20,30" for i in range(5) for j in range(64)]
    file, table = cohort(tmp_path, *points), tmp_path / "out" / "results.csv"
    command = [
        sys.executable,
        "-m",
        "CLIPLungLib",
        "batch",
        str(file),
        "--output",
        str(tmp_path / "out"),
        "--workers",
        "2",
    ]
    process = subprocess.Popen(
        [*command, "--checkpoint", str(tiny_checkpoint_file)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job, as tests may be run, ignores Ctrl-C, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: process.poll() is not None or (table.is_file() and table.read_bytes().count(b"\n") > 1))
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=240)
    assert process.returncode == 130, told
    assert told == "cliplung: stopped; finished rows and epochs are kept, the same command continues\n"
    wait_until(lambda: not any_left(process.pid))
    assert not (tmp_path / "out" / "run.lock").exists()
    kept, seen = rows(tmp_path / "out"), []
    assert 1 <= len(kept) < len(points)
    assert run_batch(file, tmp_path / "out", tiny, progress=lambda done, total, name: seen.append(name)) == 0
    assert len(seen) == len(points) - len(kept)


def test_threads_are_divided_and_nobody_is_left_with_none():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        assert [threads_of_each(count) for count in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]
    finally:
        torch.set_num_threads(before)


def test_each_worker_takes_a_card_of_its_own_while_there_are_some(tmp_path, monkeypatch):
    monkeypatch.setattr(own_gpu.tempfile, "gettempdir", lambda: str(tmp_path))
    with ExitStack() as first, ExitStack() as second, ExitStack() as third:
        assert claimed(["GPU-a", "GPU-b"], first) == 0
        assert claimed(["GPU-a", "GPU-b"], second) == 1
        assert claimed(["GPU-a", "GPU-b"], third) in (0, 1)
        first.close()
        assert claimed(["GPU-a", "GPU-b"], third) == 0


def test_a_folder_that_others_can_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(own_gpu.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = tmp_path / f"cliplung-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with ExitStack() as claims:
        assert claimed(["0"], claims) == 0
    assert list(folder.iterdir()) == []


def test_a_device_that_is_named_stays():
    assert own_device("cpu") == "cpu"
    assert own_device("cuda:1") == "cuda:1"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--workers", "0"], "'0' is no number of processes"),
        (["--workers", "2", "--scheduler", "tcp://a:1"], "not allowed with"),
    ],
)
def test_options_that_mean_nothing_are_refused(capsys, options, told):
    with pytest.raises(SystemExit) as ended:
        main(["batch", "cohort.csv", "--output", "out", *options])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["--tls-ca", "a.pem", "--scheduler", "tls://a:1"], ["--tls-ca", "a", "--tls-cert", "b", "--tls-key", "c"]],
)
def test_half_of_the_tls_options_is_refused(capsys, options):
    assert main(["batch", "cohort.csv", "--output", "out", *options]) == 2
    assert "--tls-ca, --tls-cert and --tls-key belong together" in capsys.readouterr().err
