"""The same nodules under other conditions: clicks that miss, thick slices, noise, wrong HU, turned axes, true context in z.

A condition changes a scan or a click and nothing else, so every difference in the answers is the condition's own. Conditions
are pure functions; the scan they are given stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.metrics import auc, patient_bootstrap
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import Patch, PatchSpec, extract_patch
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.lidc.nodule_table import LidcNodule
from CLIPLungLib.vocabulary import EVENT_ABOVE

CLICK_SHIFTS_MM = (1.0, 2.0, 3.0, 5.0)
THICKNESSES_MM = (2.5, 5.0)
NOISES_HU = (10.0, 25.0)
HU_SHIFTS = (-20.0, 20.0)
# Slices thicker than this share of the thickness asked for are as good as that thick.
AS_THICK = 0.95

# Probability of malignancy_score (N,) for N patches and the scans they come from.
Answer = Callable[[Sequence[Patch], Sequence[CTVolume]], np.ndarray]
# A scan and a click (3,) RAS mm, changed; the generator is the nodule's own.
Change = Callable[[CTVolume, np.ndarray, np.random.Generator], tuple[CTVolume, np.ndarray]]


def moved_click(ct: CTVolume, point_ras: np.ndarray, distance_mm: float, rng: np.random.Generator) -> np.ndarray:
    """(3,) RAS mm: the click moved in a random direction, by less only where it would leave the scan's voxel centres."""
    direction = rng.normal(size=3)
    target_ijk = ct.to_ijk(np.asarray(point_ras) + distance_mm * direction / np.linalg.norm(direction))
    return ct.to_ras(np.clip(target_ijk, 0.0, ct.size_ijk - 1.0))


def thickened(ct: CTVolume, thickness_mm: float) -> CTVolume:
    """The scan with neighbouring slices averaged to thick ones; the same scan where its slices are that thick already.

    The thick slices divide the scan's length evenly, so that extent and mean HU stay exactly; they come as near to
    `thickness_mm` as that allows, and a scan shorter than that becomes one slice.
    """
    spacing_mm = ct.spacing_mm[2]
    thin = ct.hu.shape[0]
    if spacing_mm >= AS_THICK * thickness_mm or thin == 1:
        return ct
    thick = max(1, round(thin * spacing_mm / thickness_mm))
    ratio = thin / thick
    # Share of each thin slice (columns) in each thick one (rows), both in units of thin slices from the first one's lower face.
    lower, upper = np.arange(thick)[:, None] * ratio, np.arange(1, thick + 1)[:, None] * ratio
    faces = np.arange(thin)[None]
    share = np.clip(np.minimum(upper, faces + 1) - np.maximum(lower, faces), 0.0, None) / ratio
    hu = np.tensordot(share.astype(np.float32), ct.hu, axes=1)
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 2] *= ratio
    matrix[:3, 3] = ct.to_ras(np.array([0.0, 0.0, (ratio - 1) / 2]))
    return replace(ct, hu=hu.astype(np.float32), ijk_to_ras=matrix)


def with_noise(ct: CTVolume, sd_hu: float, rng: np.random.Generator) -> CTVolume:
    """The scan with white noise of this standard deviation on its own voxels."""
    return replace(ct, hu=ct.hu + np.float32(sd_hu) * rng.standard_normal(ct.hu.shape, dtype=np.float32))


def with_hu_shift(ct: CTVolume, shift_hu: float) -> CTVolume:
    """The scan as a scanner calibrated wrongly by `shift_hu` would give it."""
    return replace(ct, hu=ct.hu + np.float32(shift_hu))


def flipped(ct: CTVolume, axes_ijk: Sequence[int]) -> CTVolume:
    """The same scan with some of its axes stored in reverse: another array, every voxel at its old place. Copies nothing."""
    matrix = ct.ijk_to_ras.copy()
    for axis in axes_ijk:
        matrix[:3, 3] += matrix[:3, axis] * (ct.size_ijk[axis] - 1)
        matrix[:3, axis] *= -1
    return replace(ct, hu=np.flip(ct.hu, [2 - axis for axis in axes_ijk]), ijk_to_ras=matrix)


