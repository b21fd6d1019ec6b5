"""A data folder of someone's own cases: from a table of points in images to what training reads.

DATA/prepared.json holds the name of the data and what each crop was cut from; a run that was stopped goes on from it.
DATA/skipped.csv names the rows that could not be used, with the reason.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from CLIPLungLib.atomic_write import remove_leftovers, writing
from CLIPLungLib.dataset.case_doubles import same_scans, scan_fingerprint
from CLIPLungLib.dataset.case_table import Case, read_cases
from CLIPLungLib.dataset.data_folder import CROPS, crop_around, write_crop, write_nodules
from CLIPLungLib.dataset.data_name import PREPARED_NAME, read_prepared
from CLIPLungLib.dataset.nodule_table import TABLE_NAME, Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec, extract_patch
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.cohort_table import CohortRow
from CLIPLungLib.inference.row_image import RowImage, image_of, read_image_of_row
from CLIPLungLib.inference.run_folder import Asked, locked, what_is_asked
from CLIPLungLib.version import __version__

logger = logging.getLogger(__name__)
SKIPPED_NAME = "skipped.csv"
FOLDS, FOLD_SEED = 5, 0
# So many notes of the reader are told; the record holds all of them.
TOLD_NOTES = 5
# The record of the crops is written anew after so many images.
IMAGES_PER_RECORD = 20
UNLABELLED = "There is neither a malignancy nor a sign to learn from. Fill in one of them, or remove the row."

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class PreparedCases:
    """What became of a table.

    Attributes:
        nodules: of the data folder.
        skipped: id of a row -> why it could not be used.
        notes: what the user must know; what the reader of an image said among it.
    """

    nodules: list[Nodule]
    skipped: dict[str, str]
    notes: tuple[str, ...]


def prepare_cases(table: Path, output: Path, progress: Progress | None = None) -> PreparedCases:
    """Cut the surroundings of every case out of its image and write the nodule table; rows that cannot be used are left out.

    A crop is kept while point and image of its row and the version of CLIPLung are the same, see `run_batch`.

    Args:
        table: see `read_cases`.
        output: data folder; one run at a time.
        progress: called as (rows done, rows in all, id).

    Raises:
        InputError: the table is refused, no row can be used, or the folder holds other data, is in use or cannot be written.
    """
    table, output = Path(table), Path(output)
    read = read_cases(table)
    with locked(output):
        record = _Record.take_over(output, table.stem)
        kept = record.keep([case.row for case in read.cases])
        skipped = {case.row.row_id: UNLABELLED for case in read.cases if not case.is_labelled}
        wanted = [case.row for case in read.cases if case.is_labelled and case.row.row_id not in kept]
        for done, (row, fault) in enumerate(_cut(wanted, output, record), start=len(read.cases) - len(wanted) + 1):
            if fault:
                skipped[row.row_id] = fault
            if progress:
                progress(done, len(read.cases), row.row_id)
        usable = [case for case in read.cases if case.row.row_id not in skipped]
        _write_skipped(output, [(case.row.row_id, skipped.get(case.row.row_id, "")) for case in read.cases])
        if not usable:
            first = next(iter(skipped.items()))
            raise InputError(
                f"Table {table}: none of its {len(read.cases)} rows can be used; '{first[0]}': {first[1]} All reasons are in "
                f"{output / SKIPPED_NAME}."
            )
        nodules = _nodules(usable)
        write_nodules(output, nodules)
    doubles = [*read.notes, *same_scans({case.row.row_id: case.patient_id for case in usable}, record.scans)]
    notes = [
        *_notes(nodules, read.names_patients, usable[0].fold is not None),
        *doubles,
        *_told(record),
    ]
    return PreparedCases(nodules, skipped, tuple(notes))


@dataclass
class _Record:
    """The file PREPARED_NAME: the name of the data, and what each crop was cut from.

    Attributes:
        file: of the record.
        name: of the data.
        crops: id -> what was asked for.
        notes: id -> what the reader of its image said.
        scans: id -> fingerprint of its image.
    """

    file: Path
    name: str
    crops: dict[str, Asked]
    notes: dict[str, str]
    scans: dict[str, str]

    @classmethod
    def take_over(cls, output: Path, name: str) -> _Record:
        """The record of an earlier run, or a new one.

        Raises:
            InputError: the folder holds data of another origin.
        """
        for folder in filter(Path.is_dir, (output, output / CROPS)):
            remove_leftovers(folder)
        file = output / PREPARED_NAME
        before = read_prepared(output)
        crops = before.get("crops")
        if not isinstance(crops, dict):
            if (output / TABLE_NAME).exists():
                raise InputError(f"{output} holds a data folder of another origin. Choose another output folder.")
            crops = {}
        if before.get("version") != __version__:
            # It may have read an image otherwise.
            crops = {}
        notes, scans = (found if isinstance(found := before.get(key), dict) else {} for key in ("notes", "scans"))
        return cls(file, name, crops, notes, scans)

    def keep(self, rows: Sequence[CohortRow]) -> set[str]:
        """The ids whose crops may stay; what is known of all others is forgotten before any of them is cut anew."""
        asked = {row.row_id: what_is_asked(row, self.file.parent) for row in rows if not row.fault}
        self.crops = {
            name: known
            for name, known in self.crops.items()
            if name in asked and asked[name] == known and crop_file(self.file.parent, name).is_file()
        }
        self.notes, self.scans = (
            {name: text for name, text in known.items() if name in self.crops} for known in (self.notes, self.scans)
        )
        self.write()
        return set(self.crops)

    def write(self) -> None:
        with writing(self.file) as temporary:
            facts = {"name": self.name, "version": __version__, "crops": self.crops, "notes": self.notes}
            text = json.dumps(facts | {"scans": self.scans}, indent=1)
            temporary.write_text(text, encoding="utf-8")


def crop_file(folder: Path, nodule_id: str) -> Path:
    """Where the crop of a case lies in its data folder."""
    return folder / CROPS / f"{nodule_id}.nrrd"


def _cut(rows: Sequence[CohortRow], output: Path, record: _Record) -> Iterator[tuple[CohortRow, str]]:
    """Every row with the reason why it cannot be used; empty where its crop is written. Each image is read once."""
    yield from ((row, row.fault) for row in rows if row.fault)
    usable = sorted((row for row in rows if not row.fault), key=lambda row: (str(row.image), row.series_uid))
    for place, (image, group) in enumerate(groupby(usable, key=image_of), start=1):
        # Told before reading: an image that changes meanwhile is then read again next time.
        asked = {row.row_id: (row, what_is_asked(row, output)) for row in group}
        ct = _attempt_to_read(image)
        scan = "" if isinstance(ct, str) else scan_fingerprint(ct)
        for row, what in asked.values():
            fault = ct if isinstance(ct, str) else _cut_one(ct, row, output)
            if not fault:
                record.crops[row.row_id], record.scans[row.row_id] = what, scan
                if not isinstance(ct, str) and ct.source.get("note"):
                    record.notes[row.row_id] = ct.source["note"]
            yield row, fault
        if place % IMAGES_PER_RECORD == 0:
            record.write()
    record.write()


def _attempt_to_read(image: RowImage) -> CTVolume | str:
    try:
        return read_image_of_row(image, read_ct)
    except InputError as error:
        return str(error)
    except Exception as error:  # every other fault of an image, named with its type: the others must not fail with it
        logger.exception("unexpected fault")
        return f"{type(error).__name__}: {error}"


def _cut_one(ct: CTVolume, row: CohortRow, output: Path) -> str:
    """Write the crop of a row, or say why not: a case is refused where a click would be."""
    try:
        row.require_series(ct.source.get("series_uid", ""))
        point = extract_patch(ct, row.point_ras(), PatchSpec()).center_ras
    except InputError as error:
        return str(error)
    write_crop(crop_file(output, row.row_id), crop_around(ct, point))
    return ""


def _nodules(cases: Sequence[Case]) -> list[Nodule]:
    folds = _folds(cases)
    return [
        Nodule(
            nodule_id=case.row.row_id,
            patient_id=case.patient_id,
            fold=folds[case.patient_id],
            n_readers=case.n_readers,
            diameter_mm=case.diameter_mm,
            volume_mm3=case.volume_mm3,
            malignancy=case.malignancy,
            ratings=case.ratings,
            point_ras=None,
            images={"crop": crop_file(Path(), case.row.row_id).as_posix()},
            slice_index=None,
            slice_pixel_mm=float("nan"),
            truth=case.truth,
        )
        for case in cases
    ]


def _folds(cases: Sequence[Case]) -> dict[str, int]:
    """Patient -> fold: the table's own, or random, stratified by malignancy."""
    if cases[0].fold is not None:
        return {case.patient_id: int(case.fold or 0) for case in cases}
    highest: dict[str, float] = {}
    for case in cases:
        highest[case.patient_id] = float(np.fmax(highest.get(case.patient_id, 0.0), case.malignancy))
    shuffled = np.random.default_rng(FOLD_SEED).permutation(sorted(highest)).tolist()
    ordered = sorted(shuffled, key=lambda patient: highest[patient])
    return {patient: place % FOLDS for place, patient in enumerate(ordered)}


