"""Either side of every limit of a checkpoint's header."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from CLIPLungLib.errors import CheckpointError
from CLIPLungLib.inference import checkpoint as module
from CLIPLungLib.inference.checkpoint import load_checkpoint, save_checkpoint
from CLIPLungLib.inference.checkpoint_schema import (
    HEADER_SCHEMA,
    check,
    each,
    number,
    one_of,
    optional,
    plain_facts,
    whole,
)


@pytest.mark.parametrize(
    ("value", "is_right"),
    [
        (1, True),
        (1.0, True),
        (2, True),
        (2.5, True),
        (0.999, False),
        (2.501, False),
        (True, False),
        ("2", False),
        (None, False),
        (math.nan, False),
    ],
)
def test_a_number_lies_within_its_limits(value, is_right):
    assert (number(1, 2.5)(value) == "") is is_right
    assert is_right or number(1, 2.5)(value) == "must be a number from 1 to 2.5"


def test_infinity_is_no_number_even_without_limits():
    assert number(-math.inf, math.inf)(math.inf) != ""


@pytest.mark.parametrize(
    ("value", "is_right"), [(1, True), (3, True), (0, False), (4, False), (2.0, False), (True, False), ("2", False)]
)
def test_a_whole_number_lies_within_its_limits(value, is_right):
    assert (whole(1, 3)(value) == "") is is_right


@pytest.mark.parametrize(
    ("value", "is_right"),
    [([1, 2], True), ([1], False), ([1, 2, 3], False), ([1, 9], False), ((1, 2), False), ("12", False)],
)
def test_a_list_has_its_length_and_right_values(value, is_right):
    assert (each(2, whole(1, 3))(value) == "") is is_right


@pytest.mark.parametrize(("value", "is_right"), [("a", True), ("b", True), ("c", False), (1, False)])
def test_one_of_some_values(value, is_right):
    assert (one_of("a", "b")(value) == "") is is_right
    assert one_of(True, False)(1) != ""


def test_a_table_may_be_missing_and_may_not_be_wrong():
    rule = optional({"x": whole(1, 3)})
    assert rule(None) == rule({"x": 1}) == ""
    assert rule({"x": 4}) == "is wrong: x must be a whole number from 1 to 3"
    assert rule({}) != ""
    assert rule([]) != ""
    assert plain_facts({}) == ""
    assert plain_facts([]) == "must be a table of facts"


def test_what_is_wrong_is_named_by_its_place():
    schema = {"a": {"b": whole(1, 3)}, "c": plain_facts}
    check({"a": {"b": 1}, "c": {}}, schema)
    for values, message in (
        ({"a": {"b": 4}, "c": {}}, r"^a\.b must be a whole number"),
        ({"a": {"d": 1}, "c": {}}, r"^a has missing or unknown names: b, d"),
        ({"a": {"b": 1}}, r"^the header has missing or unknown names: c"),
        ({"a": 1, "c": {}}, r"^a must be a table"),
        ([], r"^the header must be a table"),
    ):
        with pytest.raises(ValueError, match=message):
            check(values, schema)


LIMITS = [
    ("network.planes", 1, 256, 0, 257), ("network.pixels", 8, 512, 7, 513), ("network.groups", 1, 64, 0, 65),
    ("network.text_dim", 1, 4096, 0, 4097), ("network.dropout", 0, 1, -0.01, 1.01), ("text_scale", 1e-3, 1e4, 0.9e-3, 1.1e4),
]  # fmt: skip


@pytest.mark.parametrize(("path", "low", "high", "below", "above"), LIMITS, ids=[path for path, *_ in LIMITS])
def test_limits_of_the_header(path, low, high, below, above):
    rule = HEADER_SCHEMA
    for name in path.split("."):
        rule = rule[name]
    assert rule(low) == rule(high) == ""
    assert "" not in (rule(below), rule(above))


@pytest.mark.parametrize(("name", "right", "wrong"), [
    ("shape", [1, 512, 9], [0, 9, 9]), ("shape", [9, 9, 9], [9, 9, 513]), ("spacing_mm", [0.01, 50, 1], [0.009, 1, 1]),
    ("spacing_mm", [1, 1, 1], [1, 1, 51]), ("window_hu", [-10_000, 100_000], [-10_001, 0]), ("window_hu", [0, 1], [0, 100_001]),
])  # fmt: skip
def test_limits_of_the_patch(name, right, wrong):
    assert HEADER_SCHEMA["patch"][name](right) == ""
    assert HEADER_SCHEMA["patch"][name](wrong) != ""


def test_a_file_just_within_its_limits_is_read(tiny_checkpoint_file, monkeypatch):
    size = tiny_checkpoint_file.stat().st_size
    monkeypatch.setattr(module, "LARGEST_FILE_BYTES", size)
    monkeypatch.setattr(module, "LARGEST_PATCH_VOXELS", 9 * 32 * 32)
    monkeypatch.setattr(module, "LARGEST_WHITENING", 4)
    tensors = len(load_checkpoint(tiny_checkpoint_file).network.state_dict()) + 4
    monkeypatch.setattr(module, "MOST_TENSORS", tensors)
    load_checkpoint(tiny_checkpoint_file)
    for name, value, message in (
        ("LARGEST_FILE_BYTES", size - 1, "larger than"),
        ("LARGEST_PATCH_VOXELS", 9 * 32 * 32 - 1, "do not fit together"),
        ("LARGEST_WHITENING", 3, "do not fit together"),
        ("MOST_TENSORS", tensors - 1, f"holds {tensors} tensors"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            with pytest.raises(CheckpointError, match=message):
                load_checkpoint(tiny_checkpoint_file)


def test_the_largest_file_and_what_it_may_hold():
    assert module.LARGEST_FILE_BYTES == 2**30
    assert (module.MOST_TENSORS, module.LARGEST_WHITENING) == (5000, 4096)
    assert module.LARGEST_PATCH_VOXELS == 2**24


@pytest.mark.parametrize("name", ["feature_space", "calibrations"])
def test_a_checkpoint_without_a_part_is_read_without_it(tiny_checkpoint_file, tmp_path, name):
    checkpoint = replace(load_checkpoint(tiny_checkpoint_file), **{name: None})
    save_checkpoint(tmp_path / "less.safetensors", checkpoint)
    again = load_checkpoint(tmp_path / "less.safetensors")
    assert getattr(again, name) is None
    assert torch.equal(again.class_text, checkpoint.class_text)
    assert again.draws_outline is True
    assert len(again.sha256) == 64


def test_the_feature_space_comes_back(tiny_checkpoint_file, tmp_path):
    checkpoint = load_checkpoint(tiny_checkpoint_file)
    space = replace(checkpoint.feature_space, mean=np.arange(512, dtype=np.float32))
    save_checkpoint(tmp_path / "a.safetensors", replace(checkpoint, feature_space=space, draws_outline=False))
    again = load_checkpoint(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.feature_space.mean, space.mean)
    assert again.draws_outline is False


CALIBRATIONS = {
    "probability": {"slope": 1.0, "offsets": [0.0, 1.0, 2.0]},
    "class_set_threshold": 0.5,
    "outline": {
        "diameter": {"scale": 1.0, "power": 1.0, "log_half_width": 0.2},
        "volume": {"scale": 1.0, "power": 1.0, "log_half_width": 0.5},
        "sphericity": {"intercept": 1.0, "text": 0.2, "axis_ratio": 1.5, "compactness": 0.5},
        "limits": {"largest_distance": 9.0, "least_presence": 0.1},
    },
}


@pytest.mark.parametrize(
    ("path", "low", "high", "below", "above"),
    [
        ("probability.slope", 1e-6, 1e6, 0.9e-6, 1.1e6),
        ("class_set_threshold", 0, 1, -0.01, 1.01),
        *((f"outline.{size}.scale", 1e-6, 1e6, 0.9e-6, 1.1e6) for size in ("diameter", "volume")),
        *((f"outline.{size}.power", 1e-3, 1e3, 0.9e-3, 1.1e3) for size in ("diameter", "volume")),
        *((f"outline.{size}.log_half_width", 0, 100, -0.01, 100.1) for size in ("diameter", "volume")),
        *((f"outline.sphericity.{name}", -1e3, 1e3, -1001, 1001) for name in ("intercept", "text", "axis_ratio")),
        ("outline.limits.largest_distance", 1e-9, 1e6, 0.9e-9, 1.1e6),
        ("outline.limits.least_presence", -1e-6, 1, -1.1e-6, 1.01),
    ],
)
def test_limits_of_the_calibrations(path, low, high, below, above):
    for value, is_right in ((low, True), (high, True), (below, False), (above, False)):
        values = copy.deepcopy(CALIBRATIONS)
        *above_it, name = path.split(".")
        place = values
        for step in above_it:
            place = place[step]
        place[name] = value
        assert (HEADER_SCHEMA["calibrations"](values) == "") is is_right, value


@pytest.mark.parametrize(
    ("offsets", "is_right"), [([-1e6, 0, 1e6], True), ([-1.1e6, 0, 1], False), ([0, 1, 1.1e6], False), ([0, 1], False)]
)
def test_limits_of_the_offsets(offsets, is_right):
    values = CALIBRATIONS | {"probability": {"slope": 1.0, "offsets": offsets}}
    assert (HEADER_SCHEMA["calibrations"](values) == "") is is_right


def test_calibrations_may_lack_an_outline():
    assert HEADER_SCHEMA["calibrations"](CALIBRATIONS | {"outline": None}) == HEADER_SCHEMA["calibrations"](None) == ""
