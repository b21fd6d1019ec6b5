"""Paths as tables hold them: relative to the table, with ~ or quotation marks, as file: address, or with the backslashes of Windows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

# file:///data/ct.nrrd, file://localhost/data/ct.nrrd, file:/data/ct.nrrd; Windows puts a drive behind the last slash.
FILE_ADDRESS = re.compile(r"file:(?://(?:localhost)?)?(?=/)", re.IGNORECASE)
DRIVE = re.compile(r"/(?=[a-z]:)", re.IGNORECASE)
HOME = re.compile(r"~(?=$|[/\\])")


def path_in_cell(cell: str, folder: Path) -> Path | None:
    """The file or folder that a cell names; None where it names none.

    Args:
        cell: of a table.
        folder: of the table, where relative paths begin.
    """
    # "Copy as path" in Windows puts quotation marks around a path.
    text = cell.strip().strip('"').strip()
    if address := FILE_ADDRESS.match(text):
        text = DRIVE.sub("", unquote(text[address.end() :]), count=1)
    text = in_home(text)
    if os.sep == "/" and "\\" in text and not exists(folder / text):
        slashed = text.replace("\\", "/")
        text = slashed if exists(folder / slashed) else text
    return folder / text if text else None


def in_home(text: str) -> str:
    """The text with a leading ~ as the user's home folder, as shells read it."""
    return HOME.sub(lambda _: str(Path.home()), text, count=1) if HOME.match(text) else text


def exists(path: Path) -> bool:
    """Whether there is something of that name; never for names that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
