"""Commands killed at any moment: the same command again ends as if nothing had happened, and nothing half-written stays."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import tiny_training
from helpers.dataset_folder import make_folder
from helpers.full_disk import largest_file
from helpers.tiny_training import CONFIG, LOSSES, LetterEncoder
from safetensors import safe_open

from CLIPLungLib.cli import main
from CLIPLungLib.cli.options import write_figures
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.checkpoint import load_checkpoint, save_checkpoint
from CLIPLungLib.training import log, starting_point
from CLIPLungLib.training import trainer as loop
from CLIPLungLib.training.fold_answers import FoldAnswers
from CLIPLungLib.training.log import read_rows, write_row

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs processes that start from a loaded one")

# Without an outline the few made-up nodules are enough to calibrate.
SETTINGS = replace(CONFIG, train_folds=(0, 1, 2), epochs=2, validation_share=0.0, losses=replace(LOSSES, outline=0.0))
PREPARE, CROSSVALIDATE, TRAIN = "prepare", "crossvalidate", "train"


def arguments(command: str, lidc: Path, output: Path) -> list[str]:
    """What a user types, but for the name of the program."""
    config = ["--config", str(lidc / "config.json")]
    if command == PREPARE:
        return ["lidc", "prepare", str(lidc), "--output", str(output / "patches.npz"), *config]
    data = ["--lidc", str(lidc), "--patches", str(lidc / "patches.npz"), "--device", "cpu"]
    return [command, *data, "--output", str(output), *config]


def body(command: str, lidc: Path, output: Path, deadly_write: int, is_before: bool) -> None:
    """Of a process; kills itself with its n-th file, which is complete but may lack its final name."""
    tiny_training.compute_in_single_precision()
    log.write_scalars = lambda *arguments: None
    starting_point.build_text_encoder = lambda name: LetterEncoder()
    whole, count = Path.replace, 0

    def deadly(self, target):
        nonlocal count
        count += 1
        if count == deadly_write and is_before:
            os.kill(os.getpid(), signal.SIGKILL)
        whole(self, target)
        if count == deadly_write:
            os.kill(os.getpid(), signal.SIGKILL)

    Path.replace = deadly
    sys.exit(main(arguments(command, lidc, output)))


@pytest.fixture(scope="module")
def start():
    """Starts a command in a process that need not load torch again."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.tiny_training", "CLIPLungLib.training.final_model"])

    def start(command, lidc, output, deadly_write=0, is_before=False):
        process = context.Process(target=body, args=(command, lidc, output, deadly_write, is_before))
        process.start()
        return process

    return start


@pytest.fixture(scope="module")
def lidc(start, tmp_path_factory) -> Path:
    """Table, images, settings and patches."""
    folder = tmp_path_factory.mktemp("lidc")
    make_folder(folder)
    (folder / "config.json").write_text(json.dumps(SETTINGS.to_dict()), encoding="utf-8")
    process = start(PREPARE, folder, folder)
    process.join()
    assert process.exitcode == 0
    return folder


@pytest.fixture(scope="module")
def undisturbed(start, lidc, tmp_path_factory):
    """By command, what it writes when nobody kills it and the seconds it takes."""
    done = {}

    def undisturbed(command):
        if command not in done:
            output, started = tmp_path_factory.mktemp(command), time.monotonic()
            process = start(command, lidc, output)
            process.join()
            assert process.exitcode == 0
            done[command] = contents(output), time.monotonic() - started
        return done[command]

    return undisturbed


