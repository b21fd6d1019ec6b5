"""A CT volume knows where its voxels lie, shares them, and tells a CT from other images."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.image.ct_volume import CTVolume


def lung(shape: tuple[int, int, int] = (4, 5, 6), dtype: type = np.int16) -> np.ndarray:
    return np.full(shape, -850, dtype)


# i steps 2 mm towards A, j 3 mm towards R, k 4 mm towards S and 1 mm towards A (a tilted gantry); starts at (10, 20, 30).
TILTED = np.array([[0.0, 3.0, 0.0, 10.0], [2.0, 0.0, 1.0, 20.0], [0.0, 0.0, 4.0, 30.0], [0.0, 0.0, 0.0, 1.0]])


def test_voxel_centres_map_to_ras_by_hand():
    ct = CTVolume(lung(), TILTED)
    assert ct.to_ras([0, 0, 0]).tolist() == [10, 20, 30]
    assert ct.to_ras([1, 2, 3]).tolist() == [10 + 3 * 2, 20 + 2 * 1 + 1 * 3, 30 + 4 * 3]


def test_ras_points_map_back_to_ijk_by_hand():
    ct = CTVolume(lung(), TILTED)
    # 6 mm up is 1.5 slices, which moved 1.5 mm towards A; 1 mm towards A is left, half a column.
    assert np.allclose(ct.to_ijk([10, 22.5, 36]), [0.5, 0, 1.5])


def test_many_points_keep_their_shape_through_a_round_trip():
    ct = CTVolume(lung(), TILTED)
    points_ras = np.random.default_rng(0).normal(scale=100, size=(2, 7, 3))
    assert ct.to_ijk(points_ras).shape == (2, 7, 3)
    assert np.allclose(ct.to_ras(ct.to_ijk(points_ras)), points_ras)


def test_spacing_is_the_length_of_a_step_along_each_axis():
    assert np.allclose(CTVolume(lung(), TILTED).spacing_mm, [2, 3, np.sqrt(17)])


def test_size_is_columns_rows_slices():
    assert CTVolume(lung((4, 5, 6)), TILTED).size_ijk.tolist() == [6, 5, 4]


@pytest.mark.parametrize(
    ("point_ijk", "inside"),
    [
        ([0, 0, 0], True),
        ([-0.5, 0, 0], True),
        ([-0.51, 0, 0], False),
        ([5.5, 4.5, 3.5], True),
        ([5.51, 4, 3], False),
        ([0, 4.51, 0], False),
        ([0, 0, 3.51], False),
    ],
)
def test_a_voxel_reaches_half_a_step_around_its_centre(point_ijk, inside):
    assert bool(CTVolume(lung((4, 5, 6)), TILTED).contains_ijk(np.array(point_ijk))) is inside


def test_bounds_enclose_whole_voxels():
    ct = CTVolume(lung((4, 5, 6)), np.diag([-1.0, -2.0, 3.0, 1.0]))
    assert ct.bounds_ras().tolist() == [[-5.5, -9.0, -1.5], [0.5, 1.0, 10.5]]


def test_the_array_is_shared_and_not_copied():
    hu = lung()
    ct = CTVolume(hu, np.eye(4))
    assert ct.hu is hu
    assert ct.moved(TILTED).hu is hu


def test_moved_applies_the_parent_transform_after_the_volumes_own():
    parent = np.array([[0.0, -1.0, 0.0, 5.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    moved = CTVolume(lung(), TILTED).moved(parent)
    # The first voxel at (10, 20, 30), turned by 90 degrees about S, then moved 5 mm to the right.
    assert moved.to_ras([0, 0, 0]).tolist() == [-20 + 5, 10, 30]


def test_repr_tells_size_spacing_and_type_on_one_line():
    text = repr(CTVolume(lung((4, 5, 6)), np.diag([0.7, 0.7, 2.5, 1.0]), "Thorax"))
    assert text == "CTVolume('Thorax', 6x5x4 voxels, 0.7 x 0.7 x 2.5 mm, int16)"


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_lung_is_accepted_as_ct_in_every_number_type(dtype):
    CTVolume(lung(dtype=dtype), np.eye(4)).require_ct()


def test_padding_below_air_and_metal_are_still_ct():
    hu = lung()
    hu[0, 0, 0], hu[0, 0, 1] = -3024, 20000
    CTVolume(hu, np.eye(4)).require_ct()


def test_some_voxels_that_are_not_numbers_do_not_hide_a_ct():
    hu = lung(dtype=np.float32)
    hu[:2] = np.nan
    CTVolume(hu, np.eye(4)).require_ct()


def test_a_left_handed_matrix_is_accepted():
    assert CTVolume(lung(), np.diag([-1.0, 1.0, 1.0, 1.0])).spacing_mm.tolist() == [1, 1, 1]
