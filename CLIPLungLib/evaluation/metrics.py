"""Metrics of many bootstrap draws at once: one number per draw. Only numpy.

`weights` (R, N) says how often each of N samples is in each of R draws (`bootstrap.patient_weights`); a row of ones is
the samples as they are. Each figure equals that of the resample written out, in which sample i stands weights[r, i]
times. It is NaN where that resample has none: no sample, one kind only, or a value in it that is unknown (NaN).
Arrays that do not fit each other and weights below 0 raise InputError.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.vocabulary import CLASSES

BINS = 15
PERFECT_DRAWS = 200
# Draws are worked on in blocks of about 1 MB, which stay in the processor's cache and bound the memory.
CELLS_AT_ONCE = 2**17


def auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: P(score of a positive > score of a negative) + P(equal) / 2 (Mann-Whitney).

    AUC = sum over positives i of w_i B_i / (W+ W-), where B_i is the weight of negatives below score i plus half the
    weight of those equal, and W+ and W- are the weights of both kinds.

    Args:
        positive: (N,) bool, or 0 and 1.
        score: (N,) larger for positives.
        weights: (R, N).

    Returns:
        (R,); NaN in draws of one kind only.
    """
    positive, score, weights = _checked(weights, positive, score)
    if not np.isin(positive, (0, 1)).all():
        raise InputError("AUC: the truth holds values other than 0 and 1. Give one yes or no for each sample.")
    yes, no = np.flatnonzero(positive == 1), np.flatnonzero(positive == 0)
    weight_below = _weight_below(score[yes], score[no])

    def of_draws(drawn: np.ndarray) -> np.ndarray:
        of_yes, of_no = drawn[:, yes], drawn[:, no]
        wins = np.einsum("rn,rn->r", of_yes, weight_below(of_no))
        return _ratio(wins, of_yes.sum(axis=1) * of_no.sum(axis=1))

    return _without_unknown(_in_blocks(of_draws, weights), np.isnan(score), weights)


