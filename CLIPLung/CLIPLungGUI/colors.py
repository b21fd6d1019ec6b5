"""Colours of the panel that every kind of colour vision tells apart, on light and on dark ground: those of the report."""

from __future__ import annotations

import qt
import slicer

from CLIPLungLib.report.palette import CLASS_COLORS

ICON_PX = 10
# The same warm yellow as in the report, thin enough for the text on it to keep its contrast.
WARNING_STYLE = (
    "background-color: rgba(244, 201, 93, 60); border: 1px solid #d9a520; border-left: 4px solid #d9a520; padding: 4px;"
)


def color(name: str, opacity: float = 1.0) -> qt.QColor:
    """A colour of the palette, given as #rrggbb.

    Args:
        opacity: 0..1.
    """
    red, green, blue = (int(name[start : start + 2], 16) for start in (1, 3, 5))
    return qt.QColor(red, green, blue, round(255 * opacity))


def blankPixmap(width: int, height: int) -> qt.QPixmap:
    """A transparent picture to draw on, sharp on dense screens too.

    Args:
        width, height: in the pixels of the application's style, in which the painter draws.
    """
    density = slicer.app.devicePixelRatio()
    pixmap = qt.QPixmap(round(width * density), round(height * density))
    pixmap.setDevicePixelRatio(density)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    return pixmap


def classIcons() -> dict[str, qt.QIcon]:
    """A square in the colour of each of vocabulary.CLASSES; none for the empty name."""
    icons = {"": qt.QIcon()}
    for name, shade in CLASS_COLORS.items():
        square = qt.QPixmap(ICON_PX, ICON_PX)
        square.fill(color(shade))
        icons[name] = qt.QIcon(square)
    return icons
