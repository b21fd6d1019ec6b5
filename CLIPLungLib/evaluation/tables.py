"""The results file as Markdown tables: for the terminal, the README and the model card. All English of the figures is here and in `figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from CLIPLungLib.evaluation.comparison import (
    BESIDE_ONE_READER,
    GAINS,
    NETWORK_ALONE,
    OWN_DIAMETER,
    READERS_DIAMETER,
    SECOND_ALONE,
)
from CLIPLungLib.evaluation.figures import (
    ACCURACY,
    AUC_ABOVE_3,
    AUC_ABSENT,
    AUC_STRICT,
    BRIER,
    ECE,
    LABELS,
    SPEARMAN_MALIGNANCY,
)
from CLIPLungLib.evaluation.markdown import markdown_table, write_between_marks
from CLIPLungLib.evaluation.one_reader import DIFFERENCE, MODEL, ONE_READER
from CLIPLungLib.evaluation.reader_reference import SIGN_NAMES
from CLIPLungLib.evaluation.run_choice import SHIPPED
from CLIPLungLib.evaluation.settings import ALL_NODULES, CONTEXT, SLICES, VOLUMES
from CLIPLungLib.vocabulary import CLASSES

FIGURES_BEGIN, FIGURES_END = "<!-- figures: begin -->", "<!-- figures: end -->"
RUN_LABELS = {
    READERS_DIAMETER: "size only: readers' diameter",
    OWN_DIAMETER: "size only: the model's diameter",
    NETWORK_ALONE: "the network alone",
    SECOND_ALONE: "the second reader alone",
    SHIPPED: "shipped",
}
SETTING_LABELS = {
    VOLUMES: "volumes",
    SLICES: "single slices",
    CONTEXT: "true context (cubes and crops)",
    ALL_NODULES: "all nodules, with any number of readers",
}
STATEMENT_LABELS = {
    "measurement": {
        "outlined": "share of nodules with an outline",
        "outline_in_doubt": "share of outlines that a warning calls doubtful",
        "diameter_coverage": "share of 90 % intervals that hold the readers' diameter",
        "diameter_median_relative_error": "median relative error of the diameter",
        "diameter_median_error_mm": "median error of the diameter, 5 to 20 mm, mm",
        "diameter_bias_mm": "bias of the diameter, 5 to 20 mm, mm",
        "volume_coverage": "share of 90 % intervals that hold the readers' volume",
        "volume_median_relative_error": "median relative error of the volume",
    },
    "class_sets": {
        "coverage": "share of 90 % sets that hold the readers' class",
        "classes_per_set": "classes per set",
        "one_class": "share of sets with one class",
    },
    "warnings": {
        "volume": "warned: volumes",
        "slice": "warned: single slices",
        "cube": "warned: cubes",
        "crop": "warned: crops",
        "background": "warned: places without a nodule",
    },
}
MAIN = (AUC_ABOVE_3, AUC_STRICT, ACCURACY, "macro_f1", "quadratic_kappa", SPEARMAN_MALIGNANCY, BRIER, ECE)
PER_CLASS = (
    AUC_STRICT,
    ACCURACY,
    "accuracy_benign_malignant",
    "macro_f1",
    *(f"{figure}_{name}" for name in CLASSES for figure in ("recall", "f1")),
)
PER_SETTING = (AUC_ABOVE_3, AUC_STRICT, ACCURACY, SPEARMAN_MALIGNANCY, BRIER)
ONE_READER_ROWS = (SPEARMAN_MALIGNANCY, AUC_ABOVE_3, *(f"spearman_{sign}" for sign in SIGN_NAMES))


def rule_text(results: Mapping[str, Any]) -> str:
    """How the figures came about, in one paragraph."""
    readers = results["fewest_readers"]
    return (
        f"Out of fold by patient ({len(results['folds'])} folds), end to end: two passes, the second centred on the outline. "
        f"Nodules with >= {readers} reader{'s' * (readers != 1)} unless said otherwise. {_outcome_text(results)}"
        "Benign is a mean rating < 2.5, unsure 2.5 to 3.5, malignant > 3.5; the event is a mean > 3, so exactly 3 is no event, "
        f"and the AUC above against below 3 leaves it out. Intervals: 95 %, {results['bootstraps']} patient bootstraps. "
        "Each fold's checkpoint is calibrated on the other folds."
    )


def _outcome_text(results: Mapping[str, Any]) -> str:
    own = results["settings"][results["main_setting"]]
    if not own["outcomes"]:
        return ""
    return (
        f"The reference of {own['outcomes']} of {own['nodules']} nodules is their outcome, which counts as a rating of 1 (benign) "
        "or 5 (malignant). "
    )


def all_tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Heading -> table, in the order in which they are shown. Tables without labels in the data are left out."""
    settings, main = results["settings"], results["main_setting"]
    tables = {}
    for setting, keys in ((main, MAIN), (ALL_NODULES, PER_CLASS)):
        if setting in settings:
            tables[f"Runs, {_setting_label(settings, setting)}"] = runs_table(results, setting, keys)
    if GAINS in settings[main]:
        tables[f"Gain over the readers' diameter, {_setting_label(settings, main)}"] = gains_table(results, main)
    if any(f"spearman_{sign}" in settings[main]["figures"][results["main_run"]] for sign in SIGN_NAMES):
        tables[f"Signs, with the mean of all readers, {SETTING_LABELS[main]}"] = signs_table(results)
    if settings[main][BESIDE_ONE_READER][MODEL]:
        tables[f"The model beside one reader, {SETTING_LABELS[main]}"] = one_reader_table(results)
    tables["The model by kind of image"] = settings_table(results)
    tables["Sizes, class sets and warnings of the model"] = statements_table(results)
    return tables


