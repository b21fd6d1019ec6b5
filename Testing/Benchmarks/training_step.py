"""A training step with all losses against the plain way: image by image, every text through the tower with all its 77 tokens.

The tower is that of ViT-B/16 with random weights. Both compute the same losses and gradients. Scaled down: BATCH images instead of 32. Every
batch needs the texts of its mean image, too, so more images gain more.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing"), str(Path(__file__).parent)]

import torch
from helpers.tiny_training import LOSSES
from interleaved import Goal, figure, timed_in_turns
from torch import Tensor, nn

from CLIPLungLib.device import autocast
from CLIPLungLib.model.network import CLIPLungNetwork, NetworkConfig
from CLIPLungLib.model.prompts import PromptedTexts, TextBank
from CLIPLungLib.model.text_encoder import PromptTokens, TextEncoder
from CLIPLungLib.training.objective import CLIPLungObjective, Targets
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASSES

BATCH, PLANES, PIXELS, TOKENS = 4, 5, 64, 77


class Padded(TextEncoder):
    """The same tower with the texts padded to its full length, as most code does it."""

    def __init__(self, inner: TextEncoder, tokens: int, groups: int) -> None:
        super().__init__()
        self.inner, self.tokens, self.groups = inner, tokens, groups
        self.name, self.width, self.dim = inner.name, inner.width, inner.dim

    def tokenize(self, texts: Any) -> PromptTokens:
        found = self.inner.tokenize(texts)
        # Room for the learned tokens, which are put in behind the start mark.
        more = (0, self.tokens - self.groups - found.ids.shape[1])
        return PromptTokens(nn.functional.pad(found.ids, more), nn.functional.pad(found.mask, more))

    def embed(self, ids: Tensor) -> Tensor:
        return self.inner.embed(ids)

    def encode(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        return self.inner.encode(embeddings, mask)


class PlainObjective(CLIPLungObjective):
    """Texts of every image by themselves."""

    def texts_for(self, image: Tensor, weight: Tensor) -> TextBank:
        self._update_mean(image, weight)
        banks = [self.texts(self.bank.prompts(one.unsqueeze(0))) for one in image]
        return TextBank(torch.cat([bank.classes for bank in banks]), torch.cat([bank.levels for bank in banks]))


def objectives(encoder: TextEncoder, groups: int, tokens: int) -> tuple[CLIPLungObjective, PlainObjective]:
    """Ours with texts for every image, and the plain one; with the same learned parts."""
    ours = CLIPLungObjective(encoder, groups, LOSSES, -1, 1)
    plain = PlainObjective(encoder, groups, LOSSES, -1, 1)
    plain.texts = PromptedTexts(Padded(encoder, tokens, groups))
    plain.bank.load_state_dict(ours.bank.state_dict())
    return ours, plain


def made_up_batch(count: int, planes: int, pixels: int) -> tuple[Tensor, Tensor, Targets]:
    """Images of noise and opinions by chance, the same every time."""
    torch.manual_seed(0)
    shape, levels = (count, planes, pixels, pixels), sum(len(attribute.levels) for attribute in ATTRIBUTES)
    targets = Targets(
        label=torch.randint(len(CLASSES), (count,)),
        rating=1 + 4 * torch.rand(count),
        vote_shares=torch.rand(count, 4),
        has_malignancy=torch.ones(count),
        level_weight=torch.full((count, levels), 1 / levels),
        log_diameter=torch.rand(count) + 2,
        has_diameter=torch.ones(count),
        sample_weight=torch.ones(count),
        outline=torch.rand(shape),
        is_outlined=torch.ones(count),
        is_placed=torch.ones(count),
    )
    return torch.rand(shape), torch.ones(count, planes, dtype=torch.bool), targets


def step(network: CLIPLungNetwork, objective: CLIPLungObjective, batch: tuple[Tensor, Tensor, Targets]) -> Tensor:
    """One forward and backward pass; returns the total loss, gradients stay in the parameters."""
    planes, exists, targets = batch
    network.zero_grad()
    objective.zero_grad()
    objective.start_epoch()
    total = objective(network(planes, exists), targets)["total"]
    total.backward()
    return total.detach()


def measured(rounds: int, threads: int) -> list[dict[str, Any]]:
    """In single precision, and as training computes on this processor."""
    from CLIPLungLib.model.text_encoder import OpenCLIPTextEncoder

    encoder = OpenCLIPTextEncoder("ViT-B-16", pretrained=None)
    torch.manual_seed(0)
    network = CLIPLungNetwork(NetworkConfig(planes=PLANES, pixels=PIXELS, text_dim=encoder.dim, dropout=0.0)).train()
    ours, plain = objectives(encoder, network.config.groups, TOKENS)
    shared = CLIPLungObjective(encoder, network.config.groups, LOSSES, 1, 1)
    batch, half = made_up_batch(BATCH, PLANES, PIXELS), autocast(torch.device("cpu"))

    def run(objective: CLIPLungObjective, precision: Any) -> None:
        with precision:
            step(network, objective, batch)

    times = timed_in_turns(
        {
            "plain": lambda: run(plain, nullcontext()),
            "ours": lambda: run(ours, nullcontext()),
            "half": lambda: run(ours, half),
            "shared": lambda: run(shared, half),
        },
        rounds,
    )
    of = f"plain training step of {BATCH} images, all losses, as many times longer than"
    return [
        figure(of, "ours, the same losses and gradients", times["plain"], times["ours"], Goal(12, True), threads),
        figure(of, "ours in the precision of training here", times["plain"], times["half"], None, threads),
        figure(
            of,
            "the same with texts for one image and the mean image (as shipped)",
            times["plain"],
            times["shared"],
            None,
            threads,
            "texts of two contexts whatever the batch; larger batches were not measured",
        ),
    ]
