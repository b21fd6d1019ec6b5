"""The part of CLIP-Lung that runs at inference: image encoder, heads, and the projection into the text space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from CLIPLungLib.model.encoder_names import CHANNEL, ENCODERS, SLICE
from CLIPLungLib.model.image_encoder import (
    ChannelEncoder,
    EfficientNetEncoder,
    FeatureMaps,
    GatedEncoder,
    SliceEncoder,
)
from CLIPLungLib.vocabulary import CLASSES


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network.

    Attributes:
        encoder: "slice", "efficientnet" (ours) or "channel" (the published ResNet-18).
        planes: planes of a patch.
        pixels: rows and columns of a plane.
        groups: channel groups T, each with its own feature in the text space.
        text_dim: dimension D of the text features.
        dropout: on the pooled feature.
    """

    encoder: str = SLICE
    planes: int = 25
    pixels: int = 64
    groups: int = 4
    text_dim: int = 384
    dropout: float = 0.3

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, not '{self.encoder}'")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Build from plain values; unknown names are refused."""
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown network settings: {sorted(unknown)}")
        return cls(**values)


@dataclass(frozen=True, eq=False)
class NetworkOutput:
    """What the network says of B patches.

    Attributes:
        maps: of the image encoder.
        class_logits: (B, 3) of CLASSES.
        rating: (B,) estimated mean malignancy rating (about 1..5).
        log_diameter: (B,) natural logarithm of the diameter in mm.
        image_features: (B, T, D) unit vectors in the text space, one per channel group.
        pooled: (B, 2 C) the feature all of these are read from.
    """

    maps: FeatureMaps
    class_logits: Tensor
    rating: Tensor
    log_diameter: Tensor
    image_features: Tensor
    pooled: Tensor

    @property
    def malignancy_score(self) -> Tensor:
        """(B,) one uncalibrated number that rises with the readers' malignancy rating: half the rating, half the expected class; calibration maps it to probabilities."""
        positions = torch.linspace(-1.0, 1.0, self.class_logits.shape[1], device=self.class_logits.device)
        expected_class = (functional.softmax(self.class_logits.float(), dim=1) * positions).sum(dim=1)
        return (self.rating.float() - 3.0) / 2 + expected_class


class ChannelGroupProjection(nn.Module):
    """Splits the channels in T groups and maps each to the text space (the paper's F_t)."""

    def __init__(self, channels: int, groups: int, text_dim: int) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"{channels} channels cannot be split into {groups} equal groups")
        self.groups = groups
        width = 2 * channels // groups
        self.weight = nn.Parameter(torch.randn(groups, width, text_dim) * width**-0.5)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, 2, C) -> (B, T, D) unit vectors."""
        parts = torch.unflatten(pooled, 2, (self.groups, -1)).transpose(1, 2).flatten(2)  # (B, T, 2C/T)
        return functional.normalize(torch.einsum("btw,twd->btd", parts, self.weight), dim=-1)


def _image_encoder(config: NetworkConfig) -> GatedEncoder | ChannelEncoder:
    if config.encoder == CHANNEL:
        return ChannelEncoder(config.planes)
    return SliceEncoder(config.pixels) if config.encoder == SLICE else EfficientNetEncoder(config.pixels)


class CLIPLungNetwork(nn.Module):
    """Image encoder, classification and measuring heads, and projection. The text side is a bank of vectors beside it."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _image_encoder(config)
        width = 2 * self.encoder.channels
        self.dropout = nn.Dropout(config.dropout)
        self.class_head = nn.Linear(width, len(CLASSES))
        self.rating_head = nn.Linear(width, 1)
        self.diameter_head = nn.Linear(width, 1)
        self.projection = ChannelGroupProjection(self.encoder.channels, config.groups, config.text_dim)
        # A head that no loss trains says the same of every nodule.
        for head, start in ((self.rating_head, 3.0), (self.diameter_head, 2.0)):
            nn.init.zeros_(head.weight)
            nn.init.constant_(head.bias, start)

    def forward(self, planes: Tensor, exists: Tensor) -> NetworkOutput:
        """Args: planes (B, Z, H, W) grey values 0..1; exists (B, Z) bool."""
        return self.read(self.encoder(planes, exists), len(planes))

    def read(self, maps: FeatureMaps, patches: int) -> NetworkOutput:
        """The answer for the feature maps of so many patches; Grad-CAM differentiates this part alone."""
        pooled = maps.pooled(patches)  # (B, 2, C)
        flat = self.dropout(pooled.flatten(1))
        return NetworkOutput(
            maps,
            self.class_head(flat),
            self.rating_head(flat).squeeze(1),
            self.diameter_head(flat).squeeze(1),
            self.projection(pooled),
            pooled.flatten(1),
        )
