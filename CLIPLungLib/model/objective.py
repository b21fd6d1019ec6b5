"""What training minimises: CLIP-Lung's four losses and the supervised measuring terms, over one batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from CLIPLungLib.model.losses import class_attribute_loss, image_attribute_loss, image_class_loss
from CLIPLungLib.model.network import NetworkOutput
from CLIPLungLib.model.prompts import ConditionalPrompts, PromptedTexts, TextBank, attribute_of_level
from CLIPLungLib.model.text_encoder import TextEncoder

INITIAL_TAU = 0.07
SMALLEST_TAU = 0.01
MEAN_MOMENTUM = 0.99


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term in the sum; 0 leaves the term out. The paper's are 1, 1, alpha = 1, beta = 0.5 for the first four."""

    class_: float = 1.0
    image_class: float = 1.0
    image_attribute: float = 1.0
    class_attribute: float = 0.5
    rating: float = 0.0
    diameter: float = 0.0
    gate: float = 0.0


@dataclass(frozen=True, eq=False)
class Targets:
    """What the readers said of B nodules.

    Attributes:
        label: (B,) class index of the mean malignancy.
        rating: (B,) mean malignancy rating.
        level_weight: (B, M) share of readers per attribute level, divided by the number of attributes: sum 1.
        log_diameter: (B,) natural logarithm of mm.
        sample_weight: (B,) trust in the sample, mean about 1.
        gate: (B, Z, h, w) share of each cell inside the readers' outline.
    """

    label: Tensor
    rating: Tensor
    level_weight: Tensor
    log_diameter: Tensor
    sample_weight: Tensor
    gate: Tensor


class CLIPLungObjective(nn.Module):
    """The text side of training and the weighted sum of losses.

    Texts conditioned on every image of a batch are what the paper asks for and cost most of its training time. `conditioned` images per
    batch get texts of their own; all others use those of the running mean image, which are also the ones the checkpoint keeps.

    Args:
        text_encoder: frozen.
        groups: channel groups T.
        weights: of the terms.
        conditioned: images per batch with texts of their own; -1 for all.
    """

    def __init__(self, text_encoder: TextEncoder, groups: int, weights: LossWeights, conditioned: int) -> None:
        super().__init__()
        self.weights = weights
        self.conditioned = conditioned
        self.texts = PromptedTexts(text_encoder)
        self.prompts = ConditionalPrompts(groups, text_encoder.dim, text_encoder.width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / INITIAL_TAU)))
        self.register_buffer("mean_image", torch.zeros(groups, text_encoder.dim))
        self.register_buffer("attribute_of_level", attribute_of_level(), persistent=False)

    @property
    def scale(self) -> Tensor:
        """1 / tau, never above 1 / SMALLEST_TAU."""
        return self.log_scale.exp().clamp(max=1 / SMALLEST_TAU)

    def forward(self, output: NetworkOutput, targets: Targets) -> dict[str, Tensor]:
        """Named terms, each the weighted mean over the batch, and their weighted sum under "total"."""
        terms = {
            "class_": functional.cross_entropy(output.class_logits, targets.label, reduction="none"),
            "rating": functional.smooth_l1_loss(output.rating, targets.rating, reduction="none"),
            "diameter": functional.smooth_l1_loss(output.log_diameter, targets.log_diameter, reduction="none"),
        }
        if self.weights.gate and output.maps.gate_logits is not None:
            terms["gate"] = gate_loss(output, targets.gate)
        if self.weights.image_class or self.weights.image_attribute or self.weights.class_attribute:
            terms |= self._contrastive_terms(output.image_features, targets)
        means = {name: (value * targets.sample_weight).mean() for name, value in terms.items()}
        total = torch.stack([getattr(self.weights, name) * value for name, value in means.items()]).sum()
        return means | {"total": total}

    def _contrastive_terms(self, image: Tensor, targets: Targets) -> dict[str, Tensor]:
        bank = self._texts_for(image)
        groups, attributes = image.shape[1], self.attribute_of_level
        return {
            # Sums over the T groups as in the paper; divided by T so that weights do not depend on it.
            "image_class": image_class_loss(image, bank.classes, targets.label, self.scale) / groups,
            "image_attribute": image_attribute_loss(image, bank.levels, targets.level_weight, attributes, self.scale)
            / groups,
            "class_attribute": class_attribute_loss(
                bank.classes, bank.levels, targets.label, targets.level_weight, attributes, self.scale
            ),
        }

    def _texts_for(self, image: Tensor) -> TextBank:
        """Texts (B, ...) as each image of the batch (B, T, D) sees them."""
        if self.training:
            self._update_mean(image)
        batch = len(image)
        conditioned = batch if self.conditioned < 0 else min(self.conditioned, batch)
        conditions = torch.cat([image[:conditioned], self.mean_image.unsqueeze(0)])
        bank = self.texts(self.prompts(conditions))
        own = torch.arange(batch, device=image.device).clamp(max=conditioned)
        return TextBank(bank.classes[own], bank.levels[own])

    @torch.no_grad()
    def _update_mean(self, image: Tensor) -> None:
        batch_mean = image.detach().float().mean(dim=0)
        if not self.mean_image.any():
            self.mean_image.copy_(batch_mean)
        self.mean_image.lerp_(batch_mean, 1 - MEAN_MOMENTUM)

    @torch.no_grad()
    def text_bank(self) -> TextBank:
        """The texts as the mean image sees them: classes (K, D), levels (M, D). This is what a checkpoint keeps."""
        bank = self.texts(self.prompts(self.mean_image.unsqueeze(0)))
        return TextBank(bank.classes[0], bank.levels[0])


def gate_loss(output: NetworkOutput, gate: Tensor) -> Tensor:
    """(B,) binary cross entropy between the gate and the readers' outline (B, Z, h, w), mean over the existing planes."""
    maps = output.maps
    wanted = gate[maps.patch_of_map, maps.plane_of_map]  # (N, h, w)
    per_map = functional.binary_cross_entropy_with_logits(maps.gate_logits, wanted, reduction="none").mean(dim=(1, 2))
    sums = per_map.new_zeros(len(gate)).index_add(0, maps.patch_of_map, per_map)
    counts = per_map.new_zeros(len(gate)).index_add(0, maps.patch_of_map, torch.ones_like(per_map))
    return sums / counts
