"""The folder of a cohort's results: one run at a time, and what an earlier run has finished.

`results.csv` holds the answers, `run.json` what they were given for: the model, the version of CLIPLung, and image and point of
every row. A row is finished when its line is whole and answers the row of the table as it is now.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from CLIPLungLib.atomic_write import cannot_write, remove_leftovers, writing
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.cohort_table import CohortRow, is_usable_id
from CLIPLungLib.inference.result import CSV_COLUMNS
from CLIPLungLib.version import __version__
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, CLASSES

RESULTS_NAME, RUN_NAME, LOCK_NAME = "results.csv", "run.json", "run.lock"
HEATMAP_FOLDER, SEGMENTATION_FOLDER = "heatmaps", "segmentations"
START_ANEW = f"Delete {RESULTS_NAME} and {RUN_NAME} there to start anew, or choose another output folder."
# An answer has all of these.
NUMBERS = (
    "malignancy_probability",
    *(f"p_{name}" for name in CLASSES),
    "diameter_mm",
    *(f"{name}_{kind}" for name in ATTRIBUTE_NAMES for kind in ("similarity", "level")),
)

Asked = dict[str, Any]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and keep every other run out of it. The system drops the lock with the process, however that ends.

    Raises:
        InputError: another run is using the folder, or it cannot be written.
    """
    file = folder / LOCK_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = _open_lock(file)
    except OSError as error:
        raise cannot_write(file, error) from error
    with stream:
        try:
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            stream.flush()
        except OSError as error:
            raise cannot_write(file, error) from error
        try:
            yield
        finally:
            # The name goes before the lock: whoever waits for this file sees that it is no longer the folder's.
            with suppress(OSError):
                file.unlink()


def _open_lock(file: Path) -> IO[str]:
    while True:
        stream = file.open("a+", encoding="utf-8")
        try:
            _lock(stream)
        except BlockingIOError:
            stream.seek(0)
            owner = stream.read(200).strip()
            stream.close()
            raise InputError(
                f"Another run ({owner or 'of unknown process'}) is writing to {file.parent}. Wait for its end, or choose another output folder."
            ) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), file.stat()):
                return stream
        # Its owner has removed it since it was opened.
        stream.close()


