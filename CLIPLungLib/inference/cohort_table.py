"""The table of a cohort: which point of which image. Reads what spreadsheets save; a row that cannot be used fails alone."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.table_columns import (
    COHORT_COLUMNS,
    KNOWN_COLUMNS,
    PATIENT_COLUMN,
    SERIES_COLUMN,
    Columns,
    find_columns,
    without_headers,
)
from CLIPLungLib.inference.table_path import exists, path_in_cell
from CLIPLungLib.inference.table_point import Signs, axes_of, is_whole, point_of, signs_of_cell
from CLIPLungLib.inference.table_text import Record, read_records

__all__ = ["COHORT_COLUMNS", "CohortRow", "PointTable", "PriorScan", "has_priors", "read_cohort", "read_point_table"]

# Of an earlier scan; all but the image may be left out or empty.
PRIOR_COLUMNS = ("prior_image", "prior_r", "prior_a", "prior_s", "prior_date", "date")
# Those of them that hold no coordinates.
PUSHED_INTO = frozenset({"prior_image", "prior_date", "date"})
# By which statistics programs say that a value is missing.
MISSING = frozenset({"na", "n/a", "#n/a", "<na>", "nat", "none", "null", "."})
# Where LUNA16 keeps a series, beside its tables.
SERIES_SUFFIXES, SERIES_FOLDERS = (".mhd", ".mha", ".nii.gz", ".nii", ".nrrd", ""), "subset*"
# Ids name heat map files, so they must be file names everywhere.
SAFE_ID = re.compile(r"[^<>:\"/\\|?*\x00-\x1f]{1,120}")
RESERVED_ID = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
LONGEST_ID_BYTES = 200
# What spreadsheets compute, not show; a negative number stays one.
FORMULA = re.compile(r"[=@]|[-+](?!\d+(\.\d+)?$)")
# What decimal commas push out of a point, and no path, date or patient is called.
PUSHED_OUT, PUSHED_OUT_PATIENT = re.compile(r"[-+]\d+|\d{1,3}"), re.compile(r"[-+]\d+")


@dataclass(frozen=True)
class PriorScan:
    """The earlier scan of a row.

    Attributes:
        image_path: of the scan; None where the table names none.
        point_mm: the nodule in it, RAS mm; None where it is to be found.
        current_date, prior_date: as the table writes them; empty where it does not.
        fault: why it cannot be compared; empty if it can.
    """

    image_path: Path | None
    point_mm: tuple[float, float, float] | None
    current_date: str
    prior_date: str
    fault: str = ""


@dataclass(frozen=True)
class CohortRow:
    """One row of the cohort table.

    Attributes:
        row_id: names the row in the results.
        image_path: None where the row names no image.
        point_mm: RAS mm; None where the row gives no numbers.
        fault: why the row cannot be analyzed; empty if it can.
        prior: the earlier scan; None without one.
        series_uid: of the image, or its end, where the table names both; empty where it does not.
    """

    row_id: str
    image_path: Path | None
    point_mm: tuple[float, float, float] | None
    fault: str = ""
    prior: PriorScan | None = None
    series_uid: str = ""

    @property
    def image(self) -> Path:
        """The image.

        Raises:
            InputError: the row names none.
        """
        if self.image_path is None:
            raise InputError(self.fault)
        return self.image_path

    def point_ras(self) -> np.ndarray:
        """(3,) RAS mm.

        Raises:
            InputError: the row gives no point.
        """
        if self.point_mm is None:
            raise InputError(self.fault)
        return np.array(self.point_mm)

    def require_series(self, found_uid: str) -> None:
        """Refuse an image of another series than the row names; `found_uid` is empty for files that know none.

        Raises:
            InputError: it is another one.
        """
        if self.series_uid and found_uid and not found_uid.endswith(self.series_uid):
            raise InputError(
                f"'{self.image}' gave the series {found_uid}, and the column {SERIES_COLUMN} names {self.series_uid}. "
                "Correct the UID, or give the folder of that series as image."
            )


@dataclass(frozen=True)
class PointTable:
    """A table of points with further columns.

    Attributes:
        rows: in the order of the table.
        lines: of the file, one per row.
        cells: one dictionary per row: lower-case name of a further column -> its cell; empty where the row is too short, or says that the value is missing.
        unused: lower-case names of columns that are neither.
    """

    rows: list[CohortRow]
    lines: list[int]
    cells: list[dict[str, str]]
    unused: tuple[str, ...] = ()


def read_cohort(file: Path) -> list[CohortRow]:
    """The rows of a cohort table; images are relative to the table's folder unless absolute.

    The columns are id, image and r, a, s (RAS mm) or x, y, z (LPS mm); or those of LUNA16: seriesuid, coordX, coordY, coordZ (LPS mm).
    They may be separated by commas, semicolons or tabs; a comma within a number is a decimal comma.

    Raises:
        InputError: no such file, no text, missing or doubled columns, two kinds of points, or ids that are empty, unusable as
            file names or not unique.
    """
    table = read_point_table(file, frozenset(PRIOR_COLUMNS))
    unknown = [name for name in table.unused if name.startswith("prior")]
    if unknown:
        raise InputError(
            f"Cohort {file} has the unknown column '{unknown[0]}'. The columns of an earlier scan are {', '.join(PRIOR_COLUMNS)} (RAS mm)."
        )
    folder = Path(file).parent
    return [replace(row, prior=_prior(cells, folder)) for row, cells in zip(table.rows, table.cells, strict=True)]


def has_priors(file: Path) -> bool:
    """Whether a cohort table has a column for earlier scans.

    Raises:
        InputError: as `read_cohort`.
    """
    return any("prior_image" in cells for cells in read_point_table(file, frozenset(PRIOR_COLUMNS)).cells)


def _prior(cells: dict[str, str], folder: Path) -> PriorScan | None:
    """The earlier scan that the further cells of a row name."""
    coordinates = [cells.get(name, "") for name in ("prior_r", "prior_a", "prior_s")]
    if not cells.get("prior_image"):
        fault = "The path of the prior CT (prior_image) is empty, though its point or date is given."
        return PriorScan(None, None, "", "", fault) if any([*coordinates, cells.get("prior_date")]) else None
    point = point_of(coordinates, (1, 1, 1)) if any(coordinates) else None
    fault = ""
    if any(coordinates) and point is None:
        fault = (
            f"prior_r, prior_a, prior_s must be numbers (RAS mm) or all empty, not {', '.join(map(repr, coordinates))}."
        )
    dates = cells.get("date", ""), cells.get("prior_date", "")
    return PriorScan(path_in_cell(cells["prior_image"], folder), point, *dates, fault)


def read_point_table(file: Path, further: Set[str] = frozenset(), what: str = "Cohort") -> PointTable:
    """As `read_cohort`, with the cells of further columns.

    Args:
        file: of the table.
        further: lower-case names of columns that may be there.
        what: the table is called in errors.

    Raises:
        InputError: as `read_cohort`.
    """
    file = Path(file)
    header, *records = read_records(file, KNOWN_COLUMNS | further, what)
    columns = find_columns(file, header.cells, further, what)
    records = without_headers(file, records, columns, what)
    folders = [file.parent, *sorted(file.parent.glob(SERIES_FOLDERS))] if columns.is_series else [file.parent]
    counts: Counter[str] = Counter()
    rows = [_row(record, columns, folders, counts) for record in records]
    lines = [record.line for record in records]
    return PointTable(
        _with_usable_ids(file, rows, lines, what),
        lines,
        [{name: _known(record.cells, index) for name, index in columns.further.items()} for record in records],
        columns.unused,
    )


def _known(cells: Sequence[str], index: int | None) -> str:
    """A further cell; empty without a column, where the row is too short, or where its value is said to be missing."""
    cell = cells[index] if index is not None and index < len(cells) else ""
    return "" if cell.lower() in MISSING else cell


def _row(record: Record, columns: Columns, folders: list[Path], counts: Counter[str]) -> CohortRow:
    """One row; `counts` holds how many rows of a series came before."""
    cells = list(record.cells)
    while len(cells) > columns.count and not cells[-1]:
        cells.pop()
    row_id = _row_id(cells, columns, counts)
    fault = (
        _hidden_count_fault(record, columns) or _count_fault(cells, columns) or _shift_fault(record, columns, folders)
    )
    if fault:
        return CohortRow(row_id if is_usable_id(row_id) else f"line {record.line}", None, None, fault)
    cell = cells[columns.image]
    path = _series_path(cell, folders) if columns.is_series else path_in_cell(cell, folders[0])
    signs = signs_of_cell(_known(cells, columns.axes), columns.signs, columns.point_names)
    if isinstance(signs, str):
        return CohortRow(row_id, path, None, signs)
    point = point_of([cells[index] for index in columns.point], signs)
    faults = []
    if path is None:
        faults.append(
            f"There is no image of the series '{cell}' beside the table. Put {cell}.mhd there, or name a file in a column 'image'."
            if columns.is_series and cell
            else "The path of the CT is empty. Name a file or a DICOM folder."
        )
    if point is None:
        faults.append(_no_numbers(cells, columns, signs))
    return CohortRow(row_id, path, point, " ".join(faults), series_uid=_known(cells, columns.series))


def _no_numbers(cells: Sequence[str], columns: Columns, signs: Signs) -> str:
    values = ", ".join(f"'{cells[index]}'" for index in columns.point)
    return f"{', '.join(columns.point_names)} must be numbers ({axes_of(signs)} mm), not {values}."


def _row_id(cells: list[str], columns: Columns, counts: Counter[str]) -> str:
    if columns.row_id is not None:
        return cells[columns.row_id] if columns.row_id < len(cells) else ""
    series = re.sub(r"[^\w.\-]", "_", cells[columns.image]) if columns.image < len(cells) else ""
    counts[series] += 1
    return f"{series}_{counts[series]}"


def _hidden_count_fault(record: Record, columns: Columns) -> str:
    """What is wrong with a row whose decimal commas filled empty columns behind the point: its surplus cells are empty, too."""
    is_wide = record.separator == "," and len(record.cells) > columns.width and columns.count > max(columns.point) + 1
    if is_wide and all(is_whole(record.cells[index]) for index in columns.point):
        return f"{len(record.cells)} cells for {columns.width} columns: write numbers with a point, or quote them."
    return ""


def _shift_fault(record: Record, columns: Columns, folders: list[Path]) -> str:
    """What is wrong with a row whose decimal commas filled just the columns behind the point, which hold what does not belong there."""
    if record.separator != "," or not all(is_whole(record.cells[index]) for index in columns.point):
        return ""
    for name, index in columns.further.items():
        cell = _known(record.cells, index)
        is_pushed = (
            bool(PUSHED_OUT_PATIENT.fullmatch(cell))
            if name == PATIENT_COLUMN
            else name in PUSHED_INTO and bool(PUSHED_OUT.fullmatch(cell)) and not exists(folders[0] / cell)
        )
        if is_pushed:
            return (
                f"'{cell}' is no {name}: the decimal commas of a point may have moved it there. Write numbers with a point, or quote "
                "them."
            )
    return ""


def _count_fault(cells: list[str], columns: Columns) -> str:
    """What is wrong with a row of too many or too few cells: its values may stand in wrong columns."""
    found = f"{len(cells)} cell{'s' * (len(cells) != 1)} for {columns.count} columns"
    if len(cells) > columns.count:
        return f"{found}: write numbers with a point, or quote them."
    names = dict(zip((columns.image, *columns.point), ("image", *columns.point_names), strict=True))
    missing = [name for index, name in sorted(names.items()) if index >= len(cells)]
    if not missing:
        return ""
    return (
        f"{found}: {', '.join(missing)} missing. {', '.join(columns.point_names)} must be numbers ({columns.frame} mm)."
    )


def _series_path(series: str, folders: list[Path]) -> Path | None:
    """The file or folder named after a series UID; None without a UID."""
    paths = (folder / f"{series}{suffix}" for folder in folders for suffix in SERIES_SUFFIXES if series)
    return next((path for path in paths if exists(path)), None)


def is_usable_id(row_id: str) -> bool:
    """Whether an id can name a file on every system."""
    return (
        bool(SAFE_ID.fullmatch(row_id))
        and row_id.strip(". ") != ""
        and not RESERVED_ID.fullmatch(row_id)
        and len(row_id.encode()) <= LONGEST_ID_BYTES
    )


def _with_usable_ids(file: Path, rows: list[CohortRow], lines: list[int], what: str) -> list[CohortRow]:
    """The rows, each with an id of its own that can name a file; rows of too many or few cells are named by their line if need be."""
    if not rows:
        raise InputError(f"{what} {file} has no rows.")
    seen: dict[str, int] = {}
    checked = []
    for row, line in zip(rows, lines, strict=True):
        if not is_usable_id(row.row_id):
            raise InputError(
                f"{what} {file}: the id '{row.row_id}' (line {line}) cannot be a file name. Use letters, digits, '-', '_' and '.'."
            )
        # Some file systems take "A" and "a", or two spellings of an accent, for the same name.
        same = unicodedata.normalize("NFC", row.row_id).casefold()
        if same in seen and row.image_path is None and row.point_mm is None:
            row, same = replace(row, row_id=f"line {line}"), f"line {line}"
        if same in seen:
            raise InputError(
                f"{what} {file}: the id '{row.row_id}' occurs more than once (lines {seen[same]} and {line}). Every row needs an id of its own."
            )
        if FORMULA.match(row.row_id):
            raise InputError(
                f"{what} {file}: the id '{row.row_id}' (line {line}) is a formula to spreadsheets, which would show something else in the "
                "results. Begin it with a letter or a digit."
            )
        seen[same] = line
        checked.append(row)
    return checked
