"""Relevance maps of the second reader in its plane; they add up to its estimate.

Integrated gradients (Sundararajan et al., ICML 2017) share the estimate's distance from that of the average nodule among the features.
A feature is a weighted average over the cells of a map, so its share is laid on these cells.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from CLIPLungLib.model.second_reader import (
    FEATURES,
    KERNEL_SCALE,
    VIEWS_MM,
    SecondReader,
    averages,
    kernel,
    weights_of_cells,
)

STEPS = 16


def estimate_with_relevance(reader: SecondReader, plane: Tensor, pixel_mm: float, output: int) -> tuple[Tensor, Tensor]:
    """All estimates, and the relevance map of one of them.

    Args:
        reader: the second reader.
        plane: (B, H, W) grey values 0..1.
        pixel_mm: size of a pixel.
        output: index of the explained one of SECOND_OUTPUTS.

    Returns:
        (B, O) estimates, and (B, H, W) relevance of either sign, whose sum over a plane that holds the views is how far the estimate
        lies from that of the average training nodule.
    """
    maps = reader.features.maps(plane, pixel_mm)
    features = averages(maps)
    slopes = _mean_slopes(reader, reader.standardised(features), output) / reader.deviation
    slopes, mean = slopes.view(len(plane), len(VIEWS_MM), -1), reader.mean.view(len(VIEWS_MM), -1)
    relevance, first = torch.zeros_like(plane), 0
    for own in maps:
        weights = weights_of_cells(own)  # (V, S, h, w)
        shape = (weights.shape[1], own.shape[2])  # (S, C)
        part = slice(first, first + shape[0] * shape[1])
        first = part.stop
        slope = torch.unflatten(slopes[..., part], 2, shape)  # (B, V, S, C)
        usual = torch.einsum("bvsc,vsc->bvs", slope, torch.unflatten(mean[:, part], 1, shape))
        above_usual = torch.einsum("bvsc,vbchw->bvshw", slope, own) - usual[..., None, None]
        cells = (above_usual * weights).sum(dim=2)
        for view, width_mm in enumerate(VIEWS_MM):
            relevance += _on_plane(cells[:, view], width_mm / pixel_mm, plane)
    return reader.estimate(features), relevance


def _mean_slopes(reader: SecondReader, x: Tensor, output: int) -> Tensor:
    """(B, FEATURES) mean gradient of the estimate along the straight line from the average nodule to the standardised features x."""
    places = (torch.arange(STEPS, device=x.device) + 0.5) / STEPS
    way = (places[:, None, None] * x).flatten(0, 1)
    pull = kernel(way, reader.centres) * reader.coefficients[:, output]
    slopes = pull @ reader.centres - pull.sum(dim=1, keepdim=True) * way
    return 2 * KERNEL_SCALE / FEATURES * slopes.view(STEPS, len(x), FEATURES).mean(dim=0)


def _on_plane(cells: Tensor, view_pixels: float, plane: Tensor) -> Tensor:
    """(B, H, W) the values of a view's cells (B, h, w) spread over the pixels that they cover; sums are unchanged."""
    batch, height, width = plane.shape
    matrix = plane.new_zeros(batch, 2, 3)
    matrix[:, 0, 0], matrix[:, 1, 1] = width / view_pixels, height / view_pixels
    grid = functional.affine_grid(matrix, [batch, 1, height, width], align_corners=False)
    spread = functional.grid_sample(cells.unsqueeze(1), grid, padding_mode="zeros", align_corners=False)
    return spread.squeeze(1) * (cells.shape[-1] / view_pixels) ** 2
