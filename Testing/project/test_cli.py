"""The command line, run as its user would."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from CLIPLungLib.atomic_write import atomic_write
from CLIPLungLib.cli import main
from CLIPLungLib.inference.result_files import write_ct


@pytest.fixture
def ct_file(ball_ct, tmp_path):
    write_ct(ball_ct, tmp_path / "ball.nrrd")
    return tmp_path / "ball.nrrd"


def classify(ct_file, tiny_checkpoint_file, output, point=("10", "-20", "30")) -> int:
    return main(
        [
            "classify",
            str(ct_file),
            "--point",
            *point,
            "--checkpoint",
            str(tiny_checkpoint_file),
            "--device",
            "cpu",
            "--output",
            str(output),
        ]
    )


def test_classify_writes_numbers_map_and_picture(ct_file, tiny_checkpoint_file, tmp_path, capsys):
    assert classify(ct_file, tiny_checkpoint_file, tmp_path / "out") == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["point_ras_mm"] == [10.0, -20.0, 30.0]
    assert (tmp_path / "out" / "report.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "heatmap.nrrd").is_file()
    said = capsys.readouterr().out
    assert f"{result['malignancy_probability']:.3f}" in said
    assert "Research use only" in said


def half_of(file):
    """What a process that was killed while it wrote leaves behind."""
    with atomic_write(file) as temporary:
        temporary.write_text("{", encoding="utf-8")
        kept = temporary.read_bytes()
        name = temporary.name
    file.unlink()
    (file.parent / name).write_bytes(kept)
    return file.parent / name


def test_halves_of_a_killed_classify_are_removed_by_the_next_and_nothing_else(ct_file, tiny_checkpoint_file, tmp_path):
    halves = [half_of(tmp_path / "out" / name) for name in ("result.json", "heatmap.nrrd", "report.png")]
    of_others = half_of(tmp_path / "out" / "other.json")
    assert classify(ct_file, tiny_checkpoint_file, tmp_path / "out") == 0
    assert not any(half.exists() for half in halves)
    assert of_others.exists()


def test_refusals_are_one_line_and_exit_2(ct_file, tiny_checkpoint_file, tmp_path, capsys):
    assert classify(ct_file, tiny_checkpoint_file, tmp_path / "out", ("500", "0", "0")) == 2
    said = capsys.readouterr().err
    assert said.startswith("cliplung: The point")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "point", [("1e1", "-2.0e+01", "30."), ("10", "-20.", "3E1"), ("10 -20 30",), ("10,-20,30",), ("10.0; -20; 30",)]
)
def test_point_is_taken_however_its_numbers_are_written(ct_file, tiny_checkpoint_file, tmp_path, point):
    assert classify(ct_file, tiny_checkpoint_file, tmp_path / "out", point) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["point_ras_mm"] == [10.0, -20.0, 30.0]


@pytest.mark.parametrize(
    "point",
    [("10", "-20"), ("10", "-20", "nan"), ("10", "-20", "inf"), ("a b c",), ("",)]
    + [("-10,5", "20,5", "-30"), ("10,5", "20"), ("10,5;20",), ("-1,234.5", "-20", "30"), ("-10,5,-20,5,-30,5",)],
)
def test_what_is_no_point_is_refused(ct_file, tiny_checkpoint_file, tmp_path, capsys, point):
    with pytest.raises(SystemExit) as ended:
        classify(ct_file, tiny_checkpoint_file, tmp_path / "out", point)
    assert ended.value.code == 2
    assert "three numbers R A S in mm" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("second", [("--point", "-1.", "2", "3"), ("--point=1 2 3",)])
def test_of_two_points_none_is_dropped_in_silence(ct_file, tiny_checkpoint_file, tmp_path, capsys, second):
    with pytest.raises(SystemExit) as ended:
        classify(ct_file, tiny_checkpoint_file, tmp_path / "out", ("10", "-20", "30", *second))
    assert ended.value.code == 2
    assert "--point is given twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["classify", "", "--point", "1", "2", "3", "--output", "out"], "behind 'classify'"),
        (["classify", "ct.nrrd", "--point", "1", "2", "3", "--output", " "], "behind '--output'"),
        (["compare", "ct.nrrd", "--point", "1", "2", "3", "--prior=", "--output", "out"], "'--prior='"),
        (["batch", "", "--output", "out"], "behind 'batch'"),
        (["prepare", "", "--output", "out"], "behind 'prepare'"),
    ],
)
def test_an_empty_argument_never_stands_for_the_folder_one_is_in(arguments, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert f"{named} is empty" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", [["--output", "~/out"], ["--output=~/out"]])
def test_a_tilde_is_the_home_folder_where_no_shell_has_replaced_it(
    ct_file, tiny_checkpoint_file, tmp_path, monkeypatch, output
):
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    point, weights = ["--point", "10", "-20", "30"], ["--checkpoint", str(tiny_checkpoint_file), "--device", "cpu"]
    assert main(["classify", str(ct_file), *point, *weights, *output]) == 0
    assert (tmp_path / "home" / "out" / "result.json").is_file()
    assert list((tmp_path / "here").iterdir()) == []


def test_output_that_is_a_file_is_refused_in_one_line(ct_file, tiny_checkpoint_file, capsys):
    assert classify(ct_file, tiny_checkpoint_file, ct_file) == 2
    said = capsys.readouterr().err
    assert said.startswith("cliplung: ")
    assert said.count("\n") == 1
    assert ct_file.name in said


def test_batch_exits_3_when_a_row_failed_and_0_when_none_did(ct_file, tiny_checkpoint_file, tmp_path, capsys):
    cohort = tmp_path / "cohort.csv"
    cohort.write_text("id,image,r,a,s\ngood,ball.nrrd,10,-20,30\nbad,none.nrrd,1,2,3\n", encoding="utf-8")
    arguments = [
        "batch",
        str(cohort),
        "--checkpoint",
        str(tiny_checkpoint_file),
        "--device",
        "cpu",
        "--output",
        str(tmp_path / "out"),
    ]
    assert main(arguments) == 3
    with (tmp_path / "out" / "results.csv").open(newline="", encoding="utf-8") as stream:
        assert {row["id"]: row["status"] for row in csv.DictReader(stream)} == {"good": "ok", "bad": "failed"}
    assert "1 row(s) failed" in capsys.readouterr().err
    cohort.write_text("id,image,r,a,s\ngood,ball.nrrd,10,-20,30\n", encoding="utf-8")
    assert main([*arguments[:-1], str(tmp_path / "other")]) == 0


def test_unknown_checkpoint_is_refused(ct_file, tmp_path, capsys):
    assert classify(ct_file, tmp_path / "none.safetensors", tmp_path / "out") == 2
    assert "does not exist" in capsys.readouterr().err


def test_demo_of_ones_own_ct_needs_a_point(ct_file, capsys):
    assert main(["demo", "--ct", str(ct_file)]) == 2
    assert "give both --ct FILE and --point R A S" in capsys.readouterr().err


def test_demo_of_ones_own_ct(ct_file, tiny_checkpoint_file, tmp_path, capsys):
    pytest.importorskip("slicer", reason="needs the extra 'slicer'")
    output = tmp_path / "demo"
    arguments = [
        "demo",
        "--ct",
        str(ct_file),
        "--point",
        "10",
        "-20",
        "30",
        "--checkpoint",
        str(tiny_checkpoint_file),
        "--output",
        str(output),
    ]
    halves = [half_of(output / "nodule" / "result.json"), half_of(output / "scene.mrb")]
    assert main(arguments) == 0
    assert not any(half.exists() for half in halves)
    assert {file.name for file in (output / "nodule").iterdir()} >= {"result.json", "heatmap.nrrd", "report.png"}
    assert (output / "scene.mrb").is_file()
    assert str(output / "scene.mrb") in capsys.readouterr().out


def test_written_ct_is_read_back_as_it_was(ball_ct, ct_file):
    from CLIPLungLib.image.read import read_ct

    again = read_ct(ct_file)
    assert np.array_equal(again.hu, ball_ct.hu)
    np.testing.assert_allclose(again.ijk_to_ras, ball_ct.ijk_to_ras, atol=1e-6)


def test_a_pipe_that_ends_early_is_no_fault():
    command = [sys.executable, "-m", "CLIPLungLib", "guidelines", "--size", "9"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 130
