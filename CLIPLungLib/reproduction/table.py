"""The results of a reproduction as Markdown: for the terminal, the run's folder and the page of the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from CLIPLungLib.evaluation.markdown import markdown_table, write_between_marks
from CLIPLungLib.reproduction.protocol import BY_NODULE, BY_PATIENT, ROWS, SPLITS
from CLIPLungLib.reproduction.results import SIZE

BEGIN, END = "<!-- reproduction: begin -->", "<!-- reproduction: end -->"
MISSING_SHOWN = 6
SIZE_LABEL = "size only: readers' diameter"
PAPER = "accuracy of the paper (recalled, not re-read)"
HEADER = (
    "",
    PAPER,
    "accuracy, split by nodule (as published)",
    "accuracy, split by patient",
    "accuracy, by nodule less by patient",
    "AUC, split by nodule",
    "AUC, split by patient",
)


def results_text(results: Mapping[str, Any]) -> str:
    """Everything, in Markdown."""
    parts = [_data_text(results), _method_text(results)]
    for name, judged in results["judged"].items():
        head = f"**LIDC-{name}**: {judged['words']}; {judged['nodules']} nodules of {judged['patients']} patients."
        parts += [
            head,
            _folds_text(judged, results),
            _figures_table(name, judged, results),
            _gain_table(judged, results),
        ]
    if results["missing"]:
        shown = ", ".join(results["missing"][:MISSING_SHOWN])
        rest = len(results["missing"]) - MISSING_SHOWN
        more = f" and {rest} more" if rest > 0 else ""
        parts.append(f"**Not finished**: {len(results['missing'])} parts are missing: {shown}{more}.")
    return "\n\n".join(part for part in parts if part)


def write_page_table(page: Path, results: Mapping[str, Any]) -> None:
    """Put everything between the marks of a page.

    Raises:
        InputError: the page cannot be read, or has no such marks.
    """
    write_between_marks(page, (BEGIN, END), results_text(results))


def _data_text(results: Mapping[str, Any]) -> str:
    data = results["data"]
    seen_in = ", ".join(f"{count} in a {kind}" for kind, count in data["seen_in"].items())
    left_out = ", ".join(f"{count} ({reason})" for reason, count in data["left_out"].items()) or "none"
    classes = ", ".join(f"{count} {name}" for name, count in data["classes"].items())
    shared = " and ".join(f"{data['shared_patients'][split]:.0%} split by {split}" for split in SPLITS)
    return (
        f"Data: {data['nodules']} nodules of {data['patients']} patients ({classes}); {seen_in}. Left out: {left_out}. "
        f"Where the image ends within the crop, its border is repeated: {data['repeated_planes']:.0%} of the planes and "
        f"{data['repeated_voxels']:.0%} of the voxels. Nodules whose patient is also in another fold: {shared}."
    )


def _method_text(results: Mapping[str, Any]) -> str:
    encoders = "; ".join(f"{ROWS[name].label}: {encoder}" for name, encoder in results["text_encoder"].items())
    epochs = results["settings"]["epochs"]
    return (
        f"Trained for {epochs} epoch{'s' if epochs != 1 else ''}, {len(results['folds'])} folds, averaged weights of the last epoch. "
        f"Text encoder: {encoders or 'none'}. "
        f"Accuracy in percent; AUC of malignant against benign; 95 % intervals of {results['bootstraps']} patient bootstraps."
    )


def _folds_text(judged: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """Which folds are evaluated; empty when all are."""
    all_folds, size = results["folds"], judged["figures"].get(SIZE, {})
    if all(judged["folds"][split] == all_folds for split in SPLITS):
        return ""
    folds = [
        f"split by {split} folds {', '.join(map(str, judged['folds'][split]))} ({size[split]['accuracy']['n']} nodules)"
        for split in SPLITS
        if split in size
    ]
    return (
        f"Evaluated so far, of {len(all_folds)} folds: {'; '.join(folds) or 'none'}. The splits then cover different nodules, so their "
        "difference is not paired."
    )


def _figures_table(name: str, judged: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    rows = []
    for row, by_split in judged["figures"].items():
        paper = f"{ROWS[row].paper_accuracy[name]:.1f}" if row in ROWS else ""
        leak = judged["nodule_less_patient_split"].get(row)
        rows.append(
            [
                _label(row, results),
                paper,
                *(_percent(by_split[split]["accuracy"]) if split in by_split else "" for split in SPLITS),
                "" if leak is None else _percent(leak["accuracy"], signed=True),
                *(_plain(by_split[split]["auc"]) if split in by_split else "" for split in SPLITS),
            ]
        )
    return markdown_table(HEADER, rows)


def _gain_table(judged: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    rows = []
    for pair, by_split in judged["gain"].items():
        own, _, other = pair.partition(" over ")
        cells = [
            cell
            for split in (BY_NODULE, BY_PATIENT)
            for cell in (
                (_percent(by_split[split]["accuracy"], True), _plain(by_split[split]["auc"], True))
                if split in by_split
                else ("", "")
            )
        ]
        rows.append([f"{_label(own, results)} less {_label(other, results)}", *cells])
    header = [
        "paired difference",
        *(f"{figure}, split by {split}" for split in SPLITS for figure in ("accuracy", "AUC")),
    ]
    return markdown_table(header, rows) if rows else ""


def _label(row: str, results: Mapping[str, Any]) -> str:
    if row == SIZE:
        return SIZE_LABEL
    encoder = results["text_encoder"].get(row)
    return ROWS[row].label if encoder is None else f"{ROWS[row].label} ({encoder})"


def _percent(figure: Mapping[str, Any], signed: bool = False) -> str:
    return _cell(figure, "{:+.1f}" if signed else "{:.1f}", 100)


def _plain(figure: Mapping[str, Any], signed: bool = False) -> str:
    return _cell(figure, "{:+.3f}" if signed else "{:.3f}", 1)


def _cell(figure: Mapping[str, Any], form: str, factor: float) -> str:
    if figure["value"] is None:
        return "not defined"
    text = form.format(factor * figure["value"])
    if figure["interval"] is None:
        return text
    return f"{text} ({' to '.join(form.format(factor * end) for end in figure['interval'])})"
