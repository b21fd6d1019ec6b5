"""Every figure of merit of a set of predictions: its key, its English label, whom it is about, and how it is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.cross_fitting import Predictions
from CLIPLungLib.evaluation.reader_reference import CALCIFICATION_ABSENT, SIGN_NAMES, ReaderReference
from CLIPLungLib.vocabulary import ATTRIBUTES, BENIGN_BELOW, CLASSES, EVENT_ABOVE, MALIGNANT_ABOVE

AUC_ABOVE_3, AUC_STRICT, ECE = "auc_above_3", "auc_benign_malignant", "ece"
ACCURACY, SPEARMAN_MALIGNANCY, BRIER = "accuracy", "spearman_malignancy", "brier"
AUC_ABSENT = f"auc_{CALCIFICATION_ABSENT}"
SIGN_LABELS = {attribute.name: attribute.title.lower() for attribute in ATTRIBUTES} | {
    CALCIFICATION_ABSENT: "calcification absent"
}
LABELS = {
    AUC_ABOVE_3: "AUC, mean above against below 3 (exactly 3 left out)",
    AUC_STRICT: "AUC, < 2.5 against > 3.5",
    ACCURACY: "accuracy, 3 classes",
    "accuracy_benign_malignant": "accuracy, benign or malignant",
    "macro_f1": "macro-F1",
    "quadratic_kappa": "quadratic kappa",
    BRIER: "Brier score, mean > 3 (exactly 3 is no)",
    ECE: "ECE, 15 bins (exactly 3 is no)",
    SPEARMAN_MALIGNANCY: "Spearman, malignancy",
    AUC_ABSENT: "AUC, calcification absent",
    **{f"recall_{name}": f"recall, {name}" for name in CLASSES},
    **{f"f1_{name}": f"F1, {name}" for name in CLASSES},
    **{f"spearman_{name}": f"Spearman, {SIGN_LABELS[name]}" for name in SIGN_NAMES},
}


@dataclass(frozen=True, eq=False)
class Figure:
    """One figure of merit.

    Attributes:
        n: how many images it is about.
        value: of weights (R, N) over all images -> (R,).
    """

    n: int
    value: Callable[[np.ndarray], np.ndarray]


def figures_of(predictions: Predictions, reference: ReaderReference) -> dict[str, Figure]:
    """Key of LABELS -> figure, for predictions and readers of the same N images."""
    return (
        _malignancy_figures(predictions, reference)
        | _class_figures(predictions, reference)
        | _sign_figures(predictions, reference)
    )


def _malignancy_figures(predictions: Predictions, reference: ReaderReference) -> dict[str, Figure]:
    event, score, probability, rating = (
        reference.exceeds_3,
        predictions.score,
        predictions.probability,
        reference.rating,
    )

    def auc_of(members: np.ndarray) -> Figure:
        return Figure(
            int(members.sum()), lambda weights: metrics.auc(event[members], score[members], weights[:, members])
        )

    return {
        AUC_ABOVE_3: auc_of(rating != EVENT_ABOVE),
        AUC_STRICT: auc_of((rating < BENIGN_BELOW) | (rating > MALIGNANT_ABOVE)),
        BRIER: Figure(len(event), lambda weights: metrics.brier(event, probability, weights)),
        ECE: Figure(len(event), lambda weights: metrics.expected_calibration_error(event, probability, weights)),
        SPEARMAN_MALIGNANCY: Figure(len(event), lambda weights: metrics.spearman(score, rating, weights)),
    }


def _class_figures(predictions: Predictions, reference: ReaderReference) -> dict[str, Figure]:
    label, predicted = reference.label, predictions.classes.argmax(axis=1)
    decided = label != CLASSES.index("unsure")
    right = ((predictions.classes[:, 2] > predictions.classes[:, 0]) == (label == 2)).astype(np.float64)

    def figure_of(key: str) -> Figure:
        return Figure(len(label), lambda weights: metrics.class_figures(label, predicted, weights)[key])

    keys = metrics.class_figures(label, predicted, np.ones((1, len(label))))
    figures = {key: figure_of(key) for key in keys}
    figures["accuracy_benign_malignant"] = Figure(
        int(decided.sum()), lambda weights: metrics.mean(right[decided], weights[:, decided])
    )
    return figures


def _sign_figures(predictions: Predictions, reference: ReaderReference) -> dict[str, Figure]:
    figures = {
        f"spearman_{name}": Figure(len(levels), partial(metrics.spearman, levels, reference.signs[name]))
        for name, levels in predictions.signs.items()
    }
    if CALCIFICATION_ABSENT in predictions.signs:
        absent, level = reference.signs[CALCIFICATION_ABSENT] > 0.5, predictions.signs[CALCIFICATION_ABSENT]
        figures[AUC_ABSENT] = Figure(len(level), lambda weights: metrics.auc(absent, level, weights))
    return figures
