"""All heat maps of one nodule's image, compared with the readers' outline and with image-independent controls."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from CLIPLungLib.calibration.double_reading import joint_score
from CLIPLungLib.dataset.nodule_images import NoduleOutline, image_and_click, nodule_outlines
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.perturbations import moved_click
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import Patch, extract_patch
from CLIPLungLib.image.resample import grid_coordinates, sample_hu
from CLIPLungLib.inference.calibrated_result import require_calibrations
from CLIPLungLib.inference.checkpoint import Checkpoint
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.readout import network_inputs, second_readings
from CLIPLungLib.saliency.controls import CONTROLS
from CLIPLungLib.saliency.map_input import HARMLESS, SUSPICIOUS, MapInput, Method
from CLIPLungLib.saliency.map_metrics import (
    Predict,
    deletion_and_insertion,
    energy_inside,
    peak_inside,
    rank_correlation,
)
from CLIPLungLib.saliency.weight_randomisation import cascade, layer_names

# Largest distance of the click from the nodule's centre.
CLICK_MM = 8.0
# Methods of many passes: only compared with the maps of completely random weights.
SLOW = ("integrated_gradients", "occlusion")


@dataclass(frozen=True, eq=False)
class MapScores:
    """Metrics of one heat map.

    Attributes:
        energy: share of its sum within the readers' outline.
        hit: whether its peak lies there.
        peak: its largest value.
        deletion, insertion: (K,) probability of the explained side, by NODULE_VOLUMES.
        cascade: layer -> rank correlation with the map of a network whose weights are random down to that layer.
        seeds: rank correlation with the map of another run's network; NaN without one.
        cost: its time over that of a forward and backward pass; NaN for a control.
    """

    energy: float
    hit: bool
    peak: float
    deletion: np.ndarray
    insertion: np.ndarray
    cascade: dict[str, float] = field(default_factory=dict)
    seeds: float = float("nan")
    cost: float = float("nan")


@dataclass(frozen=True, eq=False)
class CaseScores:
    """Metrics of all maps of one image of a nodule.

    Attributes:
        patient, diameter_mm: of the nodule.
        kind: of the image.
        called_malignant: the predicted side, which the maps explain.
        whole, none: probability of that side for the patch, and for a patch of lung alone.
        maps: method or control -> metrics of its map.
    """

    patient: str
    diameter_mm: float
    kind: str
    called_malignant: bool
    whole: float
    none: float
    maps: dict[str, MapScores]


def score_case(
    data_folder: Path,
    nodule: Nodule,
    kind: str,
    classifier: NoduleClassifier,
    methods: Mapping[str, Method],
    other: Checkpoint | None = None,
    seed: int = 0,
) -> CaseScores | None:
    """Evaluate all maps of one image; None where the click is refused, or no voxel of the patch lies in the outline.

    Args:
        data_folder: of the table and its images.
        nodule: with an image of this kind and an outline on it.
        kind: of the image.
        classifier: not trained on the patient.
        methods: name -> method.
        other: checkpoint of another run, whose maps are compared.
        seed: of click, noise and random weights, together with the nodule's id.
    """
    ct, point_ras = image_and_click(data_folder, nodule, kind)
    try:
        map_input = _map_input(nodule, ct, point_ras, classifier, seed)
    except InputError:
        return None
    inside = outline_on_patch(nodule_outlines(data_folder, nodule)[kind], point_ras, map_input.patch)
    if not inside.any():
        return None
    predict = _predict_side(map_input, classifier.checkpoint)
    lung = np.full_like(map_input.patch.hu, map_input.lung_hu())
    whole, none = predict(np.stack([map_input.patch.hu, lung]))
    once = _seconds_of_a_pass(map_input)
    maps: dict[str, MapScores] = {}
    for name, method in methods.items():
        start = time.process_time()
        heat = method(map_input)
        cost = (time.process_time() - start) / once
        maps[name] = replace(
            _scores(heat, inside, map_input, predict),
            cascade=_cascade(heat, method, map_input, whole_only=name in SLOW),
            seeds=float("nan") if other is None else _agreement(heat, method, map_input, other),
            cost=cost,
        )
    maps |= {name: _scores(method(map_input), inside, map_input, predict) for name, method in CONTROLS.items()}
    called = map_input.side == SUSPICIOUS
    return CaseScores(nodule.patient_id, nodule.diameter_mm, kind, called, float(whole), float(none), maps)


def _map_input(
    nodule: Nodule, ct: CTVolume, point_ras: np.ndarray, classifier: NoduleClassifier, seed: int
) -> MapInput:
    """The input for the predicted side, by the inference code, with a click off the nodule's centre.

    Raises:
        InputError: the click is refused.
    """
    checkpoint, rng = classifier.checkpoint, np.random.default_rng([seed, *nodule.nodule_id.encode()])
    click_ras = moved_click(ct, point_ras, rng.uniform(0, CLICK_MM), rng)
    (reading,) = classifier.read_patches([extract_patch(ct, click_ras, checkpoint.patch)], [ct])
    score = np.array([reading.malignancy_score])
    (probability,) = require_calibrations(checkpoint).probability.malignancy_probability(score)
    planes, exists = network_inputs([reading.patch], checkpoint, classifier.device)
    return MapInput(
        network=checkpoint.network,
        second_reader=checkpoint.second_reader,
        planes=planes,
        exists=exists,
        patch=reading.patch,
        spec=checkpoint.patch,
        click_ras=click_ras,
        side=SUSPICIOUS if probability > 0.5 else HARMLESS,
        average_cell=checkpoint.average_cell,
        draws_outline=checkpoint.draws_outline,
        seed=int(rng.integers(1 << 31)),
    )


def outline_on_patch(outline: NoduleOutline, point_ras: np.ndarray, patch: Patch) -> np.ndarray:
    """(Z, Y, X) bool, the readers' outline on the grid of a patch.

    Args:
        outline: in a frame of its own.
        point_ras: (3,) RAS mm, the point of the image that the outline's own point lies on.
        patch: of the image.
    """
    to_outline = patch.ijk_to_ras.copy()
    to_outline[:3, 3] += outline.point_ras - point_ras
    coordinates = grid_coordinates(outline.inside, to_outline, patch.hu.shape)  # type: ignore[arg-type]
    inside = outline.inside.contains_ijk(coordinates) & (sample_hu(outline.inside, coordinates) >= 0.5)
    return np.asarray(inside & patch.exists[:, None, None])


def _scores(heat: np.ndarray, inside: np.ndarray, map_input: MapInput, predict: Predict) -> MapScores:
    deletion, insertion = deletion_and_insertion(heat, map_input.patch, int(inside.sum()), predict, map_input.seed)
    return MapScores(energy_inside(heat, inside), peak_inside(heat, inside), float(heat.max()), deletion, insertion)


def _predict_side(map_input: MapInput, checkpoint: Checkpoint) -> Predict:
    """A function from HU (K, Z, Y, X) to (K,) probabilities of the side, without a second pass."""
    calibration = require_calibrations(checkpoint).probability

    def predict(hu: np.ndarray) -> np.ndarray:
        planes = torch.from_numpy(map_input.spec.normalise(hu)).to(map_input.planes)
        exists = map_input.exists.expand(len(planes), -1)
        with torch.inference_mode():
            output = map_input.network(planes, exists)
        own = output.malignancy_score.cpu().numpy().astype(np.float64)
        score = joint_score(own, second_readings(planes, exists, checkpoint, map_input.second_reader))
        malignant = calibration.malignancy_probability(score)
        return np.asarray(malignant if map_input.side == SUSPICIOUS else 1 - malignant)

    return predict


def _cascade(heat: np.ndarray, method: Method, map_input: MapInput, whole_only: bool) -> dict[str, float]:
    """Layer -> rank correlation; with `whole_only` for the last layer alone, where all weights are random."""
    found, last = {}, layer_names(map_input.network, map_input.second_reader)[-1]
    for layer, network, second_reader in cascade(map_input.network, map_input.second_reader, map_input.seed):
        if layer == last or not whole_only:
            # The average nodule is that of the trained network.
            changed = replace(map_input, network=network, second_reader=second_reader, average_cell=None)
            found[layer] = rank_correlation(heat, method(changed), map_input.patch.exists)
    return found


def _agreement(heat: np.ndarray, method: Method, map_input: MapInput, other: Checkpoint) -> float:
    """Rank correlation with the other network's map of the same patch for the same side."""
    asked = replace(
        map_input, network=other.network, second_reader=other.second_reader, average_cell=other.average_cell
    )
    return rank_correlation(heat, method(asked), map_input.patch.exists)


def _seconds_of_a_pass(map_input: MapInput) -> float:
    """Processor time of a forward and backward pass through the whole network."""
    planes = map_input.planes.clone().requires_grad_(True)
    start = time.process_time()
    torch.autograd.grad(map_input.target(map_input.network(planes, map_input.exists)).sum(), planes)
    return time.process_time() - start
