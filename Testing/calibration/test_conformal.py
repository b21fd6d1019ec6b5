"""Sets of classes keep their promise."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.calibration.conformal import class_set, conformal_quantile, fit_class_sets
from CLIPLungLib.errors import InputError
from CLIPLungLib.vocabulary import CLASSES

BENIGN, UNSURE, MALIGNANT = CLASSES


def drawn_cases(rng: np.random.Generator, count: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that say what they mean, and labels drawn from them."""
    logits = sharpness * rng.normal(size=(count, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random(count)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=2)
    return probabilities, labels


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_hold_the_true_class_as_often_as_promised(coverage):
    rng, held = np.random.default_rng(0), []
    for _ in range(100):
        probabilities, labels = drawn_cases(rng, 199, 1.5)
        threshold = fit_class_sets(probabilities[:99], labels[:99], coverage)
        sets = [class_set(row, threshold) for row in probabilities[99:]]
        held += [CLASSES[label] in names for label, names in zip(labels[99:], sets, strict=True)]
    # 100 fits of 99 cases: the mean coverage is known to about 0.005.
    assert np.mean(held) >= coverage - 0.015


def test_promise_holds_for_probabilities_that_are_wrong():
    rng = np.random.default_rng(1)
    probabilities, labels = drawn_cases(rng, 4000, 1.5)
    overconfident = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
    threshold = fit_class_sets(overconfident[:2000], labels[:2000])
    held = [CLASSES[k] in class_set(row, threshold) for k, row in zip(labels[2000:], overconfident[2000:], strict=True)]
    assert np.mean(held) >= 0.88


def test_sharper_models_give_smaller_sets():
    rng, sizes = np.random.default_rng(2), []
    for sharpness in (0.2, 1.0, 3.0, 8.0):
        probabilities, labels = drawn_cases(rng, 2000, sharpness)
        threshold = fit_class_sets(probabilities[:1000], labels[:1000])
        sizes.append(np.mean([len(class_set(row, threshold)) for row in probabilities[1000:]]))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 2.5
    assert sizes[-1] < 1.3


@pytest.mark.parametrize(
    ("probabilities", "threshold", "expected"),
    [
        ((0.7, 0.2, 0.1), 0.5, (BENIGN,)),
        ((0.45, 0.35, 0.2), 0.7, (BENIGN, UNSURE)),
        ((0.2, 0.35, 0.45), 0.7, (UNSURE, MALIGNANT)),
        # Nothing passes: the most probable stays.
        ((0.3, 0.4, 0.3), 0.1, (UNSURE,)),
        # What may be benign or malignant may be unsure as well.
        ((0.48, 0.04, 0.48), 0.6, CLASSES),
        ((0.4, 0.3, 0.3), 1.0, CLASSES),
    ],
)
def test_set_is_never_empty_and_has_no_gap(probabilities, threshold, expected):
    assert class_set(np.array(probabilities), threshold) == expected


def test_quantile_is_corrected_for_the_one_to_come():
    # 9 scores, coverage 0.9: the 9th of 10 places. 19 scores: the 18th of 20.
    assert conformal_quantile(np.arange(9.0)[::-1], 0.9) == 8
    assert conformal_quantile(np.arange(19.0), 0.9) == 17
    with pytest.raises(InputError, match="8 cases are too few"):
        conformal_quantile(np.arange(8.0), 0.9)


def test_what_cannot_be_fitted_is_refused():
    rows, labels = np.full((20, 3), 1 / 3), np.zeros(20, int)
    with pytest.raises(InputError, match="coverage must lie between"):
        fit_class_sets(rows, labels, 1.0)
    with pytest.raises(InputError, match="one label"):
        fit_class_sets(rows, labels[:5])
    with pytest.raises(InputError, match="one label"):
        fit_class_sets(rows, labels + 3)
    with pytest.raises(InputError, match="each between 0 and 1"):
        class_set(np.array([np.nan, 0.5, 0.5]), 0.5)
    with pytest.raises(InputError, match="shape"):
        class_set(np.array([0.5, 0.5]), 0.5)
    with pytest.raises(InputError, match="not finite"):
        conformal_quantile(np.array([0.1, np.nan] * 10), 0.9)
