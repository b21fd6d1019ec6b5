"""Settings are read from files that list every one, and refused by name when they make no sense."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
from helpers.tiny_training import nodule

from CLIPLungLib.errors import InputError
from CLIPLungLib.model.image_encoder import CHANNELS
from CLIPLungLib.model.network import CLIPLungNetwork
from CLIPLungLib.reproduction.settings import PublishedSettings
from CLIPLungLib.training import DEFAULT_CONFIG
from CLIPLungLib.training.config import TrainConfig

# `cliplung reproduce` reads settings of its own.
CONFIGS = [file for file in sorted(DEFAULT_CONFIG.parent.glob("*.json")) if file.stem != "published"]
FINE_TUNE = DEFAULT_CONFIG.with_name("fine_tune.json")


def settings() -> dict:
    return json.loads(DEFAULT_CONFIG.read_text(encoding="utf-8"))


def changed(name: str, value: object) -> dict:
    """The default settings with one changed; "losses.gate" is the gate of the losses."""
    values = settings()
    *parts, last = name.split(".")
    place = values
    for part in parts:
        place = place[part]
    place[last] = value
    return values


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_file_lists_every_setting_and_round_trips(file):
    config = TrainConfig.read(file)
    assert TrainConfig.from_dict(config.to_dict()) == config
    # What is written beside a run is what was read.
    assert json.loads(json.dumps(config.to_dict())) == json.loads(file.read_text(encoding="utf-8"))


def test_fine_tuning_is_gentle_and_of_the_bundled_network():
    fine, default = TrainConfig.read(FINE_TUNE), TrainConfig.read(DEFAULT_CONFIG)
    assert (fine.network, fine.patch, fine.losses) == (default.network, default.patch, default.losses)
    assert fine.learning_rate <= default.learning_rate / 5
    assert fine.epochs < default.epochs
    assert fine.validation_share == 0


def test_no_folds_stand_for_those_of_the_table():
    every = TrainConfig.from_dict(changed("train_folds", []))
    nodules = [replace(nodule(0), fold=fold) for fold in (7, 2, 7)]
    assert every.with_folds_of(nodules).train_folds == (2, 7)
    assert every.with_folds_of(nodules) == replace(every, train_folds=(2, 7))
    some = TrainConfig.from_dict(changed("train_folds", [2]))
    assert some.with_folds_of(nodules) is some


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", -1),
        ("epochs", 2.5),
        ("epochs", 10.0),
        ("epochs", True),
        ("epochs", "10"),
        ("epochs", None),
        ("epochs", [10]),
        ("epochs", 10**400),
        ("batch_size", 0),
        ("batch_size", False),
        ("learning_rate", 0),
        ("learning_rate", -0.1),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("learning_rate", 10**400),
        ("learning_rate", True),
        ("learning_rate", "0.003"),
        ("weight_decay", -1e-9),
        ("ema_decay", 1),
        ("ema_decay", -0.1),
        ("validation_share", 1.0),
        ("validation_share", -0.1),
        ("validation_share", float("nan")),
        ("largest_stack", 0),
        ("empty_planes", -1),
        ("text_encoder", "bert"),
        ("text_encoder", 1),
        ("text_encoder", ["minilm"]),
        ("conditioned_texts", -2),
        ("text_interval", 0),
        ("background_patches", -1),
        ("seed", -1),
        ("seed", 0.0),
        ("train_folds", 3),
        ("train_folds", "01"),
        ("train_folds", [0, 0]),
        ("train_folds", [0, True]),
        ("train_folds", [-1]),
        ("patch.shape", [25, 64]),
        ("patch.shape", [25, 64, 64.0]),
        ("patch.shape", [0, 64, 64]),
        ("patch.spacing_mm", [2.0, 0.75, 0]),
        ("patch.spacing_mm", [2.0, 0.75, float("nan")]),
        ("patch.window_hu", [-1000, "400"]),
        ("network.encoder", "resnet"),
        ("network.dropout", 1.0),
        ("network.text_dim", 0),
        ("network.groups", True),
        ("losses.gate", -1),
        ("losses.outline", None),
    ],
)
def test_values_out_of_range_or_of_another_type_are_named(name, value):
    with pytest.raises(InputError, match=rf"^Training configuration: {name} must be .*configs/default\.json"):
        TrainConfig.from_dict(changed(name, value))


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("patch.window_hu", [400, -1000], "window_hu must rise"),
        ("patch.shape", [25, 32, 32], r"patch\.shape \[25, 32, 32\] must be network\.planes"),
        ("network.planes", 24, r"patch\.shape"),
        ("network.groups", 3, r"network\.groups must divide the 256 channels"),
        ("patch.spacing_mm", [2.0, 0.75, 0.7], "the same for rows and columns"),
        ("network.encoder", "channel", r"losses\.gate and losses\.outline must be 0"),
        ("losses", dict.fromkeys(settings()["losses"], 0), "nothing to learn"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(name, value, named):
    with pytest.raises(InputError, match=named):
        TrainConfig.from_dict(changed(name, value))


def test_planes_whose_pixels_do_not_fit_the_encoder_are_refused():
    values = changed("patch.shape", [25, 60, 60])
    values["network"]["pixels"] = 60
    with pytest.raises(InputError, match=r"network\.pixels must be a multiple of 8"):
        TrainConfig.from_dict(values)


def test_patch_beyond_any_memory_is_refused():
    values = changed("patch.shape", [25, 80000, 80000])
    values["network"]["pixels"] = 80000
    with pytest.raises(InputError, match="voxels"):
        TrainConfig.from_dict(values)


@pytest.mark.parametrize("name", ["epochs", "seed", "patch", "patch.window_hu", "network.dropout", "losses.rating"])
def test_missing_settings_are_named(name):
    values = settings()
    *parts, last = name.split(".")
    place = values
    for part in parts:
        place = place[part]
    del place[last]
    with pytest.raises(InputError, match=rf"missing settings: {name}\."):
        TrainConfig.from_dict(values)


@pytest.mark.parametrize("name", ["speed", "patch.size", "network.width", "losses.classes"])
def test_unknown_settings_are_named(name):
    with pytest.raises(InputError, match=rf"unknown settings: {name}\."):
        TrainConfig.from_dict(changed(name, 1))


@pytest.mark.parametrize(("name", "value"), [("patch", [25]), ("network", None), ("losses", 1.0)])
def test_nested_settings_must_be_named(name, value):
    with pytest.raises(InputError, match=f"{name} must hold settings by name"):
        TrainConfig.from_dict(changed(name, value))


@pytest.mark.parametrize("text", ["", "[", "[1, 2]", "null", "3", "\x00", "[" * 100_000])
def test_files_that_hold_no_settings_are_named(tmp_path, text):
    file = tmp_path / "my.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"my\.json"):
        TrainConfig.read(file)


def test_file_with_a_byte_order_mark_is_read(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(DEFAULT_CONFIG.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert TrainConfig.read(file) == TrainConfig.read(DEFAULT_CONFIG)


@pytest.mark.parametrize("name", ["epochs", "heads"])
@pytest.mark.parametrize("reader", [TrainConfig, PublishedSettings])
def test_settings_that_are_there_twice_are_named(tmp_path, reader, name):
    file = tmp_path / "config.json"
    file.write_text(f'{{"{name}": 1, "network": {{"{name}": 2, "{name}": 3}}}}', encoding="utf-8")
    with pytest.raises(InputError, match=rf"config\.json cannot be read: the setting '{name}' is there twice"):
        reader.read(file)


def test_file_that_is_missing_or_no_text_is_named(tmp_path):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for name in ("binary.json", "absent.json", "."):
        with pytest.raises(InputError, match="cannot be read"):
            TrainConfig.read(tmp_path / name)


def test_whole_numbers_stand_for_numbers_and_lists_for_tuples():
    values = copy.deepcopy(settings())
    values["weight_decay"], values["patch"]["spacing_mm"] = 0, [2, 1, 1]
    config = TrainConfig.from_dict(values)
    assert config.weight_decay == 0.0
    assert isinstance(config.weight_decay, float)
    assert config.patch.spacing_mm == (2.0, 1.0, 1.0)
    assert config.train_folds == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("encoder", ["slice", "efficientnet"])
def test_encoders_are_chosen_by_name(encoder):
    values = TrainConfig.read(DEFAULT_CONFIG).to_dict()
    values["network"]["encoder"] = encoder
    config = TrainConfig.from_dict(values)
    assert CLIPLungNetwork(config.network).encoder.channels == CHANNELS[encoder]
