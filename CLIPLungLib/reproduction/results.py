"""The figures of a reproduction: accuracy and AUC by both splits, the size-only baseline, and paired differences.

Every figure is over all folds at once, with a patient bootstrap. While parts are missing, a split is evaluated on the folds that
all rows have finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from CLIPLungLib.errors import MissingPackageError
from CLIPLungLib.evaluation.bootstrap import BOOTSTRAPS, estimate, patient_weights
from CLIPLungLib.evaluation.cross_fitting import cross_fitted
from CLIPLungLib.evaluation.metrics import auc, mean
from CLIPLungLib.reproduction.nodule_set import NoduleSet
from CLIPLungLib.reproduction.parts import Part, PartAnswers
from CLIPLungLib.reproduction.protocol import (
    BENIGN,
    BY_NODULE,
    BY_PATIENT,
    CLIP_LUNG,
    CROSS_ENTROPY,
    MALIGNANT,
    ROWS,
    SETTINGS,
    SPLITS,
    Row,
    Setting,
    Task,
)
from CLIPLungLib.reproduction.settings import PublishedSettings

SIZE = "size"
# What a logarithm of a probability of 0 becomes.
LOWEST_LOG = -50.0


@dataclass(frozen=True, eq=False)
class Answers:
    """The nodules of a run and the parts that are there."""

    nodules: NoduleSet
    parts: Mapping[Part, PartAnswers]

    def rows(self, task: Task, split: str) -> list[Row]:
        """Rows of which at least one fold is there."""
        begun = {part.row for part in self.parts if (part.task, part.split) == (task, split)}
        return [row for row in ROWS.values() if row in begun]

    def judged_folds(self, task: Task, split: str) -> list[int]:
        """Folds that all rows have finished; all folds where there is no row."""
        rows = self.rows(task, split)
        return [fold for fold in self.nodules.folds if all(Part(task, split, row, fold) in self.parts for row in rows)]

    def logits(self, task: Task, split: str, row: Row) -> np.ndarray:
        """(N, K) out-of-fold logits; NaN for nodules of unfinished folds and of other classes."""
        found = np.full((len(self.nodules.label), len(task.classes)), np.nan)
        for fold in self.judged_folds(task, split):
            answers = self.parts[Part(task, split, row, fold)]
            found[answers.nodule] = answers.logits
        return found

    def text_encoder(self, row: Row) -> str:
        """The one a row was trained with; empty without texts or parts."""
        return next((found.text_encoder for part, found in self.parts.items() if part.row == row), "")


def results_of(settings: PublishedSettings, answers: Answers, planned: Sequence[str]) -> dict[str, Any]:
    """All figures, for JSON.

    Args:
        planned: names of the parts that were asked for or are needed; those that are not there are named.
    """
    started = {part.task for part in answers.parts}
    judged = {name: _judge_setting(answers, setting) for name, setting in SETTINGS.items() if setting.task in started}
    return {
        "settings": settings.to_dict(),
        "data": answers.nodules.facts(),
        "folds": list(answers.nodules.folds),
        "bootstraps": BOOTSTRAPS,
        "text_encoder": {name: answers.text_encoder(row) for name, row in ROWS.items() if answers.text_encoder(row)},
        "judged": judged,
        "missing": _missing(answers, planned),
    }


def _missing(answers: Answers, planned: Sequence[str]) -> list[str]:
    """Names of missing parts of the rows that were begun or asked for."""
    there = {part.name for part in answers.parts}
    begun = {(part.task, part.row) for part in answers.parts}
    needed = [
        Part(task, split, row, fold).name for task, row in begun for split in SPLITS for fold in answers.nodules.folds
    ]
    return sorted({*needed, *planned} - there)


def _judge_setting(answers: Answers, setting: Setting) -> dict[str, Any]:
    nodules = answers.nodules
    judged = np.flatnonzero(np.isin(nodules.label, setting.judged))
    judge = _Judge(setting, nodules.label[judged], patient_weights(nodules.patient[judged]))
    logits = _logits_of_setting(answers, setting, judged)
    return {
        "words": setting.words,
        "folds": {split: answers.judged_folds(setting.task, split) for split in SPLITS},
        "nodules": len(judged),
        "patients": len(np.unique(nodules.patient[judged])),
        "figures": {
            name: {split: judge.figures(values) for split, values in by_split.items()}
            for name, by_split in logits.items()
        },
        "nodule_less_patient_split": {
            name: judge.difference(by_split[BY_NODULE], by_split[BY_PATIENT])
            for name, by_split in logits.items()
            if len(by_split) == len(SPLITS)
        },
        "gain": _gains(judge, logits),
    }


def _logits_of_setting(answers: Answers, setting: Setting, judged: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Row of the table (the size-only baseline first) -> split -> (n, K) logits of the judged nodules; NaN for folds not judged."""
    nodules, found = answers.nodules, dict[str, dict[str, np.ndarray]]()
    for split in SPLITS:
        folds = answers.judged_folds(setting.task, split)
        if not folds:
            continue
        is_judged = np.isin(nodules.fold[split], folds)[:, None]
        size = np.where(is_judged, _size_logits(nodules, setting.task, split), np.nan)
        found.setdefault(SIZE, {})[split] = size[judged]
        for row in answers.rows(setting.task, split):
            found.setdefault(row.name, {})[split] = answers.logits(setting.task, split, row)[judged]
    return {name: found[name] for name in (SIZE, *ROWS) if name in found}


