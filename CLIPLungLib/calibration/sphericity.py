"""Sphericity from what is seen and what is measured: texts alone tell a round nodule from a long one less well than one reader does."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from CLIPLungLib.errors import InputError

LOWEST_LEVEL, HIGHEST_LEVEL = 1.0, 5.0


@dataclass(frozen=True)
class SphericityCalibration:
    """Readers' mean rating = intercept + text * level of the texts + axis_ratio * short / long axis + compactness * compactness.

    Compactness is the diameter of the ball of the outline's volume over the outline's longest diameter.
    """

    intercept: float
    text: float
    axis_ratio: float
    compactness: float

    def __post_init__(self) -> None:
        if not np.isfinite([self.intercept, self.text, self.axis_ratio, self.compactness]).all():
            raise ValueError(f"sphericity calibration needs finite numbers, not {self}")

    def level(
        self, text_level: np.ndarray, longest_mm: np.ndarray, short_mm: np.ndarray, volume_mm3: np.ndarray
    ) -> np.ndarray:
        """(N,) estimated mean rating, 1..5, for (N,) values from texts and outline."""
        weights = np.array([self.intercept, self.text, self.axis_ratio, self.compactness])
        inputs = _inputs(text_level, longest_mm, short_mm, volume_mm3)
        level: np.ndarray = np.clip(inputs @ weights, LOWEST_LEVEL, HIGHEST_LEVEL)
        return level

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def fit_sphericity(
    text_level: np.ndarray,
    longest_mm: np.ndarray,
    short_mm: np.ndarray,
    volume_mm3: np.ndarray,
    mean_rating: np.ndarray,
) -> SphericityCalibration:
    """Least squares to the readers' mean rating.

    Args:
        text_level, longest_mm, short_mm, volume_mm3: (N,) of outlined nodules whose patients the network has not learned from.
        mean_rating: (N,) of the readers.

    Raises:
        InputError: fewer than 10 nodules, or values that are not numbers.
    """
    inputs = _inputs(text_level, longest_mm, short_mm, volume_mm3)
    if len(inputs) < 10 or not np.isfinite(inputs).all():
        raise InputError(
            f"Sphericity needs 10 outlined nodules or more, all measured; got {len(inputs)}. Leave out those without an outline."
        )
    weights = np.linalg.lstsq(inputs, np.asarray(mean_rating, dtype=np.float64), rcond=None)[0]
    return SphericityCalibration(*(float(weight) for weight in weights))


def _inputs(text_level: np.ndarray, longest_mm: np.ndarray, short_mm: np.ndarray, volume_mm3: np.ndarray) -> np.ndarray:
    ball_mm = np.cbrt(6 * np.asarray(volume_mm3) / np.pi)
    return np.stack(
        [np.ones_like(ball_mm), text_level, np.asarray(short_mm) / longest_mm, ball_mm / longest_mm], axis=-1
    ).astype(np.float64)
