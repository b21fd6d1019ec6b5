"""Volumetric Grad-CAM (Selvaraju et al., ICCV 2017): where in the patch the network found what makes it suspicious.

Grad-CAM as published compares with a network that sees nothing. Ours rates nothing at all as more suspicious than most nodules, so
that a nodule a reader doubts had an empty map; compared with the average nodule instead, the map shows what sets this one apart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from CLIPLungLib.model.image_encoder import FeatureMaps
from CLIPLungLib.model.network import CLIPLungNetwork, NetworkOutput

if TYPE_CHECKING:
    from CLIPLungLib.inference.explain_targets import Target


def answer_with_grad_cam(
    network: CLIPLungNetwork,
    planes: Tensor,
    exists: Tensor,
    reference: Tensor | None = None,
    target: Target | None = None,
) -> tuple[NetworkOutput, Tensor]:
    """The network's answer and its heat maps in one pass; gradients stop at the last maps, so the maps cost almost nothing.

    Args:
        network: in evaluation mode; its parameters may be frozen and are left as they are.
        planes: (B, Z, H, W) grey values.
        exists: (B, Z) bool.
        reference: (C,) what a cell of the average nodule holds, per unit of the gate; nothing when not given.
        target: what the maps explain, see `explain_targets`; malignancy_score when not given.

    Returns:
        The answer, and (B, Z, H, W) heat maps in 0..1: 1 is the patch's strongest relevance, be it for the target or against it.
    """
    with torch.no_grad():
        maps = network.encoder(planes, exists)
    with torch.enable_grad():
        leaf = replace(maps, maps=maps.maps.detach().requires_grad_(True))
        output = network.read(leaf, len(planes))
        explained = output.malignancy_score if target is None else target(output)
        (gradient,) = torch.autograd.grad(explained.sum(), leaf.maps)
    relevance = _relevance(maps, gradient, len(planes), reference)
    return output, heat_of_relevance(relevance, maps, exists, planes.shape)


def _relevance(maps: FeatureMaps, gradient: Tensor, patches: int, reference: Tensor | None) -> Tensor:
    """(N, h, w) = sum_c alpha_c (A_c - gate reference_c), alpha being the mean gradient of a channel over all cells of the patch."""
    cells = gradient.shape[2] * gradient.shape[3]
    sums = gradient.new_zeros(patches, gradient.shape[1]).index_add(0, maps.patch_of_map, gradient.sum(dim=(2, 3)))
    counts = torch.bincount(maps.patch_of_map, minlength=patches).unsqueeze(1) * cells
    alpha = (sums / counts)[maps.patch_of_map]  # (N, C)
    relevance = (alpha[:, :, None, None] * maps.maps).sum(dim=1)
    if reference is not None:
        # Under the gate, as the maps are: where there is no nodule, there is nothing to compare.
        relevance = relevance - maps.weight * (alpha @ reference.to(alpha))[:, None, None]
    return relevance


def heat_of_relevance(relevance: Tensor, maps: FeatureMaps, exists: Tensor, shape: torch.Size) -> Tensor:
    """What speaks for the target (Grad-CAM's ReLU), in units of the patch's strongest relevance of either sign.

    Scaled by its own maximum alone, the map of a harmless nodule would be noise blown up to full brightness.
    """
    speaks_for = _on_patch_grid(functional.relu(relevance), maps, exists, shape)
    speaks_against = _on_patch_grid(functional.relu(-relevance), maps, exists, shape)
    strongest = torch.maximum(speaks_for, speaks_against).amax(dim=(1, 2, 3), keepdim=True)
    return speaks_for / strongest.clamp(min=torch.finfo(strongest.dtype).tiny)


def _on_patch_grid(relevance: Tensor, maps: FeatureMaps, exists: Tensor, shape: torch.Size) -> Tensor:
    """Spread (N, h, w) over the patch (B, Z, H, W); absent planes stay 0."""
    # Bicubic, as bilinear shows the coarse cells as diamonds; it can undershoot 0.
    fine = functional.interpolate(relevance.unsqueeze(1), shape[2:], mode="bicubic", align_corners=False)
    fine = fine.squeeze(1).clamp(min=0)
    grid = relevance.new_zeros(shape)
    if (maps.plane_of_map < 0).all():
        grid[:] = fine.unsqueeze(1)
    else:
        grid[maps.patch_of_map, maps.plane_of_map] = fine
    return grid * exists[:, :, None, None]
