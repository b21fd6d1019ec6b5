"""Every way to make a map, on a network made so that the right map is known, and random weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from CLIPLungLib.image.patch import Patch, PatchSpec
from CLIPLungLib.model.network import CLIPLungNetwork, NetworkConfig
from CLIPLungLib.model.second_reader import SecondReader
from CLIPLungLib.saliency.controls import BLOB_SD_MM, CONTROLS, blob_at
from CLIPLungLib.saliency.map_input import HARMLESS, SUSPICIOUS, MapInput
from CLIPLungLib.saliency.methods import METHODS, integrated_gradients, occlusion
from CLIPLungLib.saliency.weight_randomisation import cascade, layer_names, layers

SPEC = PatchSpec(shape=(5, 32, 32), spacing_mm=(2.0, 1.0, 1.0))
CENTER_RAS = np.array([3.0, -4.0, 50.0])
EXISTS = np.array([True, True, True, True, False])
SIGNED = [name for name in METHODS if name not in ("gate", "outline", "grad_cam_plus_plus")]


def network_of(encoder: str = "slice") -> CLIPLungNetwork:
    torch.manual_seed(3)
    return CLIPLungNetwork(NetworkConfig(encoder=encoder, planes=5, pixels=32, text_dim=8)).eval().requires_grad_(False)


def map_input_of(network: CLIPLungNetwork, side: float = SUSPICIOUS) -> MapInput:
    """A ball of soft tissue in lung, a quarter of the plane off the middle."""
    hu = np.full(SPEC.shape, -850, np.float32)
    hu[1:3, 4:12, 20:28] = 40
    patch = Patch(CENTER_RAS, hu, EXISTS, SPEC.grid_to_ras(CENTER_RAS), 1.0)
    planes, exists = torch.from_numpy(SPEC.normalise(hu))[None], torch.from_numpy(EXISTS)[None]
    return MapInput(network, None, planes, exists, patch, SPEC, CENTER_RAS, side, None)


@pytest.fixture(scope="module")
def networks():
    return {encoder: network_of(encoder) for encoder in ("slice", "efficientnet")}


@pytest.mark.parametrize("encoder", ["slice", "efficientnet"])
@pytest.mark.parametrize("name", [*METHODS, *CONTROLS])
def test_every_map_is_on_the_patchs_grid_in_0_to_1_and_dark_in_absent_planes(networks, encoder, name):
    if name == "integrated_gradients":
        pytest.importorskip("captum", reason="needs the extra 'train'")
    network = networks[encoder]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    heats = [{**METHODS, **CONTROLS}[name](map_input_of(network, side)) for side in (SUSPICIOUS, HARMLESS)]
    for heat in heats:
        assert heat.shape == SPEC.shape
        assert np.isfinite(heat).all()
        assert heat.min() >= 0
        assert heat.max() <= 1
        assert not heat[~EXISTS].any()
    assert any(heat.any() for heat in heats)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("name", SIGNED)
def test_the_two_sides_never_claim_the_same_voxel_fully(networks, name):
    if name == "integrated_gradients":
        pytest.importorskip("captum", reason="needs the extra 'train'")
    for_suspicion, for_harmlessness = (
        METHODS[name](map_input_of(networks["slice"], side)) for side in (SUSPICIOUS, HARMLESS)
    )
    assert not np.array_equal(for_suspicion, for_harmlessness)
    # Both are in units of the stronger side; what interpolation mixes between two cells is faint.
    assert (np.minimum(for_suspicion, for_harmlessness) < 0.6).all()


class _Brightness(torch.nn.Module):
    """A network whose score is the mean grey value of its patch: the right map of a ball is the ball."""

    def forward(self, planes, exists):
        class Output:
            malignancy_score = planes[:, :4].mean(dim=(1, 2, 3))

        return Output


def test_integrated_gradients_are_the_brightness_above_lung():
    pytest.importorskip("captum", reason="needs the extra 'train'")
    map_input = map_input_of(_Brightness())
    heat = integrated_gradients(map_input)
    assert (heat[1:3, 4:12, 20:28] > 0.9).all()
    assert (heat[map_input.patch.hu < 0] < 1e-3).all()
    assert not integrated_gradients(replace(map_input, side=HARMLESS)).any()


def test_occlusion_points_at_the_planes_and_the_place_the_answer_hangs_on(networks):
    from CLIPLungLib.model.image_encoder import FeatureMaps

    class _Cells(_Brightness):
        """Maps of 8 x 8 pixels mean brightness."""

        def encoder(self, planes, exists):
            patch, plane = exists.nonzero(as_tuple=True)
            maps = torch.nn.functional.avg_pool2d(planes[exists].unsqueeze(1), 8)
            return FeatureMaps(maps, torch.ones_like(maps[:, 0]), patch, plane, None, None)

        def read(self, maps, patches):
            class Output:
                malignancy_score = maps.pooled(patches)[:, 0, 0]

            return Output

    map_input = map_input_of(_Cells())
    map_input.planes[:, :, 20:, :8] = 0.9  # bright in every plane, also in the fourth, whose group is another
    heat = occlusion(map_input)
    assert heat[0, 20:, :8].min() > 0
    assert heat[1, 6, 24] > 0.1
    assert heat[3, 6, 24] < 0.01
    assert heat[1, 4:12, 4:12].max() < 0.01


def test_blob_lies_at_the_click_and_falls_off_in_mm():
    patch = map_input_of(None).patch
    blob = blob_at(CENTER_RAS, patch)
    assert blob.shape == SPEC.shape
    assert blob.max() < 1.0  # an even number of rows has no middle one
    assert blob == pytest.approx(blob[::-1, ::-1, ::-1])
    assert blob[2, 15, 15] / blob[1, 15, 15] == pytest.approx(np.exp(2.0**2 / (2 * BLOB_SD_MM**2)))
    # One plane up, two rows to the back, three columns to the left.
    moved = blob_at(CENTER_RAS + (-3.0, -2.0, 2.0), patch)
    assert moved[3, 17, 18] == pytest.approx(blob[2, 15, 15])


@pytest.mark.parametrize("encoder", ["slice", "efficientnet", "channel"])
def test_cascade_takes_layer_after_layer_from_the_heads_to_the_stem(encoder):
    network = network_of(encoder)
    names = layers(network)
    assert list(names)[:2] == ["heads", "gate and outline"]
    assert sorted(name for own in names.values() for name in own) == sorted(network.state_dict())
    if encoder == "slice":
        assert list(names)[2:] == ["stages.3", "stages.2", "stages.1", "stages.0", "stem"]
    if encoder == "efficientnet":
        assert list(names)[2:5] == ["smoother", "laterals", "stages.6"]
        assert list(names)[-1] == "stem"
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(torch.full_like(value, 7))
    learned: set[str] = set(network.state_dict())
    for layer, changed, _ in cascade(network, None, 0):
        learned -= set(names[layer])
        state = changed.state_dict()
        assert all((state[name] == 7).all() for name in learned)
        assert not any((state[name] == 7).all() for name in names[layer])
    assert all((value == 7).all() for value in network.state_dict().values())


def test_the_second_reader_loses_what_it_learned_last():
    network, reader = network_of(), SecondReader(centres=6)
    reader.coefficients.normal_()
    reader.centres.normal_()
    reader.is_told.fill_(1.0)
    assert layer_names(network, reader)[-1] == "second reader"
    assert layer_names(network, None) == list(layers(network))
    steps = list(cascade(network, reader, 0))
    assert [layer for layer, *_ in steps] == layer_names(network, reader)
    assert all(own is reader for *_, own in steps[:-1])
    changed = steps[-1][2]
    assert not torch.equal(changed.coefficients, reader.coefficients)
    assert torch.equal(changed.coefficients.sort(dim=0).values, reader.coefficients.sort(dim=0).values)
    assert not torch.equal(changed.features.trunk.stem[0][0].weight, reader.features.trunk.stem[0][0].weight)
    map_input = replace(map_input_of(network), second_reader=reader)
    assert not np.allclose(METHODS["shipped"](map_input), METHODS["shipped"](map_input_of(network)))


def test_random_weights_are_those_of_their_seed():
    network = network_of()
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, second, third = (
        [changed.encoder.stem[1].weight.clone() for _, changed, _ in cascade(network, None, seed)][-1]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.rand(1), expected)
