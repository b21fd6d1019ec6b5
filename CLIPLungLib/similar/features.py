"""The features by which nodules are compared: the model's outputs.

Pooled features of networks of different folds are not comparable. Their outputs are: the probability of every level of every sign,
 the calibrated suspicion, and the diameter.
"""

from __future__ import annotations

import numpy as np

from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.vocabulary import LEVEL_COUNT

SUSPICION, SIZE = LEVEL_COUNT, LEVEL_COUNT + 1
FEATURE_COUNT = LEVEL_COUNT + 2
# Beyond this a probability says no more, and its logarithm would run away.
SUREST = 1e-4


def features(
    level_probabilities: np.ndarray, malignancy_probability: np.ndarray, diameter_mm: np.ndarray
) -> np.ndarray:
    """(N, FEATURE_COUNT): the levels as they are, then the log odds of suspicion, then the natural logarithm of the diameter.

    Args:
        level_probabilities: (N, LEVEL_COUNT), as the texts alone give them.
        malignancy_probability: (N,) calibrated.
        diameter_mm: (N,) calibrated, positive.
    """
    probability = np.clip(malignancy_probability, SUREST, 1 - SUREST)
    suspicion = np.log(probability / (1 - probability))
    return np.column_stack([level_probabilities, suspicion, np.log(diameter_mm)])


def features_of_result(result: NoduleResult) -> np.ndarray:
    """(FEATURE_COUNT,) of an answer; all of it is in a stored one, too."""
    levels = [share for attribute in result.attributes for share in attribute.level_probabilities]
    found: np.ndarray = features(
        np.array([levels]), np.array([result.malignancy_probability]), np.array([result.diameter_mm])
    )[0]
    return found
