"""Conditions a scan can come in: each one's geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from CLIPLungLib.evaluation import perturbations
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec, extract_patch

BALL_RAS = np.array([10.0, -20.0, 30.0])
SPEC = PatchSpec(shape=(9, 32, 32), spacing_mm=(2.0, 1.0, 1.0))


def slab(planes: int, spacing_mm: float) -> CTVolume:
    """Planes of 2 x 2 voxels whose HU is 100 times their number; the first centre at S = 5 mm."""
    matrix = np.diag([-1.0, -1.0, spacing_mm, 1.0])
    matrix[2, 3] = 5.0
    return CTVolume(np.broadcast_to(100 * np.arange(planes, dtype=np.int16)[:, None, None], (planes, 2, 2)), matrix)


@pytest.mark.parametrize("distance_mm", perturbations.CLICK_SHIFTS_MM)
def test_moved_click_has_the_stated_length(ball_ct, distance_mm):
    rng = np.random.default_rng(0)
    moved = [perturbations.moved_click(ball_ct, BALL_RAS, distance_mm, rng) for _ in range(20)]
    assert np.linalg.norm(np.array(moved) - BALL_RAS, axis=1) == pytest.approx(np.full(20, distance_mm))
    # Directions differ and have no side they prefer.
    assert np.ptp(moved, axis=0).min() > distance_mm


def test_moved_click_ends_at_the_first_or_last_slice(ball_ct):
    short = replace(ball_ct, hu=ball_ct.hu[19:22], ijk_to_ras=ball_ct.ijk_to_ras @ _up(19))
    rng = np.random.default_rng(1)
    clicks = np.array([perturbations.moved_click(short, BALL_RAS, 5.0, rng) for _ in range(50)])
    assert clicks[:, 2].min() == pytest.approx(28.5)
    assert clicks[:, 2].max() == pytest.approx(31.5)
    lengths = np.linalg.norm(clicks - BALL_RAS, axis=1)
    assert lengths.max() <= 5.0 + 1e-9
    assert lengths.min() < 4.9


def _up(planes: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[2, 3] = planes
    return matrix


def test_thick_slices_are_means_of_their_neighbours_at_the_middle_of_them():
    thick = perturbations.thickened(slab(4, 1.25), 2.5)
    assert thick.hu[:, 0, 0].tolist() == [50.0, 250.0]
    assert thick.spacing_mm[2] == pytest.approx(2.5)
    # Centres of slices 0 and 1 lie at 5 and 6.25 mm.
    assert thick.to_ras(np.zeros(3))[2] == pytest.approx(5.625)


def test_thickening_by_a_broken_ratio_shares_the_slice_between():
    thick = perturbations.thickened(slab(3, 1.5), 2.5)  # 4.5 mm in two slices of 2.25 mm: 1 1/2 thin slices each
    assert thick.spacing_mm[2] == pytest.approx(2.25)
    assert thick.hu[:, 0, 0] == pytest.approx([100 / 3, 500 / 3])


@pytest.mark.parametrize("thickness_mm", [2.5, 5.0, 7.0, 100.0])
def test_thickening_keeps_mean_and_extent(ball_ct, thickness_mm):
    thick = perturbations.thickened(ball_ct, thickness_mm)
    assert thick.hu.mean(dtype=np.float64) == pytest.approx(ball_ct.hu.mean(dtype=np.float64), abs=0.01)
    assert thick.bounds_ras() == pytest.approx(ball_ct.bounds_ras())
    assert thick.hu.shape[0] < ball_ct.hu.shape[0]


def test_thickening_keeps_the_ball_where_it_is(ball_ct):
    thick = perturbations.thickened(ball_ct, 5.0)
    dense = np.argwhere(thick.hu > -400)[:, ::-1]
    assert thick.to_ras(dense).mean(axis=0) == pytest.approx(BALL_RAS, abs=1.5)


def test_slices_that_are_thick_already_stay_the_same_scan():
    ct = slab(4, 2.5)
    assert perturbations.thickened(ct, 2.5) is ct


def test_noise_has_its_deviation_and_no_mean_and_leaves_the_scan(ball_ct):
    before = ball_ct.hu.copy()
    noise = perturbations.with_noise(ball_ct, 25.0, np.random.default_rng(0)).hu - before
    assert noise.std() == pytest.approx(25.0, rel=0.01)
    assert abs(noise.mean()) < 0.2
    assert (ball_ct.hu == before).all()


def test_hu_shift_moves_every_voxel_and_does_not_overflow():
    ct = CTVolume(np.full((2, 2, 2), 32760, np.int16), np.eye(4))
    assert (perturbations.with_hu_shift(ct, 20.0).hu == 32780).all()


@pytest.mark.parametrize("axes", [[2], [0, 1], [0, 1, 2]])
def test_flips_keep_the_hu_at_every_place(ball_ct, axes):
    turned = perturbations.flipped(ball_ct, axes)
    assert np.shares_memory(turned.hu, ball_ct.hu)
    assert (turned.hu != ball_ct.hu).any()
    own, other = extract_patch(ball_ct, BALL_RAS, SPEC), extract_patch(turned, BALL_RAS, SPEC)
    assert other.hu == pytest.approx(own.hu, abs=1e-2)
    assert (other.exists == own.exists).all()


def test_every_condition_has_a_key_and_a_label_of_its_own():
    made = perturbations.conditions()
    assert len({condition.key for condition in made}) == len({condition.label for condition in made}) == len(made)
    assert all(condition.key.isascii() and " " not in condition.key for condition in made)