def _notes(nodules: Sequence[Nodule], names_patients: bool, names_folds: bool) -> tuple[str, ...]:
    notes = []
    patients, folds = {nodule.patient_id for nodule in nodules}, {nodule.fold for nodule in nodules}
    if not names_patients:
        notes.append(
            f"the table has no column patient_id: every image counts as a patient of its own ({len(patients)}). If a patient has several "
            "images, add the column, or figures and calibrations will look better than they are."
        )
    if not names_folds:
        notes.append(
            f"the table has no column fold: {len(patients)} patients were assigned to {len(folds)} folds at random (seed {FOLD_SEED})."
        )
    if len(folds) < 2:
        notes.append(
            "all cases are in one fold: training needs two at least, as it judges each by networks that have not seen it."
        )
    return tuple(notes)


def _told(record: _Record) -> list[str]:
    """What the reader of the images said, the first few."""
    told = [f"{name}: {note}" for name, note in list(record.notes.items())[:TOLD_NOTES]]
    more = len(record.notes) - len(told)
    return [*told, f"{more} more notes of this kind are in {record.file}."] if more > 0 else told


def _write_skipped(output: Path, rows: Sequence[tuple[str, str]]) -> None:
    """Those with a reason; without any there is no file."""
    file = output / SKIPPED_NAME
    if not any(reason for _, reason in rows):
        file.unlink(missing_ok=True)
        return
    # Names of files, which reasons hold, may be in no encoding.
    with (
        writing(file) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(("id", "reason"))
        writer.writerows(row for row in rows if row[1])
