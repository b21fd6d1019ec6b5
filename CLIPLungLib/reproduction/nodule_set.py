"""The nodules of a reproduction: crops, ratings, and both splits."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.dataset.nodule_table import Nodule, read_nodules
from CLIPLungLib.errors import InputError
from CLIPLungLib.reproduction.crops import Crops, cut_crops
from CLIPLungLib.reproduction.protocol import BY_NODULE, SPLITS, Task
from CLIPLungLib.reproduction.settings import PublishedSettings
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, CLASSES


@dataclass(frozen=True, eq=False)
class NoduleSet:
    """N nodules.

    Attributes:
        crops: of each.
        patient: (N,) names.
        label: (N,) index into vocabulary.CLASSES.
        attribute_weight: (N, 8) softmax of the mean ratings, in the order of vocabulary.ATTRIBUTES.
        log_diameter: (N,) natural logarithm of mm.
        folds: the folds' numbers.
        fold: split of SPLITS -> (N,) fold of each nodule.
    """

    crops: Crops
    patient: np.ndarray
    label: np.ndarray
    attribute_weight: np.ndarray
    log_diameter: np.ndarray
    folds: tuple[int, ...]
    fold: dict[str, np.ndarray]

    def learned(self, task: Task, split: str, fold: int) -> np.ndarray:
        """Indices of the nodules to learn from when a fold is left out."""
        return np.flatnonzero(task.holds(self.label) & (self.fold[split] != fold))

    def tested(self, task: Task, split: str, fold: int) -> np.ndarray:
        """Indices of the nodules of a fold."""
        return np.flatnonzero(task.holds(self.label) & (self.fold[split] == fold))

    def require_classes(self, task: Task) -> None:
        """Refuse data in which a class is missing from what a fold would learn.

        Raises:
            InputError: naming split, fold and class.
        """
        for split in SPLITS:
            for fold in self.folds:
                there = self.label[self.learned(task, split, fold)]
                missing = [CLASSES[index] for index in task.classes if index not in there]
                if missing:
                    raise InputError(
                        f"Split by {split}: without fold {fold} no {missing[0]} nodule is left to learn from. Give more nodules."
                    )

    def fingerprint(self, settings: PublishedSettings) -> bytes:
        """32 bytes that change with the settings, a voxel, a rating, a patient or a fold."""
        digest = hashlib.sha256(json.dumps(settings.to_dict(), sort_keys=True).encode())
        digest.update("\0".join(map(str, self.patient)).encode("utf-8", "surrogateescape"))
        arrays = (self.crops.hu, self.label, self.attribute_weight, self.log_diameter)
        for array in (*arrays, *(self.fold[split] for split in SPLITS)):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.digest()

    def facts(self) -> dict[str, Any]:
        """Facts on the data for the table of results."""
        return {
            "nodules": len(self.label),
            "patients": len(np.unique(self.patient)),
            "classes": {name: int((self.label == index).sum()) for index, name in enumerate(CLASSES)},
            "seen_in": dict(sorted(Counter(self.crops.kind).items())),
            "left_out": dict(sorted(self.crops.left_out.items())),
            "repeated_planes": float(self.crops.repeated_planes.mean()),
            "repeated_voxels": float(self.crops.repeated_voxels.mean()),
            "shared_patients": {split: self._shared_patients(split) for split in SPLITS},
        }

    def _shared_patients(self, split: str) -> float:
        """Share of the nodules whose patient has another nodule in another fold: seen in training when they are tested."""
        _, patient = np.unique(self.patient, return_inverse=True)
        folds_of_patient = Counter(pair[0] for pair in set(zip(patient, self.fold[split], strict=True)))
        return float(np.mean([folds_of_patient[one] > 1 for one in patient]))


def read_nodule_set(folder: Path, settings: PublishedSettings) -> NoduleSet:
    """Everything of a data folder, in memory (64 KB a nodule).

    Raises:
        InputError: the table or an image cannot be read, no nodule is left, or all are in one fold.
    """
    nodules = read_nodules(folder)
    return as_nodule_set(nodules, cut_crops(folder, nodules, settings), settings.seed)


def as_nodule_set(nodules: Sequence[Nodule], crops: Crops, seed: int) -> NoduleSet:
    """The crops with the ratings of their nodules.

    Args:
        nodules: all rows of the table.
        crops: cut from some of them.
        seed: of the split by nodule.

    Raises:
        InputError: all nodules are in one fold.
    """
    own = [nodules[index] for index in crops.nodule]
    by_patient = np.array([nodule.fold for nodule in own])
    folds = tuple(int(fold) for fold in np.unique(by_patient))
    if len(folds) < 2:
        raise InputError("All nodules are in one fold. Give two patient folds at least in the column 'fold'.")
    return NoduleSet(
        crops,
        np.array([nodule.patient_id for nodule in own]),
        np.array([nodule.label for nodule in own]),
        attribute_weights(np.array([[nodule.mean_rating(name) for name in ATTRIBUTE_NAMES] for nodule in own])),
        np.log([nodule.diameter_mm for nodule in own]),
        folds,
        dict(zip(SPLITS, (folds_by_nodule(len(own), folds, seed), by_patient), strict=True)),
    )


def attribute_weights(mean_ratings: np.ndarray) -> np.ndarray:
    """(N, 8) mean ratings -> (N, 8) float32 softmax: the paper's weights, which are of the codes without scaling."""
    exponentials = np.exp(mean_ratings - mean_ratings.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)


def folds_by_nodule(count: int, folds: Sequence[int], seed: int) -> np.ndarray:
    """(count,) folds drawn for each nodule whatever its patient: the split of the paper."""
    places = np.random.default_rng([seed, SPLITS.index(BY_NODULE)]).permutation(count)
    return np.asarray(folds)[places % len(folds)]
