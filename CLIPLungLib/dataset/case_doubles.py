"""What stands twice in a table of cases: a patient in two spellings, a nodule in two rows, and a scan under two names."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.cohort_table import CohortRow

# Two nodules are farther apart.
SAME_PLACE_MM = 1.0
# As spreadsheets shorten long numbers: many patients become one.
SHORTENED = re.compile(r"\d(\.\d+)?e\+\d+", re.IGNORECASE)
NUMBERED = re.compile(r"(\D*)(\d+)(\.0)?")
APART = re.compile(r"[\s_-]+")
# Every so many voxels along each axis tell scans apart.
FINGERPRINT_STEP = 4


def require_one_spelling(table: str, patient_ids: Iterable[str]) -> None:
    """Refuse a patient under two ids: the patient would be learned from and judged by the same network.

    Args:
        table: for the message.
        patient_ids: as the table writes them.

    Raises:
        InputError: two ids that differ in case, blanks or leading zeros alone, or one that a spreadsheet has shortened.
    """
    seen: dict[str, str] = {}
    for patient in patient_ids:
        if SHORTENED.fullmatch(patient):
            raise InputError(
                f"{table}: the patient_id '{patient}' is a number that a spreadsheet has shortened. Format the column as text, and enter the ids again."
            )
        other = seen.setdefault(spelled(patient), patient)
        if other != patient:
            raise InputError(
                f"{table} names one patient in two ways: '{other}' and '{patient}'. Write the id alike in all rows; two patients need ids that "
                "differ in more than case, blanks and leading zeros."
            )


def spelled(patient: str) -> str:
    """The id as a person would compare it."""
    plain = APART.sub("-", unicodedata.normalize("NFKC", patient).casefold().strip())
    found = NUMBERED.fullmatch(plain)
    return f"{found[1]}{int(found[2])}" if found else plain


def same_nodules(rows: Sequence[CohortRow], images: Sequence[str]) -> list[str]:
    """A note where rows point at one place of one image.

    Args:
        rows: of a table.
        images: one name per row, the same for the same image.
    """
    rows_of: dict[str, list[CohortRow]] = {}
    for row, image in zip(rows, images, strict=True):
        if row.point_mm is not None:
            rows_of.setdefault(image, []).append(row)
    pairs = [pair for of_image in rows_of.values() for pair in _pairs_at_one_place(of_image)]
    if not pairs:
        return []
    first, second = pairs[0]
    more = f", and {len(pairs) - 1} more such pairs" if len(pairs) > 1 else ""
    return [
        f"the rows '{first}' and '{second}' point at one place of one image{more}: each counts as a nodule of its own. Give a nodule one "
        "row, with the ratings of several readers in one cell ('3 4 4')."
    ]


def _pairs_at_one_place(rows: Sequence[CohortRow]) -> list[tuple[str, str]]:
    """Rows that come close to an earlier one, each with that one, by their ids."""
    points = np.array([row.point_mm for row in rows], dtype=np.float64)
    pairs = []
    for index in range(1, len(rows)):
        near = np.flatnonzero(np.linalg.norm(points[:index] - points[index], axis=1) < SAME_PLACE_MM)
        if near.size:
            pairs.append((rows[int(near[0])].row_id, rows[index].row_id))
    return pairs


def scan_fingerprint(ct: CTVolume) -> str:
    """The same for the same voxels, whatever file they are in."""
    some = ct.hu[::FINGERPRINT_STEP, ::FINGERPRINT_STEP, ::FINGERPRINT_STEP]
    return hashlib.sha256(f"{ct.hu.shape}".encode() + some.astype(np.float32).tobytes()).hexdigest()


def same_scans(patients: Mapping[str, str], scans: Mapping[str, str]) -> list[str]:
    """A note where one scan is under two patients.

    Args:
        patients: id of a row -> its patient.
        scans: id of a row -> `scan_fingerprint` of its image, where known.
    """
    first_of: dict[str, str] = {}
    for row_id, patient in patients.items():
        first = first_of.setdefault(scans[row_id], row_id) if scans.get(row_id) else row_id
        if patients[first] != patient:
            return [
                f"the images of '{first}' and '{row_id}' hold the same voxels and count as two patients: they would be learned from and "
                "judged by the same network. Give them one patient_id, or one image."
            ]
    return []
