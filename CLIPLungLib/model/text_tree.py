"""Texts with common beginnings as a tree of tokens: with causal attention, every beginning is computed once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from CLIPLungLib.model.text_encoder import PromptTokens


@dataclass(frozen=True, eq=False)
class TextTree:
    """N tokens of P texts.

    Attributes:
        ids: (N,) token ids; the first is the start mark of all texts.
        depth: (N,) place of each token in its text.
        sees: (N, N) bool; a token (row) sees itself and what stands before it in its text.
        ends: (P,) the last token of each text.
    """

    ids: Tensor
    depth: Tensor
    sees: Tensor
    ends: Tensor

    def with_context(self, groups: int) -> TextTree:
        """The same behind so many more tokens, which follow the start mark; their ids are that of the start mark."""
        size = len(self.ids) + groups
        sees = torch.ones(size, size, dtype=torch.bool, device=self.sees.device).tril()
        # Behind the context, the tokens keep their order and see what they saw before, the start mark and the context.
        sees[1 + groups :, 1 + groups :] = self.sees[1:, 1:]
        context = torch.arange(1, 1 + groups, device=self.depth.device)
        return TextTree(
            torch.cat([self.ids[:1].expand(1 + groups), self.ids[1:]]),
            torch.cat([self.depth[:1], context, self.depth[1:] + groups]),
            sees,
            self.ends + groups,
        )


def text_tree(tokens: PromptTokens) -> TextTree:
    """The tree of some texts, which all begin with the same start mark and have at least one more token."""
    texts = [tuple(ids[mask].tolist()) for ids, mask in zip(tokens.ids, tokens.mask, strict=True)]
    place: dict[tuple[int, ...], int] = {}
    for end in range(1, max(map(len, texts)) + 1):
        for text in texts:
            if len(text) >= end:
                place.setdefault(text[:end], len(place))
    beginnings = list(place)
    sees = torch.zeros(len(place), len(place), dtype=torch.bool)
    for beginning, row in place.items():
        sees[row, [place[beginning[:end]] for end in range(1, len(beginning) + 1)]] = True
    device = tokens.ids.device
    return TextTree(
        torch.tensor([beginning[-1] for beginning in beginnings], device=device),
        torch.tensor([len(beginning) - 1 for beginning in beginnings], device=device),
        sees.to(device),
        torch.tensor([place[text] for text in texts], device=device),
    )
