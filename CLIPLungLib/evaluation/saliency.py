"""Saliency: do heat maps show anything, do they lie on the nodule, do they depend on what was learned? Out of fold.

Every click is moved off the nodule. With the nodule under the click, a blob around the click would do as well as a heat map
without having seen anything; so each map is judged beside such a blob, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from CLIPLungLib.dataset.nodule_images import image_and_click, nodule_outlines
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.bootstrap import estimate, patient_weights
from CLIPLungLib.evaluation.conditions import moved_click
from CLIPLungLib.evaluation.fold_models import fold_models, folds_of_run
from CLIPLungLib.image.patch import Patch, extract_patch
from CLIPLungLib.image.resample import grid_coordinates, sample_hu
from CLIPLungLib.inference.calibrated_result import require_calibrations
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.grad_cam import answer_with_grad_cam
from CLIPLungLib.inference.readout import network_inputs
from CLIPLungLib.inference.result import HEAT_THRESHOLD
from CLIPLungLib.model.network import CLIPLungNetwork

CLICK_MM = 5.0
# As fine as the maps themselves, whose cells are 8 pixels wide.
BLOB_SD_MM = 6.0
BANDS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class JudgedMap:
    """One heat map.

    Attributes:
        probability: the answer.
        peak: the map's largest value; below HEAT_THRESHOLD nothing is shown.
        inside: share of the map's sum within the readers' outline; NaN for a map of zeros.
        blob_inside: that share for a blob around the click.
        outline_share: of the patch's existing voxels.
        random_correlation: Spearman's, of the map with that of a network with random weights; NaN where one of them is flat.
    """

    probability: float
    peak: float
    inside: float
    blob_inside: float
    outline_share: float
    random_correlation: float


def judge_map(
    heat: np.ndarray,
    random_heat: np.ndarray,
    outline: np.ndarray,
    patch: Patch,
    click_ras: np.ndarray,
    probability: float,
) -> JudgedMap:
    """Args: heat, random_heat (Z, Y, X) and outline (Z, Y, X) bool on the patch's grid; click_ras (3,) RAS mm."""
    exists = patch.exists
    blob = blob_at(click_ras, patch) * exists[:, None, None]
    varies = np.ptp(heat[exists]) > 0 and np.ptp(random_heat[exists]) > 0
    return JudgedMap(
        probability,
        float(heat.max()),
        _share(heat, outline),
        _share(blob, outline),
        float(outline[exists].mean()),
        float(spearmanr(heat[exists].ravel(), random_heat[exists].ravel()).statistic) if varies else float("nan"),
    )


def blob_at(click_ras: np.ndarray, patch: Patch) -> np.ndarray:
    """(Z, Y, X) a Gaussian around the click: what a map would be that knows of clicks, and of nothing else."""
    distances_mm = np.indices(patch.hu.shape)[::-1].T @ patch.ijk_to_ras[:3, :3].T + patch.ijk_to_ras[:3, 3] - click_ras
    blob: np.ndarray = np.exp(-(distances_mm**2).sum(axis=-1).T / (2 * BLOB_SD_MM**2))
    return blob


def judge_nodules(
    data_folder: Path, nodules: Sequence[Nodule], classifier: NoduleClassifier, seed: int = 0
) -> tuple[list[JudgedMap], list[str]]:
    """Every nodule with a volume and an outline, and whose patient it is. The maps are those a click gets, second look and all."""
    checkpoint = classifier.checkpoint
    calibration = require_calibrations(checkpoint).probability
    torch.manual_seed(seed)
    random_network = CLIPLungNetwork(checkpoint.network.config).eval().requires_grad_(False).to(classifier.device)
    judged, patients = [], []
    for nodule in nodules:
        found = nodule_outlines(data_folder, nodule).get("volume")
        if found is None or "volume" not in nodule.images:
            continue
        outline = found.inside
        ct, point_ras = image_and_click(data_folder, nodule, "volume")
        rng = np.random.default_rng([seed, *nodule.nodule_id.encode()])
        click_ras = moved_click(ct, point_ras, CLICK_MM, rng)
        ((reading, heat),) = classifier.read_patches_with_heat([extract_patch(ct, click_ras, checkpoint.patch)], [ct])
        inputs = network_inputs([reading.patch], checkpoint, classifier.device)
        random_heat = answer_with_grad_cam(random_network, *inputs)[1][0].cpu().numpy()
        coordinates = grid_coordinates(outline, reading.patch.ijk_to_ras, checkpoint.patch.shape)
        inside = outline.contains_ijk(coordinates) & (sample_hu(outline, coordinates) >= 0.5)
        probability = calibration.malignancy_probability(np.array([reading.malignancy_score]))[0]
        judged.append(judge_map(heat, random_heat, inside, reading.patch, click_ras, float(probability)))
        patients.append(nodule.patient_id)
    return judged, patients


def summarise(judged: Sequence[JudgedMap], patients: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Band of the answer -> n, patients, and figures with intervals.

    empty: share of maps that show nothing. density: how much denser the map is within the outline than over the whole patch
    (median); blob_density: the same of the blob; gain: median ratio of the two. random_correlation: median.
    """
    table, owners = np.array([astuple(one) for one in judged]), np.asarray(patients)
    found = {}
    for low, high in pairwise(BANDS):
        chosen = (table[:, 0] >= low) & ((table[:, 0] < high) | (high == BANDS[-1]))
        if chosen.any():
            found[f"{low:g} to {high:g}"] = _figures(table[chosen], owners[chosen])
    return found | {"all": _figures(table, owners)}


def measure_saliency(
    run: Path,
    data_folder: Path,
    nodules: Sequence[Nodule],
    device: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """`summarise` over the nodules with three readers or more, each by the checkpoint that has not seen its patient.

    Args:
        run: folder of a finished cross-validation.
        data_folder: of the table and its images.
        nodules: all rows of the table.
        device: where to compute.
        progress: called after each fold.
    """
    judged: list[JudgedMap] = []
    patients: list[str] = []
    folds = folds_of_run(run)
    for done, model in enumerate(fold_models(run, nodules, device)):
        maps, owners = judge_nodules(data_folder, model.nodules, model.classifier)
        judged += maps
        patients += owners
        if progress:
            progress(done + 1, len(folds), f"fold {model.fold}")
    return summarise(judged, patients)


def _share(weights: np.ndarray, chosen: np.ndarray) -> float:
    total = weights.sum()
    return float(weights[chosen].sum() / total) if total > 0 else float("nan")


def _figures(table: np.ndarray, patients: np.ndarray) -> dict[str, Any]:
    _, peak, inside, blob, outline, random = table.T
    with np.errstate(divide="ignore", invalid="ignore"):
        medians = {
            "density": inside / outline,
            "blob_density": blob / outline,
            "gain": inside / blob,
            "random_correlation": random,
        }
    figures: dict[str, Any] = {"n": len(table), "patients": len(np.unique(patients))}
    figures["empty"] = _estimate((peak < HEAT_THRESHOLD).astype(float), patients, metrics.mean)
    return figures | {name: _estimate(values, patients, metrics.median) for name, values in medians.items()}


def _estimate(
    values: np.ndarray, patients: np.ndarray, statistic: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> dict[str, Any]:
    known = np.isfinite(values)
    return estimate(lambda drawn: statistic(values[known], drawn), patient_weights(patients[known])).to_dict()