def left_out_text(results: Mapping[str, Any]) -> str:
    """What is left out for lack of labels; empty where nothing is."""
    own = results["settings"][results["main_setting"]]
    missing = []
    if READERS_DIAMETER not in own["figures"]:
        missing.append("no readers' diameter, so no size-only baseline and no error of the size")
    if not any(f"spearman_{sign}" in own["figures"][results["main_run"]] for sign in SIGN_NAMES):
        missing.append("no ratings of signs")
    if not own[BESIDE_ONE_READER][MODEL]:
        missing.append("no nodule with three readers, so no comparison with one reader")
    return f"Left out, for the data have {'; '.join(missing)}." if missing else ""


def results_text(results: Mapping[str, Any]) -> str:
    """Everything, for the terminal."""
    parts = [rule_text(results), *(f"{name}\n\n{table}" for name, table in all_tables(results).items())]
    return "\n\n".join([*parts, left_out_text(results)]).rstrip()


def write_readme_table(readme: Path, results: Mapping[str, Any]) -> None:
    """Put the summary table between the README's marks.

    Raises:
        InputError: the file cannot be read, or has no such marks.
    """
    write_between_marks(readme, (FIGURES_BEGIN, FIGURES_END), readme_table(results))


def readme_table(results: Mapping[str, Any]) -> str:
    """Five rows: size alone and the model in the main setting, and in true context."""
    settings, main, run = results["settings"], results["main_setting"], results["main_run"]
    shown = (AUC_ABOVE_3, AUC_STRICT, SPEARMAN_MALIGNANCY, BRIER)
    wanted: dict[str, tuple[str, ...]] = {main: (READERS_DIAMETER, OWN_DIAMETER, run)}
    if CONTEXT in settings and main != CONTEXT:
        wanted[CONTEXT] = (READERS_DIAMETER, run)
    rows = []
    for setting, names in wanted.items():
        for name in (name for name in names if name in settings[setting]["figures"]):
            own = settings[setting]["figures"][name]
            label = f"{_run_label(results, name)}; {_setting_label(settings, setting)}"
            rows.append([label, *(_cell(own[key]) for key in shown)])
    return markdown_table(["", *(LABELS[key] for key in shown)], rows)


