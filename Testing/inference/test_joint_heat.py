"""The heat map of two readers: the mean of both in the middle plane, half the network's in the others."""

from __future__ import annotations

import pytest
import torch
from helpers.brightness_network import Brightness, bright_block
from torch.testing import assert_close

from CLIPLungLib.inference.explain_targets import HARMLESSNESS, SUSPICION
from CLIPLungLib.inference.grad_cam import answer_with_grad_cam
from CLIPLungLib.inference.joint_heat import answer_with_joint_heat
from CLIPLungLib.model.second_outputs import SECOND_OUTPUTS
from CLIPLungLib.model.second_reader import SecondReader

PIXEL_MM = 1.5
EXISTS = torch.tensor([[True, True, False]])


@pytest.fixture(scope="module")
def second_reader():
    torch.manual_seed(5)
    made = SecondReader(centres=6)
    made.centres.normal_()
    made.coefficients.normal_()
    made.is_told.fill_(1.0)
    return made


def test_without_a_second_reader_the_map_is_the_networks():
    planes = bright_block(8, 8)
    found = answer_with_joint_heat((Brightness(), None), planes, EXISTS, PIXEL_MM)
    assert found.second is None
    assert_close(found.heat, answer_with_grad_cam(Brightness(), planes, EXISTS)[1])


def test_the_map_is_the_mean_of_both(second_reader):
    planes = bright_block(8, 8)
    planes[0, 0, 8:16, 8:16] = 0.8
    network_heat = answer_with_grad_cam(Brightness(), planes, EXISTS)[1]
    found = answer_with_joint_heat((Brightness(), second_reader), planes, EXISTS, PIXEL_MM)
    assert_close(found.second, second_reader(planes, EXISTS, PIXEL_MM))
    assert_close(found.heat[0, [0, 2]], network_heat[0, [0, 2]] / 2)
    own = 2 * found.heat[0, 1] - network_heat[0, 1]
    assert own.min() > -1e-6
    assert 0.1 < own.max() <= 1 + 1e-6


def test_harmlessness_is_the_other_side_of_suspicion(second_reader):
    planes = bright_block(8, 8)
    readers = (Brightness(), second_reader)
    target = {SUSPICION: lambda output: output.malignancy_score, HARMLESSNESS: lambda output: -output.malignancy_score}
    own = {}
    for name, of_network in target.items():
        network_heat = answer_with_grad_cam(Brightness(), planes, EXISTS, target=of_network)[1]
        found = answer_with_joint_heat(readers, planes, EXISTS, PIXEL_MM, explained=(name, of_network))
        own[name] = 2 * found.heat[0, 1] - network_heat[0, 1]
    assert_close(own[SUSPICION] * own[HARMLESSNESS], torch.zeros(32, 32), atol=1e-5, rtol=0)
    # Both in units of the strongest relevance of either sign.
    assert max(float(heat.max()) for heat in own.values()) == pytest.approx(1.0, abs=1e-5)


def test_only_what_the_second_reader_tells_is_explained_by_it(second_reader):
    planes = bright_block(8, 8)
    network_heat = answer_with_grad_cam(Brightness(), planes, EXISTS)[1]

    def heat_of(name: str) -> torch.Tensor:
        return answer_with_joint_heat(
            (Brightness(), second_reader), planes, EXISTS, PIXEL_MM, explained=(name, None)
        ).heat

    assert_close(heat_of("calcification"), network_heat)
    assert not torch.allclose(heat_of("spiculation"), network_heat)
    assert not torch.allclose(heat_of("spiculation"), heat_of("texture"))


def test_an_output_nobody_told_leaves_the_networks_map():
    untold = SecondReader(centres=3)
    planes = bright_block(8, 8)
    found = answer_with_joint_heat((Brightness(), untold), planes, EXISTS, PIXEL_MM)
    assert found.second.isnan().all()
    assert found.second.shape == (1, len(SECOND_OUTPUTS))
    assert_close(found.heat, answer_with_grad_cam(Brightness(), planes, EXISTS)[1])


@pytest.mark.parametrize("with_second", [False, True])
def test_within_the_outline_nothing_spills_over_its_rim(with_second, second_reader):
    planes = bright_block(8, 8)
    readers = (Brightness(), second_reader if with_second else None)
    spilling = answer_with_joint_heat(readers, planes, EXISTS, PIXEL_MM).heat
    within = answer_with_joint_heat(readers, planes, EXISTS, PIXEL_MM, within_outline=True).heat
    outside = planes == 0
    assert spilling[outside].max() > 0.1
    assert within[outside].max() < 1e-6
    assert_close(within[~outside], spilling[~outside])


def test_a_patch_without_an_outline_has_an_empty_map_within_it(second_reader):
    planes = torch.full((1, 3, 32, 32), 0.2)
    readers = (Brightness(), second_reader)
    assert answer_with_joint_heat(readers, planes, EXISTS, PIXEL_MM).heat.max() > 0.4
    assert answer_with_joint_heat(readers, planes, EXISTS, PIXEL_MM, within_outline=True).heat.max() < 1e-4
