"""What the heat maps are worth, on the card: the figures of `evaluation.saliency.summarise` as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = {
    "empty": "empty",
    "density": "density in the outline",
    "blob_density": "blob at the click",
    "gain": "map / blob",
    "random_correlation": "correlation with random weights",
}
EXPLANATION = (
    "Each click was moved 5 mm off the nodule, as a blob at the click would otherwise be hard to beat. *Empty*: share of maps that show "
    "nothing at the threshold of the display. *Density*: how much denser the map is within the readers' outline than over the whole patch "
    "(median), beside that of a blind Gaussian blob at the click, and the median ratio of the two. *Correlation*: "
    "median Spearman of the map with that of a network whose weights are random. 95 % patient bootstraps."
)


def saliency_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Band of the answer -> figures, in Markdown."""
    lines = [
        "| probability | nodules (patients) | " + " | ".join(COLUMNS.values()) + " |",
        "|---|---|" + "---|" * len(COLUMNS),
    ]
    for band, figures in found.items():
        cells = [band, f"{figures['n']} ({figures['patients']})", *(_cell(figures[name]) for name in COLUMNS)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([EXPLANATION, "", *lines])


def _cell(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "not defined"
    low, high = figure["interval"]
    return f"{figure['value']:.2f} ({low:.2f} to {high:.2f})"
