"""A whole cohort: a table of points in, a table of answers out, whatever happens to single rows. Resumes after a kill."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import ParamSpec, TypeVar

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import Patch, extract_patch
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.classifier import PATCHES_PER_BATCH, NoduleClassifier
from CLIPLungLib.inference.cohort_table import COHORT_COLUMNS, CohortRow, read_cohort
from CLIPLungLib.inference.result import NoduleResult, failed_row
from CLIPLungLib.inference.result_files import checked_heatmap, require_finite, write_heatmap
from CLIPLungLib.inference.run_folder import RESULTS_NAME, ResultTable, heatmap_file, locked, take_over

__all__ = ["COHORT_COLUMNS", "RESULTS_NAME", "CohortRow", "Progress", "read_cohort", "run_batch"]

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
Given = TypeVar("Given")
Parameters = ParamSpec("Parameters")


def run_batch(
    cohort: Path, output: Path, classifier: NoduleClassifier, heatmaps: bool = False, progress: Progress | None = None
) -> int:
    """Answer every row of a cohort and write `results.csv`; rows answered by an earlier run are kept.

    A row is kept while its id, image, point and the model are the same; an image in one file also while its size and time are.

    Args:
        cohort: table, see `read_cohort`.
        output: folder for the results; one run at a time.
        classifier: a loaded model.
        heatmaps: also write `heatmaps/<id>.nrrd`.
        progress: called as (rows done, rows in all, id).

    Returns:
        The number of rows that failed.

    Raises:
        InputError: the cohort cannot be read, the folder cannot be written, is in use, or holds damaged results or those of
            another cohort or model.
    """
    rows, output = read_cohort(Path(cohort)), Path(output)
    failures = 0
    with locked(output):
        kept = take_over(output, rows, classifier.checkpoint.sha256, heatmaps)
        todo = [row for row in rows if row.row_id not in kept]
        with ResultTable(output / RESULTS_NAME) as table:
            for done, (row, answer) in enumerate(_answers(todo, classifier), start=len(kept) + 1):
                if isinstance(answer, NoduleResult):
                    if heatmaps:
                        write_heatmap(answer, heatmap_file(output, row.row_id))
                    table.add(answer.to_row(row.row_id))
                else:
                    failures += 1
                    table.add(failed_row(row.row_id, answer))
                if progress:
                    progress(done, len(rows), row.row_id)
    return failures


def _answers(rows: Sequence[CohortRow], classifier: NoduleClassifier) -> Iterator[tuple[CohortRow, NoduleResult | str]]:
    """Every row with its result or the reason why there is none; the rows of an image go through the network together."""
    yield from ((row, row.fault) for row in rows if row.fault)
    usable = sorted((row for row in rows if not row.fault), key=lambda row: str(row.image))
    for image, rows_of_image in groupby(usable, key=lambda row: row.image):
        ct = _attempt(read_ct, image)
        waiting: list[tuple[CohortRow, Patch]] = []
        for row in rows_of_image:
            patch = ct if isinstance(ct, str) else _attempt(_patch, row, ct, classifier)
            if isinstance(ct, str) or isinstance(patch, str):
                yield row, str(patch)
                continue
            waiting.append((row, patch))
            if len(waiting) == PATCHES_PER_BATCH:
                yield from _classified(waiting, ct, classifier)
                waiting = []
        if waiting and not isinstance(ct, str):
            yield from _classified(waiting, ct, classifier)


def _patch(row: CohortRow, ct: CTVolume, classifier: NoduleClassifier) -> Patch:
    return extract_patch(ct, row.point_ras(), classifier.checkpoint.patch)


def _classified(
    waiting: Sequence[tuple[CohortRow, Patch]], ct: CTVolume, classifier: NoduleClassifier
) -> Iterator[tuple[CohortRow, NoduleResult | str]]:
    results = _attempt(classifier.classify_patches, [patch for _, patch in waiting], [ct] * len(waiting))
    if isinstance(results, str) and len(waiting) > 1:
        # One of them fails; the others must not fail with it.
        for single in waiting:
            yield from _classified([single], ct, classifier)
        return
    for index, (row, _) in enumerate(waiting):
        yield row, results if isinstance(results, str) else _attempt(_checked, results[index])


def _checked(result: NoduleResult) -> NoduleResult:
    """The same result, refused when a number of it, or its heat map, is of no use."""
    require_finite(result)
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
