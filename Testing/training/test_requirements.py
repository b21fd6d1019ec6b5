"""What makes no sense to train on is told before it is trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.tiny_training import NODULES, tiny_patches

from CLIPLungLib.dataset.nodule_table import OUTCOME
from CLIPLungLib.errors import InputError
from CLIPLungLib.training.requirements import not_learned, require_trainable

BENIGN = [replace(item, malignancy=1.0) for item in NODULES]


def test_sound_data_are_accepted():
    require_trainable((0, 1, 2, 3, 4), tiny_patches(), NODULES)
    outcomes = [
        replace(item, truth=OUTCOME, n_readers=0, malignancy=5.0 if item.malignancy > 3 else 1.0) for item in NODULES
    ]
    require_trainable((0, 1), tiny_patches(), outcomes)
    require_trainable((0, 1), tiny_patches(), [replace(item, n_readers=1) for item in NODULES])


@pytest.mark.parametrize(
    ("folds", "nodules", "message"),
    [
        ((0,), NODULES, r"needs two folds at least.* got \[0\]"),
        (
            (0, 7),
            NODULES,
            r"Fold 7 of the settings holds no nodule; the table has the folds \[0, 1, 2, 3, 4\]\. Write .train_folds.: \[\]",
        ),
        ((0, 1), BENIGN, r"No nodule of the folds \[0, 1\] is malignant"),
        ((0, 1), [replace(item, malignancy=5.0) for item in NODULES], r"is benign \(rating up to 3, or outcome 0\)"),
        ((0, 1), [replace(item, malignancy=float("nan")) for item in NODULES], "No nodule"),
        (
            (0, 1, 2),
            [replace(item, malignancy=5.0 if item.fold == 2 else 1.0) for item in NODULES],
            "All nodules that are malignant .* are in fold 2",
        ),
        # One reader says so, but others are asked by three.
        ((0, 1), [*BENIGN[1:], replace(BENIGN[0], malignancy=5.0, n_readers=1)], "No nodule .* is malignant"),
    ],
)
def test_data_without_sense_are_refused(folds, nodules, message):
    with pytest.raises(InputError, match=message):
        require_trainable(folds, tiny_patches(), nodules)


def test_what_no_case_tells_is_listed():
    assert not_learned(NODULES) == []
    bare = [replace(item, diameter_mm=float("nan"), ratings={**item.ratings, "margin": ()}) for item in NODULES]
    assert not_learned(bare) == ["diameter", "margin"]
    assert not_learned([*bare, NODULES[0]]) == []
