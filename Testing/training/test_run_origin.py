"""A run is continued only with the settings, data and weights it began with."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.tiny_training import CONFIG, NODULES, LetterEncoder, tiny_patches, train_in

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.training.run_origin import STATE_NAME, data_sha256
from CLIPLungLib.training.run_state import read_facts, save_state
from CLIPLungLib.training.trainer import Trainer

SHORT = replace(CONFIG, epochs=1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train_in(folder, SHORT)
    return folder


def changed(name: str):
    """Patches with one number changed."""
    patches = tiny_patches()
    values = getattr(patches, name).copy()
    values[0] = ~values[0] if values.dtype == bool else values[0] + 1
    return replace(patches, **{name: values})


@pytest.mark.parametrize("name", ["hu", "outline", "height_mm", "is_outlined", "kind"])
def test_other_patches_have_another_fingerprint(name):
    assert data_sha256(changed(name), NODULES) != data_sha256(tiny_patches(), NODULES)


@pytest.mark.parametrize("change", [{"malignancy": 2.0}, {"fold": 4}, {"ratings": {}}, {"diameter_mm": float("nan")}])
def test_other_table_has_another_fingerprint(change):
    other = [replace(NODULES[0], **change), *NODULES[1:]]
    assert data_sha256(tiny_patches(), other) != data_sha256(tiny_patches(), NODULES)


def test_fingerprint_does_not_depend_on_the_systems_whole_numbers():
    patches = tiny_patches()
    short = {name: getattr(patches, name).astype(np.int32) for name in ("nodule", "kind", "first_plane", "plane_count")}
    assert data_sha256(replace(patches, **short), NODULES) == data_sha256(patches, NODULES)


def test_run_on_other_data_is_refused(finished):
    other = [replace(NODULES[0], malignancy=2.0), *NODULES[1:]]
    with pytest.raises(InputError, match="holds a run on other data: nodule table or patches have changed"):
        Trainer(SHORT, tiny_patches(), other, finished, "cpu", LetterEncoder())
    with pytest.raises(InputError, match="on other data"):
        Trainer(SHORT, changed("hu"), NODULES, finished, "cpu", LetterEncoder())
    assert Trainer(SHORT, tiny_patches(), NODULES, finished, "cpu", LetterEncoder()).is_finished


def test_run_of_other_weights_is_refused(finished, tiny_checkpoint_file):
    init = load_checkpoint(tiny_checkpoint_file)
    config = replace(SHORT, network=init.network.config, patch=init.patch)
    (finished / "config.json").rename(finished / "kept.json")
    try:
        with pytest.raises(InputError, match="started from other weights"):
            Trainer(config, patches_for(init), NODULES, finished, "cpu", init=init)
    finally:
        (finished / "kept.json").rename(finished / "config.json")


def patches_for(init):
    """The made-up patches as the tiny checkpoint's network sees them."""
    assert init.patch.shape[1:] == CONFIG.patch.shape[1:]
    assert init.patch.spacing_mm == CONFIG.patch.spacing_mm
    return tiny_patches()


def test_run_of_an_earlier_version_is_taken_as_it_is(tmp_path, caplog):
    trainer = train_in(tmp_path, SHORT)
    facts = read_facts(tmp_path / STATE_NAME)
    assert facts["data_sha256"] == data_sha256(tiny_patches(), NODULES)
    old = {name: facts[name] for name in ("epochs_done", "best_score")}
    save_state(tmp_path / STATE_NAME, trainer._modules(), trainer.optimizer, old)
    with caplog.at_level(logging.WARNING):
        other = [replace(NODULES[0], malignancy=2.0), *NODULES[1:]]
        assert Trainer(SHORT, tiny_patches(), other, tmp_path, "cpu", LetterEncoder()).is_finished
    assert "of an earlier version" in caplog.text


def test_fine_tuning_begins_with_the_network_and_keeps_the_texts(tmp_path, tiny_checkpoint_file):
    init = load_checkpoint(tiny_checkpoint_file)
    config = replace(SHORT, network=init.network.config, patch=init.patch)
    trainer = Trainer(config, patches_for(init), NODULES, tmp_path, "cpu", init=init)
    for name, value in init.network.state_dict().items():
        assert torch.equal(trainer.network.state_dict()[name], value), name
    trainer.run()
    assert torch.equal(trainer.text_bank().classes, init.class_text)
    assert torch.equal(trainer.text_bank().levels, init.level_text)
    assert trainer.text_scale == pytest.approx(init.text_scale)
    learned = trainer.best_network.state_dict()
    assert any(not torch.equal(learned[name], value) for name, value in init.network.state_dict().items())
    # What is given is not written to.
    assert load_checkpoint(tiny_checkpoint_file).sha256 == init.sha256
    again = Trainer(config, patches_for(init), NODULES, tmp_path, "cpu", init=init)
    assert again.is_finished
    assert torch.equal(again.text_bank().levels, init.level_text)


def test_checkpoint_of_another_network_is_refused_by_name(tmp_path, tiny_checkpoint_file):
    init = load_checkpoint(tiny_checkpoint_file)
    with pytest.raises(
        InputError,
        match=r"network\.planes 5 \(the checkpoint: 9\); network\.text_dim 8 .*16\); patch\.shape .*without --init",
    ):
        Trainer(CONFIG, tiny_patches(), NODULES, tmp_path, "cpu", init=init)
    gentle = replace(CONFIG, network=replace(init.network.config, dropout=0.1), patch=init.patch)
    Trainer(gentle, patches_for(init), NODULES, tmp_path, "cpu", init=init)
