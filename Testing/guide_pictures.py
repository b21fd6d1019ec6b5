"""The pictures of README and user guide, all from the synthetic chest: python Testing/guide_pictures.py FOLDER

FOLDER is Resources/Screenshots for those of the repository. Takes some minutes; needs all extras, and OpenGL off screen.
"""

from __future__ import annotations

import csv
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from CLIPLungLib.cli import main as cliplung
from CLIPLungLib.demo.run import CHEST_NAME, COHORT_NAME
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.outline_mask import OutlineMask
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.image.resample import grid_coordinates, sample_as_stored
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.heat_threshold import HEAT_THRESHOLD
from CLIPLungLib.inference.mask_measurement import corrected_result
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.inference.result_files import write_ct
from CLIPLungLib.phantom.chest import synthetic_chest
from CLIPLungLib.report import palette
from CLIPLungLib.report.axes_drawing import draw_axes
from CLIPLungLib.report.canvas import Canvas
from CLIPLungLib.report.slice_pictures import AXIAL, draw_outline, grey_picture, heat_picture, sample_plane

NAMES = ("report", "slices", "explain", "outline", "comparison", "panel", "guidelines", "similar")
PICTURES = tuple(f"{name}.png" for name in NAMES)
NODULE = "spiculated"
EXPLAINED = ("suspicion", "harmlessness", "spiculation", "lobulation")
# Inches, but for the dots.
DPI, MARGIN, GAP, TITLE = 130, 0.14, 0.10, 0.32
EXPLAIN_TILE, OUTLINE_TILE = 2.9, 4.2
SHOWN_MM = 48.0
# What a person leaves out of the outline: less dense tissue, and what is thinner than about twice so many voxels.
DENSE_HU, BRUSH_VOXELS = -400.0, 3
# Free in the lung, so that no vessel meets the outline.
PLACE, BEFORE_MM, NOW_MM = "left", 9.0, 13.0
PRIOR_SHAPE, PRIOR_SPACING_MM = (130, 220, 270), (2.0, 1.2, 1.2)
DATES = ("--prior-date", "2024-01-01", "--date", "2024-07-01")
# Steps in a colour that are hardly seen; without the noise below them, a file has little more than half its size.
COLOR_STEP = 5


def main(folder: Path) -> None:
    """Draw all pictures; those of a folder are replaced at the end, together."""
    with tempfile.TemporaryDirectory() as temporary:
        work, drawn = Path(temporary), Path(temporary) / "pictures"
        drawn.mkdir()
        draw_demo(work, drawn)
        draw_nodule(work, drawn)
        draw_comparison(work, drawn)
        draw_panel(work, drawn)
        folder.mkdir(parents=True, exist_ok=True)
        for name in PICTURES:
            save_small(drawn / name, folder / name)
            print(f"written: {folder / name} ({(folder / name).stat().st_size // 1000} kB)")


def run(*command: object) -> None:
    """A command of cliplung on the CPU, whose numbers are the same everywhere."""
    if cliplung([*map(str, command), "--device", "cpu"]):
        raise SystemExit(f"cliplung {command[0]} failed")


def save_small(source: Path, target: Path) -> None:
    """The same picture in fewer shades and without transparency."""
    pixels = np.asarray(Image.open(source).convert("RGB"), dtype=np.float64)
    Image.fromarray((np.rint(pixels / COLOR_STEP) * COLOR_STEP).astype(np.uint8)).save(target, optimize=True)


def draw_demo(work: Path, folder: Path) -> None:
    """report.png and slices.png, as the demo writes them."""
    run("demo", "--output", work / "demo")
    for name in ("report.png", "slices.png"):
        shutil.copy(work / "demo" / NODULE / name, folder / name)


def draw_nodule(work: Path, folder: Path) -> None:
    """explain.png and outline.png, of the nodule of the report."""
    ct = read_ct(work / "demo" / CHEST_NAME)
    point_ras = point_of(work / "demo" / COHORT_NAME)
    classifier = NoduleClassifier.load(None, "cpu")
    draw_explained(ct, point_ras, classifier, folder / "explain.png")
    draw_outlines(ct, classifier.classify(ct, point_ras), folder / "outline.png")


def point_of(cohort: Path) -> tuple[float, float, float]:
    """RAS mm of the nodule in the table of the demo."""
    with cohort.open(newline="", encoding="utf-8") as stream:
        row = next(row for row in csv.DictReader(stream) if row["id"] == NODULE)
    return float(row["r"]), float(row["a"]), float(row["s"])


