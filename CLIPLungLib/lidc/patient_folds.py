"""Which fold each patient of LIDC-IDRI is in: as a table says, or dealt out by a seed."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.errors import InputError

FOLDS, SEED = 5, 0
COLUMNS = ("patient_id", "fold")


@dataclass(frozen=True)
class PatientFolds:
    """The folds, and how they came about.

    Attributes:
        fold: patient -> fold, from 0.
        rule: for the records.
    """

    fold: dict[str, int]
    rule: str


def dealt_folds(patients: Iterable[str]) -> PatientFolds:
    """Folds of equal numbers of patients, by chance.

    Give all patients of the collection, not only those at hand: then a patient stays in his fold when more are downloaded.
    """
    names = sorted(set(patients))
    order = np.random.default_rng(SEED).permutation(len(names))
    fold = {names[index]: place % FOLDS for place, index in enumerate(order.tolist())}
    return PatientFolds(fold, f"{FOLDS} folds of equal numbers of patients, dealt out by chance (seed {SEED})")


def read_folds(table: Path) -> PatientFolds:
    """Folds from the columns patient_id and fold of any CSV table.

    Raises:
        InputError: it cannot be read, lacks a column, or puts a patient into two folds.
    """
    table, found = Path(table), dict[str, int]()
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise InputError(f"{table} lacks a column of {', '.join(COLUMNS)}. Give a table with both.")
            for row in reader:
                patient, fold = (row["patient_id"] or "").strip(), (row["fold"] or "").strip()
                if not patient or not (fold.isascii() and fold.isdigit()) or len(fold) > 3:
                    raise InputError(
                        f"{table}, line {reader.line_num}: a patient and a fold from 0 are needed. Mend the row."
                    )
                if found.setdefault(patient, int(fold)) != int(fold):
                    raise InputError(f"{table}: patient {patient} is in two folds. Give each patient one fold.")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table} cannot be read as a table in UTF-8 ({error}). Give a CSV file.") from error
    if not found:
        raise InputError(f"{table} names no patient. Give a table with a row for each patient.")
    return PatientFolds(found, f"column fold of {table.name}; patients it does not name are left out")
