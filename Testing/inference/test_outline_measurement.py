"""The program's own measurement, on shapes whose size is known."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.image.resample import grid_coordinates, sample_hu
from CLIPLungLib.inference.outline_measurement import measure_outline

SPACING_MM = (2.0, 0.75, 0.75)
SHAPE = (25, 64, 64)
PARTS = 4


def partial_volume(is_inside, shape=SHAPE) -> np.ndarray:
    """(Z, Y, X) share of every voxel inside a shape given in mm from the patch's middle (z, y, x)."""
    axes = [((np.arange(n * PARTS) + 0.5) / PARTS - n / 2) * step for n, step in zip(shape, SPACING_MM, strict=True)]
    fine = is_inside(*np.meshgrid(*axes, indexing="ij", sparse=True))
    z, y, x = shape
    return fine.reshape(z, PARTS, y, PARTS, x, PARTS).mean(axis=(1, 3, 5), dtype=np.float32)


def ball(diameter_mm: float, center_mm=(0.0, 0.0, 0.0)):
    return lambda z, y, x: (
        (z - center_mm[0]) ** 2 + (y - center_mm[1]) ** 2 + (x - center_mm[2]) ** 2 <= diameter_mm**2 / 4
    )


def ellipsoid(lengths_mm, degrees: float):
    """Diameters along z, the long axis turned by so many degrees in the plane, and across it."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    a, b, d = np.array(lengths_mm) / 2
    return lambda z, y, x: (z / a) ** 2 + ((c * x + s * y) / b) ** 2 + ((c * y - s * x) / d) ** 2 <= 1


@settings(max_examples=10, deadline=None)
@given(st.tuples(*[st.floats(-0.5, 0.5)] * 3))
def test_small_ball_is_right_wherever_it_lies_between_the_voxels(place):
    found = measure_outline(partial_volume(ball(6.0, np.multiply(place, SPACING_MM)), (7, 16, 16)), SPACING_MM)
    # A plane is 2 mm thick: its partial volume takes 0.34 mm off the diameter when the middle lies between two.
    assert -0.5 <= found.diameter_mm - 6.0 <= 0.2
    assert found.volume_mm3 == pytest.approx(np.pi * 36, rel=0.05)
    np.testing.assert_allclose(found.center_offset_mm, np.multiply(place, SPACING_MM), atol=0.05)
    assert not found.is_cut


def test_rim_in_a_plane_is_right_to_a_fifth_of_a_millimetre():
    for diameter_mm in (3.0, 6.0, 9.5):
        disc = partial_volume(lambda z, y, x, d=diameter_mm: (z**2 < 9) & (y**2 + x**2 <= d**2 / 4))
        found = measure_outline(disc, SPACING_MM)
        assert found.diameter_mm == pytest.approx(diameter_mm, abs=0.2)
        assert found.short_diameter_mm == pytest.approx(diameter_mm, abs=0.3)


@pytest.mark.parametrize("degrees", [0, 20, 45, 77, 90, 130])
def test_ellipsoid_is_measured_along_its_own_axes(degrees):
    found = measure_outline(partial_volume(ellipsoid((10.0, 16.0, 8.0), degrees)), SPACING_MM)
    assert found.diameter_mm == pytest.approx(16.0, abs=0.3)
    assert found.short_diameter_mm == pytest.approx(8.0, abs=0.35)
    assert found.mean_diameter_mm == pytest.approx((found.diameter_mm + found.short_diameter_mm) / 2)
    assert found.volume_mm3 == pytest.approx(np.pi / 6 * 10 * 16 * 8, rel=0.02)


def test_single_voxel_has_the_size_of_a_voxel():
    inside = np.zeros((3, 5, 5), np.float32)
    inside[1, 2, 2] = 1.0
    found = measure_outline(inside, SPACING_MM)
    assert found.diameter_mm == pytest.approx(0.75)
    assert found.short_diameter_mm == pytest.approx(0.75)
    assert found.volume_mm3 == pytest.approx(2.0 * 0.75**2)
    np.testing.assert_allclose(found.center_offset_mm, 0, atol=1e-9)


def test_nothing_at_the_click_is_no_measurement():
    assert measure_outline(np.zeros(SHAPE), SPACING_MM) is None
    assert measure_outline(np.full(SHAPE, 0.5), SPACING_MM) is None
    far = partial_volume(ball(6.0, (0.0, 0.0, 12.0)))
    assert measure_outline(far, SPACING_MM) is None
    assert measure_outline(far, SPACING_MM, reach_mm=9.5) is not None


def test_object_at_the_click_is_measured_alone():
    alone = partial_volume(ball(6.0))
    both = np.maximum(alone, partial_volume(ball(12.0, (0.0, 0.0, 11.0))))
    found, expected = measure_outline(both, SPACING_MM), measure_outline(alone, SPACING_MM)
    assert found.diameter_mm == pytest.approx(expected.diameter_mm)
    assert found.volume_mm3 == pytest.approx(expected.volume_mm3, rel=0.01)
    np.testing.assert_array_equal(found.mask, expected.mask)


def test_vessel_thinner_than_half_a_pixel_does_not_lengthen_a_nodule():
    with_vessel = partial_volume(lambda z, y, x: ball(8.0)(z, y, x) | ((np.abs(y) < 0.15) & (z**2 < 1) & (x > 0)))
    expected = measure_outline(partial_volume(ball(8.0)), SPACING_MM)
    assert measure_outline(with_vessel, SPACING_MM).diameter_mm == pytest.approx(expected.diameter_mm, abs=0.1)


@pytest.mark.parametrize(
    ("center_mm", "diameter_mm", "is_cut"),
    [
        ((0, 0, 0), 20, False),
        ((0, 0, 0), 52, True),
        ((0, 0, 21), 40, True),
        ((0, -21, 0), 40, True),
        ((20, 0, 0), 40, True),
    ],
)
def test_object_beyond_the_patch_is_cut(center_mm, diameter_mm, is_cut):
    assert measure_outline(partial_volume(ball(diameter_mm, center_mm)), SPACING_MM).is_cut is is_cut


def test_object_in_missing_planes_is_cut_and_only_what_exists_is_counted():
    inside = partial_volume(ball(12.0))
    exists = np.ones(25, bool)
    assert not measure_outline(inside, SPACING_MM, exists).is_cut
    exists[13:] = False
    found = measure_outline(inside, SPACING_MM, exists)
    assert found.is_cut
    assert not found.mask[13:].any()
    assert found.volume_mm3 == pytest.approx(inside[:13].sum() * 2 * 0.75**2, rel=1e-5)
    # The last plane in which it shows is followed by one that exists and is empty.
    exists[:] = False
    exists[8:17] = True
    assert not measure_outline(inside, SPACING_MM, exists).is_cut


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1])
def test_values_that_are_no_probabilities_are_refused(value):
    inside = np.zeros(SHAPE)
    inside[3, 4, 5] = value
    with pytest.raises(InputError, match="not probabilities"):
        measure_outline(inside, SPACING_MM)


def test_plane_instead_of_patch_is_refused():
    with pytest.raises(InputError, match="three axes"):
        measure_outline(np.zeros((64, 64)), SPACING_MM)


@pytest.mark.lidc
def test_readers_own_outlines_give_their_diameters(lidc_folder: Path):
    with (lidc_folder / "nodules.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["mask"]][:60]
    spec, ratios = PatchSpec(), []
    for row in rows:
        mask = read_ct(lidc_folder / row["mask"])
        mask = CTVolume((mask.hu > 0).astype(np.uint8), mask.ijk_to_ras, mask.name)
        center_ras = mask.to_ras(np.argwhere(mask.hu)[:, ::-1].mean(axis=0))
        coordinates = grid_coordinates(mask, spec.grid_to_ras(center_ras), spec.shape)
        inside = np.where(mask.contains_ijk(coordinates), sample_hu(mask, coordinates), 0.0)
        found = measure_outline(inside, spec.spacing_mm)
        voxel_mm3 = abs(np.linalg.det(mask.ijk_to_ras[:3, :3]))
        ratios.append((found.diameter_mm / float(row["diameter_mm"]), found.volume_mm3 / (mask.hu.sum() * voxel_mm3)))
    diameter, volume = np.median(ratios, axis=0)
    assert diameter == pytest.approx(1.0, abs=0.06)
    assert volume == pytest.approx(1.0, abs=0.03)
