"""The model and one reader, both against the mean of the other readers of the same nodule (leave one reader out)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from CLIPLungLib.dataset.nodule_table import MALIGNANCY, Nodule
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.bootstrap import BOOTSTRAPS, estimate, patient_weights
from CLIPLungLib.evaluation.cross_fitting import Predictions
from CLIPLungLib.evaluation.reader_reference import CALCIFICATION_ABSENT, SIGN_NAMES, reader_codes
from CLIPLungLib.vocabulary import EVENT_ABOVE

# With fewer readers, the mean of the others would be one person's word.
FEWEST_TO_LEAVE_ONE_OUT = 3
ONE_READER, MODEL, DIFFERENCE = "one_reader", "model", "model_less_one_reader"
AUC_OTHERS_ABOVE_3 = "auc_above_3"

# From predictions or ratings (P,) and weights (R, P) to (R,).
Metric = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class LeftOut:
    """P pairs of a left-out reader and the other readers.

    Attributes:
        code: (P,) that reader's.
        others: (P,) mean of the nodule's other readers.
        place: (P,) index of the nodule.
    """

    code: np.ndarray
    others: np.ndarray
    place: np.ndarray

    def of(self, chosen: np.ndarray) -> LeftOut:
        """The pairs at these places (mask)."""
        return LeftOut(self.code[chosen], self.others[chosen], self.place[chosen])


def readers_left_out(nodules: Sequence[Nodule], sign: str) -> LeftOut:
    """Every reader of every nodule with three or more, for a name of SIGN_NAMES or MALIGNANCY."""
    rows = []
    for place, nodule in enumerate(nodules):
        codes = reader_codes(nodule, sign)
        if len(codes) >= FEWEST_TO_LEAVE_ONE_OUT:
            rows += [(code, (codes.sum() - code) / (len(codes) - 1), place) for code in codes]
    code, others, places = np.reshape(np.array(rows, dtype=np.float64), (-1, 3)).T
    return LeftOut(code, others, places.astype(int))


def beside_one_reader(
    nodules: Sequence[Nodule], predictions: Predictions, repeats: int = BOOTSTRAPS
) -> dict[str, dict[str, dict[str, Any]]]:
    """ONE_READER, MODEL and DIFFERENCE -> key of `figures.LABELS` -> estimate; n counts nodules.

    The model's prediction for a nodule counts once per reader, so all three use the same pairs and draws of patients.

    Args:
        nodules: one per prediction.
        predictions: for them; signs without predictions or without enough readers are left out.
        repeats: of the bootstrap.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {ONE_READER: {}, MODEL: {}, DIFFERENCE: {}}
    patients = np.array([nodule.patient_id for nodule in nodules])
    for key, left_out, answers, metric in _metrics(nodules, predictions):
        if len(left_out.place) == 0:
            continue
        figures = {
            ONE_READER: partial(metric, left_out.code),
            MODEL: partial(metric, answers[left_out.place]),
        }
        figures[DIFFERENCE] = partial(_difference, figures[MODEL], figures[ONE_READER])
        weights = patient_weights(patients[left_out.place], repeats)
        count = len(np.unique(left_out.place))
        for side, figure in figures.items():
            found[side][key] = estimate(figure, weights, count).to_dict()
    return found


def _metrics(nodules: Sequence[Nodule], predictions: Predictions) -> list[tuple[str, LeftOut, np.ndarray, Metric]]:
    """Key of the figure, left-out readers, the model's predictions (N,), and the metric."""
    malignancy = readers_left_out(nodules, MALIGNANCY)
    decided = malignancy.of(malignancy.others != EVENT_ABOVE)
    found = [
        (f"spearman_{MALIGNANCY}", malignancy, predictions.score, _spearman_with(malignancy)),
        (AUC_OTHERS_ABOVE_3, decided, predictions.score, _auc_of(decided)),
    ]
    for sign in (sign for sign in SIGN_NAMES if sign in predictions.signs):
        left_out = readers_left_out(nodules, sign)
        found.append((f"spearman_{sign}", left_out, _as_a_reader(sign, predictions), _spearman_with(left_out)))
    return found


def _as_a_reader(sign: str, predictions: Predictions) -> np.ndarray:
    """(N,) the model's predictions, dichotomised where a reader says yes or no.

    Nearly all nodules have no calcification, so ranks among probabilities that all mean "none" would decide the figure.
    """
    answers = predictions.signs[sign]
    return (answers > 0.5).astype(np.float64) if sign == CALCIFICATION_ABSENT else answers


def _spearman_with(left_out: LeftOut) -> Metric:
    return lambda answers, weights: metrics.spearman(answers, left_out.others, weights)


def _auc_of(left_out: LeftOut) -> Metric:
    event = left_out.others > EVENT_ABOVE
    return lambda answers, weights: metrics.auc(event, answers, weights)


def _difference(
    model: Callable[[np.ndarray], np.ndarray], reader: Callable[[np.ndarray], np.ndarray], weights: np.ndarray
) -> np.ndarray:
    found: np.ndarray = model(weights) - reader(weights)
    return found
