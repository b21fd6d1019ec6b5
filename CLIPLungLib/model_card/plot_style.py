"""The common style of the card's plots: white paper, one typeface, colours that stay apart for every kind of colour vision."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.version import __version__

PAPER, INK, SOFT, GRID = "#ffffff", "#1b2430", "#5b6675", "#e3e7ec"
# Okabe and Ito's blue and vermilion differ in hue and lightness; the baseline is also drawn hollow or dashed.
MODEL, OTHER = "#0072b2", "#d55e00"
# Twice what a page shows at 600 pixels, for sharp screens.
WIDTH_INCHES, DPI = 6.0, 200
TEXT_POINTS, TITLE_POINTS = 9.5, 11.5
Place = Literal["upper left", "upper right", "lower left", "lower right"]


def new_figure(height: float) -> Figure:
    """An empty page of the card's width and this height in inches. Belongs to no window and no global state."""
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str, x_label: str, y_label: str, grid: Literal["both", "x", "y"] = "both") -> None:
    """Title, labels and grid of finished axes; only the left and lower spine stay."""
    axes.set_title(title, loc="left", fontsize=TITLE_POINTS, fontweight="bold", color=INK, pad=8)
    axes.set_xlabel(x_label, fontsize=TEXT_POINTS, color=INK)
    axes.set_ylabel(y_label, fontsize=TEXT_POINTS, color=INK)
    axes.tick_params(labelsize=TEXT_POINTS, colors=INK, length=3, color=SOFT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def legend(axes: Axes, place: Place, **how: Any) -> None:
    """A legend without a frame line, readable over the grid."""
    shown = axes.legend(loc=place, fontsize=TEXT_POINTS - 0.5, frameon=True, framealpha=0.9, edgecolor="none", **how)
    for text in shown.get_texts():
        text.set_color(INK)


def save_figure(figure: Figure, file: Path) -> None:
    """Write a PNG at once; the same figure gives the same bytes."""
    with writing(file) as temporary:
        figure.savefig(temporary, metadata={"Software": f"CLIPLung {__version__}"})


def wilson(successes: np.ndarray, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval (low, high) of frequencies (Wilson's score)."""
    z = 1.959964
    rate = successes / trials
    middle = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    return middle - half, middle + half
