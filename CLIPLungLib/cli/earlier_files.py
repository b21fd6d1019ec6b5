"""Files of an earlier answer in an output folder: beside the numbers of a new one they would be taken for its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from CLIPLungLib.atomic_write import cannot_write, remove_leftovers


def remove_earlier(numbers: Path, text: str, others: Sequence[Path]) -> None:
    """Remove what belongs to other numbers, before anything new is written: a command that is stopped leaves nothing mixed.

    Args:
        numbers: file of the answer; where it holds the same answer already, the others stay.
        text: of the new answer.
        others: files that belong to the answer.

    Raises:
        InputError: a file cannot be removed.
    """
    for file in (numbers, *others):
        # The halves of its own files alone: the folder may be another program's, too.
        remove_leftovers(file)
    if _holds(numbers, text):
        return
    for file in others:
        remove(file)


def remove(file: Path) -> None:
    """Remove a file if it is there.

    Raises:
        InputError: it cannot be removed.
    """
    try:
        file.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise cannot_write(file, error) from error


def _holds(numbers: Path, text: str) -> bool:
    try:
        return numbers.read_text(encoding="utf-8").strip() == text.strip()
    except (OSError, UnicodeDecodeError):
        return False
