"""What the heat maps are worth, on the card: the figures of `training.heat_maps.summarise` as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = {
    "empty": "empty",
    "density": "density in the outline",
    "blob_density": "blob in the middle",
    "gain": "map / blob",
    "random_correlation": "correlation with random weights",
}
EXPLANATION = (
    "Each click was moved 5 mm off the nodule, as a blob in the middle would otherwise be hard to beat. *Empty*: share of maps that show "
    "nothing at the threshold of the display. *Density*: how much denser the map is within the readers' outline than over the whole patch "
    "(median), beside that of a blind Gaussian blob in the middle of the patch, and the median ratio of the two. *Correlation*: "
    "median Spearman of the map with that of a network whose weights are random. 95 % patient bootstraps."
)


def heat_map_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Band of the answer -> figures, in Markdown."""
    lines = [
        "| probability | nodules (patients) | " + " | ".join(COLUMNS.values()) + " |",
        "|---|---|" + "---|" * len(COLUMNS),
    ]
    for band, figures in found.items():
        cells = [band, f"{figures['n']} ({figures['patients']})", *(_cell(figures[name]) for name in COLUMNS)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([EXPLANATION, "", *lines])


def _cell(figure: Sequence[float] | None) -> str:
    if figure is None:
        return "not defined"
    value, low, high = figure
    return f"{value:.2f} ({low:.2f} to {high:.2f})"
