"""A folder that is used again: nothing of an earlier answer stays beside the numbers of another one."""

from __future__ import annotations

import json

import pytest

from CLIPLungLib.cli import main
from CLIPLungLib.cli.earlier_files import remove_earlier
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.result_files import write_ct

EXTRA = ("heatmap_spiculation.nrrd", "segmentation.seg.nrrd", "similar.json", "similar.png")


@pytest.fixture
def classify(ball_ct, tmp_path, tiny_checkpoint_file):
    write_ct(ball_ct, tmp_path / "ball.nrrd")

    def run(point: str, *options: str) -> int:
        words = ["classify", str(tmp_path / "ball.nrrd"), f"--point={point}", "--output", str(tmp_path / "out")]
        return main([*words, "--checkpoint", str(tiny_checkpoint_file), "--device", "cpu", *options])

    return run


def test_extra_files_of_another_nodule_go_and_those_of_the_same_stay(classify, tmp_path):
    output = tmp_path / "out"
    assert classify("10,-20,30", "--explain", "spiculation") == 0
    for name in EXTRA[1:]:
        (output / name).write_text("of the first nodule")
    (output / "notes.txt").write_text("mine")
    assert classify("10,-20,30") == 0
    assert {file.name for file in output.iterdir()} >= set(EXTRA)
    assert classify("5,-22,30") == 0
    assert {file.name for file in output.iterdir()} == {"result.json", "heatmap.nrrd", "report.png", "notes.txt"}
    assert json.loads((output / "result.json").read_text(encoding="utf-8"))["point_ras_mm"] == [5.0, -22.0, 30.0]


def test_a_new_answer_that_cannot_be_written_leaves_the_old_numbers_alone(tmp_path):
    numbers, picture = tmp_path / "result.json", tmp_path / "report.png"
    numbers.write_text("{}")
    picture.write_text("old")
    remove_earlier(numbers, '{"new": 1}', [picture])
    assert (numbers.read_text(), picture.exists()) == ("{}", False)
    remove_earlier(numbers, "{}\n", [numbers])
    assert numbers.exists()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", None])
def test_numbers_that_cannot_be_read_are_another_answers(tmp_path, content):
    numbers, picture = tmp_path / "result.json", tmp_path / "report.png"
    if content is not None:
        numbers.write_bytes(content)
    picture.write_text("old")
    remove_earlier(numbers, "{}", [picture])
    assert not picture.exists()


def test_what_cannot_be_removed_is_named(tmp_path):
    (tmp_path / "file").touch()
    # Below a file there is nothing to remove; that nothing can be written there is told with the first file.
    remove_earlier(tmp_path / "file" / "result.json", "{}", [tmp_path / "file" / "report.png"])
    (tmp_path / "report.png").mkdir()
    with pytest.raises(InputError, match=r"report\.png' cannot be written"):
        remove_earlier(tmp_path / "result.json", "{}", [tmp_path / "report.png"])
