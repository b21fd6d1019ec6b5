"""The report page: the nodule in three planes, the heat map, the probability and the signs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import MissingPackageError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.outline_mask import shifted
from CLIPLungLib.image.patch import require_point
from CLIPLungLib.inference.heat_threshold import HEAT_THRESHOLD
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.inference.result_files import checked_heatmap, require_finite
from CLIPLungLib.report import palette
from CLIPLungLib.report.axes_drawing import draw_axes
from CLIPLungLib.report.findings import draw_attributes, draw_verdict
from CLIPLungLib.report.slice_pictures import (
    AXIAL,
    LUNG_WINDOW_HU,
    PLANES,
    Plane,
    draw_outline,
    grey_picture,
    heat_picture,
    sample_plane,
)
from CLIPLungLib.version import __version__

if TYPE_CHECKING:
    from CLIPLungLib.report.canvas import Canvas

# The page, in inches from its top left corner; A4 landscape in shape.
WIDTH, HEIGHT, DPI = 14.0, 9.0, 150
MARGIN = 0.36
CONTENT_TOP, CONTENT_BOTTOM = 1.14, 8.28
TILE, GAP = 3.04, 0.10
PANEL_X = MARGIN + 3 * TILE + 3 * GAP
PANEL_WIDTH = WIDTH - MARGIN - PANEL_X
VERDICT_HEIGHT = 2.38
STRIP_TOP = CONTENT_TOP + 2 * TILE + 2 * GAP

CONTEXT_MM, CLOSE_UP_MM = 90.0, 48.0
CONTEXT_SCALE_MM, CLOSE_UP_SCALE_MM = 20, 10
SMALLEST_GAP_MM = 6.0
# Dark plates keep letters readable on bright tissue.
LETTER, PLATE_OPACITY = 0.22, 0.6
MOST_WARNING_LINES = 4
BULLET = "\u2022"
READING = (
    "Bar: expected rating on the readers' scale, the pale band is their spread; a filled cell is the likeliest kind. "
    "Similarity: cosine of image and text of the sign at its clearest."
)


def save_report(ct: CTVolume, result: NoduleResult, path: Path, title: str = "") -> None:
    """Draw the result over its scan and write it as PNG (14 x 9 inches, 150 dpi).

    Args:
        ct: the scan the result was computed from.
        result: the answer for one nodule.
        path: of the picture; its folder is made when missing.
        title: headline; "Lung nodule" when empty.

    Raises:
        InputError: the point lies outside the scan, the result holds numbers that are NaN, infinite or no relevance, or the
            file cannot be written.
        MissingPackageError: matplotlib is not installed.
    """
    require_point(ct, np.array(result.point_ras))
    require_finite(result)
    title = title or "Lung nodule"
    canvas = _new_canvas()
    _draw_header(canvas, ct, result, title)
    _draw_views(canvas, ct, result)
    _draw_heat_scale(canvas)
    _draw_warnings(canvas, result.warnings)
    draw_verdict(canvas, result, PANEL_X, CONTENT_TOP, PANEL_WIDTH, VERDICT_HEIGHT)
    attributes_top = CONTENT_TOP + VERDICT_HEIGHT + GAP
    draw_attributes(canvas, result, PANEL_X, attributes_top, PANEL_WIDTH, CONTENT_BOTTOM - attributes_top)
    _draw_footer(canvas, result)
    with writing(Path(path)) as temporary:
        canvas.save(temporary, {"Title": title, "Software": f"CLIPLung {__version__}", "Comment": result.notice})


def _new_canvas() -> Canvas:
    try:
        from CLIPLungLib.report.canvas import Canvas
    except ImportError as error:
        raise MissingPackageError(
            "The picture of a result needs matplotlib, which is not installed. Install it with `pip install matplotlib` "
            "(in Slicer's Python console: `slicer.util.pip_install('matplotlib')`); numbers and heat map do not need it."
        ) from error
    return Canvas(WIDTH, HEIGHT, DPI, palette.BACKGROUND)


def _draw_header(canvas: Canvas, ct: CTVolume, result: NoduleResult, title: str) -> None:
    canvas.text(MARGIN, 0.60, title, 21, palette.TEXT, bold=True, max_width=10.4)
    spacing = " x ".join(f"{step:.2f}" for step in ct.spacing_mm)
    point = ", ".join(f"{value:.1f}" for value in result.point_ras)
    low, high = LUNG_WINDOW_HU
    x = MARGIN + canvas.text(MARGIN, 0.90, ct.name, 10, palette.TEXT, max_width=3.7) + 0.30
    x += canvas.text(x, 0.90, f"Point RAS {point} mm", 10, palette.MUTED) + 0.30
    x += canvas.text(x, 0.90, f"Voxels {spacing} mm", 10, palette.MUTED) + 0.30
    canvas.text(x, 0.90, f"Lung window {low:.0f} to {high:.0f} HU", 10, palette.MUTED)
    notice = "RESEARCH USE ONLY"
    width = canvas.width(notice, 9.5, bold=True) + 0.36
    x = WIDTH - MARGIN - width
    canvas.card(x, 0.50, width, 0.38, palette.BACKGROUND, edge=palette.WARNING)
    canvas.text(x + width / 2, 0.69, notice, 9.5, palette.WARNING, align="center", vertical="center", bold=True)


def _draw_views(canvas: Canvas, ct: CTVolume, result: NoduleResult) -> None:
    """Three planes in their surroundings, and below each of them the close-up with the heat map."""
    heat = CTVolume(checked_heatmap(result), result.heatmap_to_ras, "heat map")
    outline = _outline_volume(ct, result)
    # One sample for each pixel of the page.
    pixels = round(TILE * DPI)
    gap_mm = max(SMALLEST_GAP_MM, result.diameter_mm / 2 + 3.0)
    for column, plane in enumerate(PLANES):
        x = MARGIN + column * (TILE + GAP)
        context = sample_plane(ct, plane, result.point_ras, CONTEXT_MM, pixels)
        canvas.picture(x, CONTENT_TOP, TILE, TILE, grey_picture(context))
        _draw_marks(canvas, plane, x, CONTENT_TOP, CONTEXT_MM, CONTEXT_SCALE_MM, gap_mm)
        _draw_close_up_frame(canvas, x, CONTENT_TOP)
        y = CONTENT_TOP + TILE + GAP
        close_up = sample_plane(ct, plane, result.point_ras, CLOSE_UP_MM, pixels)
        relevance = sample_plane(heat, plane, result.point_ras, CLOSE_UP_MM, pixels)
        picture = heat_picture(close_up, relevance)
        if outline is not None:
            draw_outline(picture, sample_plane(outline, plane, result.point_ras, CLOSE_UP_MM, pixels))
        canvas.picture(x, y, TILE, TILE, picture)
        _draw_marks(canvas, plane, x, y, CLOSE_UP_MM, CLOSE_UP_SCALE_MM, gap_mm)
        if plane is AXIAL:
            draw_axes(canvas, result, x, y, TILE, CLOSE_UP_MM)


def _outline_volume(ct: CTVolume, result: NoduleResult) -> CTVolume | None:
    """The outline as a volume, with a rim of voxels outside around it."""
    outline = result.outline_in(ct)
    if outline is None:
        return None
    inside = np.pad(outline.inside, 1).astype(np.float32)
    return CTVolume(inside, shifted(outline.ijk_to_ras, -np.ones(3)), "outline")


def _draw_marks(canvas: Canvas, plane: Plane, x: float, y: float, size_mm: float, scale_mm: int, gap_mm: float) -> None:
    """Name, orientation letters, cross hair and scale bar of a square picture of `size_mm` with its corner at x, y inches."""
    middle_x, middle_y, inset = x + TILE / 2, y + TILE / 2, LETTER / 2
    name_width = canvas.width(plane.name, 9.5, bold=True)
    label = f"{size_mm:.0f} mm"
    canvas.bar(x, y, name_width + canvas.width(label, 8.5) + 0.28, LETTER, "black", PLATE_OPACITY)
    canvas.text(x + 0.10, y + inset, plane.name, 9.5, palette.TEXT, vertical="center", bold=True)
    canvas.text(x + 0.18 + name_width, y + inset, label, 8.5, palette.TEXT, vertical="center")
    places = ((x + inset, middle_y), (x + TILE - inset, middle_y), (middle_x, y + inset), (middle_x, y + TILE - inset))
    for letter, (letter_x, letter_y) in zip(plane.edges, places, strict=True):
        canvas.bar(letter_x - inset, letter_y - inset, LETTER, LETTER, "black", PLATE_OPACITY)
        canvas.text(letter_x, letter_y, letter, 9.5, palette.TEXT, "center", "center", bold=True)
    inches = TILE / size_mm
    outer = TILE / 2 - LETTER - 0.08
    inner = min(gap_mm * inches, outer - 0.16)
    for step_x, step_y in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        start = (middle_x + step_x * inner, middle_y + step_y * inner)
        end = (middle_x + step_x * outer, middle_y + step_y * outer)
        canvas.line(start, end, palette.CROSS_HAIR, 0.9, rim=True)
    _draw_scale_bar(canvas, x + TILE, y + TILE, scale_mm, inches)


def _draw_scale_bar(canvas: Canvas, right: float, bottom: float, length_mm: int, inches_per_mm: float) -> None:
    """A bar of known length in the bottom right corner of a picture, on a dark plate."""
    length, label = length_mm * inches_per_mm, f"{length_mm} mm"
    plate = length + canvas.width(label, 8.5) + 0.22
    middle = bottom - LETTER / 2
    canvas.bar(right - plate, bottom - LETTER, plate, LETTER, "black", PLATE_OPACITY)
    canvas.text(right - 0.15 - length, middle, label, 8.5, palette.TEXT, align="right", vertical="center")
    canvas.bar(right - 0.08 - length, middle - 0.02, length, 0.04, palette.TEXT)


def _draw_close_up_frame(canvas: Canvas, x: float, y: float) -> None:
    """Corners around the part of the context that the close-up below shows."""
    half, length = TILE * CLOSE_UP_MM / CONTEXT_MM / 2, 0.11
    for side_x in (-1, 1):
        for side_y in (-1, 1):
            corner = (x + TILE / 2 + side_x * half, y + TILE / 2 + side_y * half)
            canvas.line(corner, (corner[0] - side_x * length, corner[1]), palette.MUTED)
            canvas.line(corner, (corner[0], corner[1] - side_y * length), palette.MUTED)


def _draw_heat_scale(canvas: Canvas) -> None:
    """The colour bar; empty where the heat map is not shown."""
    canvas.card(MARGIN, STRIP_TOP, TILE, CONTENT_BOTTOM - STRIP_TOP, palette.CARD)
    relevance = np.linspace(0.0, 1.0, 512)[None, :]
    opacity = (relevance >= HEAT_THRESHOLD).astype(float)
    x, y, width, height = MARGIN + 0.18, STRIP_TOP + 0.36, TILE - 0.36, 0.14
    canvas.text(x, STRIP_TOP + 0.25, "Relevance for suspicion", 9, palette.TEXT, bold=True)
    canvas.picture(x, y, width, height, np.dstack([palette.heat_rgb(relevance), opacity]))
    canvas.outline(x, y, width, height, palette.FAINT)
    for value in (0.0, HEAT_THRESHOLD, 0.5, 0.75, 1.0):
        align = {0.0: "left", 1.0: "right"}.get(value, "center")
        canvas.text(x + value * width, y + height + 0.19, f"{value:g}", 8, palette.MUTED, align=align)


def _draw_warnings(canvas: Canvas, warnings: tuple[str, ...]) -> None:
    """The strip beside the colour bar: every warning, or the statement that there is none."""
    x = MARGIN + TILE + GAP
    width, height = 2 * TILE + GAP, CONTENT_BOTTOM - STRIP_TOP
    if not warnings:
        canvas.card(x, STRIP_TOP, width, height, palette.CARD)
        canvas.text(x + 0.18, STRIP_TOP + height / 2, "No warnings", 9, palette.MUTED, vertical="center")
        return
    canvas.card(x, STRIP_TOP, width, height, palette.CARD, edge=palette.WARNING)
    left, middle = x + 0.20, STRIP_TOP + height / 2
    canvas.polygon([(left, middle + 0.13), (left + 0.30, middle + 0.13), (left + 0.15, middle - 0.14)], palette.WARNING)
    canvas.text(left + 0.15, middle + 0.03, "!", 11, palette.CARD, "center", "center", bold=True)
    lines = _warning_lines(canvas, warnings, width - 0.86)
    step = 0.17
    top = middle - (len(lines) - 1) * step / 2
    for number, line in enumerate(lines):
        canvas.text(x + 0.66, top + number * step, line, 9, palette.TEXT, vertical="center")


def _warning_lines(canvas: Canvas, warnings: tuple[str, ...], width: float) -> list[str]:
    """All warnings in full when they fit; else one line each, the last line counting those left out."""
    marked = [f"{BULLET} {warning}" for warning in warnings]
    full = [line for warning in marked for line in canvas.wrapped(warning, 9, width)]
    if len(full) <= MOST_WARNING_LINES:
        return full
    if len(marked) > MOST_WARNING_LINES:
        left_out = len(marked) - MOST_WARNING_LINES + 1
        marked[MOST_WARNING_LINES - 1 :] = [f"{BULLET} and {left_out} more; all warnings are in the JSON result"]
    return [canvas.shortened(line, 9, width) for line in marked]


def _draw_footer(canvas: Canvas, result: NoduleResult) -> None:
    canvas.line((MARGIN, 8.44), (WIDTH - MARGIN, 8.44), palette.TRACK)
    width = canvas.text(MARGIN, 8.65, result.notice, 8.5, palette.MUTED)
    canvas.text(MARGIN, 8.82, READING, 8, palette.FAINT)
    model = " ".join(filter(None, [result.model.get("name"), result.model.get("version")]))
    checksum = result.model.get("sha256", "")[:12]
    parts = [f"Model {model}" if model else "", f"SHA-256 {checksum}" if checksum else ""]
    free = WIDTH - 2 * MARGIN - width - 0.4
    canvas.text(WIDTH - MARGIN, 8.65, ", ".join(filter(None, parts)), 8.5, palette.MUTED, align="right", max_width=free)
    canvas.text(WIDTH - MARGIN, 8.82, f"CLIPLung {__version__}", 8, palette.FAINT, align="right")
