"""Nearest-neighbour index of the nodules of the training data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CLIPLungLib.similar.features import FEATURE_COUNT
from CLIPLungLib.similar.figures import RATED, Agreement

NEIGHBOURS = 10


@dataclass(frozen=True, eq=False)
class SimilarIndex:
    """N nodules, in a space of K dimensions.

    Attributes:
        weights_sha256: of the weights whose cross-validation gave the places; with others the places mean nothing.
        center: (FEATURE_COUNT,) of `features`.
        transform: (FEATURE_COUNT, K); place = (features - center) @ transform, and distances are Euclidean.
        places: (N, K) float16.
        nodule_ids, patient_ids: N public names.
        readers: (N,) how many rated each.
        ratings: (N, len(RATED)) means of the readers; NaN where nobody rated.
        diameter_mm: (N,) in the readers' outlines; NaN where there are none.
        usual_distance: within it lie the nearest neighbours of 95 % of nodules, on average over them.
        metric: what is compared, in words.
        source: what to cite.
        figures: one of COMPARED -> how well neighbours predict it.
        choices: each metric that was tried -> the mean of its correlations.
    """

    weights_sha256: str
    center: np.ndarray
    transform: np.ndarray
    places: np.ndarray
    nodule_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    readers: np.ndarray
    ratings: np.ndarray
    diameter_mm: np.ndarray
    usual_distance: float
    metric: str
    source: str
    figures: dict[str, Agreement]
    choices: dict[str, float]

    def __post_init__(self) -> None:
        count, width = len(self.nodule_ids), self.transform.shape[-1]
        wanted = {
            "center": (FEATURE_COUNT,),
            "transform": (FEATURE_COUNT, width),
            "places": (count, width),
            "readers": (count,),
            "ratings": (count, len(RATED)),
            "diameter_mm": (count,),
        }
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has the shape {getattr(self, name).shape}, not {shape}")
        if count < NEIGHBOURS or len(self.patient_ids) != count:
            raise ValueError(f"{count} nodules of {len(self.patient_ids)} patients")

    def nearest(self, features: np.ndarray, count: int = NEIGHBOURS) -> tuple[np.ndarray, np.ndarray]:
        """The nodules most like (FEATURE_COUNT,) features: (count,) their rows, the nearest first, and (count,) distances."""
        place = (features - self.center) @ self.transform
        distances = np.linalg.norm(self.places.astype(np.float64) - place, axis=1)
        rows = np.argsort(distances, kind="stable")[:count]
        return rows, distances[rows]
