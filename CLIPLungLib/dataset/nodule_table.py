"""The nodule table: one row per nodule with every reader's ratings, its patient fold, and the images that exist of it."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.calibration import truth as truths
from CLIPLungLib.dataset.case_doubles import spelled
from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.case import LARGEST_MM, LARGEST_MM3, LEAST_OF_BALL, MOST_OF_BALL, SMALLEST_MM, SMALLEST_MM3
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, ATTRIBUTES, malignancy_class

TABLE_NAME = "nodules.csv"
IMAGE_KINDS = ("volume", "cube", "crop")
# The readers' outline on the grid of the volume, and on that of the crop.
MASK_KINDS = ("mask", "crop_mask")
# Every reader's own malignancy code, beside their mean.
MALIGNANCY = "malignancy"
# Whose word the malignancy is: the mean of readers' ratings, or what pathology or follow-up found.
READERS, OUTCOME = truths.READERS, truths.OUTCOME
# Where an outcome (benign, malignant) stands on the readers' scale.
OUTCOME_RATINGS = (1.0, 5.0)
COLUMNS = (
    *("nodule_id", "patient_id", "fold", "n_readers", "diameter_mm", "volume_mm3", "malignancy_mean"),
    *(*ATTRIBUTE_NAMES, MALIGNANCY),
    *(*IMAGE_KINDS, *MASK_KINDS, "point_ras", "slice_index", "slice_pixel_mm", "truth"),
)
OPTIONAL_COLUMNS = ("crop_mask", "truth", MALIGNANCY)
# Enough readers for a mean that figures and calibrations are about, where a table has any nodule with so many.
ENOUGH_READERS = 3
REMEDY = (
    "Give a data folder, as 'cliplung prepare' makes it; of a table of your own cases (id,image,r,a,s,malignancy) make one with "
    "'cliplung prepare TABLE --output DATA'."
)


@dataclass(frozen=True, eq=False)
class Nodule:
    """One nodule as its readers saw it.

    Attributes:
        nodule_id, patient_id: identifiers.
        fold: from 0, fixed by patient.
        n_readers: how many rated it; 0 where the outcome is known instead.
        diameter_mm: mean diameter from the readers' contours (privileged: not available at the desk); NaN where there are none.
        volume_mm3: likewise.
        malignancy: mean rating 1..5, or the OUTCOME_RATINGS of a known outcome; NaN where nothing is known.
        ratings: attribute name -> every reader's code; empty where nobody rated it.
        point_ras: (3,) a click on the nodule in the frame of `volume`; None without a volume.
        images: kind of IMAGE_KINDS or MASK_KINDS -> file relative to the table.
        slice_index: row of `slices.npz`; None without one.
        slice_pixel_mm: pixel size of that slice; NaN without one.
        truth: whose word `malignancy` is: READERS or OUTCOME.
        malignancy_ratings: every reader's code, 1..5; empty where only their mean is known.
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
    truth: str = READERS
    malignancy_ratings: tuple[int, ...] = ()

    @property
    def has_malignancy(self) -> bool:
        """Whether a rating or an outcome is known."""
        return not math.isnan(self.malignancy)

    @property
    def label(self) -> int:
        """Index into vocabulary.CLASSES; only where `has_malignancy`."""
        return malignancy_class(self.malignancy)

    def vote_shares(self) -> np.ndarray:
        """(4,) share of the readers' votes above 1, 2, 3 and 4; a mean alone counts as votes of its two neighbours."""
        cuts = np.arange(1, 5)
        if self.malignancy_ratings and self.truth == READERS:
            return np.asarray((np.array(self.malignancy_ratings)[:, None] > cuts).mean(axis=0))
        return np.asarray(np.clip(self.malignancy - cuts, 0, 1))

    def mean_rating(self, attribute: str) -> float:
        """Mean of the readers' codes; NaN without any."""
        codes = self.ratings[attribute]
        return float(np.mean(codes)) if codes else math.nan

    def level_shares(self) -> np.ndarray:
        """(M,) share of readers per level, for the levels of all attributes one after the other; each attribute sums to 1.

        A code outside the scale (LIDC's database holds one) does not count; with no other, the attribute's shares are 0.
        """
        shares = []
        for attribute in ATTRIBUTES:
            levels = len(attribute.levels)
            codes = np.array(self.ratings[attribute.name], dtype=np.int64)
            counts = np.bincount(codes, minlength=levels + 1)[1 : levels + 1]
            shares.append(counts / max(1, int(counts.sum())))
        return np.concatenate(shares).astype(np.float32)


