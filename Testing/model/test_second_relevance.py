"""Relevance of the second reader: it adds up to the estimate, and lies where the plane differs."""

from __future__ import annotations

import pytest
import torch

from CLIPLungLib.model.second_outputs import SECOND_OUTPUTS
from CLIPLungLib.model.second_reader import SecondReader
from CLIPLungLib.model.second_relevance import estimate_with_relevance

PIXEL_MM = 0.75


def disc(radius_mm: float, row_mm: float = 0.0, column_mm: float = 0.0) -> torch.Tensor:
    place = (torch.arange(64) + 0.5 - 32) * PIXEL_MM
    distance = torch.hypot(place[:, None] - row_mm, place[None, :] - column_mm)
    return 0.1 + 0.6 * (distance <= radius_mm).float()


@pytest.fixture(scope="module")
def reader():
    """One that has seen discs of several sizes, with coefficients at random."""
    torch.manual_seed(4)
    seen = torch.stack([disc(radius) for radius in torch.linspace(1.0, 14.0, 12).tolist()])
    made = SecondReader(centres=len(seen))
    with torch.inference_mode():
        features = made.features(seen, PIXEL_MM)
        made.mean.copy_(features.mean(dim=0))
        made.deviation.copy_(features.std(dim=0) + 1e-6)
        made.centres.copy_(made.standardised(features))
        made.coefficients.normal_()
        made.is_told.fill_(1.0)
    return made


@torch.inference_mode()
@pytest.mark.parametrize("output", [0, len(SECOND_OUTPUTS) - 1])
def test_relevance_adds_up_to_the_distance_from_the_average_nodule(reader, output):
    planes = torch.stack([disc(3.0), disc(7.0, 2.0, -1.5), disc(11.0)])
    estimates, relevance = estimate_with_relevance(reader, planes, PIXEL_MM, output)
    torch.testing.assert_close(estimates, reader.estimate(reader.features(planes, PIXEL_MM)))
    average = reader.estimate(reader.mean[None])[0, output]
    above = estimates[:, output] - average
    assert above.abs().max() > 0.05
    torch.testing.assert_close(relevance.sum(dim=(1, 2)), above, atol=0.02 * float(above.abs().max()), rtol=0.02)


@torch.inference_mode()
def test_another_output_has_another_map(reader):
    _, first = estimate_with_relevance(reader, disc(5.0)[None], PIXEL_MM, 0)
    _, second = estimate_with_relevance(reader, disc(5.0)[None], PIXEL_MM, 1)
    assert (first - second).abs().max() > 0.1 * first.abs().max()


@torch.inference_mode()
def test_relevance_is_upright(reader):
    """A plane turned over has its map turned over: rows stay rows, columns stay columns. The trunk itself is not symmetric."""
    plane = disc(4.0, row_mm=4.0, column_mm=0.0)[None]
    _, relevance = estimate_with_relevance(reader, plane, PIXEL_MM, 0)
    centred = estimate_with_relevance(reader, disc(4.0)[None], PIXEL_MM, 0)[1]
    moved = (relevance - centred).abs()[0]
    rows, columns = moved.sum(dim=1), moved.sum(dim=0)
    place = (torch.arange(64) + 0.5 - 32) * PIXEL_MM
    assert (place * rows).sum() / rows.sum() > 1.0
    assert (place * columns).sum().abs() / columns.sum() < 0.5


@torch.inference_mode()
def test_relevance_fades_where_the_views_end(reader):
    _, relevance = estimate_with_relevance(reader, torch.rand(1, 64, 64), PIXEL_MM, 0)
    # The widest view ends 3 mm before the plane does; its coarsest cells are spread half a cell beyond.
    assert relevance[:, :2].abs().max() < 0.01 * relevance.abs().max()


@torch.inference_mode()
def test_several_planes_are_explained_as_one_by_one(reader):
    planes = torch.rand(3, 64, 64)
    _, together = estimate_with_relevance(reader, planes, PIXEL_MM, 2)
    alone = torch.cat([estimate_with_relevance(reader, plane[None], PIXEL_MM, 2)[1] for plane in planes])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-6)
