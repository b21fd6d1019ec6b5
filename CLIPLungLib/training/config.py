"""Everything that decides a training run, readable from a JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.model.network import NetworkConfig
from CLIPLungLib.training.objective import LossWeights


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run.

    Attributes:
        train_folds: patient folds to learn from.
        epochs: passes over the nodules.
        batch_size: nodules per step.
        learning_rate: highest of the one-cycle schedule (AdamW).
        weight_decay: of AdamW.
        ema_decay: of the averaged weights, which are the ones evaluated and kept.
        largest_stack: planes of a nodule per step at most.
        empty_planes: nodule-free planes of other scans added per nodule at most, so that the gate learns to pass over them.
        text_encoder: "minilm" or "clip".
        conditioned_texts: images per batch with texts of their own; -1 for all, as in the paper.
        text_interval: steps from one encoding of the texts to the next.
        background_patches: patches without a nodule per step, to learn what is none.
        validation_share: share of the training patients kept apart to choose the epoch; 0 keeps the last epoch.
        seed: of weights, order and augmentation.
    """

    train_folds: tuple[int, ...] = (0, 1, 2, 3)
    epochs: int = 60
    batch_size: int = 48
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    ema_decay: float = 0.998
    largest_stack: int = 6
    empty_planes: int = 3
    text_encoder: str = "minilm"
    conditioned_texts: int = 1
    text_interval: int = 8
    background_patches: int = 4
    validation_share: float = 0.1
    seed: int = 0
    patch: PatchSpec = field(default_factory=PatchSpec)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    losses: LossWeights = field(default_factory=LossWeights)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Build from plain values; unknown names are refused."""
        parts = {"patch": PatchSpec, "network": NetworkConfig, "losses": LossWeights}
        try:
            built = {name: parts[name](**_tuples(value)) if name in parts else value for name, value in values.items()}
            return cls(**_tuples(built))
        except TypeError as error:
            raise InputError(f"Training configuration: {error}.") from error

    @classmethod
    def read(cls, file: Path) -> TrainConfig:
        """Read a JSON file."""
        try:
            return cls.from_dict(json.loads(Path(file).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InputError(f"Training configuration {file} cannot be read: {error}.") from error


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
