"""The losses of CLIP-Lung (Lei et al., MICCAI 2023), as pure functions.

Notation: B samples, T channel groups, D text dimensions, K classes, M attribute texts. Features and texts are unit vectors, so their
products are cosines; `scale` is 1 / tau. Every function returns (B,), one value per sample, so that callers can weight samples.

An attribute text can be the name of an attribute (the paper: all M texts compete) or one level of an attribute (ours: the levels of
one attribute compete); `attribute_of_text` (M,) says which texts compete with each other.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def image_class_loss(image: Tensor, class_text: Tensor, label: Tensor, scale: Tensor | float) -> Tensor:
    """L_IC = - sum_t log softmax_k(cos(F_t, C_k) / tau)[y].

    Args: image (B, T, D); class_text (B, K, D), the texts as conditioned on each sample; label (B,) integers.
    """
    log_p = functional.log_softmax(scale * image @ class_text.transpose(1, 2), dim=2)  # (B, T, K)
    return -log_p.gather(2, label[:, None, None].expand(-1, log_p.shape[1], 1)).sum(dim=(1, 2))


def image_attribute_loss(
    image: Tensor, attribute_text: Tensor, weight: Tensor, attribute_of_text: Tensor, scale: Tensor | float
) -> Tensor:
    """L_IA = - sum_t sum_m w_m log softmax_m(cos(F_t, A_m) / tau).

    Args: image (B, T, D); attribute_text (B, M, D); weight (B, M), sum 1; attribute_of_text (M,) integers from 0.
    """
    log_p = grouped_log_softmax(scale * image @ attribute_text.transpose(1, 2), attribute_of_text)  # (B, T, M)
    return -(weight.unsqueeze(1) * log_p).sum(dim=(1, 2))


def class_attribute_loss(
    class_text: Tensor,
    attribute_text: Tensor,
    label: Tensor,
    weight: Tensor,
    attribute_of_text: Tensor,
    scale: Tensor | float,
) -> Tensor:
    """L_CA = - sum_m w_m log softmax_m(cos(C_y, A_m) / tau).

    Args: class_text (B, K, D); attribute_text (B, M, D); label (B,); weight (B, M), sum 1; attribute_of_text (M,).
    """
    own_class = class_text[torch.arange(len(label), device=label.device), label].unsqueeze(1)  # (B, 1, D)
    return image_attribute_loss(own_class, attribute_text, weight, attribute_of_text, scale)


def grouped_log_softmax(logits: Tensor, group: Tensor) -> Tensor:
    """Log softmax over the last axis (..., M), separately within each group of texts (M,)."""
    parts = torch.empty_like(logits)
    for index in group.unique():
        members = group == index
        parts[..., members] = functional.log_softmax(logits[..., members], dim=-1)
    return parts
