"""The same nodules under other conditions: each condition's geometry, and the comparison of answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation import robustness as reality
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec, extract_patch

BALL_RAS = np.array([10.0, -20.0, 30.0])
SPEC = PatchSpec(shape=(9, 32, 32), spacing_mm=(2.0, 1.0, 1.0))


def slab(planes: int, spacing_mm: float) -> CTVolume:
    """Planes of 2 x 2 voxels whose HU is 100 times their number; the first centre at S = 5 mm."""
    matrix = np.diag([-1.0, -1.0, spacing_mm, 1.0])
    matrix[2, 3] = 5.0
    return CTVolume(np.broadcast_to(100 * np.arange(planes, dtype=np.int16)[:, None, None], (planes, 2, 2)), matrix)


@pytest.mark.parametrize("distance_mm", reality.CLICK_SHIFTS_MM)
def test_moved_click_has_the_stated_length(ball_ct, distance_mm):
    rng = np.random.default_rng(0)
    moved = [reality.moved_click(ball_ct, BALL_RAS, distance_mm, rng) for _ in range(20)]
    assert np.linalg.norm(np.array(moved) - BALL_RAS, axis=1) == pytest.approx(np.full(20, distance_mm))
    # Directions differ and have no side they prefer.
    assert np.ptp(moved, axis=0).min() > distance_mm


def test_moved_click_ends_at_the_first_or_last_slice(ball_ct):
    short = replace(ball_ct, hu=ball_ct.hu[19:22], ijk_to_ras=ball_ct.ijk_to_ras @ _up(19))
    rng = np.random.default_rng(1)
    clicks = np.array([reality.moved_click(short, BALL_RAS, 5.0, rng) for _ in range(50)])
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
    thick = reality.thickened(slab(4, 1.25), 2.5)
    assert thick.hu[:, 0, 0].tolist() == [50.0, 250.0]
    assert thick.spacing_mm[2] == pytest.approx(2.5)
    # Centres of slices 0 and 1 lie at 5 and 6.25 mm.
    assert thick.to_ras(np.zeros(3))[2] == pytest.approx(5.625)


def test_thickening_by_a_broken_ratio_shares_the_slice_between():
    thick = reality.thickened(slab(3, 1.5), 2.5)  # 4.5 mm in two slices of 2.25 mm: 1 1/2 thin slices each
    assert thick.spacing_mm[2] == pytest.approx(2.25)
    assert thick.hu[:, 0, 0] == pytest.approx([100 / 3, 500 / 3])


@pytest.mark.parametrize("thickness_mm", [2.5, 5.0, 7.0, 100.0])
def test_thickening_keeps_mean_and_extent(ball_ct, thickness_mm):
    thick = reality.thickened(ball_ct, thickness_mm)
    assert thick.hu.mean(dtype=np.float64) == pytest.approx(ball_ct.hu.mean(dtype=np.float64), abs=0.01)
    assert thick.bounds_ras() == pytest.approx(ball_ct.bounds_ras())
    assert thick.hu.shape[0] < ball_ct.hu.shape[0]


def test_thickening_keeps_the_ball_where_it_is(ball_ct):
    thick = reality.thickened(ball_ct, 5.0)
    dense = np.argwhere(thick.hu > -400)[:, ::-1]
    assert thick.to_ras(dense).mean(axis=0) == pytest.approx(BALL_RAS, abs=1.5)


def test_slices_that_are_thick_already_stay_the_same_scan():
    ct = slab(4, 2.5)
    assert reality.thickened(ct, 2.5) is ct


def test_noise_has_its_deviation_and_no_mean_and_leaves_the_scan(ball_ct):
    before = ball_ct.hu.copy()
    noise = reality.with_noise(ball_ct, 25.0, np.random.default_rng(0)).hu - before
    assert noise.std() == pytest.approx(25.0, rel=0.01)
    assert abs(noise.mean()) < 0.2
    assert (ball_ct.hu == before).all()


def test_hu_shift_moves_every_voxel_and_does_not_overflow():
    ct = CTVolume(np.full((2, 2, 2), 32760, np.int16), np.eye(4))
    assert (reality.with_hu_shift(ct, 20.0).hu == 32780).all()


@pytest.mark.parametrize("axes", [[2], [0, 1], [0, 1, 2]])
def test_flips_keep_the_hu_at_every_place(ball_ct, axes):
    turned = reality.flipped(ball_ct, axes)
    assert np.shares_memory(turned.hu, ball_ct.hu)
    assert (turned.hu != ball_ct.hu).any()
    own, other = extract_patch(ball_ct, BALL_RAS, SPEC), extract_patch(turned, BALL_RAS, SPEC)
    assert other.hu == pytest.approx(own.hu, abs=1e-2)
    assert (other.exists == own.exists).all()


def test_comparison_by_hand():
    ratings = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    reference = np.array([0.1, 0.2, 0.5, 0.8, 0.9])
    condition = np.array(
        [0.1, 0.85, 0.5, 0.8, 0.9]
    )  # one benign nodule now above one malignant one: 3 of 4 pairs right
    figures = reality.compare(reference, condition, ratings, np.array(["a", "b", "c", "d", "e"]))
    assert figures["n"] == 5
    assert figures["n_auc"] == 4
    assert figures["auc_reference"] == 1.0
    assert figures["auc_condition"] == 0.75
    assert figures["auc_difference"] == -0.25
    low, high = figures["auc_difference_interval"]
    assert low < -0.25 <= high <= 0.0
    assert figures["mean_change"] == pytest.approx(0.13)
    assert figures["p95_change"] == pytest.approx(0.52)
    assert figures["changed_class"] == pytest.approx(0.2)


def test_comparison_without_both_kinds_has_no_auc():
    figures = reality.compare([0.1, 0.2], [0.1, 0.2], [1, 2], ["a", "b"])
    assert figures["auc_difference"] is None
    assert figures["mean_change"] == 0.0


def test_comparison_of_unequal_numbers_is_refused():
    with pytest.raises(InputError, match="same nodules"):
        reality.compare([0.1], [0.1, 0.2], [1], ["a"])


def mean_hu(patches, volumes):
    """An answer that any change of grey values moves."""
    return np.array([SPEC.normalise(patch.hu[patch.exists]).mean() for patch in patches])


def test_conditions_on_lidc_nodules(lidc_folder):
    from CLIPLungLib.lidc.nodule_table import read_nodules

    nodules = [n for n in read_nodules(lidc_folder) if "cube" in n.images and "volume" in n.images][:6]
    found = reality.changed_scans(lidc_folder, nodules, mean_hu, SPEC)
    again = reality.changed_scans(lidc_folder, nodules[::-1], mean_hu, SPEC)
    for name in ("slices in reverse order", "rows and columns reversed"):
        assert found[name].condition == pytest.approx(found[name].reference, abs=1e-5)
    moved = found["click moved by 2 mm"]
    assert len(moved.reference) + moved.refused == len(nodules)
    assert moved.click_mm.max() <= 2.0 + 1e-9
    assert np.sort(again["click moved by 2 mm"].condition) == pytest.approx(np.sort(moved.condition))
    assert reality.compare_pairs(found["HU shifted by +20"])["mean_change"] == pytest.approx(20 / 1400, rel=0.1)
    cubes = reality.other_images(lidc_folder, nodules, mean_hu, SPEC, "cube")
    assert len(cubes.reference) == len(nodules)
    joined = reality.join_pairs([cubes, cubes])
    assert len(joined.patient) == 2 * len(nodules)
