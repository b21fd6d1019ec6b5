"""How well the ratings of similar nodules predict a nodule's own ratings, across patients and networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from CLIPLungLib.evaluation.bootstrap import estimate, patient_weights
from CLIPLungLib.evaluation.metrics import spearman
from CLIPLungLib.evaluation.similar_metrics import METRICS, Metric
from CLIPLungLib.similar.figures import COMPARED, Agreement, Figure
from CLIPLungLib.similar.index import NEIGHBOURS

# Nodules outside of this share have neighbours farther than usual.
USUAL_PERCENT = 95.0


@dataclass(frozen=True, eq=False)
class RatedNodules:
    """N nodules with out-of-fold predictions.

    Attributes:
        features: (N, FEATURE_COUNT) of those answers.
        readers: (N, len(COMPARED)) what the readers said; NaN where they did not.
        network: (N, len(COMPARED)) what the network says of the same.
        fold: (N,) of the patient.
        patient: (N,).
    """

    features: np.ndarray
    readers: np.ndarray
    network: np.ndarray
    fold: np.ndarray
    patient: np.ndarray

    def of(self, chosen: np.ndarray) -> RatedNodules:
        """The nodules at these places (mask)."""
        return replace(self, **{name: values[chosen] for name, values in vars(self).items()})


def told_by_neighbours(nodules: RatedNodules, metrics: Sequence[Metric]) -> tuple[np.ndarray, np.ndarray]:
    """Predictions from the neighbours' ratings, fold after fold, each with its own metric.

    Neighbours are of other folds: of other patients, and answered by another network, as those of a new nodule are.

    Args:
        metrics: one for each of the folds, rising.

    Returns:
        (N, len(COMPARED)) mean of the neighbours' readers, and (N,) mean distance of the neighbours.
    """
    told, distance = np.full(nodules.readers.shape, np.nan), np.full(len(nodules.fold), np.nan)
    for fold, metric in zip(np.unique(nodules.fold), metrics, strict=True):
        asked, known = nodules.fold == fold, nodules.fold != fold
        center, transform = metric.fit(nodules.features[known])
        places = (nodules.features - center) @ transform
        own, others = places[asked], places[known]
        squares = (own**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * own @ others.T
        nearest = np.argsort(squares, axis=1, kind="stable")[:, :NEIGHBOURS]
        told[asked] = _mean_of_known(nodules.readers[known][nearest])
        distance[asked] = np.sqrt(np.maximum(np.take_along_axis(squares, nearest, axis=1), 0)).mean(axis=1)
    return told, distance


def mean_correlation(nodules: RatedNodules, metric: Metric) -> float:
    """The mean over COMPARED of the Spearman correlations between neighbours and readers: the rule by which metrics are chosen."""
    told, _ = told_by_neighbours(nodules, [metric] * len(np.unique(nodules.fold)))
    found = [_correlation(told[:, column], nodules.readers[:, column]) for column in range(len(COMPARED))]
    return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0


def compare_metrics(nodules: RatedNodules) -> dict[str, float]:
    """Name of every one of METRICS -> its mean correlation."""
    return {metric.name: mean_correlation(nodules, metric) for metric in METRICS}


def chosen_metric(correlations: dict[str, float]) -> Metric:
    """The one of the highest correlation; of equal ones the first."""
    return max(METRICS, key=lambda metric: correlations[metric.name])


def metrics_of_folds(nodules: RatedNodules) -> list[Metric]:
    """For each fold, rising, the metric that is best within the other folds (nested selection)."""
    folds = np.unique(nodules.fold)
    return [chosen_metric(compare_metrics(nodules.of(nodules.fold != fold))) for fold in folds]


def agreements(nodules: RatedNodules, told: np.ndarray) -> dict[str, Agreement]:
    """One of COMPARED -> how well neighbours and network predict it, for the same nodules."""
    found = {}
    for column, name in enumerate(COMPARED):
        readers, network = nodules.readers[:, column], nodules.network[:, column]
        known = np.isfinite(readers) & np.isfinite(network) & np.isfinite(told[:, column])
        weights = patient_weights(nodules.patient[known])
        by_neighbours = _figure(told[known, column], readers[known], weights)
        found[name] = Agreement(by_neighbours, _figure(network[known], readers[known], weights))
    return found


def usual_distance(distance: np.ndarray) -> float:
    """Within it lie the neighbours of USUAL_PERCENT of nodules, for (N,) mean distances."""
    return float(np.percentile(distance, USUAL_PERCENT))


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """(Q, C) mean over the neighbours (Q, K, C) where they know; NaN where none does."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    mean: np.ndarray = np.full(count.shape, np.nan)
    np.divide(np.where(known, values, 0).sum(axis=1), count, out=mean, where=count > 0)
    return mean


def _correlation(told: np.ndarray, readers: np.ndarray) -> float:
    known = np.isfinite(told) & np.isfinite(readers)
    return float(spearman(told[known], readers[known], np.ones((1, int(known.sum()))))[0])


def _figure(told: np.ndarray, readers: np.ndarray, weights: np.ndarray) -> Figure:
    found = estimate(lambda drawn: spearman(told, readers, drawn), weights)
    interval = None if found.interval is None else (round(found.interval[0], 4), round(found.interval[1], 4))
    return Figure(None if found.value is None else round(found.value, 4), interval, found.n)
