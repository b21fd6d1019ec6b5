"""Grad-CAM by hand: gradients averaged over the patch, compared with the average nodule, on the patch's grid, in units of the strongest."""

from __future__ import annotations

import pytest
import torch
from helpers.brightness_network import Brightness, bright_block
from torch.testing import assert_close

from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.inference.grad_cam import _on_patch_grid, _relevance, answer_with_grad_cam, heat_of_relevance
from CLIPLungLib.model.image_encoder import FeatureMaps

# Three maps of 2 channels and 2 x 2 cells: two of patch 0 (planes 0 and 2), one of patch 1 (plane 1).
PATCH, PLANE = torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1])


def feature_maps(plane_of_map: torch.Tensor = PLANE) -> FeatureMaps:
    maps = torch.arange(24.0).reshape(3, 2, 2, 2)
    weight = torch.tensor([0.5, 1.0, 0.25])[:, None, None].expand(3, 2, 2)
    return FeatureMaps(maps, weight, PATCH, plane_of_map, None, None)


def gradients() -> torch.Tensor:
    """Uneven within a map, so that only their mean over the patch gives 1.5 and -1 (patch 0), 2 and 0.5 (patch 1)."""
    gradient = torch.zeros(3, 2, 2, 2)
    gradient[0, 0, 0, 1], gradient[1, 0, 1, 1] = 10.0, 2.0
    gradient[1, 1, 0, 0] = -8.0
    gradient[2, 0], gradient[2, 1] = 2.0, torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    return gradient


def test_channels_are_weighed_by_their_mean_gradient_over_the_whole_patch():
    maps = feature_maps()
    expected = torch.stack([1.5 * m[0] - m[1] for m in maps.maps[:2]] + [2.0 * maps.maps[2, 0] + 0.5 * maps.maps[2, 1]])
    assert_close(_relevance(maps, gradients(), 2, None), expected)


def test_average_nodule_is_taken_off_under_the_gate():
    maps, reference = feature_maps(), torch.tensor([2.0, 3.0])
    plain = _relevance(maps, gradients(), 2, None)
    # 1.5 * 2 - 1 * 3 = 0 in patch 0, 2 * 2 + 0.5 * 3 = 5.5 in patch 1, whose gate is a quarter open.
    taken = torch.tensor([0.0, 0.0, 5.5 * 0.25])[:, None, None]
    assert_close(_relevance(maps, gradients(), 2, reference), plain - taken)
    taken = torch.tensor([1.5 * 0.5, 1.5, 2.0 * 0.25])[:, None, None]
    assert_close(_relevance(maps, gradients(), 2, torch.tensor([1.0, 0.0])), plain - taken)


def test_each_map_lies_on_its_own_plane_and_the_others_stay_dark():
    relevance = torch.arange(1.0, 13.0).reshape(3, 2, 2)
    grid = _on_patch_grid(relevance, feature_maps(), torch.ones(2, 3), torch.Size((2, 3, 2, 2)))
    expected = torch.zeros(2, 3, 2, 2)
    expected[0, 0], expected[0, 2], expected[1, 1] = relevance
    assert_close(grid, expected)
    exists = torch.tensor([[1, 0, 0], [0, 0, 1]])
    expected[0, 2], expected[1, 1] = 0, 0
    assert_close(_on_patch_grid(relevance, feature_maps(), exists, torch.Size((2, 3, 2, 2))), expected)


def test_a_map_of_all_planes_lies_on_each():
    maps = FeatureMaps(
        torch.zeros(2, 1, 2, 2), torch.ones(2, 2, 2), torch.arange(2), torch.tensor([-1, -1]), None, None
    )
    relevance = torch.arange(1.0, 9.0).reshape(2, 2, 2)
    grid = _on_patch_grid(relevance, maps, torch.ones(2, 3), torch.Size((2, 3, 2, 2)))
    assert_close(grid, relevance[:, None].expand(2, 3, 2, 2))


def test_plane_zero_alone_is_a_plane_of_its_own():
    maps = FeatureMaps(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2), torch.tensor([0]), torch.tensor([0]), None, None)
    grid = _on_patch_grid(torch.ones(1, 2, 2), maps, torch.ones(1, 3), torch.Size((1, 3, 2, 2)))
    assert grid.sum(dim=(2, 3)).tolist() == [[4, 0, 0]]


