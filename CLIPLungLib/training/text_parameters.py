"""The text part of a training state: learned prompts, or the fixed texts of a checkpoint."""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn

from CLIPLungLib.model.prompts import ConditionalPrompts, TextBank

INITIAL_TAU = 0.07
SMALLEST_TAU = 0.01


class LearnedTexts(nn.Module):
    """The learned parts: prompts, tau, and the running mean image on which the texts of a checkpoint are conditioned."""

    mean_image: Tensor

    def __init__(self, groups: int, dim: int, token_width: int) -> None:
        super().__init__()
        self.prompts = ConditionalPrompts(groups, dim, token_width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / INITIAL_TAU)))
        self.register_buffer("mean_image", torch.zeros(groups, dim))

    @property
    def scale(self) -> Tensor:
        """1 / tau, never above 1 / SMALLEST_TAU."""
        return self.log_scale.exp().clamp(max=1 / SMALLEST_TAU)


class FixedTexts(nn.Module):
    """Fixed texts: classes (K, D), levels (M, D), and 1 / tau."""

    classes: Tensor
    levels: Tensor
    scale: Tensor

    def __init__(self, bank: TextBank, scale: float) -> None:
        super().__init__()
        self.register_buffer("classes", bank.classes.clone())
        self.register_buffer("levels", bank.levels.clone())
        self.register_buffer("scale", torch.tensor(scale))


TextParameters: TypeAlias = LearnedTexts | FixedTexts
