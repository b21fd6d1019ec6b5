"""A whole cohort: a table of points in, a table of answers out, whatever happens to single rows. Resumes after a kill."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from CLIPLungLib.atomic_write import atomic_write
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import Patch, extract_patch
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.classifier import PATCHES_PER_BATCH, NoduleClassifier
from CLIPLungLib.inference.result import CSV_COLUMNS, NoduleResult, failed_row

logger = logging.getLogger(__name__)
COHORT_COLUMNS = ("id", "image", "r", "a", "s")
RESULTS_NAME, RUN_NAME, HEATMAP_FOLDER = "results.csv", "run.json", "heatmaps"
# Ids name heat map files, so they must be file names everywhere.
SAFE_ID = re.compile(r"[^<>:\"/\\|?*\x00-\x1f]{1,120}")

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class CohortRow:
    """One line of the cohort table; coordinates as text, because a bad number fails its row only."""

    row_id: str
    image: Path
    r: str
    a: str
    s: str

    def point_ras(self) -> np.ndarray:
        """(3,) RAS mm."""
        try:
            return np.array([float(self.r), float(self.a), float(self.s)])
        except ValueError as error:
            raise InputError(f"r, a, s must be numbers (RAS mm), not '{self.r}', '{self.a}', '{self.s}'.") from error


def read_cohort(file: Path) -> list[CohortRow]:
    """The rows of a cohort table; images are relative to the table's folder unless absolute.

    Raises:
        InputError: no such file, missing columns, or ids that are empty, unusable as file names or not unique.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in COHORT_COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise InputError(
                    f"Cohort {file} lacks the column(s) {', '.join(missing)}; it needs {','.join(COHORT_COLUMNS)}."
                )
            lines = [{name: (line[name] or "").strip() for name in COHORT_COLUMNS} for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Cohort {file} cannot be read: {error}. It must be a CSV file in UTF-8.") from error
    rows = [CohortRow(line["id"], file.parent / line["image"], line["r"], line["a"], line["s"]) for line in lines]
    _require_ids(file, [row.row_id for row in rows])
    return rows


def _require_ids(file: Path, ids: list[str]) -> None:
    if not ids:
        raise InputError(f"Cohort {file} has no rows.")
    bad = [row_id for row_id in ids if not SAFE_ID.fullmatch(row_id) or row_id.strip(". ") == ""]
    if bad:
        raise InputError(
            f"Cohort {file}: the id '{bad[0]}' cannot be a file name. Use letters, digits, '-', '_' and '.'."
        )
    # Some file systems take "A" and "a" for the same name.
    seen: set[str] = set()
    for row_id in ids:
        if row_id.lower() in seen:
            raise InputError(
                f"Cohort {file}: the id '{row_id}' occurs more than once. Every row needs an id of its own."
            )
        seen.add(row_id.lower())


def run_batch(
    cohort: Path, output: Path, classifier: NoduleClassifier, heatmaps: bool = False, progress: Progress | None = None
) -> int:
    """Answer every row of a cohort and write `results.csv`; rows answered by an earlier, interrupted run are kept.

    Args:
        cohort: CSV with the columns id, image, r, a, s (RAS mm).
        output: folder for the results.
        classifier: a loaded model.
        heatmaps: also write `heatmaps/<id>.nrrd`.
        progress: called as (rows done, rows in all, id).

    Returns:
        The number of rows that failed.

    Raises:
        InputError: the cohort cannot be read, or the folder holds results of another cohort or model.
    """
    rows = read_cohort(cohort)
    output.mkdir(parents=True, exist_ok=True)
    _require_same_run(cohort, output, classifier)
    finished = _finished_rows(output, heatmaps)
    todo = sorted((row for row in rows if row.row_id not in finished), key=lambda row: str(row.image))
    failures = 0
    with _ResultTable(output / RESULTS_NAME, [finished[row.row_id] for row in rows if row.row_id in finished]) as table:
        for done, (row, answer) in enumerate(_answers(todo, classifier), start=len(finished) + 1):
            if isinstance(answer, NoduleResult):
                answer = _write_heatmap(row, answer, output) if heatmaps else answer
            if isinstance(answer, NoduleResult):
                table.add(answer.to_row(row.row_id))
            else:
                failures += 1
                table.add(failed_row(row.row_id, answer))
            if progress:
                progress(done, len(rows), row.row_id)
    return failures


def _answers(rows: list[CohortRow], classifier: NoduleClassifier) -> Iterator[tuple[CohortRow, NoduleResult | str]]:
    """Every row with its result or the reason why there is none; the rows of an image go through the network together."""
    for image, rows_of_image in groupby(rows, key=lambda row: row.image):
        ct = _attempt(lambda image=image: read_ct(image))
        waiting: list[tuple[CohortRow, Patch]] = []
        for row in rows_of_image:
            patch = ct if isinstance(ct, str) else _attempt(lambda row=row, ct=ct: _patch(row, ct, classifier))
            if isinstance(patch, str):
                yield row, patch
                continue
            waiting.append((row, patch))
            if len(waiting) == PATCHES_PER_BATCH:
                yield from _classified(waiting, ct, classifier)
                waiting = []
        yield from _classified(waiting, ct, classifier)


def _patch(row: CohortRow, ct: CTVolume, classifier: NoduleClassifier) -> Patch:
    return extract_patch(ct, row.point_ras(), classifier.checkpoint.patch)


def _classified(
    waiting: list[tuple[CohortRow, Patch]], ct: CTVolume, classifier: NoduleClassifier
) -> Iterator[tuple[CohortRow, NoduleResult | str]]:
    results = _attempt(lambda: classifier.classify_patches([patch for _, patch in waiting], [ct] * len(waiting)))
    for index, (row, _) in enumerate(waiting):
        yield row, results if isinstance(results, str) else results[index]


def _attempt(action: Callable) -> object:
    """What the action gives, or the reason it failed as text: one bad row must not stop the others."""
    try:
        return action()
    except InputError as error:
        return str(error)
    except Exception as error:  # every other fault of a row, named with its type
        logger.exception("unexpected fault")
        return f"{type(error).__name__}: {error}"


def _write_heatmap(row: CohortRow, result: NoduleResult, output: Path) -> NoduleResult | str:
    from CLIPLungLib.inference.result_files import write_heatmap

    folder = output / HEATMAP_FOLDER
    folder.mkdir(exist_ok=True)
    fault = _attempt(lambda: write_heatmap(result, folder / f"{row.row_id}.nrrd"))
    return fault if isinstance(fault, str) else result


def _require_same_run(cohort: Path, output: Path, classifier: NoduleClassifier) -> None:
    run = {
        "cohort_sha256": hashlib.sha256(cohort.read_bytes()).hexdigest(),
        "model_sha256": classifier.checkpoint.sha256,
    }
    file = output / RUN_NAME
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != run:
        raise InputError(
            f"{output} holds results of another cohort or model. Choose another output folder, or delete {RESULTS_NAME} and {RUN_NAME} there."
        )
    file.write_text(json.dumps(run, indent=2), encoding="utf-8")


def _finished_rows(output: Path, heatmaps: bool) -> dict[str, dict[str, str]]:
    """Rows an earlier run has answered; failed ones are tried again, and a line cut off by a kill does not count."""
    file = output / RESULTS_NAME
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("status") == "ok" and None not in row.values()]
    complete = [row for row in rows if row.keys() == set(CSV_COLUMNS) and row[CSV_COLUMNS[-1]]]
    if heatmaps:
        complete = [row for row in complete if (output / HEATMAP_FOLDER / f"{row['id']}.nrrd").is_file()]
    return {row["id"]: row for row in complete}


class _ResultTable:
    """`results.csv`, written row by row so that a kill loses the row under way at most."""

    def __init__(self, file: Path, rows: list[dict[str, str]]) -> None:
        with atomic_write(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, CSV_COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        self._stream = file.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._stream, CSV_COLUMNS)

    def add(self, row: dict[str, str]) -> None:
        self._writer.writerow(row)
        self._stream.flush()

    def __enter__(self) -> _ResultTable:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