def _gains(judge: _Judge, logits: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, Any]]:
    """Differences of every row to the size-only baseline, and of every row with texts to cross entropy; CLIP-Lung last."""
    with_texts = [name for name in ROWS if name not in (CROSS_ENTROPY, CLIP_LUNG)] + [CLIP_LUNG]
    pairs = [(name, SIZE) for name in logits if name != SIZE] + [(name, CROSS_ENTROPY) for name in with_texts]
    gains: dict[str, dict[str, Any]] = {}
    for name, other in pairs:
        for split in SPLITS:
            if split in logits.get(name, {}) and split in logits.get(other, {}):
                difference = judge.difference(logits[name][split], logits[other][split])
                gains.setdefault(f"{name} over {other}", {})[split] = difference
    return gains


class _Judge:
    """Figures over the test nodules of a setting, all over the same draws of patients. Logits of NaN are left out.

    Args:
        label: (n,) indices into vocabulary.CLASSES.
        weights: (R, n) of the bootstrap.
    """

    def __init__(self, setting: Setting, label: np.ndarray, weights: np.ndarray) -> None:
        self.label, self.weights = label, weights
        classes = np.array(setting.task.classes)
        # The decision falls among the classes that are judged.
        self.columns = np.flatnonzero(np.isin(classes, setting.judged))
        self.decided = classes[self.columns]
        self.benign, self.malignant = (int(np.searchsorted(classes, one)) for one in (BENIGN, MALIGNANT))
        self.is_extreme = np.isin(label, (BENIGN, MALIGNANT))

    def figures(self, logits: np.ndarray) -> dict[str, Any]:
        """Accuracy, and AUC of malignant against benign, each with its interval."""
        right, known = self._is_right(logits), np.isfinite(logits).all(axis=1)
        return {
            "accuracy": estimate(lambda drawn: _known_mean(right, drawn), self.weights, int(known.sum())).to_dict(),
            "auc": estimate(
                lambda drawn: self._auc(logits, drawn), self.weights, int((known & self.is_extreme).sum())
            ).to_dict(),
        }

    def difference(self, logits: np.ndarray, others: np.ndarray) -> dict[str, Any]:
        """Accuracy and AUC less those of other logits; paired where both cover the same nodules."""
        right, theirs = self._is_right(logits), self._is_right(others)
        known = np.isfinite(logits).all(axis=1) | np.isfinite(others).all(axis=1)
        return {
            "accuracy": estimate(
                lambda drawn: _known_mean(right, drawn) - _known_mean(theirs, drawn), self.weights, int(known.sum())
            ).to_dict(),
            "auc": estimate(
                lambda drawn: self._auc(logits, drawn) - self._auc(others, drawn),
                self.weights,
                int((known & self.is_extreme).sum()),
            ).to_dict(),
        }

    def _is_right(self, logits: np.ndarray) -> np.ndarray:
        is_right = self.decided[logits[:, self.columns].argmax(axis=1)] == self.label
        return np.where(np.isfinite(logits).all(axis=1), is_right, np.nan)

    def _auc(self, logits: np.ndarray, weights: np.ndarray) -> np.ndarray:
        score = logits[:, self.malignant] - logits[:, self.benign]
        extreme = self.is_extreme & np.isfinite(score)
        return auc(self.label[extreme] == MALIGNANT, score[extreme], weights[:, extreme])


def _known_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) mean of the values that are numbers."""
    known = np.isfinite(values)
    return mean(values[known], weights[:, known])


def _size_logits(nodules: NoduleSet, task: Task, split: str) -> np.ndarray:
    """(N, K) logarithms of probabilities from the readers' diameter alone: logistic regression on its logarithm, out of fold."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingPackageError(
            "The size-only baseline needs the package 'scikit-learn': pip install scikit-learn"
        ) from error
    feature = nodules.log_diameter[:, None]

    def predict(learn: np.ndarray, own: np.ndarray) -> np.ndarray:
        fitted = LogisticRegression(C=1e6, max_iter=1000).fit(feature[learn], nodules.label[learn])
        return np.asarray(fitted.predict_log_proba(feature[own])).clip(min=LOWEST_LOG)

    return cross_fitted(nodules.fold[split], task.holds(nodules.label), predict, len(task.classes))
