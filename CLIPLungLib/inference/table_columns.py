"""Where the columns of a cohort table stand, by the names in its first line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.table_point import AXES_COLUMNS, POINT_COLUMNS, Signs, axes_of, without_unit
from CLIPLungLib.inference.table_text import Record, column_name

COHORT_COLUMNS = ("id", "image", "r", "a", "s")
SERIES_COLUMN, PATIENT_COLUMN = "seriesuid", "patient_id"
# Its names elsewhere; the first is DICOM's.
SERIES_NAMES = frozenset(
    {"seriesinstanceuid", "series_instance_uid", "series instance uid", "series_uid", "series uid"}
)
# DICOM's name of a patient.
PATIENT_NAMES = frozenset({"patientid", "patient id"})
KNOWN_COLUMNS = {
    *COHORT_COLUMNS,
    SERIES_COLUMN,
    *SERIES_NAMES,
    *AXES_COLUMNS,
    *(name for names in POINT_COLUMNS for name in names),
}


@dataclass(frozen=True)
class Columns:
    """Where the columns of a cohort table stand.

    Attributes:
        names: of all cells of the first line, see `names_of`; empty where a cell is.
        row_id: None where ids are made from the series.
        image: the image, or the series UID it is named after.
        is_series: the image is named by its series UID.
        series: the series UID beside a named image; None without one.
        point: the three coordinates.
        point_names, signs: what they are called, and what makes them RAS.
        axes: the column that states the axes of each point; None without one.
        further: name of a further column -> its place.
    """

    names: tuple[str, ...]
    row_id: int | None
    image: int
    is_series: bool
    series: int | None
    point: tuple[int, int, int]
    point_names: tuple[str, str, str]
    signs: Signs
    axes: int | None
    further: dict[str, int]

    @property
    def count(self) -> int:
        """Named columns."""
        return max(index for index, name in enumerate(self.names) if name) + 1

    @property
    def width(self) -> int:
        """All cells of the first line."""
        return len(self.names)

    @property
    def frame(self) -> str:
        """The axes the table states its points in."""
        return axes_of(self.signs)

    @property
    def unused(self) -> tuple[str, ...]:
        """Names of the columns that are neither known nor further."""
        return tuple(name for name in self.names if name and name not in KNOWN_COLUMNS and name not in self.further)


def names_of(header: Sequence[str]) -> list[str]:
    """The names of columns as they are compared: in lower case, those of series and patient as CLIPLung calls them."""
    names = [without_unit(column_name(cell)) for cell in header]
    names = [SERIES_COLUMN if name in SERIES_NAMES else name for name in names]
    if PATIENT_COLUMN not in names:
        names = [PATIENT_COLUMN if name in PATIENT_NAMES else name for name in names]
    return names


def find_columns(file: Path, header: Sequence[str], further: Set[str], what: str) -> Columns:
    """Where the columns stand.

    Args:
        file: of the table, for messages.
        header: cells of its first line.
        further: lower-case names of columns that may be there.
        what: the table is called in errors.

    Raises:
        InputError: missing or doubled columns, or two kinds of points.
    """
    names = names_of(header)
    _require_each_once(file, names, what)
    points = [point for point in POINT_COLUMNS if set(point) <= set(names)]
    # r, a and s say all; l and p beside them are something else.
    points = [point for point in points if point[0] != "l" or ("r", "a", "s") not in points]
    if len(points) > 1:
        raise InputError(
            f"{what} {file} is ambiguous: it has the columns {', '.join(points[0])} and {', '.join(points[1])}. Keep those of one point."
        )
    is_series = "image" not in names and SERIES_COLUMN in names
    point = points[0] if points else max(POINT_COLUMNS, key=lambda point: len(set(point) & set(names)))
    needed = ([] if is_series else ["id", "image"]) + list(point)
    missing = [name for name in needed if name not in names]
    if missing:
        raise InputError(
            f"{what} {file} lacks the column(s) {', '.join(missing)}; it needs {','.join(COHORT_COLUMNS)}, separated by commas."
        )
    first, second, third = (names.index(name) for name in point)
    return Columns(
        names=tuple(names),
        row_id=names.index("id") if "id" in names else None,
        image=names.index(SERIES_COLUMN if is_series else "image"),
        is_series=is_series,
        series=None if is_series or SERIES_COLUMN not in names else names.index(SERIES_COLUMN),
        point=(first, second, third),
        point_names=point,
        signs=POINT_COLUMNS[point],
        axes=next((index for index, name in enumerate(names) if name in AXES_COLUMNS), None),
        further={name: index for index, name in enumerate(names) if name in further},
    )


def _require_each_once(file: Path, names: Sequence[str], what: str) -> None:
    doubled = [name for name, times in Counter(names).items() if name and times > 1]
    if doubled:
        raise InputError(
            f"{what} {file} has more than one column '{doubled[0]}'. Every column needs a name of its own."
        )


def without_headers(file: Path, records: Sequence[Record], columns: Columns, what: str) -> list[Record]:
    """The rows without repetitions of the first line, which tables have that were put together from several.

    Raises:
        InputError: a line names the columns anew, and in another way: the rows below it would be misread.
    """
    rows = []
    for record in records:
        names = names_of(record.cells)
        if not any(set(point) <= set(names) for point in POINT_COLUMNS):
            rows.append(record)
        elif [name for name in names if name] != [name for name in columns.names if name]:
            raise InputError(
                f"{what} {file}, line {record.line}, names the columns anew and otherwise than the first line: these are two tables in one "
                "file. Make a file of each."
            )
    return rows
