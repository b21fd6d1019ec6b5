"""How much faster two worker processes answer a cohort than one, each with the same threads, in the same run.

    python Testing/Benchmarks/cluster_throughput.py [--output FILE.json] [--rounds 3] [--images 8] [--points 4]

Both sets of workers are started and load the model first. Then they answer the same rows in turns, so that a change of the
machine's load meets both. The ratio is the median over the rounds. Run it on a machine with nothing else to do.
Exit code 0 when the ratio reaches the goal, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing")]

import torch
from helpers.made_up_ct import ball_points, write_made_up_cts

from CLIPLungLib.cluster.connection import local_workers
from CLIPLungLib.cluster.dispatch import Dispatcher
from CLIPLungLib.cluster.worker import WorkerModel
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.inference.cohort_table import CohortRow

GOAL = 1.6
SHAPE = (120, 256, 256)


def rows_of(files: Sequence[Path], points: int) -> list[CohortRow]:
    """So many points of each image."""
    return [
        CohortRow(f"{file.stem}_{index}", file, point)
        for file in files
        for index, point in enumerate(ball_points(SHAPE)[:points])
    ]


def seconds(dispatcher: Dispatcher, rows: list[CohortRow]) -> float:
    """Wall-clock time to answer the rows."""
    start = time.perf_counter()
    answered = list(dispatcher.answers(rows))
    faults = [answer for _, answer in answered if isinstance(answer, str)]
    if faults or len(answered) != len(rows):
        raise SystemExit(f"{len(faults)} of {len(rows)} rows failed: {faults[:1]}")
    return time.perf_counter() - start


def measured(rounds: int, images: int, points: int, threads: int) -> dict[str, object]:
    """Rows per second of one and of two workers, round by round, and their ratio."""
    model = WorkerModel(None, load_checkpoint().sha256, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_of(write_made_up_cts(Path(folder), images, SHAPE), points)
        torch.set_num_threads(threads)
        with local_workers(1) as alone:
            torch.set_num_threads(2 * threads)
            with local_workers(2) as pair:
                one, two = Dispatcher(alone, model, False), Dispatcher(pair, model, False)
                for dispatcher in (one, two):
                    dispatcher.require_workers()
                    seconds(dispatcher, rows)  # The first patch of a process prepares the kernels.
                times = [(seconds(one, rows), seconds(two, rows)) for _ in range(rounds)]
    return {
        "ratio": statistics.median(slow / fast for slow, fast in times),
        "goal": GOAL,
        "ratios": [slow / fast for slow, fast in times],
        "one_worker_rows_per_s": [len(rows) / slow for slow, _ in times],
        "two_workers_rows_per_s": [len(rows) / fast for _, fast in times],
        "threads_of_each_worker": threads,
        "images": images,
        "points_of_each_image": points,
        "image_voxels": SHAPE,
        "cores": os.cpu_count(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--points", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    found = measured(options.rounds, options.images, options.points, options.threads) | {"load_before": load}
    text = json.dumps(found, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    return 0 if found["ratio"] >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
