"""An evaluation as text: for the terminal, and as the table of the README."""

from __future__ import annotations

from typing import Any

from CLIPLungLib.attributes import ATTRIBUTES

# The figures in the order in which they are shown.
HEADLINES = (
    "AUC, mean above against below 3",
    "AUC, < 2.5 against > 3.5",
    "accuracy, 3 classes",
    "Brier score",
    "ECE, 15 bins",
    "Spearman, malignancy",
    "median diameter error, mm",
    *(f"Spearman, {attribute.name}" for attribute in ATTRIBUTES),
)


def evaluation_text(evaluation: dict[str, Any]) -> str:
    """The figures of every setting, for the terminal."""
    lines = [
        f"Model {evaluation['model_sha256'][:12]}, trained on {evaluation['trained_on']}",
        f"Rule: {evaluation['rule']}",
    ]
    for setting, result in evaluation["settings"].items():
        lines.append(f"\n{setting}: {result['nodules']} nodules of {result['patients']} patients")
        lines += [f"  {name:<55} {_cell(figure)}" for name, figure in _rows(result)]
    return "\n".join(lines)


def evaluation_table(evaluation: dict[str, Any]) -> str:
    """The README's table, in Markdown."""
    settings = list(evaluation["settings"])
    lines = [
        f"Weights `{evaluation['model_sha256'][:12]}`, trained on {evaluation['trained_on']}. Reported on {evaluation['rule']}.",
        "",
        "| figure | " + " | ".join(f"{name}" for name in settings) + " |",
        "|---|" + "---|" * len(settings),
    ]
    columns = [dict(_rows(evaluation["settings"][name])) for name in settings]
    lines += [f"| {row} | " + " | ".join(_cell(column[row]) for column in columns) + " |" for row in columns[0]]
    return "\n".join(lines)


def _rows(result: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every figure of a setting under its full name."""
    rows = []
    for name in HEADLINES:
        figure = result[name]
        rows += (
            [(name, figure)] if "value" in figure else [(f"{name}: {part}", values) for part, values in figure.items()]
        )
    return rows


def _cell(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "not defined"
    low, high = figure["interval"]
    return f"{figure['value']:.3f} ({low:.3f} to {high:.3f}), n = {figure['n']}"
