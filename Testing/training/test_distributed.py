"""Two real processes started by torchrun share a training through DistributedDataParallel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_training
from helpers.tiny_training import CONFIG, NODULES, tiny_patches, train_in
from safetensors.torch import load_file

from CLIPLungLib.training import trainer as loop
from CLIPLungLib.training.log import read_rows
from CLIPLungLib.training.processes import joined_processes
from CLIPLungLib.training.training_set import TrainingSet, shared_places

CASES = ("averaged", "not averaged", "no texts")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """The folder in which two processes have trained; the test fails here when they do not end."""
    root = tmp_path_factory.mktemp("runs")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    testing = Path(__file__).parents[1]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(testing), str(testing.parent)]),
        "OMP_NUM_THREADS": "1",
    }
    command = [*torchrun, str(Path(__file__).with_name("torchrun_worker.py")), str(root), *CASES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return root


def held(runs: Path, case: str) -> list[dict[str, torch.Tensor]]:
    """What each of the two processes holds at the end."""
    return [load_file(runs / case / f"{rank}.safetensors") for rank in range(2)]


def drift(runs: Path, case: str) -> float:
    """Largest difference between what two processes have learned."""
    first, second = held(runs, case)
    learned = [key for key in first if key.startswith(("network/", "objective/bank."))]
    return max(float((first[key].double() - second[key].double()).abs().max()) for key in learned)


@pytest.mark.parametrize("case", ["averaged", "no texts"])
def test_both_processes_end_with_the_same_weights(runs, case):
    first, second = held(runs, case)
    assert first.keys() == second.keys()
    different = [key for key in first if not torch.equal(first[key], second[key])]
    assert different == []


def test_without_averaged_gradients_they_would_not(runs):
    assert drift(runs, "not averaged") > 1e-3
    assert drift(runs, "averaged") == 0


def test_unused_texts_are_not_decayed(runs):
    """A parameter that no process uses must stay without a gradient, as with one process: AdamW would shrink it."""
    first, _ = held(runs, "no texts")
    context = "objective/bank.prompts.context"
    fresh = loop.Trainer(CONFIG, tiny_patches(), NODULES, runs / "fresh", "cpu", tiny_training.LetterEncoder())
    torch.testing.assert_close(first[context], fresh.objective.bank.prompts.context.data, rtol=0, atol=0)


def test_only_the_first_process_writes(runs):
    for case in CASES:
        files = {file.relative_to(runs / case).as_posix() for file in (runs / case).rglob("*") if file.is_file()}
        written = {name for name in files if "/" in name and "tensorboard" not in name}
        assert written == {f"0/{name}" for name in (loop.STATE_NAME, loop.CONFIG_NAME, "log.csv")}


def test_what_is_written_is_what_both_hold(runs):
    state = load_file(runs / "averaged" / "0" / loop.STATE_NAME)
    for process in held(runs, "averaged"):
        for key in state:
            if not key.startswith("optimizer/"):
                assert torch.equal(state[key], process[key]), key


def test_processes_that_find_different_states_are_refused(runs):
    assert not (runs / "averaged" / "0.refused").exists()
    assert "find different states" in (runs / "averaged" / "1.refused").read_text(encoding="utf-8")


def test_two_processes_learn_about_what_one_does(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "autocast", loop.autocast)
    threads = torch.get_num_threads()
    try:
        tiny_training.compute_in_single_precision()
        train_in(tmp_path)
    finally:
        torch.set_num_threads(threads)
    one, two = (read_rows(file / "log.csv") for file in (tmp_path, runs / "averaged" / "0"))
    assert [row["epoch"] for row in two] == [str(epoch) for epoch in range(CONFIG.epochs)]
    assert [row.keys() for row in one] == [row.keys() for row in two]
    losses = [[float(row["total"]) for row in rows] for rows in (one, two)]
    assert losses[1][-1] < 0.8 * losses[1][0]
    np.testing.assert_allclose(*losses, rtol=0.2)


@pytest.mark.parametrize(("places", "processes"), [(5, 2), (6, 2), (36, 8), (2, 3), (1, 4)])
def test_every_place_falls_to_a_process_and_all_have_as_many(places, processes):
    own = [shared_places(places, process, processes) for process in range(processes)]
    assert len({len(part) for part in own}) == 1
    drawn, counts = np.unique(np.concatenate(own), return_counts=True)
    assert drawn.tolist() == list(range(places))
    assert counts.sum() < places + processes


def test_one_process_has_all_places_in_order():
    assert shared_places(5, 0, 1).tolist() == [0, 1, 2, 3, 4]


def test_processes_take_turns_at_the_same_patches():
    data = TrainingSet(tiny_patches(), NODULES, CONFIG)
    whole = list(data.epoch(1))
    shares = [list(data.epoch(1, process, 2)) for process in range(2)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert len(batch.planes) == 5
        torch.testing.assert_close(first.planes, batch.planes[[0, 2, 4]])
        torch.testing.assert_close(second.planes, batch.planes[[1, 3, 0]])


def test_without_torchrun_nothing_is_joined(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_processes("cpu") as device:
        assert device == torch.device("cpu")
        assert not torch.distributed.is_initialized()