def fewest_readers(nodules: Sequence[Nodule]) -> int:
    """How many readers a nodule needs to count in calibrations and figures: 3 where any has so many, else 1."""
    return ENOUGH_READERS if any(nodule.n_readers >= ENOUGH_READERS for nodule in nodules) else 1


def is_trusted(nodule: Nodule, readers: int) -> bool:
    """Whether the malignancy of a nodule is known well enough: by so many readers, or by its outcome."""
    return nodule.has_malignancy and (nodule.truth == OUTCOME or nodule.n_readers >= readers)


def read_nodules(folder: Path) -> list[Nodule]:
    """All nodules of a data folder; empty cells are values that nobody knows.

    Raises:
        InputError: no table there, another table, a row that cannot be read (named by its line), or a patient in two folds.
    """
    table = Path(folder) / TABLE_NAME
    if Path(folder).is_file():
        raise InputError(
            f"{folder} is a file, no data folder. Of a table of cases make one with 'cliplung prepare {folder} --output DATA', then give DATA."
        )
    if not table.is_file():
        raise InputError(f"No {TABLE_NAME} in {folder}. {REMEDY}")
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
    _require_one_row_per_nodule(table, nodules)
    return nodules


def _require_columns(table: Path, found: Sequence[str]) -> None:
    found = list(found)
    doubled = [name for name in COLUMNS if found.count(name) > 1]
    if doubled:
        raise InputError(f"{table} has {_listed(doubled)} twice, and only one can count. Remove the other.")
    missing = [name for name in COLUMNS if name not in found and name not in OPTIONAL_COLUMNS]
    if missing:
        raise InputError(f"{table} is no table of a data folder: it lacks {_listed(missing)}. {REMEDY}")


def _listed(columns: Sequence[str]) -> str:
    return ("the column " if len(columns) == 1 else "the columns ") + ", ".join(columns)


def _require_one_fold_per_patient(table: Path, nodules: Sequence[Nodule]) -> None:
    """A patient in two folds would be learned from and judged by the same network."""
    first_of: dict[str, Nodule] = {}
    for nodule in nodules:
        first = first_of.setdefault(spelled(nodule.patient_id), nodule)
        if first.fold != nodule.fold:
            also = "" if first.patient_id == nodule.patient_id else f", once as '{first.patient_id}'"
            raise InputError(f"{table}: patient {nodule.patient_id} is in two folds{also}. Give each patient one fold.")


def _require_one_row_per_nodule(table: Path, nodules: Sequence[Nodule]) -> None:
    """Answers are kept and compared by the nodule's id."""
    seen: set[str] = set()
    for nodule in nodules:
        if nodule.nodule_id in seen:
            raise InputError(f"{table}: nodule {nodule.nodule_id} stands in two rows. Give each nodule one row.")
        seen.add(nodule.nodule_id)


