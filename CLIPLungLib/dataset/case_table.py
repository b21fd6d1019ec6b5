"""The table of someone's own cases: a point in an image with what is known of the nodule there."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from CLIPLungLib.dataset.case_doubles import require_one_spelling, same_nodules
from CLIPLungLib.dataset.nodule_table import OUTCOME, OUTCOME_RATINGS, READERS
from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.case import LEAST_OF_BALL, MOST_OF_BALL, sphere_diameter_mm
from CLIPLungLib.inference.cohort_table import CohortRow, read_point_table
from CLIPLungLib.inference.table_columns import PATIENT_COLUMN as PATIENT
from CLIPLungLib.inference.table_point import number_of
from CLIPLungLib.vocabulary import ATTRIBUTES, Attribute

WHAT = "Table"
MALIGNANCY, FOLD, DIAMETER, VOLUME = "malignancy", "fold", "diameter_mm", "volume_mm3"
LOWEST_RATING, HIGHEST_RATING = 1.0, 5.0
HIGHEST_FOLD = 999
# No nodule is larger, and CT shows none that is smaller; lengths in cm and volumes in ml are.
LARGEST_MM, LARGEST_MM3 = 300.0, 2e7
SMALLEST, OTHER_UNIT = 1.0, {DIAMETER: "mm, not cm", VOLUME: "mm3, not ml"}
# Two readers' ratings, or one number with a decimal comma; a half is the mean of two.
TWO_OR_DECIMAL, HALF = re.compile(r"[1-5],[1-5]"), ",5"
# Every spelling of a sign's column, in lower case -> the sign.
SIGN_OF_COLUMN = {name.lower(): sign for sign in ATTRIBUTES for name in (sign.name, sign.title)}
FURTHER_COLUMNS = frozenset({MALIGNANCY, PATIENT, FOLD, DIAMETER, VOLUME, *SIGN_OF_COLUMN})
MALIGNANCY_REMEDY = (
    "Give ratings from 1 to 5 (several readers' with blanks between them), or outcomes: 0 benign, 1 malignant."
)


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        row: id, image and point.
        patient_id: an image's own where the table names no patients.
        fold: None where the table has none.
        malignancy: mean rating, or the rating that stands for the outcome; NaN where unknown.
        truth: READERS or OUTCOME.
        n_readers: who rated; 0 where the outcome is known instead.
        ratings: sign -> codes; empty where nobody rated it.
        diameter_mm, volume_mm3: NaN where unknown.
    """

    row: CohortRow
    patient_id: str
    fold: int | None
    malignancy: float
    truth: str
    n_readers: int
    ratings: dict[str, tuple[int, ...]]
    diameter_mm: float
    volume_mm3: float

    @property
    def is_labelled(self) -> bool:
        """Whether there is anything to learn the nodule's looks from."""
        return not math.isnan(self.malignancy) or any(self.ratings.values())


@dataclass(frozen=True)
class CaseTable:
    """All rows, whether the table names patients, and what the user must know."""

    cases: list[Case]
    names_patients: bool
    notes: tuple[str, ...] = ()


def read_cases(file: Path) -> CaseTable:
    """Read a table of cases: the columns of `read_cohort`, and what is known.

    Raises:
        InputError: as `read_cohort`; a label that is none (named by its line), ratings mixed with outcomes, ones that may be either,
            a patient in two folds or spellings, an image of two patients, or no label at all.
    """
    file = Path(file)
    table = read_point_table(file, FURTHER_COLUMNS, WHAT)
    _require_one_column_per_sign(file, table.cells[0])
    known = [_Cells(file, line, cells) for line, cells in zip(table.lines, table.cells, strict=True)]
    _require_sure_commas(file, [cells.cells.get(MALIGNANCY, "") for cells in known])
    is_outcome = _is_outcome(file, [cells.numbers(MALIGNANCY) for cells in known])
    cases = [_case(row, cells, file.parent, is_outcome) for row, cells in zip(table.rows, known, strict=True)]
    if not any(case.is_labelled for case in cases):
        signs = ", ".join(sign.name for sign in ATTRIBUTES)
        raise InputError(f"{WHAT} {file} holds no label. Add a column 'malignancy', or one of the signs: {signs}.")
    names_patients = PATIENT in table.cells[0]
    if names_patients:
        require_one_spelling(f"{WHAT} {file}", [case.patient_id for case in cases])
    _require_one_value(file, "patient", [(case.patient_id, case.fold) for case in cases], "fold")
    # One folder may hold the series of several patients.
    scans = [f"{_image_key(case.row, file.parent)} {case.row.series_uid}".strip() for case in cases]
    images = [
        (scan, case.patient_id) for scan, case in zip(scans, cases, strict=True) if case.row.image_path is not None
    ]
    _require_one_value(file, "image", images, "patient_id")
    labelled = [(case.row, scan) for case, scan in zip(cases, scans, strict=True) if case.is_labelled]
    notes = same_nodules([row for row, _ in labelled], [scan for _, scan in labelled])
    if table.unused:
        # A misspelt one would be missed.
        notes.append(f"columns that are not used: {', '.join(table.unused)}.")
    return CaseTable(cases, names_patients, tuple(notes))


