"""The results file as Markdown tables: for the terminal, the README and the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from CLIPLungLib.atomic_write import atomic_write
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.comparison import FLOOR, OWN_FLOOR, PAPERS_MIX, SHIPPED, VOLUMES
from CLIPLungLib.evaluation.cross_fitting import ABSENT_NAME, SIGN_NAMES
from CLIPLungLib.vocabulary import CLASSES

FIGURES_BEGIN, FIGURES_END = "<!-- figures: begin -->", "<!-- figures: end -->"
AUC_MEAN, AUC_STRICT, AUC_PAPER = (
    "AUC, mean above against below 3",
    "AUC, < 2.5 against > 3.5",
    "AUC, <= 2.5 against >= 3.5",
)
MALIGNANCY = "Spearman, malignancy"
MAIN = (
    AUC_MEAN,
    AUC_STRICT,
    "accuracy, 3 classes",
    "macro-F1",
    "quadratic kappa",
    MALIGNANCY,
    "Brier score",
    "ECE, 15 bins",
)
PER_CLASS = (
    AUC_PAPER,
    "accuracy, 3 classes",
    "accuracy, benign or malignant",
    "macro-F1",
    *(f"{figure}, {name}" for name in CLASSES for figure in ("recall", "F1")),
)
PER_SETTING = (AUC_MEAN, AUC_STRICT, "accuracy, 3 classes", MALIGNANCY, "Brier score")


def all_tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Heading -> table, in the order in which they are shown."""
    settings = results["settings"]
    tables = {}
    for setting in (VOLUMES, PAPERS_MIX):
        if setting in settings:
            figures = MAIN if setting == VOLUMES else PER_CLASS
            tables[f"Variants, {_told(settings[setting], setting)}"] = variants_table(results, setting, figures)
    tables[f"Gain over the {FLOOR}, {_told(settings[VOLUMES], VOLUMES)}"] = gains_table(results, VOLUMES)
    tables["Signs, one reader and the shipped model, volumes"] = signs_table(results)
    tables["The shipped model where nodules are seen otherwise"] = settings_table(results)
    tables["Further statements of the shipped model"] = statements_table(results)
    return tables


def results_text(results: Mapping[str, Any]) -> str:
    """Everything, for the terminal."""
    parts = [f"Rule: {results['rule']}", *(f"{heading}\n\n{table}" for heading, table in all_tables(results).items())]
    return "\n\n".join(parts)


def write_figures(readme: Path, results: Mapping[str, Any]) -> None:
    """Put the tables that a first reader wants between the README's marks.

    Raises:
        InputError: the file has no such marks.
    """
    text = readme.read_text(encoding="utf-8")
    if text.count(FIGURES_BEGIN) != 1 or text.count(FIGURES_END) != 1:
        raise InputError(f"{readme} needs the lines {FIGURES_BEGIN} and {FIGURES_END}, once each, around its figures.")
    before, rest = text.split(FIGURES_BEGIN)
    after = rest.split(FIGURES_END)[1]
    with atomic_write(readme) as temporary:
        temporary.write_text(
            f"{before}{FIGURES_BEGIN}\n{figures_text(results)}\n{FIGURES_END}{after}", encoding="utf-8"
        )


def figures_text(results: Mapping[str, Any]) -> str:
    """The README's own choice of the tables."""
    told = _told(results["settings"][VOLUMES], VOLUMES)
    tables = all_tables(results)
    shown = [f"Variants, {told}", f"Gain over the {FLOOR}, {told}", "Signs, one reader and the shipped model, volumes"]
    parts = [f"Rule: {results['rule']}.", *(f"**{heading}**\n\n{tables[heading]}" for heading in shown)]
    return "\n\n".join(parts)


def variants_table(results: Mapping[str, Any], setting: str, figures: Sequence[str]) -> str:
    """A row per floor and variant, a column per figure."""
    answers = results["settings"][setting]["answers"]
    rows = [[_variant(results, name), *(_cell(own[figure]) for figure in figures)] for name, own in answers.items()]
    return _table(["", *figures], rows)


def gains_table(results: Mapping[str, Any], setting: str) -> str:
    """Paired differences to the floor: a row per variant."""
    differences = results["settings"][setting][f"difference to {FLOOR}"]
    figures = (AUC_MEAN, AUC_STRICT, "accuracy, 3 classes", MALIGNANCY, "Brier score")
    rows = [
        [_variant(results, name), *(_cell(own[figure], signed=True) for figure in figures)]
        for name, own in differences.items()
    ]
    return _table(["", *figures], rows)


def signs_table(results: Mapping[str, Any]) -> str:
    """Spearman of every sign with the readers' mean, beside one reader's."""
    volumes = results["settings"][VOLUMES]
    rows = []
    for sign in SIGN_NAMES:
        figure = f"Spearman, {sign}"
        rows.append([sign, _cell(volumes["answers"][SHIPPED][figure]), _cell(volumes["one reader"][figure])])
    absent = _cell(volumes["answers"][SHIPPED]["AUC, calcification absent"])
    rows.append([f"{ABSENT_NAME}, AUC", absent, ""])
    return _table(["Spearman with the readers' mean", SHIPPED, "one reader with the others"], rows)


def settings_table(results: Mapping[str, Any]) -> str:
    """The shipped model and the floor, a row per setting."""
    rows = []
    for setting, found in results["settings"].items():
        for name in (FLOOR, SHIPPED):
            own = found["answers"][name]
            rows.append([_told(found, setting), name, *(_cell(own[figure]) for figure in PER_SETTING)])
    return _table(["seen in", "", *PER_SETTING], rows)


def statements_table(results: Mapping[str, Any]) -> str:
    """Measurement, class sets and warnings."""
    rows = [
        [part, figure, _cell(value), str(value["n"])]
        for part in ("measurement", "class sets", "familiarity")
        for figure, value in results[part].items()
    ]
    return _table(["", "figure", "value", "n"], rows)


def _variant(results: Mapping[str, Any], name: str) -> str:
    return f"size only: {name}" if name in (FLOOR, OWN_FLOOR) else results["variants"][name]


def _told(setting: Mapping[str, Any], name: str) -> str:
    return f"{name} ({setting['nodules']} nodules of {setting['patients']} patients)"


def _cell(figure: Mapping[str, Any], signed: bool = False) -> str:
    if figure["value"] is None:
        return "not defined"
    form = "{:+.3f}" if signed else "{:.3f}"
    text = form.format(figure["value"])
    if figure.get("interval"):
        text += " (" + " to ".join(form.format(end) for end in figure["interval"]) + ")"
    if "by chance" in figure:
        text += f", by chance {figure['by chance']:.3f}"
    return text


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
