"""Image encoders, heads and volumetric Grad-CAM."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from CLIPLungLib.inference.grad_cam import answer_with_grad_cam
from CLIPLungLib.model.image_encoder import (
    FeatureMaps,
    OutlineDecoder,
    nearest_existing,
    outline_probability,
    with_soft_tissue,
)
from CLIPLungLib.model.network import ChannelGroupProjection, CLIPLungNetwork, NetworkConfig

SMALL = {"planes": 5, "pixels": 32, "text_dim": 12}


@pytest.fixture(params=["slice", "efficientnet", "channel"])
def network(request) -> CLIPLungNetwork:
    torch.manual_seed(0)
    return CLIPLungNetwork(NetworkConfig(encoder=request.param, **SMALL)).eval()


def patches(exists: list[list[bool]]) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.tensor(exists)
    return torch.rand(*mask.shape, 32, 32), mask


def test_output_has_one_row_per_patch(network):
    output = network(*patches([[True] * 5, [False, True, True, False, False]]))
    assert output.class_logits.shape == (2, 3)
    assert output.malignancy_score.shape == output.log_diameter.shape == output.rating.shape == (2,)
    torch.testing.assert_close(output.image_features.norm(dim=2), torch.ones(2, 4))


def test_values_of_absent_planes_do_not_matter(network):
    planes, exists = patches([[False, True, True, False, False]])
    changed = planes.clone()
    changed[~exists] = 7.0
    torch.testing.assert_close(network(planes, exists).malignancy_score, network(changed, exists).malignancy_score)


def test_answers_do_not_depend_on_the_rest_of_the_batch(network):
    planes, exists = patches([[True] * 5, [False, True, True, False, False], [False, False, True, False, False]])
    together = network(planes, exists).malignancy_score
    alone = torch.cat([network(planes[[b]], exists[[b]]).malignancy_score for b in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_slice_encoder_does_not_count_planes():
    network = CLIPLungNetwork(NetworkConfig(**SMALL)).eval()
    planes, exists = patches([[True] * 5])
    same = planes[:, :1].expand(-1, 5, -1, -1).contiguous()
    once = torch.tensor([[True, False, False, False, False]])
    torch.testing.assert_close(
        network(same, exists).malignancy_score, network(same, once).malignancy_score, atol=1e-3, rtol=1e-3
    )


def test_pooling_is_the_gated_mean_and_maximum():
    maps = torch.tensor([[[[1.0, 2.0]]], [[[4.0, 0.0]]], [[[3.0, 3.0]]]])  # (3, 1, 1, 2)
    weight = torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]], [[0.5, 0.5]]])
    pooled = FeatureMaps(maps, weight, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), None, None).pooled(2)
    torch.testing.assert_close(pooled[:, 0, 0], torch.tensor([7 / 3, 6.0]), rtol=2e-3, atol=0)
    torch.testing.assert_close(pooled[:, 1, 0], torch.tensor([4.0, 3.0]))


def test_nearest_existing_plane():
    exists = torch.tensor([[False, False, True, False, True], [True, True, True, True, True]])
    assert nearest_existing(exists).tolist() == [[2, 2, 2, 2, 4], [0, 1, 2, 3, 4]]


def test_soft_tissue_is_stretched_and_the_grey_values_kept():
    # -1000, -150, 100, 350 and 400 HU on the window of -1000..400 HU.
    planes = torch.tensor([0.0, 850 / 1400, 1100 / 1400, 1350 / 1400, 1.0]).view(1, 1, 5)
    both = with_soft_tissue(planes)
    assert both.shape == (1, 2, 1, 5)
    assert torch.equal(both[:, 0], planes)
    torch.testing.assert_close(both[0, 1, 0], torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]))


def test_outline_has_the_size_of_the_planes():
    levels = [torch.rand(3, width, size, size) for width, size in [(8, 4), (6, 8), (5, 16)]]
    assert OutlineDecoder((8, 6, 5))(levels).shape == (3, 32, 32)
    planes, exists = patches([[False, True, True, False, False], [True] * 5])
    network = CLIPLungNetwork(NetworkConfig(**SMALL)).eval()
    maps = network(planes, exists).maps
    assert maps.outline_logits.shape == (7, 32, 32)
    inside = outline_probability(maps, 2, 5)
    assert inside.shape == (2, 5, 32, 32)
    torch.testing.assert_close(inside[0, 1], torch.sigmoid(maps.outline_logits[0]))
    assert inside[0, [0, 3, 4]].abs().sum() == 0


def test_outline_learns_a_disc():
    torch.manual_seed(0)
    network = CLIPLungNetwork(NetworkConfig(**SMALL))
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    centres = torch.tensor([[10.0, 12.0], [16.0, 16.0], [20.0, 14.0], [15.0, 21.0]])
    disc = torch.stack([((y - cy) ** 2 + (x - cx) ** 2 <= 25).float() for cy, cx in centres])
    planes, exists = (0.1 + 0.6 * disc).unsqueeze(1), torch.ones(4, 1, dtype=torch.bool)
    optimizer = torch.optim.Adam(network.encoder.parameters(), lr=3e-3)
    for _ in range(40):
        logits = network.encoder(planes, exists).outline_logits
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(logits, disc).backward()
        optimizer.step()
    found = network.encoder(planes, exists).outline_logits > 0
    overlap = 2 * (found * disc).sum() / (found.sum() + disc.sum())
    assert overlap > 0.95


def test_projection_keeps_channel_groups_apart():
    torch.manual_seed(0)
    projection = ChannelGroupProjection(channels=8, groups=4, text_dim=5)
    pooled = torch.rand(1, 2, 8)
    changed = pooled.clone()
    changed[:, :, 2:4] += 1  # the channels of group 1
    moved = (projection(changed) - projection(pooled)).abs().sum(dim=2)[0]
    assert moved[1] > 0
    assert moved[[0, 2, 3]].sum() == 0


def test_unequal_channel_groups_are_refused():
    with pytest.raises(ValueError, match="equal groups"):
        ChannelGroupProjection(channels=10, groups=4, text_dim=5)


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="unknown network settings"):
        NetworkConfig.from_dict({"layers": 3})
    with pytest.raises(ValueError, match="encoder must be"):
        NetworkConfig(encoder="transformer")


class _BrightCells(nn.Module):
    """An encoder whose one feature is the brightness of 4 x 4 pixel cells."""

    channels = 1

    def forward(self, planes, exists):
        patch, plane = exists.nonzero(as_tuple=True)
        maps = nn.functional.avg_pool2d(planes[exists].unsqueeze(1), 4)
        return FeatureMaps(maps, torch.ones_like(maps[:, 0]), patch, plane, None, None)


class _MeanReader(CLIPLungNetwork):
    """Suspicion = weight x mean brightness, so Grad-CAM must equal the brightness itself."""

    def __init__(self, weight: float = 3.0) -> None:
        nn.Module.__init__(self)
        self.encoder = _BrightCells()
        self.frozen = nn.Parameter(torch.tensor(weight), requires_grad=False)

    def read(self, maps, patches):
        class Output:
            malignancy_score = self.frozen * maps.pooled(patches)[:, 0, 0]

        return Output


def test_grad_cam_equals_hand_computed_relevance():
    planes = torch.zeros(1, 3, 32, 32)
    planes[0, 1, 8:12, 20:24] = 1.0
    exists = torch.tensor([[True, True, False]])
    _, heat = answer_with_grad_cam(_MeanReader(), planes, exists)
    peak = np.unravel_index(int(heat[0].argmax()), tuple(heat[0].shape))
    assert peak[0] == 1
    assert 8 <= peak[1] < 12
    assert 20 <= peak[2] < 24
    assert heat.max() == 1
    # Bicubic spreading reaches two cells further and no more.
    assert heat[0, 1, :, :12].sum() == heat[0, 0].sum() == heat[0, 2].sum() == 0


def test_grad_cam_of_an_empty_patch_is_zero_not_nan():
    _, heat = answer_with_grad_cam(_MeanReader(), torch.zeros(1, 3, 32, 32), torch.ones(1, 3, dtype=torch.bool))
    assert heat.abs().sum() == 0


def test_grad_cam_against_the_average_nodule_shows_what_exceeds_it():
    planes, exists = torch.full((1, 1, 32, 32), 0.4), torch.ones(1, 1, dtype=torch.bool)
    planes[0, 0, 8:12, 20:24] = 1.0
    _, alone = answer_with_grad_cam(_MeanReader(), planes, exists)
    _, compared = answer_with_grad_cam(_MeanReader(), planes, exists, torch.tensor([0.4]))
    assert alone[0, 0, 30, 2] == pytest.approx(0.4, abs=0.05)
    assert compared[0, 0, 30, 2] == pytest.approx(0.0, abs=1e-6)
    assert compared[0, 0, 10, 22] == pytest.approx(1.0, abs=0.05)
    # Less than the average of what speaks against malignancy speaks for it.
    _, lacking = answer_with_grad_cam(_MeanReader(-3.0), planes, exists, torch.tensor([1.0]))
    assert lacking[0, 0, 30, 2] > 0.8
    assert lacking[0, 0, 10, 22] < 0.2


def test_what_speaks_against_suspicion_is_no_heat():
    planes = torch.rand(1, 3, 32, 32)
    _, heat = answer_with_grad_cam(_MeanReader(-3.0), planes, torch.ones(1, 3, dtype=torch.bool))
    assert heat.max() == 0


def test_faint_relevance_is_not_blown_up_where_much_speaks_against():
    class TwoChannels(_BrightCells):
        channels = 2

        def forward(self, planes, exists):
            patch, plane = exists.nonzero(as_tuple=True)
            maps = torch.zeros(len(patch), 2, 8, 8)
            maps[1, 0, 4, 4] = 0.1  # speaks for malignancy, faintly
            maps[1, 1, 1, 1] = 1.0  # speaks against it
            return FeatureMaps(maps, torch.ones_like(maps[:, 0]), patch, plane, None, None)

    class Reader(_MeanReader):
        def read(self, maps, patches):
            class Output:
                malignancy_score = maps.pooled(patches)[:, 0, 0] - maps.pooled(patches)[:, 0, 1]

            return Output

    network = Reader()
    network.encoder = TwoChannels()
    _, heat = answer_with_grad_cam(network, torch.zeros(1, 3, 32, 32), torch.ones(1, 3, dtype=torch.bool))
    assert heat.max() == pytest.approx(0.1, rel=1e-4)
    assert heat[0, 1, 16:20, 16:20].max() == heat.max()


def test_grad_cam_leaves_the_network_as_it_was_and_agrees_with_a_plain_call(network):
    network.requires_grad_(False)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    planes, exists = patches([[True] * 5, [False, True, True, False, False]])
    output, heat = answer_with_grad_cam(network, planes, exists)
    torch.testing.assert_close(output.malignancy_score, network(planes, exists).malignancy_score)
    assert heat.shape == planes.shape
    assert heat.min() >= 0
    assert heat[1, [0, 3, 4]].abs().sum() == 0
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_grad_cam_of_a_batch_equals_that_of_each_patch(network):
    planes, exists = patches([[True] * 5, [False, True, True, False, False]])
    _, together = answer_with_grad_cam(network, planes, exists)
    for b in range(2):
        _, alone = answer_with_grad_cam(network, planes[[b]], exists[[b]])
        torch.testing.assert_close(together[[b]], alone, atol=1e-3, rtol=1e-2)


def test_a_rating_of_votes_is_their_mean_under_the_logits():
    network = CLIPLungNetwork(NetworkConfig(planes=5, pixels=32, text_dim=8, ordinal_rating=True)).eval()
    network.rating_head.weight.data.zero_()
    network.rating_head.bias.data.copy_(torch.tensor([2.0, 0.0, -1.0, -30.0]))
    planes, exists = torch.rand(2, 5, 32, 32), torch.ones(2, 5, dtype=torch.bool)
    output = network(planes, exists)
    expected = 1 + sum(1 / (1 + np.exp(-logit)) for logit in (2.0, 0.0, -1.0, -30.0))
    np.testing.assert_allclose(output.rating.detach().numpy(), [expected] * 2, rtol=1e-6)
    assert output.vote_logits is not None
    assert output.vote_logits.shape == (2, 4)
    assert CLIPLungNetwork(NetworkConfig(planes=5, pixels=32, text_dim=8))(planes, exists).vote_logits is None
