"""What a map explains: numbers of the network's own answer, and maps that differ from suspicion's only by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.inference.explain_targets import (
    EXPLAINABLE,
    USUAL_CODE,
    explain_targets,
    explains,
    require_explainable,
)
from CLIPLungLib.inference.grad_cam import answer_with_grad_cam
from CLIPLungLib.inference.readout import level_probabilities
from CLIPLungLib.vocabulary import ATTRIBUTES, level_columns

NODULE_RAS = (10.0, -20.0, 30.0)


@pytest.fixture(scope="module")
def trained(tiny_checkpoint_file):
    """A small network whose heads say something, as after a training."""
    checkpoint = load_checkpoint(tiny_checkpoint_file)
    torch.manual_seed(1)
    for head in (checkpoint.network.rating_head, checkpoint.network.class_head):
        torch.nn.init.normal_(head.weight, std=0.1)
    return checkpoint


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 9, 32, 32, generator=generator), torch.ones(2, 9, dtype=torch.bool)


def test_targets_are_the_numbers_of_the_answer(trained, inputs):
    targets = explain_targets(trained.level_text, trained.text_scale)
    assert tuple(targets) == EXPLAINABLE
    with torch.inference_mode():
        output = trained.network(*inputs)
        found = {name: target(output) for name, target in targets.items()}
    assert_close(found["suspicion"], output.malignancy_score)
    assert_close(found["harmlessness"], -output.malignancy_score)
    cosines = (output.image_features @ trained.level_text.T).mean(dim=1).numpy().astype(np.float64)
    for patch in range(2):
        shares = level_probabilities(cosines[patch], trained.text_scale)
        for attribute in ATTRIBUTES:
            own = shares[level_columns(attribute.name)]
            usual = USUAL_CODE.get(attribute.name)
            expected = own @ np.array(attribute.codes)
            if usual is not None:
                expected = np.log((1 - own[usual - 1]) / own[usual - 1])
            assert float(found[attribute.name][patch]) == pytest.approx(expected, abs=1e-4)


def test_without_a_target_the_map_is_suspicions_bit_for_bit(trained, inputs):
    targets = explain_targets(trained.level_text, trained.text_scale)
    reference = trained.average_cell
    output, plain = answer_with_grad_cam(trained.network, *inputs, reference)
    again, suspicion = answer_with_grad_cam(trained.network, *inputs, reference, targets["suspicion"])
    assert torch.equal(plain, suspicion)
    assert torch.equal(output.malignancy_score, again.malignancy_score)


def test_harmlessness_is_what_speaks_against_suspicion(trained, inputs):
    targets = explain_targets(trained.level_text, trained.text_scale)
    _, suspicion = answer_with_grad_cam(trained.network, *inputs, trained.average_cell, targets["suspicion"])
    _, harmlessness = answer_with_grad_cam(trained.network, *inputs, trained.average_cell, targets["harmlessness"])
    # Both are in units of the strongest of either, so one of them reaches 1.
    assert_close(torch.maximum(suspicion, harmlessness).amax(dim=(1, 2, 3)), torch.ones(2))
    assert not torch.allclose(suspicion, harmlessness)


@pytest.mark.parametrize("name", EXPLAINABLE)
def test_every_map_is_finite_and_one_of_its_own(trained, inputs, name):
    targets = explain_targets(trained.level_text, trained.text_scale)
    _, plain = answer_with_grad_cam(trained.network, *inputs, trained.average_cell)
    _, found = answer_with_grad_cam(trained.network, *inputs, trained.average_cell, targets[name])
    assert torch.isfinite(found).all()
    assert 0 <= found.min() <= found.max() <= 1
    assert found.any()
    assert torch.equal(found, plain) == (name == "suspicion")


def test_an_unusual_kind_is_explained_however_sure_the_network_is(trained, inputs):
    sure = explain_targets(trained.level_text, 50 * trained.text_scale)
    _, found = answer_with_grad_cam(trained.network, *inputs, trained.average_cell, sure["calcification"])
    assert found.any()


def test_explanation_lies_where_the_answers_own_map_lies(tiny, ball_ct):
    result = tiny.classify(ball_ct, NODULE_RAS)
    heat, heat_to_ras = tiny.explain(ball_ct, NODULE_RAS, "suspicion")
    np.testing.assert_array_equal(heat, result.heatmap)
    np.testing.assert_array_equal(heat_to_ras, result.heatmap_to_ras)
    assert heat.dtype == np.float32
    other, _ = tiny.explain(ball_ct, NODULE_RAS, "spiculation")
    assert other.shape == heat.shape
    assert not np.array_equal(other, heat)


def test_unknown_names_and_places_are_refused(tiny, ball_ct):
    with pytest.raises(
        InputError, match=r"'colour' cannot be explained\. Choose from suspicion, harmlessness, subtlety"
    ):
        tiny.explain(ball_ct, NODULE_RAS, "colour")
    with pytest.raises(InputError, match="lies outside"):
        tiny.explain(ball_ct, (500.0, 0.0, 0.0), "texture")
    assert require_explainable("texture") == "texture"


def test_names_are_said_in_words():
    assert explains("harmlessness") == "harmlessness"
    assert explains("spiculation") == "spiculation 'with marked spiculation'"
    assert explains("calcification") == "calcification other than 'without calcification'"
    assert len({explains(name) for name in EXPLAINABLE}) == len(EXPLAINABLE)
