"""The settings of the published method, read from a JSON file that lists every one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from CLIPLungLib.errors import InputError
from CLIPLungLib.reproduction import PUBLISHED_CONFIG
from CLIPLungLib.training.setting_rules import (
    ANY_NUMBER,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Rule,
    checked,
    list_of,
    read_json,
    whole,
)

COMMAND = "reproduce"
REMEDY = f"Start from {PUBLISHED_CONFIG.as_posix()}, which lists every setting."
WIDEST, CROP_VOXELS, MOST_WORDS = 512, 32, 16


@dataclass(frozen=True)
class PublishedSettings:
    """What the paper fixes.

    Attributes:
        crop_diameters: edge of the cube around a nodule, in diameters of that nodule.
        crop_voxels: voxels along each edge; the planes are the channels of the network's input.
        window_hu: HU mapped to 0 and 1; values beyond are clipped.
        width: channels of the first stage; 64 is ResNet-18.
        context_words: the words whose places the learned context tokens take; their number is T.
        tau: temperature at the start; it is learned.
        alpha: weight of L_IA.
        beta: weight of L_CA.
        epochs: passes over the nodules.
        batch_size: nodules per step.
        learning_rate: of the first epoch; it falls along a cosine.
        momentum: of SGD.
        weight_decay: of SGD.
        ema_decay: of the averaged weights, which are the ones evaluated.
        seed: of weights, order, augmentation and the split by nodule.
    """

    crop_diameters: float
    crop_voxels: int
    window_hu: tuple[float, float]
    width: int
    context_words: str
    tau: float
    alpha: float
    beta: float
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    ema_decay: float
    seed: int

    @property
    def context_tokens(self) -> int:
        """T: learned tokens, and groups of feature channels."""
        return len(self.context_words.split())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"command": COMMAND} | asdict(self) | {"window_hu": list(self.window_hu)}

    @classmethod
    def from_dict(cls, values: Any, source: str = "Settings of the published method") -> PublishedSettings:
        """Build from plain values.

        Args:
            values: every setting by name.
            source: names the settings in errors.

        Raises:
            InputError: unknown and missing names, values of another type or out of range.
        """
        try:
            return cls(**_checked(values))
        except ValueError as error:
            raise InputError(f"{source}: {error}. {REMEDY}") from error

    @classmethod
    def read(cls, file: Path) -> PublishedSettings:
        """Read a JSON file.

        Raises:
            InputError: the file cannot be read, or as in `from_dict`.
        """
        try:
            values = read_json(file)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"Settings {file} cannot be read: {error}. {REMEDY}") from error
        return cls.from_dict(values, f"Settings {file}")


def _window(value: Any) -> tuple[float, ...]:
    words = "two rising numbers"
    try:
        low, high = list_of(2, ANY_NUMBER)(value)
    except ValueError as error:
        raise ValueError(words) from error
    if not low < high:
        raise ValueError(words)
    return low, high


def _crop_voxels(value: Any) -> int:
    if type(value) is not int or value != CROP_VOXELS:
        raise ValueError(f"{CROP_VOXELS}, as the last feature map is 4 x 4")
    return value


def _words(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value.split()) <= MOST_WORDS:
        raise ValueError(f"one to {MOST_WORDS} words")
    return value


_RULES: dict[str, Rule] = {
    "crop_diameters": POSITIVE,
    "crop_voxels": _crop_voxels,
    "window_hu": _window,
    "width": whole(1, WIDEST),
    "context_words": _words,
    "tau": POSITIVE,
    "alpha": NOT_NEGATIVE,
    "beta": NOT_NEGATIVE,
    "epochs": whole(1),
    "batch_size": whole(1),
    "learning_rate": POSITIVE,
    "momentum": SHARE,
    "weight_decay": NOT_NEGATIVE,
    "ema_decay": SHARE,
    "seed": whole(0),
}


def _checked(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError("it must hold settings by name")
    if values.get("command") != COMMAND:
        raise ValueError(
            f"'command' must be '{COMMAND}', which distinguishes these settings from those of other commands"
        )
    return checked({name: value for name, value in values.items() if name != "command"}, _RULES)
