"""The checkpoints of a finished cross-validation: for every fold the model that was not trained on its patients."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from CLIPLungLib.calibration.calibrations import Calibrations
from CLIPLungLib.dataset.nodule_table import Nodule, fewest_readers, is_trusted
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.calibrated_result import require_calibrations
from CLIPLungLib.inference.checkpoint import Checkpoint, load_checkpoint
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.training.cross_validation import CHECKPOINT_NAME, fold_folder, read_answers
from CLIPLungLib.training.fold_answers import FoldAnswers


@dataclass(frozen=True, eq=False)
class FoldModel:
    """One fold.

    Attributes:
        fold: its number.
        classifier: with the network that was not trained on it, and calibrations fitted on the other folds.
        nodules: of the fold, with enough readers or a known outcome.
    """

    fold: int
    classifier: NoduleClassifier
    nodules: list[Nodule]


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished cross-validation, read from files.

    Attributes:
        name: of the run.
        source: its folder, or the file that its answers are kept in.
        folds: in ascending order.
        answers: of all folds.
        calibrations: fold -> those of its checkpoint.
        epochs: that each network was trained for.
        missing: number of nodules that were answered for and are not in the table.
    """

    name: str
    source: Path
    folds: list[int]
    answers: FoldAnswers
    calibrations: dict[int, Calibrations]
    epochs: int
    missing: int = 0

    @classmethod
    def read(cls, folder: Path) -> FinishedRun:
        """Read the folder of `cliplung crossvalidate` or `cliplung train`.

        Raises:
            InputError: the cross-validation is not finished.
            CheckpointError: a checkpoint is damaged.
        """
        folds = folds_of_run(folder)
        checkpoints = {fold: _checkpoint(folder, fold) for fold in folds}
        return cls(
            name=folder.resolve().name,
            source=folder,
            folds=folds,
            answers=read_answers(folder, folds),
            calibrations={fold: require_calibrations(checkpoint) for fold, checkpoint in checkpoints.items()},
            epochs=int(checkpoints[folds[0]].provenance.get("epochs", 0)),
        )


def folds_of_run(folder: Path) -> list[int]:
    """The folds of a cross-validation, in ascending order.

    Raises:
        InputError: there are none.
    """
    found = [re.fullmatch(r"fold(\d+)", path.name) for path in folder.iterdir()] if folder.is_dir() else []
    folds = sorted(int(match[1]) for match in found if match)
    if not folds:
        inner = sorted(path.name for path in folder.iterdir() if any(path.glob("fold*"))) if folder.is_dir() else []
        remedy = f"Give one of its runs: {', '.join(inner)[:200]}." if inner else "Run 'cliplung crossvalidate' first."
        raise InputError(f"{folder} holds no cross-validation (folders fold0, fold1 ...). {remedy}")
    return folds


def fold_models(folder: Path, nodules: Sequence[Nodule], device: str = "auto") -> Iterator[FoldModel]:
    """The model of each fold; one network is in memory at a time.

    Args:
        folder: of a finished run.
        nodules: all rows of the table.
        device: where to compute.
    """
    readers = fewest_readers(nodules)
    for fold in folds_of_run(folder):
        classifier = NoduleClassifier(_checkpoint(folder, fold), device)
        of_fold = [nodule for nodule in nodules if nodule.fold == fold and is_trusted(nodule, readers)]
        yield FoldModel(fold, classifier, of_fold)


def _checkpoint(folder: Path, fold: int) -> Checkpoint:
    return load_checkpoint(fold_folder(folder, fold) / CHECKPOINT_NAME)
