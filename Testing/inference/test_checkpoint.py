"""Checkpoints: what is written is what is read, and nothing else is accepted."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from CLIPLungLib.errors import CheckpointError
from CLIPLungLib.inference.checkpoint import DEFAULT_CHECKPOINT, HEADER, load_checkpoint, save_checkpoint


def parts(file):
    with safe_open(file, framework="pt") as stored:
        header = json.loads(stored.metadata()[HEADER])
        return header, {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118


def written(tmp_path, header, tensors):
    file = tmp_path / "changed.safetensors"
    save_file(tensors, file, {HEADER: json.dumps(header)})
    return file


def test_round_trip_keeps_weights_texts_and_settings(tiny_checkpoint_file, tmp_path):
    checkpoint = load_checkpoint(tiny_checkpoint_file)
    with torch.no_grad():
        checkpoint.network.class_head.weight.add_(0.5)
    save_checkpoint(tmp_path / "again.safetensors", checkpoint)
    again = load_checkpoint(tmp_path / "again.safetensors")
    for key, value in checkpoint.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[key]), key
    assert torch.equal(checkpoint.level_text, again.level_text)
    assert (again.patch, again.calibration, again.text_scale) == (
        checkpoint.patch,
        checkpoint.calibration,
        checkpoint.text_scale,
    )
    assert again.provenance == checkpoint.provenance
    assert again.sha256 != checkpoint.sha256
    assert list(tmp_path.iterdir()) == [tmp_path / "again.safetensors"]


def test_loaded_network_is_frozen_and_in_evaluation_mode(tiny_checkpoint_file):
    network = load_checkpoint(tiny_checkpoint_file).network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.safetensors does not exist"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_truncated_file_is_refused(tiny_checkpoint_file, tmp_path):
    file = tmp_path / "half.safetensors"
    content = tiny_checkpoint_file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="truncated or not a safetensors file"):
        load_checkpoint(file)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a torch pickle", struct.pack("<Q", 1 << 60) + b"{}"])
def test_other_files_are_refused(content, tmp_path):
    file = tmp_path / "other.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(file)


def test_foreign_safetensors_file_is_refused(tmp_path):
    file = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, file)
    with pytest.raises(CheckpointError, match="not a CLIPLung checkpoint"):
        load_checkpoint(file)


def test_newer_format_is_refused_with_both_versions(tiny_checkpoint_file, tmp_path):
    header, tensors = parts(tiny_checkpoint_file)
    with pytest.raises(CheckpointError, match=r"format version 3; this CLIPLung reads version 2"):
        load_checkpoint(written(tmp_path, header | {"version": 3}, tensors))


def test_other_vocabulary_is_refused(tiny_checkpoint_file, tmp_path):
    header, tensors = parts(tiny_checkpoint_file)
    header["vocabulary"]["classes"] = ["benign", "malignant"]
    with pytest.raises(CheckpointError, match="another vocabulary"):
        load_checkpoint(written(tmp_path, header, tensors))


def test_weights_that_are_not_numbers_are_refused(tiny_checkpoint_file, tmp_path):
    header, tensors = parts(tiny_checkpoint_file)
    tensors["network.class_head.bias"][0] = float("nan")
    with pytest.raises(CheckpointError, match=r"class_head\.bias holds values that are not numbers"):
        load_checkpoint(written(tmp_path, header, tensors))


def test_missing_weights_are_named(tiny_checkpoint_file, tmp_path):
    header, tensors = parts(tiny_checkpoint_file)
    del tensors["network.class_head.bias"]
    with pytest.raises(CheckpointError, match="do not fit together"):
        load_checkpoint(written(tmp_path, header, tensors))


def test_text_bank_of_another_size_is_refused(tiny_checkpoint_file, tmp_path):
    header, tensors = parts(tiny_checkpoint_file)
    tensors["text.levels"] = tensors["text.levels"][:-1].clone()
    with pytest.raises(CheckpointError, match=r"text.levels has shape \(39, 16\), expected \(40, 16\)"):
        load_checkpoint(written(tmp_path, header, tensors))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network", {"planes": 9, "pixels": 32, "text_dim": 16, "surprise": 1}),
        ("patch", {"shape": [9, 1_000_000, 1_000_000]}),
        ("calibration", {"slope": -1.0, "offsets": [0, 1, 2]}),
        ("calibration", {"slope": 1.0, "offsets": [2, 1, 0]}),
        ("text_scale", "large"),
    ],
)
def test_impossible_settings_are_refused(tiny_checkpoint_file, tmp_path, key, value):
    header, tensors = parts(tiny_checkpoint_file)
    with pytest.raises(CheckpointError, match="do not fit together"):
        load_checkpoint(written(tmp_path, header | {key: value}, tensors))


def test_bundled_checkpoint_is_small_and_says_where_it_comes_from():
    checkpoint = load_checkpoint()
    assert DEFAULT_CHECKPOINT.stat().st_size < 12_000_000
    assert "LIDC-IDRI" in checkpoint.provenance["trained_on"]
    assert "10.7937/K9/TCIA.2015.LO9QL9SX" in checkpoint.provenance["data"]
    assert checkpoint.provenance["use"] == "Research use only."


def test_average_cell_is_the_mean_of_the_known_nodules(tiny_checkpoint_file):
    checkpoint = load_checkpoint(tiny_checkpoint_file)
    mean = np.arange(512, dtype=np.float32)
    known = replace(checkpoint.familiarity, space=replace(checkpoint.familiarity.space, mean=mean))
    assert replace(checkpoint, familiarity=known).average_cell.tolist() == list(range(256))
    assert replace(checkpoint, familiarity=None).average_cell is None
