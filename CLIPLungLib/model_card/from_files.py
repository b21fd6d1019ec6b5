"""From the files of `cliplung evaluate`, `robustness` and `saliency` and a finished run to the model card."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.bootstrap import Estimate
from CLIPLungLib.evaluation.comparison import BESIDE_ONE_READER, READERS_DIAMETER, size_baselines
from CLIPLungLib.evaluation.cross_fitting import network_predictions
from CLIPLungLib.evaluation.figures import AUC_ABOVE_3, SIGN_LABELS
from CLIPLungLib.evaluation.fold_models import FinishedRun
from CLIPLungLib.evaluation.interval_coverage import own_diameter_mm
from CLIPLungLib.evaluation.one_reader import MODEL, ONE_READER
from CLIPLungLib.evaluation.reader_reference import SIGN_NAMES, ReaderReference
from CLIPLungLib.evaluation.settings import judged_answers, main_setting
from CLIPLungLib.evaluation.tables import all_tables, left_out_text, rule_text
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.model_card.card import CardPredictions, checkpoint_facts, write_card
from CLIPLungLib.model_card.gallery import worst_cases
from CLIPLungLib.model_card.interval_plots import Row
from CLIPLungLib.model_card.robustness_table import robustness_rows, robustness_table
from CLIPLungLib.model_card.saliency_plot import saliency_figure
from CLIPLungLib.model_card.saliency_table import saliency_table


def write_model_card(
    results_file: Path,
    robustness_file: Path | None,
    saliency_file: Path | None,
    run: FinishedRun,
    nodules: Sequence[Nodule],
    data_folder: Path,
    output: Path,
    gallery: bool = False,
) -> Path:
    """Write the card of the bundled weights; `gallery` adds pictures of patients' scans, which must stay out of the project.

    Args:
        results_file, robustness_file, saliency_file: figures.
        run: with the answers that the plots show.
        nodules: all rows of the table.
        data_folder: of the table, for the gallery.
        output: folder.
        gallery: whether to write it.

    Raises:
        InputError: a file of figures is missing, no JSON, of another version or of another run.
    """
    results, robustness, saliency = read_figures(results_file), None, None
    with figures_of(results_file):
        rule, tables, intervals = _rule(results), all_tables(results), _auc_intervals(results)
        signs = _sign_rows(results)
        if results["main_run"] != run.name:
            raise InputError(
                f"{results_file} is about '{results['main_run']}', {run.source} about '{run.name}'. Give both of one run."
            )
    if robustness_file:
        robustness = read_figures(robustness_file)
        with figures_of(robustness_file):
            # The card writes its pictures one by one; what it cannot show is refused before.
            robustness_table(robustness)
            robustness_rows(robustness)
    if saliency_file:
        saliency = read_figures(saliency_file)
        with figures_of(saliency_file):
            saliency_table(saliency)
            saliency_figure(saliency)
    predictions, shown = _card_predictions(run, nodules, intervals)
    size = predictions.size_probability
    return write_card(
        rule,
        checkpoint_facts(load_checkpoint()),
        predictions,
        tables,
        output,
        signs,
        robustness,
        worst_cases(data_folder, shown, predictions.probability, size_probability=size) if gallery else None,
        saliency=saliency,
    )


def _card_predictions(
    run: FinishedRun, nodules: Sequence[Nodule], auc_intervals: dict[str, tuple[float, float]]
) -> tuple[CardPredictions, list[Nodule]]:
    """What the plots show, and the nodules it is of: those of the main setting."""
    rows = [nodules[index] for index in run.answers.nodule]
    chosen = judged_answers(main_setting(run.answers, nodules), run.answers, nodules)
    reference = ReaderReference.of_nodules(rows)
    own = network_predictions(run.answers, run.calibrations).of(chosen)
    baseline = size_baselines(run, nodules, chosen)[READERS_DIAMETER].of(chosen)
    measured_mm = own_diameter_mm(run, run.answers)[chosen]
    outlined = np.isfinite(run.answers.diameter_mm[chosen])
    predictions = CardPredictions(
        rating=reference.rating[chosen],
        score=own.score,
        probability=own.probability,
        size_mm=reference.diameter_mm[chosen],
        measured_mm=np.where(outlined, measured_mm, np.nan),
        size_probability=baseline.probability if baseline.is_known.all() else None,
        auc_intervals=auc_intervals,
    )
    return predictions, [rows[index] for index in np.flatnonzero(chosen)]


def _rule(results: Mapping[str, Any]) -> str:
    return " ".join(part for part in (rule_text(results), left_out_text(results)) if part)


def _auc_intervals(results: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    figures, found = results["settings"][results["main_setting"]]["figures"], {}
    for side, name in (("model", results["main_run"]), ("size", READERS_DIAMETER)):
        interval = figures[name][AUC_ABOVE_3]["interval"] if name in figures else None
        if interval:
            found[side] = (float(interval[0]), float(interval[1]))
    return found


def _sign_rows(results: Mapping[str, Any]) -> list[Row]:
    """The model beside one reader; the model alone, with the mean of all readers, where no reader can be left out."""
    own = results["settings"][results["main_setting"]]
    beside, alone = own[BESIDE_ONE_READER], own["figures"][results["main_run"]]
    rows = []
    for name in SIGN_NAMES:
        key = f"spearman_{name}"
        if key in beside[MODEL]:
            rows.append(Row(SIGN_LABELS[name], _read(beside[MODEL][key]), _read(beside[ONE_READER][key])))
        elif not beside[MODEL] and key in alone:
            rows.append(Row(SIGN_LABELS[name], _read(alone[key])))
    return rows


def _read(figure: Mapping[str, Any]) -> Estimate:
    interval = figure["interval"]
    return Estimate(figure["value"], None if interval is None else (interval[0], interval[1]), figure["n"])


@contextmanager
def figures_of(file: Path) -> Iterator[None]:
    """Around the use of a file's figures.

    Raises:
        InputError: they are not those this version shows.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        what = f"{error} is missing" if isinstance(error, KeyError) else f"{type(error).__name__}: {str(error)[:80]}"
        raise InputError(
            f"{file} does not hold the figures of this version ({what}). Write it anew with 'cliplung evaluate', 'robustness' or 'saliency'."
        ) from error


def read_figures(file: Path) -> dict[str, Any]:
    """A JSON file of figures.

    Raises:
        InputError: missing, or not such a file.
    """
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{file} cannot be read: {error}. Write it with 'cliplung evaluate', 'robustness' or 'saliency'."
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{file} holds no figures. Write it with 'cliplung evaluate', 'robustness' or 'saliency'.")
    return found
