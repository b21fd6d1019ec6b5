"""Robustness on the card: what `evaluation.robustness.compare_pairs` found, as rows of a plot and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from CLIPLungLib.evaluation.bootstrap import Estimate
from CLIPLungLib.evaluation.robustness import LABELS
from CLIPLungLib.model_card.interval_plots import Row


def robustness_rows(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Condition -> figures, as rows of `robustness_figure`."""
    return [Row(LABELS[key], _difference(figures), note=f"n = {figures['n_auc']}") for key, figures in found.items()]


def robustness_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Every figure of every condition, in Markdown."""
    lines = [
        "| condition | answers (patients) | refused | AUC before | AUC after | difference (95 % interval), n "
        "| mean change of p | 95th percentile | class changed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, figures in found.items():
        cells = [
            LABELS[key],
            f"{figures['n']} ({figures['patients']})",
            str(figures["refused"]),
            *_auc_cells(figures),
            f"{figures['mean_change']:.3f}",
            f"{figures['p95_change']:.3f}",
            f"{figures['changed_class']:.1%}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _difference(figures: Mapping[str, Any]) -> Estimate:
    interval = figures["auc_difference_interval"]
    low_high = None if interval is None else (interval[0], interval[1])
    return Estimate(figures["auc_difference"], low_high, figures["n_auc"])


def _auc_cells(figures: Mapping[str, Any]) -> list[str]:
    if figures["auc_difference"] is None:
        return ["not defined"] * 3
    low, high = figures["auc_difference_interval"]
    difference = f"{figures['auc_difference']:+.3f} ({low:+.3f} to {high:+.3f}), n = {figures['n_auc']}"
    return [f"{figures['auc_reference']:.3f}", f"{figures['auc_condition']:.3f}", difference]
