"""Two real processes started by torchrun must compute what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from helpers import tiny_training
from helpers.tiny_training import NODULES, SHARED_CONFIG, SHARED_EPS, LetterEncoder, tiny_patches, train_in
from safetensors.torch import load_file

from CLIPLungLib.errors import InputError
from CLIPLungLib.training import trainer as loop
from CLIPLungLib.training.batches import TrainingSet
from CLIPLungLib.training.log import read_rows
from CLIPLungLib.training.processes import joined_processes

CASES = ("equal", "without averaging", "plain norm")
# Single precision and sums in another order; a rectifier or maximum near a tie may then choose otherwise. Measured: 4e-5.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder for each case with two processes, and "one" with one."""
    root = tmp_path_factory.mktemp("runs")
    threads, autocast = torch.get_num_threads(), loop.autocast
    try:
        tiny_training.compute_in_single_precision()
        train_in(root / "one", SHARED_CONFIG, adam_eps=SHARED_EPS)
    finally:
        torch.set_num_threads(threads)
        loop.autocast = autocast
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    places = [str(Path(tiny_training.__file__).parent), str(Path(loop.__file__).parents[2])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    command = [*torchrun, tiny_training.__file__, str(root), *CASES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return root


def difference(runs: Path, case: str, part: str) -> float:
    """Largest difference of a part of the state to that of one process."""
    one, two = (load_file(runs / name / loop.STATE_NAME) for name in ("one", case))
    assert one.keys() == two.keys()
    return max(float((one[key].double() - two[key].double()).abs().max()) for key in one if key.startswith(part))


@pytest.mark.parametrize("part", ["network/", "average/", "best/", "objective/", "best_text/"])
def test_two_processes_learn_what_one_does(runs, part):
    assert difference(runs, "equal", part) < TOLERANCE


def test_two_processes_log_what_one_does(runs):
    one, two = (read_rows(runs / name / "log.csv") for name in ("one", "equal"))
    assert [row["epoch"] for row in two] == ["0", "1"]
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() - {"seconds"}:
            assert float(a[name]) == pytest.approx(float(b[name]), abs=1e-3), name


@pytest.mark.parametrize("case", CASES[1:])
def test_without_averaged_gradients_or_shared_statistics_they_would_not(runs, case):
    assert difference(runs, case, "network/") > 100 * TOLERANCE


def test_processes_share_every_batch_without_overlap():
    data = TrainingSet(tiny_patches(), NODULES, SHARED_CONFIG)
    whole = list(data.epoch(1))
    shares = [list(data.epoch(1, process, 2)) for process in range(2)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert (len(first.planes), len(second.planes)) == (3, 2)
        torch.testing.assert_close(torch.cat([first.planes, second.planes]), batch.planes)


def test_more_processes_than_patches_are_refused():
    data = TrainingSet(tiny_patches(), NODULES, replace(SHARED_CONFIG, batch_size=1))
    data.require_patches_for(2)
    with pytest.raises(InputError, match=r"3 processes cannot share batches of 2 patches"):
        data.require_patches_for(3)


def test_folds_without_nodules_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no nodule to learn from in the folds \[7\]"):
        loop.Trainer(
            replace(SHARED_CONFIG, train_folds=(7,)), tiny_patches(), NODULES, tmp_path, "cpu", LetterEncoder()
        )


def test_without_torchrun_nothing_is_joined(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_processes("cpu") as device:
        assert device == torch.device("cpu")
        assert not torch.distributed.is_initialized()
