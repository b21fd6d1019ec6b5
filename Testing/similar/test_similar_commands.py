"""What the commands write: similar cases and further maps beside an answer, and the index itself."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("slicer")
pytest.importorskip("matplotlib")
from helpers.similar_index import made_up_index

from CLIPLungLib.cli import main
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.inference.result_files import write_ct
from CLIPLungLib.similar.index_file import similar_file, write_index


@pytest.fixture
def classify(ball_ct, tiny_checkpoint_file, tmp_path):
    """Run `cliplung classify` on a ball with weights beside which an index lies; gives the exit code."""
    weights, scan = tmp_path / "own.safetensors", tmp_path / "ball.nrrd"
    shutil.copy(tiny_checkpoint_file, weights)
    write_index(similar_file(weights), made_up_index(load_checkpoint(weights).sha256))
    write_ct(ball_ct, scan)
    where = [str(scan), "--point", "10", "-20", "30", "--output", str(tmp_path / "out"), "--device", "cpu"]
    return lambda *more: main(["classify", *where, "--checkpoint", str(weights), *more])


def test_similar_cases_stand_beside_the_answer(classify, tmp_path, capsys):
    assert classify("--similar") == 0
    plain = json.loads((tmp_path / "out" / "similar.json").read_text(encoding="utf-8"))
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert len(plain["cases"]) == 10
    assert plain["weights_sha256"] == result["model"]["sha256"]
    assert plain["this_nodule"]["diameter_mm"] == result["diameter_mm"]
    assert (tmp_path / "out" / "similar.png").stat().st_size > 10_000
    assert "similar.json, similar.png" in capsys.readouterr().out


def test_index_of_other_weights_gives_the_reason_and_leaves_no_older_cases(classify, tmp_path, capsys):
    assert classify("--similar") == 0
    write_index(similar_file(tmp_path / "own.safetensors"), made_up_index("cd" * 32))
    assert classify("--similar") == 0
    assert "similar cases are not shown: The index of similar cases is of the weights cdcdcd" in capsys.readouterr().out
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"result.json", "heatmap.nrrd", "report.png"}


def test_maps_are_written_for_every_name_once(classify, tmp_path, capsys):
    import SimpleITK as sitk

    assert classify("--explain", "suspicion", "--explain", "texture", "--explain", "texture") == 0
    out = tmp_path / "out"
    assert {file.name for file in out.glob("heatmap_*")} == {"heatmap_suspicion.nrrd", "heatmap_texture.nrrd"}
    own, same, other = (sitk.ReadImage(str(out / f"heatmap{name}.nrrd")) for name in ("", "_suspicion", "_texture"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(own), sitk.GetArrayFromImage(same))
    assert not np.array_equal(sitk.GetArrayFromImage(own), sitk.GetArrayFromImage(other))
    assert own.GetOrigin() == other.GetOrigin()
    assert capsys.readouterr().out.count("what speaks for texture 'of solid texture'") == 1


def test_unknown_names_are_refused_before_anything_is_computed(classify, tmp_path, capsys):
    with pytest.raises(SystemExit):
        classify("--explain", "colour")
    assert "invalid choice: 'colour'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_index_needs_answers_that_can_be_read(lidc_folder, tmp_path, capsys):
    wrong = tmp_path / "answers.npz"
    wrong.write_bytes(b"no archive")
    output = tmp_path / "own.similar.safetensors"
    arguments = ["similar-index", "--answers", str(wrong), "--data", str(lidc_folder), "--output", str(output)]
    assert main(arguments) == 2
    assert "holds no answers that can be read" in capsys.readouterr().err
    assert not output.exists()
