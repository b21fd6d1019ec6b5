"""From the files of `cliplung evaluate`, `robustness` and `saliency` and a finished run to the model card."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.dataset.nodule_table import Nodule, read_nodules
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.bootstrap import Estimate
from CLIPLungLib.evaluation.comparison import READERS_DIAMETER, SHIPPED, VOLUMES
from CLIPLungLib.evaluation.cross_fitting import network_predictions, size_predictions
from CLIPLungLib.evaluation.figures import AUC_ABOVE_3, SIGN_LABELS
from CLIPLungLib.evaluation.fold_models import FinishedRun
from CLIPLungLib.evaluation.interval_coverage import own_diameter_mm
from CLIPLungLib.evaluation.reader_reference import SIGN_NAMES, ReaderReference
from CLIPLungLib.evaluation.tables import all_tables, rule_text
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.model_card.card import CardPredictions, checkpoint_facts, write_card
from CLIPLungLib.model_card.gallery import worst_cases
from CLIPLungLib.model_card.interval_plots import Row
from CLIPLungLib.model_card.robustness_table import robustness_rows, robustness_table
from CLIPLungLib.model_card.saliency_table import saliency_table
from CLIPLungLib.training.calibrate import FEWEST_READERS

SALIENCY_HEADING = "Saliency of the shipped model, volumes"


def write_model_card(
    results_file: Path,
    robustness_file: Path | None,
    saliency_file: Path | None,
    runs: Path,
    data_folder: Path,
    output: Path,
    gallery: bool = False,
) -> Path:
    """Write the card of the bundled weights; `gallery` adds pictures of patients' scans, which must stay out of the project.

    Raises:
        InputError: a file of figures is missing, no JSON or of another version, or the run "shipped" is not finished.
    """
    results, robustness = read_figures(results_file), None
    with figures_of(results_file):
        rule, tables, intervals = rule_text(results), all_tables(results), _auc_intervals(results)
        signs = [_sign_row(results["settings"][VOLUMES], name) for name in SIGN_NAMES]
    if robustness_file:
        robustness = read_figures(robustness_file)
        with figures_of(robustness_file):
            # The card writes its pictures one by one; what it cannot show is refused before.
            robustness_table(robustness)
            robustness_rows(robustness)
    if saliency_file:
        with figures_of(saliency_file):
            tables[SALIENCY_HEADING] = saliency_table(read_figures(saliency_file))
    predictions, nodules = _card_predictions(FinishedRun.read(runs / SHIPPED), read_nodules(data_folder), intervals)
    size = predictions.size_probability
    return write_card(
        rule,
        checkpoint_facts(load_checkpoint()),
        predictions,
        tables,
        output,
        signs,
        robustness,
        worst_cases(data_folder, nodules, predictions.probability, size_probability=size) if gallery else None,
    )


def _card_predictions(
    run: FinishedRun, nodules: list[Nodule], auc_intervals: dict[str, tuple[float, float]]
) -> tuple[CardPredictions, list[Nodule]]:
    """What the plots show, and the nodules it is of: those with a volume and enough readers."""
    rows = [nodules[index] for index in run.answers.nodule]
    enough = np.array([nodule.n_readers >= FEWEST_READERS for nodule in rows])
    chosen = run.answers.is_kind("volume") & ~run.answers.refused & enough
    reference = ReaderReference.of_nodules(rows)
    own = network_predictions(run.answers, run.calibrations).of(chosen)
    measured_mm = own_diameter_mm(run, run.answers)[chosen]
    outlined = np.isfinite(run.answers.diameter_mm[chosen])
    predictions = CardPredictions(
        rating=reference.rating[chosen],
        score=own.score,
        probability=own.probability,
        size_mm=reference.diameter_mm[chosen],
        measured_mm=np.where(outlined, measured_mm, np.nan),
        size_probability=size_predictions(reference.diameter_mm, reference, chosen).of(chosen).probability,
        auc_intervals=auc_intervals,
    )
    return predictions, [rows[index] for index in np.flatnonzero(chosen)]


def _auc_intervals(results: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    figures = results["settings"][VOLUMES]["figures"]
    return {
        side: (float(figures[name][AUC_ABOVE_3]["interval"][0]), float(figures[name][AUC_ABOVE_3]["interval"][1]))
        for side, name in (("model", SHIPPED), ("size", READERS_DIAMETER))
    }


def _sign_row(volumes: Mapping[str, Any], name: str) -> Row:
    key = f"spearman_{name}"
    return Row(SIGN_LABELS[name], _read(volumes["figures"][SHIPPED][key]), _read(volumes["one_reader"][key]))


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
