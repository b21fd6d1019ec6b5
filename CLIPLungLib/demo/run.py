"""The whole workflow in one run: a CT, points, answers, report, pictures and a scene that 3D Slicer opens."""

from __future__ import annotations

import csv
import importlib.util
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from CLIPLungLib.atomic_write import remove_leftovers, writing
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.cohort import COHORT_COLUMNS
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.inference.result_files import write_ct, write_heatmap, write_json
from CLIPLungLib.report.page import save_report
from CLIPLungLib.vocabulary import CLASS_TITLES

if TYPE_CHECKING:
    from CLIPLungLib.demo.slicer_core_host import StandaloneSlicer

SCENE_NAME, CHEST_NAME, COHORT_NAME = "scene.mrb", "chest.nrrd", "cohort.csv"
VIEW_WIDTH_MM = 110.0


@dataclass(frozen=True, eq=False)
class DemoPoint:
    """A click: its label (also the name of its folder), where (RAS mm), and what is known of the nodule there."""

    label: str
    point_ras: np.ndarray
    known: str = ""


def run_demo(
    output: Path,
    ct_file: Path | None = None,
    point_ras: Sequence[float] | None = None,
    checkpoint: Path | None = None,
    device: str = "auto",
) -> Iterator[str]:
    """Make or read a CT, classify its points and write all outputs; yields lines that say what was done.

    Args:
        output: folder for the files.
        ct_file: a CT instead of the synthetic chest; needs `point_ras`.
        point_ras: the nodule in `ct_file`, RAS mm.
        checkpoint: other weights than the bundled ones.
        device: where to compute.

    Raises:
        InputError: the CT or the point is refused.
        MissingPackageError: a package of the extras `report` or `train` is missing.
    """
    if ct_file is not None and point_ras is not None:
        doing, make_case = "Reading the CT ...", partial(_own_case, ct_file, point_ras)
    elif ct_file is None and point_ras is None:
        doing, make_case = (
            "Drawing a synthetic chest with nodules of real LIDC-IDRI shape ...",
            partial(_synthetic_case),
        )
    else:
        raise InputError("Your own CT needs a point and a point needs a CT: give both --ct FILE and --point R A S.")
    output.mkdir(parents=True, exist_ok=True)
    remove_leftovers(output)
    yield doing
    ct, points = make_case()
    classifier = NoduleClassifier.load(checkpoint, device)
    yield f"Classifying {len(points)} point(s) in {ct} on {classifier.device} ..."
    results = classifier.classify_points(ct, [point.point_ras.tolist() for point in points])
    for point, result in zip(points, results, strict=True):
        yield _summary(point, result)
        _write_files(output / point.label, ct, point, result)
    if ct_file is None:
        _write_cohort(output, ct, points)
    yield from _write_scene(output, ct, points, results)
    most_suspicious = max(zip(points, results, strict=True), key=lambda pair: pair[1].malignancy_probability)[0]
    yield from _farewell(output, most_suspicious, ct_file)
    yield results[0].notice


def _synthetic_case() -> tuple[CTVolume, list[DemoPoint]]:
    from CLIPLungLib.phantom.chest import synthetic_chest
    from CLIPLungLib.phantom.nodules import place_nodules

    chest = synthetic_chest()
    placed = place_nodules(chest)
    return chest, [
        DemoPoint(
            nodule.label,
            nodule.center_ras,
            f"readers' mean malignancy {nodule.ratings['malignancy']:.1f}, {nodule.diameter_mm:.0f} mm",
        )
        for nodule in placed
    ]


def _own_case(ct_file: Path, point_ras: Sequence[float]) -> tuple[CTVolume, list[DemoPoint]]:
    return read_ct(ct_file), [DemoPoint("nodule", np.asarray(point_ras, dtype=np.float64))]


def _summary(point: DemoPoint, result: NoduleResult) -> str:
    known = f"   (shape from LIDC-IDRI: {point.known})" if point.known else ""
    return (
        f"  {point.label:<22} {result.malignancy_probability:6.1%}  {CLASS_TITLES[result.predicted_class]:<13}{known}"
    )


def _write_files(folder: Path, ct: CTVolume, point: DemoPoint, result: NoduleResult) -> None:
    remove_leftovers(folder)
    write_json(result, folder / "result.json")
    write_heatmap(result, folder / "heatmap.nrrd")
    save_report(ct, result, folder / "report.png", title=point.label)


def _write_cohort(output: Path, ct: CTVolume, points: Sequence[DemoPoint]) -> None:
    """The same points as a table, to try `cliplung batch` on."""
    write_ct(ct, output / CHEST_NAME)
    with writing(output / COHORT_NAME) as file, file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COHORT_COLUMNS)
        writer.writerows([point.label, CHEST_NAME, *(f"{value:.2f}" for value in point.point_ras)] for point in points)


def _write_scene(
    output: Path, ct: CTVolume, points: Sequence[DemoPoint], results: Sequence[NoduleResult]
) -> Iterator[str]:
    if importlib.util.find_spec("slicer") is None:
        yield "No scene and no slice pictures: the package slicer-core is not installed (pip install slicer-core)."
        return
    from CLIPLungLib.demo.slicer_core_host import StandaloneSlicer
    from CLIPLungLib.scene.result_store import show_result
    from CLIPLungLib.scene.slice_layers import jump_slices

    with StandaloneSlicer() as application:
        ct_node = application.add_ct(ct)
        markups_node = application.add_points("Nodules", [(point.label, point.point_ras) for point in points])
        problem = _rendering_problem()
        if problem:
            yield f"No slice pictures: {problem}"
        for index, (point, result) in enumerate(zip(points, results, strict=True)):
            show_result(ct_node, markups_node, markups_node.GetNthControlPointID(index), result)
            jump_slices(application.scene, point.point_ras)
            if not problem:
                _draw_slices(application, output / point.label / "slices.png")
        application.save(output / SCENE_NAME)


def _rendering_problem() -> str | None:
    from CLIPLungLib.demo.offscreen_views import rendering_problem

    return rendering_problem()


def _draw_slices(application: StandaloneSlicer, file: Path) -> None:
    """Axial, sagittal and coronal view side by side, as Slicer's own classes draw them."""
    from CLIPLungLib.demo.offscreen_views import SliceView, save_png

    pictures = []
    for name in ("Red", "Yellow", "Green"):
        view = SliceView(application, name)
        view.zoom(VIEW_WIDTH_MM)
        pictures.append(view.picture())
    save_png(np.concatenate(pictures, axis=1), file)


def _farewell(output: Path, point: DemoPoint, ct_file: Path | None) -> Iterator[str]:
    yield f"\nLook at {output / point.label / 'report.png'} (one folder per nodule: report.png, slices.png, result.json, heatmap.nrrd)."
    if (output / SCENE_NAME).is_file():
        yield f"Open {output / SCENE_NAME} in 3D Slicer: File > Add Data, or drop it on the window."
    if ct_file is None:
        yield f"Next, a whole cohort: {_program()} batch {output / COHORT_NAME} --output {output / 'cohort'} --heatmaps"
        yield 'Next, your own CT:    make demo CT=chest.nrrd POINT="-56.3 -86.4 -115.9"   (a DICOM folder works too; RAS mm)'


def _program() -> str:
    """How the reader can start the command: by its name only where the shell finds it."""
    return "cliplung" if shutil.which("cliplung") else f"{sys.executable} -m CLIPLungLib"
