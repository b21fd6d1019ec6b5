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
from CLIPLungLib.model.network import CLIPLungNetwork, NetworkConfig


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
    for name in ("patch", "calibrations", "text_scale", "draws_outline"):
        assert getattr(again, name) == getattr(checkpoint, name), name
    np.testing.assert_array_equal(again.feature_space.whitening, checkpoint.feature_space.whitening)
    assert again.provenance == checkpoint.provenance
    assert again.sha256 != checkpoint.sha256
    assert list(tmp_path.iterdir()) == [tmp_path / "again.safetensors"]


@pytest.mark.parametrize("encoder", ["efficientnet", "channel"])
def test_round_trip_of_other_encoders(tiny_checkpoint_file, tmp_path, encoder):
    torch.manual_seed(1)
    network = CLIPLungNetwork(NetworkConfig(encoder=encoder, planes=9, pixels=32, text_dim=16)).eval()
    checkpoint = replace(load_checkpoint(tiny_checkpoint_file), network=network, feature_space=None)
    save_checkpoint(tmp_path / "other.safetensors", checkpoint)
    again = load_checkpoint(tmp_path / "other.safetensors").network
    planes, exists = torch.rand(2, 9, 32, 32), torch.ones(2, 9, dtype=torch.bool)
    # Weights are kept in half precision.
    expected, found = (one(planes, exists).malignancy_score for one in (network, again))
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=0)
    assert again.config.encoder == encoder


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


def test_newer_format_is_refused_with_the_versions(tiny_checkpoint_file, tmp_path):
    header, tensors = parts(tiny_checkpoint_file)
    with pytest.raises(CheckpointError, match=r"format version 7; this CLIPLung reads versions 3 to 6"):
        load_checkpoint(written(tmp_path, header | {"version": 7}, tensors))


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
    with pytest.raises(
        CheckpointError, match=r"text.levels is torch.float32 \(39, 16\), expected torch.float32 \(40, 16\)"
    ):
        load_checkpoint(written(tmp_path, header, tensors))


def changed(header: dict, path: str, value: object) -> dict:
    """A copy of a header with another value at a place such as "network.dropout"."""
    copy = json.loads(json.dumps(header))
    *above, name = path.split(".")
    place = copy
    for step in above:
        place = place[step]
    place[name] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("network.dropout", float("nan")),
        ("network.groups", 0),
        ("network.planes", 9.0),
        ("network.planes", True),
        ("network.encoder", "pickle"),
        ("network.surprise", 1),
        ("patch.shape", [9, 1_000_000, 1_000_000]),
        ("patch.shape", [9, 32]),
        ("patch.spacing_mm", [2.0, 1.0, float("inf")]),
        ("patch.window_hu", [400.0, -1000.0]),
        ("patch.window_hu", [-1000.0]),
        ("text_scale", "large"),
        ("text_scale", float("inf")),
        ("draws_outline", 1),
        ("calibrations.probability.slope", -1.0),
        ("calibrations.probability.slope", float("nan")),
        ("calibrations.probability.offsets", [2, 1, 0]),
        ("calibrations.probability.offsets", [0, 1]),
        ("calibrations.class_set_threshold", float("nan")),
        ("calibrations.outline.diameter.power", 0.0),
        ("calibrations.outline.limits.least_presence", None),
        ("calibrations.outline.sphericity.text", "x"),
        ("provenance", "a text"),
    ],
)
def test_impossible_settings_are_refused(tiny_checkpoint_file, tmp_path, path, value):
    header, tensors = parts(tiny_checkpoint_file)
    with pytest.raises(CheckpointError, match="do not fit together"):
        load_checkpoint(written(tmp_path, changed(header, path, value), tensors))


@pytest.mark.parametrize("name", ["network", "patch", "text_scale", "draws_outline", "calibrations", "provenance"])
def test_missing_settings_are_named(tiny_checkpoint_file, tmp_path, name):
    header, tensors = parts(tiny_checkpoint_file)
    del header[name]
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(written(tmp_path, header, tensors))


def test_header_nested_beyond_reason_is_refused(tiny_checkpoint_file, tmp_path):
    _, tensors = parts(tiny_checkpoint_file)
    file = tmp_path / "deep.safetensors"
    save_file(tensors, file, {HEADER: "[" * 100_000 + "]" * 100_000})
    with pytest.raises(CheckpointError, match=r"cannot be read|not a CLIPLung checkpoint"):
        load_checkpoint(file)


def test_tensors_of_other_types_sizes_and_names_are_refused(tiny_checkpoint_file, tmp_path):
    header, tensors = parts(tiny_checkpoint_file)
    for name, value in (
        ("text.levels", tensors["text.levels"].bfloat16()),
        ("network.class_head.bias", tensors["network.class_head.bias"].double()),
        ("feature_space.mean", torch.zeros(3)),
        ("feature_space.whitening", torch.zeros(512, 4, dtype=torch.float64)),
        ("network.stranger", torch.zeros(1)),
    ):
        with pytest.raises(CheckpointError, match="do not fit together"):
            load_checkpoint(written(tmp_path, header, tensors | {name: value}))


def test_a_file_of_countless_tensors_is_refused_before_they_are_read(tiny_checkpoint_file, tmp_path):
    header, _ = parts(tiny_checkpoint_file)
    many = {f"t{index}": torch.zeros(1) for index in range(6000)}
    with pytest.raises(CheckpointError, match="holds 6000 tensors"):
        load_checkpoint(written(tmp_path, header, many))


def test_bundled_checkpoint_is_small_and_says_where_it_comes_from():
    checkpoint = load_checkpoint()
    assert DEFAULT_CHECKPOINT.stat().st_size < 12_000_000
    assert "LIDC-IDRI" in checkpoint.provenance["trained_on"]
    assert "10.7937/K9/TCIA.2015.LO9QL9SX" in checkpoint.provenance["data"]
    assert checkpoint.provenance["use"] == "Research use only."


def test_average_cell_is_the_mean_of_the_known_nodules(tiny_checkpoint_file):
    checkpoint = load_checkpoint(tiny_checkpoint_file)
    known = replace(checkpoint.feature_space, mean=np.arange(512, dtype=np.float32))
    assert replace(checkpoint, feature_space=known).average_cell.tolist() == list(range(256))
    assert replace(checkpoint, feature_space=None).average_cell is None
