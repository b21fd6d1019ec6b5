"""Evaluation of heat maps, out of fold: localisation, deletion and insertion, sensitivity to the weights.

Every map explains the predicted side: suspicion where the nodule is called malignant, harmlessness where it is called benign. Every
click is moved off the nodule's centre, since a blob at a centred click would localise as well as a heat map without using the image.
Each map is compared with such a blob and with noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.dataset.nodule_images import TRUE_CONTEXT
from CLIPLungLib.dataset.nodule_table import IMAGE_KINDS, MASK_KINDS, Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.fold_models import FoldModel, fold_models, folds_of_run
from CLIPLungLib.inference.checkpoint import Checkpoint
from CLIPLungLib.saliency.case_scores import CLICK_MM, CaseScores, score_case
from CLIPLungLib.saliency.map_input import Method
from CLIPLungLib.saliency.summary import summarise

# A nodule and the kind of its image.
Case = tuple[Nodule, str]


def measure_saliency(
    run: Path,
    data_folder: Path,
    nodules: Sequence[Nodule],
    methods: Mapping[str, Method],
    other_run: Path | None = None,
    sample: int | None = None,
    device: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Figures of `summary.summarise` over all images with an outline, each by the network that was not trained on its patient.

    Args:
        run: folder of a finished cross-validation.
        data_folder: of the table and its images.
        nodules: all rows of the table.
        methods: name -> method.
        other_run: the same recipe with another seed, to compare the maps with.
        sample: at most so many images, drawn at random, half of them in true context where there are enough; all unless given.
        device: where to compute.
        progress: called after each image.

    Raises:
        InputError: a run is not finished, the other run lacks a fold or sees other patches, or no image has an outline.
    """
    folds = folds_of_run(run)
    cases = sampled([case for case in outlined_cases(nodules) if case[0].fold in folds], sample)
    if not cases:
        raise InputError(f"No nodule of {run}'s folds has an image with an outline. Give the data folder of that run.")
    scored: list[CaseScores] = []
    done = 0
    for model, other in _models(run, other_run, nodules, device):
        for nodule, kind in (case for case in cases if case[0].fold == model.fold):
            found = score_case(data_folder, nodule, kind, model.classifier, methods, other)
            scored += [] if found is None else [found]
            done += 1
            if progress:
                progress(done, len(cases), f"fold {model.fold}")
    if not scored:
        raise InputError(f"All {done} clicks on nodules of {data_folder} were refused. Check its images and points.")
    facts = {"run": run.resolve().name, "other_run": other_run.resolve().name if other_run else None}
    return facts | {"click_mm": CLICK_MM, "images": len(scored), "refused": done - len(scored)} | summarise(scored)


def outlined_cases(nodules: Sequence[Nodule]) -> list[Case]:
    """Every image with a readers' outline: volumes with their own, cubes and crops with their own or that of the volume."""
    return [
        (nodule, kind)
        for nodule in nodules
        for kind in IMAGE_KINDS
        if kind in nodule.images and _outlined(nodule, kind)
    ]


def _outlined(nodule: Nodule, kind: str) -> bool:
    of_volume, of_crop = (name in nodule.images for name in MASK_KINDS)
    placed = of_volume and nodule.point_ras is not None
    return placed or (of_crop and kind in TRUE_CONTEXT)


def sampled(cases: Sequence[Case], count: int | None, seed: int = 0) -> list[Case]:
    """At most `count` cases in their order, half of them in true context where there are enough."""
    if count is None or count >= len(cases):
        return list(cases)
    shuffled = np.random.default_rng(seed).permutation(len(cases))
    in_context = [index for index in shuffled if cases[index][1] in TRUE_CONTEXT]
    others = [index for index in shuffled if cases[index][1] not in TRUE_CONTEXT]
    taken = in_context[: max(count // 2, count - len(others))]
    return [cases[index] for index in sorted([*taken, *others[: count - len(taken)]])]


def _models(
    run: Path, other_run: Path | None, nodules: Sequence[Nodule], device: str
) -> Iterator[tuple[FoldModel, Checkpoint | None]]:
    """Fold after fold, with the checkpoint of the other run for the same fold."""
    if other_run is None:
        yield from ((model, None) for model in fold_models(run, nodules, device))
        return
    if folds_of_run(other_run) != folds_of_run(run):
        raise InputError(f"{other_run} and {run} have not the same folds. Compare runs of the same cross-validation.")
    for model, other in zip(fold_models(run, nodules, device), fold_models(other_run, nodules, device), strict=True):
        if other.classifier.checkpoint.patch != model.classifier.checkpoint.patch:
            raise InputError(f"{other_run} sees other patches than {run}. Compare runs of the same recipe.")
        yield model, other.classifier.checkpoint