def conditions() -> dict[str, Change]:
    """Name -> the change that makes it."""
    made: dict[str, Change] = {}
    for mm in CLICK_SHIFTS_MM:
        made[f"click moved by {mm:g} mm"] = lambda ct, point, rng, mm=mm: (ct, moved_click(ct, point, mm, rng))
    for mm in THICKNESSES_MM:
        made[f"slices of {mm:g} mm"] = lambda ct, point, _rng, mm=mm: (thickened(ct, mm), point)
    for sd in NOISES_HU:
        made[f"noise of {sd:g} HU"] = lambda ct, point, rng, sd=sd: (with_noise(ct, sd, rng), point)
    for shift in HU_SHIFTS:
        made[f"HU shifted by {shift:+g}"] = lambda ct, point, _rng, hu=shift: (with_hu_shift(ct, hu), point)
    made["slices in reverse order"] = lambda ct, point, _rng: (flipped(ct, [2]), point)
    made["rows and columns reversed"] = lambda ct, point, _rng: (flipped(ct, [0, 1]), point)
    return made


@dataclass(frozen=True, eq=False)
class Pairs:
    """Answers for the same nodules twice.

    Attributes:
        reference, condition: (N,) probability without and with the change.
        rating: (N,) mean malignancy rating.
        patient: (N,) str.
        click_mm: (N,) how far the click moved.
        refused: clicks that were refused under the condition, and so have no answer.
    """

    reference: np.ndarray
    condition: np.ndarray
    rating: np.ndarray
    patient: np.ndarray
    click_mm: np.ndarray
    refused: int = 0


def join_pairs(parts: Sequence[Pairs]) -> Pairs:
    """Those of several folds, each answered by the model that had not seen it."""
    arrays = ("reference", "condition", "rating", "patient", "click_mm")
    return Pairs(*(np.concatenate([getattr(p, name) for p in parts]) for name in arrays), sum(p.refused for p in parts))


def changed_scans(
    folder: Path, nodules: Sequence[LidcNodule], answer: Answer, spec: PatchSpec, kind: str = "volume", seed: int = 0
) -> dict[str, Pairs]:
    """Answers for every condition on the images of one kind, against the same image unchanged.

    Nodules that a condition leaves as they are (slices as thick already) do not count for it. One nodule is in memory at a time.

    Args:
        folder: of the LIDC nodules.
        nodules: those to ask for; ones without such an image are passed over.
        answer: probability for patches.
        spec: what the network sees.
        kind: "volume" is only as long in z as its nodule: moved clicks then end at its first and last slice, and thick slices hold
            no lung from beyond. "cube" and "crop" have true context.
        seed: of clicks and noise.
    """
    rows: dict[str, list[tuple]] = {name: [] for name in conditions()}
    refused = dict.fromkeys(rows, 0)
    for nodule in nodules:
        if kind not in nodule.images or (kind == "volume" and nodule.point_ras is None):
            continue
        ct, point = image_and_click(folder, nodule, kind)
        # The nodule's own generator: its clicks do not depend on which other nodules are asked for before it.
        rng = np.random.default_rng([seed, *nodule.nodule_id.encode()])
        names, patches, volumes, distances = [], [extract_patch(ct, point, spec)], [ct], []
        for name, changed, click in _changes(ct, point, rng):
            try:
                patches.append(extract_patch(changed, click, spec))
            except InputError:
                refused[name] += 1
                continue
            volumes.append(changed)
            names.append(name)
            distances.append(float(np.linalg.norm(click - point)))
        answers = np.asarray(answer(patches, volumes), dtype=np.float64)
        for name, probability, distance in zip(names, answers[1:], distances, strict=True):
            rows[name].append((answers[0], probability, nodule.malignancy, nodule.patient_id, distance))
    return {name: _pairs(found, refused[name]) for name, found in rows.items() if found}


def other_images(
    folder: Path, nodules: Sequence[LidcNodule], answer: Answer, spec: PatchSpec, kind: str, reference: str = "volume"
) -> Pairs:
    """Answers for images of one kind against those of another, for the nodules that have both."""
    rows = []
    for nodule in nodules:
        if kind in nodule.images and reference in nodule.images and nodule.point_ras is not None:
            images = [image_and_click(folder, nodule, name) for name in (reference, kind)]
            patches = [extract_patch(ct, click, spec) for ct, click in images]
            first, second = answer(patches, [ct for ct, _ in images])
            rows.append((first, second, nodule.malignancy, nodule.patient_id, 0.0))
    return _pairs(rows, 0)


