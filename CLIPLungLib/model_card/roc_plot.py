"""ROC curves for a mean rating above against below 3: the model's and the diameter's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from CLIPLungLib.evaluation import metrics
from CLIPLungLib.model_card.plot_style import INK, MODEL, OTHER, PAPER, SOFT, TEXT_POINTS, dress, legend, new_figure

OPERATING_POINTS = (0.2, 0.5, 0.8)


def roc_figure(
    positive: np.ndarray,
    score: np.ndarray,
    probability: np.ndarray,
    size_mm: np.ndarray | None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    operating_points: tuple[float, ...] = OPERATING_POINTS,
) -> Figure:
    """ROC of model and diameter, with the model's probability thresholds marked on its curve.

    Args:
        positive: (N,) bool; nodules rated exactly 3 are not among them.
        score: (N,) the model's, out of fold, uncalibrated: what the AUC is made of.
        probability: (N,) calibrated, for the marks; each fold has a calibration of its own, so they may lie beside the curve.
        size_mm: (N,) the readers' diameter; None leaves its curve out.
        intervals: "model" and "size" -> 95 % interval of the AUC, for the legend.
        operating_points: probabilities to mark.
    """
    figure = new_figure(5.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.9, linestyle=(0, (1, 3)))
    for key, name, order, color, line in (
        ("model", "Model", score, MODEL, "-"),
        ("size", "Readers' diameter", size_mm, OTHER, (0, (5, 2))),
    ):
        if order is None:
            continue
        false_positive, true_positive, _ = roc_curve(positive, order)
        low_high = (intervals or {}).get(key)
        width = f" ({low_high[0]:.3f} to {low_high[1]:.3f})" if low_high else ""
        label = f"{name}: AUC {metrics.auc(positive, order, np.ones((1, len(order))))[0]:.3f}{width}"
        axes.plot(false_positive, true_positive, color=color, linewidth=2, linestyle=line, label=label)
    _draw_operating_points(axes, positive, probability, operating_points)
    axes.set(
        xlim=(-0.01, 1.0), ylim=(0.0, 1.01), aspect="equal", xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6)
    )
    dress(axes, f"Mean rating above against below 3, n = {len(positive)}", "1 - specificity", "Sensitivity")
    legend(axes, "lower right")
    return figure


def _draw_operating_points(
    axes: Axes, positive: np.ndarray, probability: np.ndarray, thresholds: Sequence[float]
) -> None:
    """Rings at the curve named by their probability, and a small table of them where the square is empty."""
    lines = ["  p   sens.  spec."]
    for threshold in thresholds:
        above = probability >= threshold
        sensitivity, specificity = float(above[positive].mean()), float(1 - above[~positive].mean())
        lines.append(f"{threshold:4.2f}  {sensitivity:4.0%}   {specificity:4.0%}")
        place = (1 - specificity, sensitivity)
        axes.plot(*place, "o", color=PAPER, markeredgecolor=MODEL, markeredgewidth=1.8, markersize=7, zorder=4)
        axes.annotate(
            f"{threshold:g}",
            place,
            xytext=(7, -7),
            textcoords="offset points",
            fontsize=TEXT_POINTS - 0.5,
            color=MODEL,
            va="center",
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 0.8},
        )
    axes.text(0.97, 0.2, "\n".join(lines), ha="right", fontsize=TEXT_POINTS - 0.5, family="monospace", color=INK)
