"""The fold of each patient of LIDC-IDRI: of a table, or assigned at random with a seed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.table_text import Record, column_name, read_records

FOLDS, SEED = 5, 0
COLUMNS = ("patient_id", "fold")
WHAT = "Table of folds"
# Spreadsheets and statistics programs may write 3 as 3.0.
WHOLE = re.compile(r"[0-9]{1,3}(\.0)?")


@dataclass(frozen=True)
class PatientFolds:
    """The folds, and the rule by which they were assigned.

    Attributes:
        fold: patient -> fold, from 0.
        rule: for the records.
    """

    fold: dict[str, int]
    rule: str


def random_folds(patients: Iterable[str]) -> PatientFolds:
    """Five random folds of equal numbers of patients.

    Give all patients of the collection, not only those at hand: then folds do not change when more are downloaded.
    """
    names = sorted(set(patients))
    order = np.random.default_rng(SEED).permutation(len(names))
    fold = {names[index]: place % FOLDS for place, index in enumerate(order.tolist())}
    return PatientFolds(fold, f"{FOLDS} folds of equal numbers of patients, assigned at random (seed {SEED})")


def read_folds(table: Path) -> PatientFolds:
    """Folds from the columns patient_id and fold of any table that a spreadsheet saves as text, see `read_records`.

    Raises:
        InputError: it cannot be read, lacks a column, or puts a patient into two folds.
    """
    table, found = Path(table), dict[str, int]()
    header, *records = read_records(table, set(COLUMNS), WHAT)
    names = [column_name(cell) for cell in header.cells]
    if any(names.count(name) != 1 for name in COLUMNS):
        raise InputError(f"{table} lacks a column of {', '.join(COLUMNS)}, or has it twice. Give a table with both.")
    for record in records:
        patient, fold = (_cell(record, names.index(name)) for name in COLUMNS)
        if not patient or not WHOLE.fullmatch(fold):
            raise InputError(f"{table}, line {record.line}: a patient and a fold from 0 are needed. Mend the row.")
        if found.setdefault(patient, int(float(fold))) != int(float(fold)):
            raise InputError(f"{table}: patient {patient} is in two folds. Give each patient one fold.")
    if not found:
        raise InputError(f"{table} names no patient. Give a table with a row for each patient.")
    return PatientFolds(found, f"column fold of {table.name}; patients it does not name are left out")


def _cell(record: Record, index: int) -> str:
    return record.cells[index] if index < len(record.cells) else ""
