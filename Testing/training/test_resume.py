"""A run killed at any moment and started again ends as if nothing had happened."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import tiny_training
from helpers.tiny_training import CONFIG, NODULES, LetterEncoder, tiny_patches
from safetensors.torch import load_file

from CLIPLungLib.errors import CheckpointError, InputError
from CLIPLungLib.training import log
from CLIPLungLib.training import run_state as state
from CLIPLungLib.training import trainer as loop
from CLIPLungLib.training.log import LOG_NAME, read_rows, write_row

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs processes that start from a loaded one")

LONGER = replace(CONFIG, epochs=6)
FILES = {loop.STATE_NAME, LOG_NAME, loop.CONFIG_NAME}


def train(folder: Path, deadly_moment: str = "", at_call: int = 3) -> None:
    """The body of a process; may kill itself when it does something for the n-th time."""
    tiny_training.compute_in_single_precision()
    log.write_scalars = lambda *arguments: None
    calls = 0

    def deadly(before, after):
        def run(*arguments):
            nonlocal calls
            calls += 1
            result = before(*arguments)
            if calls == at_call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result if before is not nothing else after(*arguments)

        return run

    def nothing(*arguments):
        return None

    def killed_before(replace):
        return lambda self, target: (deadly(nothing, replace) if target.name == loop.STATE_NAME else replace)(
            self, target
        )

    if deadly_moment == "before the log":
        loop.log_epoch = deadly(nothing, loop.log_epoch)
    elif deadly_moment == "between log and state":
        loop.save_state = deadly(nothing, loop.save_state)
    elif deadly_moment == "with the state half replaced":
        Path.replace = killed_before(Path.replace)
    elif deadly_moment == "behind the state":
        loop.save_state = deadly(loop.save_state, nothing)
    tiny_training.train_in(folder, LONGER)


@pytest.fixture(scope="module")
def start():
    """Starts processes that need not load torch again."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.tiny_training"])

    def start(*arguments):
        process = context.Process(target=train, args=arguments)
        process.start()
        return process

    return start


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory) -> tuple[Path, float]:
    """An uninterrupted run's folder, and how long it took in seconds (behind a first one that loads torch)."""
    for name in ("first", "whole"):
        folder = tmp_path_factory.mktemp(name)
        started = time.monotonic()
        process = start(folder)
        process.join()
        assert process.exitcode == 0
    return folder, time.monotonic() - started


def require_same_outcome(found: Path, expected: Path) -> None:
    """The same weights, moments and log, and no file left over."""
    one, two = (load_file(folder / loop.STATE_NAME) for folder in (expected, found))
    assert one.keys() == two.keys()
    # One thread, and every epoch starts from a stored state and its own seeds: nothing is left to round differently.
    # The margin is for kernels that choose their order of summation by the alignment of memory.
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-5, atol=1e-6, msg=key)
    logs = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(f / LOG_NAME)] for f in (expected, found)
    ]
    assert [row["epoch"] for row in logs[1]] == [str(epoch) for epoch in range(LONGER.epochs)]
    assert logs[0] == logs[1]
    assert {file.name for file in found.iterdir()} == FILES


@pytest.mark.parametrize(
    "moment", ["before the log", "between log and state", "with the state half replaced", "behind the state"]
)
def test_killed_at_a_delicate_moment(start, whole, tmp_path, moment):
    process = start(tmp_path, moment)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    process = start(tmp_path)
    process.join()
    assert process.exitcode == 0
    require_same_outcome(tmp_path, whole[0])


def test_killed_again_and_again_at_random_moments(start, whole, tmp_path):
    folder, seconds = whole
    killed = 0
    while killed < 4:
        process = start(tmp_path)
        process.join(random.uniform(0.1, 0.6) * seconds)
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        killed += 1
    process = start(tmp_path)
    process.join()
    assert process.exitcode == 0
    assert killed > 0
    require_same_outcome(tmp_path, folder)


def test_rows_of_repeated_epochs_are_replaced_and_new_columns_get_a_name(tmp_path):
    file = tmp_path / LOG_NAME
    for epoch, total in [(0, 3.0), (1, 2.0), (2, 9.0), (1, 1.5)]:
        write_row(file, epoch, {"total": total} | ({"late": 0.25} if epoch == 1 else {}))
    assert file.read_text(encoding="utf-8").split() == ["epoch,total,late", "0,3.0,", "1,1.5,0.25"]


def test_log_whose_last_rows_have_a_cell_too_many_is_continued(tmp_path):
    file = tmp_path / LOG_NAME
    file.write_text("epoch,total\n0,3.0\n1,2.0,0.8\n", encoding="utf-8")
    write_row(file, 2, {"total": 1.0})
    assert file.read_text(encoding="utf-8").split() == ["epoch,total", "0,3.0", "1,2.0", "2,1.0"]


