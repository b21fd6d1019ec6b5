"""Which files to look at: a folder with all below it, or the files that belong to one file's series. Links are followed once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.regular_file import is_regular

MOST_FILES_OF_STUDY = 100_000
# Around one file: a CD's folders hold some thousand; a home directory is not searched to its end.
MOST_FILES_AROUND = 20_000
# A UID stands among the first elements of a file, long before the pixels.
UID_WITHIN_BYTES = 1 << 16


def files_below(folder: Path, most: int) -> list[Path]:
    """The regular files in a folder and its subfolders, each once, sorted.

    Raises:
        InputError: there are more than `most`.
    """
    files = []
    for path in _walk(folder):
        files.append(path)
        if len(files) > most:
            raise InputError(
                f"The folder '{folder.name or folder}' holds more than {most} files. Give the folder of the CT series."
            )
    return sorted(files)


def files_beside(file: Path) -> list[Path]:
    """The regular files in a file's own folder, sorted; of a link also those beside the file it leads to."""
    found: dict[tuple[int, int] | str, Path] = {}
    for folder in (file.parent, file.resolve().parent):
        for path in _children(folder) or [file]:
            if is_regular(path):
                found.setdefault(_identity(path), path)
    return sorted(found.values())


def series_files_around(file: Path, series_uid: str) -> tuple[list[Path], bool]:
    """Files in the folders below and beside a file's own that hold its series' UID; and whether all were seen."""
    own = {file.parent.resolve(), file.resolve().parent}
    places = own | {folder.parent for folder in own}
    folders = {path.resolve() for place in places for path in _children(place) if path.is_dir()} - own
    found: list[Path] = []
    seen = 0
    for folder in sorted(folders):
        for path in _children(folder):
            seen += 1
            if seen > MOST_FILES_AROUND:
                return found, False
            if is_regular(path) and _holds(path, series_uid.encode("ascii", "ignore")):
                found.append(path)
    return found, True


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []  # A neighbour's folder.


def _walk(folder: Path) -> Iterator[Path]:
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        identity = _identity(Path(place))
        if identity in seen:
            folders.clear()  # A link back to a folder above, or a second way to this one.
            continue
        seen.add(identity)
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if is_regular(path) and (identity := _identity(path)) not in seen:
                seen.add(identity)
                yield path


def _identity(path: Path) -> tuple[int, int] | str:
    try:
        status = path.stat()
    except OSError:
        return str(path)
    return (status.st_dev, status.st_ino) if status.st_ino else str(path)


def _holds(path: Path, uid: bytes) -> bool:
    try:
        with path.open("rb") as stream:
            return uid in stream.read(UID_WITHIN_BYTES)
    except OSError:
        return False
