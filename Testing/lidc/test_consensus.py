"""Which voxels readers agree on: the outline's own pixels, holes, several outlines in a slice, and votes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.lidc_archive import border

from CLIPLungLib.lidc.annotations import Contour, Reading
from CLIPLungLib.lidc.consensus import consensus_mask


def contour(i0: int, i1: int, j0: int, j1: int, z_mm: float = 0.0, includes: bool = True) -> Contour:
    return Contour(z_mm, includes, np.array(border(i0, i1, j0, j1), dtype=np.float64))


def reading(*contours: Contour) -> Reading:
    return Reading(1, 1.0, {}, contours)


def mask_of(*readings: Reading) -> np.ndarray:
    return consensus_mask(readings, int).inside


def test_the_outlines_own_pixels_count():
    mask = consensus_mask([reading(contour(5, 8, 20, 22))], int)
    assert mask.first_ijk.tolist() == [5, 20, 0]
    assert mask.inside.shape == (1, 3, 4)
    assert mask.inside.all()
    np.testing.assert_allclose(mask.centroid_ijk, [6.5, 21.0, 0.0])


def test_a_hole_keeps_the_pixels_of_its_outline():
    inside = mask_of(reading(contour(0, 8, 0, 8), contour(2, 6, 3, 5, includes=False)))[0]
    hole = np.zeros((9, 9), bool)
    hole[4, 3:6] = True
    np.testing.assert_array_equal(inside, ~hole)


def test_the_order_of_outline_and_hole_is_of_no_matter():
    outer, hole = contour(0, 8, 0, 8), contour(2, 6, 2, 6, includes=False)
    np.testing.assert_array_equal(mask_of(reading(outer, hole)), mask_of(reading(hole, outer)))


def test_two_outlines_in_a_slice_are_joined():
    inside = mask_of(reading(contour(0, 2, 0, 2), contour(5, 7, 0, 2)))[0]
    assert inside.any(axis=0).tolist() == [True] * 3 + [False] * 2 + [True] * 3


@pytest.mark.parametrize(
    ("agreeing", "readers", "is_inside"), [(1, 2, True), (1, 3, False), (2, 4, True), (1, 4, False)]
)
def test_half_of_the_readers_decide(agreeing, readers, is_inside):
    large, small = reading(contour(0, 6, 0, 6)), reading(contour(0, 2, 0, 2))
    inside = mask_of(*[large] * agreeing, *[small] * (readers - agreeing))
    assert inside[0, 5, 5] == is_inside
    assert inside[0, 1, 1]


def test_slopes_are_filled_up_to_their_line():
    points = np.array([(4, 0), (8, 4), (4, 8), (0, 4)], dtype=np.float64)
    inside = mask_of(reading(Contour(0.0, True, points)))[0]
    y, x = np.indices((9, 9)) - 4
    np.testing.assert_array_equal(inside, abs(x) + abs(y) <= 4)


def test_volume_counts_half_the_way_to_the_next_outline_and_holes_off():
    drawn = reading(contour(0, 4, 0, 4, 0.0), contour(1, 3, 1, 3, 0.0, includes=False), contour(0, 4, 0, 4, 3.0))
    assert drawn.volume_mm3(9.0) == pytest.approx((16 - 4) * 3 + 16 * 3)
    assert reading(contour(0, 4, 0, 4)).volume_mm3(9.0) == pytest.approx(16 * 9)
