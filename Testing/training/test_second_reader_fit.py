"""The fit of the second reader on made-up nodules, with the real weights of its trunk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.tiny_training import CONFIG, NODULES, PATCH, LetterEncoder, tiny_patches

from CLIPLungLib.inference.checkpoint import load_checkpoint, save_checkpoint
from CLIPLungLib.model.second_outputs import GRADED_SIGNS, MALIGNANCY, SECOND_OUTPUTS
from CLIPLungLib.training import second_reader as fits
from CLIPLungLib.training.cross_validation import trained_checkpoint
from CLIPLungLib.training.data_source import DataSource
from CLIPLungLib.training.pretrained import PACKAGE
from CLIPLungLib.training.second_reader import PatchFeatures, SecondReaderFits, extract_features, fit_second_reader
from CLIPLungLib.training.trainer import Trainer

WITH_SECOND = replace(CONFIG, epochs=1, second_reader=True)


@pytest.fixture(scope="module")
def extracted() -> PatchFeatures:
    return extract_features(tiny_patches(), PATCH, "cpu")


def estimates(extracted: PatchFeatures, folds: list[int], nodules=NODULES) -> np.ndarray:
    """(N, O) for the first copy of all patches."""
    reader = fit_second_reader(extracted, nodules, folds)
    return reader.estimate(torch.from_numpy(extracted.features[0])).numpy()


def test_background_is_not_seen(extracted):
    patches = tiny_patches()
    assert len(extracted.nodule) == 40 + 12
    assert extracted.features.shape[:2] == (fits.COPIES, 52)
    assert len(patches.nodule) == 40 + 24


def test_patients_it_has_not_seen_are_told_apart(extracted):
    found = estimates(extracted, [0, 1, 2])
    unseen = np.array([NODULES[index].fold in (3, 4) for index in extracted.nodule])
    rating = np.array([NODULES[index].malignancy for index in extracted.nodule])
    malignancy = found[:, SECOND_OUTPUTS.index(MALIGNANCY)]
    assert malignancy[unseen & (rating > 3)].min() > malignancy[unseen & (rating < 3)].max()
    diameter = np.exp(found[:, SECOND_OUTPUTS.index("log_diameter")])
    truth = np.array([NODULES[index].diameter_mm for index in extracted.nodule])
    assert np.median(np.abs(diameter - truth)[unseen]) < 2


def test_what_a_left_out_fold_says_changes_nothing(extracted):
    lied_to = [replace(n, malignancy=6 - n.malignancy) if n.fold in (3, 4) else n for n in NODULES]
    np.testing.assert_array_equal(estimates(extracted, [0, 1, 2]), estimates(extracted, [0, 1, 2], lied_to))
    assert not np.array_equal(estimates(extracted, [0, 1, 3]), estimates(extracted, [0, 1, 3], lied_to))


def test_the_same_data_give_the_same_reader(extracted):
    first, second = (fit_second_reader(extracted, NODULES, [0, 1]).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_signs_that_nobody_rated_are_left_open(extracted):
    outcomes = [replace(n, ratings=dict.fromkeys(n.ratings, ())) for n in NODULES]
    reader = fit_second_reader(extracted, outcomes, [0, 1])
    told = dict(zip(SECOND_OUTPUTS, reader.is_told.tolist(), strict=True))
    assert told[MALIGNANCY] == 1
    assert not any(told[name] for name in GRADED_SIGNS)


def test_a_checkpoint_keeps_it_to_the_last_digit(extracted, tmp_path):
    trainer = Trainer(WITH_SECOND, tiny_patches(), NODULES, tmp_path / "run", "cpu", LetterEncoder())
    trainer.run()
    reader = fit_second_reader(extracted, NODULES, [0, 1])
    source = DataSource.of(tmp_path, NODULES, tiny_patches())
    save_checkpoint(tmp_path / "both.safetensors", trained_checkpoint(trainer, None, source, reader))
    loaded = load_checkpoint(tmp_path / "both.safetensors")
    assert loaded.second_reader is not None
    assert PACKAGE in loaded.provenance["second_reader"]
    planes, exists = torch.rand(2, 5, 32, 32), torch.ones(2, 5, dtype=torch.bool)
    with torch.inference_mode():
        torch.testing.assert_close(
            loaded.second_reader(planes, exists, 1.0), reader(planes, exists, 1.0), rtol=0, atol=0
        )


def test_fits_share_one_look_and_follow_the_settings(monkeypatch):
    looks = []
    monkeypatch.setattr(fits, "extract_features", lambda *a, **k: looks.append(1) or extract_features(*a, **k))
    of_folds = SecondReaderFits(WITH_SECOND, tiny_patches(), NODULES, "cpu")
    first, second = of_folds.of([0, 1]), of_folds.of([0, 2])
    assert first is not None
    assert second is not None
    assert len(looks) == 1
    assert SecondReaderFits(CONFIG, tiny_patches(), NODULES, "cpu").of([0, 1]) is None
