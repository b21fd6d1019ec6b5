"""The programs of the shipped cross-validation: for every fold the one that has not seen its patients, as a user would have it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CLIPLungLib.evaluation.comparison import SHIPPED
from CLIPLungLib.evaluation.cross_fitting import FEWEST_READERS
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.lidc.nodule_table import LidcNodule
from CLIPLungLib.lidc.training_patches import TrainingPatches
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.cross_validation import finished_answers
from CLIPLungLib.training.final_model import as_checkpoint, fit_statements
from CLIPLungLib.training.trainer import CONFIG_NAME, Trainer


@dataclass(frozen=True, eq=False)
class LeftOut:
    """One fold.

    Attributes:
        fold: its number.
        trainer: the finished training that left it out.
        classifier: the program with that network, and the calibrations of all out-of-fold answers.
        nodules: of the fold, with three readers or more.
    """

    fold: int
    trainer: Trainer
    classifier: NoduleClassifier
    nodules: list[LidcNodule]


def folds_of(nodules: Sequence[LidcNodule]) -> list[int]:
    """All folds, rising."""
    return sorted({nodule.fold for nodule in nodules})


def shipped_statements(runs: Path, views: TrainingPatches, nodules: Sequence[LidcNodule]) -> dict[str, Any]:
    """`fit_statements` for the finished cross-validation "shipped" in the folder `runs`."""
    return fit_statements(finished_answers(runs / SHIPPED, folds_of(nodules)), views, nodules)


def left_out_programs(
    runs: Path, views: TrainingPatches, nodules: Sequence[LidcNodule], statements: dict[str, Any], device: str = "auto"
) -> Iterator[LeftOut]:
    """Fold after fold; one network is in memory at a time."""
    for fold in folds_of(nodules):
        folder = runs / SHIPPED / f"fold{fold}"
        trainer = Trainer(TrainConfig.read(folder / CONFIG_NAME), views, nodules, folder, device)
        classifier = NoduleClassifier(as_checkpoint(trainer, statements, None, {}), device)
        own = [nodule for nodule in nodules if nodule.fold == fold and nodule.n_readers >= FEWEST_READERS]
        yield LeftOut(fold, trainer, classifier, own)
