"""The cases most like an answer, as shown to a reader."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.similar.features import features_of_result
from CLIPLungLib.similar.figures import CALCIFICATION, DIAMETER, MALIGNANCY, NO_CALCIFICATION, RATED, Agreement
from CLIPLungLib.similar.index import SimilarIndex

FAR = "No case of the training data is much like this one: the nearest are farther than usual."


@dataclass(frozen=True)
class SimilarCase:
    """One nodule of the training data.

    Attributes:
        nodule_id, patient_id: its public names.
        distance: in the space of the index; smaller is more alike.
        readers: how many rated it.
        diameter_mm: in the readers' outlines; None without any.
        ratings: one of RATED -> mean of the readers' codes, share of readers who saw no calcification; None where nobody rated.
    """

    nodule_id: str
    patient_id: str
    distance: float
    readers: int
    diameter_mm: float | None
    ratings: dict[str, float | None]

    @property
    def malignancy(self) -> float | None:
        """Mean of the readers' malignancy codes, 1..5."""
        return self.ratings[MALIGNANCY]


@dataclass(frozen=True)
class SimilarCases:
    """The cases most like an answer.

    Attributes:
        cases: the nearest first.
        diameter_mm, malignancy_probability: of the answer.
        signs: one of RATED but the malignancy -> what the answer says of it: the expected level, the probability of no calcification.
        is_far: whether even these are farther away than the neighbours of 95 % of nodules.
        metric, source, figures: of the index.
        weights_sha256: of the model.
    """

    cases: tuple[SimilarCase, ...]
    diameter_mm: float
    malignancy_probability: float
    signs: dict[str, float]
    is_far: bool
    metric: str
    source: str
    figures: dict[str, Agreement]
    weights_sha256: str

    def mean(self, name: str) -> float | None:
        """Of one of COMPARED over the cases where it is known; None where it is known of none."""
        values = [case.diameter_mm if name == DIAMETER else case.ratings[name] for case in self.cases]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "cases": [asdict(case) for case in self.cases],
            "mean": {name: self.mean(name) for name in (*RATED, DIAMETER)},
            "this_nodule": {
                "diameter_mm": self.diameter_mm,
                "malignancy_probability": self.malignancy_probability,
                "signs": self.signs,
            },
            "warning": FAR if self.is_far else None,
            "compared_by": self.metric,
            "spearman_with_readers": {name: agreement.to_dict() for name, agreement in self.figures.items()},
            "source": self.source,
            "weights_sha256": self.weights_sha256,
        }


def similar_cases(result: NoduleResult, index: SimilarIndex) -> SimilarCases:
    """The cases most like an answer.

    Raises:
        InputError: the answer is of other weights than the index.
    """
    own = result.model.get("sha256", "")
    if own != index.weights_sha256:
        raise InputError(
            f"The index of similar cases is of the weights {index.weights_sha256[:12]}, the answer of {own[:12] or 'unknown weights'}. "
            "Make an index for these weights with 'cliplung similar-index', or analyse the nodule again with the weights of the index."
        )
    rows, distances = index.nearest(features_of_result(result))
    return SimilarCases(
        cases=tuple(_case(index, int(row), float(distance)) for row, distance in zip(rows, distances, strict=True)),
        diameter_mm=result.diameter_mm,
        malignancy_probability=result.malignancy_probability,
        signs=_signs(result),
        is_far=bool(distances.mean() > index.usual_distance),
        metric=index.metric,
        source=index.source,
        figures=index.figures,
        weights_sha256=own,
    )


def write_similar(found: SimilarCases, path: Path) -> None:
    """Write them as JSON.

    Raises:
        InputError: the file cannot be written.
    """
    text = json.dumps(found.to_dict(), indent=2, allow_nan=False)
    with writing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _signs(result: NoduleResult) -> dict[str, float]:
    """Of the answer, in the terms of the cases."""
    signs = {attribute.name: attribute.level for attribute in result.attributes}
    # The last kind of calcification is that there is none.
    absent = next(a.level_probabilities[-1] for a in result.attributes if a.name == CALCIFICATION)
    return {name: absent if name == NO_CALCIFICATION else signs[name] for name in RATED if name != MALIGNANCY}


def _case(index: SimilarIndex, row: int, distance: float) -> SimilarCase:
    return SimilarCase(
        nodule_id=index.nodule_ids[row],
        patient_id=index.patient_ids[row],
        distance=round(distance, 4),
        readers=int(index.readers[row]),
        diameter_mm=_known(index.diameter_mm[row]),
        ratings={name: _known(index.ratings[row, column]) for column, name in enumerate(RATED)},
    )


def _known(value: np.floating[Any]) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)
