"""The training objective: CLIP-Lung's four losses and the supervised terms for rating, diameter and outline."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from CLIPLungLib.model.image_encoder import FeatureMaps
from CLIPLungLib.model.network import NetworkOutput
from CLIPLungLib.model.prompts import PromptedTexts, TextBank, attribute_of_level
from CLIPLungLib.model.text_encoder import TextEncoder
from CLIPLungLib.training.losses import (
    attribute_rating_loss,
    class_attribute_loss,
    image_attribute_loss,
    image_class_loss,
    rated_attributes,
    trust_in_known,
)
from CLIPLungLib.training.text_parameters import FixedTexts, LearnedTexts, TextParameters

MEAN_MOMENTUM = 0.99
DICE_SMOOTHING = 10.0


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term in the sum; 0 leaves the term out. The paper has the first four, with 1, 1, alpha = 1 and beta = 0.5."""

    class_: float
    image_class: float
    image_attribute: float
    class_attribute: float
    rating: float
    diameter: float
    attribute_rating: float
    gate: float
    outline: float


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels of B nodules.

    Attributes:
        label: (B,) class index of the mean malignancy.
        rating: (B,) mean malignancy rating.
        vote_shares: (B, 4) share of the readers' votes above 1, 2, 3 and 4.
        has_malignancy: (B,) 1 where label and rating are known; elsewhere they hold any numbers.
        level_weight: (B, M) share of readers per attribute level, divided by the number of attributes: sum 1; 0 for the levels of
            attributes that nobody rated.
        log_diameter: (B,) natural logarithm of mm.
        has_diameter: (B,) 1 where it is known.
        sample_weight: (B,) trust in the sample, mean about 1; 0 for patches without a nodule, which have no opinion to learn.
        outline: (B, Z, H, W) share of each pixel inside the readers' outline.
        is_outlined: (B,) 1 where the outline can be learned from pixel by pixel.
        is_placed: (B,) 1 where the outline shows at least which planes and cells hold the nodule: its own, a ball of its diameter, or
            nothing where no nodule is.
    """

    label: Tensor
    rating: Tensor
    vote_shares: Tensor
    has_malignancy: Tensor
    level_weight: Tensor
    log_diameter: Tensor
    has_diameter: Tensor
    sample_weight: Tensor
    outline: Tensor
    is_outlined: Tensor
    is_placed: Tensor

    def to(self, device: torch.device) -> Targets:
        """The same on another device."""
        return Targets(**{name: value.to(device) for name, value in vars(self).items()})


class Objective(nn.Module):
    """The weighted sum of losses over one batch. Subclasses say where the texts come from.

    Missing labels are left out: the mean of a term is over the samples that have its label.

    Args:
        weights: of the terms.

    Attributes:
        bank: the learned or fixed texts, as saved in a checkpoint.
    """

    attribute_of_level: Tensor
    bank: TextParameters

    def __init__(self, weights: LossWeights) -> None:
        super().__init__()
        self.weights = weights
        self.register_buffer("attribute_of_level", attribute_of_level(), persistent=False)

    def forward(self, output: NetworkOutput, targets: Targets) -> dict[str, Tensor]:
        """Named terms, each the weighted mean over the batch, and their weighted sum under "total"."""
        trust = trust_in_known(targets.has_malignancy, targets.sample_weight)
        of_diameter = trust_in_known(targets.has_diameter, targets.sample_weight)
        terms = {
            "class_": trust * functional.cross_entropy(output.class_logits, targets.label, reduction="none"),
            "rating": trust * _rating_loss(output, targets),
            "diameter": of_diameter
            * functional.smooth_l1_loss(output.log_diameter, targets.log_diameter, reduction="none"),
        }
        if self.weights.image_class or self.weights.image_attribute or self.weights.class_attribute:
            terms |= self._contrastive_terms(output.image_features, targets, trust)
        means = {name: (value * targets.sample_weight).mean() for name, value in terms.items()}
        if output.maps.gate_logits is not None and output.maps.outline_logits is not None:
            means |= _localisation_terms(output.maps, output.maps.gate_logits, output.maps.outline_logits, targets)
        total = torch.stack([getattr(self.weights, name) * value for name, value in means.items()]).sum()
        return means | {"total": total}

    def _contrastive_terms(self, image: Tensor, targets: Targets, trust: Tensor) -> dict[str, Tensor]:
        bank, scale = self.texts_for(image, targets.sample_weight), self.bank.scale
        groups, attributes, weight = image.shape[1], self.attribute_of_level, targets.level_weight
        is_rated = rated_attributes(weight, attributes)
        of_rated, of_both = (
            trust_in_known(known, targets.sample_weight)
            for known in (is_rated, is_rated * targets.has_malignancy.unsqueeze(1))
        )
        terms = {
            # Sums over the T groups as in the paper; divided by T so that weights do not depend on it.
            "image_class": trust * image_class_loss(image, bank.classes, targets.label, scale) / groups,
            "image_attribute": image_attribute_loss(
                image, bank.levels, weight * of_rated[:, attributes], attributes, scale
            )
            / groups,
            "class_attribute": class_attribute_loss(
                bank.classes, bank.levels, targets.label, weight * of_both[:, attributes], attributes, scale
            ),
        }
        if self.weights.attribute_rating:
            terms["attribute_rating"] = attribute_rating_loss(image, bank.levels, weight, attributes, scale, of_rated)
        return terms

    @abstractmethod
    def texts_for(self, image: Tensor, weight: Tensor, /) -> TextBank:
        """Texts (B, ...) as each image of the batch (B, T, D) sees them; `weight` (B,) is 0 for images without a nodule."""

    @abstractmethod
    def start_epoch(self) -> None:
        """Forget what earlier steps left behind, so that an epoch is the same whether the run was resumed before it or not."""

    @abstractmethod
    def text_bank(self, parts: TextParameters) -> TextBank:
        """The texts of these parts: classes (K, D), levels (M, D). This is what a checkpoint keeps."""


class CLIPLungObjective(Objective):
    """The objective with learned texts.

    In the paper, texts are conditioned on every image of a batch, which takes most of the training time. Here `conditioned` images per
    batch get texts of their own; the others use those of the running mean image, which the checkpoint keeps.

    One of several processes sees its own share of a batch: the first images of its share are conditioned on, and the running mean moves by
    its share alone. DistributedDataParallel gives every process the first one's mean before the next step.

    Args:
        text_encoder: frozen.
        groups: channel groups T.
        weights: of the terms.
        conditioned: images per batch with texts of their own; -1 for all.
        text_interval: steps from one encoding of the texts to the next; between them images learn from the last texts.
    """

    bank: LearnedTexts

    def __init__(
        self, text_encoder: TextEncoder, groups: int, weights: LossWeights, conditioned: int, text_interval: int
    ) -> None:
        super().__init__(weights)
        self.conditioned = conditioned
        self.text_interval = text_interval
        self.step = 0
        self._last_bank: TextBank | None = None
        self.texts = PromptedTexts(text_encoder)
        self.bank = LearnedTexts(groups, text_encoder.dim, text_encoder.width)

    def texts_for(self, image: Tensor, weight: Tensor) -> TextBank:
        """Texts (B, ...) as each image of the batch (B, T, D) sees them."""
        batch = len(image)
        self._update_mean(image, weight)
        if self._last_bank is None or self.step % self.text_interval == 0:
            conditioned = batch if self.conditioned < 0 else min(self.conditioned, batch)
            conditions = torch.cat([image[:conditioned], self.bank.mean_image.unsqueeze(0)])
            bank = self.texts(self.bank.prompts(conditions))
            self._last_bank = TextBank(bank.classes[-1:].detach(), bank.levels[-1:].detach())
            own = torch.arange(batch, device=image.device).clamp(max=conditioned)
        else:
            bank = self._last_bank
            own = torch.zeros(batch, dtype=torch.long, device=image.device)
        self.step += 1
        return TextBank(bank.classes[own], bank.levels[own])

    def start_epoch(self) -> None:
        """Forget texts of earlier steps, so that an epoch is the same whether the run was resumed before it or not."""
        self.step, self._last_bank = 0, None

    @torch.no_grad()
    def _update_mean(self, image: Tensor, weight: Tensor) -> None:
        counts = (weight > 0).float()
        batch_mean = (image.float() * counts[:, None, None]).sum(dim=0) / counts.sum().clamp(min=1)
        if not self.bank.mean_image.any():
            self.bank.mean_image.copy_(batch_mean)
        self.bank.mean_image.lerp_(batch_mean, 1 - MEAN_MOMENTUM)

    @torch.no_grad()
    def text_bank(self, parts: TextParameters) -> TextBank:
        """The texts as the mean image of these parts sees them: classes (K, D), levels (M, D). This is what a checkpoint keeps."""
        if not isinstance(parts, LearnedTexts):
            raise TypeError("these texts are not learned ones")
        bank = self.texts(parts.prompts(parts.mean_image.unsqueeze(0)))
        return TextBank(bank.classes[0], bank.levels[0])


class FixedTextObjective(Objective):
    """The objective for fine-tuning, with the fixed texts of a checkpoint.

    A checkpoint keeps the features of its texts, not the prompts that made them. Prompts that started anew would leave the texts of
    every sign that nobody rated without a meaning.

    Args:
        bank: classes (K, D), levels (M, D).
        scale: 1 / tau they are compared with.
        weights: of the terms.
    """

    bank: FixedTexts

    def __init__(self, bank: TextBank, scale: float, weights: LossWeights) -> None:
        super().__init__(weights)
        self.bank = FixedTexts(bank, scale)

    def texts_for(self, image: Tensor, _weight: Tensor) -> TextBank:
        """As in `Objective`; the same for every image."""
        return TextBank(*(texts.expand(len(image), -1, -1) for texts in (self.bank.classes, self.bank.levels)))

    def start_epoch(self) -> None:
        """Nothing is left behind."""

    def text_bank(self, parts: TextParameters) -> TextBank:
        """As in `Objective`."""
        if not isinstance(parts, FixedTexts):
            raise TypeError("these texts are not fixed ones")
        return TextBank(parts.classes, parts.levels)


def _rating_loss(output: NetworkOutput, targets: Targets) -> Tensor:
    """(B,) distance from the readers' mean, or cross entropy with each of their votes where the network predicts votes."""
    if output.vote_logits is None:
        return functional.smooth_l1_loss(output.rating, targets.rating, reduction="none")
    of_cuts = functional.binary_cross_entropy_with_logits(output.vote_logits, targets.vote_shares, reduction="none")
    return of_cuts.sum(dim=1)


