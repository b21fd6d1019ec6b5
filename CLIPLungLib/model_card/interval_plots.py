"""Estimates with their intervals, one row each: the attributes, and the conditions of robustness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from CLIPLungLib.evaluation.bootstrap import Estimate
from CLIPLungLib.model_card.plot_style import INK, MODEL, OTHER, PAPER, SOFT, TEXT_POINTS, dress, legend, new_figure

ROW_INCHES, FRAME_INCHES = 0.31, 1.25


@dataclass(frozen=True)
class Row:
    """A line of a dot plot: its name, the model's figure, what it is held against, and a note at the right edge."""

    label: str
    model: Estimate
    other: Estimate | None = None
    note: str = ""


def attributes_figure(rows: Sequence[Row]) -> Figure:
    """Spearman of the model, and of one reader, with the readers' mean rating; the best-read attribute first.

    Where rows have one reader's, both are with the mean of the other readers.
    """
    ordered = sorted(rows, key=lambda row: np.inf if row.model.value is None else -row.model.value)
    whose = "the other readers" if any(row.other for row in rows) else "all readers"
    figure = _dot_figure(
        ordered, "Signs: agreement with the readers", f"Spearman correlation with the mean of {whose}", 0.15
    )
    axes = figure.axes[0]
    axes.set_xlim(min(0.0, axes.get_xlim()[0]), 1.0)
    legend(axes, "lower right")
    return figure


def robustness_figure(rows: Sequence[Row]) -> Figure:
    """Change of AUC under each condition, in the given order, with n at the right."""
    figure = _dot_figure(rows, "Robustness", "AUC under the condition less AUC of the reference", 0.0)
    axes = figure.axes[0]
    axes.axvline(0.0, color=SOFT, linewidth=1.2, zorder=1)
    reach = max(0.02, *np.abs(axes.get_xlim()))
    axes.set_xlim(-reach, reach)
    axes.locator_params(axis="x", nbins=4)
    for place, row in enumerate(rows):
        axes.text(
            1.01,
            place,
            row.note,
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=TEXT_POINTS - 1,
            color=SOFT,
        )
    return figure


def _dot_figure(rows: Sequence[Row], title: str, x_label: str, apart: float) -> Figure:
    figure = new_figure(FRAME_INCHES + ROW_INCHES * len(rows))
    axes = figure.subplots()
    kinds = [("Model", [row.model for row in rows], MODEL, MODEL, -apart)]
    if any(row.other for row in rows):
        kinds.append(("One reader", [row.other or Estimate(None, None, 0) for row in rows], OTHER, PAPER, apart))
    for name, estimates, color, face, shift in kinds:
        defined = [(e.value, place + shift, e.interval) for place, e in enumerate(estimates) if e.value is not None]
        for _, place, interval in defined:
            if interval is not None:
                axes.hlines(place, *interval, color=color, linewidth=1.8, alpha=0.6)
        x, y = [value for value, *_ in defined], [place for _, place, _ in defined]
        axes.plot(x, y, "o", color=face, markeredgecolor=color, markeredgewidth=1.6, markersize=6, label=name, zorder=3)
    axes.set_yticks(range(len(rows)), [row.label for row in rows], color=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    dress(axes, title, x_label, "", grid="x")
    axes.tick_params(axis="y", length=0)
    return figure
