"""Output that cannot be written: one line with file, reason and remedy, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.cohort import cohort, rows
from helpers.full_disk import largest_file

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.cohort import run_batch
from CLIPLungLib.inference.result_files import write_ct, write_heatmap, write_json
from CLIPLungLib.report.page import save_report


def writers(ct, result):
    return {
        "result.json": lambda path: write_json(result, path),
        "heatmap.nrrd": lambda path: write_heatmap(result, path),
        "ct.nrrd": lambda path: write_ct(ct, path),
        "report.png": lambda path: save_report(ct, result, path),
    }


@pytest.fixture
def answer(tiny, ball_ct):
    return tiny.classify(ball_ct, (10.0, -20.0, 30.0))


@pytest.mark.parametrize("name", ["result.json", "heatmap.nrrd", "ct.nrrd", "report.png"])
def test_path_below_a_file_and_full_disk_are_named(tmp_path, ball_ct, answer, name):
    write = writers(ball_ct, answer)[name]
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=rf"{name}' cannot be written .*choose another folder"):
        write(tmp_path / "file" / name)
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=rf"{name}' cannot be written .*choose another name"):
        write(tmp_path / name)
    (tmp_path / name).rmdir()
    with largest_file(1000), pytest.raises(InputError, match=rf"{name}' cannot be written"):
        write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_heat_map_that_lost_its_end_is_noticed(tmp_path, ball_ct, answer):
    """The writer of NRRD files does not notice when the disk is full at the last block."""
    write_heatmap(answer, tmp_path / "whole.nrrd")
    size = (tmp_path / "whole.nrrd").stat().st_size
    for lost in (1, 100, size // 2):
        with largest_file(size - lost), pytest.raises(InputError, match="cannot be written"):
            write_heatmap(answer, tmp_path / "cut.nrrd")
    assert [path.name for path in tmp_path.iterdir()] == ["whole.nrrd"]


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("ENOSPC", "Free some space"),
        ("EROFS", "can be written"),
        ("EACCES", "you may write to"),
        ("EIO", "Check the disk"),
    ],
)
def test_every_reason_has_its_remedy(tmp_path, code, remedy):
    import errno
    import os

    number = getattr(errno, code)
    with pytest.raises(InputError, match=remedy) as refused, writing(tmp_path / "a.json"):
        raise OSError(number, os.strerror(number))
    assert os.strerror(number) in str(refused.value)
    assert "a.json" in str(refused.value)


def test_cohort_into_a_file_or_below_one_is_refused(folder, tiny):
    file = cohort(folder, "a,one.nrrd,10,-20,30")
    for output in (folder / "one.nrrd", folder / "one.nrrd" / "out"):
        before = (folder / "one.nrrd").read_bytes()
        with pytest.raises(InputError, match=r"one\.nrrd.* cannot be written .*choose another folder"):
            run_batch(file, output, tiny)
        assert (folder / "one.nrrd").read_bytes() == before


@pytest.mark.parametrize("name", ["results.csv", "run.json", "heatmaps", "run.lock"])
def test_cohort_whose_file_is_a_folder_or_folder_a_file_is_refused(folder, tiny, name):
    output = folder / "out"
    output.mkdir()
    if name == "heatmaps":
        (output / name).write_text("")
    else:
        (output / name).mkdir()
    with pytest.raises(InputError, match=f"{name}.* cannot be (written|read)"):
        run_batch(cohort(folder, "a,one.nrrd,10,-20,30"), output, tiny, heatmaps=True)


def test_full_disk_ends_a_cohort_between_two_rows_and_the_run_resumes(folder, tiny):
    file, output = cohort(folder, *[f"n{i},one.nrrd,{10 + i / 20},-20,30" for i in range(12)]), folder / "out"
    run_batch(file, folder / "whole", tiny)
    size = (folder / "whole" / "results.csv").stat().st_size
    assert (folder / "whole" / "run.json").stat().st_size < size - 500
    with largest_file(size - 500), pytest.raises(InputError, match=r"results\.csv' cannot be written"):
        run_batch(file, output, tiny)
    table = (output / "results.csv").read_bytes()
    assert table.endswith(b"\n")
    kept = rows(output)
    assert 1 <= len(kept) < 12
    seen = []
    assert run_batch(file, output, tiny, progress=lambda done, total, name: seen.append(name)) == 0
    assert len(seen) == 12 - len(kept)
    assert len(rows(output)) == 12


def test_full_disk_at_a_heat_map_ends_the_run_and_is_not_the_rows_fault(folder, tiny):
    file, output = cohort(folder, "a,one.nrrd,10,-20,30"), folder / "out"
    with largest_file(1500), pytest.raises(InputError, match=r"a\.nrrd' cannot be written"):
        run_batch(file, output, tiny, heatmaps=True)
    assert rows(output) == {}
    assert list((output / "heatmaps").iterdir()) == []


def test_numbers_that_are_none_are_not_written(tmp_path, answer):
    from dataclasses import replace

    with pytest.raises(InputError, match="NaN or infinite"):
        write_json(replace(answer, point_ras=(np.nan, 0.0, 0.0)), tmp_path / "a.json")
    assert list(Path(tmp_path).iterdir()) == []
