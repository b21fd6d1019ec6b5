"""The classifier: one CT and a point in, a complete answer out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from CLIPLungLib.errors import CheckpointError, InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

BALL = (10.0, -20.0, 30.0)


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint_file) -> NoduleClassifier:
    return NoduleClassifier.load(tiny_checkpoint_file, "cpu")


def test_result_is_complete_and_consistent(tiny, ball_ct):
    result = tiny.classify(ball_ct, BALL)
    assert 0 < result.malignancy_probability < 1
    assert sum(result.class_probabilities) == pytest.approx(1)
    # P(> 3) lies between P(> 3.5) and P(> 2.5): the answers cannot contradict each other.
    assert result.class_probabilities[2] <= result.malignancy_probability <= 1 - result.class_probabilities[0]
    assert tuple(a.name for a in result.attributes) == ATTRIBUTE_NAMES
    assert result.heatmap.shape == (9, 32, 32)
    assert result.model["sha256"] == tiny.checkpoint.sha256
    assert json.loads(result.to_json())["point_ras_mm"] == list(BALL)


def test_same_click_gives_the_same_answer(tiny, ball_ct):
    first, second = (tiny.classify(ball_ct, BALL) for _ in range(2))
    assert first.to_json() == second.to_json()
    assert np.array_equal(first.heatmap, second.heatmap)


def test_bundled_weights_answer_alone_as_they_do_among_others(ball_ct):
    bundled = NoduleClassifier.load(device="cpu")
    clicks = [BALL, (12.0, -20.0, 30.0), (10.0, -17.0, 29.0)]
    alone = [bundled.classify(ball_ct, click).malignancy_probability for click in clicks]
    together = bundled.classify_points(ball_ct, clicks)
    assert [result.malignancy_probability for result in together] == pytest.approx(alone, abs=1e-6)


FAULTS = [
    torch.cuda.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("CUDA error: no kernel image is available for execution on the device"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    RuntimeError("MPS backend out of memory"),
    NotImplementedError("The operator 'aten::x' is not currently implemented for the MPS device"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault)[:20])
def test_graphics_card_that_fails_hands_over_to_the_processor(tiny_checkpoint_file, ball_ct, monkeypatch, fault):
    classifier = NoduleClassifier.load(tiny_checkpoint_file, "cpu")
    expected = classifier.classify(ball_ct, BALL)
    centred = NoduleClassifier._centred

    def failing(self, *arguments):
        if self.device.type != "cpu":
            raise fault
        return centred(self, *arguments)

    monkeypatch.setattr(NoduleClassifier, "_centred", failing)
    # Stands for a graphics card; nothing is computed there.
    classifier.device = torch.device("meta")
    result = classifier.classify(ball_ct, BALL)
    assert classifier.device.type == "cpu"
    assert any("graphics card" in warning and str(fault)[:20] in warning for warning in result.warnings)
    assert result.malignancy_probability == expected.malignancy_probability
    assert classifier.classify(ball_ct, BALL).warnings == expected.warnings


def test_card_that_fails_while_the_model_is_loaded_is_said_with_the_first_answer(
    tiny_checkpoint_file, ball_ct, monkeypatch
):
    checkpoint = load_checkpoint(tiny_checkpoint_file)

    def full(_device):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("CLIPLungLib.inference.classifier.choose_device", lambda _name: torch.device("cuda"))
    monkeypatch.setattr(checkpoint.network, "to", full)
    classifier = NoduleClassifier(checkpoint)
    assert classifier.device.type == "cpu"
    assert any("out of memory" in warning for warning in classifier.classify(ball_ct, BALL).warnings)


def test_other_faults_on_a_card_are_not_hidden(tiny_checkpoint_file, ball_ct, monkeypatch):
    classifier = NoduleClassifier.load(tiny_checkpoint_file, "cpu")
    classifier.device = torch.device("meta")

    def wrong(*_arguments):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(NoduleClassifier, "_centred", wrong)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        classifier.classify(ball_ct, BALL)


def test_answer_does_not_depend_on_how_the_scan_stores_its_axes(tiny, ball_ct):
    flip = np.diag([-1.0, 1.0, -1.0, 1.0])
    flip[:3, 3] = (ball_ct.size_ijk[0] - 1, 0, ball_ct.size_ijk[2] - 1)
    flipped = CTVolume(ball_ct.hu[::-1, :, ::-1], ball_ct.ijk_to_ras @ flip)
    permuted = CTVolume(ball_ct.hu.transpose(2, 1, 0), ball_ct.ijk_to_ras[:, [2, 1, 0, 3]])
    expected = tiny.classify(ball_ct, BALL).malignancy_probability
    assert tiny.classify(flipped, BALL).malignancy_probability == pytest.approx(expected, abs=1e-5)
    assert tiny.classify(permuted, BALL).malignancy_probability == pytest.approx(expected, abs=1e-5)


def test_points_together_equal_points_alone(tiny, ball_ct):
    points = [BALL, (12.0, -20.0, 31.0), (8.0, -22.0, 29.0)]
    together = tiny.classify_points(ball_ct, points)
    for point, result in zip(points, together, strict=True):
        alone = tiny.classify(ball_ct, point)
        assert result.malignancy_probability == pytest.approx(alone.malignancy_probability, abs=1e-5)
        np.testing.assert_allclose(result.heatmap, alone.heatmap, atol=1e-3)


def test_readings_are_those_of_the_results(tiny, ball_ct):
    from CLIPLungLib.image.patch import extract_patch

    clicks = [np.array(point) for point in (BALL, (12.0, -20.0, 31.0))]
    patches = [extract_patch(ball_ct, click, tiny.checkpoint.patch) for click in clicks]
    readings = tiny.read_patches(patches, [ball_ct] * 2)
    results = tiny.classify_points(ball_ct, clicks)
    calibration = tiny.checkpoint.calibrations.probability
    for reading, result in zip(readings, results, strict=True):
        expected = calibration.malignancy_probability(np.array([reading.malignancy_score]))[0]
        assert result.malignancy_probability == pytest.approx(expected, abs=1e-6)
        assert reading.level("margin") == pytest.approx(result.attributes[4].level, abs=1e-5)
        np.testing.assert_allclose(reading.patch.ijk_to_ras, result.heatmap_to_ras)


def test_network_that_draws_no_outline_looks_once_and_measures_nothing(tiny_checkpoint_file, ball_ct, monkeypatch):
    checkpoint = load_checkpoint(tiny_checkpoint_file)
    calibrations = replace(checkpoint.calibrations, outline=None)
    plain = NoduleClassifier(replace(checkpoint, draws_outline=False, calibrations=calibrations), "cpu")
    result = plain.classify(ball_ct, (12.0, -20.0, 30.0))
    assert result.measurement is None
    assert result.outline is None
    np.testing.assert_allclose(result.heatmap_to_ras, checkpoint.patch.grid_to_ras(np.array([12.0, -20.0, 30.0])))


def test_weights_without_calibrations_answer_nothing(tiny_checkpoint_file, ball_ct):
    unfinished = NoduleClassifier(replace(load_checkpoint(tiny_checkpoint_file), calibrations=None), "cpu")
    with pytest.raises(CheckpointError, match="cross-validation is not finished"):
        unfinished.classify(ball_ct, BALL)


def test_empty_heat_map_is_said(tiny_checkpoint_file, ball_ct):
    checkpoint = load_checkpoint(tiny_checkpoint_file)
    for head in (checkpoint.network.rating_head, checkpoint.network.class_head):
        head.weight.zero_()
    result = NoduleClassifier(checkpoint, "cpu").classify(ball_ct, BALL)
    assert result.heatmap.max() == 0
    assert any("heat map is empty" in warning for warning in result.warnings)


def test_unknown_device_is_refused(tiny_checkpoint_file):
    with pytest.raises(InputError, match="Device 'tpu9' is not known"):
        NoduleClassifier.load(tiny_checkpoint_file, "tpu9")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_missing_gpu_is_said(tiny_checkpoint_file):
    with pytest.raises(InputError, match=r"'cuda:0' was asked for, but torch sees 0 GPU"):
        NoduleClassifier.load(tiny_checkpoint_file, "cuda:0")


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
def test_every_device_gives_the_cpus_answer(tiny, tiny_checkpoint_file, ball_ct, device):
    other = NoduleClassifier(load_checkpoint(tiny_checkpoint_file), device)
    expected = tiny.classify(ball_ct, BALL).malignancy_probability
    assert other.classify(ball_ct, BALL).malignancy_probability == pytest.approx(expected, abs=1e-3)


def test_bundled_model_answers(ball_ct):
    result = NoduleClassifier.load(device="cpu").classify(ball_ct, BALL)
    assert 6 < result.diameter_mm < 20
    assert 0 <= result.heatmap.min() <= result.heatmap.max() <= 1


def test_real_series_looks_malignant_and_the_map_lies_on_the_nodule(lidc_folder):
    """LIDC-IDRI-0001: all four readers rate the nodule 4 or 5; the patient is in the test fold."""
    from CLIPLungLib.image.read import read_ct
    from CLIPLungLib.image.resample import grid_coordinates

    result = NoduleClassifier.load(device="cpu").classify(
        read_ct(lidc_folder / "dicom" / "LIDC-IDRI-0001"), (-56.3, -86.4, -115.9)
    )
    assert result.malignancy_probability > 0.8
    assert result.predicted_class == "malignant"
    mask = read_ct(lidc_folder / "masks" / "LIDC-IDRI-0001_3192_0.nii.gz")
    ijk = grid_coordinates(mask, result.heatmap_to_ras, result.heatmap.shape)
    nearest = np.rint(np.clip(ijk, 0, mask.size_ijk - 1)).astype(int)
    inside = mask.contains_ijk(ijk) & (mask.hu[nearest[..., 2], nearest[..., 1], nearest[..., 0]] > 0)
    energy = result.heatmap[inside].sum() / result.heatmap.sum()
    assert energy >= 5 * inside.mean()
