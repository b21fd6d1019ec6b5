"""The part of CLIP-Lung that runs at inference: image encoder, heads, and projection into the text space."""

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

# Between the votes 1 and 2, 2 and 3, 3 and 4, 4 and 5.
VOTE_CUTS = 4


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
        ordinal_rating: whether the rating is read from the probabilities that a reader's vote exceeds 1, 2, 3 and 4, not from one number.
    """

    encoder: str = SLICE
    planes: int = 25
    pixels: int = 64
    groups: int = 4
    text_dim: int = 384
    dropout: float = 0.3
    ordinal_rating: bool = False

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
    """Outputs of the network for B patches.

    Attributes:
        maps: of the image encoder.
        class_logits: (B, 3) of CLASSES.
        rating: (B,) estimated mean malignancy rating (about 1..5).
        vote_logits: (B, 4) of a reader's vote exceeding 1, 2, 3 and 4; None where the rating is one number.
        log_diameter: (B,) natural logarithm of the diameter in mm.
        image_features: (B, T, D) unit vectors in the text space, one per channel group.
        pooled: (B, 2 C) the feature all of these are read from.
    """

    maps: FeatureMaps
    class_logits: Tensor
    rating: Tensor
    vote_logits: Tensor | None
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
    """Splits the channels into T groups and maps each to the text space (the paper's F_t)."""

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
    """Image encoder, heads for class, rating and diameter, and projection. The text features are kept beside it, see `TextBank`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _image_encoder(config)
        width = 2 * self.encoder.channels
        self.dropout = nn.Dropout(config.dropout)
        self.class_head = nn.Linear(width, len(CLASSES))
        self.rating_head = nn.Linear(width, VOTE_CUTS if config.ordinal_rating else 1)
        self.diameter_head = nn.Linear(width, 1)
        self.projection = ChannelGroupProjection(self.encoder.channels, config.groups, config.text_dim)
        # A head that no loss trains says the same of every nodule.
        for head, start in ((self.rating_head, 0.0 if config.ordinal_rating else 3.0), (self.diameter_head, 2.0)):
            nn.init.zeros_(head.weight)
            nn.init.constant_(head.bias, start)

    def forward(self, planes: Tensor, exists: Tensor) -> NetworkOutput:
        """Args: planes (B, Z, H, W) grey values 0..1; exists (B, Z) bool."""
        return self.read(self.encoder(planes, exists), len(planes))

    def read(self, maps: FeatureMaps, patches: int) -> NetworkOutput:
        """The outputs for the feature maps of so many patches; Grad-CAM differentiates this part only."""
        pooled = maps.pooled(patches)  # (B, 2, C)
        flat = self.dropout(pooled.flatten(1))
        votes = self.rating_head(flat)
        rating = 1 + torch.sigmoid(votes.float()).sum(dim=1) if self.config.ordinal_rating else votes.squeeze(1)
        return NetworkOutput(
            maps,
            self.class_head(flat),
            rating,
            votes if self.config.ordinal_rating else None,
            self.diameter_head(flat).squeeze(1),
            self.projection(pooled),
            pooled.flatten(1),
        )
