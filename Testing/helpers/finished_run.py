"""A finished cross-validation without training: made-up nodules, answers that follow their ratings, calibrations fitted on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from CLIPLungLib.calibration.calibrations import Calibrations, OutlineCalibrations
from CLIPLungLib.calibration.double_reading import no_second_readings
from CLIPLungLib.calibration.measurement import MeasurementCalibration
from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.out_of_distribution import OutOfDistributionLimits
from CLIPLungLib.calibration.sphericity import SphericityCalibration
from CLIPLungLib.dataset.nodule_images import PATCH_KINDS
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.evaluation.fold_models import FinishedRun
from CLIPLungLib.training.fold_answers import FoldAnswers
from CLIPLungLib.vocabulary import ATTRIBUTES, LEVEL_COUNT

OUTLINE = OutlineCalibrations(
    diameter=MeasurementCalibration(1.0, 1.0, 0.2),
    volume=MeasurementCalibration(1.0, 1.0, 0.5),
    sphericity=SphericityCalibration(1.0, 0.2, 1.5, 0.5),
    limits=OutOfDistributionLimits(largest_distance=2.5, least_presence=0.1),
)


def rated_nodule(index: int, rng: np.random.Generator) -> Nodule:
    """Two nodules a patient, five folds, three or four readers who differ by a point at most."""
    truth = rng.uniform(1, 5)
    codes = np.clip(np.rint(truth + rng.uniform(-1, 1, 3 + index % 2)), 1, 5).astype(int)
    diameter_mm = 3 + 4 * truth + rng.uniform(0, 2)
    return Nodule(
        nodule_id=f"n{index}",
        patient_id=f"p{index // 2}",
        fold=index // 2 % 5,
        n_readers=len(codes),
        diameter_mm=diameter_mm,
        volume_mm3=np.pi / 6 * diameter_mm**3,
        malignancy=float(codes.mean()),
        ratings={a.name: tuple(rng.integers(1, len(a.levels) + 1, len(codes)).tolist()) for a in ATTRIBUTES},
        point_ras=(0.0, 0.0, 0.0),
        images={},
        slice_index=None,
        slice_pixel_mm=np.nan,
        malignancy_ratings=tuple(codes.tolist()),
    )


NODULES = [rated_nodule(index, np.random.default_rng([7, index])) for index in range(80)]


def made_up_run(
    nodules: Sequence[Nodule], kinds: Sequence[str] = ("volume", "cube", "crop", "background")
) -> FinishedRun:
    """Answers for every nodule and kind, some refused; of each fold with calibrations of its own."""
    rng, count = np.random.default_rng(11), len(nodules) * len(kinds)
    nodule = np.repeat(np.arange(len(nodules)), len(kinds))
    rating = np.array([3.0 if np.isnan(own.malignancy) else own.malignancy for own in nodules])[nodule]
    refused = rng.random(count) < 0.04
    levels = rng.dirichlet(np.ones(LEVEL_COUNT), count)
    numbers = {
        "malignancy_score": rating - 3 + rng.normal(0, 0.7, count),
        "estimated_diameter_mm": rng.uniform(4, 20, count),
        "diameter_mm": np.where(rng.random(count) < 0.1, np.nan, 3 + 4 * rating + rng.normal(0, 1, count)),
        "short_diameter_mm": rng.uniform(3, 10, count),
        "volume_mm3": rng.uniform(50, 2000, count),
        "presence": rng.uniform(0, 1, count),
        "distance": rng.uniform(0, 3, count),
    }
    answers = FoldAnswers(
        nodule=nodule,
        kind=np.tile([PATCH_KINDS.index(kind) for kind in kinds], len(nodules)),
        fold=np.array([own.fold for own in nodules])[nodule],
        refused=refused,
        level_probabilities=np.where(refused[:, None], np.nan, levels),
        **{name: np.where(refused, np.nan, values) for name, values in numbers.items()},
        second=no_second_readings(count),
    )
    folds = sorted({own.fold for own in nodules})
    calibrations = {
        fold: Calibrations(Calibration(2.0 + fold / 10, (-1.0, 0.0, 1.0)), 0.7, replace(OUTLINE)) for fold in folds
    }
    return FinishedRun("shipped", Path("shipped"), folds, answers, calibrations, 24)
