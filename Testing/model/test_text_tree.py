"""Texts as a tree of tokens, on the real text tower of CLIP with random weights: the same features and gradients as one by one."""

from __future__ import annotations

import pytest
import torch

from CLIPLungLib.model.prompts import ConditionedTexts
from CLIPLungLib.model.text_encoder import OpenCLIPTextEncoder, PromptTokens
from CLIPLungLib.model.text_tree import text_tree

TEXTS = [
    "a nodule with a sharp margin",
    "a nodule with a sharp rim",
    "a nodule",
    "an airway",
    "a nodule with a sharp margin and a tail",
]


def tokens_of(texts: list[list[int]]) -> PromptTokens:
    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    return PromptTokens(ids, torch.tensor([[place < len(text) for place in range(longest)] for text in texts]))


def test_common_beginnings_are_one():
    tree = text_tree(tokens_of([[1, 5, 6, 9], [1, 5, 7, 9], [1, 5, 9]]))
    assert tree.ids.tolist() == [1, 5, 6, 7, 9, 9, 9]
    assert tree.depth.tolist() == [0, 1, 2, 2, 2, 3, 3]
    assert tree.ends.tolist() == [5, 6, 4]
    seen = [row.nonzero().flatten().tolist() for row in tree.sees]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 3], [0, 1, 4], [0, 1, 2, 5], [0, 1, 3, 6]]


def test_context_stands_behind_the_start_mark():
    tree = text_tree(tokens_of([[1, 5, 9], [1, 6, 9]])).with_context(2)
    assert tree.ids.tolist() == [1, 1, 1, 5, 6, 9, 9]
    assert tree.depth.tolist() == [0, 1, 2, 3, 3, 4, 4]
    assert tree.ends.tolist() == [5, 6]
    seen = [row.nonzero().flatten().tolist() for row in tree.sees]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 2, 3, 5], [0, 1, 2, 4, 6]]


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("open_clip", reason="needs the extra 'train'")
    torch.manual_seed(6)
    made = OpenCLIPTextEncoder("ViT-B-16", pretrained=None)
    made.transformer.resblocks = made.transformer.resblocks[:2]
    return made


def test_features_and_gradients_are_those_of_text_by_text(encoder):
    together, one_by_one = ConditionedTexts(encoder, TEXTS), ConditionedTexts(encoder, TEXTS)
    assert len(together.tree.ids) < one_by_one.mask.sum() / 1.5
    one_by_one.tree = None
    found = []
    for texts in (together, one_by_one):
        torch.manual_seed(7)
        context = (0.02 * torch.randn(3, 4, encoder.width)).requires_grad_(True)
        features = texts.features(context)
        weights = torch.rand(features.shape, generator=torch.Generator().manual_seed(8))
        (gradient,) = torch.autograd.grad((features * weights).sum(), context)
        found.append((features.detach(), gradient))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-5, rtol=1e-3)
    assert found[0][1].abs().max() > 1e-3
