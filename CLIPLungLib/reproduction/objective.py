"""L_CE + L_IC + alpha L_IA + beta L_CA over one batch, with class and attribute texts of their own for every image."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from CLIPLungLib.model.prompts import ConditionalPrompts, ConditionedTexts, word_embeddings
from CLIPLungLib.model.text_encoder import TextEncoder
from CLIPLungLib.reproduction.network import PublishedNetwork
from CLIPLungLib.reproduction.protocol import ATTRIBUTE_WORDS, Row, Task
from CLIPLungLib.reproduction.settings import PublishedSettings
from CLIPLungLib.training.losses import class_attribute_loss, image_attribute_loss, image_class_loss
from CLIPLungLib.training.text_parameters import SMALLEST_TAU


class TextTerms(nn.Module):
    """The three contrastive losses of a row; those that it lacks are left out.

    A text is T learned tokens, moved by the image, and then a name: of a class of the task, or of an attribute.
    """

    def __init__(self, encoder: TextEncoder, task: Task, row: Row, settings: PublishedSettings) -> None:
        super().__init__()
        self.row, self.weights = row, (1.0, settings.alpha, settings.beta)
        self.class_count = len(task.classes)
        has_attributes = row.image_attribute or row.class_attribute
        self.texts = ConditionedTexts(encoder, [*task.class_words, *(ATTRIBUTE_WORDS if has_attributes else ())])
        self.prompts = ConditionalPrompts(settings.context_tokens, encoder.dim, encoder.width)
        with torch.no_grad():
            self.prompts.context.copy_(word_embeddings(encoder, settings.context_words.split()))
        self.log_scale = nn.Parameter(torch.tensor(-math.log(settings.tau)))

    def forward(self, image: Tensor, answer: Tensor, attribute_weight: Tensor) -> dict[str, Tensor]:
        """Weighted terms, each (B,). Args: image (B, T, D) unit vectors; answer (B,); attribute_weight (B, 8)."""
        texts = self.texts.features(self.prompts(image)).float()
        classes, attributes = texts[:, : self.class_count], texts[:, self.class_count :]
        scale = self.log_scale.exp().clamp(max=1 / SMALLEST_TAU)
        # All attributes compete with each other.
        group = torch.zeros(attributes.shape[1], dtype=torch.long, device=texts.device)
        of_class, of_attribute, of_both = self.weights
        terms = {}
        if self.row.image_class:
            terms["image_class"] = of_class * image_class_loss(image, classes, answer, scale)
        if self.row.image_attribute:
            terms["image_attribute"] = of_attribute * image_attribute_loss(
                image, attributes, attribute_weight, group, scale
            )
        if self.row.class_attribute:
            terms["class_attribute"] = of_both * class_attribute_loss(
                classes, attributes, answer, attribute_weight, group, scale
            )
        return terms


def loss_terms(
    network: PublishedNetwork, text_terms: TextTerms | None, crops: Tensor, answer: Tensor, attribute_weight: Tensor
) -> dict[str, Tensor]:
    """Means over the batch, which sum to the loss.

    Args:
        crops: (B, Z, Y, X) grey values 0..1.
        answer: (B,) position among the network's answers.
        attribute_weight: (B, 8), sum 1.
    """
    maps = network.maps(crops)
    terms = {"cross_entropy": functional.cross_entropy(network.logits(maps), answer)}
    if text_terms is not None and network.features is not None:
        of_samples = text_terms(network.features(maps), answer, attribute_weight)
        terms |= {name: values.mean() for name, values in of_samples.items()}
    return terms
