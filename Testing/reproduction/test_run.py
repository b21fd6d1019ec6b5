"""A whole reproduction: splits, stopping and going on, what may share a folder, and the command's refusals."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.tiny_reproduction import NODULES, TINY, MarkedLetters, made_up_crops, make_folder

from CLIPLungLib.cli import main
from CLIPLungLib.errors import CheckpointError, InputError
from CLIPLungLib.model.clip_weights import load_text_tower, read_clip_weights
from CLIPLungLib.reproduction import PUBLISHED_CONFIG
from CLIPLungLib.reproduction.nodule_set import as_nodule_set
from CLIPLungLib.reproduction.protocol import BY_NODULE, BY_PATIENT, SETTINGS, SPLITS, THREE_CLASSES
from CLIPLungLib.reproduction.run import RESULTS_NAME, TABLE_NAME, reproduce
from CLIPLungLib.reproduction.table import BEGIN, END, write_page_table

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_folder(folder)
    return folder


def run_in(run, folder, setting="A", **changes):
    return reproduce(TINY, SETTINGS[setting], folder, run, MarkedLetters(), device="cpu", **changes)


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    return run, run_in(run, folder)


def test_split_by_nodule_leaks_patients_and_split_by_patient_does_not():
    nodules = as_nodule_set(NODULES, made_up_crops(), TINY.seed)
    shared = {}
    for split in SPLITS:
        tested_too = 0
        for fold in nodules.folds:
            learned = nodules.learned(THREE_CLASSES, split, fold)
            tested = nodules.tested(THREE_CLASSES, split, fold)
            assert sorted([*learned, *tested]) == list(range(len(NODULES)))
            tested_too += np.isin(nodules.patient[tested], nodules.patient[learned]).sum()
        shared[split] = tested_too / len(NODULES)
    assert shared[BY_PATIENT] == 0
    assert shared[BY_NODULE] > 0.5
    assert nodules.facts()["shared_patients"] == pytest.approx(shared)


def test_results_hold_both_rows_both_splits_the_floor_and_what_leaks(finished):
    _, results = finished
    judged = results["judged"]["A"]
    assert list(judged["figures"]) == ["size", "cross-entropy", "clip-lung"]
    for by_split in judged["figures"].values():
        assert set(by_split) == set(SPLITS)
        assert by_split[BY_PATIENT]["accuracy"]["n"] == len(NODULES)
        assert by_split[BY_PATIENT]["auc"]["n"] == len(NODULES) * 2 // 3
    # The made-up classes differ in diameter without overlap.
    assert judged["figures"]["size"][BY_PATIENT]["accuracy"]["value"] == 1.0
    leak = judged["nodule_less_patient_split"]["clip-lung"]["accuracy"]
    by_split = judged["figures"]["clip-lung"]
    expected = by_split[BY_NODULE]["accuracy"]["value"] - by_split[BY_PATIENT]["accuracy"]["value"]
    assert leak["value"] == pytest.approx(expected)
    assert leak["interval"][0] <= leak["value"] <= leak["interval"][1]
    assert results["missing"] == []


def test_setting_b_is_judged_on_the_models_of_a(finished, folder):
    run, results = finished
    told = []
    again = run_in(run, folder, "B", progress=lambda *state: told.append(state))
    assert told == []
    assert again == results
    assert results["judged"]["B"]["nodules"] == len(NODULES) * 2 // 3
    assert "C" not in results["judged"]


def test_a_stopped_run_goes_on_and_ends_like_one_that_was_not(finished, folder, tmp_path):
    def stop(done, total, name):
        assert total == 3 * 2 * 2 * TINY.epochs
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path, folder, progress=stop)
    there = sorted((tmp_path / "parts").iterdir())
    assert len(there) == 4
    # One of the finished ones is cut off, too.
    there[0].write_bytes(there[0].read_bytes()[:100])
    told = []
    run_in(tmp_path, folder, progress=lambda done, total, name: told.append(name))
    assert len(told) == (12 - 3) * TINY.epochs
    for name in (RESULTS_NAME, TABLE_NAME):
        assert (tmp_path / name).read_bytes() == (finished[0] / name).read_bytes()


def test_parts_of_a_run_can_be_made_apart_and_what_is_missing_is_said(finished, folder, tmp_path):
    first = run_in(tmp_path, folder, folds=[0], splits=[BY_PATIENT])
    judged = first["judged"]["A"]
    assert judged["folds"] == {BY_NODULE: [0, 1, 2], BY_PATIENT: [0]}
    of_fold = sum(nodule.fold == 0 for nodule in NODULES)
    assert judged["figures"]["size"][BY_PATIENT]["accuracy"]["value"] == 1.0
    assert {row: by_split[BY_PATIENT]["accuracy"]["n"] for row, by_split in judged["figures"].items()} == dict.fromkeys(
        ("size", "cross-entropy", "clip-lung"), of_fold
    )
    assert f"split by patient folds 0 ({of_fold} nodules)" in (tmp_path / TABLE_NAME).read_text(encoding="utf-8")
    assert "3classes-by-nodule-clip-lung-fold1" in first["missing"]
    assert "**Not finished**: 10 parts are missing" in (tmp_path / TABLE_NAME).read_text(encoding="utf-8")
    run_in(tmp_path, folder, folds=[1, 2], splits=[BY_PATIENT])
    assert run_in(tmp_path, folder, splits=[BY_NODULE]) == finished[1]


def test_other_settings_data_or_texts_need_another_folder(finished, folder, tmp_path):
    run, _ = finished
    longer = replace(TINY, epochs=3)
    with pytest.raises(InputError, match="other settings or other data"):
        reproduce(longer, SETTINGS["A"], folder, run, MarkedLetters(), device="cpu")
    other = MarkedLetters()
    other.name = "others"
    with pytest.raises(InputError, match="with the text encoder marked letters, not others"):
        reproduce(TINY, SETTINGS["A"], folder, run, other, device="cpu")
    with pytest.raises(InputError, match="no fold 7"):
        run_in(run, folder, folds=[7])


def test_epochs_of_every_part_are_logged(finished):
    run, _ = finished
    lines = (run / "logs" / "3classes-by-patient-clip-lung-fold0.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("epoch,seconds,cross_entropy,image_class")
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]


def test_page_takes_the_table_between_its_marks(finished, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    write_page_table(page, finished[1])
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\nData: 36 nodules of 18 patients")
    assert text.endswith(f"{END}\nafter\n")
    assert "stale" not in text
    assert "| CLIP-Lung (marked letters) | 60.9 |" in text
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(InputError, match="once each"):
        write_page_table(page, finished[1])


@pytest.fixture
def no_network(monkeypatch):
    """What was asked of the network, all of it refused."""
    asked = []

    def refuse(*arguments, **options):
        asked.append(arguments)
        raise OSError("no network here")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


def refusal_of(capsys, tmp_path, *options, setting="A"):
    """What the command says before it has looked at the data, which are not there."""
    arguments = ["reproduce", "--setting", setting, "--data", str(tmp_path / "none"), "--output", str(tmp_path / "run")]
    assert main([*arguments, *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith("cliplung: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()
    return said


def test_without_weights_the_command_refuses_at_once_and_asks_no_network(capsys, tmp_path, no_network):
    said = refusal_of(capsys, tmp_path)
    assert all(word in said for word in ("--clip-weights", "--download", "--text-encoder minilm"))
    assert no_network == []


def test_a_download_that_fails_is_told_in_one_line(capsys, tmp_path, no_network, monkeypatch):
    pytest.importorskip("huggingface_hub", reason="needs the extra 'train'")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    # The hub's client tries six times.
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert "cannot be fetched" in refusal_of(capsys, tmp_path, "--download")
    assert no_network != []


@pytest.mark.parametrize("name", ["clip.pt", "clip.bin", "clip.safetensors"])
def test_pickled_weights_are_refused_with_the_way_to_convert_them(capsys, tmp_path, name):
    torch.save({"positional_embedding": torch.zeros(2)}, tmp_path / name)
    said = refusal_of(capsys, tmp_path, "--clip-weights", str(tmp_path / name))
    assert "pickled" in said
    assert "safetensors.torch.save_file" in said


def test_damaged_and_missing_weights_are_refused(capsys, tmp_path):
    (tmp_path / "half.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    assert "damaged" in refusal_of(capsys, tmp_path, "--clip-weights", str(tmp_path / "half.safetensors"))
    assert "do not exist" in refusal_of(capsys, tmp_path, "--clip-weights", str(tmp_path / "none.safetensors"))


def test_unknown_settings_rows_and_splits_are_refused(capsys, tmp_path):
    assert "Setting 'D' is none of the paper's" in refusal_of(capsys, tmp_path, setting="D")
    assert "Row 'x'" in refusal_of(capsys, tmp_path, "--rows", "x")
    assert "Split 'x'" in refusal_of(capsys, tmp_path, "--splits", "x")
    assert "epochs must be" in refusal_of(capsys, tmp_path, "--epochs", "0")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tau": 0}, "tau must be a number above 0"),
        ({"window_hu": [400, -1000]}, "window_hu must be two rising numbers"),
        ({"more": 1}, "unknown settings: more"),
        ({"command": "train"}, "'command' must be 'reproduce'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(capsys, tmp_path, change, said):
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(TINY.to_dict() | change), encoding="utf-8")
    assert said in refusal_of(capsys, tmp_path, "--config", str(file))


def test_other_commands_point_from_these_settings_to_reproduce(capsys, tmp_path):
    arguments = ["crossvalidate", "--config", str(PUBLISHED_CONFIG), "--data", str(tmp_path), "--output", str(tmp_path)]
    assert main(arguments) == 2
    assert "Run it with 'cliplung reproduce'" in capsys.readouterr().err


def test_clip_weights_of_a_file_take_their_places(tmp_path):
    open_clip = pytest.importorskip("open_clip", reason="needs the extra 'train'")
    from safetensors.torch import save_file

    sizes = {
        "vision_cfg": {"layers": 1, "width": 64, "patch_size": 16, "image_size": 32},
        "text_cfg": {"context_length": 8, "vocab_size": 20, "width": 64, "heads": 1, "layers": 1},
    }
    one, other = open_clip.CLIP(32, **sizes), open_clip.CLIP(32, **sizes)
    file = tmp_path / "clip.safetensors"
    state = {name: value.contiguous() for name, value in one.state_dict().items()}
    save_file(state, file)
    load_text_tower(other, read_clip_weights(file), file)
    text = torch.tensor([[3, 4, 19, 0, 0, 0, 0, 0]])
    torch.testing.assert_close(other.encode_text(text), one.encode_text(text))
    assert not torch.equal(other.visual.conv1.weight, one.visual.conv1.weight)
    save_file({name: value for name, value in state.items() if name != "text_projection"}, file)
    with pytest.raises(CheckpointError, match="lacks text_projection"):
        load_text_tower(other, read_clip_weights(file), file)
    save_file(state | {"text_projection": torch.zeros(3, 3)}, file)
    with pytest.raises(CheckpointError, match="has the shape"):
        load_text_tower(other, read_clip_weights(file), file)
