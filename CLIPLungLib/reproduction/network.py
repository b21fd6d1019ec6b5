"""The published network: ResNet-18 over the planes as channels, a linear head, and T features in the text space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from CLIPLungLib.errors import InputError
from CLIPLungLib.model.image_encoder import ChannelEncoder, FeatureMaps

# Of the last map, 4 x 4 for planes of 32 x 32.
CELLS = 16


class ChannelFeatures(nn.Module):
    """The paper's F_1 .. F_T: a 1x1 convolution, its channels split in T groups, each group laid out over the cells of the map.

    Every F_t has D numbers: D / 16 channels of 16 cells.
    """

    def __init__(self, channels: int, groups: int, dim: int) -> None:
        super().__init__()
        if dim % CELLS:
            raise InputError(
                f"A text feature has {dim} numbers, which the {CELLS} cells of the map do not divide. Use another text encoder."
            )
        self.groups = groups
        self.mix = nn.Conv2d(channels, groups * dim // CELLS, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, 4, 4) -> (B, T, D) unit vectors."""
        parts = torch.unflatten(self.mix(maps), 1, (self.groups, -1)).flatten(2)
        return functional.normalize(parts.float(), dim=-1)


class PublishedNetwork(nn.Module):
    """Class logits from the pooled map; features in the text space beside it, for training alone.

    Args:
        planes: of a crop.
        width: channels of the first stage.
        classes: number of answers.
        groups: T.
        text_dim: D; None without texts.
    """

    def __init__(self, planes: int, width: int, classes: int, groups: int, text_dim: int | None) -> None:
        super().__init__()
        self.encoder = ChannelEncoder(planes, width)
        self.head = nn.Linear(self.encoder.channels, classes)
        self.features = None if text_dim is None else ChannelFeatures(self.encoder.channels, groups, text_dim)

    def maps(self, crops: Tensor) -> Tensor:
        """(B, Z, Y, X) grey values 0..1 -> (B, C, 4, 4)."""
        exists = torch.ones(crops.shape[:2], dtype=torch.bool, device=crops.device)
        found: FeatureMaps = self.encoder(crops, exists)
        return found.maps

    def forward(self, crops: Tensor) -> Tensor:
        """(B, Z, Y, X) grey values 0..1 -> (B, K) logits: the only path at inference."""
        return self.logits(self.maps(crops))

    def logits(self, maps: Tensor) -> Tensor:
        """(B, C, 4, 4) -> (B, K)."""
        logits: Tensor = self.head(maps.mean(dim=(2, 3)))
        return logits.float()
