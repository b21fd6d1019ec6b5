"""The second reader: kernel ridge regression on ImageNet features of the middle plane of a nodule.

The trunk (EfficientNet-Lite0 as far as 1/16 of the image's size) stays as its photographs made it. Its maps are averaged around the
click with three widths, in a wide and a narrow view. The regression is solved in closed form (Saunders et al., ICML 1998) over a
subset of the training nodules as centres (Nystroem; Williams and Seeger, NIPS 2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from CLIPLungLib.model.efficientnet import STAGES, EfficientNetLite0
from CLIPLungLib.model.image_encoder import with_windows
from CLIPLungLib.model.second_outputs import SECOND_OUTPUTS

# The stages whose maps are averaged: of 1/4, 1/8 and 1/16 of the image's size.
READ_STAGES = (1, 2, 4)
# The trunk sees a square of each of these widths in so many pixels.
VIEWS_MM, VIEW_PIXELS = (42.0, 24.0), 96
# Standard deviations of the weights around the click: its very middle, the nodule, and its surroundings.
SPREADS_MM = (1.5, 3.0, 10.0)
FEATURES = len(VIEWS_MM) * len(SPREADS_MM) * sum(STAGES[stage].channels for stage in READ_STAGES)
# Of the Gaussian kernel exp(-KERNEL_SCALE * |x - y|^2 / FEATURES) between standardised features.
KERNEL_SCALE = 0.6


@dataclass(frozen=True, eq=False)
class Moves:
    """Augmentation of B views: rotation, flip and shift of each.

    Attributes:
        turn: (B,) radians.
        flip: (B,) 1 or -1.
        shift_mm: (B, 2) along rows and columns.
    """

    turn: Tensor
    flip: Tensor
    shift_mm: Tensor


class FrozenFeatures(nn.Module):
    """The features of a plane, by a frozen ImageNet trunk; nothing in it is trained on nodules."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0(READ_STAGES[-1])

    def forward(self, plane: Tensor, pixel_mm: float, moves: Moves | None = None) -> Tensor:
        """(B, FEATURES) of planes (B, H, W) of grey values 0..1 around the click, augmented where moves are given."""
        return averages(self.maps(plane, pixel_mm, moves))

    def maps(self, plane: Tensor, pixel_mm: float, moves: Moves | None = None) -> list[Tensor]:
        """Maps (V, B, C, h, w) of every stage used, for V fields of view."""
        views = [_image(plane, width_mm / pixel_mm, pixel_mm, moves) for width_mm in VIEWS_MM]
        # All views at once: one small plane alone would leave the processor waiting.
        x, found = self.trunk.stem(torch.cat(views)), []
        for index, stage in enumerate(self.trunk.stages):
            x = stage(x)
            if index in READ_STAGES:
                found.append(torch.unflatten(x, 0, (len(VIEWS_MM), len(plane))))
        return found


class SecondReader(nn.Module):
    """Estimates of SECOND_OUTPUTS from the middle plane.

    Args:
        centres: how many training nodules the regression keeps.
    """

    mean: Tensor
    deviation: Tensor
    centres: Tensor
    coefficients: Tensor
    offset: Tensor
    is_told: Tensor

    def __init__(self, centres: int) -> None:
        super().__init__()
        self.features = FrozenFeatures()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("deviation", torch.ones(FEATURES))
        self.register_buffer("centres", torch.zeros(centres, FEATURES))
        self.register_buffer("coefficients", torch.zeros(centres, len(SECOND_OUTPUTS)))
        self.register_buffer("offset", torch.zeros(len(SECOND_OUTPUTS)))
        # 1 for outputs for which training nodules had labels.
        self.register_buffer("is_told", torch.zeros(len(SECOND_OUTPUTS)))
        self.eval().requires_grad_(False)

    def forward(self, planes: Tensor, exists: Tensor, pixel_mm: float) -> Tensor:
        """(B, O) estimates of SECOND_OUTPUTS; NaN where no training nodule had a label.

        Args:
            planes: (B, Z, H, W) grey values 0..1.
            exists: (B, Z) bool.
            pixel_mm: size of a pixel.
        """
        return self.estimate(self.features(middle_planes(planes, exists), pixel_mm))

    def estimate(self, features: Tensor) -> Tensor:
        """(B, O) of features (B, FEATURES)."""
        found = kernel(self.standardised(features), self.centres) @ self.coefficients + self.offset
        return torch.where(self.is_told > 0, found, torch.nan)

    def standardised(self, features: Tensor) -> Tensor:
        """(B, FEATURES) standardised: mean 0 and standard deviation 1 over the training nodules."""
        return (features - self.mean) / self.deviation


