"""Channel-wise conditional prompts (CCP): learned context tokens, conditioned on the image, before every class and attribute text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from CLIPLungLib.model.text_encoder import CausalTextEncoder, TextEncoder
from CLIPLungLib.model.text_tree import TextTree, text_tree
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASSES, class_prompts, level_prompts

HIDDEN = 32
CONTEXT_STD = 0.02


@dataclass(frozen=True, eq=False)
class TextBank:
    """Text features of the classes (K, D) and the attribute levels (M, D), unit vectors."""

    classes: Tensor
    levels: Tensor


def attribute_of_level() -> Tensor:
    """(M,) index of the attribute each level text belongs to; M counts the levels of all attributes."""
    return torch.tensor([index for index, attribute in enumerate(ATTRIBUTES) for _ in attribute.levels])


class ConditionalPrompts(nn.Module):
    """l'_t = l_t + g(F_t): T learned tokens, each shifted by the feature of its channel group.

    Args:
        groups: number of tokens T.
        image_dim: dimension of the image features F_t.
        token_width: size of the text encoder's token embeddings.
    """

    def __init__(self, groups: int, image_dim: int, token_width: int) -> None:
        super().__init__()
        self.context = nn.Parameter(torch.randn(groups, token_width) * CONTEXT_STD)
        self.condition = nn.Sequential(nn.Linear(image_dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, token_width))

    def forward(self, image: Tensor) -> Tensor:
        """(S, T, image_dim) features -> (S, T, token_width) context tokens."""
        moves: Tensor = self.condition(image)
        return self.context + moves


class ConditionedTexts(nn.Module):
    """Fixed texts, encoded behind given context tokens in one batch.

    A causal encoder sees them as a tree: beginnings, the context above all, are computed once for all texts of a sample.

    Args:
        encoder: frozen.
        texts: P texts.
    """

    embeddings: Tensor
    mask: Tensor

    def __init__(self, encoder: TextEncoder, texts: Sequence[str]) -> None:
        super().__init__()
        self.encoder = encoder
        tokens = encoder.tokenize(texts)
        self.tree = text_tree(tokens) if isinstance(encoder, CausalTextEncoder) else None
        with torch.no_grad():
            self.register_buffer("embeddings", encoder.embed(tokens.ids), persistent=False)  # (P, L, W)
        self.register_buffer("mask", tokens.mask, persistent=False)  # (P, L)

    def features(self, context: Tensor) -> Tensor:
        """(S, T, W) context tokens -> (S, P, D) unit vectors; every sample has texts of its own."""
        if self.tree is not None and isinstance(self.encoder, CausalTextEncoder):
            return self._features_of_tree(self.encoder, self.tree.with_context(context.shape[1]), context)
        samples, groups, _ = context.shape
        prompts = len(self.embeddings)
        start, rest = self.embeddings[:, :1], self.embeddings[:, 1:]
        sequence = torch.cat(
            [
                start.expand(samples, -1, -1, -1),
                context.unsqueeze(1).expand(-1, prompts, -1, -1),
                rest.expand(samples, -1, -1, -1),
            ],
            dim=2,
        )  # (S, P, 1 + T + L - 1, W)
        mask = torch.cat([self.mask[:, :1].expand(-1, 1 + groups), self.mask[:, 1:]], dim=1).expand(samples, -1, -1)
        encoded = self.encoder.encode(sequence.flatten(0, 1), mask.flatten(0, 1))
        return torch.unflatten(encoded, 0, (samples, prompts))

    def _features_of_tree(self, encoder: CausalTextEncoder, tree: TextTree, context: Tensor) -> Tensor:
        samples, groups, _ = context.shape
        with torch.no_grad():
            words = encoder.embed(tree.ids.to(context.device)).expand(samples, -1, -1)
        embeddings = torch.cat([words[:, :1], context, words[:, 1 + groups :]], dim=1)
        depth, sees, ends = (values.to(context.device) for values in (tree.depth, tree.sees, tree.ends))
        return encoder.encode_tree(embeddings, depth, sees, ends)


class PromptedTexts(ConditionedTexts):
    """All class and level texts, encoded behind given context tokens."""

    def __init__(self, encoder: TextEncoder) -> None:
        levels = (text for attribute in ATTRIBUTES for text in level_prompts(attribute))
        super().__init__(encoder, [*class_prompts(), *levels])

    def forward(self, context: Tensor) -> TextBank:
        """(S, T, W) context tokens -> features of classes (S, K, D) and levels (S, M, D)."""
        features = self.features(context)
        return TextBank(features[:, : len(CLASSES)], features[:, len(CLASSES) :])


@torch.no_grad()
def word_embeddings(encoder: TextEncoder, words: Sequence[str]) -> Tensor:
    """(len(words), width): for each word the mean embedding of its tokens, without the start and end marks."""
    tokens = encoder.tokenize(words)
    vectors = []
    for ids, mask in zip(tokens.ids, tokens.mask, strict=True):
        vectors.append(encoder.embed(ids[mask][1:-1].unsqueeze(0))[0].mean(dim=0))
    return torch.stack(vectors)
