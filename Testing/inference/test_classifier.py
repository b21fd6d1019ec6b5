"""The classifier: one CT and a point in, a complete answer out."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.inference.classifier import NoduleClassifier, read_attributes
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, ATTRIBUTES

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


def test_graphics_card_without_memory_hands_over_to_the_processor(tiny_checkpoint_file, ball_ct, monkeypatch):
    classifier = NoduleClassifier.load(tiny_checkpoint_file, "cpu")
    expected = classifier.classify(ball_ct, BALL)
    centred = NoduleClassifier._centred

    def full(self, *arguments):
        if self.device.type != "cpu":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return centred(self, *arguments)

    monkeypatch.setattr(NoduleClassifier, "_centred", full)
    # Stands for a GPU; nothing is computed there.
    classifier.device = torch.device("meta")
    result = classifier.classify(ball_ct, BALL)
    assert classifier.device.type == "cpu"
    assert any("graphics card" in warning for warning in result.warnings)
    assert result.malignancy_probability == expected.malignancy_probability
    assert classifier.classify(ball_ct, BALL).warnings == expected.warnings


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


def test_attributes_are_read_off_the_bank():
    class Bank:
        level_text = torch.eye(40, 48)
        text_scale = 2.0

    spiculation = ATTRIBUTES[6]
    first = sum(len(a.levels) for a in ATTRIBUTES[:6])
    image = np.zeros((2, 48), np.float32)
    image[:, first + 4] = (1.0, 0.6)  # cosines with "marked spiculation"; mean 0.8
    found = read_attributes(image, Bank)[6]
    share = math.exp(1.6) / (math.exp(1.6) + 4)
    assert found.name == spiculation.name == "spiculation"
    assert found.similarity == pytest.approx(0.8)
    # The expected level is 3.9: the text is that degree, not the single likeliest one.
    assert found.text == "with considerable spiculation"
    assert found.level_probabilities[4] == pytest.approx(share, rel=1e-5)
    assert found.level == pytest.approx(5 * share + (1 - share) / 4 * (1 + 2 + 3 + 4), rel=1e-5)


def test_kinds_are_not_averaged():
    class Bank:
        level_text = torch.eye(40, 48)
        text_scale = 1.0

    first = sum(len(a.levels) for a in ATTRIBUTES[:2])
    image = np.zeros((1, 48), np.float32)
    image[0, first : first + 6] = (0.8, 0, 0, 0, 0, 0.7)  # popcorn, or absent: nothing in between
    assert read_attributes(image, Bank)[2].text == "with popcorn calcification"


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
