"""The second reader's features and regression: what it looks at, and what must not matter to it."""

from __future__ import annotations

import torch

from CLIPLungLib.model.second_outputs import SECOND_OUTPUTS
from CLIPLungLib.model.second_reader import FEATURES, FrozenFeatures, Moves, SecondReader, kernel, middle_plane

PIXEL_MM = 0.75


def disc(radius_mm: float, row_mm: float = 0.0, column_mm: float = 0.0, pixels: int = 64) -> torch.Tensor:
    place = (torch.arange(pixels) + 0.5 - pixels / 2) * PIXEL_MM
    distance = torch.hypot(place[:, None] - row_mm, place[None, :] - column_mm)
    return (0.1 + 0.6 * (distance <= radius_mm).float()).unsqueeze(0)


def features(seed: int = 0) -> FrozenFeatures:
    torch.manual_seed(seed)
    return FrozenFeatures().eval()


@torch.inference_mode()
def test_features_have_their_size_and_tell_a_large_disc_from_a_small_one():
    trunk = features()
    small, again, large = (trunk(disc(radius), PIXEL_MM) for radius in (3.0, 3.0, 9.0))
    assert small.shape == (1, FEATURES)
    torch.testing.assert_close(small, again)
    assert (small - large).abs().max() > 1e-3


@torch.inference_mode()
def test_what_lies_beyond_the_widest_view_does_not_matter():
    trunk = features()
    far = disc(4.0).clone()
    far[:, :2] = 1.0  # Beyond 21 mm, and beyond the last pixel that is read there.
    torch.testing.assert_close(trunk(disc(4.0), PIXEL_MM), trunk(far, PIXEL_MM))


@torch.inference_mode()
def test_a_shift_shows_the_place_it_names():
    trunk = features()
    moves = Moves(torch.zeros(1), torch.ones(1), torch.tensor([[3.0, -1.5]]))
    # Columns first, as grids count.
    there = disc(4.0, row_mm=-1.5, column_mm=3.0)
    torch.testing.assert_close(trunk(there, PIXEL_MM, moves), trunk(disc(4.0), PIXEL_MM), rtol=1e-3, atol=1e-3)


@torch.inference_mode()
def test_an_upright_move_changes_nothing():
    trunk = features()
    moves = Moves(torch.zeros(1), torch.ones(1), torch.zeros(1, 2))
    plane = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(trunk(plane, PIXEL_MM, moves), trunk(plane, PIXEL_MM))


def test_the_middle_plane_is_the_nearest_that_exists():
    exists = torch.zeros(4, 7, dtype=torch.bool)
    exists[0] = True
    exists[1, 5] = True
    exists[2, [0, 2, 6]] = True
    exists[3, [1, 4]] = True
    assert middle_plane(exists).tolist() == [3, 5, 2, 4]


def test_the_kernel_is_one_with_itself_and_falls_with_the_distance():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 4.0]])
    found = kernel(points, points)
    torch.testing.assert_close(found.diagonal(), torch.ones(3))
    torch.testing.assert_close(found, found.T)
    assert found[0, 1] > found[0, 2] > 0


@torch.inference_mode()
def test_only_outputs_that_were_told_are_numbers():
    reader = SecondReader(centres=5)
    reader.is_told[0] = 1.0
    reader.offset[0] = 3.25
    exists = torch.ones(2, 3, dtype=torch.bool)
    found = reader(torch.rand(2, 3, 64, 64), exists, PIXEL_MM)
    assert found.shape == (2, len(SECOND_OUTPUTS))
    assert found[:, 0].tolist() == [3.25, 3.25]
    assert found[:, 1:].isnan().all()


@torch.inference_mode()
def test_several_patches_are_read_as_one_by_one():
    torch.manual_seed(2)
    reader = SecondReader(centres=4)
    reader.centres.normal_()
    reader.coefficients.normal_()
    reader.is_told.fill_(1.0)
    planes, exists = torch.rand(3, 5, 64, 64), torch.ones(3, 5, dtype=torch.bool)
    exists[1, 2] = False
    together = reader(planes, exists, PIXEL_MM)
    alone = torch.cat([reader(planes[b : b + 1], exists[b : b + 1], PIXEL_MM) for b in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
