"""The place of a nodule in an earlier CT, on the synthetic chest, where it is known."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.two_scans import PLACES_RAS, moved_place, movement, scanned_again, with_balls

from CLIPLungLib.errors import InputError
from CLIPLungLib.followup.blocks import Block, block_around, thinned_out, whole_block
from CLIPLungLib.followup.growth import growth
from CLIPLungLib.followup.registration import correlation_of, propose_place
from CLIPLungLib.followup.repeatability import PUBLISHED
from CLIPLungLib.followup.shift_search import best_shift
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec, extract_patch
from CLIPLungLib.inference.outline_measurement import measure_outline
from CLIPLungLib.inference.result import NoduleMeasurement

BEFORE_MM, NOW_MM = 8.0, 11.0


@pytest.fixture(scope="module")
def current(chest) -> CTVolume:
    return with_balls(chest, dict.fromkeys(PLACES_RAS, NOW_MM))


@pytest.fixture(scope="module")
def prior(chest) -> CTVolume:
    """Other voxels, another field of view, and the patient turned and shifted."""
    return scanned_again(with_balls(chest, dict.fromkeys(PLACES_RAS, BEFORE_MM)), movement())


def measured_by_density(ct: CTVolume, point_ras) -> NoduleMeasurement:
    """The ball's size with an outline by density alone, so that no network is in the way."""
    spec = PatchSpec(shape=(15, 28, 28), spacing_mm=(1.0, 0.75, 0.75))
    patch = extract_patch(ct, np.array(point_ras), spec)
    found = measure_outline(np.clip((patch.hu + 860) / 895, 0, 1), spec.spacing_mm)
    interval = (found.volume_mm3 / 1.1, found.volume_mm3 * 1.1)
    return NoduleMeasurement(found.diameter_mm, (1, 2), found.mean_diameter_mm, found.volume_mm3, interval, (0, 0, 0))


def test_place_is_found_and_doubling_time_with_it(current, prior):
    told = []
    found = propose_place(current, np.array(PLACES_RAS["left"]), prior, progress=told.append)
    assert np.linalg.norm(np.array(found.point_ras) - moved_place(movement(), "left")) < 1.0
    assert found.similarity > 0.9
    assert found.round_trip_mm < 1.0
    assert found.rotation_degrees == pytest.approx(6.2, abs=1.0)
    assert found.warnings == ()
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)
    change = growth(
        measured_by_density(prior, found.point_ras), measured_by_density(current, PLACES_RAS["left"]), 200, PUBLISHED
    )
    assert change.is_beyond_repeatability
    assert change.doubling_days == pytest.approx(200 * np.log(2) / (3 * np.log(NOW_MM / BEFORE_MM)), rel=0.10)


def test_place_is_found_in_a_deeper_breath(current, chest):
    breath = movement(stretch=(1.0, 1.03, 1.08))
    earlier = scanned_again(with_balls(chest, {"low": BEFORE_MM}), breath)
    found = propose_place(current, np.array(PLACES_RAS["low"]), earlier)
    assert np.linalg.norm(np.array(found.point_ras) - moved_place(breath, "low")) < 3.0


def test_unchanged_nodule_scanned_again_is_no_significant_change(current):
    again = scanned_again(current, movement(), noise_hu=25.0)
    place = moved_place(movement(), "left")
    change = growth(measured_by_density(again, place), measured_by_density(current, PLACES_RAS["left"]), 90, PUBLISHED)
    assert not change.is_beyond_repeatability


def test_part_of_the_lung_that_the_prior_does_not_show_is_refused(current, prior):
    k = round(float(prior.to_ijk(moved_place(movement(), "right"))[2]))
    lower = CTVolume(prior.hu[: k - 15], prior.ijk_to_ras, "Earlier chest")
    with pytest.raises(InputError, match="lies outside of 'Earlier chest'"):
        propose_place(current, np.array(PLACES_RAS["right"]), lower)


def test_scan_of_something_else_is_refused(current, prior):
    other = CTVolume(prior.hu[::-1, :, ::-1], prior.ijk_to_ras, "Other patient")
    with pytest.raises(InputError, match="'Other patient'"):
        propose_place(current, np.array(PLACES_RAS["right"]), other)


def test_point_outside_of_the_current_scan_is_refused(current, prior):
    with pytest.raises(InputError, match="lies outside"):
        propose_place(current, np.array([900.0, 0.0, 0.0]), prior)


def test_same_place_every_time(ball_ct):
    block = block_around(ball_ct, np.array([10.0, -20.0, 30.0]), 30.0, 1.5)
    moved = block_around(ball_ct, np.array([14.5, -21.5, 30.0]), 30.0, 1.5)
    np.testing.assert_allclose(best_shift(block, moved, 0.5), 0.0, atol=1e-9)
    elsewhere = Block(moved.grey, moved.is_scan, moved.first_ras + (6.0, 3.0, -9.0), 1.5)
    np.testing.assert_allclose(best_shift(block, elsewhere, 0.5), (6.0, 3.0, -9.0), atol=1e-9)


def test_blocks_that_are_flat_have_no_shift():
    flat = Block(np.full((8, 8, 8), 0.4, np.float32), np.ones((8, 8, 8), bool), np.zeros(3), 2.0)
    assert best_shift(flat, flat, 0.5) is None
    assert correlation_of(flat.grey, flat.grey, flat.is_scan) == 0.0


def test_thinned_scan_lies_where_the_scan_lies(ball_ct):
    thin = thinned_out(ball_ct, 4.0)
    place = thin.to_ras(np.array(np.unravel_index(thin.hu.argmax(), thin.hu.shape))[::-1])
    assert np.linalg.norm(place - (10.0, -20.0, 30.0)) < 4.0
    assert thin.hu.size < ball_ct.hu.size / 50
    block = whole_block(ball_ct, 4.0)
    assert block.is_scan.all()
    assert block.first_ras == pytest.approx(ball_ct.bounds_ras()[0], abs=6.0)