def _nodule(table: Path, row: dict[str, str], line: int) -> Nodule:
    try:
        # csv gives None for the cells of a short row, and puts those of a long one under None.
        if None in row or None in row.values():
            raise ValueError("it has more or fewer cells than the table has columns")
        nodule = Nodule(
            nodule_id=_text(row, "nodule_id"),
            patient_id=_text(row, "patient_id"),
            fold=_whole(row, "fold", least=0),
            n_readers=_whole(row, "n_readers", least=0),
            diameter_mm=_size(row, "diameter_mm"),
            volume_mm3=_size(row, "volume_mm3"),
            malignancy=_mean_malignancy(row),
            ratings={name: _codes(row, name) for name in ATTRIBUTE_NAMES},
            point_ras=_point(row),
            images={kind: row[kind] for kind in (*IMAGE_KINDS, *MASK_KINDS) if row.get(kind)},
            slice_index=_whole(row, "slice_index", least=0) if row["slice_index"] else None,
            slice_pixel_mm=_positive(row, "slice_pixel_mm") if row["slice_index"] else math.nan,
            truth=_truth(row),
            malignancy_ratings=_codes(row, MALIGNANCY) if MALIGNANCY in row else (),
        )
        _require_reader(nodule)
        _require_size_of_nodule(nodule)
    except ValueError as error:
        raise InputError(f"{table}, line {line}: {error}. Mend the row or remove it.") from error
    return nodule


def _require_reader(nodule: Nodule) -> None:
    if nodule.truth == OUTCOME and nodule.malignancy not in OUTCOME_RATINGS:
        raise ValueError(f"malignancy_mean must be one of {OUTCOME_RATINGS} for an outcome, not {nodule.malignancy:g}")
    if nodule.truth == READERS and nodule.has_malignancy and nodule.n_readers < 1:
        raise ValueError("n_readers must be a whole number of at least 1 where readers rated the malignancy, not '0'")


def _require_size_of_nodule(nodule: Nodule) -> None:
    """Refuse lengths in cm and volumes in ml; what is not known is NaN, and passes."""
    for name, value, least, most in (
        ("diameter_mm", nodule.diameter_mm, SMALLEST_MM, LARGEST_MM),
        ("volume_mm3", nodule.volume_mm3, SMALLEST_MM3, LARGEST_MM3),
    ):
        if value < least or value > most:
            raise ValueError(f"{name} must be from {least:g} to {most:g}, not {value:g}")
    share = nodule.volume_mm3 / (math.pi / 6 * nodule.diameter_mm**3)
    if share < LEAST_OF_BALL or share > MOST_OF_BALL:
        raise ValueError(f"volume_mm3 must be that of a nodule of {nodule.diameter_mm:g} mm, not {nodule.volume_mm3:g}")


def _text(row: dict[str, str], column: str) -> str:
    if not row[column].strip():
        raise ValueError(f"{column} is empty")
    return row[column]


def _whole(row: dict[str, str], column: str, least: int) -> int:
    try:
        value = int(row[column]) if "_" not in row[column] else least - 1
    except ValueError:
        value = least - 1
    if value < least:
        raise ValueError(f"{column} must be a whole number of at least {least}, not '{row[column]}'")
    return value


def _positive(row: dict[str, str], column: str) -> float:
    value = _finite(row[column])
    if value is None or value <= 0:
        raise ValueError(f"{column} must be a number above 0, not '{row[column]}'")
    return value


def _size(row: dict[str, str], column: str) -> float:
    return _positive(row, column) if row[column].strip() else math.nan


def _truth(row: dict[str, str]) -> str:
    value = (row.get("truth") or READERS).strip()
    if value not in (READERS, OUTCOME):
        raise ValueError(f"truth must be '{READERS}' or '{OUTCOME}', not '{value}'")
    return value


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _mean_malignancy(row: dict[str, str]) -> float:
    if not row["malignancy_mean"].strip():
        return math.nan
    value = _finite(row["malignancy_mean"])
    if value is None or not 1.0 <= value <= 5.0:
        raise ValueError(f"malignancy_mean must be a rating from 1 to 5, not '{row['malignancy_mean']}'")
    return value


def _codes(row: dict[str, str], attribute: str) -> tuple[int, ...]:
    """One digit per reader; a digit outside the attribute's scale is kept, for the database holds one."""
    cells = row[attribute].split()
    if not all(len(cell) == 1 and cell in "123456789" for cell in cells):
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
