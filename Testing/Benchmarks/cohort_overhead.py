"""A cohort against what it cannot do without: reading its images, and the bare network at its best batch size.

Scaled down: CTS images of SHAPE voxels with POINTS nodules each. The network looks at every nodule twice, at the click and again centred
on the outline, so the bare network is run once over the encoder and once whole for every patch, and the
second reader once.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing"), str(Path(__file__).parent)]

from helpers.made_up_ct import ball_points, write_made_up_cts
from interleaved import Goal, Times, figure, timed_in_turns

CTS, POINTS, SHAPE = 2, 8, (80, 256, 256)
BATCH_SIZES = (1, 4, 8)


def measured(rounds: int, threads: int) -> list[dict[str, Any]]:
    """Cohorts without and with heat maps."""
    import torch

    from CLIPLungLib.image.patch import extract_patch
    from CLIPLungLib.image.read import read_ct
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.cohort import run_batch
    from CLIPLungLib.inference.readout import network_inputs, second_readings

    classifier = NoduleClassifier.load(None, "cpu")
    network, spec = classifier.checkpoint.network, classifier.checkpoint.patch
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, places = write_made_up_cts(folder, CTS, SHAPE), ball_points(SHAPE)[:POINTS]
        table = _table(folder, files, places)
        patches = [extract_patch(read_ct(files[0]), place, spec) for place in places]
        planes, exists = network_inputs(patches, classifier.checkpoint, classifier.device)
        planes, exists = planes.repeat(CTS, 1, 1, 1), exists.repeat(CTS, 1)

        def bare(size: int) -> None:
            with torch.inference_mode():
                for part, there in zip(planes.split(size), exists.split(size), strict=True):
                    network.encoder(part, there)
                    network(part, there)
                    second_readings(part, there, classifier.checkpoint, classifier.checkpoint.second_reader)

        def batch(heatmaps: bool) -> None:
            shutil.rmtree(folder / "out", ignore_errors=True)
            if run_batch(table, folder / "out", classifier, heatmaps):
                raise SystemExit("rows of the cohort failed")

        actions: dict[str, Any] = {f"bare {size}": lambda size=size: bare(size) for size in BATCH_SIZES}
        actions |= {
            "read": lambda: [read_ct(file) for file in files],
            "without": lambda: batch(False),
            "with": lambda: batch(True),
        }
        times = timed_in_turns(actions, rounds)
    best = min(BATCH_SIZES, key=lambda size: sorted(times[f"bare {size}"].wall_s)[rounds // 2])
    least = _sum(times["read"], times[f"bare {best}"])
    of = f"cohort of {CTS * POINTS} nodules on {CTS} CTs"
    baseline = f"reading alone + bare network and second reader, batches of {best}"
    return [
        figure(f"{of}, without heat maps", baseline, times["without"], least, Goal(1.3), threads),
        figure(f"{of}, with heat maps", baseline, times["with"], least, Goal(1.6), threads),
    ]


def _table(folder: Path, files: list[Path], places: list[tuple[float, float, float]]) -> Path:
    table = folder / "cohort.csv"
    rows = [f"{file.stem}_{index},{file.name},{r},{a},{s}" for file in files for index, (r, a, s) in enumerate(places)]
    table.write_text("\n".join(["id,image,r,a,s", *rows]) + "\n", encoding="ascii")
    return table


def _sum(first: Times, second: Times) -> Times:
    def added(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(x + y for x, y in zip(a, b, strict=True))

    return Times(added(first.wall_s, second.wall_s), added(first.processor_s, second.processor_s))
