"""Long and short axis of the nodule over the axial picture, and their lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from CLIPLungLib.inference.result import Ends, NoduleResult
from CLIPLungLib.report import palette
from CLIPLungLib.report.slice_pictures import AXIAL

if TYPE_CHECKING:
    from CLIPLungLib.report.canvas import Canvas

PLATE, PLATE_OPACITY = 0.22, 0.6
# Axes that were measured farther than this from the picture's plane are said to be so.
SAME_PLANE_MM = 1.0
LINE_POINTS = 1.2


def draw_axes(canvas: Canvas, result: NoduleResult, x: float, y: float, edge: float, size_mm: float) -> None:
    """Draw both axes over a square axial picture, seen from below, with their lengths in its bottom left corner.

    Args:
        canvas: the page.
        result: what was measured; nothing is drawn without axes.
        x, y: top left corner of the picture, inches.
        edge: of the picture, inches.
        size_mm: what the edge shows; the click lies in the middle.
    """
    size = result.measurement
    if size is None or size.long_axis_ras is None or size.short_axis_ras is None or size.short_diameter_mm is None:
        return
    for ends_ras in (size.long_axis_ras, size.short_axis_ras):
        start, end = _on_page(ends_ras, result.point_ras, x, y, edge, size_mm)
        canvas.line(start, end, palette.OUTLINE, LINE_POINTS, rim=True)
    off_mm = size.long_axis_ras[0][2] - result.point_ras[2]
    lines = [f"{size.diameter_mm:.1f} x {size.short_diameter_mm:.1f} mm"]
    if abs(off_mm) > SAME_PLANE_MM:
        lines.append(f"{abs(off_mm):.0f} mm {'above' if off_mm > 0 else 'below'}")
    for row, line in enumerate(lines, start=1):
        top = y + edge - row * PLATE
        canvas.bar(x, top, canvas.width(line, 8.5) + 0.2, PLATE, "black", PLATE_OPACITY)
        canvas.text(x + 0.10, top + PLATE / 2, line, 8.5, palette.TEXT, vertical="center")


def _on_page(
    ends_ras: Ends, middle_ras: tuple[float, float, float], x: float, y: float, edge: float, size_mm: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Both ends in inches of the page, kept within the picture."""
    offsets_mm = np.array(ends_ras) - middle_ras
    across_mm, down_mm = offsets_mm @ AXIAL.right_ras, offsets_mm @ AXIAL.down_ras
    places = np.clip(np.stack([across_mm, down_mm], axis=1) / size_mm + 0.5, 0.0, 1.0) * edge + (x, y)
    (x0, y0), (x1, y1) = places.tolist()
    return (x0, y0), (x1, y1)
