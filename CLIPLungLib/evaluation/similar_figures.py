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

# A nodule beyond this percentile has neighbours that are farther than usual.
USUAL_PERCENT = 95.0


@dataclass(frozen=True, eq=False)
class RatedNodules:
    """N nodules with out-of-fold predictions.

    Attributes:
        features: (N, FEATURE_COUNT) of those predictions.
        readers: (N, len(COMPARED)) the readers' means; NaN where nobody rated.
        network: (N, len(COMPARED)) the network's estimates of the same.
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


def neighbour_predictions(nodules: RatedNodules, metrics: Sequence[Metric]) -> tuple[np.ndarray, np.ndarray]:
    """Predictions from the neighbours' ratings, fold by fold, each with its own metric.

    Neighbours come from other folds, so from other patients and other networks, as for a new nodule.

    Args:
        metrics: one per fold, in ascending order of the folds.

    Returns:
        (N, len(COMPARED)) mean of the neighbours' readers, and (N,) mean distance of the neighbours.
    """
    predicted, distance = np.full(nodules.readers.shape, np.nan), np.full(len(nodules.fold), np.nan)
    for fold, metric in zip(np.unique(nodules.fold), metrics, strict=True):
        held_out, others = nodules.fold == fold, nodules.fold != fold
        center, transform = metric.fit(nodules.features[others])
        places = (nodules.features - center) @ transform
        from_points, to_points = places[held_out], places[others]
        squares = (from_points**2).sum(axis=1)[:, None] + (to_points**2).sum(axis=1) - 2 * from_points @ to_points.T
        nearest = np.argsort(squares, axis=1, kind="stable")[:, :NEIGHBOURS]
        predicted[held_out] = _mean_of_known(nodules.readers[others][nearest])
        distance[held_out] = np.sqrt(np.maximum(np.take_along_axis(squares, nearest, axis=1), 0)).mean(axis=1)
    return predicted, distance


def mean_correlation(nodules: RatedNodules, metric: Metric) -> float:
    """The mean over COMPARED of the Spearman correlations between neighbours and readers: the rule by which metrics are chosen."""
    predicted, _ = neighbour_predictions(nodules, [metric] * len(np.unique(nodules.fold)))
    found = [_correlation(predicted[:, column], nodules.readers[:, column]) for column in range(len(COMPARED))]
    return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0


def compare_metrics(nodules: RatedNodules) -> dict[str, float]:
    """Name of every one of METRICS -> its mean correlation."""
    return {metric.name: mean_correlation(nodules, metric) for metric in METRICS}


def chosen_metric(correlations: dict[str, float]) -> Metric:
    """The metric with the highest correlation; the first of equals."""
    return max(METRICS, key=lambda metric: correlations[metric.name])


def metrics_of_folds(nodules: RatedNodules) -> list[Metric]:
    """For each fold, in ascending order, the metric that is best within the other folds (nested selection)."""
    folds = np.unique(nodules.fold)
    return [chosen_metric(compare_metrics(nodules.of(nodules.fold != fold))) for fold in folds]


def agreements(nodules: RatedNodules, predicted: np.ndarray) -> dict[str, Agreement]:
    """Name in COMPARED -> how well neighbours and network predict it, on the same nodules."""
    found = {}
    for column, name in enumerate(COMPARED):
        readers, network = nodules.readers[:, column], nodules.network[:, column]
        known = np.isfinite(readers) & np.isfinite(network) & np.isfinite(predicted[:, column])
        weights = patient_weights(nodules.patient[known])
        by_neighbours = _figure(predicted[known, column], readers[known], weights)
        found[name] = Agreement(by_neighbours, _figure(network[known], readers[known], weights))
    return found


def usual_distance(distance: np.ndarray) -> float:
    """The USUAL_PERCENT percentile of (N,) mean distances to the neighbours."""
    return float(np.percentile(distance, USUAL_PERCENT))


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """(Q, C) mean of the known values of the neighbours (Q, K, C); NaN where none is known."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    mean: np.ndarray = np.full(count.shape, np.nan)
    np.divide(np.where(known, values, 0).sum(axis=1), count, out=mean, where=count > 0)
    return mean


def _correlation(predicted: np.ndarray, readers: np.ndarray) -> float:
    known = np.isfinite(predicted) & np.isfinite(readers)
    return float(spearman(predicted[known], readers[known], np.ones((1, int(known.sum()))))[0])


def _figure(predicted: np.ndarray, readers: np.ndarray, weights: np.ndarray) -> Figure:
    found = estimate(lambda drawn: spearman(predicted, readers, drawn), weights)
    interval = None if found.interval is None else (round(found.interval[0], 4), round(found.interval[1], 4))
    return Figure(None if found.value is None else round(found.value, 4), interval, found.n)
