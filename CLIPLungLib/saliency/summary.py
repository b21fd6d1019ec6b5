"""Figures with intervals from the metrics of all maps: by method, and by size, kind of image and side of the prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from CLIPLungLib.dataset.nodule_images import TRUE_CONTEXT
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.bootstrap import BOOTSTRAPS, estimate, patient_weights
from CLIPLungLib.inference.heat_threshold import HEAT_THRESHOLD
from CLIPLungLib.saliency.case_scores import CaseScores, MapScores
from CLIPLungLib.saliency.controls import CONTROLS
from CLIPLungLib.saliency.map_metrics import NODULE_VOLUMES

SMALL_BELOW_MM = 8.0
ALL = "all"
GROUPS: dict[str, Callable[[CaseScores], bool]] = {
    ALL: lambda _case: True,
    "below 8 mm": lambda case: case.diameter_mm < SMALL_BELOW_MM,
    "8 mm and more": lambda case: case.diameter_mm >= SMALL_BELOW_MM,
    "volumes": lambda case: case.kind not in TRUE_CONTEXT,
    "true context": lambda case: case.kind in TRUE_CONTEXT,
    "called malignant": lambda case: case.called_malignant,
    "called benign": lambda case: not case.called_malignant,
}
BLOB = "blob"


def summarise(scored: Sequence[CaseScores]) -> dict[str, Any]:
    """Everything for `saliency.json`.

    Returns:
        `bootstraps`, `volumes`; `groups`: group -> `n`, `patients` and `methods`: method or control -> figure -> value, interval, n.
        Figures are means: `empty` (share of maps that show nothing), `energy` (share of the map within the readers' outline),
        `energy_over_blob` (ratio of the means), `pointing` (share of peaks within the outline), `deletion` and `insertion` (probability
        of the answer's side, over `volumes` deleted or inserted), both also less those of noise and blob, `random_weights` (rank
        correlation with the map of wholly random weights), `seeds`. `curves` and `cascade`: means by step and layer, `cost`: median,
        all by method.
    """
    names = list(scored[0].maps)
    groups = {}
    for group, belongs in GROUPS.items():
        chosen = [case for case in scored if belongs(case)]
        if chosen:
            groups[group] = {
                "n": len(chosen),
                "patients": len({case.patient for case in chosen}),
                "methods": {name: _figures(chosen, name) for name in names},
            }
    return {
        "bootstraps": BOOTSTRAPS,
        "volumes": list(NODULE_VOLUMES),
        "groups": groups,
        "curves": _curves(scored, names),
        "cascade": {name: _cascade(scored, name) for name in names if name not in CONTROLS},
        "cost": {
            name: float(np.median([case.maps[name].cost for case in scored])) for name in names if name not in CONTROLS
        },
    }


def _figures(scored: Sequence[CaseScores], name: str) -> dict[str, Any]:
    patients = np.array([case.patient for case in scored])

    def of(read: Callable[[MapScores], float], method: str = name) -> np.ndarray:
        return np.array([read(case.maps[method]) for case in scored], dtype=np.float64)

    deletion, insertion = (lambda found: float(found.deletion.mean())), (lambda found: float(found.insertion.mean()))
    values = {
        "empty": of(lambda found: found.peak < HEAT_THRESHOLD),
        "energy": of(lambda found: found.energy),
        "pointing": of(lambda found: found.hit),
        "deletion": of(deletion),
        "insertion": of(insertion),
    }
    for control in CONTROLS:
        values[f"deletion_less_{control}"] = values["deletion"] - of(deletion, control)
        values[f"insertion_less_{control}"] = values["insertion"] - of(insertion, control)
    if name not in CONTROLS:
        values["random_weights"] = of(lambda found: list(found.cascade.values())[-1])
        values["seeds"] = of(lambda found: found.seeds)
    figures = {key: _mean(found, patients) for key, found in values.items()}
    energies = values["energy"], of(lambda found: found.energy, BLOB)

    def ratio(drawn: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = (drawn @ energies[0]) / (drawn @ energies[1])
        return np.where(np.isfinite(found), found, np.nan)

    return figures | {"energy_over_blob": estimate(ratio, patient_weights(patients)).to_dict()}


def _curves(scored: Sequence[CaseScores], names: Sequence[str]) -> dict[str, Any]:
    """Mean probability of the predicted side: of the whole patch, of lung alone, and by method and step."""
    steps = {
        name: {
            "deletion": np.mean([case.maps[name].deletion for case in scored], axis=0).tolist(),
            "insertion": np.mean([case.maps[name].insertion for case in scored], axis=0).tolist(),
        }
        for name in names
    }
    ends = {key: float(np.mean([getattr(case, key) for case in scored])) for key in ("whole", "none")}
    return {**ends, "methods": steps}


def _cascade(scored: Sequence[CaseScores], name: str) -> dict[str, Any]:
    """Layer -> rank correlation with the map of weights that are random down to it, in the order of the cascade."""
    patients = np.array([case.patient for case in scored])
    layers = list(scored[0].maps[name].cascade)
    return {layer: _mean(np.array([case.maps[name].cascade[layer] for case in scored]), patients) for layer in layers}


def _mean(values: np.ndarray, patients: np.ndarray) -> dict[str, Any]:
    """Mean of the known values."""
    known = np.isfinite(values)
    return estimate(lambda drawn: metrics.mean(values[known], drawn), patient_weights(patients[known])).to_dict()