def image_and_click(folder: Path, nodule: LidcNodule, kind: str) -> tuple[CTVolume, np.ndarray]:
    """An image of a nodule and the click on it, (3,) in RAS mm of that image's own frame."""
    # Cubes and crops have the click as the origin of their own frame.
    click_ras = np.asarray(nodule.point_ras) if kind == "volume" else np.zeros(3)
    return read_ct(Path(folder) / nodule.images[kind]), click_ras


def compare(
    reference: np.ndarray,
    condition: np.ndarray,
    ratings: np.ndarray,
    patients: np.ndarray,
    class_cuts: Sequence[float] = (0.5,),
) -> dict[str, Any]:
    """How a condition changes the answers for the same nodules.

    Args:
        reference, condition: (N,) probabilities.
        ratings: (N,) mean malignancy rating; those of exactly 3 have no part in the AUC.
        patients: (N,) whom the nodules belong to; drawn together in the bootstrap.
        class_cuts: rising probabilities between the classes.

    Returns:
        n, n_auc, auc_reference, auc_condition, auc_difference (condition less reference) and its 95 % interval, mean and 95th
        percentile of |change of probability|, and the share of nodules whose class changed. AUC figures are None where one side
        of the rating is missing.
    """
    reference, condition, ratings, patients = map(np.asarray, (reference, condition, ratings, patients))
    if not len(reference) == len(condition) == len(ratings) == len(patients) or len(reference) == 0:
        raise InputError(
            f"Comparing needs as many answers as nodules, and one at least; got {len(reference)} and {len(condition)} answers "
            f"for {len(ratings)} ratings and {len(patients)} patients. Give both answers for the same nodules."
        )
    change = np.abs(condition - reference)
    decided = np.flatnonzero(ratings != EVENT_ABOVE)
    positive = ratings > EVENT_ABOVE
    return {
        "n": len(reference),
        "patients": len(np.unique(patients)),
        "n_auc": len(decided),
        **_auc_figures(reference[decided], condition[decided], positive[decided], patients[decided]),
        "mean_change": float(change.mean()),
        "p95_change": float(np.percentile(change, 95)),
        "changed_class": float(np.mean(np.digitize(reference, class_cuts) != np.digitize(condition, class_cuts))),
    }


def compare_pairs(pairs: Pairs, class_cuts: Sequence[float] = (0.5,)) -> dict[str, Any]:
    """`compare`, with the mean distance the clicks moved and the number of clicks refused."""
    figures = compare(pairs.reference, pairs.condition, pairs.rating, pairs.patient, class_cuts)
    return figures | {"mean_click_mm": float(pairs.click_mm.mean()), "refused": pairs.refused}


def _auc_figures(
    reference: np.ndarray, condition: np.ndarray, positive: np.ndarray, patients: np.ndarray
) -> dict[str, Any]:
    names = ("auc_reference", "auc_condition", "auc_difference", "auc_difference_interval")
    if not 0 < np.count_nonzero(positive) < len(positive):
        return dict.fromkeys(names)
    before, after = auc(positive, reference), auc(positive, condition)
    interval = patient_bootstrap(
        patients, lambda drawn: auc(positive[drawn], condition[drawn]) - auc(positive[drawn], reference[drawn])
    )
    return dict(zip(names, (before, after, after - before, list(interval)), strict=True))


def _changes(ct: CTVolume, point: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, CTVolume, np.ndarray]]:
    """Name, scan and click of every change that does change something."""
    for name, change in conditions().items():
        changed, click = change(ct, point, rng)
        if changed is not ct or click is not point:
            yield name, changed, click


def _pairs(rows: Sequence[tuple], refused: int) -> Pairs:
    columns = [np.array(column) for column in zip(*rows, strict=True)] or [np.empty(0)] * 5
    return Pairs(*columns, refused=refused)