def draw_explained(
    ct: CTVolume, point_ras: tuple[float, float, float], classifier: NoduleClassifier, file: Path
) -> None:
    """A map of each name over the same slice."""
    canvas, tiles = row_of_tiles(len(EXPLAINED), EXPLAIN_TILE)
    pixels = round(EXPLAIN_TILE * DPI)
    slice_hu = sample_plane(ct, AXIAL, point_ras, SHOWN_MM, pixels)
    for name, left in zip(EXPLAINED, tiles, strict=True):
        heat, heat_to_ras = classifier.explain(ct, point_ras, name)
        relevance = sample_plane(CTVolume(heat, heat_to_ras, name), AXIAL, point_ras, SHOWN_MM, pixels)
        draw_title(canvas, left, name.capitalize(), "empty" if heat.max() < HEAT_THRESHOLD else "")
        canvas.picture(left, TITLE, EXPLAIN_TILE, EXPLAIN_TILE, heat_picture(slice_hu, relevance))
    canvas.save(file, {})


def draw_outlines(ct: CTVolume, result: NoduleResult, file: Path) -> None:
    """The outline of the program and that of a person, each with its axes."""
    by_hand = corrected_result(result, tightened(ct, result.outline_in(ct)))
    canvas, tiles = row_of_tiles(2, OUTLINE_TILE)
    pixels = round(OUTLINE_TILE * DPI)
    for one, left, title in zip((result, by_hand), tiles, ("Automatic outline", "Corrected by hand"), strict=True):
        picture = grey_picture(sample_plane(ct, AXIAL, one.point_ras, SHOWN_MM, pixels))
        inside = CTVolume(one.outline.astype(np.float32), one.heatmap_to_ras, "outline")
        draw_outline(picture, sample_plane(inside, AXIAL, one.point_ras, SHOWN_MM, pixels))
        draw_title(canvas, left, title, f"{one.measurement.volume_mm3:.0f} mm\u00b3")
        canvas.picture(left, TITLE, OUTLINE_TILE, OUTLINE_TILE, picture)
        draw_axes(canvas, one, left, TITLE, OUTLINE_TILE, SHOWN_MM)
    canvas.save(file, {})


def tightened(ct: CTVolume, outline: OutlineMask) -> OutlineMask:
    """The outline as a careful person leaves it: close to dense tissue, without spicules."""
    hu = sample_as_stored(ct, grid_coordinates(ct, outline.ijk_to_ras, outline.inside.shape))
    brush = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), BRUSH_VOXELS)[None]
    return replace(outline, inside=ndimage.binary_opening(outline.inside & (hu > DENSE_HU), brush))


def row_of_tiles(count: int, tile: float) -> tuple[Canvas, list[float]]:
    """A page for square pictures side by side, and their left edges in inches."""
    width = 2 * MARGIN + count * tile + (count - 1) * GAP
    canvas = Canvas(width, TITLE + tile + MARGIN, DPI, palette.BACKGROUND)
    return canvas, [MARGIN + index * (tile + GAP) for index in range(count)]


def draw_title(canvas: Canvas, left: float, title: str, remark: str = "") -> None:
    """What a picture shows, in bold letters above it, and in pale ones more about it."""
    width = canvas.text(left, TITLE - 0.10, title, 10.5, palette.TEXT, bold=True)
    canvas.text(left + width + 0.12, TITLE - 0.10, remark, 9.5, palette.MUTED)


def draw_comparison(work: Path, folder: Path) -> None:
    """comparison.png: a nodule that has grown, in scans in which the patient lies differently."""
    from helpers.two_scans import PLACES_RAS, movement, scanned_again, with_balls

    chest = synthetic_chest()
    before = with_balls(chest, {PLACE: BEFORE_MM})
    write_ct(scanned_again(before, movement(), PRIOR_SHAPE, PRIOR_SPACING_MM), work / "before.nrrd")
    write_ct(with_balls(chest, {PLACE: NOW_MM}), work / "now.nrrd")
    scans = (work / "now.nrrd", "--point", *PLACES_RAS[PLACE], "--prior", work / "before.nrrd")
    run("compare", *scans, *DATES, "--output", work / "change")
    shutil.copy(work / "change" / "comparison.png", folder / "comparison.png")


def draw_panel(work: Path, folder: Path) -> None:
    """panel.png, and the sections guidelines.png and similar.png, on stand-ins for Slicer's widgets."""
    import panel_pictures

    def similar(widget: object) -> object:
        widget.similar.ui.similarSection.collapsed = False
        return widget.similar.widget

    pictures = (
        ("panel", "one", lambda widget: None),
        ("guidelines", "guidelines", lambda widget: widget.guidelines.widget),
        ("similar", "one", similar),
    )
    for name, state, part_of in pictures:
        application = panel_pictures.Application(work / f"{name}.ini")
        with panel_pictures.opened(application) as widget:
            panel_pictures.states()[state](widget)
            panel_pictures.save(widget, folder / f"{name}.png", part_of(widget))
        application.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
