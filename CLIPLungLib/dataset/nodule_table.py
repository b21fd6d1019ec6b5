"""The nodule table: one row per nodule with every reader's ratings, its patient fold, and the images that exist of it."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, ATTRIBUTES, malignancy_class

TABLE_NAME = "nodules.csv"
IMAGE_KINDS = ("volume", "cube", "crop")
# The readers' outline on the grid of the volume, and on that of the crop.
MASK_KINDS = ("mask", "crop_mask")
COLUMNS = (
    *("nodule_id", "patient_id", "fold", "n_readers", "diameter_mm", "volume_mm3", "malignancy_mean"),
    *ATTRIBUTE_NAMES,
    *(*IMAGE_KINDS, *MASK_KINDS, "point_ras", "slice_index", "slice_pixel_mm"),
)
REMEDY = (
    "Give the folder of the LIDC-IDRI nodule table, with all readers' ratings; for nodules of your own, 'cliplung batch' takes a "
    "table with the columns id,image,r,a,s."
)


@dataclass(frozen=True, eq=False)
class Nodule:
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
        images: kind of IMAGE_KINDS or MASK_KINDS -> file relative to the table.
        slice_index: row of `slices.npz`; None without one.
        slice_pixel_mm: pixel size of that slice; NaN without one.
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
        """Index into vocabulary.CLASSES."""
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


def read_nodules(folder: Path) -> list[Nodule]:
    """All nodules of a prepared LIDC folder.

    Raises:
        InputError: no table there, another table, or a row that cannot be read (named by its line).
    """
    table = Path(folder) / TABLE_NAME
    if not table.is_file():
        raise InputError(f"No {TABLE_NAME} in {folder}. Give the folder that holds the LIDC-IDRI nodule table.")
    try:
        # Spreadsheet programs put a byte-order mark before the first name.
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            _require_columns(table, reader.fieldnames or ())
            nodules = [_nodule(table, row, reader.line_num) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table} cannot be read as a table in UTF-8 ({error}). {REMEDY}") from error
    if not nodules:
        raise InputError(f"{table} holds no nodule. {REMEDY}")
    _require_one_fold_per_patient(table, nodules)
    return nodules


def _require_columns(table: Path, found: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in found and name != "crop_mask"]
    if missing:
        raise InputError(f"{table} is not the LIDC-IDRI nodule table: it lacks {_listed(missing)}. {REMEDY}")


def _listed(columns: Sequence[str]) -> str:
    return ("the column " if len(columns) == 1 else "the columns ") + ", ".join(columns)


def _require_one_fold_per_patient(table: Path, nodules: Sequence[Nodule]) -> None:
    """A patient in two folds would be learned from and judged by the same network."""
    fold_of_patient: dict[str, int] = {}
    for nodule in nodules:
        if fold_of_patient.setdefault(nodule.patient_id, nodule.fold) != nodule.fold:
            raise InputError(f"{table}: patient {nodule.patient_id} is in two folds. Give each patient one fold.")


def _nodule(table: Path, row: dict[str, str], line: int) -> Nodule:
    try:
        # csv gives None for the cells of a short row, and puts those of a long one under None.
        if None in row or None in row.values():
            raise ValueError("it has more or fewer cells than the table has columns")
        return Nodule(
            nodule_id=_text(row, "nodule_id"),
            patient_id=_text(row, "patient_id"),
            fold=_whole(row, "fold", least=0),
            n_readers=_whole(row, "n_readers", least=1),
            diameter_mm=_number(row, "diameter_mm", above=0.0),
            volume_mm3=_number(row, "volume_mm3", above=0.0),
            malignancy=_mean_malignancy(row),
            ratings={name: _codes(row, name) for name in ATTRIBUTE_NAMES},
            point_ras=_point(row),
            images={kind: row[kind] for kind in (*IMAGE_KINDS, *MASK_KINDS) if row.get(kind)},
            slice_index=_whole(row, "slice_index", least=0) if row["slice_index"] else None,
            slice_pixel_mm=_number(row, "slice_pixel_mm", above=0.0) if row["slice_index"] else math.nan,
        )
    except ValueError as error:
        raise InputError(f"{table}, line {line}: {error}. Mend the row or remove it.") from error


def _text(row: dict[str, str], column: str) -> str:
    if not row[column].strip():
        raise ValueError(f"{column} is empty")
    return row[column]


def _whole(row: dict[str, str], column: str, least: int) -> int:
    try:
        value = int(row[column])
    except ValueError:
        value = least - 1
    if value < least:
        raise ValueError(f"{column} must be a whole number of at least {least}, not '{row[column]}'")
    return value


def _number(row: dict[str, str], column: str, above: float) -> float:
    value = _finite(row[column])
    if value is None or value <= above:
        raise ValueError(f"{column} must be a number above {above:g}, not '{row[column]}'")
    return value


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _mean_malignancy(row: dict[str, str]) -> float:
    value = _finite(row["malignancy_mean"])
    if value is None or not 1.0 <= value <= 5.0:
        raise ValueError(f"malignancy_mean must be a rating from 1 to 5, not '{row['malignancy_mean']}'")
    return value


def _codes(row: dict[str, str], attribute: str) -> tuple[int, ...]:
    """One digit per reader; a digit outside the attribute's scale is kept, for the database holds one."""
    cells = row[attribute].split()
    if not cells or not all(len(cell) == 1 and cell in "123456789" for cell in cells):
        raise ValueError(f"{attribute} must be one code per reader, such as '3 4 4', not '{row[attribute]}'")
    return tuple(int(cell) for cell in cells)


def _point(row: dict[str, str]) -> tuple[float, float, float] | None:
    if not row["point_ras"].strip():
        if row["volume"]:
            raise ValueError("there is a volume, but no point_ras in it")
        return None
    values = [_finite(cell) for cell in row["point_ras"].split()]
    if len(values) != 3 or None in values:
        raise ValueError(f"point_ras must be three numbers, not '{row['point_ras']}'")
    r, a, s = (float(value) for value in values if value is not None)
    return r, a, s
