"""Everything that decides a training run, readable from a JSON file. There are no hidden values: every file lists every setting."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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
from CLIPLungLib.training.objective import LossWeights

# From a value of the file to that of the configuration; ValueError says what it must be.
Rule = Callable[[Any], Any]
HIGHEST_NUMBER = 1e9
REMEDY = "Start from configs/default.json beside this program's training code, which lists every setting."


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run.

    Attributes:
        train_folds: patient folds to learn from; none stands for all of the table.
        epochs: passes over the nodules.
        batch_size: nodules per step, of all processes together.
        learning_rate: highest of the one-cycle schedule (AdamW).
        weight_decay: of AdamW.
        ema_decay: of the averaged weights, which are the ones evaluated and kept.
        second_reader: whether a second reader is fitted beside the network; it needs the package with ImageNet weights.
        pretrained_trunk: whether the encoder starts with the ImageNet weights of a package ("efficientnet" only).
        trunk_rate: share of the learning rate for weights that are pretrained.
        slice_share: share of the nodules that only a single slice shows, drawn anew for every epoch.
        inserted_share: chance that a nodule which was put into other lung is drawn from there; 0 leaves these patches out.
        largest_stack: planes of a nodule per step at most.
        empty_planes: nodule-free planes added per nodule at most, so that the gate learns to pass over them.
        text_encoder: "minilm" or "clip".
        conditioned_texts: images per batch (of each process) with texts of their own; -1 for all, as in the paper.
        text_interval: steps from one encoding of the texts to the next.
        background_patches: patches without a nodule per step, to learn what is none.
        validation_share: share of the training patients kept apart to choose the epoch; 0 keeps the last epoch.
        seed: of weights, order and augmentation.
        patch: what the network sees.
        network: its sizes.
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
        """The same with `train_folds` named: those of the table where there are none."""
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
            config = cls(**_checked(values, _RULES, ""))
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
            values = json.loads(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"Training configuration {file} cannot be read: {error}. {REMEDY}") from error
        if isinstance(values, dict) and values.get("command") == "reproduce":
            raise InputError(f"{file} holds the settings of the published method. Run it with 'cliplung reproduce'.")
        return cls.from_dict(values, f"Training configuration {file}")


def _whole(least: int) -> Rule:
    def check(value: Any) -> int:
        # A bool is an int to Python.
        if type(value) is not int or not least <= value < HIGHEST_NUMBER:
            raise ValueError(f"a whole number of at least {least}")
        return value

    return check


def _number(words: str, is_allowed: Callable[[float], bool]) -> Rule:
    def check(value: Any) -> float:
        # No NaN and no infinity compares as smaller.
        if type(value) not in (int, float) or not abs(value) < HIGHEST_NUMBER or not is_allowed(value):
            raise ValueError(words)
        return float(value)

    return check


def _true_or_false(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _one_of(*names: str) -> Rule:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return value

    return check


def _list_of(count: int, rule: Rule) -> Rule:
    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or len(value) != count:
            raise ValueError(f"a list of {count} values")
        try:
            return tuple(rule(item) for item in value)
        except ValueError as error:
            raise ValueError(f"a list of {count} values, each {error}") from error

    return check


def _folds(value: Any) -> tuple[int, ...]:
    words = "a list of different whole numbers from 0, or an empty one for all folds of the table"
    if not isinstance(value, (list, tuple)):
        raise ValueError(words)
    try:
        folds: tuple[int, ...] = _list_of(len(value), _whole(0))(value)
    except ValueError as error:
        raise ValueError(words) from error
    if len(set(folds)) < len(folds):
        raise ValueError(words)
    return folds


_ANY_NUMBER = _number("a number", lambda _: True)
_POSITIVE = _number("a number above 0", lambda value: value > 0)
_NOT_NEGATIVE = _number("a number of at least 0", lambda value: value >= 0)
_SHARE = _number("a number of at least 0 and below 1", lambda value: 0 <= value < 1)
_SHARE_OF_ALL = _number("a number above 0 and at most 1", lambda value: 0 < value <= 1)
_RULES: dict[str, Rule | dict[str, Rule]] = {
    "train_folds": _folds,
    "epochs": _whole(1),
    "batch_size": _whole(1),
    "learning_rate": _POSITIVE,
    "weight_decay": _NOT_NEGATIVE,
    "ema_decay": _SHARE,
    "second_reader": _true_or_false,
    "pretrained_trunk": _true_or_false,
    "trunk_rate": _SHARE_OF_ALL,
    "slice_share": _SHARE_OF_ALL,
    "inserted_share": _SHARE,
    "largest_stack": _whole(1),
    "empty_planes": _whole(0),
    "text_encoder": _one_of("minilm", "clip"),
    "conditioned_texts": _whole(-1),
    "text_interval": _whole(1),
    "background_patches": _whole(0),
    "validation_share": _SHARE,
    "seed": _whole(0),
    "patch": {
        "shape": _list_of(3, _whole(1)),
        "spacing_mm": _list_of(3, _POSITIVE),
        "window_hu": _list_of(2, _ANY_NUMBER),
    },
    "network": {
        "encoder": _one_of(*ENCODERS),
        "planes": _whole(1),
        "pixels": _whole(8),
        "groups": _whole(1),
        "text_dim": _whole(1),
        "dropout": _SHARE,
        "ordinal_rating": _true_or_false,
    },
    "losses": dict.fromkeys(LossWeights.__dataclass_fields__, _NOT_NEGATIVE),
}
_PARTS = {"patch": PatchSpec, "network": NetworkConfig, "losses": LossWeights}


def _checked(values: Any, rules: Mapping[str, Rule | dict[str, Rule]], prefix: str) -> dict[str, Any]:
    """The values after their rules; `prefix` is what the names of nested settings begin with."""
    if not isinstance(values, dict):
        raise ValueError(f"{prefix.rstrip('.') or 'it'} must hold settings by name")
    for word, names in (("unknown", set(values) - set(rules)), ("missing", set(rules) - set(values))):
        if names:
            raise ValueError(f"{word} settings: {', '.join(sorted(prefix + str(name) for name in names))}")
    found: dict[str, Any] = {}
    for name, rule in rules.items():
        if isinstance(rule, dict):
            found[name] = _PARTS[name](**_checked(values[name], rule, f"{prefix}{name}."))
            continue
        try:
            found[name] = rule(values[name])
        except ValueError as error:
            raise ValueError(f"{prefix}{name} must be {error}, not {values[name]!r}") from error
    return found


def _require_fit(config: TrainConfig) -> None:
    """What no setting shows alone."""
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
