"""From the files of `cliplung evaluate`, `robustness` and `saliency` and a finished run to the model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.bootstrap import Estimate
from CLIPLungLib.evaluation.comparison import READERS_DIAMETER, SHIPPED, VOLUMES
from CLIPLungLib.evaluation.cross_fitting import network_predictions, size_predictions
from CLIPLungLib.evaluation.figures import AUC_ABOVE_3
from CLIPLungLib.evaluation.fold_models import FinishedRun
from CLIPLungLib.evaluation.interval_coverage import own_diameter_mm
from CLIPLungLib.evaluation.reader_reference import SIGN_NAMES, ReaderReference
from CLIPLungLib.evaluation.tables import all_tables, rule_text
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.lidc.nodule_table import LidcNodule, read_nodules
from CLIPLungLib.model_card.card import CardPredictions, checkpoint_facts, write_card
from CLIPLungLib.model_card.gallery import worst_cases
from CLIPLungLib.model_card.interval_plots import Row
from CLIPLungLib.model_card.saliency_table import saliency_table
from CLIPLungLib.training.calibrate import FEWEST_READERS

SALIENCY_HEADING = "Saliency of the shipped model, volumes"


def write_model_card(
    results_file: Path,
    robustness_file: Path | None,
    saliency_file: Path | None,
    runs: Path,
    lidc_folder: Path,
    output: Path,
    gallery: bool = False,
) -> Path:
    """Write the card of the bundled weights; `gallery` adds pictures of patients' scans, which must stay out of the project.

    Raises:
        InputError: a file of figures is missing or no JSON, or the run "shipped" is not finished.
    """
    results = read_figures(results_file)
    robustness = read_figures(robustness_file) if robustness_file else None
    tables = all_tables(results)
    if saliency_file:
        tables[SALIENCY_HEADING] = saliency_table(read_figures(saliency_file))
    predictions, nodules = _card_predictions(FinishedRun.read(runs / SHIPPED), read_nodules(lidc_folder), results)
    size = predictions.size_probability
    return write_card(
        rule_text(results),
        checkpoint_facts(load_checkpoint()),
        predictions,
        tables,
        output,
        [_sign_row(results["settings"][VOLUMES], name) for name in SIGN_NAMES],
        robustness,
        worst_cases(lidc_folder, nodules, predictions.probability, size_probability=size) if gallery else None,
    )


def _card_predictions(
    run: FinishedRun, nodules: list[LidcNodule], results: Mapping[str, Any]
) -> tuple[CardPredictions, list[LidcNodule]]:
    """What the plots show, and the nodules it is of: those with a volume and enough readers."""
    rows = [nodules[index] for index in run.answers.nodule]
    enough = np.array([nodule.n_readers >= FEWEST_READERS for nodule in rows])
    chosen = run.answers.is_kind("volume") & ~run.answers.refused & enough
    reference = ReaderReference.of_nodules(rows)
    own = network_predictions(run.answers, run.calibrations).of(chosen)
    measured_mm = own_diameter_mm(run, run.answers)[chosen]
    outlined = np.isfinite(run.answers.diameter_mm[chosen])
    figures = results["settings"][VOLUMES]["figures"]
    predictions = CardPredictions(
        rating=reference.rating[chosen],
        score=own.score,
        probability=own.probability,
        size_mm=reference.diameter_mm[chosen],
        measured_mm=np.where(outlined, measured_mm, np.nan),
        size_probability=size_predictions(reference.diameter_mm, reference, chosen).of(chosen).probability,
        auc_intervals={
            side: (figures[name][AUC_ABOVE_3]["interval"][0], figures[name][AUC_ABOVE_3]["interval"][1])
            for side, name in (("model", SHIPPED), ("size", READERS_DIAMETER))
        },
    )
    return predictions, [rows[index] for index in np.flatnonzero(chosen)]


def _sign_row(volumes: Mapping[str, Any], name: str) -> Row:
    key = f"spearman_{name}"
    return Row(name.replace("_", " "), _read(volumes["figures"][SHIPPED][key]), _read(volumes["one_reader"][key]))


def _read(figure: Mapping[str, Any]) -> Estimate:
    interval = figure["interval"]
    return Estimate(figure["value"], None if interval is None else (interval[0], interval[1]), figure["n"])


def read_figures(file: Path) -> dict[str, Any]:
    """A JSON file of figures.

    Raises:
        InputError: missing, or not such a file.
    """
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file} cannot be read: {error}. Write it with 'cliplung evaluate', 'robustness' or 'saliency'."
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{file} holds no figures. Write it with 'cliplung evaluate', 'robustness' or 'saliency'.")
    return found
