"""Cohorts on workers of a scheduler: the answers of one machine, whatever happens to workers, images and disks."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial

import pytest
from helpers.cohort import cohort, rows
from helpers.dask_processes import DEADLY, wait_until
from helpers.full_disk import largest_file

from CLIPLungLib.cluster import dispatch
from CLIPLungLib.cluster.connection import scheduler_at
from CLIPLungLib.cluster.run import run_cluster_batch
from CLIPLungLib.errors import CLIPLungError, InputError
from CLIPLungLib.inference.cohort import run_batch

# Resolved by each process for itself: the way to an image that lies on one machine alone.
OWN_FOLDER = "/proc/self/cwd"


def lines(data, images=5, points=3) -> list[str]:
    return [
        f"n{image}_{index},{data}/ct{image}.nrrd,{10 + index / 10},-20,30"
        for image in range(images)
        for index in range(points)
    ]


@pytest.fixture
def run(machines, tiny_checkpoint_file):
    """A run on both machines, once both are there."""
    with scheduler_at(machines.address) as client:
        wait_until(lambda: len(client.scheduler_info()["workers"]) == 2)
    return partial(
        run_cluster_batch,
        connect=partial(scheduler_at, machines.address),
        checkpoint=tiny_checkpoint_file,
        device="cpu",
    )


def pids(machines) -> list[int]:
    with scheduler_at(machines.address) as client:
        return list(client.run(os.getpid).values())


def test_rows_and_heat_maps_are_those_of_one_machine(tmp_path, data, run, tiny):
    """To the last bit: one thread each, and the same batches."""
    faulty = [f"words,{data}/ct0.nrrd,ten,0,0", f"outside,{data}/ct1.nrrd,1000,0,0", "no image,,10,-20,30"]
    file = cohort(tmp_path, *lines(data), *faulty)
    assert run_batch(file, tmp_path / "one", tiny, heatmaps=True) == 3
    assert run(file, tmp_path / "many", heatmaps=True) == 3
    assert rows(tmp_path / "many") == rows(tmp_path / "one")
    maps = sorted((tmp_path / "one" / "heatmaps").iterdir())
    assert len(maps) == 15
    for one in maps:
        assert (tmp_path / "many" / "heatmaps" / one.name).read_bytes() == one.read_bytes()
    names = {path.name for path in (tmp_path / "many").iterdir()}
    assert names == {"results.csv", "run.json", "heatmaps"}
    # Either goes on where the other stopped: here nothing is left to do.
    assert (
        run_batch(file, tmp_path / "many", tiny, heatmaps=True, progress=none_but("words", "outside", "no image")) == 3
    )
    assert run(file, tmp_path / "one", heatmaps=True, progress=none_but("words", "outside", "no image")) == 3


def none_but(*allowed: str):
    def check(done: int, total: int, name: str) -> None:
        assert name in allowed

    return check


def test_a_killed_worker_loses_no_row_and_repeats_none(tmp_path, data, run, machines):
    before, seen = pids(machines), []

    def kill_one(done: int, total: int, name: str) -> None:
        if not seen:
            os.kill(before[0], signal.SIGKILL)
        seen.append(name)

    assert run(cohort(tmp_path, *lines(data)), tmp_path / "out", progress=kill_one) == 0
    assert len(seen) == len(set(seen)) == 15
    assert {row["status"] for row in rows(tmp_path / "out").values()} == {"ok"}
    assert len(set(pids(machines)) - set(before)) <= 1


def test_a_row_that_kills_every_worker_fails_alone(tmp_path, data, run):
    file = cohort(tmp_path, f"deadly,{data}/{DEADLY},10,-20,30", *lines(data, images=3, points=1))
    assert run(file, tmp_path / "out") == 1
    found = rows(tmp_path / "out")
    assert "died each time it had this row" in found.pop("deadly")["error"]
    assert [row["status"] for row in found.values()] == ["ok"] * 3


def test_an_image_on_one_machine_is_answered_there(tmp_path, data, here, run):
    shutil.copy(data / "ct0.nrrd", here / "only_here.nrrd")
    own = [f"own{index},{OWN_FOLDER}/only_here.nrrd,{10 + index / 10},-20,30" for index in range(4)]
    # A row an image, so that both machines get some.
    for index in range(4):
        shutil.copy(data / "ct0.nrrd", here / f"only_here{index}.nrrd")
        own[index] = own[index].replace("only_here", f"only_here{index}")
    assert run(cohort(tmp_path, *own, f"gone,{data}/gone.nrrd,1,2,3"), tmp_path / "out") == 1
    found = rows(tmp_path / "out")
    error = found.pop("gone")["error"]
    assert "gone.nrrd" in error
    assert error.endswith("Looked for on 127.0.0.1, 127.0.0.2.")
    assert [row["status"] for row in found.values()] == ["ok"] * 4


def test_weights_that_one_machine_lacks_or_has_others_of_are_named(
    tmp_path, data, here, run, tiny_checkpoint_file, monkeypatch
):
    file = cohort(tmp_path, *lines(data, images=1))
    shutil.copy(tiny_checkpoint_file, here / "own.safetensors")
    monkeypatch.chdir(here)
    weights = tmp_path / "weights.safetensors"
    weights.symlink_to(f"{OWN_FOLDER}/own.safetensors")
    with pytest.raises(
        CLIPLungError, match=r"Worker tcp://127\.0\.0\.2:\d+ cannot answer: .*weights\.safetensors does not exist"
    ):
        run(file, tmp_path / "out", checkpoint=weights)
    monkeypatch.chdir(tmp_path)
    changed = tiny_checkpoint_file.read_bytes().replace(
        b'\\"trained_on\\": \\"nothing\\"', b'\\"trained_on\\": \\"anybody\\"'
    )
    (tmp_path / "own.safetensors").write_bytes(changed)
    with pytest.raises(
        CLIPLungError, match=r"Worker tcp://127\.0\.0\.\d:\d+ cannot answer: .*(other weights here|does not exist)"
    ):
        run(file, tmp_path / "other", checkpoint=weights)
    assert rows(tmp_path / "out") == rows(tmp_path / "other") == {}


def test_a_full_disk_ends_the_run_and_one_machine_goes_on(tmp_path, data, run, tiny):
    file = cohort(tmp_path, *lines(data))
    run_batch(file, tmp_path / "whole", tiny)
    size = (tmp_path / "whole" / "results.csv").stat().st_size
    with largest_file(size - 500), pytest.raises(InputError, match=r"results\.csv' cannot be written"):
        run(file, tmp_path / "out")
    kept = rows(tmp_path / "out")
    assert 1 <= len(kept) < 15
    seen = []
    assert run_batch(file, tmp_path / "out", tiny, progress=lambda done, total, name: seen.append(name)) == 0
    assert len(seen) == 15 - len(kept)
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")


def test_few_tasks_are_under_way_however_long_the_cohort(tmp_path, data, run, monkeypatch):
    most = []
    submit = dispatch.Dispatcher._submit

    def spy(self, task):
        submit(self, task)
        most.append(len(self._under_way))

    monkeypatch.setattr(dispatch.Dispatcher, "_submit", spy)
    monkeypatch.setattr(dispatch, "ROWS_PER_TASK", 1)
    assert run(cohort(tmp_path, *lines(data)), tmp_path / "out") == 0
    assert len(most) == 15
    assert max(most) == dispatch.TASKS_PER_THREAD * 2
