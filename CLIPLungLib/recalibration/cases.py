"""Local cases to calibrate on: from a table of points, or from a data folder."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from CLIPLungLib.dataset.case_table import Case, read_cases
from CLIPLungLib.dataset.nodule_table import Nodule, read_nodules
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.cohort_table import CohortRow

# What a click meets first: the surroundings as they are.
KINDS = ("crop", "cube", "volume")
NO_IMAGE = "the data folder holds no crop, cube or volume of it"
NO_LABEL = "neither a rating nor an outcome"
NO_PATIENTS = (
    "the table has no column patient_id: every image counts as a patient of its own. If a patient has several images, add the "
    "column, or the figures will look surer than they are."
)


@dataclass(frozen=True, eq=False)
class LocalCases:
    """Labelled cases of one reference standard.

    Attributes:
        cases: with labels.
        whose: READERS or OUTCOME.
        left_out: id -> why a case cannot be used.
        notes: what the user must know.
    """

    cases: list[Case]
    whose: str
    left_out: dict[str, str]
    notes: tuple[str, ...] = ()


def read_local_cases(table: Path) -> LocalCases:
    """Read cases with a rating or an outcome.

    Args:
        table: file with the columns of `read_cases`, or a data folder with nodules.csv.

    Raises:
        InputError: no such table, one that cannot be read, no label, or ratings mixed with outcomes.
    """
    table = Path(table)
    notes: tuple[str, ...] = ()
    if table.is_dir():
        cases = [_case_of(table, nodule) for nodule in read_nodules(table)]
    else:
        found = read_cases(table)
        cases = found.cases
        notes = (*(() if found.names_patients else (NO_PATIENTS,)), *found.notes)
    labelled = [case for case in cases if not math.isnan(case.malignancy)]
    if not labelled:
        raise InputError(
            f"{table} holds no malignancy to calibrate on. Add a column 'malignancy' with ratings (1 to 5) or outcomes (0 benign, 1 malignant)."
        )
    left_out = {case.row.row_id: NO_LABEL for case in cases if math.isnan(case.malignancy)}
    return LocalCases(labelled, _one_truth(table, labelled), left_out, notes)


def _one_truth(table: Path, cases: list[Case]) -> str:
    counts = Counter(case.truth for case in cases)
    if len(counts) > 1:
        listed = " and ".join(f"{count} of {whose}" for whose, count in sorted(counts.items()))
        raise InputError(f"{table} mixes truths: {listed}. A probability is of one truth: make a table for each.")
    return cases[0].truth


def _case_of(folder: Path, nodule: Nodule) -> Case:
    """A row of a data folder as a row of points; crops and cubes have the click as the origin of their frame."""
    kind = next((kind for kind in KINDS if kind in nodule.images), None)
    if kind is None:
        row = CohortRow(nodule.nodule_id, None, None, NO_IMAGE)
    else:
        point = nodule.point_ras if kind == "volume" else (0.0, 0.0, 0.0)
        row = CohortRow(nodule.nodule_id, folder / nodule.images[kind], point)
    return Case(
        row=row,
        patient_id=nodule.patient_id,
        fold=nodule.fold,
        malignancy=nodule.malignancy,
        truth=nodule.truth,
        n_readers=nodule.n_readers,
        ratings=nodule.ratings,
        diameter_mm=nodule.diameter_mm,
        volume_mm3=nodule.volume_mm3,
    )
