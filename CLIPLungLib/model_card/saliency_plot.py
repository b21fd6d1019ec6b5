"""The evaluation of heat maps in one picture: localisation, deletion and insertion, sensitivity to the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from CLIPLungLib.model_card.plot_style import MODEL, OTHER, PAPER, SOFT, TEXT_POINTS, dress, new_figure

MAP, BLOB, NOISE = "Map", "Blob at the click", "Noise"
APART = 0.15


def saliency_figure(found: Mapping[str, Any]) -> Figure:
    """Four panels of what `saliency.summary.summarise` found, for its first method."""
    first = next(iter(found["cascade"]))
    figure = new_figure(6.6)
    panels = figure.subplots(2, 2)
    for axes, key, title in (
        (panels[0, 0], "energy", "Energy in the outline"),
        (panels[0, 1], "pointing", "Peak in the outline"),
    ):
        _by_group(axes, found["groups"], first, key)
        dress(axes, title, "Share", "", grid="x")
    panels[0, 1].set_yticklabels([])
    _curves(panels[1, 0], found, first)
    dress(panels[1, 0], "Deletion and insertion", "Nodule's volumes", "Probability of the answer's side")
    _cascade(panels[1, 1], found["cascade"][first])
    dress(panels[1, 1], "Random weights", "Random from the heads down to", "Rank correlation", grid="y")
    figure.legend(
        *panels[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=TEXT_POINTS - 0.5
    )
    return figure


def _by_group(axes: Axes, groups: Mapping[str, Any], method: str, key: str) -> None:
    for name, label, color, face, shift in ((method, MAP, MODEL, MODEL, -APART), ("blob", BLOB, OTHER, PAPER, APART)):
        estimates = [own["methods"][name][key] for own in groups.values()]
        places = np.arange(len(estimates)) + shift
        _points(axes, places, estimates, color, face, label, upright=False)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlim(-0.03, 1.03)


def _curves(axes: Axes, found: Mapping[str, Any], method: str) -> None:
    volumes, curves = found["volumes"], found["curves"]
    for name, label, color in ((method, MAP, MODEL), ("blob", BLOB, OTHER), ("random", NOISE, SOFT)):
        own = curves["methods"][name]
        axes.plot(volumes, own["insertion"], "o-", color=color, markersize=4, linewidth=1.4, label=label)
        axes.plot(volumes, own["deletion"], "o--", color=color, markersize=4, linewidth=1.4, markerfacecolor=PAPER)
    for key, text in (("whole", "as it is"), ("none", "lung alone")):
        axes.axhline(curves[key], color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
        axes.text(volumes[0], curves[key], text, color=SOFT, fontsize=TEXT_POINTS - 2, va="bottom")
    axes.set_xscale("log", base=2)
    axes.set_xticks(volumes, [f"{value:g}" for value in volumes])
    axes.set_ylim(0, 1.08)


def _cascade(axes: Axes, cascade: Mapping[str, Any]) -> None:
    _points(axes, np.arange(len(cascade)), list(cascade.values()), MODEL, MODEL, MAP, upright=True)
    axes.axhline(0, color=SOFT, linewidth=1)
    axes.set_xticks(range(len(cascade)), list(cascade), rotation=40, ha="right", rotation_mode="anchor")
    axes.set_ylim(min(-0.2, axes.get_ylim()[0]), 1.03)


def _points(
    axes: Axes,
    places: np.ndarray,
    estimates: Sequence[Mapping[str, Any]],
    color: str,
    face: str,
    label: str,
    upright: bool,
) -> None:
    """Values with their intervals; what is not defined is left out."""
    known = [(place, own) for place, own in zip(places, estimates, strict=True) if own["value"] is not None]
    lines = axes.vlines if upright else axes.hlines
    for place, own in known:
        if own["interval"]:
            lines(place, *own["interval"], color=color, linewidth=1.8, alpha=0.6)
    at, values = [place for place, _ in known], [own["value"] for _, own in known]
    x, y = (at, values) if upright else (values, at)
    axes.plot(x, y, "o", color=face, markeredgecolor=color, markeredgewidth=1.6, markersize=5, label=label, zorder=3)
