"""What heat maps are worth: maps made up so that the figures are known, and made-up nodules in files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.tiny_training import nodule

from CLIPLungLib.evaluation.saliency import JudgedMap, blob_at, judge_map, judge_nodules, summarise
from CLIPLungLib.image.patch import Patch, PatchSpec
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.model_card.saliency_table import saliency_table

SPEC = PatchSpec(shape=(5, 20, 20), spacing_mm=(2.0, 1.0, 1.0))
EXISTS = np.array([True, True, True, True, False])
CENTER_RAS = np.array([3.0, -4.0, 50.0])
PATCH = Patch(CENTER_RAS, np.zeros(SPEC.shape, np.float32), EXISTS, SPEC.grid_to_ras(CENTER_RAS), 1.0)


def outline_and_heat():
    """An outline off the middle, and a map that lies on it with three quarters of its sum."""
    outline = np.zeros(SPEC.shape, bool)
    outline[1:3, 2:6, 2:6] = True
    heat = np.where(outline, 0.75 / outline.sum(), 0.0)
    heat[0, 15:, 15:] = 0.25 / 25
    return outline, heat


def test_share_within_the_outline_is_the_maps_own():
    outline, heat = outline_and_heat()
    judged = judge_map(heat, heat, outline, PATCH, CENTER_RAS, 0.7)
    assert judged.inside == pytest.approx(0.75)
    assert judged.outline_share == pytest.approx(32 / 1600)
    assert judged.peak == heat.max()
    assert judged.random_correlation == pytest.approx(1.0)
    assert judged.blob_inside < 0.05


def test_flat_maps_have_no_share_and_no_correlation():
    outline, heat = outline_and_heat()
    judged = judge_map(np.zeros_like(heat), heat, outline, PATCH, CENTER_RAS, 0.1)
    assert judged.peak == 0
    assert np.isnan(judged.inside)
    assert np.isnan(judged.random_correlation)


def test_blob_lies_at_the_click_and_falls_off_in_mm():
    blob = blob_at(CENTER_RAS, PATCH)
    assert blob.shape == SPEC.shape
    assert blob.max() < 1.0  # an even number of rows has no middle one
    assert blob == pytest.approx(blob[::-1, ::-1, ::-1])
    assert blob[2, 9, 9] / blob[1, 9, 9] == pytest.approx(np.exp(2.0**2 / (2 * 6.0**2)))
    # One plane up, two rows to the back, three columns to the left.
    moved = blob_at(CENTER_RAS + (-3.0, -2.0, 2.0), PATCH)
    assert moved[3, 11, 12] == pytest.approx(blob[2, 9, 9])


def test_bands_hold_every_map_once_and_say_how_many_are_empty():
    judged = [JudgedMap(p, peak, 0.5, 0.25, 0.01, 0.1) for p, peak in ((0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (1.0, 1.0))]
    for index in (0, 3):
        judged[index] = replace(judged[index], inside=float("nan"), random_correlation=float("nan"))
    found = summarise(judged, ["a", "a", "b", "c"])
    assert {band: figures["n"] for band, figures in found.items()} == {
        "0 to 0.2": 2,
        "0.2 to 0.4": 1,
        "0.8 to 1": 1,
        "all": 4,
    }
    assert found["0 to 0.2"]["empty"]["value"] == 0.5
    # The interval draws patients, and there is one alone.
    assert found["0 to 0.2"]["empty"]["interval"] == [0.5, 0.5]
    assert found["all"]["density"]["value"] == pytest.approx(50.0)
    assert found["all"]["gain"]["value"] == pytest.approx(2.0)
    assert found["0.8 to 1"]["gain"]["value"] is None
    table = saliency_table(found)
    assert "| all | 4 (3) |" in table
    assert "not defined" in table


def test_nodules_in_files_are_judged_off_their_middle(tmp_path, ball_ct, tiny_checkpoint_file):
    origin = ball_ct.ijk_to_ras[:3, 3] * (-1, -1, 1)
    for name, voxels in (("volume", ball_ct.hu), ("mask", (ball_ct.hu > 0).astype(np.uint8))):
        image = sitk.GetImageFromArray(voxels)
        image.SetSpacing((0.8, 0.8, 1.5))
        image.SetOrigin(origin)
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    whole = replace(nodule(0), point_ras=(10.0, -20.0, 30.0), images={"volume": "volume.nii.gz", "mask": "mask.nii.gz"})
    without_outline = replace(whole, images={"volume": "volume.nii.gz"})
    classifier = NoduleClassifier(load_checkpoint(tiny_checkpoint_file), "cpu")
    judged, patients = judge_nodules(tmp_path, [whole, without_outline], classifier)
    assert patients == [whole.patient_id]
    ball_share = 4 / 3 * np.pi * 6.0**3 / (9 * 2.0 * 32 * 32)
    assert judged[0].outline_share == pytest.approx(ball_share, rel=0.1)
    assert 0 <= judged[0].probability <= 1
    assert judged == judge_nodules(tmp_path, [whole], classifier)[0]
