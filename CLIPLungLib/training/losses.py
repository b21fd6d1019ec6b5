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


def attribute_rating_loss(
    image: Tensor,
    attribute_text: Tensor,
    weight: Tensor,
    attribute_of_text: Tensor,
    scale: Tensor | float,
    trust: Tensor | float = 1.0,
) -> Tensor:
    """Distance between the levels by similarity and those of the readers, as the distance of cumulative distributions.

    The log loss treats a miss by one level like a miss by four; this one (the ranked probability score) does not. Not in the paper.

    Args: as `image_attribute_loss`; the levels of an attribute in their order; trust (B, A) in the readers of each attribute, 0 where
        there are none.
    """
    cosines = (image @ attribute_text.transpose(1, 2)).mean(dim=1)
    shares = grouped_log_softmax(scale * cosines, attribute_of_text).exp()  # (B, M)
    attributes = int(attribute_of_text.max()) + 1
    difference = shares / attributes - weight
    scores = [
        difference[:, attribute_of_text == index].cumsum(dim=1).square().sum(dim=1) for index in range(attributes)
    ]
    return attributes * (torch.stack(scores, dim=1) * trust).sum(dim=1)


def grouped_log_softmax(logits: Tensor, group: Tensor) -> Tensor:
    """Log softmax over the last axis (..., M), separately within each group of texts (M,)."""
    members = [(group == index).nonzero().squeeze(1) for index in sorted(set(group.tolist()))]
    # Joined, not written into a tensor like the logits: with autocast the parts may be of higher precision than these.
    parts = torch.cat([functional.log_softmax(logits[..., places], dim=-1) for places in members], dim=-1)
    return parts[..., torch.cat(members).argsort()]


def rated_attributes(weight: Tensor, attribute_of_text: Tensor) -> Tensor:
    """(B, A) 1 where the readers rated an attribute: where its texts have any weight (B, M)."""
    attributes = int(attribute_of_text.max()) + 1
    return (weight.new_zeros(len(weight), attributes).index_add(1, attribute_of_text, weight) > 0).float()


def trust_in_known(is_known: Tensor, sample_weight: Tensor) -> Tensor:
    """Factors that turn a mean over all samples into a mean over the labelled ones.

    Args:
        is_known: (B,) or (B, A), 1 where the label is known.
        sample_weight: (B,), 0 for samples that are not asked for labels and do not count.

    Returns:
        The same shape: 0 where the label is not known; 1 everywhere when all are known.
    """
    counts = (sample_weight > 0).float().reshape(-1, *[1] * (is_known.ndim - 1))
    return is_known * (counts.sum() / (is_known * counts).sum(dim=0).clamp(min=1))
