"""The losses against slow references that follow the formulas term by term."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from CLIPLungLib.training.losses import (
    attribute_rating_loss,
    class_attribute_loss,
    grouped_log_softmax,
    image_attribute_loss,
    image_class_loss,
)

B, T, K, M, D = 5, 4, 3, 7, 16
SCALE = 1 / 0.07
GROUP_OF_TEXT = torch.tensor([0, 0, 0, 1, 1, 2, 2])


def unit(*shape: int) -> torch.Tensor:
    return functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


@pytest.fixture
def sample() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    weight = torch.rand(B, M, dtype=torch.float64)
    return {
        "image": unit(B, T, D),
        "classes": unit(B, K, D),
        "texts": unit(B, M, D),
        "label": torch.tensor([0, 2, 1, 2, 0]),
        "weight": weight / weight.sum(dim=1, keepdim=True),
    }


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def log_softmax(values: list[float], index: int) -> float:
    highest = max(values)
    return values[index] - highest - math.log(sum(math.exp(v - highest) for v in values))


def reference_attribute_term(
    feature: torch.Tensor, texts: torch.Tensor, weight: torch.Tensor, groups: list[int]
) -> float:
    total = 0.0
    for m in range(M):
        rivals = [i for i in range(M) if groups[i] == groups[m]]
        values = [cosine(feature, texts[i]) * SCALE for i in rivals]
        total -= float(weight[m]) * log_softmax(values, rivals.index(m))
    return total


def test_image_class_loss_follows_the_formula(sample):
    expected = [
        -sum(
            log_softmax(
                [cosine(sample["image"][b, t], sample["classes"][b, k]) * SCALE for k in range(K)],
                int(sample["label"][b]),
            )
            for t in range(T)
        )
        for b in range(B)
    ]
    found = image_class_loss(sample["image"], sample["classes"], sample["label"], SCALE)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    "groups", [torch.zeros(M, dtype=torch.long), GROUP_OF_TEXT], ids=["names compete", "levels compete"]
)
def test_image_attribute_loss_follows_the_formula(sample, groups):
    expected = [
        sum(
            reference_attribute_term(sample["image"][b, t], sample["texts"][b], sample["weight"][b], groups.tolist())
            for t in range(T)
        )
        for b in range(B)
    ]
    found = image_attribute_loss(sample["image"], sample["texts"], sample["weight"], groups, SCALE)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    "groups", [torch.zeros(M, dtype=torch.long), GROUP_OF_TEXT], ids=["names compete", "levels compete"]
)
def test_class_attribute_loss_uses_the_samples_own_class(sample, groups):
    expected = [
        reference_attribute_term(
            sample["classes"][b, sample["label"][b]], sample["texts"][b], sample["weight"][b], groups.tolist()
        )
        for b in range(B)
    ]
    found = class_attribute_loss(sample["classes"], sample["texts"], sample["label"], sample["weight"], groups, SCALE)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_image_class_loss_is_lowest_when_the_image_points_at_its_own_class_text():
    classes = torch.eye(3).expand(1, 3, 3)
    losses = [image_class_loss(classes[:, [k]], classes, torch.tensor([1]), 10.0).item() for k in range(3)]
    assert losses[1] == min(losses)
    assert losses[1] == pytest.approx(math.log(math.exp(10) + 2) - 10, rel=1e-2)


def test_grouped_log_softmax_sums_to_one_within_each_group():
    probabilities = grouped_log_softmax(torch.randn(2, 3, M), GROUP_OF_TEXT).exp()
    for group in range(3):
        torch.testing.assert_close(probabilities[..., group == GROUP_OF_TEXT].sum(-1), torch.ones(2, 3))


def test_grouped_log_softmax_keeps_the_order_of_mixed_groups_and_the_precision_of_its_parts(monkeypatch):
    mixed = torch.tensor([1, 0, 1, 0, 2])
    logits = torch.tensor([0.0, 1.0, math.log(3.0), 1.0, 5.0])
    expected = torch.tensor([1 / 4, 1 / 2, 3 / 4, 1 / 2, 1.0])
    torch.testing.assert_close(grouped_log_softmax(logits, mixed).exp(), expected)
    # As autocast does on CUDA: single precision out of half precision.
    plain = functional.log_softmax
    monkeypatch.setattr(functional, "log_softmax", lambda x, dim: plain(x.float(), dim))
    half = grouped_log_softmax(logits.bfloat16(), mixed)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.exp(), expected, atol=0.01, rtol=0)


def test_attribute_rating_loss_is_the_ranked_probability_score():
    # One attribute of three levels, one of two. Texts are axes and the image is chosen so that the shares of levels are
    # (1/2, 1/4, 1/4) and (3/4, 1/4); tau is 1.
    texts = torch.eye(5, dtype=torch.float64).unsqueeze(0)
    image = torch.log(torch.tensor([[[2.0, 1.0, 1.0, 3.0, 1.0]]], dtype=torch.float64))
    readers = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0]], dtype=torch.float64) / 2
    found = attribute_rating_loss(image, texts, readers, torch.tensor([0, 0, 0, 1, 1]), 1.0)
    # Cumulated: (1/2, 3/4, 1) - (0, 0, 1) -> 1/4 + 9/16; (3/4, 1) - (1, 1) -> 1/16; mean over the two attributes.
    assert found.item() == pytest.approx((1 / 4 + 9 / 16 + 1 / 16) / 2)


def test_attribute_rating_loss_grows_with_the_distance_of_the_miss():
    texts = torch.eye(5).unsqueeze(0)
    readers = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0]])
    one_attribute = torch.zeros(5, dtype=torch.long)
    losses = [attribute_rating_loss(texts[:, [k]], texts, readers, one_attribute, 100.0).item() for k in range(5)]
    assert losses == pytest.approx([0, 1, 2, 3, 4], abs=1e-4)