@dataclass(frozen=True)
class _Cells:
    """The further cells of a row, and where they stand."""

    file: Path
    line: int
    cells: dict[str, str]

    def fault(self, column: str, wanted: str) -> InputError:
        remedy = f" {MALIGNANCY_REMEDY}" if column == MALIGNANCY else ""
        return InputError(
            f"{WHAT} {self.file}, line {self.line}: {column} must be {wanted}, not '{self.cells[column]}'. Mend or empty the cell.{remedy}"
        )

    def numbers(self, column: str) -> tuple[float, ...]:
        """The numbers of a cell, apart by blanks; none where the cell is empty.

        Raises:
            InputError: something else stands there.
        """
        try:
            values = tuple(number_of(part) for part in self.cells.get(column, "").split())
        except ValueError:
            values = (math.nan,)
        if not all(map(math.isfinite, values)):
            raise self.fault(column, "numbers")
        return values

    def sizes(self) -> tuple[float, float]:
        """Diameter in mm and volume in mm3; NaN where unknown."""
        diameter_mm, volume_mm3 = self._size(DIAMETER, LARGEST_MM), self._size(VOLUME, LARGEST_MM3)
        share = volume_mm3 / (math.pi / 6 * diameter_mm**3)
        if not math.isnan(share) and not LEAST_OF_BALL <= share <= MOST_OF_BALL:
            ball_mm = sphere_diameter_mm(volume_mm3)
            raise self.fault(VOLUME, f"that of a nodule of {diameter_mm:g} mm (as a ball it measures {ball_mm:.1f} mm)")
        return diameter_mm, volume_mm3

    def _size(self, column: str, most: float) -> float:
        values = self.numbers(column)
        if len(values) > 1 or any(not 0 < value <= most for value in values):
            raise self.fault(column, f"one number above 0 and not over {most:g}")
        if any(value < SMALLEST for value in values):
            raise self.fault(column, f"at least {SMALLEST:g} ({OTHER_UNIT[column]})")
        return values[0] if values else math.nan

    def codes(self, column: str, sign: Attribute) -> tuple[int, ...]:
        values = self.numbers(column)
        if any(value not in sign.codes for value in values):
            scale = ", ".join(f"{code} {text}" for code, text in zip(sign.codes, sign.levels, strict=True))
            raise self.fault(column, f"codes from 1 to {len(sign.codes)} ({scale})")
        return tuple(int(value) for value in values)

    def fold(self) -> int | None:
        if FOLD not in self.cells:
            return None
        values = self.numbers(FOLD)
        if len(values) != 1 or not 0 <= values[0] <= HIGHEST_FOLD or values[0] != int(values[0]):
            raise self.fault(FOLD, f"one whole number from 0 to {HIGHEST_FOLD} in every row")
        return int(values[0])

    def patient(self, image_key: str) -> str:
        if PATIENT not in self.cells:
            return image_key
        if not self.cells[PATIENT]:
            raise self.fault(PATIENT, "given in every row or in none")
        return self.cells[PATIENT]


def _require_one_column_per_sign(file: Path, cells: dict[str, str]) -> None:
    seen: dict[str, str] = {}
    for column in cells:
        if column in SIGN_OF_COLUMN and seen.setdefault(SIGN_OF_COLUMN[column].name, column) != column:
            raise InputError(
                f"{WHAT} {file} has two columns of one sign: '{seen[SIGN_OF_COLUMN[column].name]}' and '{column}'. Keep one."
            )