def _localisation_terms(
    maps: FeatureMaps, gate_logits: Tensor, outline_logits: Tensor, targets: Targets
) -> dict[str, Tensor]:
    """Where the nodule is: cross entropy of the gate's cells, and cross entropy + Dice of the outline's pixels."""
    wanted = targets.outline[maps.patch_of_map, maps.plane_of_map]  # (N, H, W)
    cells = functional.adaptive_avg_pool2d(wanted.unsqueeze(1), (gate_logits.shape[1], gate_logits.shape[2])).squeeze(1)
    gate = _per_patch_mean(_cross_entropy(gate_logits, cells), maps, len(targets.label))
    pixels = _per_patch_mean(_cross_entropy(outline_logits, wanted), maps, len(targets.label))
    share = torch.sigmoid(outline_logits)
    overlap, total = (
        wanted.new_zeros(len(targets.label)).index_add(0, maps.patch_of_map, value.sum(dim=(1, 2)))
        for value in (share * wanted, share + wanted)
    )
    dice = 1 - (2 * overlap + DICE_SMOOTHING) / (total + DICE_SMOOTHING)
    placed = targets.is_placed * (len(gate) / targets.is_placed.sum().clamp(min=1))
    return {"gate": (gate * placed).mean(), "outline": ((10 * pixels + dice) * targets.is_outlined).mean()}


def _cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(dim=(1, 2))


def _per_patch_mean(per_map: Tensor, maps: FeatureMaps, patches: int) -> Tensor:
    sums = per_map.new_zeros(patches).index_add(0, maps.patch_of_map, per_map)
    counts = per_map.new_zeros(patches).index_add(0, maps.patch_of_map, torch.ones_like(per_map))
    return sums / counts
