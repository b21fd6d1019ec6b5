"""What nobody knows of a nodule teaches nothing, and takes nothing from what is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.tiny_training import CONFIG, LOSSES, NODULES, LetterEncoder, tiny_patches
from torch.nn import functional

from CLIPLungLib.dataset.nodule_images import PATCH_KINDS
from CLIPLungLib.dataset.nodule_table import OUTCOME, Nodule
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.training.batches import Batch, evaluation_batches
from CLIPLungLib.training.losses import rated_attributes, trust_in_known
from CLIPLungLib.training.trainer import Trainer
from CLIPLungLib.training.training_set import TrainingSet, sample_weights
from CLIPLungLib.training.validation import validation_score
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, level_columns

NAN = float("nan")
NOBODY = dict.fromkeys(ATTRIBUTE_NAMES, ())


@pytest.fixture(scope="module")
def patches() -> TrainingPatches:
    return tiny_patches()


@pytest.fixture
def trainer(patches, tmp_path) -> Trainer:
    return Trainer(CONFIG, patches, NODULES, tmp_path, "cpu", LetterEncoder())


def shown(patches: TrainingPatches, nodules: list[Nodule], kind: str = "slice", count: int = 6) -> Batch:
    """The first patches of a kind."""
    chosen = np.flatnonzero(patches.kind == PATCH_KINDS.index(kind))[:count]
    return next(evaluation_batches(patches, nodules, chosen, CONFIG.patch))[1]


def with_changes(**changes: object) -> list[Nodule]:
    """Every second nodule without something."""
    return [replace(item, **changes) if index % 2 else item for index, item in enumerate(NODULES)]


def gradients(trainer: Trainer, batch: Batch, name: str) -> torch.Tensor:
    """(B, ...) of one answer of the network, all terms together."""
    trainer.network.eval()
    output = trainer.network(batch.planes, batch.exists)
    total = trainer.objective(output, batch.targets)["total"]
    assert torch.isfinite(total)
    answer = getattr(output, name)
    (gradient,) = torch.autograd.grad(total, answer, allow_unused=True)
    return torch.zeros_like(answer) if gradient is None else gradient


@pytest.mark.parametrize(
    ("changes", "heads"),
    [
        ({"malignancy": NAN}, ("class_logits", "rating")),
        ({"diameter_mm": NAN}, ("log_diameter",)),
        ({"malignancy": NAN, "ratings": NOBODY}, ("class_logits", "rating", "image_features")),
    ],
)
def test_missing_label_leaves_no_gradient_on_its_head(patches, trainer, changes, heads):
    batch = shown(patches, with_changes(**changes))
    missing = torch.tensor([False, True] * 3)
    for head in heads:
        gradient = gradients(trainer, batch, head)
        assert gradient[missing].abs().sum() == 0, head
        assert gradient[~missing].abs().sum() > 0, head


def test_one_missing_sign_leaves_no_gradient_on_its_texts(patches, trainer):
    own = {**NODULES[1].ratings, "margin": ()}
    batch = shown(patches, [replace(item, ratings=own) for item in NODULES])
    bank = trainer.objective.bank
    output = trainer.network(batch.planes, batch.exists)
    texts = trainer.objective.texts(bank.prompts(bank.mean_image.unsqueeze(0)))
    leaf = replace(texts, levels=texts.levels.detach().expand(len(batch.planes), -1, -1).clone().requires_grad_())
    trainer.objective.texts_for = lambda *_: replace(leaf, classes=texts.classes.expand(len(batch.planes), -1, -1))
    total = trainer.objective(output, batch.targets)["total"]
    (gradient,) = torch.autograd.grad(total, leaf.levels)
    assert gradient[:, level_columns("margin")].abs().sum() == 0
    assert gradient[:, level_columns("texture")].abs().sum() > 0


def test_nodule_of_unknown_size_is_taught_no_place_and_no_outline(patches, trainer):
    """Its outline is nothing at all, as that of a place without a nodule is; it must not be learned so."""
    blank = replace(patches, outline=np.zeros_like(patches.outline), is_outlined=np.zeros_like(patches.is_outlined))
    for nodules, is_taught in ((NODULES, True), ([replace(n, diameter_mm=NAN) for n in NODULES], False)):
        batch = shown(blank, nodules, "cube")
        output = trainer.network(batch.planes, batch.exists)
        terms = trainer.objective(output, batch.targets)
        of_outline, of_gate = (
            torch.autograd.grad(terms[name], logits, retain_graph=True)[0].abs().sum()
            for name, logits in (("outline", output.maps.outline_logits), ("gate", output.maps.gate_logits))
        )
        assert of_outline == 0
        assert (of_gate > 0) == is_taught


def test_means_are_over_the_samples_that_have_the_label(patches, trainer):
    """Twice the same batch, once without the labels of one half: the means stay those of the other half."""
    trainer.network.eval()
    half = shown(patches, NODULES, count=3)
    doubled = Batch(*(torch.cat([part, part]) for part in (half.planes, half.exists)), half.targets)
    empty = shown(patches, [replace(n, malignancy=NAN, diameter_mm=NAN, ratings=NOBODY) for n in NODULES], count=3)
    targets = replace(
        half.targets,
        **{name: torch.cat([getattr(half.targets, name), getattr(empty.targets, name)]) for name in vars(half.targets)},
    )
    found = []
    for planes, exists, wanted in ((half.planes, half.exists, half.targets), (doubled.planes, doubled.exists, targets)):
        trainer.objective.start_epoch()
        trainer.objective.conditioned = 0
        found.append(trainer.objective(trainer.network(planes, exists), wanted))
    for name in (
        "class_",
        "rating",
        "diameter",
        "image_class",
        "image_attribute",
        "class_attribute",
        "attribute_rating",
    ):
        assert found[1][name].item() == pytest.approx(found[0][name].item(), rel=1e-4), name


def test_with_all_labels_the_terms_are_plain_weighted_means(patches, trainer):
    batch = next(iter(trainer.data.epoch(0)))
    targets = batch.targets
    output = trainer.network(batch.planes, batch.exists)
    terms = trainer.objective(output, targets)
    plain = {
        "class_": functional.cross_entropy(output.class_logits, targets.label, reduction="none"),
        "rating": functional.smooth_l1_loss(output.rating, targets.rating, reduction="none"),
        "diameter": functional.smooth_l1_loss(output.log_diameter, targets.log_diameter, reduction="none"),
    }
    for name, values in plain.items():
        assert terms[name].item() == (values * targets.sample_weight).mean().item()
    assert terms["total"].item() == pytest.approx(
        sum(weight * terms[name].item() for name, weight in vars(LOSSES).items()), rel=1e-6
    )


def test_trust_is_one_everywhere_when_everything_is_known():
    weight = torch.tensor([1.3, 0.7, 0.0])
    assert trust_in_known(torch.ones(3), weight).tolist() == [1, 1, 1]
    assert trust_in_known(torch.ones(3, 8), weight).tolist() == [[1] * 8] * 3
    # The last one is background: it neither asks for a label nor counts.
    assert trust_in_known(torch.tensor([1.0, 0.0, 1.0]), weight).tolist() == [2, 0, 2]
    assert trust_in_known(torch.zeros(3), weight).tolist() == [0, 0, 0]


def test_rated_attributes_are_those_with_any_weight():
    weight = torch.tensor([[0.5, 0.0, 0.0, 0.5], [0.0, 0.0, 0.25, 0.25]])
    assert rated_attributes(weight, torch.tensor([0, 0, 1, 1])).tolist() == [[1, 1], [0, 1]]


def test_outcome_weighs_what_readers_weigh_on_average():
    nodules = [replace(NODULES[0], n_readers=readers) for readers in (1, 4, 0, 9)]
    np.testing.assert_allclose(sample_weights(nodules, [0, 1, 2]), [1 / 1.5, 2 / 1.5, 1, 3 / 1.5])
    assert sample_weights([nodules[2]], [0]).tolist() == [1]


def test_outcomes_are_classes_and_ends_of_the_scale(patches):
    nodules = [replace(n, truth=OUTCOME, n_readers=0, malignancy=5.0 if n.malignancy > 3 else 1.0) for n in NODULES]
    targets = shown(patches, nodules).targets
    assert targets.label.tolist() == [0, 2] * 3
    assert targets.rating.tolist() == [1.0, 5.0] * 3
    assert targets.has_malignancy.tolist() == [1.0] * 6
    data = TrainingSet(patches, nodules, CONFIG)
    assert set(data.sample_weight) == {1.0}


def test_background_alone_never_teaches_the_outline(patches):
    """With no outlined nodule the network would learn that nothing has an outline."""
    of_nodules = patches.kind != PATCH_KINDS.index("background")
    data = TrainingSet(replace(patches, is_outlined=patches.is_outlined & ~of_nodules), NODULES, CONFIG)
    assert not data.learns_outline
    assert len(data.background_patches) == 0
    assert TrainingSet(patches, NODULES, CONFIG).learns_outline


def test_validation_counts_nodules_of_one_reader_where_there_are_no_others(patches, trainer):
    config = replace(CONFIG, train_folds=(0, 1, 2, 3, 4), validation_share=0.3)
    one = [replace(item, n_readers=1) for item in NODULES]
    unknown = [replace(item, malignancy=NAN) for item in NODULES]
    for nodules, has_score in ((NODULES, True), (one, True), (unknown, False)):
        data = TrainingSet(patches, nodules, config)
        trainer.network.rating_head.weight.data.normal_()
        assert np.isfinite(validation_score(trainer.network, data, trainer.device)) == has_score