def spearman(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman correlation: Pearson correlation of the mid-ranks (ties share their mean rank).

    The mid-rank of sample i less the mean rank (W + 1) / 2 is B_i - W / 2, where B_i is the weight below sample i plus
    half the weight equal to it, and W the weight of all. With ranks x and y so centred,
    rho = sum w x y / sqrt(sum w x^2 sum w y^2).

    Args:
        a, b: (N,) values.
        weights: (R, N).

    Returns:
        (R,); NaN where a side is constant or fewer than 3 samples are drawn.
    """
    a, b, weights = _checked(weights, a, b)
    below_a, below_b = _weight_below(a, a), _weight_below(b, b)

    def of_draws(drawn: np.ndarray) -> np.ndarray:
        total = drawn.sum(axis=1)
        x, y = (below(drawn) - total[:, None] / 2 for below in (below_a, below_b))
        weighted_x = drawn * x
        covariance = np.einsum("rn,rn->r", weighted_x, y)
        variance_x = np.einsum("rn,rn->r", weighted_x, x)
        variance_y = np.einsum("rn,rn,rn->r", drawn, y, y)
        rho = np.clip(_ratio(covariance, np.sqrt(variance_x * variance_y)), -1, 1)
        return np.where(total >= 3, rho, np.nan)

    return _without_unknown(_in_blocks(of_draws, weights), np.isnan(a) | np.isnan(b), weights)


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean: sum w v / sum w.

    Args:
        values: (N,); those that are not finite count as unknown.
        weights: (R, N).

    Returns:
        (R,).
    """
    values, weights = _checked(weights, values)
    finite = np.isfinite(values)
    means = _ratio(weights @ np.where(finite, values, 0), weights.sum(axis=1))
    return _without_unknown(means, ~finite, weights)


def median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Median: the middle value; the mean of the two middle ones for an even count.

    With C_i the weight up to the i-th value in order and W that of all, the middle ones are the first with
    C_i >= W / 2 and the first with C_i > W / 2.

    Args:
        values: (N,); those that are not finite count as unknown.
        weights: (R, N).

    Returns:
        (R,).
    """
    values, weights = _checked(weights, values)
    if len(values) == 0:
        return np.full(len(weights), np.nan)
    finite = np.isfinite(values)
    known = np.where(finite, values, 0)
    order = np.argsort(known, kind="stable")
    ascending = known[order]

    def of_draws(drawn: np.ndarray) -> np.ndarray:
        up_to = np.cumsum(drawn[:, order], axis=1)
        half = up_to[:, -1:] / 2
        lower = np.count_nonzero(up_to < half, axis=1)
        upper = np.minimum(np.count_nonzero(up_to <= half, axis=1), len(ascending) - 1)
        middle = (ascending[lower] + ascending[upper]) / 2
        return np.where(half[:, 0] > 0, middle, np.nan)

    return _without_unknown(_in_blocks(of_draws, weights), ~finite, weights)


def brier(positive: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Brier score: mean of (probability - outcome)^2.

    Args:
        positive: (N,) bool, or 0 and 1.
        probability: (N,) of positive.
        weights: (R, N).

    Returns:
        (R,).
    """
    positive, probability, weights = _checked(weights, positive, probability)
    return mean((probability - positive) ** 2, weights)


def expected_calibration_error(
    positive: np.ndarray, probability: np.ndarray, weights: np.ndarray, bins: int = BINS
) -> np.ndarray:
    """ECE over bins of equal width: sum over bins of |sum of w (outcome - probability) in the bin| / sum w.

    This is the mean |frequency - mean probability| of the bins, weighted by their counts (Guo et al., ICML 2017).

    Args:
        positive: (N,) bool, or 0 and 1.
        probability: (N,) of positive.
        weights: (R, N).
        bins: number of bins on 0 .. 1.

    Returns:
        (R,).
    """
    positive, probability, weights = _checked(weights, positive, probability)
    gap = positive - probability
    finite = np.isfinite(gap)
    member = _bin_membership(np.where(finite, probability, 0), bins)
    of_bins = np.abs(weights @ (member * np.where(finite, gap, 0)[:, None]))
    return _without_unknown(_ratio(of_bins.sum(axis=1), weights.sum(axis=1)), ~finite, weights)


def chance_calibration_error(probability: np.ndarray, seed: int = 0, bins: int = BINS) -> float:
    """The expected ECE of perfectly calibrated probabilities for this number of cases.

    Args:
        probability: (N,) of positive.
        seed: of the outcomes drawn.
        bins: number of bins on 0 .. 1.

    Returns:
        Mean over 200 sets of outcomes drawn from the probabilities; NaN without any probability.
    """
    probability = np.asarray(probability, np.float64)
    if len(probability) == 0 or not np.isfinite(probability).all():
        return float("nan")
    happened = np.random.default_rng(seed).random((PERFECT_DRAWS, len(probability))) < probability
    of_bins = np.abs((happened - probability) @ _bin_membership(probability, bins))
    return float(of_bins.sum(axis=1).mean() / len(probability))


def class_figures(label: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, macro-F1, quadratic kappa, and recall and F1 of each of CLASSES.

    With n_jk the weight of samples of class j predicted as k: recall_j = n_jj / n_j., F1_j = 2 n_jj / (n_j. + n_.j),
    macro-F1 their mean over j, kappa = 1 - sum (j - k)^2 n_jk / sum (j - k)^2 (n_j. n_.k / n) (Cohen, Psychol Bull 1968).

    Args:
        label, predicted: (N,) indices into CLASSES.
        weights: (R, N).

    Returns:
        (R,) each of accuracy, macro_f1, quadratic_kappa, recall_<class>, f1_<class>. Recall, F1 and macro-F1 are NaN
        where a class has no case; kappa where all are of one class and predicted so.
    """
    label, predicted, weights = _checked(weights, label, predicted)
    size = len(CLASSES)
    for index in (label, predicted):
        if not np.isin(index, np.arange(size)).all():
            raise InputError(f"Class figures: a class is none of 0 to {size - 1}. Give indices into {CLASSES}.")
    cell = (size * label + predicted).astype(np.intp)
    counts = (weights @ np.eye(size**2)[cell]).reshape(-1, size, size)
    total, of_label, of_predicted = counts.sum(axis=(1, 2)), counts.sum(axis=2), counts.sum(axis=1)
    right = np.diagonal(counts, axis1=1, axis2=2)
    recall = _ratio(right, of_label)
    f1 = np.where(of_label > 0, _ratio(2 * right, of_label + of_predicted), np.nan)
    cost = np.square(np.subtract.outer(np.arange(size), np.arange(size)))
    observed = np.einsum("jk,rjk->r", cost, counts)
    by_chance = np.einsum("jk,rj,rk->r", cost, of_label, of_predicted)
    figures: dict[str, np.ndarray] = {
        "accuracy": _ratio(right.sum(axis=1), total),
        "macro_f1": f1.mean(axis=1),
        "quadratic_kappa": 1 - _ratio(total * observed, by_chance),
    }
    for column, name in enumerate(CLASSES):
        figures |= {f"recall_{name}": recall[:, column], f"f1_{name}": f1[:, column]}
    return figures


def _weight_below(values: np.ndarray, others: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Of weights (R, N) of `others` (N,): the weight below each of `values` (M,) plus half the weight equal to it.

    Sorts once; a draw then takes one cumulated sum and two look-ups for each value.
    """
    order = np.argsort(others, kind="stable")
    ascending = others[order]
    first, after = (np.searchsorted(ascending, values, side) for side in ("left", "right"))

    def of_draws(drawn: np.ndarray) -> np.ndarray:
        cumulated = np.zeros((len(drawn), len(order) + 1))
        np.cumsum(drawn[:, order], axis=1, out=cumulated[:, 1:])
        below: np.ndarray = (cumulated[:, first] + cumulated[:, after]) / 2
        return below

    return of_draws


def _in_blocks(of_draws: Callable[[np.ndarray], np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Apply `of_draws` to blocks of rows, to limit memory."""
    rows = max(1, CELLS_AT_ONCE // max(1, weights.shape[1]))
    blocks = [of_draws(weights[start : start + rows]) for start in range(0, len(weights), rows)]
    return np.concatenate(blocks) if blocks else np.zeros(0)


def _bin_membership(probability: np.ndarray, bins: int) -> np.ndarray:
    """(N, bins) of 0 and 1: the bin of each probability; 1.0 is in the last."""
    membership: np.ndarray = np.eye(bins)[np.clip((probability * bins).astype(np.intp), 0, bins - 1)]
    return membership


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Their ratio; NaN where the denominator is 0."""
    ratio = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _without_unknown(figure: np.ndarray, unknown: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The figure (R,), NaN in draws that hold one of the `unknown` (N,) samples."""
    if unknown.any():
        figure = np.where(weights[:, unknown].any(axis=1), np.nan, figure)
    return figure


def _checked(weights: np.ndarray, *samples: np.ndarray) -> tuple[np.ndarray, ...]:
    """All as float64, the weights last; InputError unless they fit each other and no weight is below 0."""
    weights = np.asarray(weights, np.float64)
    arrays = [np.asarray(values, np.float64) for values in samples]
    shapes = [values.shape for values in arrays]
    if weights.ndim != 2 or any(shape != weights.shape[1:] for shape in shapes):
        raise InputError(
            f"Figures of merit: weights of shape {weights.shape} do not fit samples of shapes {shapes}. "
            "Give weights (R, N) and samples (N,)."
        )
    if not (weights >= 0).all():
        raise InputError("Figures of merit: a weight is below 0 or NaN. Give how often each sample is drawn.")
    return (*arrays, weights)
