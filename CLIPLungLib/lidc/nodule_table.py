"""The nodule table: one row per nodule with every reader's ratings, its patient fold, and the images that exist of it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.vocabulary import ATTRIBUTES, malignancy_class

TABLE_NAME = "nodules.csv"
IMAGE_KINDS = ("volume", "cube", "crop")


@dataclass(frozen=True, eq=False)
class LidcNodule:
    """One nodule as its readers saw it.

    Attributes:
        nodule_id, patient_id: identifiers.
        fold: 0..4, fixed by patient.
        n_readers: how many rated it.
        diameter_mm: mean diameter from the readers' contours (privileged: not available at the desk).
        volume_mm3: likewise.
        malignancy: mean rating 1..5.
        ratings: attribute name -> every reader's code.
        point_ras: (3,) a click on the nodule in the frame of `volume`; None without a volume.
        images: kind ("volume", "cube", "crop", "mask") -> file relative to the table.
        slice_index: row of `slices.npz`; None without one.
        slice_pixel_mm: pixel size of that slice.
    """

    nodule_id: str
    patient_id: str
    fold: int
    n_readers: int
    diameter_mm: float
    volume_mm3: float
    malignancy: float
    ratings: dict[str, tuple[int, ...]]
    point_ras: tuple[float, float, float] | None
    images: dict[str, str]
    slice_index: int | None
    slice_pixel_mm: float

    @property
    def label(self) -> int:
        """Index into attributes.CLASSES."""
        return malignancy_class(self.malignancy)

    def mean_rating(self, attribute: str) -> float:
        """Mean of the readers' codes."""
        return float(np.mean(self.ratings[attribute]))

    def level_shares(self) -> np.ndarray:
        """(M,) share of readers per level, for the levels of all attributes one after the other; each attribute sums to 1.

        A code outside the scale (the database holds one) does not count; with no other, the attribute's shares are 0.
        """
        shares = []
        for attribute in ATTRIBUTES:
            levels = len(attribute.levels)
            counts = np.bincount(self.ratings[attribute.name], minlength=levels + 1)[1 : levels + 1]
            shares.append(counts / max(1, counts.sum()))
        return np.concatenate(shares).astype(np.float32)


def read_nodules(folder: Path) -> list[LidcNodule]:
    """All nodules of a prepared LIDC folder.

    Raises:
        InputError: no table there, or a row that cannot be read (named).
    """
    table = Path(folder) / TABLE_NAME
    if not table.is_file():
        raise InputError(f"No {TABLE_NAME} in {folder}. Give the folder that holds the LIDC-IDRI nodule table.")
    with table.open(newline="", encoding="utf-8") as stream:
        return [_nodule(row, line) for line, row in enumerate(csv.DictReader(stream), start=2)]


def _nodule(row: dict[str, str], line: int) -> LidcNodule:
    try:
        return LidcNodule(
            nodule_id=row["nodule_id"],
            patient_id=row["patient_id"],
            fold=int(row["fold"]),
            n_readers=int(row["n_readers"]),
            diameter_mm=float(row["diameter_mm"]),
            volume_mm3=float(row["volume_mm3"]),
            malignancy=float(row["malignancy_mean"]),
            ratings={a.name: tuple(int(code) for code in row[a.name].split()) for a in ATTRIBUTES},
            point_ras=_point(row["point_ras"]),
            images={kind: row[kind] for kind in (*IMAGE_KINDS, "mask") if row[kind]},
            slice_index=int(row["slice_index"]) if row["slice_index"] else None,
            slice_pixel_mm=float(row["slice_pixel_mm"] or "nan"),
        )
    except (KeyError, ValueError) as error:
        raise InputError(f"{TABLE_NAME}, line {line}: cannot be read ({error}).") from error


def _point(text: str) -> tuple[float, float, float] | None:
    if not text:
        return None
    r, a, s = (float(value) for value in text.split())
    return r, a, s
