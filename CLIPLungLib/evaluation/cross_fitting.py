"""What is said of a set of nodules, by a network or by a size alone, made comparable: calibrated on other folds than it is judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from CLIPLungLib.calibration.ordinal import fit_calibration
from CLIPLungLib.calibration.sphericity import fit_sphericity
from CLIPLungLib.lidc.nodule_table import LidcNodule
from CLIPLungLib.lidc.training_patches import TrainingPatches
from CLIPLungLib.training.predict import Predictions, one_view_per_nodule
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

FEWEST_READERS = 3
# Code 6 of calcification means that there is none; the other codes are kinds, so their mean says nothing.
CALCIFICATION, ABSENT = "calcification", 6
ABSENT_NAME = "calcification absent"
SIGN_NAMES = tuple(ABSENT_NAME if name == CALCIFICATION else name for name in ATTRIBUTE_NAMES)


@dataclass(frozen=True, eq=False)
class Opinion:
    """Of N nodules.

    Attributes:
        score: (N,) uncalibrated, for figures that only ask for the order.
        probability: (N,) that the mean rating exceeds 3.
        classes: (N, 3) probabilities.
        signs: name of SIGN_NAMES -> (N,) level; empty for a size.
    """

    score: np.ndarray
    probability: np.ndarray
    classes: np.ndarray
    signs: dict[str, np.ndarray]

    def of(self, chosen: np.ndarray) -> Opinion:
        """The same of some of the nodules."""
        signs = {name: levels[chosen] for name, levels in self.signs.items()}
        return Opinion(self.score[chosen], self.probability[chosen], self.classes[chosen], signs)


@dataclass(frozen=True, eq=False)
class Truth:
    """What the readers said of N nodules, in the order of an Opinion.

    Attributes:
        rating: (N,) mean malignancy.
        label: (N,) class.
        patient, fold: (N,).
        size_mm: (N,) diameter from the readers' contours.
        signs: name of SIGN_NAMES -> (N,) readers' mean, for calcification the share who saw none.
    """

    rating: np.ndarray
    label: np.ndarray
    patient: np.ndarray
    fold: np.ndarray
    size_mm: np.ndarray
    signs: dict[str, np.ndarray]

    @classmethod
    def of_nodules(cls, nodules: Sequence[LidcNodule]) -> Truth:
        """From the table's rows."""
        return cls(
            np.array([nodule.malignancy for nodule in nodules]),
            np.array([nodule.label for nodule in nodules]),
            np.array([nodule.patient_id for nodule in nodules]),
            np.array([nodule.fold for nodule in nodules]),
            np.array([nodule.diameter_mm for nodule in nodules]),
            {name: np.array([readers_codes(nodule, name).mean() for nodule in nodules]) for name in SIGN_NAMES},
        )


def readers_codes(nodule: LidcNodule, sign: str) -> np.ndarray:
    """(R,) what every reader said: the code, or for calcification 1 where it is absent."""
    if sign == ABSENT_NAME:
        return np.array(nodule.ratings[CALCIFICATION], dtype=np.float64) == ABSENT
    return np.array(nodule.ratings[sign], dtype=np.float64)


def reader_pairs(nodules: Sequence[LidcNodule], sign: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every reader's code (P,), the mean of the other readers of the same nodule (P,), and the nodule's place (P,)."""
    rows = []
    for place, nodule in enumerate(nodules):
        codes = readers_codes(nodule, sign).astype(np.float64)
        if len(codes) >= FEWEST_READERS:
            rows += [(code, (codes.sum() - code) / (len(codes) - 1), place) for code in codes]
    one, others, place = np.array(rows).T
    return one, others, place.astype(int)


def network_opinion(answers: Predictions, views: TrainingPatches, nodules: Sequence[LidcNodule]) -> Opinion:
    """Out-of-fold answers of a cross-validation, each calibrated on the other folds' nodules with enough readers."""
    fit = np.isin(answers.view, one_view_per_nodule(views, nodules, np.arange(len(nodules)), FEWEST_READERS))
    truth = Truth.of_nodules([nodules[index] for index in answers.nodule])
    probability, classes = cross_fitted_classes(answers.malignancy_score, truth, fit)
    signs = {name: answers.attribute_level(name) for name in ATTRIBUTE_NAMES if name != CALCIFICATION}
    signs["sphericity"] = _cross_fitted_sphericity(answers, truth, fit)
    signs[ABSENT_NAME] = answers.level_share(CALCIFICATION, ABSENT)
    return Opinion(answers.malignancy_score, probability, classes, signs)


def size_opinion(size_mm: np.ndarray, truth: Truth, fit: np.ndarray) -> Opinion:
    """What the size alone says: the same curve as for the network, on the diameter's logarithm."""
    score = np.log(size_mm)
    return Opinion(score, *cross_fitted_classes(score, truth, fit), {})


def cross_fitted_classes(score: np.ndarray, truth: Truth, fit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability (N,) and class probabilities (N, 3) of scores (N,), by the calibration of the other folds' nodules in `fit`."""

    def answer(learn: np.ndarray, own: np.ndarray) -> np.ndarray:
        calibration = fit_calibration(score[learn], truth.rating[learn])
        return np.column_stack(
            [calibration.malignancy_probability(score[own]), calibration.class_probabilities(score[own])]
        )

    found = cross_fitted(truth.fold, fit, answer, width=4)
    return found[:, 0], found[:, 1:]


def cross_fitted(
    fold: np.ndarray, fit: np.ndarray, answer: Callable[[np.ndarray, np.ndarray], np.ndarray], width: int
) -> np.ndarray:
    """(N, width) answers for each fold by what was fitted on the others.

    Args:
        fold: (N,).
        fit: (N,) bool, what may be fitted on.
        answer: of the places to fit on and the places to answer for.
    """
    found = np.full((len(fold), width), np.nan)
    for own in np.unique(fold):
        places = np.flatnonzero(fold == own)
        found[places] = answer(np.flatnonzero((fold != own) & fit), places).reshape(len(places), width)
    return found


def _cross_fitted_sphericity(answers: Predictions, truth: Truth, fit: np.ndarray) -> np.ndarray:
    text, measured = answers.attribute_level("sphericity"), answers.measured[:, :3]
    outlined = np.isfinite(measured[:, 0])
    if not (fit & outlined).sum() > 10 * len(np.unique(truth.fold)):
        return text

    def answer(learn: np.ndarray, own: np.ndarray) -> np.ndarray:
        calibration = fit_sphericity(text[learn], *measured[learn].T, truth.signs["sphericity"][learn])
        return calibration.level(text[own], *measured[own].T)

    found = cross_fitted(truth.fold, fit & outlined, answer, width=1)[:, 0]
    return np.where(outlined, found, text)
