"""The losses as training computes them, against a plain loop over images and texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.tiny_reproduction import NODULES, TINY, MarkedLetters, made_up_crops

from CLIPLungLib.reproduction.network import PublishedNetwork
from CLIPLungLib.reproduction.nodule_set import as_nodule_set, attribute_weights
from CLIPLungLib.reproduction.objective import TextTerms, loss_terms
from CLIPLungLib.reproduction.protocol import ATTRIBUTE_WORDS, CLIP_LUNG, ROWS, THREE_CLASSES, TWO_CLASSES
from CLIPLungLib.reproduction.training import grey_values
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, CLASSES


def batch_of(task, count=6):
    nodules = as_nodule_set(NODULES, made_up_crops(), TINY.seed)
    chosen = np.flatnonzero(task.holds(nodules.label))[:count]
    return (
        torch.from_numpy(grey_values(nodules.crops.hu[chosen], TINY)),
        torch.from_numpy(task.answer_of(nodules.label[chosen])),
        torch.from_numpy(nodules.attribute_weight[chosen]),
        nodules.label[chosen],
    )


def parts_of(task, row=ROWS[CLIP_LUNG]):
    torch.manual_seed(3)
    encoder = MarkedLetters()
    network = PublishedNetwork(32, TINY.width, len(task.classes), TINY.context_tokens, encoder.dim).eval()
    terms = TextTerms(encoder, task, row, TINY)
    torch.nn.init.normal_(terms.prompts.condition[2].weight)
    return encoder, network, terms


def text_feature(encoder, terms, image, name):
    """One text alone: start mark, a learned token for each feature of the image, the name's letters, end mark."""
    ids = encoder.tokenize([name]).ids
    tokens = encoder.embed(ids)[0]
    context = torch.stack(
        [terms.prompts.context[t] + terms.prompts.condition(image[t]) for t in range(TINY.context_tokens)]
    )
    sequence = torch.cat([tokens[:1], context, tokens[1:]]).unsqueeze(0)
    return encoder.encode(sequence, torch.ones(sequence.shape[:2], dtype=torch.bool))[0]


@pytest.mark.parametrize("task", [THREE_CLASSES, TWO_CLASSES], ids=lambda task: task.name)
def test_losses_equal_a_plain_loop_in_which_each_label_meets_the_text_of_its_own_name(task):
    encoder, network, terms = parts_of(task)
    crops, answer, weight, label = batch_of(task)
    found = loss_terms(network, terms, crops, answer, weight)
    features = network.features(network.maps(crops))
    sums = dict.fromkeys(("image_class", "image_attribute", "class_attribute"), 0.0)
    for image, own_weight, own_label in zip(features, weight, label, strict=True):
        classes = {CLASSES[index]: text_feature(encoder, terms, image, CLASSES[index]) for index in task.classes}
        attributes = [text_feature(encoder, terms, image, name) for name in ATTRIBUTE_WORDS]
        own_class = classes[CLASSES[own_label]]
        for feature in image:
            to_classes = torch.stack([feature @ text for text in classes.values()]) / 0.07
            sums["image_class"] -= feature @ own_class / 0.07 - to_classes.logsumexp(0)
            to_attributes = torch.stack([feature @ text for text in attributes]) / 0.07
            sums["image_attribute"] -= (own_weight * to_attributes.log_softmax(0)).sum()
        of_class = torch.stack([own_class @ text for text in attributes]) / 0.07
        sums["class_attribute"] -= 0.5 * (own_weight * of_class.log_softmax(0)).sum()
    for name, value in sums.items():
        torch.testing.assert_close(found[name], value / len(label), atol=1e-4, rtol=1e-4)


def test_cross_entropy_is_that_of_each_samples_own_label():
    _, network, terms = parts_of(TWO_CLASSES)
    crops, answer, weight, label = batch_of(TWO_CLASSES)
    assert set(label.tolist()) == {0, 2}
    logits = network(crops).log_softmax(1)
    expected = -torch.stack([logits[place, 0 if own == 0 else 1] for place, own in enumerate(label)]).mean()
    torch.testing.assert_close(loss_terms(network, terms, crops, answer, weight)["cross_entropy"], expected)


def test_every_image_has_texts_of_its_own():
    _, network, terms = parts_of(THREE_CLASSES)
    crops, *_ = batch_of(THREE_CLASSES)
    features = network.features(network.maps(crops))
    texts = terms.texts.features(terms.prompts(features))
    assert texts.shape == (len(crops), 3 + 8, 32)
    moved = features.clone()
    moved[2, 1] = -moved[2, 1]
    change = (terms.texts.features(terms.prompts(moved)) - texts).abs().amax(dim=2)
    assert (change[2] > 1e-4).all()
    assert change[[0, 1, 3, 4, 5]].max() < 1e-6


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("cross-entropy", {"cross_entropy"}),
        ("ic", {"cross_entropy", "image_class"}),
        ("ic-ia", {"cross_entropy", "image_class", "image_attribute"}),
        ("ic-ca", {"cross_entropy", "image_class", "class_attribute"}),
        ("clip-lung", {"cross_entropy", "image_class", "image_attribute", "class_attribute"}),
    ],
)
def test_each_row_has_its_own_terms(row, names):
    _, network, terms = parts_of(THREE_CLASSES, ROWS[row])
    crops, answer, weight, _ = batch_of(THREE_CLASSES)
    text_terms = terms if ROWS[row].has_texts else None
    assert set(loss_terms(network, text_terms, crops, answer, weight)) == names


def test_the_text_encoder_never_learns_but_prompts_tau_and_network_do():
    encoder, network, terms = parts_of(THREE_CLASSES)
    crops, answer, weight, _ = batch_of(THREE_CLASSES)
    sum(loss_terms(network, terms, crops, answer, weight).values()).backward()
    assert all(parameter.grad is None for parameter in encoder.parameters())
    learned = [terms.prompts.context, terms.log_scale, network.head.weight, network.features.mix.weight]
    assert all(parameter.grad.abs().sum() > 0 for parameter in learned)


def test_context_begins_with_the_words_whose_place_it_takes():
    encoder, _, terms = parts_of(THREE_CLASSES)
    letters = encoder.embed(torch.tensor([[ord(letter) for letter in "nodule"]]))[0]
    torch.testing.assert_close(terms.prompts.context[1], letters.mean(dim=0))
    assert len(terms.prompts.context) == 4


def test_attribute_weights_are_the_softmax_of_the_mean_ratings_in_the_order_of_the_texts():
    ratings = np.array([[5.0, 1.0, 6.0, 4.0, 4.5, 1.5, 1.0, 5.0]])
    expected = np.exp(ratings) / np.exp(ratings).sum()
    np.testing.assert_allclose(attribute_weights(ratings), expected, rtol=1e-6)
    assert [name.replace("S", " s").lower() for name in ATTRIBUTE_NAMES] == list(ATTRIBUTE_WORDS)
