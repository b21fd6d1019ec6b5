"""The reality check on the card: what `training.reality.compare_pairs` found, as rows of a plot and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from CLIPLungLib.model_card.interval_plots import Estimate, Row


def condition_rows(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Condition -> figures, as rows of `reality_figure`."""
    return [
        Row(
            name,
            Estimate(
                figures["auc_difference"],
                None if figures["auc_difference"] is None else tuple(figures["auc_difference_interval"]),
            ),
            note=f"n = {figures['n_auc']}",
        )
        for name, figures in found.items()
    ]


def condition_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Every figure of every condition, in Markdown."""
    lines = [
        "| condition | answers (patients) | refused | AUC before | AUC after | difference (95 % interval), n "
        "| mean change of p | 95th percentile | class changed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in found.items():
        cells = [
            name,
            f"{figures['n']} ({figures['patients']})",
            str(figures["refused"]),
            *_auc_cells(figures),
            f"{figures['mean_change']:.3f}",
            f"{figures['p95_change']:.3f}",
            f"{figures['changed_class']:.1%}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _auc_cells(figures: Mapping[str, Any]) -> list[str]:
    if figures["auc_difference"] is None:
        return ["not defined"] * 3
    low, high = figures["auc_difference_interval"]
    difference = f"{figures['auc_difference']:+.3f} ({low:+.3f} to {high:+.3f}), n = {figures['n_auc']}"
    return [f"{figures['auc_reference']:.3f}", f"{figures['auc_condition']:.3f}", difference]
