"""The results file: every variant and every floor on the same nodules, out of fold, with patient bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.cross_fitting import (
    ABSENT_NAME,
    FEWEST_READERS,
    SIGN_NAMES,
    Opinion,
    Truth,
    network_opinion,
    reader_pairs,
    size_opinion,
)
from CLIPLungLib.evaluation.interval_coverage import class_set_figures, familiarity_figures, measurement_figures
from CLIPLungLib.lidc.nodule_table import LidcNodule
from CLIPLungLib.lidc.training_patches import PATCH_KINDS, TrainingPatches
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.cross_validation import finished_answers, read_judgements
from CLIPLungLib.training.predict import Predictions, one_view_per_nodule
from CLIPLungLib.training.trainer import CONFIG_NAME
from CLIPLungLib.vocabulary import BENIGN_BELOW, EVENT_ABOVE, MALIGNANT_ABOVE

FLOOR, OWN_FLOOR, SHIPPED = "readers' diameter", "own diameter", "shipped"
# Folder of a cross-validation -> what it is called in tables, in their order.
VARIANTS = {
    "published": "published CLIP-Lung, repaired",
    "cross_entropy": "ours, cross entropy alone",
    "image_class": "+ image-class",
    "image_attribute": "+ image-attribute",
    "class_attribute": "+ class-attribute",
    "shipped_short": "+ measuring terms",
    SHIPPED: "shipped",
}
VOLUMES, PAPERS_MIX = "volumes", "paper's mix"
# Where a nodule is seen -> the kinds of view that show it so; the paper's mix takes every nodule once, whoever read it.
SETTINGS = {VOLUMES: ("volume",), "slices": ("slice",), "true context": ("cube", "crop"), PAPERS_MIX: ()}
# In these, all variants are compared; elsewhere the shipped one and the floors.
COMPARED_IN = (VOLUMES, PAPERS_MIX)

Figures = dict[str, dict[str, Any]]


def evaluate(
    folder: Path,
    views: TrainingPatches,
    nodules: Sequence[LidcNodule],
    repeats: int = metrics.BOOTSTRAPS,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """All figures of all cross-validations in a folder.

    Args:
        folder: one sub-folder per variant (`cliplung crossvalidate`, and "shipped" by `cliplung train`); absent ones are left out.
        views, nodules: the prepared data.
        repeats: of the bootstrap.
        progress: called before each setting with what is done, how many there are, and its name.

    Raises:
        InputError: the shipped variant is not there, or a cross-validation is not finished.
    """
    folds = sorted({nodule.fold for nodule in nodules})
    answers = {name: finished_answers(folder / name, folds) for name in VARIANTS if (folder / name).is_dir()}
    if SHIPPED not in answers:
        raise InputError(
            f"{folder} holds no folder '{SHIPPED}'. Run 'cliplung train --output {folder / SHIPPED}' first."
        )
    settings = {}
    for done, setting in enumerate(SETTINGS):
        if progress:
            progress(done, len(SETTINGS), setting)
        chosen = _chosen(setting, answers[SHIPPED], views, nodules)
        if chosen.any():
            settings[setting] = _setting(setting, chosen, answers, views, nodules, repeats)
    shipped = answers[SHIPPED]
    volumes = _chosen(VOLUMES, shipped, views, nodules)
    return {
        "rule": f"out of fold by patient; nodules with >= {FEWEST_READERS} readers, in the paper's mix with any; "
        f"95 % intervals by {repeats} patient bootstraps; calibrations fitted on the other folds",
        "folds": [int(fold) for fold in folds],
        "variants": {name: _told(folder / name / f"fold{folds[0]}", VARIANTS[name]) for name in answers},
        "settings": settings,
        "measurement": measurement_figures(shipped.of(volumes), nodules),
        "class sets": class_set_figures(
            network_opinion(shipped, views, nodules).of(volumes), shipped.of(volumes), nodules
        ),
        "familiarity": familiarity_figures(read_judgements(folder / SHIPPED, folds), views, nodules),
    }


def _told(fold_folder: Path, name: str) -> str:
    return f"{name} ({TrainConfig.read(fold_folder / CONFIG_NAME).epochs} epochs)"


def _chosen(setting: str, answers: Predictions, views: TrainingPatches, nodules: Sequence[LidcNodule]) -> np.ndarray:
    """(V,) bool: the answers a setting is about."""
    if setting == PAPERS_MIX:
        return np.isin(answers.view, one_view_per_nodule(views, nodules, np.arange(len(nodules)), fewest_readers=1))
    readers = np.array([nodules[index].n_readers for index in answers.nodule])
    kinds = [PATCH_KINDS.index(kind) for kind in SETTINGS[setting]]
    return (readers >= FEWEST_READERS) & np.isin(views.kind[answers.view], kinds)


def _setting(
    setting: str,
    chosen: np.ndarray,
    answers: Mapping[str, Predictions],
    views: TrainingPatches,
    nodules: Sequence[LidcNodule],
    repeats: int,
) -> dict[str, Any]:
    shipped = answers[SHIPPED]
    rows = [nodules[index] for index in shipped.nodule]
    truth_of_all, fit = Truth.of_nodules(rows), _chosen(VOLUMES, shipped, views, nodules)
    opinions = {
        FLOOR: size_opinion(truth_of_all.size_mm, truth_of_all, fit).of(chosen),
        OWN_FLOOR: size_opinion(own_diameter(shipped), truth_of_all, fit).of(chosen),
    }
    for name in answers if setting in COMPARED_IN else (SHIPPED,):
        opinions[name] = network_opinion(answers[name], views, nodules).of(_same(answers[name], shipped, chosen))
    own = [rows[index] for index in np.flatnonzero(chosen)]
    truth = Truth.of_nodules(own)
    found, differences = compare(opinions, truth, FLOOR, repeats)
    return {
        "nodules": len({nodule.nodule_id for nodule in own}),
        "patients": len(np.unique(truth.patient)),
        "answers": found,
        f"difference to {FLOOR}": differences,
        "one reader": readers_figures(own, repeats),
    }


def _same(answers: Predictions, reference: Predictions, chosen: np.ndarray) -> np.ndarray:
    """Places of the reference's chosen views among the answers of another variant."""
    order = np.argsort(answers.view)
    return order[np.searchsorted(answers.view, reference.view[chosen], sorter=order)]


