"""Image encoders: from the planes of a patch to feature maps and one feature vector per nodule.

`SliceEncoder` and `EfficientNetEncoder` are ours: a 2-D network shared by all axial planes, pooled over the cells a learned gate holds
for nodule. They take any number of planes, so thick, thin and single slices are alike. `ChannelEncoder` is the published design
(ResNet-18, planes as channels).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from CLIPLungLib.model import efficientnet
from CLIPLungLib.model.efficientnet import EfficientNetLite0
from CLIPLungLib.model.encoder_names import CHANNEL, EFFICIENTNET, SLICE

STEM_WIDTH, OUTLINE_WIDTH, PYRAMID_WIDTH, PUBLISHED_PIXELS = 32, 32, 192, 32
# -150 and 350 HU on the patch's scale of -1000..400 HU.
SOFT_TISSUE = (850 / 1400, 1350 / 1400)
# -1000 and -300 HU.
LUNG = (0.0, 700 / 1400)
TRUNKS: dict[str, tuple[tuple[int, int, int], ...]] = {
    # (width, blocks, stride) per stage
    SLICE: ((32, 1, 1), (64, 2, 2), (128, 2, 2), (256, 1, 1)),
    CHANNEL: ((64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2)),
}
# Name of an encoder -> channels of the maps its answers are read from.
CHANNELS = {SLICE: TRUNKS[SLICE][-1][0], EFFICIENTNET: PYRAMID_WIDTH, CHANNEL: TRUNKS[CHANNEL][-1][0]}


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """The output of an encoder for B patches: N maps in all.

    Attributes:
        maps: (N, C, h, w) not negative; weighted by the gate where there is one.
        weight: (N, h, w) the gate in 0..1, or ones.
        patch_of_map: (N,) which of the B patches a map belongs to.
        plane_of_map: (N,) which plane of the patch it shows; -1 where it shows all of them.
        gate_logits: (N, h, w) how much each cell looks like nodule; None for the channel encoder.
        outline_logits: (N, H, W) how much each pixel looks like the nodule at the click; None for the channel encoder.
    """

    maps: Tensor
    weight: Tensor
    patch_of_map: Tensor
    plane_of_map: Tensor
    gate_logits: Tensor | None
    outline_logits: Tensor | None

    def pooled(self, patches: int) -> Tensor:
        """(patches, 2, C) weighted mean and maximum over all cells of a patch; neither depends on the number of planes."""
        channels = self.maps.shape[1]
        sums = self.maps.new_zeros(patches, channels).index_add(0, self.patch_of_map, self.maps.sum(dim=(2, 3)))
        weights = self.weight.new_zeros(patches).index_add(0, self.patch_of_map, self.weight.sum(dim=(1, 2)))
        mean = sums / (weights + 1e-3).unsqueeze(1)
        # The maps are not negative, so 0 is a neutral start for the maximum.
        index = self.patch_of_map.unsqueeze(1).expand(-1, channels)
        maximum = self.maps.new_zeros(patches, channels).scatter_reduce(0, index, self.maps.amax(dim=(2, 3)), "amax")
        return torch.stack([mean, maximum], dim=1)


def outline_probability(maps: FeatureMaps, patches: int, planes: int) -> Tensor:
    """(patches, planes, H, W) probability that a voxel lies inside the nodule; 0 in planes that do not exist."""
    logits = maps.outline_logits
    if logits is None:
        raise ValueError("these feature maps hold no outline: the channel encoder draws none")
    inside = logits.new_zeros(patches, planes, *logits.shape[1:])
    inside[maps.patch_of_map, maps.plane_of_map] = torch.sigmoid(logits)
    return inside


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


def residual_stages(width: int, stages: tuple[tuple[int, int, int], ...]) -> nn.Sequential:
    """One sequence of residual blocks per stage."""
    built = []
    for outputs, blocks, stride in stages:
        first = ResidualBlock(width, outputs, stride)
        built.append(nn.Sequential(first, *(ResidualBlock(outputs, outputs, 1) for _ in range(blocks - 1))))
        width = outputs
    return nn.Sequential(*built)


class OutlineDecoder(nn.Module):
    """Segmentation decoder: from the maps of the trunk to one logit per pixel of a plane (feature pyramid, Lin et al., CVPR 2017)."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, OUTLINE_WIDTH, 1) for width in widths)
        # No rectifier behind the last one: logits of rectified values alone can rest at the bias inside every nodule.
        self.smoothers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(OUTLINE_WIDTH, OUTLINE_WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(OUTLINE_WIDTH)
            )
            for _ in widths[1:]
        )
        pixels = nn.Conv2d(OUTLINE_WIDTH, 4, 1)
        # Nearly all pixels lie outside: to start there saves the first epochs.
        nn.init.constant_(pixels.bias, -3.0)  # type: ignore[arg-type] # it has one
        self.logits = nn.Sequential(pixels, nn.PixelShuffle(2))

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps from coarse to fine -> (N, H, W) logits at twice the size of the finest."""
        x = self.laterals[0](levels[0])
        for lateral, smoother, level in zip(self.laterals[1:], self.smoothers, levels[1:], strict=True):
            x = functional.interpolate(functional.relu(x), level.shape[2:], mode="bilinear", align_corners=False)
            x = smoother(x + lateral(level))
        logits: Tensor = self.logits(x)
        return logits.squeeze(1).float()


class GatedEncoder(nn.Module, ABC):
    """Shared 2-D encoder over the existing planes, pooled with the weights of a gate that finds the cells of the nodule.

    The gate is learned from the readers' outlines during training; at inference it needs none. Mean and maximum under the gate do not
    depend on how many planes there are, so the length of a stack gives nothing away. A decoder outlines the nodule pixel by pixel.
    """

    channels: int
    gate: nn.Conv2d
    gate_position: nn.Parameter
    outline: OutlineDecoder

    @abstractmethod
    def levels(self, planes: Tensor) -> list[Tensor]:
        """Planes (N, H, W) in 0..1 -> maps from coarse to fine; the heads read the first ones, which are not negative."""

    def forward(self, planes: Tensor, exists: Tensor) -> FeatureMaps:
        """Args: planes (B, Z, H, W) in 0..1; exists (B, Z) bool, at least one plane per patch."""
        patch_of_map, plane_of_map = exists.nonzero(as_tuple=True)
        levels = self.levels(planes[exists])
        maps = levels[0]  # (N, C, h, w)
        gate_logits = self.gate(maps).squeeze(1).float() + self.gate_position  # (N, h, w)
        gate = torch.sigmoid(gate_logits)
        outline_logits = self.outline(levels)
        if outline_logits.shape[1:] != planes.shape[2:]:
            outline_logits = _resized(outline_logits.unsqueeze(1), planes.shape[-1]).squeeze(1)
        return FeatureMaps(
            maps.float() * gate.unsqueeze(1), gate, patch_of_map, plane_of_map, gate_logits, outline_logits
        )


class SliceEncoder(GatedEncoder):
    """Eleven convolutions with shortcuts; maps of 1/8 of the plane's size."""

    def __init__(self, pixels: int = 64) -> None:
        super().__init__()
        stages = TRUNKS[SLICE]
        self.channels = stages[-1][0]
        self.stem = nn.Sequential(
            # Squares of 2 x 2 pixels become channels: half the size, and nothing of the fine detail lost.
            nn.PixelUnshuffle(2),
            nn.Conv2d(8, STEM_WIDTH, 3, 1, 1, bias=False),
            nn.BatchNorm2d(STEM_WIDTH),
            nn.ReLU(),
        )
        self.stages = residual_stages(STEM_WIDTH, stages)
        self.gate = nn.Conv2d(self.channels, 1, 1)
        # Where in the patch a nodule lies when the reader has clicked on it: learned, starts flat.
        self.gate_position = nn.Parameter(torch.zeros(pixels // 8, pixels // 8))
        self.outline = OutlineDecoder((self.channels, stages[1][0], stages[0][0]))

    def levels(self, planes: Tensor) -> list[Tensor]:
        """Maps of 1/8, 1/4 and 1/2 of the plane's size."""
        x = self.stem(with_soft_tissue(planes).contiguous(memory_format=torch.channels_last))
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return [found[3], found[1], found[0]]


class EfficientNetEncoder(GatedEncoder):
    """EfficientNet-Lite0 with a feature pyramid (Lin et al., CVPR 2017); maps of 1/8 of the input's size.

    Planes are enlarged by half, so that the trunk sees nodules about as large as the things of ImageNet.
    """

    def __init__(self, pixels: int = 64) -> None:
        super().__init__()
        self.seen_pixels = pixels * 3 // 2
        self.channels = PYRAMID_WIDTH
        self.trunk = EfficientNetLite0()
        _, fine, *coarse = efficientnet.WIDTHS
        self.laterals = nn.ModuleList(nn.Conv2d(width, PYRAMID_WIDTH, 1) for width in coarse)
        self.smoother = nn.Sequential(
            nn.Conv2d(PYRAMID_WIDTH, PYRAMID_WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(PYRAMID_WIDTH), nn.ReLU()
        )
        self.gate = nn.Conv2d(self.channels, 1, 1)
        cells = self.seen_pixels // 8
        self.gate_position = nn.Parameter(torch.zeros(cells, cells))
        self.outline = OutlineDecoder((self.channels, fine, efficientnet.WIDTHS[0]))

    def levels(self, planes: Tensor) -> list[Tensor]:
        """Maps of 1/8, 1/4 and 1/2 of the size the trunk sees."""
        image = 2 * _resized(with_windows(planes), self.seen_pixels) - 1
        half, quarter, *coarse = self.trunk(image.contiguous(memory_format=torch.channels_last))
        x = self.laterals[-1](coarse[-1])
        for lateral, level in zip(self.laterals[-2::-1], coarse[-2::-1], strict=True):
            x = functional.relu(_resized(x, level.shape[-1]) + lateral(level))
        return [self.smoother(x), quarter, half]


def _resized(maps: Tensor, pixels: int) -> Tensor:
    """(N, C, h, w) -> (N, C, pixels, pixels)."""
    return functional.interpolate(maps, (pixels, pixels), mode="bilinear", align_corners=False)


def with_windows(planes: Tensor) -> Tensor:
    """(N, H, W) grey values -> (N, 3, H, W): as they are, and stretched over the lung's and the soft tissue's part of the window."""
    stretched = [((planes - low) / (high - low)).clamp(0, 1) for low, high in (LUNG, SOFT_TISSUE)]
    return torch.stack([planes, *stretched], dim=1)


def with_soft_tissue(planes: Tensor) -> Tensor:
    """(N, H, W) grey values -> (N, 2, H, W): as they are, and stretched over the soft-tissue part of the window.

    Calcium, fat and part-solid texture differ by little on the wide window of the lung.
    """
    low, high = SOFT_TISSUE
    return torch.stack([planes, ((planes - low) / (high - low)).clamp(0, 1)], dim=1)


class ChannelEncoder(nn.Module):
    """The published encoder: ResNet-18 with a 3x3 stem and no max-pool, the planes of the patch as its input channels.

    As published it sees planes of 32 x 32 pixels, so larger ones are halved.

    Args:
        planes: of a patch.
        width: channels of the first stage; 64 as published.
    """

    def __init__(self, planes: int, width: int = TRUNKS[CHANNEL][0][0]) -> None:
        super().__init__()
        published = TRUNKS[CHANNEL]
        stages = tuple((outputs * width // published[0][0], blocks, stride) for outputs, blocks, stride in published)
        self.channels = stages[-1][0]
        self.trunk = nn.Sequential(
            nn.Conv2d(planes, stages[0][0], 3, 1, 1, bias=False),
            nn.BatchNorm2d(stages[0][0]),
            nn.ReLU(),
            *residual_stages(stages[0][0], stages),
        )

    def forward(self, planes: Tensor, exists: Tensor) -> FeatureMaps:
        """Args: planes (B, Z, H, W) in 0..1; exists (B, Z) bool. Absent planes take the values of the nearest existing one."""
        patches = torch.arange(len(planes), device=planes.device)
        filled = planes[patches.unsqueeze(1), nearest_existing(exists)]
        if filled.shape[-1] > PUBLISHED_PIXELS:
            filled = functional.avg_pool2d(filled, filled.shape[-1] // PUBLISHED_PIXELS)
        maps = self.trunk(filled).float()  # (B, C, h, w)
        return FeatureMaps(maps, torch.ones_like(maps[:, 0]), patches, torch.full_like(patches, -1), None, None)


def nearest_existing(exists: Tensor) -> Tensor:
    """(B, Z) index of the nearest existing plane for every plane; exists (B, Z) bool."""
    positions = torch.arange(exists.shape[1], device=exists.device)
    distance = (positions[:, None] - positions[None, :]).abs().expand(len(exists), -1, -1)  # (B, Z, Z)
    return distance.masked_fill(~exists.unsqueeze(1), exists.shape[1]).argmin(dim=2)