def test_interpolation_never_undershoots_nothing():
    relevance = torch.zeros(3, 5, 5)
    relevance[0, 2, 2] = 1.0
    free = torch.nn.functional.interpolate(relevance[:1, None], (20, 20), mode="bicubic", align_corners=False)
    assert free.min() < -0.01
    grid = _on_patch_grid(relevance, feature_maps(), torch.ones(2, 3), torch.Size((2, 3, 20, 20)))
    assert grid.min() == 0
    assert_close(grid[0, 0], free[0, 0].clamp(min=0))


def heat(*values: float) -> torch.Tensor:
    """The heat map of one-cell relevances: maps 0 and 1 of patch 0, map 2 of patch 1."""
    relevance = torch.tensor(values)[:, None, None].expand(3, 2, 2)
    return heat_of_relevance(relevance, feature_maps(), torch.ones(2, 3), torch.Size((2, 3, 2, 2)))[:, :, 0, 0]


def test_heat_is_in_units_of_the_patchs_strongest_relevance_of_either_sign():
    assert_close(heat(2.0, 1.0, 3.0), torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]))
    assert_close(heat(2.0, -8.0, -3.0), torch.tensor([[0.25, 0.0, 0.0], [0.0, 0.0, 0.0]]))


def test_no_relevance_at_all_is_an_empty_map_and_no_nan():
    assert heat(0.0, 0.0, 0.0).eq(0).all()


def test_faint_relevance_is_scaled_like_any_other():
    assert_close(heat(1e-20, 5e-21, 0.0)[0], torch.tensor([1.0, 0.0, 0.5]))


@pytest.mark.parametrize("with_reference", [False, True])
def test_map_is_that_of_the_score_and_leaves_the_network_as_it_was(tiny_checkpoint_file, with_reference):
    checkpoint = load_checkpoint(tiny_checkpoint_file)
    network = checkpoint.network
    planes, exists = torch.rand(2, 9, 32, 32, generator=torch.manual_seed(0)), torch.ones(2, 9, dtype=torch.bool)
    exists[1, 6:] = False
    reference = checkpoint.average_cell + 0.1 if with_reference else None
    output, found = answer_with_grad_cam(network, planes, exists, reference)
    with torch.inference_mode():
        assert_close(network(planes, exists).malignancy_score, output.malignancy_score.detach())
    maps = network.encoder(planes, exists)
    leaf = maps.maps.detach().requires_grad_(True)
    scores = network.read(type(maps)(**vars(maps) | {"maps": leaf}), 2).malignancy_score
    (gradient,) = torch.autograd.grad(scores.sum(), leaf)
    assert_close(found, heat_of_relevance(_relevance(maps, gradient, 2, reference), maps, exists, planes.shape))
    assert found[1, 6:].eq(0).all()
    assert not any(parameter.requires_grad for parameter in network.parameters())


EXISTS = torch.tensor([[True, True, False]])
OTHER_SIDE = {False: lambda output: output.malignancy_score, True: lambda output: -output.malignancy_score}


def test_map_lies_at_the_nodule_and_moves_with_it():
    def heat_of(row: int, column: int) -> torch.Tensor:
        return answer_with_grad_cam(Brightness(), bright_block(row, column), EXISTS)[1]

    first, moved = heat_of(8, 8), heat_of(16, 12)
    assert first[0, 1, 8:16, 8:16].min() > 0.25
    assert first.max() > 0.9
    assert first[0, [0, 2]].eq(0).all()
    assert_close(moved[0, :, 8:, 4:], first[0, :, :-8, :-4], atol=1e-6, rtol=0)


def test_both_sides_of_the_answer_can_be_asked_for():
    planes = bright_block(8, 8)
    # Brighter than the average nodule speaks for the score, darker against it.
    for average, side_that_speaks in ((0.5, False), (2.0, True)):
        for side, target in OTHER_SIDE.items():
            _, found = answer_with_grad_cam(Brightness(), planes, EXISTS, torch.tensor([average]), target)
            assert torch.isfinite(found).all()
            speaks = found[0, 1, 11:13, 11:13]
            assert (speaks.max() > 0.2) if side == side_that_speaks else speaks.eq(0).all()
