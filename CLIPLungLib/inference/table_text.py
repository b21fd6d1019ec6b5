"""A table as text, as spreadsheets save it: UTF-8 or UTF-16; commas, semicolons or tabs; blank rows and a line that names the separator."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Set
from pathlib import Path
from typing import NamedTuple

from CLIPLungLib.errors import InputError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
OTHER_SEPARATORS = {"|": "bars ('|')", ":": "colons", " ": "blanks"}
# The first line by which spreadsheets name the separator.
SEPARATOR_LINE = re.compile(r'\s*"?sep=([^\r\n])"?[,;\t ]*(\r\n|\r|\n)', re.IGNORECASE)
# The first bytes of .xlsx and .ods, and of .xls.
SPREADSHEET_BYTES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


class Record(NamedTuple):
    """The cells of one row without blanks around them, the line of the file it ends in, and what separates them there."""

    line: int
    cells: list[str]
    separator: str = ","


def read_records(file: Path, known_columns: Set[str], what: str = "Cohort") -> list[Record]:
    """Every record that is not blank, one at least: the first one holds the names of the columns.

    Args:
        file: of the table.
        known_columns: lower-case names, by which the separator is found.
        what: the table is called in errors.

    Raises:
        InputError: no such file, an empty one, no text, another separator, or a quotation mark that is not closed.
    """
    text = _text(file, what)
    named = SEPARATOR_LINE.match(text)
    if named:
        separator, text, lines_before = named[1], text[named.end() :], len(named[0].splitlines())
    else:
        separator, lines_before = _separator(file, text, known_columns, what), 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    records = []
    try:
        for cells in reader:
            if any("\n" in cell for cell in cells) and text.count('"') % 2:
                raise _not_closed(file, reader.line_num + lines_before, what)
            if any(cell.strip() for cell in cells):
                records.append(Record(reader.line_num + lines_before, [cell.strip() for cell in cells], separator))
    except csv.Error as error:
        raise InputError(f"{what} {file} cannot be read: {error} (line {reader.line_num}). Save it as CSV.") from error
    if not records:
        raise InputError(f"{what} {file} has no rows.")
    _require_one_line(file, records, known_columns, what)
    return records


def column_name(cell: str) -> str:
    """A name as it is compared: without blanks and quotation marks around it, in lower case."""
    return cell.strip().strip('"').strip().lower()


def _text(file: Path, what: str) -> str:
    try:
        raw = file.read_bytes()
        text = "" if raw.startswith(SPREADSHEET_BYTES) else raw.decode(_encoding(raw))
    except (OSError, ValueError) as error:
        raise InputError(f"{what} {file} cannot be read: {error}. It must be a CSV file in UTF-8 or UTF-16.") from error
    if raw.startswith(SPREADSHEET_BYTES):
        raise InputError(f"{what} {file} is a spreadsheet, not a table as text. Save it as CSV in UTF-8.")
    if "\0" in text:
        raise InputError(f"{what} {file} holds zero bytes: it is damaged or no text. Save it again as CSV in UTF-8.")
    return text


def _encoding(raw: bytes) -> str:
    """UTF-8, unless the first bytes are those of UTF-16, in which spreadsheets save "Unicode text"."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if raw[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if raw[:1] == b"\0" else "utf-8-sig"


def _separator(file: Path, text: str, known_columns: Set[str], what: str) -> str:
    """The separator that finds most known names in the first line that is not blank."""
    first = next((line for line in text.splitlines() if line.strip(",; \t")), "")

    def found(separator: str) -> int:
        return len(known_columns & {column_name(cell) for cell in first.split(separator)})

    separator = max([*SEPARATORS, *OTHER_SEPARATORS], key=found)
    if separator in OTHER_SEPARATORS and found(separator) > 1:
        raise InputError(
            f"{what} {file}: its columns are separated by {OTHER_SEPARATORS[separator]}. "
            f"Separate them by {', '.join(SEPARATORS.values())}."
        )
    return separator if separator in SEPARATORS else ","


def _require_one_line(file: Path, records: list[Record], known_columns: Set[str], what: str) -> None:
    """A known column holds no line breaks; one that does has swallowed the rows up to the next quotation mark."""
    known = [index for index, cell in enumerate(records[0].cells) if column_name(cell) in known_columns]
    for record in records:
        if any(len(record.cells[index].splitlines()) > 1 for index in known if index < len(record.cells)):
            raise _not_closed(file, record.line, what)


def _not_closed(file: Path, line: int, what: str) -> InputError:
    return InputError(
        f"{what} {file}: a quotation mark is opened and not closed before line {line}. Close or remove it."
    )
