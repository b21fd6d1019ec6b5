"""The settings of a training, read from a JSON file that lists every one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.inference.checkpoint import LARGEST_PATCH_VOXELS
from CLIPLungLib.model.encoder_names import CHANNEL, EFFICIENTNET, ENCODERS
from CLIPLungLib.model.image_encoder import CHANNELS
from CLIPLungLib.model.network import NetworkConfig
from CLIPLungLib.training import DEFAULT_CONFIG
from CLIPLungLib.training.objective import LossWeights
from CLIPLungLib.training.setting_rules import (
    ANY_NUMBER,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    SHARE_OF_ALL,
    Rule,
    checked,
    list_of,
    one_of,
    read_json,
    true_or_false,
    whole,
)

REMEDY = f"Start from {DEFAULT_CONFIG.as_posix()}, which lists every setting."


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run.

    Attributes:
        train_folds: patient folds to train on; empty for all folds of the table.
        epochs: passes over the nodules.
        batch_size: nodules per step, of all processes together.
        learning_rate: highest of the one-cycle schedule (AdamW).
        weight_decay: of AdamW.
        ema_decay: of the averaged weights, which are the ones evaluated and kept.
        second_reader: whether a second reader is fitted, too; it needs the package with ImageNet weights.
        pretrained_trunk: whether the encoder starts with the ImageNet weights of a package ("efficientnet" only).
        trunk_rate: learning rate of pretrained weights, as a share of `learning_rate`.
        slice_share: share of the nodules with nothing but a single slice, drawn anew for every epoch.
        inserted_share: probability that a nodule is drawn from other lung, where it was inserted there; 0 leaves these patches out.
        largest_stack: most planes of a nodule per step.
        empty_planes: most planes without the nodule added per nodule, so that the gate learns to ignore them.
        text_encoder: "minilm" or "clip".
        conditioned_texts: images per batch (of each process) with texts of their own; -1 for all, as in the paper.
        text_interval: steps between two encodings of the texts.
        background_patches: patches without a nodule per step.
        validation_share: share of the training patients held out to choose the epoch; 0 keeps the last epoch.
        seed: of weights, order and augmentation.
        patch: shape, spacing and HU window of the input.
        network: architecture and sizes.
        losses: the weight of each term.
    """

    train_folds: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    ema_decay: float
    second_reader: bool
    pretrained_trunk: bool
    trunk_rate: float
    slice_share: float
    inserted_share: float
    largest_stack: int
    empty_planes: int
    text_encoder: str
    conditioned_texts: int
    text_interval: int
    background_patches: int
    validation_share: float
    seed: int
    patch: PatchSpec
    network: NetworkConfig
    losses: LossWeights

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def with_folds_of(self, nodules: Sequence[Nodule]) -> TrainConfig:
        """The same, with all folds of the table where `train_folds` is empty."""
        return self if self.train_folds else replace(self, train_folds=tuple(sorted({n.fold for n in nodules})))

    @classmethod
    def from_dict(cls, values: Any, source: str = "Training configuration") -> TrainConfig:
        """Build from plain values.

        Args:
            values: every setting by name.
            source: names the settings in errors.

        Raises:
            InputError: unknown and missing names, values of another type or out of range, sizes that do not fit together.
        """
        try:
            parts = checked(values, _RULES)
            config = cls(**parts | {name: part(**parts[name]) for name, part in _PARTS.items()})
            _require_fit(config)
        except ValueError as error:
            raise InputError(f"{source}: {error}. {REMEDY}") from error
        return config

    @classmethod
    def read(cls, file: Path) -> TrainConfig:
        """Read a JSON file.

        Raises:
            InputError: the file cannot be read, or as in `from_dict`.
        """
        try:
            values = read_json(file)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"Training configuration {file} cannot be read: {error}. {REMEDY}") from error
        if isinstance(values, dict) and values.get("command") == "reproduce":
            raise InputError(f"{file} holds the settings of the published method. Run it with 'cliplung reproduce'.")
        return cls.from_dict(values, f"Training configuration {file}")


def _folds(value: Any) -> tuple[int, ...]:
    words = "a list of different whole numbers from 0, or an empty one for all folds of the table"
    if not isinstance(value, (list, tuple)):
        raise ValueError(words)
    try:
        folds: tuple[int, ...] = list_of(len(value), whole(0))(value)
    except ValueError as error:
        raise ValueError(words) from error
    if len(set(folds)) < len(folds):
        raise ValueError(words)
    return folds


_RULES: dict[str, Rule | dict[str, Rule]] = {
    "train_folds": _folds,
    "epochs": whole(1),
    "batch_size": whole(1),
    "learning_rate": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "ema_decay": SHARE,
    "second_reader": true_or_false,
    "pretrained_trunk": true_or_false,
    "trunk_rate": SHARE_OF_ALL,
    "slice_share": SHARE_OF_ALL,
    "inserted_share": SHARE,
    "largest_stack": whole(1),
    "empty_planes": whole(0),
    "text_encoder": one_of("minilm", "clip"),
    "conditioned_texts": whole(-1),
    "text_interval": whole(1),
    "background_patches": whole(0),
    "validation_share": SHARE,
    "seed": whole(0),
    "patch": {
        "shape": list_of(3, whole(1)),
        "spacing_mm": list_of(3, POSITIVE),
        "window_hu": list_of(2, ANY_NUMBER),
    },
    "network": {
        "encoder": one_of(*ENCODERS),
        "planes": whole(1),
        "pixels": whole(8),
        "groups": whole(1),
        "text_dim": whole(1),
        "dropout": SHARE,
        "ordinal_rating": true_or_false,
    },
    "losses": dict.fromkeys(LossWeights.__dataclass_fields__, NOT_NEGATIVE),
}
_PARTS = {"patch": PatchSpec, "network": NetworkConfig, "losses": LossWeights}


def _require_fit(config: TrainConfig) -> None:
    """Check settings against each other."""
    patch, network, losses = config.patch, config.network, config.losses
    if patch.shape != (network.planes, network.pixels, network.pixels):
        raise ValueError(
            f"patch.shape {list(patch.shape)} must be network.planes, network.pixels, network.pixels: "
            f"{[network.planes, network.pixels, network.pixels]}"
        )
    if network.pixels % 8:
        raise ValueError(f"network.pixels must be a multiple of 8, not {network.pixels}")
    if patch.shape[0] * patch.shape[1] * patch.shape[2] > LARGEST_PATCH_VOXELS:
        raise ValueError(f"patch.shape {list(patch.shape)} has more than {LARGEST_PATCH_VOXELS} voxels")
    channels = CHANNELS[network.encoder]
    if channels % network.groups:
        raise ValueError(f"network.groups must divide the {channels} channels of the encoder, not be {network.groups}")
    if patch.spacing_mm[1] != patch.spacing_mm[2]:
        raise ValueError(f"patch.spacing_mm must be the same for rows and columns, not {list(patch.spacing_mm)}")
    if not any(vars(losses).values()):
        raise ValueError("losses are all 0, so there is nothing to learn")
    if config.pretrained_trunk and network.encoder != EFFICIENTNET:
        raise ValueError(
            f"pretrained_trunk must be false for the encoder '{network.encoder}', of which there are no such weights"
        )
    if network.encoder == CHANNEL and (losses.gate or losses.outline):
        raise ValueError("losses.gate and losses.outline must be 0 for the encoder 'channel', which draws no outline")
