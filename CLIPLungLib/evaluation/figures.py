"""Every figure of merit of a set of predictions: its key, label, cases and computation."""

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
        n: number of images that it uses.
        value: of weights (R, N) over all images -> (R,).
    """

    n: int
    value: Callable[[np.ndarray], np.ndarray]


def figures_of(
    predictions: Predictions, reference: ReaderReference, members: np.ndarray | None = None
) -> dict[str, Figure]:
    """Key of LABELS -> figure, for predictions and readers of the same N images.

    Args:
        predictions: those that are not known do not count.
        reference: whose malignancy is known; a sign counts where it is, and a sign that nobody rated has no figure.
        members: (N,) bool, the images that count at most; all unless given.
    """
    known = predictions.is_known if members is None else predictions.is_known & members
    return (
        _malignancy_figures(predictions, reference, known)
        | _class_figures(predictions, reference, known)
        | _sign_figures(predictions, reference, known)
    )


def _about(members: np.ndarray, value: Callable[[np.ndarray], np.ndarray]) -> Figure:
    """A figure over these images, whose `value` takes only their weights."""
    return Figure(int(members.sum()), lambda weights: value(weights[:, members]))


def _malignancy_figures(predictions: Predictions, reference: ReaderReference, known: np.ndarray) -> dict[str, Figure]:
    event, rating = reference.exceeds_3, reference.rating

    def auc_of(members: np.ndarray) -> Figure:
        return _about(members, partial(metrics.auc, event[members], predictions.score[members]))

    probability = predictions.probability[known]
    return {
        AUC_ABOVE_3: auc_of(known & (rating != EVENT_ABOVE)),
        AUC_STRICT: auc_of(known & ((rating < BENIGN_BELOW) | (rating > MALIGNANT_ABOVE))),
        BRIER: _about(known, partial(metrics.brier, event[known], probability)),
        ECE: _about(known, partial(metrics.expected_calibration_error, event[known], probability)),
        SPEARMAN_MALIGNANCY: _about(known, partial(metrics.spearman, predictions.score[known], rating[known])),
    }


def _class_figures(predictions: Predictions, reference: ReaderReference, known: np.ndarray) -> dict[str, Figure]:
    label, predicted = reference.label[known], predictions.classes[known].argmax(axis=1)
    decided = known & (reference.label != CLASSES.index("unsure"))
    classes = predictions.classes[decided]
    right = ((classes[:, 2] > classes[:, 0]) == (reference.label[decided] == 2)).astype(np.float64)

    def figure_of(key: str) -> Figure:
        return _about(known, lambda weights: metrics.class_figures(label, predicted, weights)[key])

    keys = metrics.class_figures(label, predicted, np.ones((1, len(label))))
    figures = {key: figure_of(key) for key in keys}
    figures["accuracy_benign_malignant"] = _about(decided, partial(metrics.mean, right))
    return figures


def _sign_figures(predictions: Predictions, reference: ReaderReference, known: np.ndarray) -> dict[str, Figure]:
    figures = {}
    for name, levels in predictions.signs.items():
        rated = known & np.isfinite(reference.signs[name])
        if rated.any():
            own = reference.signs[name][rated]
            figures[f"spearman_{name}"] = _about(rated, partial(metrics.spearman, levels[rated], own))
            if name == CALCIFICATION_ABSENT:
                figures[AUC_ABSENT] = _about(rated, partial(metrics.auc, own > 0.5, levels[rated]))
    return figures
