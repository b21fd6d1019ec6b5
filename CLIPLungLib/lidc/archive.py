"""Finds the series of LIDC-IDRI in a folder of any layout: DICOM files by their UID, LUNA16 files by their name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom.header import is_dicom
from CLIPLungLib.image.dicom.search import UID_WITHIN_BYTES, files_below

# The archive holds a quarter of a million files; several copies and other collections may lie beside it.
MOST_FILES = 5_000_000
FILES_PER_REPORT = 200
FIRST_BYTES = 4096
# SeriesInstanceUID, little endian, with and without its type. Segmentations name the series they are of before their own.
SERIES_UID = re.compile(rb"\x20\x00\x0e\x00(?:UI..|..\x00\x00)([0-9.]{1,64})", re.DOTALL)
LUNA16_SUFFIX = ".mhd"

Progress = Callable[[int, int, str], None]


@dataclass
class SeriesFiles:
    """The files of one series.

    Attributes:
        dicom: its DICOM files and those that name it; copies included.
        volume: LUNA16's file of it; None without one.
    """

    dicom: list[Path] = field(default_factory=list)
    volume: Path | None = None

    def fingerprint(self) -> str:
        """Changes with the names, sizes and modification times of the files."""
        digest = hashlib.sha256()
        for path in sorted([*self.dicom, *([self.volume] if self.volume else [])]):
            status = path.stat()
            digest.update(
                f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape")
            )
        return digest.hexdigest()


@dataclass(frozen=True)
class Archive:
    """A folder of scans.

    Attributes:
        series: UID -> its files, of the wanted series.
        unreadable: file -> why it could not be looked at.
    """

    series: dict[str, SeriesFiles]
    unreadable: dict[Path, str]


def find_series(folder: Path, wanted: Collection[str], progress: Progress | None = None) -> Archive:
    """Search a folder recursively for series. Reads only the start of DICOM files.

    Args:
        wanted: SeriesInstanceUIDs.
        progress: called as (files seen, files in all, name) now and then.

    Raises:
        InputError: no such folder, no file, or none of the wanted series.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder '{folder}'. Give the folder with the DICOM files of LIDC-IDRI.")
    paths = files_below(folder, MOST_FILES)
    found, other, unreadable = dict[str, SeriesFiles](), set[str](), dict[Path, str]()
    for done, path in enumerate(paths, start=1):
        try:
            uids = _named_series(path)
        except (InputError, OSError) as error:
            unreadable[path] = str(error)
            uids = set()
        for uid in uids:
            if uid not in wanted:
                other.add(uid)
            elif path.suffix.lower() == LUNA16_SUFFIX:
                files = found.setdefault(uid, SeriesFiles())
                files.volume = files.volume or path
            else:
                found.setdefault(uid, SeriesFiles()).dicom.append(path)
        if progress and (done % FILES_PER_REPORT == 0 or done == len(paths)):
            progress(done, len(paths), "")
    if not found:
        raise InputError(_nothing_found(folder, len(paths), len(other), unreadable))
    return Archive(found, unreadable)


def _named_series(path: Path) -> set[str]:
    """UIDs of series that a file belongs to or refers to.

    Raises:
        InputError: it may not be read.
    """
    if path.suffix.lower() == LUNA16_SUFFIX:
        return {path.stem}
    if not is_dicom(path):
        return set()
    with path.open("rb") as stream:
        head = stream.read(FIRST_BYTES)
        found = SERIES_UID.findall(head)
        if not found:
            found = SERIES_UID.findall(head + stream.read(UID_WITHIN_BYTES - FIRST_BYTES))
    return {uid.decode("ascii") for uid in found}


def _nothing_found(folder: Path, files: int, other: int, unreadable: dict[Path, str]) -> str:
    remedy = "Give the folder into which LIDC-IDRI (or LUNA16) was downloaded and unpacked."
    if not files:
        return f"The folder '{folder}' is empty. {remedy}"
    more = f", and {len(unreadable)} file(s) cannot be read" if unreadable else ""
    return f"'{folder}': found {other} series in {files} file(s), none of LIDC-IDRI's with a nodule{more}. {remedy}"
