"""Runs that are stopped, killed, repeated and edited: nothing is answered twice, and nothing stale is kept."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import SimpleITK as sitk
from helpers.cohort import cohort, rows

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.cohort import run_batch
from CLIPLungLib.inference.result import CSV_COLUMNS
from CLIPLungLib.inference.run_folder import locked

REPOSITORY = Path(__file__).parents[2]
LINES = [f"n{index},one.nrrd,{10 + index / 20},-20,30" for index in range(20)]


def run(file: Path, output: Path, classifier, **options) -> list[str]:
    """Run; the ids that were answered in this run."""
    seen = []
    run_batch(file, output, classifier, progress=lambda done, total, name: seen.append(name), **options)
    return seen


def stopped_after(count: int):
    def stop(done: int, total: int, name: str) -> None:
        if done == count:
            raise KeyboardInterrupt

    return stop


def test_a_stopped_run_resumes_without_repeating(folder, tiny):
    file, output = cohort(folder, *LINES), folder / "out"
    with pytest.raises(KeyboardInterrupt):
        run_batch(file, output, tiny, progress=stopped_after(11))
    kept = rows(output)
    assert len(kept) == 11
    table = output / "results.csv"
    # A kill while a line is being written leaves a part of it: of a line of the right length, without its end.
    text = table.read_text(encoding="utf-8")
    table.write_text(text + text.splitlines()[1].replace("n0", "n19"), encoding="utf-8")
    assert sorted(run(file, output, tiny)) == sorted({f"n{i}" for i in range(20)} - set(kept))
    found = rows(output)
    assert len(found) == 20
    assert {name: found[name] for name in kept} == kept
    assert run(file, output, tiny) == []


def test_rows_without_warnings_are_kept(folder, tiny):
    file, output = cohort(folder, *LINES[:3]), folder / "out"
    run_batch(file, output, tiny)
    table = output / "results.csv"
    lines = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()]
    for cells in lines[1:]:
        cells[CSV_COLUMNS.index("warnings") :] = [""] * len(CSV_COLUMNS[CSV_COLUMNS.index("warnings") :])
    table.write_text("".join(",".join(cells) + "\n" for cells in lines), encoding="utf-8")
    assert run(file, output, tiny) == []


@pytest.mark.parametrize("length", [1, 2, 7, 40, 200])
def test_line_cut_anywhere_is_answered_again(folder, tiny, length):
    file, output = cohort(folder, *LINES[:2]), folder / "out"
    run_batch(file, output, tiny)
    before = rows(output)
    table = output / "results.csv"
    table.write_bytes(table.read_bytes()[:-length])
    assert len(run(file, output, tiny)) == 1
    assert {name: row["predicted_class"] for name, row in rows(output).items()} == {
        name: row["predicted_class"] for name, row in before.items()
    }


SCRIPT = """
import sys
from pathlib import Path
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.cohort import run_batch
cohort, output, weights = map(Path, sys.argv[1:])
run_batch(cohort, output, NoduleClassifier.load(weights, "cpu"), heatmaps=True)
"""


def test_a_process_killed_at_any_moment_loses_nothing(folder, tiny, tiny_checkpoint_file):
    file, output = (
        cohort(folder, *[f"n{i},{'one' if i % 2 else 'two'}.nrrd,{10 + i / 50},-20,30" for i in range(64)]),
        folder / "out",
    )
    command = [sys.executable, "-c", SCRIPT, str(file), str(output), str(tiny_checkpoint_file)]
    wanted = int.from_bytes(os.urandom(1), "little") % 50
    table = output / "results.csv"
    with subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if table.is_file() and table.read_bytes().count(b"\n") > wanted:
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    survived = [line for line in table.read_bytes().splitlines(keepends=True)[1:] if line.endswith(b"\n")]
    answered = run(file, output, tiny, heatmaps=True)
    assert len(answered) == 64 - len(survived), f"killed after {wanted} rows"
    run_batch(file, folder / "undisturbed", tiny, heatmaps=True)
    found, expected = rows(output), rows(folder / "undisturbed")
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        assert found[name]["status"] == "ok"
        assert float(found[name]["malignancy_probability"]) == pytest.approx(
            float(row["malignancy_probability"]), abs=1e-5
        )
        assert sitk.ReadImage(str(output / "heatmaps" / f"{name}.nrrd")).GetSize() == (32, 32, 9)
    files = {path.name for path in output.iterdir()} | {path.name for path in (output / "heatmaps").iterdir()}
    assert files == {"results.csv", "run.json", "heatmaps", *(f"{name}.nrrd" for name in expected)}


def test_failed_rows_are_tried_again(folder, tiny):
    file = cohort(folder, "late,late.nrrd,10,-20,30")
    assert run_batch(file, folder / "out", tiny) == 1
    (folder / "late.nrrd").write_bytes((folder / "one.nrrd").read_bytes())
    assert run_batch(file, folder / "out", tiny) == 0
    assert rows(folder / "out")["late"]["status"] == "ok"


def test_editing_one_row_answers_that_row_again(folder, tiny):
    output = folder / "out"
    run_batch(cohort(folder, *LINES[:5]), output, tiny)
    before = rows(output)
    edited = [*LINES[:2], "n2,one.nrrd,14,-20,30", *LINES[3:5]]
    assert run(cohort(folder, *edited), output, tiny) == ["n2"]
    after = rows(output)
    assert after["n2"]["malignancy_probability"] != before["n2"]["malignancy_probability"]
    assert all(after[name] == before[name] for name in ("n0", "n1", "n3", "n4"))


def test_rows_can_be_added_removed_and_written_in_another_way(folder, tiny):
    output = folder / "out"
    run_batch(cohort(folder, *LINES[:4]), output, tiny)
    # One row less, one more, another order, other spellings of the same numbers, another image for n3.
    changed = [
        "new,one.nrrd,11,-20,30",
        "n3,two.nrrd,10.15,-20,30",
        "n1,one.nrrd,10.050,-20.0,3e1",
        "n0,./one.nrrd,10,-20,30",
    ]
    assert sorted(run(cohort(folder, *changed), output, tiny)) == ["n3", "new"]
    assert rows(output).keys() == {"n0", "n1", "n3", "new"}


def test_an_image_that_was_replaced_is_read_again(folder, tiny):
    file, output = cohort(folder, "a,one.nrrd,10,-20,30", "b,two.nrrd,10,-20,30"), folder / "out"
    run_batch(file, output, tiny)
    os.utime(folder / "two.nrrd", (1, 1))
    assert run(file, output, tiny) == ["b"]


@pytest.mark.parametrize("gone", ["one.nrrd", "two.nrrd"])
def test_image_that_disappeared_fails_its_rows_and_leaves_the_others(folder, tiny, gone):
    """Whether its rows were answered before or not."""
    lines = [f"{name}{index},{name}.nrrd,{10 + index / 20},-20,30" for index in range(3) for name in ("one", "two")]
    file, output = cohort(folder, *lines), folder / "out"
    with pytest.raises(KeyboardInterrupt):
        run_batch(file, output, tiny, heatmaps=True, progress=stopped_after(5))
    before = rows(output)
    away = (folder / gone).rename(folder / "away.nrrd")
    name = gone.removesuffix(".nrrd")
    others = {row_id for row_id in before if not row_id.startswith(name)}
    assert not others & set(run(file, output, tiny, heatmaps=True))
    found = rows(output)
    assert found.keys() == {line.split(",")[0] for line in lines}
    assert {row_id: found[row_id] for row_id in others} == {row_id: before[row_id] for row_id in others}
    for row_id in (f"{name}{index}" for index in range(3)):
        assert found[row_id]["status"] == "failed"
        assert gone in found[row_id]["error"]
        assert not found[row_id]["malignancy_probability"]
        assert not (output / "heatmaps" / f"{row_id}.nrrd").exists()
    # It comes back: its rows alone are answered again.
    away.rename(folder / gone)
    assert sorted(run(file, output, tiny, heatmaps=True)) == [f"{name}{index}" for index in range(3)]
    assert {row["status"] for row in rows(output).values()} == {"ok"}


def killed_with(name: str, file: Path, output: Path, weights: Path) -> None:
    """The body of a process that is killed when this file is written but lacks its final name."""
    before = Path.replace

    def replace(self, target):
        if str(target).endswith(name):
            os.kill(os.getpid(), signal.SIGKILL)
        return before(self, target)

    Path.replace = replace
    run_batch(file, output, NoduleClassifier.load(weights, "cpu"), heatmaps=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs processes that start from a loaded one")
def test_halves_of_files_that_kills_left_behind_go_with_the_next_run(folder, tiny, tiny_checkpoint_file):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "CLIPLungLib.inference.checkpoint"])
    file, output = cohort(folder, *LINES[:2]), folder / "out"
    for name in ("results.csv", "run.json", "run.json", "n0.nrrd", "n0.nrrd"):
        process = context.Process(target=killed_with, args=(name, file, output, tiny_checkpoint_file))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert len(list(output.rglob(".cliplung-*"))) == 1, name
    assert sorted(run(file, output, tiny, heatmaps=True)) == ["n0", "n1"]
    assert list(output.rglob(".cliplung-*")) == []


def test_heat_map_of_an_answer_that_is_not_kept_goes_with_it(folder, tiny):
    output = folder / "out"
    run_batch(cohort(folder, *LINES[:3]), output, tiny, heatmaps=True)
    stranger = output / "heatmaps" / "mine.nrrd"
    stranger.write_text("not written by the run")
    run_batch(cohort(folder, LINES[0], "n1,one.nrrd,999,0,0"), output, tiny)
    assert {file.name for file in (output / "heatmaps").iterdir()} == {"n0.nrrd", "mine.nrrd"}


def test_heat_maps_asked_for_later_are_made(folder, tiny):
    file, output = cohort(folder, *LINES[:2]), folder / "out"
    run_batch(file, output, tiny)
    assert sorted(run(file, output, tiny, heatmaps=True)) == ["n0", "n1"]
    (output / "heatmaps" / "n1.nrrd").unlink()
    assert run(file, output, tiny, heatmaps=True) == ["n1"]
    assert run(file, output, tiny) == []


def test_results_of_another_cohort_are_not_thrown_away(folder, tiny):
    run_batch(cohort(folder, "a,one.nrrd,10,-20,30"), folder / "out", tiny)
    before = (folder / "out" / "results.csv").read_bytes()
    with pytest.raises(InputError, match=r"holds results of another cohort or model.*or delete"):
        run_batch(cohort(folder, "a,one.nrrd,12,-20,30"), folder / "out", tiny)
    assert (folder / "out" / "results.csv").read_bytes() == before


def test_results_of_another_model_are_not_mixed_in(folder, tiny):
    file, output = cohort(folder, *LINES[:2]), folder / "out"
    run_batch(file, output, tiny)
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    (output / "run.json").write_text(json.dumps(record | {"model_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(InputError, match=r"holds results of another cohort or model.*000000000000.*or delete"):
        run_batch(file, output, tiny)


def test_results_of_another_version_are_not_mixed_in(folder, tiny):
    file, output = cohort(folder, *LINES[:2]), folder / "out"
    run_batch(file, output, tiny)
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    for version, message in (
        ("0.6.0", r"holds results of CLIPLung 0\.6\.0, and this is"),
        (None, "another version of CLIPLung"),
    ):
        changed = {name: value for name, value in (record | {"version": version}).items() if value is not None}
        (output / "run.json").write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(InputError, match=rf"{message}.*Delete results\.csv and run\.json"):
            run_batch(file, output, tiny)


def test_a_heat_map_beside_a_failed_row_is_not_of_a_run_that_was_started_anew(folder, tiny):
    file, output = cohort(folder, "good,one.nrrd,10,-20,30", "bad,broken.nrrd,10,-20,30"), folder / "out"
    for kind, ending in (("heatmaps", "nrrd"), ("segmentations", "seg.nrrd")):
        (output / kind).mkdir(parents=True)
        for name in ("good", "bad", "other"):
            (output / kind / f"{name}.{ending}").write_text("of another run, or mine")
    run_batch(file, output, tiny)
    assert (output / "heatmaps" / "bad.nrrd").exists()
    for name in ("results.csv", "run.json"):
        (output / name).unlink()
    run_batch(file, output, tiny, heatmaps=True)
    assert sorted(path.name for path in (output / "heatmaps").iterdir()) == ["good.nrrd", "other.nrrd"]
    assert len(list((output / "segmentations").iterdir())) == 3


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"model_sha256": "x", "rows": [1]}',
        '{"cohort_sha256": "a", "model_sha256": "b"}',
        "\0" * 50,
    ],
)
def test_damaged_record_of_a_run_is_named_and_nothing_is_touched(folder, tiny, content):
    file, output = cohort(folder, *LINES[:1]), folder / "out"
    run_batch(file, output, tiny)
    before = (output / "results.csv").read_bytes()
    (output / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json cannot be read: .*Delete results\.csv and run\.json"):
        run_batch(file, output, tiny)
    assert (output / "results.csv").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"id,sta", b"\xff\xfe\x00", b"name;value\n1;2\n", b"\0" * 99])
def test_results_that_are_none_are_named_and_not_overwritten(folder, tiny, content):
    output = folder / "out"
    output.mkdir()
    (output / "results.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"results\.csv is empty, damaged.*or choose another output folder"):
        run_batch(cohort(folder, *LINES[:1]), output, tiny)
    assert (output / "results.csv").read_bytes() == content


def test_results_without_the_record_of_their_run_are_not_overwritten(folder, tiny):
    file, output = cohort(folder, *LINES[:1]), folder / "out"
    run_batch(file, output, tiny)
    (output / "run.json").unlink()
    with pytest.raises(InputError, match=r"has no run\.json"):
        run_batch(file, output, tiny)


def test_kill_before_the_first_row_is_no_obstacle(folder, tiny):
    file, output = cohort(folder, *LINES[:1]), folder / "out"
    output.mkdir()
    (output / "results.csv").write_text(",".join(CSV_COLUMNS) + "\r\n", encoding="utf-8")
    assert run(file, output, tiny) == ["n0"]


def test_second_run_on_the_same_folder_is_refused(folder, tiny):
    file, output = cohort(folder, *LINES[:2]), folder / "out"
    refused = []

    def start_another(done: int, total: int, name: str) -> None:
        with pytest.raises(InputError, match=rf"process {os.getpid()} on .*is writing to") as error:
            run_batch(file, output, tiny)
        refused.append(error)

    assert run_batch(file, output, tiny, progress=start_another) == 0
    assert len(refused) == 2
    assert len(rows(output)) == 2


def test_lock_of_a_process_that_was_killed_is_taken_over(tmp_path):
    script = "import sys, time; from pathlib import Path; from CLIPLungLib.inference.run_folder import locked\nwith locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match=f"process {process.pid} on"), locked(tmp_path):
            pass
        process.kill()
    assert (tmp_path / "run.lock").is_file()
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
