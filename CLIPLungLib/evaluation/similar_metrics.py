"""The candidate metrics of an index of similar cases: each a linear map of `similar.features`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CLIPLungLib.similar.features import FEATURE_COUNT, SIZE, SUSPICION
from CLIPLungLib.vocabulary import ATTRIBUTES, level_columns

# Added to the variance of every direction before whitening, in units of the standardised features: keeps noise small.
WHITENING_FLOOR = 0.05


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric.

    Attributes:
        name: in words.
        selection: (FEATURE_COUNT, L) the features used.
        whitens: whether the features are whitened, so that correlated ones count once.
    """

    name: str
    selection: np.ndarray
    whitens: bool

    def fit(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (FEATURE_COUNT,) and transform (FEATURE_COUNT, K), fitted on nodules (N, FEATURE_COUNT)."""
        center = features.mean(axis=0)
        seen = (features - center) @ self.selection
        spread = seen.std(axis=0)
        # A constant feature carries no information.
        scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
        transform = self.selection * scale
        if self.whitens:
            variances, directions = np.linalg.eigh(np.atleast_2d(np.cov((features - center) @ transform, rowvar=False)))
            transform = transform @ (directions / np.sqrt(np.maximum(variances, 0) + WHITENING_FLOOR))
        return center, transform


def _of(columns: np.ndarray) -> np.ndarray:
    selection: np.ndarray = np.eye(FEATURE_COUNT)[:, columns]
    return selection


def _expected_levels() -> np.ndarray:
    """(FEATURE_COUNT, attributes): level probabilities to the expected level of every sign."""
    selection = np.zeros((FEATURE_COUNT, len(ATTRIBUTES)))
    for column, attribute in enumerate(ATTRIBUTES):
        selection[level_columns(attribute.name), column] = attribute.codes
    return selection


def _looked_at() -> dict[str, np.ndarray]:
    other, levels = _of(np.array([SUSPICION, SIZE])), np.arange(SUSPICION)
    return {
        "suspicion and size": other,
        "expected levels of the signs": _expected_levels(),
        "expected levels of the signs, suspicion and size": np.hstack([_expected_levels(), other]),
        "probabilities of all levels, suspicion and size": np.hstack([_of(levels), other]),
    }


METRICS = tuple(
    Metric(f"{name}, {how}", selection, whitens)
    for name, selection in _looked_at().items()
    for how, whitens in (("standardised", False), ("whitened", True))
)
