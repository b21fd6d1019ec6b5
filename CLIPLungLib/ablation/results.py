"""The results of an ablation: the figures of every row over its seeds, what each term adds, and what the readers' diameter alone can do.

All figures are over the same draws of patients, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from CLIPLungLib.ablation.figures import SETTING_OF, Judged, baseline_figures, network_figures
from CLIPLungLib.ablation.rows import ROWS, WITH_TEXT, WITHOUT_TEXT, Row
from CLIPLungLib.ablation.run import AblationData, Part
from CLIPLungLib.dataset.nodule_table import fewest_readers
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.bootstrap import BOOTSTRAPS, estimate
from CLIPLungLib.evaluation.figures import Figure
from CLIPLungLib.evaluation.settings import CONTEXT, VOLUMES
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.fold_answers import FoldAnswers

SIZE = "size"
FIRST_ROW = next(iter(ROWS.values()))
# Seed -> the figures of the network of a row.
SeedFigures = dict[int, dict[str, Figure]]


def results_of(
    parts: Mapping[Part, FoldAnswers], data: AblationData, recipe: TrainConfig, planned: Sequence[Part] = ()
) -> dict[str, Any]:
    """All figures, for JSON.

    Args:
        parts: the answers of the networks that are finished.
        data: they learned from and are judged by.
        recipe: with all terms.
        planned: parts that were asked for; their seeds count for what is missing.

    Raises:
        InputError: no part is finished, none of its answers is for a nodule that enough readers rated, or the parts answer for
            different nodules.
    """
    judged = _judged(parts, data)
    figures: dict[str, SeedFigures] = {}
    for part in sorted(parts, key=lambda one: (list(ROWS).index(one.row.name), one.seed)):
        own = {name: one.answers(parts[part], data.nodules, part.name) for name, one in judged.items()}
        figures.setdefault(part.row.name, {})[part.seed] = network_figures(part.row, own, judged)
    seeds = sorted({part.seed for part in (*parts, *planned)})
    return {
        "recipe": recipe.to_dict(),
        "train_folds": list(data.train_folds),
        "tested_folds": sorted(set(data.tested_folds)),
        "fewest_readers": fewest_readers(data.nodules),
        "bootstraps": BOOTSTRAPS,
        "seeds": seeds,
        "signs": list(judged[VOLUMES].signs) if VOLUMES in judged else [],
        "judged": {
            name: {"nodules": len(one.nodule), "patients": len(np.unique(one.reference.patient))}
            for name, one in judged.items()
        },
        "baseline": {
            key: _estimate([figure], judged[SETTING_OF[key]]) for key, figure in baseline_figures(judged).items()
        },
        "figures": {name: _row(by_seed, judged) for name, by_seed in figures.items()},
        "differences": _differences(figures, judged),
        "missing": [
            part.name for seed in seeds for part in (Part(row, seed) for row in ROWS.values()) if part not in parts
        ],
    }


def difference_name(row: Row, other: Row) -> str:
    """The key of a paired difference."""
    return f"{row.name} less {other.name}"


def _judged(parts: Mapping[Part, FoldAnswers], data: AblationData) -> dict[str, Judged]:
    """Setting -> its test nodules."""
    if not parts:
        raise InputError("No network of the ablation is finished, so there is nothing to judge. Run the command again.")
    answers = next(iter(parts.values()))
    found = {setting: Judged.of(setting, answers, data.nodules) for setting in (VOLUMES, CONTEXT)}
    found = {setting: one for setting, one in found.items() if len(one.nodule)}
    if not found:
        raise InputError(
            f"No nodule of the folds {list(data.tested_folds)} has a volume, a cube or a crop and a known malignancy, so there is nothing "
            "to judge by. Choose others with --test-folds."
        )
    return found


def _row(by_seed: SeedFigures, judged: Mapping[str, Judged]) -> dict[str, Any]:
    """Key -> the mean over the seeds, with the single ones."""
    return {
        key: _over_seeds({seed: [own[key]] for seed, own in by_seed.items()}, judged[SETTING_OF[key]])
        for key in _keys(by_seed)
    }


def _differences(figures: Mapping[str, SeedFigures], judged: Mapping[str, Judged]) -> dict[str, Any]:
    """Of each row to the row below, to cross entropy alone, and of all terms to all that need no text; over the seeds both have."""
    below = [(row, ROWS[row.below]) for row in ROWS.values() if row.below]
    to_first = [(row, FIRST_ROW) for row in ROWS.values() if row is not FIRST_ROW]
    found = {}
    for row, other in dict.fromkeys([(WITH_TEXT, WITHOUT_TEXT), *below, *to_first]):
        own, others = figures.get(row.name, {}), figures.get(other.name, {})
        if shared := sorted(own.keys() & others.keys()):
            found[difference_name(row, other)] = {
                "row": row.name,
                "other": other.name,
                "figures": {
                    key: _over_seeds(
                        {seed: [own[seed][key], others[seed][key]] for seed in shared}, judged[SETTING_OF[key]]
                    )
                    for key in _keys(own)
                    if key in _keys(others)
                },
            }
    return found


def _keys(by_seed: SeedFigures) -> list[str]:
    """The figures of a row, in the order of the table; all seeds have the same."""
    there = next(iter(by_seed.values()))
    return [key for key in SETTING_OF if key in there]


def _over_seeds(by_seed: Mapping[int, Sequence[Figure]], judged: Judged) -> dict[str, Any]:
    """The mean over the seeds of a figure, or of a figure less another, and those of the single seeds."""
    single = {str(seed): _value(_less(figures), judged) for seed, figures in by_seed.items()}
    return _estimate([_less(figures) for figures in by_seed.values()], judged) | {"seeds": single}


def _less(figures: Sequence[Figure]) -> Figure:
    """The first less the second where there are two."""
    if len(figures) == 1:
        return figures[0]
    one, other = figures
    return Figure(min(one.n, other.n), lambda weights: one.value(weights) - other.value(weights))


def _estimate(figures: Sequence[Figure], judged: Judged) -> dict[str, Any]:
    """Their mean with its interval."""
    return estimate(_mean(figures), judged.weights, figures[0].n).to_dict()


def _mean(figures: Sequence[Figure]) -> Callable[[np.ndarray], np.ndarray]:
    def mean(weights: np.ndarray) -> np.ndarray:
        values: np.ndarray = np.mean([figure.value(weights) for figure in figures], axis=0)
        return values

    return mean


def _value(figure: Figure, judged: Judged) -> float | None:
    value = float(figure.value(np.ones((1, len(judged.nodule))))[0])
    return None if np.isnan(value) else value
