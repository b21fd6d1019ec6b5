"""The results of an ablation as Markdown: for the terminal and the page of the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from CLIPLungLib.ablation.figures import CONTEXT_PREFIX, DIAMETER_ERROR, SETTING_OF, SPEARMAN_SIGNS
from CLIPLungLib.ablation.results import SIZE, difference_name
from CLIPLungLib.ablation.rows import ROWS, WITH_TEXT, WITHOUT_TEXT
from CLIPLungLib.evaluation.figures import AUC_ABOVE_3, AUC_STRICT, SIGN_LABELS, SPEARMAN_MALIGNANCY
from CLIPLungLib.evaluation.markdown import markdown_table, write_between_marks
from CLIPLungLib.evaluation.settings import CONTEXT, VOLUMES

BEGIN, END = "<!-- ablation: begin -->", "<!-- ablation: end -->"
LABELS = {
    AUC_ABOVE_3: "AUC, mean above against below 3",
    AUC_STRICT: "AUC, < 2.5 against > 3.5",
    SPEARMAN_MALIGNANCY: "Spearman, malignancy",
    f"{CONTEXT_PREFIX}{AUC_ABOVE_3}": "true context: AUC, above against below 3",
    f"{CONTEXT_PREFIX}{SPEARMAN_MALIGNANCY}": "true context: Spearman, malignancy",
    SPEARMAN_SIGNS: "Spearman, mean over signs",
    DIAMETER_ERROR: "median error of the diameter, mm",
}
SETTING_LABELS = {VOLUMES: "volumes", CONTEXT: "true context"}
ROW_LABELS = {SIZE: "size only: readers' diameter"} | {name: f"`{name}`: {row.label}" for name, row in ROWS.items()}
HELPS, HURTS, NOT_SHOWN = "helps", "hurts", "does not show"
VERDICTS = {HELPS: "it helps the", HURTS: "it hurts the", NOT_SHOWN: "no effect is shown on the"}


def results_text(results: Mapping[str, Any]) -> str:
    """Everything, in Markdown."""
    missing = results["missing"]
    parts = [
        _data_text(results),
        _method_text(results),
        _figures_table(results),
        _differences_table(results),
        text_sentence(results),
        f"**Not finished**: {_counted(len(missing), 'network')} missing: {', '.join(missing)}." if missing else "",
    ]
    return "\n\n".join(part for part in parts if part)


def write_page_table(page: Path, results: Mapping[str, Any]) -> None:
    """Put everything between the marks of a page.

    Raises:
        InputError: the page cannot be read, or has no such marks.
    """
    write_between_marks(page, (BEGIN, END), results_text(results))


def verdict(figure: Mapping[str, Any]) -> str:
    """What the interval of a difference says, where more is better."""
    if figure["interval"] is None:
        return NOT_SHOWN
    low, high = figure["interval"]
    return HELPS if low > 0 else HURTS if high < 0 else NOT_SHOWN


def text_sentence(results: Mapping[str, Any]) -> str:
    """The answer to "does the text help?", as it follows from the intervals."""
    question = "**Does the text help?**"
    difference = results["differences"].get(difference_name(WITH_TEXT, WITHOUT_TEXT))
    if difference is None:
        return f"{question} Not answered yet: no seed of both '{WITH_TEXT.name}' and '{WITHOUT_TEXT.name}' is finished."
    figures = difference["figures"]
    prefix = "" if VOLUMES in results["judged"] else CONTEXT_PREFIX
    named = {
        f"{prefix}{AUC_ABOVE_3}": "AUC",
        f"{prefix}{SPEARMAN_MALIGNANCY}": "Spearman correlation of malignancy",
        SPEARMAN_SIGNS: "Spearman correlation of the signs",
    }
    effects = [
        f"{VERDICTS[verdict(figures[key])]} {name} ({_signed(figures[key])})"
        for key, name in named.items()
        if key in figures
    ]
    signs = (
        ""
        if SPEARMAN_SIGNS in figures
        else "; for the signs there is nothing to compare, as only the texts predict them"
    )
    seeds = _counted(len(next(iter(figures.values()))["seeds"]), "seed")
    return f"{question} All terms less all that need no text, over {seeds}: {', '.join(effects)}{signs}."


def _data_text(results: Mapping[str, Any]) -> str:
    judged = ", ".join(
        f"{one['nodules']} nodules of {one['patients']} patients in {SETTING_LABELS[name]}"
        for name, one in results["judged"].items()
    )
    recipe = results["recipe"]
    return (
        f"Trained on the folds {_listed(results['train_folds'])} for {_counted(recipe['epochs'], 'epoch')}, evaluated on the folds "
        f"{_listed(results['tested_folds'])}: {judged}, each rated by >= {_counted(results['fewest_readers'], 'reader')} or of known "
        f"outcome. Seeds: {_listed(results['seeds'])}. Text encoder: {recipe['text_encoder']}."
    )


def _method_text(results: Mapping[str, Any]) -> str:
    signs = f" Signs: {_listed([SIGN_LABELS[name] for name in results['signs']])}." if results["signs"] else ""
    return (
        f"Mean over the seeds (95 % interval of {results['bootstraps']} patient bootstraps) [every seed by itself]. In volumes unless "
        f"said otherwise.{signs} Diameters of 5 to 20 mm count, uncalibrated."
    )


def _figures_table(results: Mapping[str, Any]) -> str:
    rows = {SIZE: results["baseline"], **results["figures"]}
    keys = [key for key in SETTING_OF if any(key in own for own in rows.values())]
    header = ["", "seeds", *(f"{LABELS[key]} (n = {_most(rows, key)})" for key in keys)]
    body = [
        [ROW_LABELS[name], _seed_count(own), *(_cell(own[key]) if key in own else "" for key in keys)]
        for name, own in rows.items()
    ]
    return markdown_table(header, body)


def _differences_table(results: Mapping[str, Any]) -> str:
    differences = list(results["differences"].values())
    keys = [key for key in SETTING_OF if any(key in one["figures"] for one in differences)]
    rows = [
        [
            f"`{one['row']}` less `{one['other']}`",
            _seed_count(one["figures"]),
            *(_cell(one["figures"][key], signed=True) if key in one["figures"] else "" for key in keys),
        ]
        for one in differences
    ]
    return markdown_table(["paired difference", "seeds", *(LABELS[key] for key in keys)], rows) if rows else ""


def _most(rows: Mapping[str, Mapping[str, Any]], key: str) -> int:
    return max(int(own[key]["n"]) for own in rows.values() if key in own)


def _seed_count(figures: Mapping[str, Any]) -> str:
    """How many seeds; nothing for what is not trained."""
    first: Mapping[str, Any] = next(iter(figures.values()), {})
    return str(len(first["seeds"])) if "seeds" in first else ""


def _cell(figure: Mapping[str, Any], signed: bool = False) -> str:
    form = "{:+.3f}" if signed else "{:.3f}"
    if figure["value"] is None:
        return "not defined"
    text = form.format(figure["value"])
    if figure["interval"]:
        text += f" ({' to '.join(form.format(end) for end in figure['interval'])})"
    single = [value for value in figure.get("seeds", {}).values() if value is not None]
    return f"{text} [{', '.join(form.format(value) for value in single)}]" if len(single) > 1 else text


def _signed(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "not defined"
    ends = figure["interval"]
    return f"{figure['value']:+.3f}" + (f", {ends[0]:+.3f} to {ends[1]:+.3f}" if ends else "")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
