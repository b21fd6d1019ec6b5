"""From the files of `cliplung evaluate`, `reality` and `heatmaps` and the shipped answers to the model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.comparison import FLOOR, SHIPPED, VOLUMES
from CLIPLungLib.evaluation.cross_fitting import FEWEST_READERS, SIGN_NAMES, Truth, network_opinion, size_opinion
from CLIPLungLib.evaluation.tables import AUC_MEAN, all_tables
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.lidc.nodule_table import read_nodules
from CLIPLungLib.lidc.training_patches import PATCH_KINDS, TrainingPatches
from CLIPLungLib.model_card.card import Answers, checkpoint_facts, write_card
from CLIPLungLib.model_card.gallery import worst_cases
from CLIPLungLib.model_card.interval_plots import Estimate, Row
from CLIPLungLib.model_card.saliency_table import heat_map_table
from CLIPLungLib.training.cross_validation import finished_answers
from CLIPLungLib.training.final_model import fit_statements


def write_model_card(
    results_file: Path,
    reality_file: Path | None,
    heat_maps_file: Path | None,
    runs: Path,
    views_file: Path,
    lidc_folder: Path,
    output: Path,
    gallery: bool = False,
) -> Path:
    """Write the card of the bundled weights; `gallery` adds pictures of patients' scans, which must stay out of the project.

    Raises:
        InputError: a file of figures is missing or no JSON.
    """
    results = _read(results_file)
    reality = _read(reality_file) if reality_file else None
    tables = all_tables(results)
    if heat_maps_file:
        tables["Heat maps of the shipped model, volumes"] = heat_map_table(_read(heat_maps_file))
    views, nodules = TrainingPatches.load(views_file), read_nodules(lidc_folder)
    everything = finished_answers(runs / SHIPPED, results["folds"])
    rows = [nodules[index] for index in everything.nodule]
    chosen = (views.kind[everything.view] == PATCH_KINDS.index("volume")) & np.array(
        [nodule.n_readers >= FEWEST_READERS for nodule in rows]
    )
    own, truth = [rows[index] for index in np.flatnonzero(chosen)], Truth.of_nodules(rows)
    opinion = network_opinion(everything, views, nodules).of(chosen)
    size_probability = size_opinion(truth.size_mm, truth, chosen).of(chosen).probability
    calibration = fit_statements(everything, views, nodules)["diameter_calibration"]
    volumes = results["settings"][VOLUMES]
    answers = Answers(
        rating=truth.rating[chosen],
        score=opinion.score,
        probability=opinion.probability,
        size_mm=truth.size_mm[chosen],
        measured_mm=np.array([calibration.value(value) for value in everything.measured[chosen, 0]]),
        size_probability=size_probability,
        auc_intervals={
            side: tuple(volumes["answers"][name][AUC_MEAN]["interval"])
            for side, name in (("model", SHIPPED), ("size", FLOOR))
        },
    )
    return write_card(
        results,
        checkpoint_facts(load_checkpoint()),
        answers,
        tables,
        output,
        [_sign(volumes, name) for name in SIGN_NAMES],
        reality,
        worst_cases(lidc_folder, own, opinion.probability, size_probability=size_probability) if gallery else None,
    )


def _sign(volumes: Mapping[str, Any], name: str) -> Row:
    figure = f"Spearman, {name}"
    return Row(name, _estimate(volumes["answers"][SHIPPED][figure]), _estimate(volumes["one reader"][figure]))


def _estimate(figure: Mapping[str, Any]) -> Estimate:
    return Estimate(figure["value"], tuple(figure["interval"]) if figure["interval"] else None)


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file} cannot be read: {error}. Write it with 'cliplung evaluate', 'reality' or 'heatmaps'."
        ) from error
