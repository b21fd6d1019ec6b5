"""The reference standard: the readers' ratings and sizes of a set of nodules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CLIPLungLib.dataset.nodule_table import MALIGNANCY, Nodule
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, reached_cuts

# Code 6 of calcification means that there is none; the other codes are kinds, so their mean says nothing.
CALCIFICATION, ABSENT = "calcification", 6
CALCIFICATION_ABSENT = "calcification_absent"
SIGN_NAMES = tuple(CALCIFICATION_ABSENT if name == CALCIFICATION else name for name in ATTRIBUTE_NAMES)


@dataclass(frozen=True, eq=False)
class ReaderReference:
    """The reference standard of N nodules.

    Attributes:
        rating: (N,) mean malignancy; 1 or 5 for a known outcome.
        label: (N,) class: benign below 2.5, unsure from 2.5 to 3.5, malignant above.
        exceeds_3: (N,) bool; a mean of exactly 3 does not.
        patient, fold: (N,).
        diameter_mm, volume_mm3: (N,) from the readers' contours; NaN where there are none.
        signs: name of SIGN_NAMES -> (N,) readers' mean, for calcification the share who saw none; NaN where nobody rated it.
    """

    rating: np.ndarray
    label: np.ndarray
    exceeds_3: np.ndarray
    patient: np.ndarray
    fold: np.ndarray
    diameter_mm: np.ndarray
    volume_mm3: np.ndarray
    signs: dict[str, np.ndarray]

    @classmethod
    def of_nodules(cls, nodules: Sequence[Nodule]) -> ReaderReference:
        """The reference of these rows of the table."""
        return cls(
            rating=np.array([nodule.malignancy for nodule in nodules]),
            label=np.array([nodule.label for nodule in nodules]),
            exceeds_3=np.array([reached_cuts(nodule.malignancy)[1] for nodule in nodules]),
            patient=np.array([nodule.patient_id for nodule in nodules]),
            fold=np.array([nodule.fold for nodule in nodules]),
            diameter_mm=np.array([nodule.diameter_mm for nodule in nodules]),
            volume_mm3=np.array([nodule.volume_mm3 for nodule in nodules]),
            signs={name: np.array([_mean(reader_codes(nodule, name)) for nodule in nodules]) for name in SIGN_NAMES},
        )


def reader_codes(nodule: Nodule, sign: str) -> np.ndarray:
    """(R,) the rating of every reader for a name of SIGN_NAMES or MALIGNANCY: the code, or for calcification 1 where it is absent."""
    if sign == MALIGNANCY:
        return np.array(nodule.malignancy_ratings, dtype=np.float64)
    codes = np.array(nodule.ratings[CALCIFICATION if sign == CALCIFICATION_ABSENT else sign], dtype=np.float64)
    return (codes == ABSENT).astype(np.float64) if sign == CALCIFICATION_ABSENT else codes


def _mean(codes: np.ndarray) -> float:
    return float(codes.mean()) if codes.size else np.nan