def middle_plane(exists: Tensor) -> Tensor:
    """(B,) index of the existing plane that is nearest to the middle; exists (B, Z) bool."""
    places = torch.arange(exists.shape[1], device=exists.device)
    distance = (places - exists.shape[1] // 2).abs().expand(len(exists), -1)
    return distance.masked_fill(~exists, exists.shape[1]).argmin(dim=1)


def middle_planes(planes: Tensor, exists: Tensor) -> Tensor:
    """(B, H, W) the middle ones of planes (B, Z, H, W)."""
    return planes[torch.arange(len(planes), device=planes.device), middle_plane(exists)]


def kernel(features: Tensor, centres: Tensor) -> Tensor:
    """(B, M) similarity in 0..1 of standardised features (B, F) to centres (M, F)."""
    return torch.exp(-KERNEL_SCALE / features.shape[1] * torch.cdist(features, centres).square())


def _image(plane: Tensor, view_pixels: float, pixel_mm: float, moves: Moves | None) -> Tensor:
    """(B, 3, VIEW_PIXELS, VIEW_PIXELS) of about -1..1: a square of so many pixels of the plane around its middle."""
    batch, size = len(plane), torch.tensor([plane.shape[2], plane.shape[1]], device=plane.device)
    turn = plane.new_zeros(batch) if moves is None else moves.turn
    flip = plane.new_ones(batch) if moves is None else moves.flip
    shift = plane.new_zeros(batch, 2) if moves is None else 2 * moves.shift_mm / (pixel_mm * size)
    scale = view_pixels / size
    rows = torch.stack([flip * turn.cos() * scale[0], -turn.sin() * scale[0], shift[:, 0]], dim=1)
    columns = torch.stack([flip * turn.sin() * scale[1], turn.cos() * scale[1], shift[:, 1]], dim=1)
    shape = [batch, 1, VIEW_PIXELS, VIEW_PIXELS]
    grid = functional.affine_grid(torch.stack([rows, columns], dim=1), shape, align_corners=False)
    seen = functional.grid_sample(plane.unsqueeze(1), grid, padding_mode="border", align_corners=False)
    return (2 * with_windows(seen.squeeze(1)) - 1).contiguous(memory_format=torch.channels_last)


def averages(maps: list[Tensor]) -> Tensor:
    """(B, FEATURES) of maps (V, B, C, h, w) per stage: by view, stage, width of the weights, and channel."""
    of_stages = [torch.einsum("vbchw,vshw->bvsc", own, weights_of_cells(own)).flatten(2) for own in maps]
    return torch.cat(of_stages, dim=2).flatten(1).float()


def weights_of_cells(maps: Tensor) -> Tensor:
    """(V, S, h, w) by which maps (V, B, C, h, w) are averaged."""
    return torch.stack([_around_middle(maps.shape[-1], width_mm) for width_mm in VIEWS_MM]).to(maps)


def _around_middle(cells: int, width_mm: float) -> Tensor:
    """(S, cells, cells) weights of sum 1: Gaussians of SPREADS_MM around the middle of a view."""
    middles_mm = (torch.arange(cells) + 0.5) * (width_mm / cells) - width_mm / 2
    squared = middles_mm[:, None] ** 2 + middles_mm[None, :] ** 2
    weights = torch.exp(-squared / (2 * torch.tensor(SPREADS_MM)[:, None, None] ** 2))
    return weights / weights.sum(dim=(1, 2), keepdim=True)