def runs_table(results: Mapping[str, Any], setting: str, keys: Sequence[str]) -> str:
    """A row per baseline and run, a column per figure."""
    found = results["settings"][setting]["figures"]
    rows = [[_run_label(results, name), *(_cell(own[key]) for key in keys)] for name, own in found.items()]
    return markdown_table(["", *(LABELS[key] for key in keys)], rows)


def gains_table(results: Mapping[str, Any], setting: str) -> str:
    """Paired differences to the baseline: a row per run."""
    gains = results["settings"][setting][GAINS]
    rows = [
        [_run_label(results, name), *(_cell(own[key], signed=True) for key in PER_SETTING)]
        for name, own in gains.items()
    ]
    return markdown_table(["", *(LABELS[key] for key in PER_SETTING)], rows)


def signs_table(results: Mapping[str, Any]) -> str:
    """Spearman of every sign with the mean of all readers."""
    own = results["settings"][results["main_setting"]]["figures"][results["main_run"]]
    keys = (*(f"spearman_{sign}" for sign in SIGN_NAMES), AUC_ABSENT)
    return markdown_table(["", "model"], [[LABELS[key], _cell(own[key])] for key in keys if key in own])


def one_reader_table(results: Mapping[str, Any]) -> str:
    """The model and one reader, both against the mean of the other readers, and their paired difference."""
    beside = results["settings"][results["main_setting"]][BESIDE_ONE_READER]
    rows = [
        [
            LABELS[key],
            _cell(beside[ONE_READER][key]),
            _cell(beside[MODEL][key]),
            _cell(beside[DIFFERENCE][key], signed=True),
            str(beside[MODEL][key]["n"]),
        ]
        for key in ONE_READER_ROWS
        if key in beside[MODEL]
    ]
    return markdown_table(
        ["with the mean of the other readers", "one reader", "model", "model less one reader", "n"], rows
    )


def settings_table(results: Mapping[str, Any]) -> str:
    """The model and the baseline, a row per setting."""
    settings, rows = results["settings"], []
    for setting in settings:
        for name in (READERS_DIAMETER, results["main_run"]):
            if name in settings[setting]["figures"]:
                own = settings[setting]["figures"][name]
                label = [_setting_label(settings, setting), _run_label(results, name)]
                rows.append([*label, *(_cell(own[key]) for key in PER_SETTING)])
    return markdown_table(["seen in", "", *(LABELS[key] for key in PER_SETTING)], rows)


def statements_table(results: Mapping[str, Any]) -> str:
    """Measurement, class sets and warnings."""
    rows = []
    for part, labels in STATEMENT_LABELS.items():
        for key, label in labels.items():
            if key in results[part]:
                figure = results[part][key]
                refused = f", {figure['refused']} clicks refused" if figure.get("refused") else ""
                rows.append([label, _cell(figure), f"{figure['n']}{refused}"])
    return markdown_table(["", "value", "n"], rows)


def _run_label(results: Mapping[str, Any], name: str) -> str:
    label = RUN_LABELS.get(name, name)
    return f"{label} ({results['runs'][name]['epochs']} epochs)" if name in results["runs"] else label


def _setting_label(settings: Mapping[str, Any], setting: str) -> str:
    own = settings[setting]
    return f"{SETTING_LABELS[setting]} ({own['nodules']} nodules of {own['patients']} patients)"


def _cell(figure: Mapping[str, Any], signed: bool = False) -> str:
    if figure["value"] is None:
        return "not defined"
    form = "{:+.3f}" if signed else "{:.3f}"
    text = form.format(figure["value"])
    if figure.get("interval"):
        text += " (" + " to ".join(form.format(end) for end in figure["interval"]) + ")"
    if "by_chance" in figure:
        text += f", by chance {figure['by_chance']:.3f}"
    return text
