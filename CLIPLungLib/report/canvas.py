"""A page to draw on, measured in inches from its top left corner. The only file that knows matplotlib; import it on first use."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

# The family matplotlib brings along, so that the page looks the same on every machine.
FONT = "DejaVu Sans"
LONGEST_TEXT = 600
ELLIPSIS = "..."
# A hollow square, for letters the font does not have.
MISSING_GLYPH = "\u25a1"
AnyArtist = TypeVar("AnyArtist", bound=Artist)
RIM, RIM_POINTS = "#00000080", 0.6


class Canvas:
    """One page. Everything is placed explicitly; user settings of matplotlib do not reach it.

    Args:
        width, height: inches.
        dpi: pixels an inch of the saved picture.
        color: of the empty page.
    """

    def __init__(self, width: float, height: float, dpi: int, color: str) -> None:
        self._figure = Figure(figsize=(width, height), dpi=dpi, facecolor=color)
        self._agg = FigureCanvasAgg(self._figure)
        self._axes = self._figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self._axes.set_axis_off()
        self._axes.set_autoscale_on(False)
        self._axes.set_xlim(0.0, width)
        self._axes.set_ylim(height, 0.0)
        self._drawn = 0

    def text(
        self,
        x: float,
        y: float,
        string: str,
        points: float,
        color: str,
        align: str = "left",
        vertical: str = "baseline",
        bold: bool = False,
        max_width: float | None = None,
    ) -> float:
        """Write one line and return its width in inches.

        Args:
            x, y: inches; of the point of the text that `align` and `vertical` name.
            string: any text; nothing in it is taken for mathematics or markup.
            points: font size.
            color: of the letters.
            align: "left", "center" or "right".
            vertical: "baseline" or "center".
            bold: heavier letters.
            max_width: inches; a longer text loses its middle.
        """
        shown = printable(string) if max_width is None else self.shortened(string, points, max_width, bold)
        artist = self._artist(shown, points, bold)
        artist.set(x=x, y=y, color=color, horizontalalignment=align)
        artist.set_verticalalignment("center_baseline" if vertical == "center" else "baseline")
        self._axes.add_artist(self._on_top(artist))
        return self.width(shown, points, bold)

    def width(self, string: str, points: float, bold: bool = False) -> float:
        """Width in inches of one line."""
        artist = self._artist(string, points, bold)
        artist.set_figure(self._figure)
        return artist.get_window_extent(self._agg.get_renderer(), dpi=self._figure.dpi).width / self._figure.dpi  # type: ignore[no-untyped-call]

    def shortened(self, string: str, points: float, max_width: float, bold: bool = False) -> str:
        """The text, or its beginning and end around an ellipsis, so that it is at most `max_width` inches wide."""
        text = printable(string)
        if self.width(text, points, bold) <= max_width:
            return text
        fits, too_long = 0, len(text)
        while too_long - fits > 1:
            kept = (fits + too_long) // 2
            if self.width(_without_middle(text, kept), points, bold) <= max_width:
                fits = kept
            else:
                too_long = kept
        return _without_middle(text, fits)

    def wrapped(self, string: str, points: float, max_width: float) -> list[str]:
        """The text in lines of at most `max_width` inches; a single longer word loses its middle."""
        lines: list[str] = []
        for word in printable(string).split():
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and self.width(longer, points) <= max_width:
                lines[-1] = longer
            else:
                lines.append(self.shortened(word, points, max_width))
        return lines

    def bar(self, x: float, y: float, width: float, height: float, color: str, opacity: float = 1.0) -> None:
        """A filled rectangle with its top left corner at x, y."""
        patch = Rectangle((x, y), width, height, facecolor=color, alpha=opacity, linewidth=0.0)
        self._axes.add_patch(self._on_top(patch))

    def card(self, x: float, y: float, width: float, height: float, color: str, edge: str | None = None) -> None:
        """A filled rectangle with round corners and, if wanted, a thin edge."""
        radius = 0.06
        box = FancyBboxPatch(
            (x + radius, y + radius),
            width - 2 * radius,
            height - 2 * radius,
            boxstyle=f"round,pad={radius},rounding_size={radius}",
            facecolor=color,
            edgecolor=edge or color,
            linewidth=0.9 if edge else 0.0,
        )
        self._axes.add_patch(self._on_top(box))

    def outline(self, x: float, y: float, width: float, height: float, color: str, points: float = 0.7) -> None:
        """The edge of a rectangle."""
        patch = Rectangle((x, y), width, height, fill=False, edgecolor=color, linewidth=points)
        self._axes.add_patch(self._on_top(patch))

    def polygon(self, corners: list[tuple[float, float]], color: str) -> None:
        """A filled polygon."""
        self._axes.add_patch(self._on_top(Polygon(corners, closed=True, facecolor=color, linewidth=0.0)))

    def line(
        self, start: tuple[float, float], end: tuple[float, float], color: str, points: float = 0.8, rim: bool = False
    ) -> None:
        """A straight line, if wanted with a thin dark rim."""
        line = Line2D([start[0], end[0]], [start[1], end[1]], color=color, linewidth=points, solid_capstyle="butt")
        if rim:
            line.set_path_effects([withStroke(linewidth=points + 2 * RIM_POINTS, foreground=RIM)])
        self._axes.add_line(self._on_top(line))

    def picture(self, x: float, y: float, width: float, height: float, pixels: np.ndarray) -> None:
        """An RGB or RGBA array (rows, columns, 3 or 4) in 0..1, its first row on top."""
        extent = (x, x + width, y + height, y)
        image = self._axes.imshow(pixels, extent=extent, origin="upper", aspect="auto", interpolation="bilinear")
        self._on_top(image)

    def save(self, path: Path, metadata: dict[str, str]) -> None:
        """Write the page as PNG, with texts stored in the file."""
        self._agg.print_png(str(path), metadata={key: printable(value) for key, value in metadata.items()})  # type: ignore[no-untyped-call]

    def _on_top(self, artist: AnyArtist) -> AnyArtist:
        """The same artist above all earlier ones; matplotlib alone would order by kind."""
        self._drawn += 1
        artist.set_zorder(self._drawn)
        return artist

    def _artist(self, string: str, points: float, bold: bool) -> Text:
        known = _characters(bold)
        drawable = "".join(letter if ord(letter) in known else MISSING_GLYPH for letter in string)
        weight = "bold" if bold else "normal"
        return Text(text=drawable, fontfamily=FONT, fontsize=points, fontweight=weight, parse_math=False, usetex=False)


@cache
def _characters(bold: bool) -> frozenset[int]:
    """Code points the font can draw."""
    return frozenset(get_font(findfont(FontProperties(family=FONT, weight="bold" if bold else "normal"))).get_charmap())


def printable(string: str) -> str:
    """The text on one line: line breaks, control characters and broken Unicode become spaces, extreme lengths are cut."""
    cleaned = " ".join("".join(letter if letter.isprintable() else " " for letter in str(string)).split())
    return cleaned if len(cleaned) <= LONGEST_TEXT else _without_middle(cleaned, LONGEST_TEXT)


def _without_middle(text: str, kept: int) -> str:
    """`kept` letters of the text around an ellipsis."""
    head = (kept + 1) // 2
    return text[:head].rstrip() + ELLIPSIS + text[len(text) - (kept - head) :].lstrip()
