"""Volumes by density: of balls of known size beside vessels, and growth seen by the bundled network on another scanner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.two_scans import PLACES_RAS, moved_place, movement, scanned_again, with_balls

from CLIPLungLib.followup.comparison import comparison_of
from CLIPLungLib.followup.density_volume import density_volume_mm3
from CLIPLungLib.followup.growth import BY_DENSITY, BY_OUTLINE
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.outline_mask import OutlineMask
from CLIPLungLib.inference.classifier import NoduleClassifier

SPACING_MM = np.array([0.8, 0.8, 1.25])


def ball_volume_mm3(diameter_mm: float) -> float:
    return float(np.pi / 6 * diameter_mm**3)


def scan_of_ball(diameter_mm: float, hu: float = 40.0, vessel_mm: float = 0.0, spacing_mm=SPACING_MM) -> CTVolume:
    """A ball in lung, at the middle, blurred as a scanner blurs; beside it a vessel along an axis."""
    size = np.ceil(48 / spacing_mm).astype(int) | 1
    i, j, k = np.meshgrid(*(np.arange(n) - n // 2 for n in size), indexing="ij")
    x, y, z = (index.transpose(2, 1, 0) * mm for index, mm in zip((i, j, k), spacing_mm, strict=True))
    cover = np.clip((diameter_mm / 2 - np.sqrt(x**2 + y**2 + z**2)) / 1.2 + 0.5, 0, 1)
    if vessel_mm:
        cover = np.maximum(cover, np.clip((vessel_mm / 2 - np.hypot(y, z)) / 1.2 + 0.5, 0, 1))
    matrix = np.diag([*spacing_mm, 1.0])
    matrix[:3, 3] = -spacing_mm * (size // 2)
    return CTVolume(np.rint(-850 + cover * (hu + 850)).astype(np.int16), matrix)


def outline_of(ct: CTVolume, radius_mm: float) -> OutlineMask:
    """A rough ball around the middle, as a network might draw it."""
    k, j, i = np.indices(ct.hu.shape)
    away_mm = np.linalg.norm(ct.to_ras(np.stack([i, j, k], axis=-1)), axis=-1)
    return OutlineMask(away_mm <= radius_mm, ct.ijk_to_ras).cropped()


@pytest.mark.parametrize("diameter_mm", [8.0, 12.0, 20.0])
@pytest.mark.parametrize("off_mm", [-1.0, 0.0, 1.5])
def test_volume_does_not_hang_on_how_the_outline_was_drawn(diameter_mm, off_mm):
    ct = scan_of_ball(diameter_mm)
    found = density_volume_mm3(ct, outline_of(ct, diameter_mm / 2 + off_mm))
    assert found == pytest.approx(ball_volume_mm3(diameter_mm), rel=0.06)


def test_voxels_of_another_size_give_the_same_volume():
    found = [
        density_volume_mm3(ct, outline_of(ct, 6.0))
        for ct in (scan_of_ball(10.0), scan_of_ball(10.0, spacing_mm=np.array([0.6, 0.6, 2.5])))
    ]
    assert found == pytest.approx([ball_volume_mm3(10.0)] * 2, rel=0.07)


def test_a_thin_vessel_does_not_count():
    ct = scan_of_ball(12.0, vessel_mm=3.0)
    found = density_volume_mm3(ct, outline_of(ct, 9.0))
    assert found == pytest.approx(ball_volume_mm3(12.0), rel=0.12)
    # All that is bright within the outline is clearly more.
    bright = (ct.hu > -400) & (np.linalg.norm(_places(ct), axis=-1) <= 9.0)
    assert bright.sum() * SPACING_MM.prod() > 1.05 * ball_volume_mm3(12.0)


def _places(ct: CTVolume) -> np.ndarray:
    k, j, i = np.indices(ct.hu.shape)
    return ct.to_ras(np.stack([i, j, k], axis=-1))


def test_what_is_not_solid_or_lies_elsewhere_has_no_such_volume():
    ground_glass = scan_of_ball(12.0, hu=-500.0)
    assert density_volume_mm3(ground_glass, outline_of(ground_glass, 6.0)) is None
    solid = scan_of_ball(12.0)
    outline = outline_of(solid, 6.0)
    shifted = outline.ijk_to_ras.copy()
    shifted[:3, 3] += 0.3
    assert density_volume_mm3(solid, replace(outline, ijk_to_ras=shifted)) is None
    far = outline.ijk_to_ras.copy()
    far[:3, 3] += 1000 * SPACING_MM
    assert density_volume_mm3(solid, replace(outline, ijk_to_ras=far)) is None
    assert density_volume_mm3(solid, replace(outline, inside=np.zeros_like(outline.inside))) is None
    tissue = CTVolume(np.full(solid.hu.shape, 40, np.int16), solid.ijk_to_ras)
    assert density_volume_mm3(tissue, outline) is None


@pytest.fixture(scope="module")
def network() -> NoduleClassifier:
    return NoduleClassifier.load(device="cpu")


@pytest.mark.parametrize(("before_mm", "now_mm"), [(8.0, 11.0), (10.0, 14.0), (10.0, 10.0)])
def test_growth_by_the_bundled_network_on_another_scanner(chest, network, before_mm, now_mm):
    """Within 10 % for growth above the noise, no significant change below it: other voxels and field of view, a moved patient."""
    current = with_balls(chest, dict.fromkeys(PLACES_RAS, now_mm))
    prior = scanned_again(with_balls(chest, dict.fromkeys(PLACES_RAS, before_mm)), movement())
    for place in PLACES_RAS:
        after, before = (
            network.classify(ct, where)
            for ct, where in ((current, PLACES_RAS[place]), (prior, moved_place(movement(), place)))
        )
        change = comparison_of(after, before, (current, prior)).growth
        assert change is not None
        assert change.volume_by == BY_DENSITY
        assert change.is_beyond_repeatability == (now_mm > before_mm)
        if now_mm > before_mm:
            log_ratio = np.log1p(change.volume_change_percent / 100)
            assert 3 * np.log(now_mm / before_mm) / log_ratio == pytest.approx(1, abs=0.10)


def test_an_outline_drawn_by_hand_counts_as_it_was_drawn(chest, network):
    current, prior = with_balls(chest, {"left": 11.0}), with_balls(chest, {"left": 8.0})
    after, before = (network.classify(ct, PLACES_RAS["left"]) for ct in (current, prior))
    drawn = replace(after, measurement=replace(after.measurement, volume_mm3=800.0, corrected_by_hand=True))
    change = comparison_of(drawn, before, (current, prior)).growth
    assert change.volume_by == BY_OUTLINE
    assert (change.prior_volume_mm3, change.volume_mm3) == (before.measurement.volume_mm3, 800.0)
