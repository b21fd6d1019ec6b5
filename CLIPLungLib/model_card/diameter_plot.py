"""The program's own diameter against the readers': agreement, and Bland and Altman's plot of the differences."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from CLIPLungLib.model_card.plot_style import INK, MODEL, OTHER, PAPER, SOFT, TEXT_POINTS, dress, new_figure

DOTS: dict[str, Any] = {"s": 9, "color": MODEL, "alpha": 0.35, "linewidths": 0, "rasterized": True}
TICKS_MM = (3, 5, 10, 20, 30, 50)


def diameter_figure(readers_mm: np.ndarray, measured_mm: np.ndarray) -> Figure:
    """Two panels over the nodules that could be measured (NaN otherwise).

    Args:
        readers_mm: (N,) diameter from the readers' contours; NaN where there are none.
        measured_mm: (N,) diameter from the outline the network drew, out of fold; NaN where it drew none.
    """
    drawn = np.isfinite(measured_mm) & np.isfinite(readers_mm)
    readers, measured = readers_mm[drawn], measured_mm[drawn]
    figure = new_figure(3.25)
    left, right = figure.subplots(1, 2)
    low, high = min(readers.min(), measured.min()) * 0.9, max(readers.max(), measured.max()) * 1.1
    left.plot([low, high], [low, high], color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    left.scatter(readers, measured, **DOTS)
    left.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), box_aspect=1)
    ticks = [tick for tick in TICKS_MM if low <= tick <= high]
    for axis in (left.xaxis, left.yaxis):
        axis.set_ticks(ticks, [str(tick) for tick in ticks])
        axis.set_ticks([], minor=True)
    dress(left, f"Diameter, n = {len(readers)} of {len(readers_mm)}", "Readers, mm", "Measured, mm")
    _draw_differences(right, readers, measured)
    return figure


def _draw_differences(axes: Axes, readers: np.ndarray, measured: np.ndarray) -> None:
    difference = measured - readers
    bias, spread = difference.mean(), 1.96 * difference.std(ddof=1)
    mean = (measured + readers) / 2
    axes.scatter(mean, difference, **DOTS)
    reach = 1.15 * max(np.percentile(np.abs(difference), 99.5), abs(bias) + spread)
    shown = np.abs(difference) <= reach
    axes.set(xscale="log", ylim=(-reach, reach), box_aspect=1)
    ticks = [tick for tick in TICKS_MM if mean.min() * 0.9 <= tick <= mean.max() * 1.1]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    for value, line in ((bias, "-"), (bias - spread, (0, (5, 2))), (bias + spread, (0, (5, 2)))):
        axes.axhline(value, color=OTHER, linewidth=1.4, linestyle=line)
        axes.annotate(
            f"{value:+.1f}",
            (1.0, value),
            xycoords=axes.get_yaxis_transform(),
            xytext=(-3, 3),
            textcoords="offset points",
            ha="right",
            fontsize=TEXT_POINTS - 0.5,
            color=INK,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
        )
    beyond = f" ({np.sum(~shown)} beyond)" if not shown.all() else ""
    dress(axes, "Bias and 95 % limits", "Mean of both, mm" + beyond, "Measured less readers, mm")
