"""Size of an outline given as voxels: known shapes on grids of every kind, and what a corrected answer says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.outline_mask import OutlineMask, first_voxel_ijk, on_grid_of
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.inference import outline_measurement
from CLIPLungLib.inference.mask_measurement import CORRECTED, corrected_result, measure_mask
from CLIPLungLib.inference.outline_measurement import CUT_OFF, OUTLINE_IN_DOUBT, measure_outline, plane_axes
from CLIPLungLib.inference.result import NoduleMeasurement, NoduleResult

CENTER_RAS = np.array([-30.0, 12.0, -120.0])
LONG, SHORT, HIGH = 9.0, 5.0, 6.0
TURN = np.radians(30)
ALONG, ACROSS = np.array([np.cos(TURN), np.sin(TURN), 0.0]), np.array([-np.sin(TURN), np.cos(TURN), 0.0])
GRIDS = {
    "thin": np.diag([-0.4, -0.4, 0.6]),
    "upside down": np.diag([-0.4, 0.4, -0.6]),
    "planes along the first axis": np.array([[0.0, 0.0, 0.5], [-0.4, 0.0, 0.0], [0.0, -0.4, 0.0]])[[1, 2, 0]],
}


def ellipsoid(steps: np.ndarray, size: int = 61) -> tuple[OutlineMask, CTVolume]:
    """Half axes 9, 5 and 6 mm, the longest 30 degrees from the patient's right, about CENTER_RAS."""
    matrix = np.eye(4)
    matrix[:3, :3] = steps
    matrix[:3, 3] = CENTER_RAS - steps @ np.full(3, (size - 1) / 2 + 0.21)
    ct = CTVolume(np.zeros((size, size, size), np.int16), matrix)
    k, j, i = np.indices(ct.hu.shape)
    offset = ct.to_ras(np.stack([i, j, k], axis=-1)) - CENTER_RAS
    inside = (offset @ ALONG / LONG) ** 2 + (offset @ ACROSS / SHORT) ** 2 + (offset[..., 2] / HIGH) ** 2 < 1
    return OutlineMask(inside, matrix), ct


@pytest.mark.parametrize("steps", GRIDS.values(), ids=GRIDS)
def test_ellipsoid_has_its_axes_and_volume_on_every_grid(steps):
    size = measure_mask(ellipsoid(steps)[0]).size
    assert size.diameter_mm == pytest.approx(2 * LONG, abs=0.5)
    assert size.short_diameter_mm == pytest.approx(2 * SHORT, abs=0.5)
    assert size.mean_diameter_mm == pytest.approx((size.diameter_mm + size.short_diameter_mm) / 2)
    assert size.volume_mm3 == pytest.approx(4 / 3 * np.pi * LONG * SHORT * HIGH, rel=0.02)
    np.testing.assert_allclose(size.center_ras, CENTER_RAS, atol=0.05)
    long_ras, short_ras = np.array(size.long_axis_ras), np.array(size.short_axis_ras)
    # In one axial plane, of these lengths, at right angles, along the ellipsoid's own axes.
    assert np.ptp(np.concatenate([long_ras, short_ras])[:, 2]) < 1e-9
    assert np.linalg.norm(long_ras[1] - long_ras[0]) == pytest.approx(size.diameter_mm)
    assert np.linalg.norm(short_ras[1] - short_ras[0]) == pytest.approx(size.short_diameter_mm)
    assert abs((long_ras[1] - long_ras[0]) @ (short_ras[1] - short_ras[0])) < 1e-6
    assert abs((long_ras[1] - long_ras[0]) @ ALONG) / size.diameter_mm > 0.99
    np.testing.assert_allclose(short_ras.mean(axis=0), CENTER_RAS, atol=0.8)


def test_sizes_are_those_of_the_programs_own_measurement_on_the_same_voxels():
    spec = PatchSpec(shape=(25, 41, 41), spacing_mm=(1.0, 0.75, 0.75))
    matrix = spec.grid_to_ras(CENTER_RAS)
    grid = CTVolume(np.zeros(spec.shape, np.int16), matrix)
    k, j, i = np.indices(spec.shape)
    inside = np.linalg.norm((grid.to_ras(np.stack([i, j, k], axis=-1)) - CENTER_RAS) / (LONG, SHORT, HIGH), axis=-1) < 1
    own = measure_outline(inside.astype(float), spec.spacing_mm)
    size = measure_mask(OutlineMask(inside, matrix)).size
    assert size.diameter_mm == pytest.approx(own.diameter_mm)
    assert size.short_diameter_mm == pytest.approx(own.short_diameter_mm)
    assert size.volume_mm3 == pytest.approx(own.volume_mm3)
    # Ends relative to the middle, along planes, rows, columns: columns run to the left, rows to the back.
    ends_ras = CENTER_RAS + own.long_axis_mm[:, ::-1] * (-1.0, -1.0, 1.0)
    np.testing.assert_allclose(sorted(ends_ras.tolist()), sorted(map(list, size.long_axis_ras)), atol=1e-9)


def test_axes_of_many_points_are_those_of_all_of_them(monkeypatch):
    points = np.random.default_rng(3).normal(size=(400, 2)) * (4, 2)
    all_compared = plane_axes(points)
    monkeypatch.setattr(outline_measurement, "MOST_RIM_POINTS", 10)
    assert plane_axes(points).lengths_mm == pytest.approx(all_compared.lengths_mm)


