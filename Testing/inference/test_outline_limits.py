"""Either side of every limit of the measurement: reach, rim, what hangs together, what is cut."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.inference.outline_measurement import measure_outline

ONE_MM = (1.0, 1.0, 1.0)


def empty(shape: tuple[int, int, int] = (11, 21, 21)) -> np.ndarray:
    return np.zeros(shape)


def block(*spans: tuple[int, int], shape: tuple[int, int, int] = (11, 21, 21), value: float = 1.0) -> np.ndarray:
    """A box of full voxels, first and last index included."""
    inside = empty(shape)
    inside[tuple(slice(first, last + 1) for first, last in spans)] = value
    return inside


@pytest.mark.parametrize(("place", "spacing_mm", "is_near"), [
    ((5, 10, 14), ONE_MM, True), ((5, 10, 15), ONE_MM, False), ((5, 6, 10), ONE_MM, True), ((5, 5, 10), ONE_MM, False),
    ((9, 10, 10), ONE_MM, True), ((10, 10, 10), ONE_MM, False), ((7, 10, 10), (2.0, 1.0, 1.0), True),
    ((8, 10, 10), (2.0, 1.0, 1.0), False), ((5, 12, 13), ONE_MM, True), ((5, 13, 13), ONE_MM, False),
    ((5, 10, 12), (1.0, 1.0, 2.0), True), ((5, 10, 13), (1.0, 1.0, 2.0), False),
])  # fmt: skip
def test_a_click_reaches_four_millimetres(place, spacing_mm, is_near):
    inside = empty()
    inside[place] = 1.0
    assert (measure_outline(inside, spacing_mm) is not None) is is_near


def test_an_object_counts_from_its_nearest_voxel():
    assert measure_outline(block((5, 5), (10, 10), (14, 20)), ONE_MM).mask.sum() == 7


def test_the_nearest_of_two_objects_is_measured():
    inside = block((5, 5), (10, 10), (12, 12)) + block((3, 7), (4, 7), (4, 7))
    assert np.argwhere(measure_outline(inside, ONE_MM).mask).tolist() == [[5, 10, 12]]
    inside[5, 10, 9] = 1.0
    assert np.argwhere(measure_outline(inside, ONE_MM).mask).tolist() == [[5, 10, 9]]


@pytest.mark.parametrize("step", [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (1, 0, -1), (1, 1, 1), (-1, 1, -1)])
def test_voxels_that_share_a_corner_hang_together(step):
    inside = empty()
    for k in range(3):
        inside[tuple(np.array((5, 10, 10)) + k * np.array(step))] = 1.0
    assert measure_outline(inside, ONE_MM).mask.sum() == 3


@pytest.mark.parametrize(("value", "counts"), [(0.5, False), (0.501, True)])
def test_a_voxel_belongs_to_the_object_above_one_half(value, counts):
    inside = block((5, 5), (10, 10), (10, 10))
    inside[5, 10, 11] = value
    assert measure_outline(inside, ONE_MM).mask.sum() == 1 + counts


def test_rim_is_interpolated_by_hand():
    """Columns 8 .. 12 of one row, with 0.25 beside them: the rim lies two thirds of the way from full to a quarter."""
    inside = block((5, 5), (10, 10), (8, 12))
    inside[5, 10, 7], inside[5, 10, 13] = 0.25, 0.0
    found = measure_outline(inside, (1.0, 1.0, 0.5))
    # To the left 0.5 / 0.75 of a column, to the right half of one: 4 + 2/3 + 1/2 columns of 0.5 mm.
    assert found.diameter_mm == pytest.approx((4 + 2 / 3 + 1 / 2) * 0.5)
    assert found.short_diameter_mm == pytest.approx(1.0)
    assert found.volume_mm3 == pytest.approx(5.25 * 0.5)
    # The centroid: columns 8 .. 12 and a quarter of column 7, from column 10.
    np.testing.assert_allclose(found.center_offset_mm, [0, 0, (0.25 * -3 / 5.25) * 0.5], atol=1e-12)


def test_rim_along_rows_by_hand():
    inside = block((5, 5), (7, 13), (10, 10))
    inside[5, 6, 10] = 0.4
    found = measure_outline(inside, (1.0, 2.0, 1.0))
    assert found.diameter_mm == pytest.approx((6 + 0.5 / 0.6 + 0.5) * 2.0)
    assert found.short_diameter_mm == pytest.approx(1.0)


def test_short_diameter_is_the_whole_extent_across_the_longest():
    """A cross: 13 columns, and 5 rows off its middle."""
    inside = block((5, 5), (10, 10), (4, 16)) + block((5, 5), (11, 14), (6, 6))
    found = measure_outline(inside, ONE_MM)
    assert found.diameter_mm == pytest.approx(13.0, abs=0.1)
    assert found.short_diameter_mm == pytest.approx(5.0, abs=0.2)
    assert found.mean_diameter_mm == (found.diameter_mm + found.short_diameter_mm) / 2


def test_diameters_are_those_of_the_plane_of_largest_area():
    inside = block((5, 5), (10, 10), (2, 18)) + block((6, 6), (7, 13), (8, 12)) + block((4, 4), (10, 10), (10, 10))
    found = measure_outline(inside, ONE_MM)
    assert found.mask.sum() == 17 + 35 + 1
    assert found.diameter_mm == pytest.approx(np.hypot(7, 4), abs=0.2)


def test_what_lies_half_outside_the_rim_counts_and_another_part_does_not():
    inside = block((5, 5), (10, 10), (10, 10))
    inside[5, 10, 11] = 0.4  # The rim.
    inside[5, 10, 12] = 0.3  # Two away: not the rim.
    inside[6, 11, 9] = 0.2  # Across a corner.
    assert measure_outline(inside, ONE_MM).volume_mm3 == pytest.approx(1.6)
    inside[5, 10, 12] = 1.0  # Another part now; the voxel between them is shared.
    assert measure_outline(inside, ONE_MM).volume_mm3 == pytest.approx(1.6)


def test_volume_counts_in_cubic_millimetres():
    assert measure_outline(block((4, 6), (9, 11), (9, 11)), (2.0, 0.5, 0.25)).volume_mm3 == pytest.approx(27 * 0.25)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("touches", [True, False])
def test_an_object_is_cut_where_it_touches_the_border(axis, end, touches):
    spans, last = [(5, 5), (10, 10), (10, 10)], (10, 20, 20)[axis]
    middle = spans[axis][0]
    spans[axis] = ((not touches, middle), (middle, last - (not touches)))[end]
    assert measure_outline(block(*spans), ONE_MM).is_cut is touches


@pytest.mark.parametrize(
    ("missing", "is_cut"), [((), False), ((3,), True), ((7,), True), ((2,), False), ((8,), False), ((0, 10), False)]
)
def test_an_object_is_cut_where_it_touches_a_missing_plane(missing, is_cut):
    exists = np.ones(11, bool)
    exists[list(missing)] = False
    assert measure_outline(block((4, 6), (9, 11), (9, 11)), ONE_MM, exists).is_cut is is_cut


def test_a_missing_plane_within_an_object_parts_it():
    exists = np.ones(11, bool)
    exists[6] = False
    found = measure_outline(block((4, 8), (9, 11), (9, 11)), ONE_MM, exists)
    assert np.flatnonzero(found.mask.any(axis=(1, 2))).tolist() == [4, 5]
    assert found.volume_mm3 == pytest.approx(18)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nothing_and_everything_are_probabilities(value):
    found = measure_outline(np.full((3, 5, 5), value), ONE_MM)
    assert (found is None) if value == 0 else found.is_cut
