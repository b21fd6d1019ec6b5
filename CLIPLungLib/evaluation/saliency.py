"""What heat maps are worth, out of fold: do they show anything, do they lie on the nodule, do they depend on what was learned?

Every click is moved off the nodule. In a patch with the nodule in its middle, a blob in the middle would do as well as a heat map
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

from CLIPLungLib.evaluation.fold_models import folds_of, left_out_programs, shipped_statements
from CLIPLungLib.evaluation.metrics import patient_bootstrap
from CLIPLungLib.evaluation.robustness import moved_click
from CLIPLungLib.image.patch import PatchSpec, extract_patch
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.image.resample import grid_coordinates, sample_hu
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.grad_cam import answer_with_grad_cam
from CLIPLungLib.inference.result import HEAT_THRESHOLD
from CLIPLungLib.lidc.nodule_table import LidcNodule
from CLIPLungLib.lidc.training_patches import TrainingPatches, outline_volume
from CLIPLungLib.model.network import CLIPLungNetwork
from CLIPLungLib.training.cross_validation import learned_features

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
        blob_inside: that share for a blob in the middle of the patch.
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
    exists: np.ndarray,
    spec: PatchSpec,
    probability: float,
) -> JudgedMap:
    """Args: heat, random_heat (Z, Y, X); outline (Z, Y, X) bool; exists (Z,) bool."""
    blob = middle_blob(spec) * exists[:, None, None]
    varies = np.ptp(heat[exists]) > 0 and np.ptp(random_heat[exists]) > 0
    return JudgedMap(
        probability,
        float(heat.max()),
        _share(heat, outline),
        _share(blob, outline),
        float(outline[exists].mean()),
        float(spearmanr(heat[exists].ravel(), random_heat[exists].ravel()).statistic) if varies else float("nan"),
    )


def middle_blob(spec: PatchSpec) -> np.ndarray:
    """(Z, Y, X) a Gaussian in the middle of a patch: what a map would be that knows of clicks, and of nothing else."""
    steps_mm = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(spec.shape, spec.spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*steps_mm, indexing="ij", sparse=True)
    return np.exp(-(z**2 + y**2 + x**2) / (2 * BLOB_SD_MM**2))


def judge_nodules(
    lidc_folder: Path,
    nodules: Sequence[LidcNodule],
    classifier: NoduleClassifier,
    average_cell: torch.Tensor,
    seed: int = 0,
) -> tuple[list[JudgedMap], list[str]]:
    """Every nodule with a volume and an outline, and whose patient it is; `average_cell` (C,) as in a checkpoint."""
    checkpoint = classifier.checkpoint
    torch.manual_seed(seed)
    random_network = CLIPLungNetwork(checkpoint.network.config).eval().requires_grad_(False).to(classifier.device)
    judged, patients = [], []
    for nodule in nodules:
        outline = outline_volume(lidc_folder, nodule)
        if outline is None or "volume" not in nodule.images:
            continue
        ct = read_ct(lidc_folder / nodule.images["volume"])
        rng = np.random.default_rng([seed, *nodule.nodule_id.encode()])
        patch = extract_patch(ct, moved_click(ct, np.asarray(nodule.point_ras), CLICK_MM, rng), checkpoint.patch)
        planes = torch.from_numpy(checkpoint.patch.normalise(patch.hu))[None].to(classifier.device)
        exists = torch.from_numpy(patch.exists)[None].to(classifier.device)
        output, heat = answer_with_grad_cam(checkpoint.network, planes, exists, average_cell)
        _, random_heat = answer_with_grad_cam(random_network, planes, exists)
        coordinates = grid_coordinates(outline, patch.ijk_to_ras, checkpoint.patch.shape)
        inside = outline.contains_ijk(coordinates) & (sample_hu(outline, coordinates) >= 0.5)
        probability = checkpoint.calibration.malignancy_probability(output.malignancy_score.detach().cpu().numpy())[0]
        maps = heat[0].cpu().numpy(), random_heat[0].cpu().numpy()
        judged.append(judge_map(*maps, inside, patch.exists, checkpoint.patch, float(probability)))
        patients.append(nodule.patient_id)
    return judged, patients


def summarise(judged: Sequence[JudgedMap], patients: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Band of the answer -> n, patients, and figures as (value, low, high); None where no map has one.

    empty: share of maps that show nothing. density: how much denser the map is within the outline than over the whole patch
    (median); blob_density: the same of the blob in the middle; gain: median ratio of the two. random_correlation: median.
    """
    table, owners = np.array([astuple(one) for one in judged]), np.asarray(patients)
    found = {}
    for low, high in pairwise(BANDS):
        chosen = (table[:, 0] >= low) & ((table[:, 0] < high) | (high == BANDS[-1]))
        if chosen.any():
            found[f"{low:g} to {high:g}"] = _figures(table[chosen], owners[chosen])
    return found | {"all": _figures(table, owners)}


def judge_heat_maps(
    runs: Path,
    lidc_folder: Path,
    views: TrainingPatches,
    nodules: Sequence[LidcNodule],
    device: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """`summarise` over the nodules with three readers or more, each by the network that had not seen its patient.

    Args:
        runs: folder of the finished cross-validation "shipped".
        lidc_folder: the images.
        views, nodules: the prepared data.
        progress: called after each fold.
    """
    statements, folds = shipped_statements(runs, views, nodules), folds_of(nodules)
    judged, patients = [], []
    for done, left_out in enumerate(left_out_programs(runs, views, nodules, statements, device)):
        channels = left_out.classifier.checkpoint.network.encoder.channels
        mean = learned_features(left_out.trainer).mean(axis=0)[:channels]
        average_cell = torch.from_numpy(mean.astype(np.float32))
        maps, owners = judge_nodules(lidc_folder, left_out.nodules, left_out.classifier, average_cell)
        judged += maps
        patients += owners
        if progress:
            progress(done + 1, len(folds), f"fold {left_out.fold}")
    return summarise(judged, patients)


def _share(weights: np.ndarray, chosen: np.ndarray) -> float:
    total = weights.sum()
    return float(weights[chosen].sum() / total) if total > 0 else float("nan")


def _figures(table: np.ndarray, patients: np.ndarray) -> dict[str, Any]:
    _, peak, inside, blob, outline, random = table.T
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {
            "density": inside / outline,
            "blob_density": blob / outline,
            "gain": inside / blob,
            "random_correlation": random,
        }
    statistics: dict[str, tuple[np.ndarray, Callable]] = {"empty": ((peak < HEAT_THRESHOLD).astype(float), np.mean)}
    statistics |= {name: (np.where(np.isfinite(value), value, np.nan), np.nanmedian) for name, value in values.items()}
    figures: dict[str, Any] = {"n": len(table), "patients": len(np.unique(patients))}
    for name, (value, summary) in statistics.items():
        known = np.isfinite(value)
        if known.sum() < 2:
            figures[name] = None
            continue
        value, owners = value[known], patients[known]
        low, high = patient_bootstrap(owners, lambda drawn, v=value, s=summary: s(v[drawn]))
        figures[name] = [float(summary(value)), low, high]
    return figures