def _require_sure_commas(file: Path, column: Sequence[str]) -> None:
    """Refuse a column whose commas may stand between two ratings as well as within one number."""
    commas = [part for cell in column for part in cell.split() if "," in part]
    if all(map(TWO_OR_DECIMAL.fullmatch, commas)) and not all(part.endswith(HALF) for part in commas):
        doubtful = next(part for part in commas if not part.endswith(HALF))
        raise InputError(
            f"{WHAT} {file} is ambiguous: the malignancy '{doubtful}' is two ratings or one number. Write '{doubtful.replace(',', ' ')}' "
            f"or '{doubtful.replace(',', '.')}'."
        )


def _is_outcome(file: Path, column: Sequence[tuple[float, ...]]) -> bool:
    """Whether a column of malignancies holds outcomes, not ratings.

    Raises:
        InputError: it holds both, something else, or ones alone, which may be either.
    """
    values = {value for cell in column for value in cell}
    several = any(len(cell) > 1 for cell in column)
    if 0 in values:
        if values <= {0, 1} and not several:
            return True
        others = ", ".join(f"{value:g}" for value in sorted(values - {0, 1})) or "several values in a cell"
        raise InputError(f"{WHAT} {file}: malignancy mixes outcomes (0) with ratings ({others}). {MALIGNANCY_REMEDY}")
    outside = sorted(value for value in values if not LOWEST_RATING <= value <= HIGHEST_RATING)
    if outside:
        raise InputError(
            f"{WHAT} {file}: malignancy holds {outside[0]:g}, which is neither rating nor outcome. {MALIGNANCY_REMEDY}"
        )
    if values == {1} and not several:
        raise InputError(
            f"{WHAT} {file} is ambiguous: every malignancy is 1, the lowest rating or the outcome 'malignant'. Add cases of the other "
            "kind; write ratings of several readers with blanks between them ('1 1')."
        )
    if values == {1, 2} and not several:
        raise InputError(
            f"{WHAT} {file} is ambiguous: every malignancy is 1 or 2, low ratings or codes of two outcomes. Write outcomes as 0 (benign) and "
            "1 (malignant); write ratings of several readers with blanks between them ('1 2'), or add cases of other ratings."
        )
    return False


def _case(row: CohortRow, cells: _Cells, folder: Path, is_outcome: bool) -> Case:
    values = cells.numbers(MALIGNANCY)
    ratings = {sign.name: () for sign in ATTRIBUTES} | {
        sign.name: cells.codes(column, sign) for column, sign in SIGN_OF_COLUMN.items() if column in cells.cells
    }
    by_outcome = is_outcome and bool(values)
    diameter_mm, volume_mm3 = cells.sizes()
    return Case(
        row=row,
        patient_id=cells.patient(_image_key(row, folder)),
        fold=cells.fold(),
        malignancy=OUTCOME_RATINGS[int(values[0])] if by_outcome else _mean(values),
        truth=OUTCOME if by_outcome else READERS,
        n_readers=0 if by_outcome else len(values) or max(map(len, ratings.values())),
        ratings=ratings,
        diameter_mm=diameter_mm,
        volume_mm3=volume_mm3,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _image_key(row: CohortRow, folder: Path) -> str:
    """One name for one image, however its path is written and whatever links lead to it; the row's own name where it names none."""
    if row.image_path is None:
        return row.row_id
    try:
        return Path(os.path.relpath(os.path.realpath(row.image_path), os.path.realpath(folder))).as_posix()
    except ValueError:  # On another drive.
        return row.image_path.as_posix()


def _require_one_value(file: Path, owner: str, pairs: Iterable[tuple[str, object]], column: str) -> None:
    """A patient in two folds, or two patients of one image, would be learned from and judged by the same network."""
    seen: dict[str, object] = {}
    for name, value in pairs:
        if seen.setdefault(name, value) != value:
            raise InputError(
                f"{WHAT} {file}: the {owner} '{name}' has two values of {column} ({seen[name]} and {value}). Give it one."
            )
