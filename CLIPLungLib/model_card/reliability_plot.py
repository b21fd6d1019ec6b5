"""Reliability diagrams: observed frequency against probability, for the model and the size-only baseline."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from CLIPLungLib.evaluation import metrics
from CLIPLungLib.model_card.plot_style import MODEL, OTHER, SOFT, TEXT_POINTS, dress, new_figure, wilson

BINS = 10


def reliability_figure(positive: np.ndarray, model: np.ndarray, baseline: np.ndarray | None = None) -> Figure:
    """Reliability diagrams with 95 % intervals per bin, and below each how many nodules are in the bins.

    Args:
        positive: (N,) bool, whether the readers' mean rating exceeds 3.
        model: (N,) out-of-fold probability.
        baseline: (N,) the same from the diameter alone; beside the model's when given.
    """
    shown = [("Model", model, MODEL)] + ([("Size alone", baseline, OTHER)] if baseline is not None else [])
    figure = new_figure(4.1)
    grid = figure.subplots(2, len(shown), sharex=True, sharey="row", height_ratios=(3.2, 1), squeeze=False)
    for column, (name, probability, color) in enumerate(shown):
        _draw_bins(grid[0, column], positive, probability, color)
        _draw_counts(grid[1, column], probability, color)
        dress(grid[0, column], name, "", "" if column else "Share above 3")
        dress(grid[1, column], "", "Probability of mean rating > 3", "" if column else "Nodules", grid="y")
    return figure


def _draw_bins(axes: Axes, positive: np.ndarray, probability: np.ndarray, color: str) -> None:
    index = np.clip((probability * BINS).astype(int), 0, BINS - 1)
    filled = np.unique(index)
    trials = np.array([np.sum(index == b) for b in filled])
    successes = np.array([np.sum(positive[index == b]) for b in filled])
    mean = np.array([probability[index == b].mean() for b in filled])
    low, high = wilson(successes, trials)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.vlines(mean, low, high, color=color, linewidth=1.6, alpha=0.55)
    axes.plot(mean, successes / trials, "o-", color=color, markersize=5.5, linewidth=1.4)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6))
    once = np.ones((1, len(positive)))
    brier, ece = (
        figure(positive, probability, once)[0] for figure in (metrics.brier, metrics.expected_calibration_error)
    )
    chance = metrics.chance_calibration_error(probability)
    facts = f"Brier {brier:.3f}\nECE {ece:.3f} (15 bins)\nby chance {chance:.3f}"
    axes.text(0.03, 0.97, facts, transform=axes.transAxes, va="top", fontsize=TEXT_POINTS, color=color)


def _draw_counts(axes: Axes, probability: np.ndarray, color: str) -> None:
    axes.hist(probability, bins=np.linspace(0, 1, BINS + 1).tolist(), color=color, alpha=0.75, rwidth=0.86)
