"""Axis by axis or point by point, a patch holds the same numbers and obeys the same rules."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.image.patch_grid import PatchGrid
from CLIPLungLib.image.resample import grid_coordinates, sample_hu

SHAPE = (7, 12, 10)
# Of a number of 3000, a float32 keeps a quarter of a thousandth.
ROUNDING_HU = 5e-4


def aligned_grid(seed: int, dtype: type = np.int16, reach: float = 1.0) -> PatchGrid:
    """A patch in a CT of noise whose axes are swapped and flipped at random; `reach` shares of the CT from its middle."""
    rng = np.random.default_rng(seed)
    axes = (np.eye(3) * rng.choice([-1.0, 1.0], 3))[:, rng.permutation(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = axes * rng.uniform(0.3, 3.0, 3)
    matrix[:3, 3] = rng.uniform(-200, 200, 3)
    hu = rng.integers(-3000, 3000, rng.integers(1, 30, 3)).astype(dtype)
    ct = CTVolume(hu, matrix)
    center_ras = ct.to_ras((rng.uniform(-0.5, 0.5, 3) * reach + 0.5) * (ct.size_ijk - 1))
    spec = PatchSpec(shape=SHAPE, spacing_mm=tuple(rng.uniform(0.4, 2.5, 3)))
    return PatchGrid(ct, spec.grid_to_ras(center_ras), spec.shape)


def coordinates_of(grid: PatchGrid) -> np.ndarray:
    return grid_coordinates(grid.ct, grid.patch_to_ras, grid.shape)


def trilinear_by_scipy(grid: PatchGrid) -> np.ndarray:
    kji = np.moveaxis(coordinates_of(grid), -1, 0)[::-1]
    return ndimage.map_coordinates(np.maximum(grid.ct.hu, -1024).astype(np.float64), kji, order=1, mode="nearest")


def with_hu(grid: PatchGrid, hu: np.ndarray) -> PatchGrid:
    return PatchGrid(CTVolume(hu, grid.ct.ijk_to_ras), grid.patch_to_ras, grid.shape)


@pytest.mark.parametrize("reach", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(25))
def test_axis_by_axis_gives_what_scipy_gives_point_by_point(seed, reach):
    grid = aligned_grid(seed, reach=reach)
    assert grid.lines is not None
    assert grid.hu().dtype == np.float32
    assert grid.hu().shape == SHAPE
    np.testing.assert_allclose(grid.hu(), trilinear_by_scipy(grid), rtol=0, atol=ROUNDING_HU)
    np.testing.assert_allclose(grid.hu(), sample_hu(grid.ct, coordinates_of(grid)), rtol=0, atol=ROUNDING_HU)


@pytest.mark.parametrize("reach", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(25))
def test_the_share_inside_and_the_planes_reached_are_those_of_the_points(seed, reach):
    grid = aligned_grid(seed, reach=reach)
    points = coordinates_of(grid)
    assert grid.inside_fraction() == pytest.approx(grid.ct.contains_ijk(points).mean(), abs=1e-12)
    assert grid.range_along(2) == pytest.approx((points[..., 2].min(), points[..., 2].max()), abs=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("seed", range(25))
def test_values_that_are_not_numbers_are_refused_where_they_would_be_by_points(seed, value):
    grid = aligned_grid(seed, np.float32)
    rng = np.random.default_rng(seed)
    hu = grid.ct.hu.copy()
    hu[tuple(rng.integers(0, hu.shape))] = value
    spoilt = with_hu(grid, hu)
    try:
        expected = sample_hu(spoilt.ct, coordinates_of(spoilt))
    except InputError:
        with pytest.raises(InputError, match="not numbers"):
            spoilt.hu()
    else:
        np.testing.assert_allclose(spoilt.hu(), expected, rtol=0, atol=ROUNDING_HU)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint16, np.float32, np.float64])
def test_a_volume_of_one_value_gives_that_value_exactly(dtype):
    grid = aligned_grid(3, reach=3.0)
    assert (with_hu(grid, np.full(grid.ct.hu.shape, 39, dtype)).hu() == 39).all()


def test_padding_counts_as_air_axis_by_axis():
    grid = aligned_grid(4)
    low, air = (with_hu(grid, np.where(grid.ct.hu < 0, value, grid.ct.hu)).hu() for value in (-32_000, -1024))
    assert (low == air).all()


@pytest.mark.parametrize("degrees", [0.01, 1.0, 30.0, 89.0])
def test_a_scan_that_lies_aslant_is_interpolated_point_by_point(degrees):
    grid = aligned_grid(5)
    matrix = grid.ct.ijk_to_ras.copy()
    matrix[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix() @ matrix[:3, :3]
    turned = PatchGrid(CTVolume(grid.ct.hu, matrix), grid.patch_to_ras, SHAPE)
    points = coordinates_of(turned)
    assert turned.lines is None
    assert (turned.hu() == sample_hu(turned.ct, points)).all()
    assert turned.inside_fraction() == turned.ct.contains_ijk(points).mean()
    assert turned.range_along(2) == (points[..., 2].min(), points[..., 2].max())


def test_rounding_in_the_matrix_of_a_file_leaves_the_axes_along_each_other():
    grid = aligned_grid(6)
    matrix = grid.ct.ijk_to_ras.copy()
    matrix[:3, :3] += np.where(matrix[:3, :3] == 0, 1e-9, 0.0)
    rounded = PatchGrid(CTVolume(grid.ct.hu, matrix), grid.patch_to_ras, SHAPE)
    assert rounded.lines is not None
    np.testing.assert_allclose(rounded.hu(), trilinear_by_scipy(rounded), rtol=0, atol=ROUNDING_HU)
