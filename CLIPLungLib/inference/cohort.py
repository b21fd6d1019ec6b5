"""A whole cohort: a table of points in, a table of answers out, whatever happens to single rows. Resumes after a kill."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import groupby, zip_longest
from pathlib import Path
from typing import ParamSpec, TypeVar

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import Patch, extract_patch
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.classifier import PATCHES_PER_BATCH, NoduleClassifier
from CLIPLungLib.inference.cohort_table import COHORT_COLUMNS, CohortRow, read_cohort
from CLIPLungLib.inference.result import CSV_COLUMNS, NoduleResult, failed_row
from CLIPLungLib.inference.result_files import checked_heatmap, require_finite, write_heatmap
from CLIPLungLib.inference.row_image import RowImage, image_of, read_image_of_row
from CLIPLungLib.inference.run_folder import (
    RESULTS_NAME,
    ResultTable,
    heatmap_file,
    locked,
    segmentation_file,
    take_over,
)
from CLIPLungLib.inference.segmentation_file import write_segmentation

__all__ = [
    "COHORT_COLUMNS",
    "RESULTS_NAME",
    "Answer",
    "CohortRow",
    "FurtherColumns",
    "Progress",
    "answers",
    "fill_results",
    "read_cohort",
    "run_batch",
]

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
# A row with its result, or the reason why there is none.
Answer = tuple[CohortRow, NoduleResult | str]
Given = TypeVar("Given")
Parameters = ParamSpec("Parameters")


@dataclass(frozen=True)
class FurtherColumns:
    """Columns of `results.csv` that somebody else fills.

    Attributes:
        names: of the columns.
        cells: gives the cells of an answered row by name; must not raise.
    """

    names: tuple[str, ...]
    cells: Callable[[CohortRow, NoduleResult], dict[str, str]]


def run_batch(
    cohort: Path,
    output: Path,
    classifier: NoduleClassifier,
    heatmaps: bool = False,
    progress: Progress | None = None,
    segmentations: bool = False,
    further: FurtherColumns | None = None,
) -> int:
    """Answer every row of a cohort and write `results.csv`; rows answered by an earlier run are kept.

    A row is kept while its id, image, point, the model and the version of CLIPLung are the same; an image in one file also while its
    size and time are, one in a folder while no file of the folder has come or gone.

    Args:
        cohort: table, see `read_cohort`.
        output: folder for the results; one run at a time.
        classifier: a loaded model.
        heatmaps: also write `heatmaps/<id>.nrrd`.
        progress: called as (rows done, rows in all, id).
        segmentations: also write `segmentations/<id>.seg.nrrd` of what could be outlined.
        further: columns behind those of the answers.

    Returns:
        The number of rows that failed.

    Raises:
        InputError: the cohort cannot be read, the folder cannot be written, is in use, or holds damaged results or those of
            another cohort or model.
    """
    answer_rows = partial(answers, classifier=classifier, heatmaps=heatmaps)
    model_sha256 = classifier.checkpoint.sha256
    return fill_results(cohort, output, model_sha256, answer_rows, heatmaps, progress, segmentations, further)


def fill_results(
    cohort: Path,
    output: Path,
    model_sha256: str,
    answer_rows: Callable[[Sequence[CohortRow]], Generator[Answer, None, None]],
    heatmaps: bool = False,
    progress: Progress | None = None,
    segmentations: bool = False,
    further: FurtherColumns | None = None,
) -> int:
    """As `run_batch`, with answers from wherever they are computed; nobody but this process writes in the folder.

    Args:
        answer_rows: gives every row it is handed once, with its answer, in any order.

    Raises:
        InputError: as `run_batch`.
    """
    rows, output = read_cohort(Path(cohort)), Path(output)
    failures, names = 0, further.names if further else ()
    columns = CSV_COLUMNS + names
    with locked(output):
        kept = take_over(output, rows, model_sha256, heatmaps, segmentations, columns)
        todo = [row for row in rows if row.row_id not in kept]
        with ResultTable(output / RESULTS_NAME, columns) as table, closing(answer_rows(todo)) as answered:
            for done, (row, answer) in enumerate(answered, start=len(kept) + 1):
                if isinstance(answer, NoduleResult):
                    if heatmaps:
                        write_heatmap(answer, heatmap_file(output, row.row_id))
                    if segmentations and answer.outline_on_ct is not None:
                        write_segmentation(answer.outline_on_ct, segmentation_file(output, row.row_id), row.row_id)
                    table.add(answer.to_row(row.row_id) | (further.cells(row, answer) if further else {}))
                else:
                    failures += 1
                    table.add(failed_row(row.row_id, answer) | dict.fromkeys(names, ""))
                if progress:
                    progress(done, len(rows), row.row_id)
    return failures


def answers(
    rows: Sequence[CohortRow], classifier: NoduleClassifier, heatmaps: bool = False
) -> Generator[Answer, None, None]:
    """Every row with its result or the reason why there is none; the rows of an image go through the network together.

    The next image is read while the network works on this one. Without `heatmaps` none are computed.
    """
    yield from ((row, row.fault) for row in rows if row.fault)
    groups = by_image(rows)
    with closing(_read_ahead([image_of(rows_of_image[0]) for rows_of_image in groups])) as images:
        for rows_of_image in groups:
            yield from _answers_of_image(rows_of_image, next(images), classifier, heatmaps)


def by_image(rows: Sequence[CohortRow]) -> list[list[CohortRow]]:
    """The rows without a fault, those of an image (and of one series of it) together."""
    usable = sorted((row for row in rows if not row.fault), key=lambda row: (str(row.image), row.series_uid))
    return [list(rows_of_image) for _, rows_of_image in groupby(usable, key=image_of)]


def _read_ahead(images: Sequence[RowImage]) -> Generator[CTVolume | str, None, None]:
    """The images in turn, or why one cannot be read; two are in memory at most, the one that is worked on and the next."""
    with ThreadPoolExecutor(1, "next image") as reader:
        upcoming = [reader.submit(_attempt, read_image_of_row, image, read_ct) for image in images[:1]]
        for image, following in zip_longest(images, images[1:]):
            ct = upcoming.pop().result()
            if isinstance(ct, str) and "memory" in ct.lower():
                # There was not enough for two images; now there is one less.
                ct = _attempt(read_image_of_row, image, read_ct)
            if following is not None:
                upcoming.append(reader.submit(_attempt, read_image_of_row, following, read_ct))
            yield ct
            del ct


def _answers_of_image(
    rows: Sequence[CohortRow], ct: CTVolume | str, classifier: NoduleClassifier, heatmaps: bool
) -> Generator[Answer, None, None]:
    if isinstance(ct, str):
        yield from ((row, ct) for row in rows)
        return
    waiting: list[tuple[CohortRow, Patch]] = []
    for row in rows:
        patch = _attempt(_patch, row, ct, classifier)
        if isinstance(patch, str):
            yield row, patch
            continue
        waiting.append((row, patch))
        if len(waiting) == PATCHES_PER_BATCH:
            yield from _classified(waiting, ct, classifier, heatmaps)
            waiting = []
    if waiting:
        yield from _classified(waiting, ct, classifier, heatmaps)


def _patch(row: CohortRow, ct: CTVolume, classifier: NoduleClassifier) -> Patch:
    row.require_series(ct.source.get("series_uid", ""))
    return extract_patch(ct, row.point_ras(), classifier.checkpoint.patch)


def _classified(
    waiting: Sequence[tuple[CohortRow, Patch]], ct: CTVolume, classifier: NoduleClassifier, heatmaps: bool
) -> Generator[Answer, None, None]:
    results = _attempt(classifier.classify_patches, [patch for _, patch in waiting], [ct] * len(waiting), heatmaps)
    if isinstance(results, str) and len(waiting) > 1:
        # One of them fails; the others must not fail with it.
        for single in waiting:
            yield from _classified([single], ct, classifier, heatmaps)
        return
    for index, (row, _) in enumerate(waiting):
        yield row, results if isinstance(results, str) else _attempt(_checked, results[index], heatmaps)


def _checked(result: NoduleResult, heatmaps: bool) -> NoduleResult:
    """The same result, refused when a number of it, or its heat map, is of no use."""
    require_finite(result)
    if heatmaps:
        checked_heatmap(result)
    return result


def _attempt(
    action: Callable[Parameters, Given], *arguments: Parameters.args, **named: Parameters.kwargs
) -> Given | str:
    """What the action gives, or the reason it failed as text: one bad row must not stop the others."""
    try:
        return action(*arguments, **named)
    except InputError as error:
        return str(error)
    except Exception as error:  # every other fault of a row, named with its type
        logger.exception("unexpected fault")
        return f"{type(error).__name__}: {error}"
