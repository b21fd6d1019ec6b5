"""Gives weights that are trained already a second reader, without training the network anew.

The kept answers of the network's cross-validation are completed with what second readers say that have not seen the patients. The
patches are centred by the given network, as those of the cross-validation are not kept: it has seen these nodules, so its outlines,
which only move the patch, may lie a little better than for a new patient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from CLIPLungLib.calibration.double_reading import joint_estimate_mm, joint_score, no_second_readings
from CLIPLungLib.dataset.insertion import read_hosts
from CLIPLungLib.dataset.nodule_images import PATCH_KINDS, NoduleImage, nodule_images
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.patch import extract_patch
from CLIPLungLib.inference.checkpoint import Checkpoint
from CLIPLungLib.inference.classifier import PATCHES_PER_BATCH, NoduleClassifier
from CLIPLungLib.model.second_reader import SecondReader
from CLIPLungLib.training.fold_answers import FoldAnswers, batched

Progress = Callable[[int, int, str], None]
OTHER_IMAGES = "The answers are of other images than the data folder's. Give the data folder of that run."


def complete_answers(
    answers: FoldAnswers,
    checkpoint: Checkpoint,
    second_readers: dict[int, SecondReader],
    data_folder: Path,
    nodules: Sequence[Nodule],
    device: str = "auto",
    progress: Progress | None = None,
) -> FoldAnswers:
    """The answers with those of second readers, image by image.

    Args:
        answers: of the networks alone, of every fold.
        checkpoint: whose network centres the patches.
        second_readers: fold -> the one that has not learned from it.
        data_folder: of the table and its images.
        nodules: all rows of the table.
        device: where to compute.
        progress: called with what is done, how much there is, and what.

    Raises:
        InputError: the answers have second readings already, or are of other images than the folder's.
    """
    if np.isfinite(answers.second).any():
        raise InputError("These answers have second readings already. Give those of the networks alone.")
    second = no_second_readings(len(answers.nodule))
    done = 0
    for fold, reader in second_readers.items():
        waiting = _places(answers, fold)
        classifier = NoduleClassifier(replace(checkpoint, second_reader=reader), device)
        chosen = sorted({nodule for nodule, _ in waiting})
        for batch in batched(nodule_images(data_folder, nodules, chosen, read_hosts(data_folder)), PATCHES_PER_BATCH):
            own = np.array([_next_place(waiting, image) for image in batch])
            second[own] = _second_readings(classifier, batch, answers.refused[own])
            done += len(batch)
            if progress:
                progress(done, len(answers.nodule), f"fold {fold}")
        if any(waiting.values()):
            raise InputError(OTHER_IMAGES)
    return replace(
        answers,
        malignancy_score=joint_score(answers.malignancy_score, second),
        estimated_diameter_mm=joint_estimate_mm(answers.estimated_diameter_mm, second),
        second=second,
    )


def _second_readings(classifier: NoduleClassifier, images: Sequence[NoduleImage], refused: np.ndarray) -> np.ndarray:
    """(B, O) end to end; NaN for clicks that were refused."""
    found = no_second_readings(len(images))
    accepted = [image for image, no in zip(images, refused, strict=True) if not no]
    patches = [extract_patch(image.ct, image.point_ras, classifier.checkpoint.patch) for image in accepted]
    readings = classifier.read_patches(patches, [image.ct for image in accepted])
    if readings:
        found[~refused] = [reading.second for reading in readings]
    return found


def _places(answers: FoldAnswers, fold: int) -> dict[tuple[int, str], list[int]]:
    """(nodule, kind of image) -> the places of the answers for its images, in their order."""
    found: dict[tuple[int, str], list[int]] = {}
    for place in np.flatnonzero(answers.fold == fold).tolist():
        key = int(answers.nodule[place]), PATCH_KINDS[answers.kind[place]]
        found.setdefault(key, []).append(place)
    return found


def _next_place(waiting: dict[tuple[int, str], list[int]], image: NoduleImage) -> int:
    places = waiting.get((image.nodule, image.kind), [])
    if not places:
        raise InputError(OTHER_IMAGES)
    return places.pop(0)
