"""A cohort on many processes or machines: the same table in, the same folder out, and either can go on where the other stopped."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cluster.dispatch import Dispatcher
from CLIPLungLib.cluster.worker import WorkerModel
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.inference.cohort import Answer, CohortRow, Progress, fill_results

if TYPE_CHECKING:
    from distributed import Client

Connect = Callable[[], AbstractContextManager["Client"]]


def run_cluster_batch(
    cohort: Path,
    output: Path,
    connect: Connect,
    checkpoint: Path | None = None,
    device: str = "auto",
    heatmaps: bool = False,
    progress: Progress | None = None,
    segmentations: bool = False,
) -> int:
    """As `run_batch`, with the answers computed by workers. They send results and heat maps back; this process alone writes.

    Args:
        cohort: table, see `read_cohort`; its images lie under the same paths for all workers.
        output: folder for the results, which no worker needs to see.
        connect: `scheduler_at` or `local_workers`; called only when a row is left to do.
        checkpoint: weights, under the same path and with the same content for all workers; None for the bundled ones.
        device: of each worker, see `WorkerModel`.
        heatmaps: also write `heatmaps/<id>.nrrd`.
        progress: called as (rows done, rows in all, id).
        segmentations: also write `segmentations/<id>.seg.nrrd`.

    Returns:
        The number of rows that failed.

    Raises:
        InputError: as `run_batch`; or the scheduler, all workers, or one that fits are not there.
        CheckpointError: the weights cannot be used here or on a worker.
    """
    path = checkpoint.absolute() if checkpoint is not None else None
    model = WorkerModel(path, load_checkpoint(path).sha256, device)
    answer_rows = partial(_answers, connect=connect, model=model, heatmaps=heatmaps)
    return fill_results(cohort, output, model.sha256, answer_rows, heatmaps, progress, segmentations)


def _answers(
    rows: Sequence[CohortRow], connect: Connect, model: WorkerModel, heatmaps: bool
) -> Generator[Answer, None, None]:
    yield from ((row, row.fault) for row in rows if row.fault)
    usable = [row for row in rows if not row.fault]
    if not usable:
        return
    with connect() as client:
        dispatcher = Dispatcher(client, model, heatmaps)
        dispatcher.require_workers()
        yield from dispatcher.answers(usable)