def contents(folder: Path) -> dict[str, object]:
    """Every file by its path, as plain values."""
    return {str(file.relative_to(folder)): read(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def read(file: Path) -> object:
    if file.suffix == ".safetensors":
        with safe_open(file, framework="np") as stored:
            facts = {name: json.loads(text) for name, text in stored.metadata().items()}
            return facts, {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            return dict(arrays)
    if file.suffix == ".csv":
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in read_rows(file)]
    return file.read_text(encoding="utf-8")


def require_alike(found: object, expected: object, name: str) -> None:
    """The same values, but for the last digits of numbers, see test_resume."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), name
        for key, value in expected.items():
            require_alike(found[key], value, f"{name} {key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), name
        for one, other in zip(found, expected, strict=True):
            require_alike(one, other, name)
    elif isinstance(expected, (float, np.ndarray)) and np.asarray(expected).dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=name)
    else:
        assert np.array_equal(found, expected), name


@pytest.mark.parametrize("command", [PREPARE, TRAIN])
def test_killed_at_one_file_after_the_other(start, lidc, undisturbed, tmp_path, command):
    """Before and behind its final name: the whole way is killed through."""
    expected, _ = undisturbed(command)
    kills, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        # Settings and log are written anew before the state of an epoch is.
        deadly_write = 1 if command == PREPARE else random.randint(3, 8)
        process = start(command, lidc, tmp_path, deadly_write if command == TRAIN or kills < 3 else 0, kills % 2 == 0)
        process.join()
        code, kills = process.exitcode, kills + 1
        assert code in (0, -signal.SIGKILL)
        assert {file.name for file in tmp_path.rglob("*") if file.is_file()} - {
            Path(name).name for name in expected
        } == {file.name for file in tmp_path.rglob(".cliplung-*")}
        if kills == 40:
            process = start(command, lidc, tmp_path)
            process.join()
            code = process.exitcode
    assert code == 0
    assert kills > 3
    require_alike(contents(tmp_path), expected, command)


@pytest.mark.parametrize("command", [PREPARE, CROSSVALIDATE])
def test_killed_at_random_moments(start, lidc, undisturbed, tmp_path, command):
    expected, seconds = undisturbed(command)
    for _ in range(3):
        process = start(command, lidc, tmp_path)
        process.join(random.uniform(0.2, 0.9) * seconds)
        process.kill()
        process.join()
    process = start(command, lidc, tmp_path)
    process.join()
    assert process.exitcode == 0
    require_alike(contents(tmp_path), expected, command)


def test_old_patches_stay_until_the_new_ones_are_whole(start, lidc, tmp_path):
    (tmp_path / "patches.npz").write_bytes(b"old")
    (tmp_path / ".cliplung-of-another-file.npz").write_bytes(b"of somebody else")
    for _ in range(3):
        process = start(PREPARE, lidc, tmp_path, 1, True)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert (tmp_path / "patches.npz").read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 3
    process = start(PREPARE, lidc, tmp_path)
    process.join()
    TrainingPatches.load(tmp_path / "patches.npz")
    assert {file.name for file in tmp_path.iterdir()} == {"patches.npz", ".cliplung-of-another-file.npz"}


def test_finished_fold_of_other_settings_is_not_mixed_in(start, lidc, tmp_path, capsys):
    # Killed with the checkpoint of fold 0: settings, two epochs with log and state, checkpoint.
    process = start(CROSSVALIDATE, lidc, tmp_path, 6, False)
    process.join()
    assert [file.parent.name for file in tmp_path.rglob("cliplung.safetensors")] == ["fold0"]
    before = contents(tmp_path)
    (tmp_path / "other.json").write_text(json.dumps(replace(SETTINGS, seed=7).to_dict()), encoding="utf-8")
    words = arguments(CROSSVALIDATE, lidc, tmp_path)
    assert main([*words[:-1], str(tmp_path / "other.json")]) == 2
    assert "fold0 holds a run with other settings" in capsys.readouterr().err
    (tmp_path / "other.json").unlink()
    require_alike(contents(tmp_path), before, CROSSVALIDATE)


def test_full_disk_is_told_with_the_file_and_leaves_nothing(lidc, tmp_path, tiny_checkpoint_file):
    patches, checkpoint = TrainingPatches.load(lidc / "patches.npz"), load_checkpoint(tiny_checkpoint_file)
    answers = FoldAnswers(**dict.fromkeys(FoldAnswers.__dataclass_fields__, np.random.default_rng(0).random(999)))
    network, rows = checkpoint.network, {f"term {index}": 1.0 for index in range(999)}
    writers = {
        "patches.npz": patches.save,
        "answers.npz": answers.save,
        "cliplung.safetensors": lambda file: save_checkpoint(file, checkpoint),
        "state.safetensors": lambda file: loop.save_state(
            file, {"network": network}, loop.torch.optim.AdamW(network.parameters()), {}
        ),
        "log.csv": lambda file: write_row(file, 0, rows),
        "results.json": lambda file: write_figures(file, rows),
    }
    for name, write in writers.items():
        with largest_file(5000), pytest.raises(InputError, match=rf"{name}' cannot be written"):
            write(tmp_path / name)
        assert list(tmp_path.iterdir()) == []
