"""Sets of classes that cannot be excluded: split-conformal prediction (Vovk et al. 2005; Angelopoulos and Bates 2023).

The set holds the readers' class in the wanted share of nodules of other patients, whatever the network is like, as long as these
nodules resemble the ones the threshold was fitted on.
"""

from __future__ import annotations

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.vocabulary import CLASSES


def fit_class_sets(probabilities: np.ndarray, labels: np.ndarray, coverage: float = 0.9) -> float:
    """The threshold for `class_set`.

    Args:
        probabilities: (N, 3) calibrated probabilities of CLASSES, of nodules whose patients the network has not learned from.
        labels: (N,) index of the readers' class.
        coverage: share of sets that must hold the readers' class.

    Raises:
        InputError: too few nodules for this coverage, or probabilities or labels that are none.
    """
    probabilities, labels = _checked(probabilities), np.asarray(labels)
    if labels.shape != probabilities.shape[:1] or not np.isin(labels, range(len(CLASSES))).all():
        raise InputError(f"Class sets need one label 0..{len(CLASSES) - 1} per row of probabilities. Check the labels.")
    score = 1 - probabilities[np.arange(len(labels)), labels]
    return conformal_quantile(score, coverage)


def conformal_quantile(scores: np.ndarray, coverage: float) -> float:
    """The score that a new one, drawn like these (N,), does not exceed with probability `coverage` at least.

    Raises:
        InputError: too few scores for this coverage, or scores that are not numbers.
    """
    scores = np.sort(np.asarray(scores, dtype=np.float64))
    if not 0 < coverage < 1:
        raise InputError(f"The coverage must lie between 0 and 1, not at {coverage}. Choose for example 0.9.")
    if not np.isfinite(scores).all():
        raise InputError("Some scores are not finite numbers. Leave out the cases without an answer and fit again.")
    # The new one is the (N + 1)th, hence the correction. Rounded, since 0.9 * 10 is not quite 9 in binary numbers.
    rank = int(np.ceil(round((len(scores) + 1) * coverage, 9)))
    if rank > len(scores):
        raise InputError(f"{len(scores)} cases are too few for a coverage of {coverage}. Fit on more cases.")
    return float(scores[rank - 1])


def class_set(probabilities: np.ndarray, threshold: float) -> tuple[str, ...]:
    """Names of the classes that cannot be excluded, in the order of CLASSES.

    Args:
        probabilities: (3,) calibrated probabilities of CLASSES.
        threshold: of `fit_class_sets`.

    Returns:
        The most probable class always, and no gap: what may be benign or malignant may be unsure as well.
    """
    row = _checked(np.asarray(probabilities)[None])[0]
    held = np.flatnonzero((1 - row <= threshold) | (row == row.max()))
    return CLASSES[held[0] : held[-1] + 1]


def _checked(probabilities: np.ndarray) -> np.ndarray:
    rows = np.asarray(probabilities, dtype=np.float64)
    # Written so that NaN fails it too.
    if not (rows.ndim == 2 and rows.shape[1] == len(CLASSES) and ((rows >= 0) & (rows <= 1)).all()):
        raise InputError(
            f"Class sets need probabilities of {len(CLASSES)} classes per nodule, each between 0 and 1; got shape {rows.shape}. "
            "Give the calibrated probabilities."
        )
    return rows
