"""How the cost of a nodule grows with nodules of a CT, slices, rows of the cohort, and workers.

    python Testing/Benchmarks/growth.py --output FOLDER [--quick] [--only nodules slices rows workers]

Writes growth.json and growth.png to the folder, for the page on performance. Times are processor seconds where one process
works, wall-clock seconds for workers. `rows` runs whole cohorts of one small CT on a small untrained network, each in a
process of its own, to see whether memory grows with the rows; its seconds say nothing of the shipped network.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing")]

from helpers.made_up_ct import ball_points, write_made_up_cts
from helpers.measuring import cost, in_new_process, machine, peak_megabytes

NODULES, SLICES, ROWS, WORKERS = (1, 2, 4, 8, 16, 32), (50, 100, 200, 400, 800), (100, 1000, 10_000), (1, 2, 4)
QUICK = {"nodules": (1, 4, 16), "slices": (50, 200, 800), "rows": (100, 1000), "workers": (1, 2)}
SMALL, PLANE = (40, 100, 100), (512, 512)
ONE_COHORT = "--one-cohort"
Series = dict[str, list[float]]


def by_nodules(counts: Sequence[int]) -> Series:
    """Processor seconds per nodule, of a CT of 200 slices with so many: reading included."""
    shape = (200, *PLANE)
    with tempfile.TemporaryDirectory() as folder:
        (file,) = write_made_up_cts(Path(folder), 1, shape)
        seconds = [_answered(file, shape, count) / count for count in counts]
    return {"nodules_of_a_ct": list(counts), "processor_s_per_nodule": seconds}


def by_slices(counts: Sequence[int]) -> Series:
    """Processor seconds of a CT of so many slices of 512 x 512 with one nodule."""
    seconds = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            (file,) = write_made_up_cts(Path(folder), 1, (count, *PLANE))
            seconds.append(_answered(file, (count, *PLANE), 1))
    return {"slices": list(counts), "processor_s_per_ct": seconds}


def _answered(file: Path, shape: tuple[int, int, int], count: int) -> float:
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.cohort import answers
    from CLIPLungLib.inference.cohort_table import CohortRow

    classifier = NoduleClassifier.load(None, "cpu")
    rows = [CohortRow(str(index), file, point) for index, point in enumerate(ball_points(shape)[:count])]
    list(answers(rows[:1], classifier))
    with cost() as found:
        answered = list(answers(rows, classifier))
    if len(answered) != count or any(isinstance(answer, str) for _, answer in answered):
        raise SystemExit(f"{count} nodules: {answered[0][1]}")
    return found.processor_s


def by_rows(counts: Sequence[int]) -> Series:
    """Peak memory and processor seconds per row of a whole run of so many rows, ten on a CT."""
    found = [json.loads(in_new_process(__file__, ONE_COHORT, str(count))) for count in counts]
    return {"rows": list(counts)} | {name: [one[name] for one in found] for name in found[0]}


def one_cohort(count: int) -> dict[str, float]:
    """What a run of `count` rows costs this process, from the table to the last line of results."""
    from helpers.cohort import cohort
    from helpers.tiny_checkpoint import write_tiny_checkpoint

    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.cohort import run_batch

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tiny_checkpoint(folder / "tiny.safetensors")
        (first,) = write_made_up_cts(folder, 1, SMALL)
        for index in range(-(-count // 10)):
            (folder / f"link{index}.nrrd").hardlink_to(first)
        right, anterior, superior = ball_points(SMALL)[0]
        points = [f"{right + index % 10 / 10},{anterior},{superior}" for index in range(count)]
        file = cohort(folder, *[f"n{index},link{index // 10}.nrrd,{point}" for index, point in enumerate(points)])
        classifier = NoduleClassifier.load(folder / "tiny.safetensors", "cpu")
        with cost() as found:
            failures = run_batch(file, folder / "out", classifier)
    if failures:
        raise SystemExit(f"{failures} of {count} rows failed")
    return {"peak_mb": peak_megabytes(), "processor_s_per_row": found.processor_s / count}


def by_workers(counts: Sequence[int], images: int = 8, points: int = 4) -> Series:
    """Rows per second of so many worker processes of one thread each, after a first round."""
    import torch

    from CLIPLungLib.cluster.connection import local_workers
    from CLIPLungLib.cluster.dispatch import Dispatcher
    from CLIPLungLib.cluster.worker import WorkerModel
    from CLIPLungLib.inference.checkpoint import load_checkpoint
    from CLIPLungLib.inference.cohort_table import CohortRow

    shape = (100, 256, 256)
    model, rates = WorkerModel(None, load_checkpoint().sha256, "cpu"), []
    with tempfile.TemporaryDirectory() as folder:
        files = write_made_up_cts(Path(folder), images, shape)
        places = list(enumerate(ball_points(shape)[:points]))
        rows = [CohortRow(f"{file.stem}_{index}", file, place) for file in files for index, place in places]
        for count in counts:
            torch.set_num_threads(count)
            with local_workers(count) as client:
                dispatcher = Dispatcher(client, model, False)
                dispatcher.require_workers()
                list(dispatcher.answers(rows))
                start = time.perf_counter()
                list(dispatcher.answers(rows))
                rates.append(len(rows) / (time.perf_counter() - start))
    return {"workers": list(counts), "rows_per_s": rates}


MEASURES: dict[str, tuple[Callable[[Sequence[int]], Series], Sequence[int]]] = {
    "nodules": (by_nodules, NODULES),
    "slices": (by_slices, SLICES),
    "rows": (by_rows, ROWS),
    "workers": (by_workers, WORKERS),
}
AXES = {
    "nodules": ("nodules of a CT", "processor seconds a nodule", "processor_s_per_nodule"),
    "slices": ("slices of a CT", "processor seconds a CT with one nodule", "processor_s_per_ct"),
    "rows": ("rows of the cohort", "peak memory, MB", "peak_mb"),
    "workers": ("worker processes, one thread each", "rows a second", "rows_per_s"),
}


def plot_growth(found: dict[str, Any], file: Path) -> None:
    """Draw every measure that was made, side by side, each axis from zero upwards."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in AXES if name in found]
    figure = Figure(figsize=(3.4 * len(names), 3.4), layout="constrained")
    for name, axes in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
        across, up, values = AXES[name]
        counts = next(iter(found[name].values()))
        axes.plot(counts, found[name][values], marker="o", color="#1f6f8b")
        axes.set_xlabel(across)
        axes.set_ylabel(up, fontsize="small")
        axes.set_ylim(0, 1.15 * max(found[name][values]))
        if name == "rows":
            axes.set_xscale("log")
        else:
            axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    FigureCanvasAgg(figure).print_png(file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for and write growth.json and growth.png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer points")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument(ONE_COHORT, type=int, metavar="ROWS", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one_cohort:
        print(json.dumps(one_cohort(options.one_cohort)))
        return 0
    if options.output is None:
        parser.error("--output is needed")
    found: dict[str, Any] = {"machine": machine()}
    for name in options.only:
        measure, counts = MEASURES[name]
        found[name] = measure(QUICK[name] if options.quick else counts)
        print(f"{name}: {json.dumps(found[name])}", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "growth.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    plot_growth(found, options.output / "growth.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
