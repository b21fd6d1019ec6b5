"""All benchmarks in one run: `make bench`, or python Testing/Benchmarks/run.py [--only NAME ...] [--output FOLDER] [--series FOLDER].

Writes performance.json to the output folder, and the tables into Resources/Documentation/performance.md between its markers, with the plots
beside that page.
Each benchmark is a process of its own. `--series` names a folder of DICOM files; without it a made-up series is read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing"), str(Path(__file__).parent)]

PAGE = ROOT / "Resources" / "Documentation" / "performance.md"
HERE, JSON_NAME, ONE = Path(__file__).parent, "performance.json", "--one"
ROUNDS = {"click": 9, "cold": 7, "cohort": 2, "training": 2, "series": 4, "tries": 7, "panel": 1, "growth": 1}
SECONDS_AT_MOST = 400


def click(rounds: int, threads: int, _series: Path | None) -> Any:
    """See click_to_scene.py."""
    import click_to_scene

    return click_to_scene.measured(rounds, threads)


def cold(rounds: int, threads: int, _series: Path | None) -> Any:
    """See cold_start.py."""
    import cold_start

    return cold_start.measured(rounds, threads)


def cohort(rounds: int, threads: int, _series: Path | None) -> Any:
    """See cohort_overhead.py."""
    import cohort_overhead

    return cohort_overhead.measured(rounds, threads)


def training(rounds: int, threads: int, _series: Path | None) -> Any:
    """See training_step.py."""
    import training_step

    return training_step.measured(rounds, threads)


def series(rounds: int, threads: int, series: Path | None) -> Any:
    """See series_reading.py."""
    import series_reading

    folder = series_reading.largest_series_folder(series) if series else None
    if folder is not None:
        return series_reading.measured(rounds, threads, folder, "LIDC-IDRI" if "LIDC" in str(folder) else "own")
    with tempfile.TemporaryDirectory() as made_up:
        return series_reading.measured(
            rounds, threads, series_reading.write_made_up_series(Path(made_up) / "ct"), "made up"
        )


def tries(rounds: int, threads: int, _series: Path | None) -> Any:
    """See tries.py."""
    import tries as ways

    return ways.measured(rounds, threads)


def panel(_rounds: int, _threads: int, _series: Path | None) -> Any:
    """See panel_refresh.py."""
    import panel_refresh

    return vars(panel_refresh.panel_timings())


def growth(_rounds: int, _threads: int, _series: Path | None) -> Any:
    """See growth.py, with fewer points."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(HERE / "growth.py"), "--output", folder, "--quick"]
        subprocess.run([*command, "--only", "nodules", "slices", "rows"], check=True, stdout=subprocess.DEVNULL)
        return json.loads((Path(folder) / "growth.json").read_text(encoding="utf-8"))


BENCHMARKS: dict[str, Callable[[int, int, Path | None], Any]] = {
    "cold": cold,
    "click": click,
    "series": series,
    "training": training,
    "panel": panel,
    "tries": tries,
    "cohort": cohort,
    "growth": growth,
}


def in_own_process(name: str, threads: int, series_folder: Path | None) -> Any:
    """What a benchmark finds, or {"fault": reason}; the other benchmarks go on."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "QT_QPA_PLATFORM": "offscreen"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        command = [sys.executable, __file__, ONE, name, "--output", str(file), "--threads", str(threads)]
        command += ["--series", str(series_folder)] if series_folder else []
        try:
            done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, timeout=SECONDS_AT_MOST)
        except subprocess.TimeoutExpired:
            return {"fault": f"not finished within {SECONDS_AT_MOST} s: the machine is too busy or too slow"}
        if done.returncode:
            return {"fault": f"ended with exit code {done.returncode}"}
        return json.loads(file.read_text(encoding="utf-8"))


def load() -> float:
    """Processes that wanted a processor during the last minute."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else float("nan")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write JSON and plots, and renew the page. Exit code 1 where a benchmark could not run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--output", type=Path, default=ROOT / "bench-output")
    parser.add_argument("--series", type=Path, help="folder of a DICOM series")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument(ONE, choices=BENCHMARKS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        found = BENCHMARKS[options.one](ROUNDS[options.one], options.threads, options.series)
        options.output.write_text(json.dumps(found), encoding="utf-8")
        return 0
    from helpers.measuring import machine
    from performance_page import plot, renewed

    start, loads = time.monotonic(), [load()]
    report: dict[str, Any] = {"machine": machine() | {"torch_threads": options.threads}, "found": {}}
    for name in options.only:
        report["found"][name] = in_own_process(name, options.threads, options.series)
        loads.append(load())
        print(f"{name}: {json.dumps(report['found'][name])}", flush=True)
    report |= {"load": [min(loads), max(loads)], "minutes": round((time.monotonic() - start) / 60, 1)}
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / JSON_NAME).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    options.page.write_text(renewed(options.page.read_text(encoding="utf-8"), report), encoding="utf-8")
    plot(report, options.page.parent)
    return 1 if any("fault" in found for found in report["found"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
