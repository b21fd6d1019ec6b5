"""An index of similar cases nobody measured: nodules along a line from small and harmless to large and suspicious."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.similar.features import FEATURE_COUNT, features_of_result
from CLIPLungLib.similar.figures import COMPARED, RATED, Agreement, Figure
from CLIPLungLib.similar.index import SimilarIndex
from helpers import slicer_scene

WEIGHTS = "ab" * 32
COUNT = 30


def answer(probability: float = 0.82, sha256: str = WEIGHTS) -> NoduleResult:
    """A result of the weights that the index is of."""
    result = slicer_scene.fake_result(probability=probability)
    return replace(result, model={**result.model, "sha256": sha256})


def made_up_index(weights_sha256: str = WEIGHTS, usual_distance: float = 100.0) -> SimilarIndex:
    """Nodule k lies k steps from `answer()` along the suspicion, and has a malignancy that falls with k."""
    center = features_of_result(answer())
    transform = np.eye(FEATURE_COUNT)[:, -2:]
    steps = np.arange(COUNT, dtype=np.float64)
    ratings = np.tile(np.linspace(5, 1, COUNT)[:, None], (1, len(RATED)))
    ratings[2, :] = np.nan
    diameter_mm = 5.0 + steps
    diameter_mm[3] = np.nan
    return SimilarIndex(
        weights_sha256=weights_sha256,
        center=center.astype(np.float32),
        transform=transform.astype(np.float32),
        places=np.column_stack([steps, np.zeros(COUNT)]).astype(np.float16),
        nodule_ids=tuple(f"LIDC-IDRI-{k:04d}_1_0" for k in range(COUNT)),
        patient_ids=tuple(f"LIDC-IDRI-{k:04d}" for k in range(COUNT)),
        readers=np.full(COUNT, 4, np.uint8),
        ratings=ratings.astype(np.float32),
        diameter_mm=diameter_mm.astype(np.float32),
        usual_distance=usual_distance,
        metric="the suspicion",
        source="made up",
        figures={name: Agreement(Figure(0.5, (0.25, 0.75), 30), Figure(None, None, 30)) for name in COMPARED},
        choices={"the suspicion": 0.5, "nothing": 0.0},
    )
