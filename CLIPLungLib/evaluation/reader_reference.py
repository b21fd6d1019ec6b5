"""What the readers said of a set of nodules: the reference every prediction is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.training.calibrate import FEWEST_READERS
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, reached_cuts

# Code 6 of calcification means that there is none; the other codes are kinds, so their mean says nothing.
CALCIFICATION, ABSENT = "calcification", 6
CALCIFICATION_ABSENT = "calcification_absent"
SIGN_NAMES = tuple(CALCIFICATION_ABSENT if name == CALCIFICATION else name for name in ATTRIBUTE_NAMES)


@dataclass(frozen=True, eq=False)
class ReaderReference:
    """Of N nodules.

    Attributes:
        rating: (N,) mean malignancy.
        label: (N,) class: benign below 2.5, unsure from 2.5 to 3.5, malignant above.
        exceeds_3: (N,) bool; a mean of exactly 3 does not.
        patient, fold: (N,).
        diameter_mm, volume_mm3: (N,) from the readers' contours.
        signs: name of SIGN_NAMES -> (N,) readers' mean, for calcification the share who saw none.
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
        """From the table's rows."""
        return cls(
            rating=np.array([nodule.malignancy for nodule in nodules]),
            label=np.array([nodule.label for nodule in nodules]),
            exceeds_3=np.array([reached_cuts(nodule.malignancy)[1] for nodule in nodules]),
            patient=np.array([nodule.patient_id for nodule in nodules]),
            fold=np.array([nodule.fold for nodule in nodules]),
            diameter_mm=np.array([nodule.diameter_mm for nodule in nodules]),
            volume_mm3=np.array([nodule.volume_mm3 for nodule in nodules]),
            signs={name: np.array([reader_codes(nodule, name).mean() for nodule in nodules]) for name in SIGN_NAMES},
        )


def reader_codes(nodule: Nodule, sign: str) -> np.ndarray:
    """(R,) what every reader said: the code, or for calcification 1 where it is absent."""
    codes = np.array(nodule.ratings[CALCIFICATION if sign == CALCIFICATION_ABSENT else sign], dtype=np.float64)
    return (codes == ABSENT).astype(np.float64) if sign == CALCIFICATION_ABSENT else codes


def reader_pairs(nodules: Sequence[Nodule], sign: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every reader's code (P,), the mean of the other readers of the same nodule (P,), and the nodule's place (P,).

    Nodules with fewer than FEWEST_READERS readers are left out.
    """
    rows = []
    for place, nodule in enumerate(nodules):
        codes = reader_codes(nodule, sign)
        if len(codes) >= FEWEST_READERS:
            rows += [(code, (codes.sum() - code) / (len(codes) - 1), place) for code in codes]
    one, others, places = np.reshape(np.array(rows, dtype=np.float64), (-1, 3)).T
    return one, others, places.astype(int)
