"""The page on performance: its tables and plots out of what a run of the benchmarks found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import Any

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
# A way is worth a thought where it takes less than this share of the time of the network as it is, and moves no answer by more than MOVE.
WORTH_BELOW, MOVE = 0.8, 1e-5
RATIOS_PNG, GROWTH_PNG = "performance_ratios.png", "performance_growth.png"
FIGURES = ("click", "cold", "cohort", "training", "series")


def renewed(page: str, report: dict[str, Any]) -> str:
    """The page with everything between its markers replaced.

    Raises:
        ValueError: the markers are missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines '{BEGIN}' and '{END}'")
    return f"{before}{BEGIN}\n{generated(report)}\n{END}{after}"


def generated(report: dict[str, Any]) -> str:
    """The part of the page that a run writes."""
    parts = [_machine(report), _table_of_figures(report["found"]), _faults(report["found"])]
    if any(one["goal"] for one in figures_of(report["found"])):
        parts.append(f"![Ratios as shares of their goals]({RATIOS_PNG})")
    for name, write in (("panel", _panel), ("tries", _table_of_tries), ("growth", _growth)):
        found = report["found"].get(name)
        if found and "fault" not in found:
            parts.append(write(found))
    return "\n\n".join(part for part in parts if part)


def _machine(report: dict[str, Any]) -> str:
    machine, (low, high) = report["machine"], report["load"]
    return (
        f"Measured on {machine['processor']}, {machine['cores']} cores, {machine['torch_threads']} thread(s), Python {machine['python']}, "
        f"torch {machine['torch']}; load {low:.1f} to {high:.1f} during the run of {report['minutes']:.1f} minutes."
    )


def figures_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of all benchmarks that ran."""
    return [one for name in FIGURES if isinstance(found.get(name), list) for one in found[name]]


def _table_of_figures(found: dict[str, Any]) -> str:
    lines = [
        "| what | against | ratio, by the clock | by processor time | goal | met | time |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in figures_of(found):
        met = {True: "yes", False: "**no**", None: ""}[one["is_met"]]
        what = f"{one['what']}; {one['note']}" if one["note"] else one["what"]
        spent = f"{_time(one['median_s'])} against {_time(one['baseline_s'])}"
        lines.append(
            f"| {what} | {one['baseline']} | {_ratio(one['ratio'])} | {one['processor_ratio']['median']:.2f} | {one['goal']} | {met} | {spent} |"
        )
    return "\n".join(lines)


def _ratio(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1e3 * seconds:.1f} ms"


def _faults(found: dict[str, Any]) -> str:
    return "\n".join(
        f"Not measured: {name} ({one['fault']})."
        for name, one in found.items()
        if isinstance(one, dict) and "fault" in one
    )


def _panel(found: dict[str, Any]) -> str:
    return (
        f"**The panel** with {found['nodules']} answered nodules (Qt stand-ins, MRML of slicer-core): a refresh takes {found['refresh_ms']:.1f} ms of the "
        f"processor, {found['ratio']:.2f} times what reading every record once takes; a moved point {found['move_ms']:.1f} ms; a choice "
        f"{found['select_ms']:.1f} ms; while ten nodules were placed and answered, the window was busy for {found['longest_busy_ms']:.0f} ms at most."
    )


def _table_of_tries(found: list[dict[str, Any]]) -> str:
    lines = [
        "## What was tried for the network",
        "",
        "| way | time, as a share of the network as it is | largest move of an answer | a fifth faster, same answers |",
        "|---|---|---|---|",
    ]
    for one in found:
        if "ratio" not in one:
            lines.append(f"| {one['what']} | {one['note']} | | no |")
            continue
        is_worth = one["ratio"]["median"] < WORTH_BELOW and float(one["note"]) <= MOVE
        lines.append(f"| {one['what']} | {_ratio(one['ratio'])} | {one['note']} | {'yes' if is_worth else 'no'} |")
    return "\n".join(
        [*lines, "", f"The same answers: none moves by more than {MOVE:g}. None of these ways is built in."]
    )


def _growth(found: dict[str, Any]) -> str:
    lines = ["## Growth", ""]
    for name in ("nodules", "slices", "rows"):
        if name in found:
            (counted, counts), *values = found[name].items()
            told = "; ".join(
                f"{what.replace('_', ' ')}: {', '.join(f'{value:.3g}' for value in series)}" for what, series in values
            )
            lines.append(f"- {counted.replace('_', ' ')} {', '.join(str(count) for count in counts)}: {told}")
    lines += ["", f"![Growth]({GROWTH_PNG})"]
    return "\n".join([*lines, "", "Fewer points than `python Testing/Benchmarks/growth.py --output FOLDER` measures."])


def plot(report: dict[str, Any], folder: Path) -> list[Path]:
    """Pictures of the ratios and of growth; returns the files."""
    return list(_plots(report, folder))


def _plots(report: dict[str, Any], folder: Path) -> Iterator[Path]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    with_goal = [one for one in figures_of(report["found"]) if one["goal"]]
    if with_goal:
        figure = Figure(figsize=(9.0, 0.6 + 0.45 * len(with_goal)), layout="constrained")
        axes = figure.subplots()
        for row, one in enumerate(reversed(with_goal)):
            limit = float(one["goal"].split()[1])
            is_least = one["goal"].startswith(">=")
            low, middle, high = (
                limit / one["ratio"][name] if is_least else one["ratio"][name] / limit
                for name in ("low", "median", "high")
            )
            color = "#1f6f8b" if one["is_met"] else "#b5482f"
            axes.plot([low, high], [row, row], color=color)
            axes.plot([middle], [row], "o", color=color)
        axes.axvline(1.0, color="#888888", linestyle="--")
        axes.set_yticks(
            range(len(with_goal)),
            [f"{shorten(one['what'], 56, placeholder=' ...')} {one['goal']}" for one in reversed(with_goal)],
        )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_xlabel("left of the dashed line: goal met")
        FigureCanvasAgg(figure).print_png(folder / RATIOS_PNG)
        yield folder / RATIOS_PNG
    grown = report["found"].get("growth")
    if grown and "fault" not in grown:
        from growth import plot_growth

        plot_growth(grown, folder / GROWTH_PNG)
        yield folder / GROWTH_PNG
