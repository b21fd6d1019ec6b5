"""Two readings of one nodule made one: that of the network and that of the second reader (`model.second_reader`).

They are as different as two readers can be: one has learned everything from nodules, the other sees with features learned from
photographs. So their errors differ, and the plain mean is better than either.
"""

from __future__ import annotations

import numpy as np

from CLIPLungLib.model.second_outputs import GRADED_SIGNS, LOG_DIAMETER, MALIGNANCY, SECOND_OUTPUTS

# From the second reader's estimate of the rating to the scale of the network's score. The two scores spread alike at 1.2; as the
# second reader is the better one, it has a little more say.
SCORE_PER_RATING = 2.0
MIDDLE_RATING, GRADES = 3.0, (1.0, 5.0)
# Where outline and second reader differ by more, most outlines are wrong; of all nodules these are about one in thirty.
SIZES_DISAGREE_ABOVE = 1.6


def no_second_readings(count: int) -> np.ndarray:
    """(count, O) NaN, where there is no second reader."""
    return np.full((count, len(SECOND_OUTPUTS)), np.nan)


def second_output(second: np.ndarray, name: str) -> np.ndarray:
    """(...) one of SECOND_OUTPUTS from all of them (..., O)."""
    values: np.ndarray = second[..., SECOND_OUTPUTS.index(name)]
    return values


def joint_score(network_score: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(...) malignancy score of both; the network's alone where the second reader's estimates (..., O) are NaN."""
    return _mean(network_score, second_alone(second))


def network_alone(score: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(...) the network's own score: the inverse of `joint_score`."""
    own = second_alone(second)
    return np.where(np.isnan(own), score, 2 * score - own)


def second_alone(second: np.ndarray) -> np.ndarray:
    """(...) the second reader's malignancy score; NaN where there is none."""
    found: np.ndarray = SCORE_PER_RATING * (second_output(second, MALIGNANCY) - MIDDLE_RATING)
    return found


def joint_level(attribute: str, text_level: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(...) expected code of a sign by both; that of the texts alone for signs that are no grades, or where there is no second reader."""
    if attribute not in GRADED_SIGNS:
        return text_level
    # A regression can leave the scale of the grades.
    return _mean(text_level, np.clip(second_output(second, attribute), *GRADES))


def joint_estimate_mm(network_mm: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(...) diameter without the outline: the geometric mean of the network's direct estimate and the second reader's."""
    found: np.ndarray = np.exp(_mean(np.log(network_mm), second_output(second, LOG_DIAMETER)))
    return found


def joint_diameter_mm(outline_mm: np.ndarray, joint_mm: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(...) diameter of an outlined nodule: the geometric mean of the outline's, the network's direct estimate and the second reader's.

    Args:
        outline_mm: (...) measured in the outline; alone where there is no second reader.
        joint_mm: (...) of `joint_estimate_mm`.
        second: (..., O).
    """
    of_three = np.exp((np.log(outline_mm) + 2 * np.log(joint_mm)) / 3)
    return np.where(np.isnan(second_output(second, LOG_DIAMETER)), outline_mm, of_three)


def sizes_disagree(outline_mm: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(...) bool: whether an outline is so much longer or shorter than the nodule looks that it may be wrong; never without both.

    Args:
        outline_mm: (...) diameter measured in the outline.
        second: (..., O).
    """
    apart = np.abs(np.log(outline_mm) - second_output(second, LOG_DIAMETER))
    doubt: np.ndarray = apart > np.log(SIZES_DISAGREE_ABOVE)
    return doubt


def _mean(first: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(other), first, (first + other) / 2)
