"""Tables in Markdown, and replacing the text between two marks of a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import InputError


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; every row has as many cells as the header."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_between_marks(page: Path, marks: tuple[str, str], text: str) -> None:
    """Replace the text between the marks of a page.

    Args:
        page: in UTF-8.
        marks: the lines before and after.
        text: without a line break at its end.

    Raises:
        InputError: the page cannot be read or written, or does not have these marks once each, in this order.
    """
    begin, end = marks
    try:
        found = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The page {page} cannot be read ({error}). Name a page of text in UTF-8.") from error
    if found.count(begin) != 1 or found.count(end) != 1 or found.index(begin) > found.index(end):
        raise InputError(f"{page} needs the lines {begin} and {end}, once each, around its table.")
    before, after = found.split(begin)[0], found.split(end)[1]
    with writing(page) as temporary:
        temporary.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