def test_tensorboard_shows_each_epoch_once(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for epoch, total in [(0, 3.0), (1, 2.0), (1, 1.5)]:
        log.write_scalars(tmp_path, epoch, {"total": total})
    shown = reader.EventAccumulator(str(tmp_path)).Reload().Scalars("total")
    assert [(event.step, event.value) for event in shown] == [(0, 3.0), (1, 1.5)]


def test_without_tensorboard_there_is_the_csv_file_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    log.log_epoch(tmp_path, 0, {"total": 1.0})
    assert [file.name for file in tmp_path.iterdir()] == [LOG_NAME]


@pytest.mark.parametrize("content", [b"", b"not a state at all" * 10])
def test_damaged_state_is_refused_with_a_remedy(tmp_path, content):
    (tmp_path / loop.STATE_NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"no state of a run .* Remove it to start anew"):
        loop.Trainer(CONFIG, tiny_patches(), NODULES, tmp_path, "cpu", LetterEncoder())


@pytest.mark.parametrize("change", [{"encoder": "channel"}, {"groups": 8}])
def test_state_of_another_network_is_refused(tmp_path, change):
    first = loop.Trainer(CONFIG, tiny_patches(), NODULES, tmp_path, "cpu", LetterEncoder())
    state.save_state(
        tmp_path / loop.STATE_NAME, first._modules(), first.optimizer, {"epochs_done": 1, "best_score": 0.0}
    )
    losses = replace(CONFIG.losses, gate=0.0, outline=0.0) if "encoder" in change else CONFIG.losses
    other = replace(CONFIG, network=replace(CONFIG.network, **change), losses=losses)
    with pytest.raises(CheckpointError, match="another network"):
        loop.Trainer(other, tiny_patches(), NODULES, tmp_path, "cpu", LetterEncoder())


@pytest.mark.parametrize("change", [{"epochs": 3}, {"seed": 1}, {"losses": replace(CONFIG.losses, rating=2.0)}])
def test_run_with_other_settings_is_neither_continued_nor_overwritten(tmp_path, change):
    tiny_training.train_in(tmp_path, replace(CONFIG, epochs=1))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    with pytest.raises(InputError, match="holds a run with other settings"):
        loop.Trainer(
            replace(CONFIG, **{"epochs": 1} | change), tiny_patches(), NODULES, tmp_path, "cpu", LetterEncoder()
        )
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}


def test_opening_a_folder_writes_nothing(tmp_path):
    loop.Trainer(CONFIG, tiny_patches(), NODULES, tmp_path / "run", "cpu", LetterEncoder())
    assert not (tmp_path / "run").exists()


def test_finished_run_is_read_and_not_trained_again(tmp_path):
    first = tiny_training.train_in(tmp_path)
    written = (tmp_path / loop.STATE_NAME).stat().st_mtime_ns
    again = loop.Trainer(CONFIG, tiny_patches(), NODULES, tmp_path, "cpu", LetterEncoder())
    assert again.is_finished
    again.run(lambda *_: pytest.fail("trained again"))
    assert (tmp_path / loop.STATE_NAME).stat().st_mtime_ns == written
    for name, value in first.best_network.state_dict().items():
        assert torch.equal(value, again.best_network.state_dict()[name]), name
    assert torch.equal(first.text_bank().levels, again.text_bank().levels)
    assert first.text_scale == again.text_scale


def test_unfinished_run_has_no_answer(tmp_path):
    """A folder whose state is gone must not be trained anew by who only wants to read it."""
    trainer = loop.Trainer(CONFIG, tiny_patches(), NODULES, tmp_path, "cpu", LetterEncoder())
    assert not trainer.is_finished
    for ask in (lambda: trainer.best_network, trainer.text_bank, lambda: trainer.text_scale):
        with pytest.raises(RuntimeError, match="0 of 4 epochs"):
            ask()


def test_names_in_a_state_stay_so_that_runs_of_earlier_versions_go_on(tmp_path):
    trainer = tiny_training.train_in(tmp_path)
    names = set(load_file(tmp_path / loop.STATE_NAME))
    assert {name.split("/")[0] for name in names} == {
        "network",
        "average",
        "objective",
        "best",
        "best_text",
        "optimizer",
    }
    for name in (
        "network/encoder.stem.1.weight",
        "average/n_averaged",
        "average/module.class_head.weight",
        "best/module.projection.weight",
        "objective/bank.prompts.context",
        "objective/bank.mean_image",
        "best_text/log_scale",
        "optimizer/0/exp_avg",
    ):
        assert name in names
    assert trainer.best_score >= -1
