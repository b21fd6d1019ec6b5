"""Out-of-distribution detection: does a nodule lie at the click at all, and does it look like those the network has learned from?

Two numbers, each with a limit that nearly all nodules of other patients respect: the presence of an outline at the click, and the
Mahalanobis distance of the image feature from those of known nodules (Lee et al., NeurIPS 2018).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from CLIPLungLib.errors import InputError, MissingPackageError
from CLIPLungLib.image.mask_filters import smoothed_in_plane

PRESENCE_RADIUS_MM = 5.0
PRINCIPAL_DIRECTIONS = 32
KNOWN_SHARE = 0.95
NOTHING_THERE = "Nothing that looks like a nodule lies at the click: the answer means little. Check the point, and place it on the nodule's middle."
UNLIKE_KNOWN = (
    "This looks unlike the nodules the model has learned from: the answer may be wrong in ways its intervals do not show. "
    "Judge it by the images alone."
)


def presence_at_click(
    inside: np.ndarray, spacing_mm: tuple[float, float, float], radius_mm: float = PRESENCE_RADIUS_MM
) -> float:
    """The largest outline probability near the middle of a patch, each pixel averaged with its 8 neighbours in the plane.

    Args:
        inside: (Z, Y, X) probability that a voxel lies inside the nodule.
        spacing_mm: of planes, rows and columns.
        radius_mm: what counts as near.
    """
    # Within planes only: neighbouring planes may not exist.
    smooth = smoothed_in_plane(inside)
    steps_mm = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(inside.shape, spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*steps_mm, indexing="ij", sparse=True)
    return float(smooth[z**2 + y**2 + x**2 <= radius_mm**2].max(initial=0.0))


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """The features of known nodules, reduced and scaled so that they spread equally in all directions.

    Attributes:
        mean: (D,) float32.
        whitening: (D, d) float32; (feature - mean) @ whitening has unit covariance among known nodules.
    """

    mean: np.ndarray
    whitening: np.ndarray

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.whitening.ndim != 2 or len(self.mean) != len(self.whitening):
            raise ValueError(f"mean {self.mean.shape} and whitening {self.whitening.shape} do not fit together")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.whitening).all()):
            raise ValueError("a feature space needs finite numbers")

    def distance(self, features: np.ndarray) -> np.ndarray:
        """(N,) Mahalanobis distance of features (N, D)."""
        whitened = (np.asarray(features, dtype=np.float64) - self.mean) @ self.whitening
        distance: np.ndarray = np.linalg.norm(whitened, axis=1)
        return distance


def fit_feature_space(features: np.ndarray, directions: int = PRINCIPAL_DIRECTIONS) -> FeatureSpace:
    """The space of known nodules: standardised, reduced to principal directions, with a shrunk covariance (Ledoit and Wolf 2004).

    Args:
        features: (N, D) of nodules.
        directions: how many are kept.

    Raises:
        InputError: fewer than 2 nodules, or features that are not numbers.
        MissingPackageError: scikit-learn is not installed.
    """
    try:
        from sklearn.covariance import LedoitWolf
    except ImportError as error:
        raise MissingPackageError(
            "Fitting a feature space needs scikit-learn. Install CLIPLung with its 'train' extra."
        ) from error
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
        raise InputError(f"A feature space needs finite features of 2 nodules or more; got shape {features.shape}.")
    mean, spread = features.mean(axis=0), features.std(axis=0)
    # A channel that is always the same tells nothing, and must not divide by zero.
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-6)
    standard = (features - mean) * scale
    _, strength, rows = np.linalg.svd(standard, full_matrices=False)
    kept = rows[:directions][strength[:directions] > 1e-6 * max(strength[0], 1e-12)]
    if len(kept) == 0:
        raise InputError("All nodules have the same feature. Train the network first, then fit again.")
    values, vectors = np.linalg.eigh(LedoitWolf(assume_centered=True).fit(standard @ kept.T).covariance_)
    whitening = scale[:, None] * kept.T @ (vectors / np.sqrt(values))
    return FeatureSpace(mean.astype(np.float32), whitening.astype(np.float32))


@dataclass(frozen=True)
class OutOfDistributionLimits:
    """Where "I do not know" begins.

    Attributes:
        largest_distance: in the feature space, of what still counts as like the known nodules.
        least_presence: of an outline at the click.
    """

    largest_distance: float
    least_presence: float

    def __post_init__(self) -> None:
        if not np.isfinite([self.largest_distance, self.least_presence]).all() or self.largest_distance <= 0:
            raise ValueError(
                f"limits must be numbers, not {self.largest_distance} (distance), {self.least_presence} (presence)"
            )

    def warnings(self, distance: float, presence: float) -> tuple[str, ...]:
        """What the reader of an answer must know: nothing, or one text.

        Args:
            distance: of `FeatureSpace.distance`.
            presence: of `presence_at_click`.
        """
        # Written so that NaN warns; where nothing lies at the click, its looks do not matter.
        if not presence >= self.least_presence:
            return (NOTHING_THERE,)
        if not distance <= self.largest_distance:
            return (UNLIKE_KNOWN,)
        return ()

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def fit_limits(distance: np.ndarray, presence: np.ndarray, known_share: float = KNOWN_SHARE) -> OutOfDistributionLimits:
    """Limits that leave the wanted share of nodules without a warning; half of the rest goes to each limit.

    Args:
        distance: (N,) of nodules of other patients, each in the space of the network that had not seen it. Distances in
            different networks' spaces are comparable, features are not.
        presence: (N,) of the same nodules.
        known_share: of nodules that shall raise no warning.

    Raises:
        InputError: no nodules, or values that are not numbers.
    """
    if not 0 < known_share < 1:
        raise InputError(f"The share of known nodules must lie between 0 and 1, not at {known_share}. Choose 0.95.")
    for name, values in (("presence", presence), ("distances", distance)):
        if len(values) == 0 or not np.isfinite(values).all():
            raise InputError(f"The {name} of known nodules must be finite numbers, one at least. Check the answers.")
    lost = (1 - known_share) / 2
    return OutOfDistributionLimits(float(np.quantile(distance, 1 - lost)), float(np.quantile(presence, lost)))
