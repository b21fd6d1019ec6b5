"""Cross-fitted predictions of a network or of the size alone: each fold is calibrated on the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from CLIPLungLib.calibration.calibrations import Calibrations
from CLIPLungLib.calibration.ordinal import fit_calibration
from CLIPLungLib.evaluation.reader_reference import ABSENT, CALCIFICATION, CALCIFICATION_ABSENT, ReaderReference
from CLIPLungLib.training.fold_answers import FoldAnswers
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES


@dataclass(frozen=True, eq=False)
class Predictions:
    """For N images.

    Attributes:
        score: (N,) uncalibrated, for figures of ranking.
        probability: (N,) that the mean rating exceeds 3.
        classes: (N, 3) probabilities.
        signs: name of SIGN_NAMES -> (N,) level; empty for a size.

    NaN in score or probability is no prediction and is left out of figures.
    """

    score: np.ndarray
    probability: np.ndarray
    classes: np.ndarray
    signs: dict[str, np.ndarray]

    def of(self, chosen: np.ndarray) -> Predictions:
        """The predictions for some of the images."""
        signs = {name: levels[chosen] for name, levels in self.signs.items()}
        return Predictions(self.score[chosen], self.probability[chosen], self.classes[chosen], signs)

    @property
    def is_known(self) -> np.ndarray:
        """(N,) bool: whether there is a prediction."""
        known: np.ndarray = np.isfinite(self.score) & np.isfinite(self.probability)
        return known


def network_predictions(answers: FoldAnswers, calibrations: Mapping[int, Calibrations]) -> Predictions:
    """The predictions of each fold's checkpoint for its held-out fold, under its own calibrations.

    Args:
        answers: of all folds.
        calibrations: fold -> those of the fold's checkpoint, which were fitted on the other folds.
    """
    probability, classes = np.full(len(answers.fold), np.nan), np.full((len(answers.fold), 3), np.nan)
    signs = {name: answers.level(name) for name in ATTRIBUTE_NAMES if name != CALCIFICATION}
    signs[CALCIFICATION_ABSENT] = answers.level_probability(CALCIFICATION, ABSENT)
    for fold, fitted in calibrations.items():
        own = answers.fold == fold
        probability[own] = fitted.probability.malignancy_probability(answers.malignancy_score[own])
        classes[own] = fitted.probability.class_probabilities(answers.malignancy_score[own])
        if fitted.outline is not None:
            outlined = own & np.isfinite(answers.diameter_mm)
            signs["sphericity"][outlined] = fitted.outline.sphericity.level(
                signs["sphericity"][outlined],
                answers.diameter_mm[outlined],
                answers.short_diameter_mm[outlined],
                answers.volume_mm3[outlined],
            )
    return Predictions(answers.malignancy_score, probability, classes, signs)


def size_predictions(size_mm: np.ndarray, reference: ReaderReference, fit: np.ndarray) -> Predictions:
    """Predictions from a size alone: `score_predictions` of the diameter's logarithm; size_mm (N,)."""
    return score_predictions(np.log(size_mm), reference, fit)


def score_predictions(score: np.ndarray, reference: ReaderReference, fit: np.ndarray) -> Predictions:
    """Predictions from any score, calibrated by the same kind of curve as the model.

    Args:
        score: (N,).
        reference: of the same images.
        fit: (N,) bool, images to fit the curve on; for each fold those of the other folds.

    Returns:
        NaN where the score is NaN, and for folds without images to fit on in other folds.
    """

    def predict(learn: np.ndarray, own: np.ndarray) -> np.ndarray:
        if len(np.unique(reference.exceeds_3[learn])) < 2:
            return np.full((len(own), 4), np.nan)
        fitted = fit_calibration(score[learn], reference.rating[learn])
        return np.column_stack([fitted.malignancy_probability(score[own]), fitted.class_probabilities(score[own])])

    found = cross_fitted(reference.fold, fit & np.isfinite(score), predict, width=4)
    return Predictions(score, found[:, 0], found[:, 1:], {})


def cross_fitted(
    fold: np.ndarray, fit: np.ndarray, predict: Callable[[np.ndarray, np.ndarray], np.ndarray], width: int
) -> np.ndarray:
    """(N, width) predictions for each fold, fitted on the others.

    Args:
        fold: (N,).
        fit: (N,) bool, samples to fit on.
        predict: from the indices to fit on and those to predict.
        width: numbers per sample.
    """
    found = np.full((len(fold), width), np.nan)
    for one in np.unique(fold):
        places = np.flatnonzero(fold == one)
        found[places] = predict(np.flatnonzero((fold != one) & fit), places).reshape(len(places), width)
    return found
