"""The second look: centred on the outline where that moves the patch, on the click where it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import extract_patch
from CLIPLungLib.inference import classifier as module
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.outline_measurement import Measurement
from CLIPLungLib.inference.readout import network_inputs, outlines

BALL = np.array([10.0, -20.0, 30.0])


def outline(*offset_mm: float) -> Measurement:
    """An outline whose centroid lies so far from the middle, along planes, rows, columns."""
    return Measurement(8.0, 6.0, 200.0, np.array(offset_mm), np.ones((1, 1, 1), bool), False)


def test_a_nodule_half_a_millimetre_off_is_looked_at_again(tiny, ball_ct):
    patch = extract_patch(ball_ct, BALL, tiny.checkpoint.patch)
    for near in (None, outline(0, 0, 0), outline(0.499, 0, 0), outline(0.3, 0.3, -0.25)):
        assert tiny._moved(patch, ball_ct, near) is patch
    # Planes go up, rows to the back, columns to the left.
    for offset_mm, expected in (
        ((0.5, 0, 0), (0, 0, 0.5)),
        ((0, 3, 0), (0, -3, 0)),
        ((0.3, 0.3, -0.3), (0.3, -0.3, 0.3)),
    ):
        moved = tiny._moved(patch, ball_ct, outline(*offset_mm))
        np.testing.assert_allclose(moved.center_ras, BALL + expected)
        assert (moved.hu == extract_patch(ball_ct, BALL + expected, tiny.checkpoint.patch).hu).all()


def test_a_centroid_in_air_or_outside_leaves_the_click(tiny, ball_ct):
    hu = ball_ct.hu.copy()
    hu[:, :, 70:] = -1000
    ct = CTVolume(hu, ball_ct.ijk_to_ras)
    patch = extract_patch(ct, BALL, tiny.checkpoint.patch)
    # Column 70 lies 16 mm to the left of the click; 30 mm on there is nothing but air.
    assert tiny._moved(patch, ct, outline(0, 0, 30.0)) is patch
    assert tiny._moved(patch, ct, outline(500.0, 0, 0)) is patch


def test_answer_names_the_click_and_shows_the_patch_it_was_moved_to(tiny, ball_ct, monkeypatch):
    monkeypatch.setattr(module, "measure", lambda *_: outline(2.0, 0.0, 0.0))
    result = tiny.classify(ball_ct, BALL)
    assert result.point_ras == tuple(BALL)
    middle = result.heatmap_to_ras @ [*((np.array(result.heatmap.shape[::-1]) - 1) / 2), 1.0]
    np.testing.assert_allclose(middle[:3], BALL + (0, 0, 2.0))


def test_network_without_outline_looks_where_it_was_told(tiny_checkpoint_file, tiny, ball_ct):
    plain = replace(tiny.checkpoint, draws_outline=False)
    patches = [extract_patch(ball_ct, BALL, plain.patch)] * 2
    classifier = NoduleClassifier(plain, "cpu")
    assert all(a is b for a, b in zip(classifier._centred(patches, [ball_ct] * 2), patches, strict=True))
    reading = classifier.read_patches(patches[:1], [ball_ct])[0]
    assert reading.measurement is None
    assert np.isnan(reading.presence)
    maps = plain.network.encoder(*network_inputs(patches, plain, classifier.device))
    assert outlines(maps, patches, plain) == [None, None]


@pytest.mark.parametrize(("count", "batches"), [(1, [1]), (8, [8]), (9, [8, 1]), (17, [8, 8, 1])])
def test_patches_go_through_the_network_eight_at_a_time(tiny, ball_ct, monkeypatch, count, batches):
    seen = []
    monkeypatch.setattr(tiny, "_centred", lambda patches, _: seen.append(len(patches)) or list(patches))
    monkeypatch.setattr(tiny, "_read", lambda patches: [(patch, None) for patch in patches])
    patches = [object() for _ in range(count)]
    assert tiny.read_patches(patches, [ball_ct] * count) == patches
    assert seen == batches


def test_raw_readings_are_those_of_the_answers(tiny, ball_ct):
    patches = [extract_patch(ball_ct, BALL + (0, 0, k), tiny.checkpoint.patch) for k in range(2)]
    plain = tiny.read_patches(patches, [ball_ct] * 2)
    with_heat = tiny.read_patches_with_heat(patches, [ball_ct] * 2)
    answers = tiny.classify_patches(patches, [ball_ct] * 2)
    for reading, (same, heat), answer in zip(plain, with_heat, answers, strict=True):
        assert reading.malignancy_score == pytest.approx(same.malignancy_score, abs=1e-5)
        assert (heat == answer.heatmap).all()
        probability = tiny.checkpoint.calibrations.probability.malignancy_probability(np.array([same.malignancy_score]))
        assert answer.malignancy_probability == pytest.approx(probability[0], abs=1e-6)
        assert reading.feature.shape == (512,)
        assert reading.distance == pytest.approx(
            float(tiny.checkpoint.feature_space.distance(reading.feature[None])[0])
        )
        assert 0 <= reading.presence <= 1


def test_heat_is_compared_with_the_average_nodule_of_the_checkpoint(tiny, ball_ct):
    space = tiny.checkpoint.feature_space
    shifted = replace(tiny.checkpoint, feature_space=replace(space, mean=space.mean + np.float32(0.5)))
    same = replace(tiny.checkpoint, feature_space=None)
    heats = [NoduleClassifier(c, "cpu").classify(ball_ct, BALL).heatmap for c in (tiny.checkpoint, same, shifted)]
    # The average nodule of the test checkpoint is nothing at all.
    assert (heats[0] == heats[1]).all()
    assert not np.allclose(heats[0], heats[2])