def _lock(stream: IO[str]) -> None:
    """Lock an open file, or do nothing where the disk knows no locks.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            # A byte far beyond the text, which stays readable.
            stream.seek(1 << 20)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise BlockingIOError from error


def what_is_asked(row: CohortRow, output: Path | None = None) -> Asked:
    """Image and point of a row, and of its earlier scan. An image that is a file goes with its size and time, a folder with the time
    when files last came or went, by which a new one is told from an old one.

    Args:
        output: folder of the results, whose own time says nothing.
    """
    asked = _place_asked(row.image_path, row.point_mm, output)
    if row.series_uid:
        asked["series_uid"] = row.series_uid
    if row.prior is not None:
        dates = {"date": row.prior.current_date, "prior_date": row.prior.prior_date}
        asked["prior"] = {**_place_asked(row.prior.image_path, row.prior.point_mm, output), **dates}
    return asked


def _place_asked(image: Path | None, point_mm: tuple[float, float, float] | None, output: Path | None) -> Asked:
    is_point = point_mm is not None and all(map(math.isfinite, point_mm))
    asked: Asked = {"image": None, "point_ras_mm": list(point_mm) if point_mm and is_point else None}
    if image is not None:
        asked["image"] = os.path.normpath(image.absolute())
        with suppress(OSError, ValueError):
            found = image.stat()
            if stat.S_ISREG(found.st_mode):
                asked |= {"image_bytes": found.st_size, "image_modified_ns": found.st_mtime_ns}
            elif stat.S_ISDIR(found.st_mode) and not (output and os.path.samestat(found, output.stat())):
                asked["image_modified_ns"] = found.st_mtime_ns
    return asked


def take_over(
    folder: Path,
    rows: Sequence[CohortRow],
    model_sha256: str,
    heatmaps: bool,
    segmentations: bool = False,
    columns: tuple[str, ...] = CSV_COLUMNS,
) -> dict[str, list[str]]:
    """The finished lines of `results.csv` that answer rows of the table as it is now, by id.

    Writes `run.json` anew and leaves in `results.csv` what is kept; heat maps and segmentations of rows to be answered again go,
    those that are asked for also where no run has left a record of them. A row whose heat map or segmentation is asked for and
    missing is answered again.

    Raises:
        InputError: results of another model or version, or of a table without a row in common, files that are damaged or not
            CLIPLung's, or a folder that cannot be written.
    """
    asked = {row.row_id: what_is_asked(row, folder) for row in rows}
    finished, before = _finished(folder / RESULTS_NAME, columns), _asked_before(folder, model_sha256)
    if before is None and finished:
        raise InputError(f"{folder / RESULTS_NAME} has no {RUN_NAME} beside it that says what it answers. {START_ANEW}")
    before = before or {}
    if finished and not any(_same_place(asked.get(row_id), before.get(row_id)) for row_id in finished):
        raise InputError(
            f"{folder} holds results of another cohort or model (none of its {len(finished)} finished row(s) has the id, image and "
            f"point of a row of this table). Choose another output folder, or delete {RESULTS_NAME} and {RUN_NAME} there."
        )
    kept = {
        row_id: line for row_id, line in finished.items() if row_id in asked and asked[row_id] == before.get(row_id)
    }
    if heatmaps:
        kept = {row_id: line for row_id, line in kept.items() if heatmap_file(folder, row_id).is_file()}
    if segmentations:
        kept = {row_id: line for row_id, line in kept.items() if _has_segmentation(folder, row_id, line)}
    # In this order a kill in between leaves no line, and no file of a nodule, that seems to answer what it does not.
    _remove_files(folder, [row_id for row_id in before if row_id not in kept], (heatmap_file, segmentation_file))
    asked_for = [
        file_of for file_of, is_asked in ((heatmap_file, heatmaps), (segmentation_file, segmentations)) if is_asked
    ]
    _remove_files(folder, [row_id for row_id in asked if row_id not in kept], asked_for)
    with writing(folder / RESULTS_NAME) as temporary:
        temporary.write_text(_line(columns) + "".join(map(_line, kept.values())), encoding="utf-8", newline="")
    with writing(folder / RUN_NAME) as temporary:
        text = json.dumps({"model_sha256": model_sha256, "version": __version__, "rows": asked}, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")
    return kept


def heatmap_file(folder: Path, row_id: str) -> Path:
    """Where the heat map of a row is written."""
    return folder / HEATMAP_FOLDER / f"{row_id}.nrrd"


def segmentation_file(folder: Path, row_id: str) -> Path:
    """Where the outline of a row is written."""
    return folder / SEGMENTATION_FOLDER / f"{row_id}.seg.nrrd"


def _has_segmentation(folder: Path, row_id: str, line: Sequence[str]) -> bool:
    """Whether the outline of a row is there; a nodule that could not be outlined has no size, and needs none."""
    is_outlined = dict(zip(CSV_COLUMNS, line, strict=False))["volume_mm3"] != ""
    return not is_outlined or segmentation_file(folder, row_id).is_file()


def _same_place(first: Asked | None, second: Asked | None) -> bool:
    names = ("image", "point_ras_mm")
    return first is not None and second is not None and all(first[name] == second.get(name) for name in names)


def _asked_before(folder: Path, model_sha256: str) -> dict[str, Asked] | None:
    """What the rows of an earlier run were, by id; None without one."""
    file = folder / RUN_NAME
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
        model, version, rows = run["model_sha256"], run["version"], run["rows"]
        if not all(isinstance(row, dict) for row in rows.values()):
            raise TypeError("rows are no objects")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{file} cannot be read: it is empty, damaged or of another version of CLIPLung. {START_ANEW}"
        ) from error
    if model != model_sha256:
        raise InputError(
            f"{folder} holds results of another cohort or model (the model {str(model)[:12]}, now {model_sha256[:12]}). "
            f"Choose another output folder, or delete {RESULTS_NAME} and {RUN_NAME} there."
        )
    if version != __version__:
        raise InputError(
            f"{folder} holds results of CLIPLung {str(version)[:12]}, and this is {__version__}, which may read a CT or a table otherwise. "
            f"{START_ANEW}"
        )
    return dict(rows)


def _finished(file: Path, columns: tuple[str, ...]) -> dict[str, list[str]]:
    """Whole lines with an answer, by id; a line that was cut off by a kill does not count."""
    try:
        header, *lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True) or [b""]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}). {START_ANEW}") from error
    if tuple(_cells(header)) != columns:
        raise InputError(
            f"{file} is empty, damaged, or no results of this version of CLIPLung: its first line does not name the columns. {START_ANEW}"
        )
    found = [cells for line in lines if _is_answer(cells := _cells(line), columns)]
    return {cells[0]: cells for cells in found}


def _cells(line: bytes) -> list[str]:
    """The cells of a line; none of one that is cut off or damaged."""
    try:
        return next(csv.reader([line.decode("utf-8")], strict=True), []) if line.endswith(b"\n") else []
    except (UnicodeDecodeError, csv.Error):
        return []


def _is_answer(cells: Sequence[str], columns: tuple[str, ...]) -> bool:
    if len(cells) != len(columns):
        return False
    row = dict(zip(columns, cells, strict=True))
    try:
        numbers = [float(row[name]) for name in NUMBERS]
    except ValueError:
        return False
    return row["status"] == "ok" and row["id"] != "" and row["predicted_class"] in CLASSES and len(numbers) > 0


def _line(cells: Sequence[str]) -> str:
    """One line of CSV: no cell brings line breaks of its own, so that every line is a row."""
    stream = io.StringIO(newline="")
    csv.writer(stream).writerow([" ".join(cell.split()) if len(cell.splitlines()) > 1 else cell for cell in cells])
    return stream.getvalue()


def _remove_files(folder: Path, row_ids: Sequence[str], kinds: Sequence[Callable[[Path, str], Path]]) -> None:
    """Heat maps and segmentations of answers that are not kept, and halves that a kill left behind."""
    for place in (folder / HEATMAP_FOLDER, folder / SEGMENTATION_FOLDER, folder / RESULTS_NAME, folder / RUN_NAME):
        remove_leftovers(place)
    usable = [row_id for row_id in row_ids if is_usable_id(row_id)]
    files = [file_of(folder, row_id) for row_id in usable for file_of in kinds]
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(file, error) from error


class ResultTable:
    """`results.csv`, written row by row so that a kill loses the row under way at most."""

    def __init__(self, file: Path, columns: tuple[str, ...] = CSV_COLUMNS) -> None:
        self._file, self._columns = file, columns
        try:
            # Unbuffered: a line that does not fit on the disk is noticed at once and taken back.
            self._stream = file.open("ab", buffering=0)
        except OSError as error:
            raise cannot_write(file, error) from error

    def add(self, row: dict[str, str]) -> None:
        """Write one row.

        Raises:
            InputError: it cannot be written; the rows before it stay.
        """
        # Names of files may be in no encoding.
        line = _line([row[name] for name in self._columns]).encode("utf-8", "backslashreplace")
        start = self._stream.seek(0, os.SEEK_END)
        try:
            if self._stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with suppress(OSError):
                self._stream.truncate(start)
            raise cannot_write(self._file, error) from error

    def __enter__(self) -> ResultTable:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
