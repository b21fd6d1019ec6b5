"""Plot of the probability by the readers' mean malignancy rating."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from CLIPLungLib.model_card.plot_style import INK, PAPER, SOFT, TEXT_POINTS, dress, legend, new_figure
from CLIPLungLib.report.palette import CLASS_COLORS
from CLIPLungLib.vocabulary import CLASSES, malignancy_class

# Middles of the rating bins, each half a point wide.
CENTERS = np.arange(1.0, 5.01, 0.5)


def rating_figure(rating: np.ndarray, probability: np.ndarray) -> Figure:
    """Boxes (quartiles, whiskers from the 5th to the 95th percentile) of probability per half point of mean rating.

    Args:
        rating: (N,) readers' mean malignancy 1..5.
        probability: (N,) out-of-fold probability that it exceeds 3.
    """
    figure = new_figure(3.9)
    axes = figure.subplots()
    nearest = np.abs(rating[:, None] - CENTERS).argmin(axis=1)
    for place, center in enumerate(CENTERS):
        own = probability[nearest == place]
        if len(own) == 0:
            continue
        drawn = axes.boxplot(
            own, positions=[center], widths=0.34, whis=(5, 95), showfliers=False, patch_artist=True, manage_ticks=False
        )
        drawn["boxes"][0].set(facecolor=CLASS_COLORS[CLASSES[malignancy_class(center)]], edgecolor=INK)
        drawn["medians"][0].set(color=INK, linewidth=2)
        axes.text(center, 1.04, f"{len(own)}", ha="center", fontsize=TEXT_POINTS - 0.5, color=SOFT)
    axes.text(0.62, 1.04, "n", ha="center", fontsize=TEXT_POINTS - 0.5, color=SOFT)
    axes.axhline(0.5, color=SOFT, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    axes.set(xlim=(0.5, 5.5), ylim=(-0.02, 1.12), xticks=CENTERS, yticks=np.linspace(0, 1, 6))
    dress(axes, "Probability by the readers' rating", "Readers' mean malignancy rating", "Probability of > 3", grid="y")
    patches = [Patch(facecolor=CLASS_COLORS[name], edgecolor=PAPER, label=name) for name in CLASSES]
    legend(axes, "lower right", handles=patches, ncols=3, handlelength=1.0, columnspacing=1.0)
    return figure