def test_only_the_largest_part_is_measured_and_others_are_counted():
    mask, _ = ellipsoid(GRIDS["thin"])
    with_crumb = mask.inside.copy()
    with_crumb[0, 0, :2] = True
    found = measure_mask(replace(mask, inside=with_crumb))
    assert found.parts_left_out == 1
    assert found.size == measure_mask(mask).size


def test_what_is_no_nodule_is_refused():
    with pytest.raises(InputError, match="is empty"):
        measure_mask(OutlineMask(np.zeros((3, 3, 3), bool), np.eye(4)))
    with pytest.raises(InputError, match="longer than 250 mm"):
        measure_mask(OutlineMask(np.ones((2, 2, 300), bool), np.eye(4)))


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.5, 0.8), (0.7, 0.7, 5.0), (1.5, 1.5, 2.5)])
def test_outline_of_the_patch_keeps_its_size_on_the_grid_of_the_ct(spacing_mm):
    spec = PatchSpec()
    matrix = spec.grid_to_ras(CENTER_RAS)
    grid = CTVolume(np.zeros(spec.shape, np.int16), matrix)
    k, j, i = np.indices(spec.shape)
    inside = np.linalg.norm(grid.to_ras(np.stack([i, j, k], axis=-1)) - CENTER_RAS, axis=-1) < LONG
    ct_matrix = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    ct_matrix[:3, 3] = CENTER_RAS - ct_matrix[:3, :3] @ [60.3, 60.4, 30.2]
    ct = CTVolume(np.zeros((60, 120, 120), np.int16), ct_matrix)
    on_ct = on_grid_of(OutlineMask(inside, matrix), ct)
    assert first_voxel_ijk(on_ct, ct.ijk_to_ras) is not None
    assert on_ct.grid.size_ijk == (120, 120, 60)
    assert on_ct.inside.size < 60**3
    first, patch = measure_mask(on_ct).size, measure_mask(OutlineMask(inside, matrix)).size
    np.testing.assert_allclose(first.center_ras, patch.center_ras, atol=max(spacing_mm) / 2)
    assert first.diameter_mm == pytest.approx(patch.diameter_mm, abs=1.5 * spacing_mm[0])
    assert first.volume_mm3 == pytest.approx(patch.volume_mm3, rel=0.12)


def test_outline_smaller_than_a_voxel_becomes_one_and_one_elsewhere_none():
    matrix = np.diag([0.2, 0.2, 0.2, 1.0])
    matrix[:3, 3] = CENTER_RAS
    tiny = OutlineMask(np.ones((1, 1, 1), bool), matrix)
    ct_matrix = np.diag([-1.0, -1.0, 5.0, 1.0])
    ct_matrix[:3, 3] = CENTER_RAS + (10.4, 10.4, -22.0)
    ct = CTVolume(np.zeros((10, 20, 20), np.int16), ct_matrix)
    assert on_grid_of(tiny, ct).inside.sum() == 1
    assert on_grid_of(tiny, ct.moved(np.array([[1, 0, 0, 500.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))) is None


def test_middle_of_a_ring_lies_in_the_ring():
    j, i = np.indices((21, 21)) - 10
    ring = (np.hypot(i, j) < 9) & (np.hypot(i, j) > 5)
    mask = OutlineMask(ring[None], np.eye(4))
    assert np.hypot(*(mask.middle_ras()[:2] - 10)) > 5
    np.testing.assert_allclose(mask.centroid_ras(), [10, 10, 0], atol=1e-9)


def test_corrected_answer_says_so_and_has_the_outlines_own_size():
    mask, _ = ellipsoid(GRIDS["thin"])
    spec = PatchSpec(shape=(25, 64, 64))
    measured = NoduleMeasurement(7.0, (6.0, 9.0), 6.0, 200.0, (150.0, 300.0), (0.0, 0.0, 0.0))
    result = NoduleResult(
        point_ras=tuple(CENTER_RAS),
        malignancy_probability=0.4,
        class_probabilities=(0.3, 0.4, 0.3),
        diameter_mm=7.0,
        attributes=(),
        heatmap=np.zeros(spec.shape, np.float32),
        heatmap_to_ras=spec.grid_to_ras(CENTER_RAS),
        warnings=("Thick slices", CUT_OFF, OUTLINE_IN_DOUBT),
        measurement=measured,
        outline=np.zeros(spec.shape, bool),
    )
    corrected = corrected_result(result, mask)
    assert corrected.warnings == (CORRECTED, "Thick slices")
    assert corrected.measurement.corrected_by_hand
    assert corrected.measurement.diameter_interval_mm == (corrected.diameter_mm, corrected.diameter_mm)
    assert corrected.to_dict()["measurement"]["corrected_by_hand"] is True
    assert corrected.malignancy_probability == 0.4
    # Its picture on the heat map's grid has the same size.
    again = measure_mask(OutlineMask(corrected.outline, result.heatmap_to_ras)).size
    assert again.volume_mm3 == pytest.approx(corrected.measurement.volume_mm3, rel=0.05)
    assert NoduleMeasurement.from_dict(corrected.to_dict()["measurement"]).corrected_by_hand
