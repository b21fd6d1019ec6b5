"""Before and after on one page: both nodules in the same field of view and window, and in plain text what has changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import MissingPackageError
from CLIPLungLib.followup.comparison import Comparison
from CLIPLungLib.followup.wording import change_lines
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.report import palette
from CLIPLungLib.report.slice_pictures import (
    LUNG_WINDOW_HU,
    PLANES,
    Plane,
    draw_outline,
    grey_picture,
    sample_plane,
)
from CLIPLungLib.version import __version__

if TYPE_CHECKING:
    from CLIPLungLib.report.canvas import Canvas

# In inches from the top left corner.
WIDTH, HEIGHT, DPI = 13.0, 8.2, 130
MARGIN, GAP, TOP, TILE = 0.36, 0.10, 1.42, 2.95
PANEL_X = MARGIN + 2 * (TILE + GAP) + 0.10
PANEL_WIDTH, PANEL_HEIGHT = WIDTH - MARGIN - PANEL_X, 2 * TILE + GAP
SHOWN = PLANES[:2]
# The field of view: this many diameters of the larger nodule, within limits.
DIAMETERS, SMALLEST_MM, LARGEST_MM = 3.0, 40.0, 120.0
SCALE_MM, LETTER, PLATE_OPACITY = 10, 0.22, 0.6
TEXT_POINTS, LINE_STEP = 9.5, 0.195


def save_comparison_page(
    current: CTVolume, prior: CTVolume, comparison: Comparison, path: Path, title: str = ""
) -> None:
    """Draw a comparison over its scans and write it as PNG: the prior scan on the left, the current one on the right.

    Raises:
        InputError: the file cannot be written.
        MissingPackageError: matplotlib is not installed.
    """
    canvas = _new_canvas()
    _draw_header(canvas, comparison, title or "Before and after")
    size_mm = field_of_view_mm(comparison)
    columns = (
        ("Before", prior, comparison.prior, comparison.prior_date),
        ("Now", current, comparison.current, comparison.current_date),
    )
    for column, (name, ct, result, day) in enumerate(columns):
        x = MARGIN + column * (TILE + GAP)
        name_width = canvas.text(x, TOP - 0.12, f"{name} {day or ''}".strip(), 11, palette.TEXT, bold=True)
        canvas.text(x + TILE, TOP - 0.12, ct.name, 8.5, palette.MUTED, align="right", max_width=TILE - name_width - 0.1)
        for row, plane in enumerate(SHOWN):
            _draw_view(canvas, ct, result, plane, x, TOP + row * (TILE + GAP), size_mm)
    _draw_change(canvas, comparison)
    canvas.text(MARGIN, HEIGHT - 0.24, comparison.current.notice, 8, palette.MUTED, max_width=WIDTH - 2.4)
    canvas.text(WIDTH - MARGIN, HEIGHT - 0.24, f"CLIPLung {__version__}", 8, palette.FAINT, align="right")
    with writing(Path(path)) as temporary:
        software = {"Title": title or "Before and after", "Software": f"CLIPLung {__version__}"}
        canvas.save(temporary, software | {"Comment": comparison.current.notice})


def field_of_view_mm(comparison: Comparison) -> float:
    """Edge of all pictures: the same for both scans, so that growth is seen as growth."""
    largest_mm = max(comparison.current.diameter_mm, comparison.prior.diameter_mm)
    return float(np.clip(DIAMETERS * largest_mm, SMALLEST_MM, LARGEST_MM))


def _new_canvas() -> Canvas:
    try:
        from CLIPLungLib.report.canvas import Canvas
    except ImportError as error:
        raise MissingPackageError(
            "The picture of a comparison needs matplotlib, which is not installed. Install it with `pip install matplotlib` "
            "(in Slicer's Python console: `slicer.util.pip_install('matplotlib')`); the numbers do not need it."
        ) from error
    return Canvas(WIDTH, HEIGHT, DPI, palette.BACKGROUND)


def _draw_header(canvas: Canvas, comparison: Comparison, title: str) -> None:
    canvas.text(MARGIN, 0.60, title, 20, palette.TEXT, bold=True, max_width=9.4)
    low, high = LUNG_WINDOW_HU
    words = [
        f"Lung window {low:.0f} to {high:.0f} HU",
        f"field of view {field_of_view_mm(comparison):.0f} mm in all pictures",
    ]
    if comparison.match:
        words.append(f"place in the prior CT proposed by registration (correlation {comparison.match.similarity:.2f})")
    canvas.text(MARGIN, 0.92, ", ".join(words), 9.5, palette.MUTED, max_width=WIDTH - 2 * MARGIN)
    notice = "RESEARCH USE ONLY"
    width = canvas.width(notice, 9.5, bold=True) + 0.36
    x = WIDTH - MARGIN - width
    canvas.card(x, 0.36, width, 0.38, palette.BACKGROUND, edge=palette.WARNING)
    canvas.text(x + width / 2, 0.55, notice, 9.5, palette.WARNING, align="center", vertical="center", bold=True)


def _draw_view(
    canvas: Canvas, ct: CTVolume, result: NoduleResult, plane: Plane, x: float, y: float, size_mm: float
) -> None:
    center = result.measurement.center_ras if result.measurement else result.point_ras
    pixels = round(TILE * DPI)
    picture = grey_picture(sample_plane(ct, plane, center, size_mm, pixels))
    if result.outline is not None:
        outline = CTVolume(result.outline.astype(np.float32), result.heatmap_to_ras, "outline")
        draw_outline(picture, sample_plane(outline, plane, center, size_mm, pixels))
    canvas.picture(x, y, TILE, TILE, picture)
    canvas.bar(x, y, canvas.width(plane.name, 9, bold=True) + 0.2, LETTER, "black", PLATE_OPACITY)
    canvas.text(x + 0.1, y + LETTER / 2, plane.name, 9, palette.TEXT, vertical="center", bold=True)
    inset, middle = LETTER / 2, TILE / 2
    places = ((inset, middle), (TILE - inset, middle), (middle, inset), (middle, TILE - inset))
    for letter, (right, down) in zip(plane.edges, places, strict=True):
        canvas.bar(x + right - inset, y + down - inset, LETTER, LETTER, "black", PLATE_OPACITY)
        canvas.text(x + right, y + down, letter, 9, palette.TEXT, "center", "center", bold=True)
    length = SCALE_MM * TILE / size_mm
    canvas.bar(x + TILE - length - 0.1, y + TILE - 0.1, length, 0.04, palette.TEXT)
    canvas.text(x + TILE - 0.1, y + TILE - 0.16, f"{SCALE_MM} mm", 8, palette.TEXT, align="right")


def _draw_change(canvas: Canvas, comparison: Comparison) -> None:
    """The card with the change in words, and below it every warning."""
    canvas.card(PANEL_X, TOP, PANEL_WIDTH, PANEL_HEIGHT, palette.CARD)
    left, width = PANEL_X + 0.2, PANEL_WIDTH - 0.4
    y, bottom = TOP + 0.34, TOP + PANEL_HEIGHT - 0.1
    for heading, lines in change_lines(comparison):
        if y > bottom:
            return
        color = palette.WARNING if heading == "Warnings" else palette.MUTED
        canvas.text(left, y, heading, 9.5, color, bold=True)
        y += LINE_STEP + 0.04
        for line in (part for whole in lines for part in canvas.wrapped(whole, TEXT_POINTS, width)):
            if y > bottom:
                return
            canvas.text(left, y, line, TEXT_POINTS, palette.TEXT)
            y += LINE_STEP
        y += 0.14
