"""EfficientNet-Lite0 as a trunk that gives feature maps of several resolutions, with ImageNet weights if wanted.

Tan and Le, EfficientNet, ICML 2019; the Lite variants (2020) leave out squeeze-and-excitation and use ReLU6.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01


class Stage(NamedTuple):
    """Inverted residual blocks of one width.

    Attributes:
        kernel: of the depthwise convolutions.
        stride: of the first block.
        expansion: how much wider the blocks are inside.
        channels: of the output.
        blocks: how many.
    """

    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int


STEM_CHANNELS = 32
STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)
# The stages whose maps are given, of 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's size; and their channels.
GIVEN = (0, 1, 2, 4, 6)
# With the stem they see edges and spots; half of the time of a training step would go into them.
EARLY_STAGES = 2
WIDTHS = tuple(STAGES[index].channels for index in GIVEN)


class EfficientNetLite0(nn.Module):
    """The trunk without its classifier: 3.4 million weights.

    Args:
        last_stage: index into STAGES of the last one that is built.
    """

    def __init__(self, last_stage: int = len(STAGES) - 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(_normed(SameConv(3, STEM_CHANNELS, 3, 2)), nn.ReLU6())
        stages, width = [], STEM_CHANNELS
        for stage in STAGES[: last_stage + 1]:
            first = InvertedResidual(width, stage.channels, stage.kernel, stage.stride, stage.expansion)
            rest = (
                InvertedResidual(stage.channels, stage.channels, stage.kernel, 1, stage.expansion)
                for _ in range(stage.blocks - 1)
            )
            stages.append(nn.Sequential(first, *rest))
            width = stage.channels
        self.stages = nn.Sequential(*stages)
        self._frozen: list[nn.Module] = []

    def freeze_early(self) -> None:
        """Freeze the stem and the first EARLY_STAGES with their running statistics: edges look the same in any image."""
        self._frozen = [self.stem, *self.stages[:EARLY_STAGES]]
        for part in self._frozen:
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """As in any module, but frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, 3, H, W) about -1..1 -> maps (N, WIDTHS[i], H / 2^(i+1), W / 2^(i+1)), from fine to coarse."""
        x, given = self.stem(image), []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in GIVEN:
                given.append(x)
        return given


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; with a short cut where the shape stays (Sandler et al., CVPR 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        widen = [_normed(SameConv(inputs, width, 1)), nn.ReLU6()] if expansion > 1 else []
        filters = [_normed(SameConv(width, width, kernel, stride, groups=width)), nn.ReLU6()]
        self.layers = nn.Sequential(*widen, *filters, _normed(SameConv(width, outputs, 1)))
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.layers(x)
        return inner + x if self.has_shortcut else inner


class SameConv(nn.Conv2d):
    """A convolution padded as the ImageNet weights expect: odd padding has the extra row and column at the end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.groups > 1 and x.device.type == "cpu" and x.dtype == torch.bfloat16:
            # Filters of single channels are several times slower in half precision on processors.
            with torch.autocast("cpu", enabled=False):
                return self._convolved(x.float())
        return self._convolved(x)

    def _convolved(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        height, width = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:])
        if height == width and height % 2 == 0:
            return functional.conv2d(x, self.weight, None, stride, height // 2, 1, self.groups)
        padding = (width // 2, width - width // 2, height // 2, height - height // 2)
        return functional.conv2d(functional.pad(x, padding), self.weight, None, stride, 0, 1, self.groups)


def _normed(convolution: SameConv) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels, NORM_EPS, NORM_MOMENTUM))