def own_diameter(answers: Predictions) -> np.ndarray:
    """(V,) mm: measured in the outline, or the network's estimate where it drew none."""
    measured = answers.measured[:, 0]
    return np.where(np.isfinite(measured), measured, answers.estimated_diameter_mm)


def compare(
    opinions: Mapping[str, Opinion], truth: Truth, floor: str, repeats: int = metrics.BOOTSTRAPS
) -> tuple[dict[str, Figures], dict[str, Figures]]:
    """Figures of every opinion, and the paired differences of each to the floor's, all from the same draws of patients."""
    everyone = np.arange(len(truth.rating))
    values = {name: figures_of(opinion, truth, everyone) for name, opinion in opinions.items()}
    keys = [(name, figure) for name, own in values.items() for figure in own]
    pairs = [(name, figure) for name, figure in keys if name != floor and figure in values[floor]]

    def all_figures(drawn: np.ndarray) -> np.ndarray:
        own = {name: figures_of(opinion, truth, drawn) for name, opinion in opinions.items()}
        return np.array(
            [own[name][figure] for name, figure in keys]
            + [own[name][figure] - own[floor][figure] for name, figure in pairs]
        )

    low, high = metrics.patient_bootstrap(truth.patient, all_figures, repeats=repeats)
    counts = {
        figure: int(np.count_nonzero(_members(figure, truth.rating))) for own in values.values() for figure in own
    }
    found: dict[str, Figures] = {name: {} for name in opinions}
    differences: dict[str, Figures] = {name: {} for name in opinions if name != floor}
    for place, (name, figure) in enumerate(keys):
        found[name][figure] = _figure(values[name][figure], low[place], high[place], counts[figure])
    for place, (name, figure) in enumerate(pairs, start=len(keys)):
        difference = values[name][figure] - values[floor][figure]
        differences[name][figure] = _figure(difference, low[place], high[place], counts[figure])
    for name, opinion in opinions.items():
        found[name]["ECE, 15 bins"]["by chance"] = metrics.chance_calibration_error(opinion.probability)
    return found, differences


