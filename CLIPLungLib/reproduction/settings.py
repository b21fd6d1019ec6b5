"""The settings of the published method, readable from a JSON file that lists every one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from CLIPLungLib.errors import InputError

COMMAND = "reproduce"
REMEDY = "Start from configs/published.json beside this program's training code, which lists every setting."
HIGHEST_NUMBER, WIDEST = 1e9, 512


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
        ema_decay: of the averaged weights, which are the ones judged.
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
            values = json.loads(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"Settings {file} cannot be read: {error}. {REMEDY}") from error
        return cls.from_dict(values, f"Settings {file}")


def _is_number(value: Any) -> bool:
    # No NaN and no infinity compares as smaller; a bool is an int to Python.
    return type(value) in (int, float) and abs(value) < HIGHEST_NUMBER


def _is_whole(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < HIGHEST_NUMBER


_ABOVE_0 = ("a number above 0", lambda value: _is_number(value) and value > 0)
_FROM_0 = ("a number of at least 0", lambda value: _is_number(value) and value >= 0)
_SHARE = ("a number of at least 0 and below 1", lambda value: _is_number(value) and 0 <= value < 1)
_FROM_1 = ("a whole number of at least 1", lambda value: _is_whole(value, 1))
_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "crop_diameters": _ABOVE_0,
    "crop_voxels": ("32, as the last feature map is 4 x 4", lambda value: _is_whole(value, 32) and value == 32),
    "window_hu": (
        "two rising numbers",
        lambda value: (
            isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1]
        ),
    ),
    "width": (f"a whole number of 1 to {WIDEST}", lambda value: _is_whole(value, 1) and value <= WIDEST),
    "context_words": ("one to 16 words", lambda value: isinstance(value, str) and 1 <= len(value.split()) <= 16),
    "tau": _ABOVE_0,
    "alpha": _FROM_0,
    "beta": _FROM_0,
    "epochs": _FROM_1,
    "batch_size": _FROM_1,
    "learning_rate": _ABOVE_0,
    "momentum": _SHARE,
    "weight_decay": _FROM_0,
    "ema_decay": _SHARE,
    "seed": ("a whole number of at least 0", lambda value: _is_whole(value, 0)),
}
_WHOLE = ("crop_voxels", "width", "epochs", "batch_size", "seed")


def _checked(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError("it must hold settings by name")
    if values.get("command") != COMMAND:
        raise ValueError(f"'command' must be '{COMMAND}', which tells these settings from those of other commands")
    own = {name: value for name, value in values.items() if name != "command"}
    for word, names in (("unknown", set(own) - set(_RULES)), ("missing", set(_RULES) - set(own))):
        if names:
            raise ValueError(f"{word} settings: {', '.join(sorted(map(str, names)))}")
    for name, (words, is_allowed) in _RULES.items():
        if not is_allowed(own[name]):
            raise ValueError(f"{name} must be {words}, not {own[name]!r}")
    return {name: _typed(name, value) for name, value in own.items()}


def _typed(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(float, value))
    return value if isinstance(value, str) or name in _WHOLE else float(value)
