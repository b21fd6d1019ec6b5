"""The small plot of the section of similar cases: diameter to the right, the readers' malignancy upwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qt
import slicer

from CLIPLungGUI.colors import blankPixmap, color
from CLIPLungLib.report.palette import CLASS_COLORS

if TYPE_CHECKING:
    from CLIPLungLib.similar.cases import SimilarCases
    from CLIPLungLib.similar.chart import SimilarChart

WIDTH_PX, HEIGHT_PX = 360, 190
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 26, 32, 12, 24
DOT_PX, DIAMOND_PX, TEXT_PX = 4, 7, 11
GRID_OPACITY, TEXT_OPACITY = 0.2, 0.75


def drawPlot(found: SimilarCases) -> qt.QPixmap:
    """A dot a case, a line for this nodule, a diamond for the mean; in the colours of the application's style."""
    from CLIPLungLib.similar.chart import similar_chart

    pixmap = blankPixmap(WIDTH_PX, HEIGHT_PX)
    painter = qt.QPainter()
    painter.begin(pixmap)
    try:
        painter.setRenderHint(qt.QPainter.Antialiasing, True)
        _draw(painter, similar_chart(found))
    finally:
        painter.end()
    return pixmap


def _draw(painter: qt.QPainter, chart: SimilarChart) -> None:
    text, this = _text(TEXT_OPACITY), slicer.app.palette().color(qt.QPalette.Highlight)
    font = painter.font()
    font.setPixelSize(TEXT_PX)
    painter.setFont(font)
    for y, rating in chart.rating_ticks:
        painter.fillRect(LEFT_PX, _y(y), WIDTH_PX - LEFT_PX - RIGHT_PX, 1, _text(GRID_OPACITY))
        painter.setPen(text)
        painter.drawText(4, _y(y) + TEXT_PX // 2 - 1, str(rating))
    for x, mm in chart.diameter_ticks:
        painter.drawText(_x(x) - 4 * len(str(mm)), HEIGHT_PX - 6, str(mm))
    painter.drawText(WIDTH_PX - RIGHT_PX + 12, HEIGHT_PX - 6, "mm")
    painter.fillRect(_x(chart.this_x) - 1, TOP_PX, 2, HEIGHT_PX - TOP_PX - BOTTOM_PX, this)
    painter.setPen(text)
    # Slicer's Qt takes no colour for a brush.
    painter.setBrush(qt.QBrush(color(CLASS_COLORS["malignant"])))
    for dot in chart.dots:
        painter.drawEllipse(_x(dot.x) - DOT_PX, _y(dot.y) - DOT_PX, 2 * DOT_PX, 2 * DOT_PX)
    if chart.mean_y is not None:
        _drawDiamond(painter, _x(chart.this_x), _y(chart.mean_y), this)


def _drawDiamond(painter: qt.QPainter, x: int, y: int, shade: qt.QColor) -> None:
    """A square that stands on its corner."""
    painter.save()
    painter.translate(x, y)
    painter.rotate(45)
    half = round(DIAMOND_PX * 0.75)
    painter.fillRect(-half, -half, 2 * half, 2 * half, shade)
    painter.restore()


def _x(share: float) -> int:
    return round(LEFT_PX + share * (WIDTH_PX - LEFT_PX - RIGHT_PX))


def _y(share: float) -> int:
    return round(HEIGHT_PX - BOTTOM_PX - share * (HEIGHT_PX - TOP_PX - BOTTOM_PX))


def _text(opacity: float) -> qt.QColor:
    full = slicer.app.palette().color(qt.QPalette.Text)
    return qt.QColor(full.red(), full.green(), full.blue(), round(255 * opacity))
