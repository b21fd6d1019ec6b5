"""What planning needs: the cost of reading a CT, of a nodule with and without its heat map, and the memory of a process.

    python Testing/Benchmarks/unit_costs.py [--ct FOLDER_OR_FILE ...] [--output FILE.json] [--nodules 16]

Prints JSON. A made-up CT of 512 x 512 x 300 voxels is read as packed and as plain NRRD; `--ct` adds your own, such as a DICOM
folder. Figures are processor seconds, median of three, which other programs on the machine change little; wall-clock seconds
stand beside. Files come from the system's cache: what a disk or a network adds is not in the figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing")]

from helpers.made_up_ct import ball_points, made_up_ct
from helpers.measuring import cost, in_new_process, machine, peak_megabytes

SHAPE = (300, 512, 512)
REPEATS = 3
ONLY = "--memory-of"


def median_cost(action: Callable[[], object], parts: int = 1) -> dict[str, float]:
    """Processor and wall-clock seconds of one part of the action."""
    found = []
    for _ in range(REPEATS):
        with cost() as one:
            action()
        found.append(one)
    return {
        "processor_s": round(statistics.median(one.processor_s for one in found) / parts, 4),
        "wall_s": round(statistics.median(one.wall_s for one in found) / parts, 4),
    }


def reading_costs(files: Sequence[Path]) -> dict[str, Any]:
    """Of each image: its size, voxels and the cost of reading it."""
    from CLIPLungLib.image.read import read_ct

    found = {}
    for file in files:
        parts = [file] if file.is_file() else [part for part in file.rglob("*") if part.is_file()]
        found[file.name] = {
            "voxels": list(read_ct(file).hu.shape),
            "megabytes_on_disk": round(sum(part.stat().st_size for part in parts) / 1e6, 1),
            **median_cost(lambda file=file: read_ct(file)),
        }
    return found


def nodule_costs(count: int) -> dict[str, Any]:
    """Of one nodule among `count` of the same CT, patch included: with and without heat map, and from one alone."""
    from CLIPLungLib.image.patch import extract_patch
    from CLIPLungLib.inference.classifier import NoduleClassifier

    shape = (60, 512, 512)
    ct, points = made_up_ct(shape), (ball_points(shape) * 8)[:count]
    classifier = NoduleClassifier.load(None, "cpu")

    def classify(heatmaps: bool, number: int) -> None:
        patches = [extract_patch(ct, point, classifier.checkpoint.patch) for point in points[:number]]
        classifier.classify_patches(patches, [ct] * number, heatmaps)

    classify(True, 1)
    return {
        "without_heat_map": median_cost(lambda: classify(False, count), count),
        "with_heat_map": median_cost(lambda: classify(True, count), count),
        "alone_with_heat_map": median_cost(lambda: classify(True, 1)),
    }


def memory_after(image: str) -> float:
    """Peak of this process after loading the model and, unless `image` is empty, answering eight points of it; megabytes."""
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.cohort import answers
    from CLIPLungLib.inference.cohort_table import CohortRow

    classifier = NoduleClassifier.load(None, "cpu")
    if image:
        rows = [CohortRow(str(index), Path(image), point) for index, point in enumerate(ball_points(SHAPE)[:8])]
        list(answers(rows, classifier))
    return peak_megabytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ct", type=Path, nargs="*", default=[])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--nodules", type=int, default=16)
    parser.add_argument(ONLY, metavar="IMAGE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.memory_of is not None:
        print(memory_after(options.memory_of))
        return 0
    found: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        packed, plain = Path(folder) / "packed.nrrd", Path(folder) / "plain.nrrd"
        _write(packed, plain)
        found["reading"] = reading_costs([packed, plain, *options.ct])
        memory = {
            name: float(in_new_process(__file__, ONLY, path)) for name, path in (("model", ""), ("ct", str(packed)))
        }
    found["memory_mb"] = {"model_loaded": round(memory["model"]), "after_a_ct": round(memory["ct"]), "voxels": SHAPE}
    found["nodule"] = nodule_costs(options.nodules)
    text = json.dumps(found, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    return 0


def _write(packed: Path, plain: Path) -> None:
    import SimpleITK as sitk

    from CLIPLungLib.image.write import write_volume

    ct = made_up_ct(SHAPE)
    write_volume(ct.hu, ct.ijk_to_ras, packed)
    sitk.WriteImage(sitk.ReadImage(str(packed)), str(plain), useCompression=False)


if __name__ == "__main__":
    sys.exit(main())
