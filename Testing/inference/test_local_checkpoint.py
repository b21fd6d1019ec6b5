"""Weights calibrated on local cases: a format of their own, whose truth is checked and reaches the answer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.truth import LIDC_READERS, OUTCOME, READERS, Truth
from CLIPLungLib.errors import CheckpointError
from CLIPLungLib.inference.checkpoint import HEADER, load_checkpoint, save_checkpoint
from CLIPLungLib.inference.classifier import NoduleClassifier

TRUTH = Truth(OUTCOME, 412, 300, 120, "cases.csv", "2026-11-26")


def local(checkpoint, truth=TRUTH):
    probability = Calibration(2.0, (0.1, 0.1, 0.1)) if truth.whose == OUTCOME else checkpoint.calibrations.probability
    return replace(checkpoint, calibrations=replace(checkpoint.calibrations, probability=probability, truth=truth))


@pytest.fixture
def file(tiny_checkpoint_file, tmp_path):
    save_checkpoint(tmp_path / "local.safetensors", local(load_checkpoint(tiny_checkpoint_file)))
    return tmp_path / "local.safetensors"


def parts(file):
    with safe_open(file, framework="pt") as stored:
        header = json.loads(stored.metadata()[HEADER])
        return header, {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118


@pytest.mark.parametrize("truth", [TRUTH, Truth(READERS, 20, 20, 8, "own.csv", "2026-11-26")])
def test_the_truth_comes_back(tiny_checkpoint_file, tmp_path, truth):
    given = local(load_checkpoint(tiny_checkpoint_file), truth)
    save_checkpoint(tmp_path / "again.safetensors", given)
    assert load_checkpoint(tmp_path / "again.safetensors").calibrations == given.calibrations


def test_only_local_weights_have_the_new_format(file, tiny_checkpoint_file):
    # An older CLIPLung refuses version 4, and goes on reading all others.
    assert parts(file)[0]["version"] == 4
    header, _ = parts(tiny_checkpoint_file)
    assert header["version"] == 3
    assert "truth" not in header["calibrations"]
    assert load_checkpoint(tiny_checkpoint_file).calibrations.truth == LIDC_READERS
    assert load_checkpoint().calibrations.truth == LIDC_READERS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whose", "pathology"),
        ("whose", READERS + "s"),
        ("cases", 0),
        ("cases", 299),
        ("cases", 412.0),
        ("cases", True),
        ("events", 413),
        ("table", "x" * 256),
        ("table", None),
        ("date", "2026-11-26T12:00"),
        ("surprise", 1),
    ],
)
def test_impossible_truths_are_refused(file, tmp_path, name, value):
    header, tensors = parts(file)
    header["calibrations"]["truth"][name] = value
    save_file(tensors, tmp_path / "changed.safetensors", {HEADER: json.dumps(header)})
    with pytest.raises(CheckpointError, match="do not fit together"):
        load_checkpoint(tmp_path / "changed.safetensors")


def test_an_outcome_with_three_cuts_and_formats_without_their_truth_are_refused(file, tmp_path):
    header, tensors = parts(file)
    three = json.loads(json.dumps(header))
    three["calibrations"]["probability"]["offsets"] = [0.0, 0.1, 0.2]
    nobody = json.loads(json.dumps(header))
    del nobody["calibrations"]["truth"]
    for changed in (three, nobody, header | {"version": 3}):
        save_file(tensors, tmp_path / "changed.safetensors", {HEADER: json.dumps(changed)})
        with pytest.raises(CheckpointError, match="do not fit together"):
            load_checkpoint(tmp_path / "changed.safetensors")


def test_the_answer_says_whose_truth_it_speaks_of(file, tiny, ball_ct):
    result = NoduleClassifier.load(file, "cpu").classify(ball_ct, (10.0, -20.0, 30.0))
    benign, unsure, malignant = result.class_probabilities
    assert unsure == 0
    assert malignant == pytest.approx(result.malignancy_probability)
    assert result.predicted_class == ("malignant" if malignant > 0.5 else "benign")
    assert benign + malignant == pytest.approx(1)
    assert "unsure" not in result.class_set
    plain = result.to_dict()
    assert plain["truth"] == {**TRUTH.to_dict(), "event": "malignant by outcome of 412 local cases"}
    assert plain["class_probabilities"].keys() == {"benign", "unsure", "malignant"}
    assert "outcome, calibrated on 412 local cases" in plain["notice"]
    assert result.to_row("n")["truth"] == "malignant by outcome of 412 local cases"
    # The network is the same: so are signs, sizes and heat map.
    before = tiny.classify(ball_ct, (10.0, -20.0, 30.0))
    assert before.attributes == result.attributes
    assert before.diameter_mm == result.diameter_mm
    assert before.to_dict()["truth"]["event"] == "malignancy rating > 3"