AUC_SIDES = {
    "AUC, mean above against below 3": lambda rating: rating != EVENT_ABOVE,
    "AUC, < 2.5 against > 3.5": lambda rating: (rating < BENIGN_BELOW) | (rating > MALIGNANT_ABOVE),
    "AUC, <= 2.5 against >= 3.5": lambda rating: (rating <= BENIGN_BELOW) | (rating >= MALIGNANT_ABOVE),
}
TWO_CLASSES = "accuracy, benign or malignant"


def _members(figure: str, rating: np.ndarray) -> np.ndarray:
    """(N,) bool: whom a figure is about."""
    if figure == TWO_CLASSES:
        return AUC_SIDES["AUC, < 2.5 against > 3.5"](rating)
    return AUC_SIDES[figure](rating) if figure in AUC_SIDES else np.ones(len(rating), dtype=bool)


def figures_of(opinion: Opinion, truth: Truth, drawn: np.ndarray) -> dict[str, float]:
    """Every figure of merit over the nodules at these places."""
    rating, label = truth.rating[drawn], truth.label[drawn]
    score, probability, classes = opinion.score[drawn], opinion.probability[drawn], opinion.classes[drawn]
    suspicious = rating > EVENT_ABOVE
    figures = {}
    for name, sides in AUC_SIDES.items():
        members = sides(rating)
        figures[name] = metrics.auc(suspicious[members], score[members])
    figures |= metrics.class_figures(label, classes.argmax(axis=1))
    decided = label != 1
    figures[TWO_CLASSES] = float(np.mean((classes[decided, 2] > classes[decided, 0]) == (label[decided] == 2)))
    figures["Brier score"] = metrics.brier(suspicious, probability)
    figures["ECE, 15 bins"] = metrics.expected_calibration_error(suspicious, probability)
    figures["Spearman, malignancy"] = metrics.spearman(score, rating)
    for name, levels in opinion.signs.items():
        figures[f"Spearman, {name}"] = metrics.spearman(levels[drawn], truth.signs[name][drawn])
    if ABSENT_NAME in opinion.signs:
        absent = truth.signs[ABSENT_NAME][drawn] > 0.5
        figures["AUC, calcification absent"] = metrics.auc(absent, opinion.signs[ABSENT_NAME][drawn])
    return figures


def readers_figures(nodules: Sequence[LidcNodule], repeats: int = metrics.BOOTSTRAPS) -> Figures:
    """Spearman of one reader with the mean of the others, for every sign; nodules with fewer than three readers do not count."""
    figures: Figures = {}
    for sign in SIGN_NAMES:
        one, others, place = reader_pairs(nodules, sign)
        patients = np.array([nodules[index].patient_id for index in place])
        low, high = metrics.patient_bootstrap(
            patients, lambda drawn, a=one, b=others: metrics.spearman(a[drawn], b[drawn]), repeats=repeats
        )
        figures[f"Spearman, {sign}"] = _figure(metrics.spearman(one, others), low, high, len(np.unique(place)))
    return figures


def _figure(value: float, low: float, high: float, n: int) -> dict[str, Any]:
    """For JSON, which knows no NaN: a figure that is not defined (a constant rating) has no value and no interval."""
    if not np.isfinite([value, low, high]).all():
        return {"value": None, "interval": None, "n": n}
    return {"value": float(value), "interval": [float(low), float(high)], "n": n}
