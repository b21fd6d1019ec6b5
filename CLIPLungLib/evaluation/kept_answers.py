"""The out-of-fold predictions of a finished run in one small file, from which all its figures can be computed without networks.

An .npz file of plain numbers. Per image: `nodule` (place among the ids), `kind`, `fold`, `refused`, `level_probabilities` in steps of
1/10000, and the rest as float32. `facts` holds the bytes of a JSON text: name and epochs of the run, the calibrations of every fold,
and the ids of the nodules. Figures are always computed from answers so rounded, so that a run and its kept answers have the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.atomic_write import remove_leftovers, writing
from CLIPLungLib.calibration.calibrations import Calibrations
from CLIPLungLib.dataset.array_file import read_arrays
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.fold_models import FinishedRun
from CLIPLungLib.training.fold_answers import FoldAnswers

FORMAT_VERSION = 2
FACTS = "facts"
LEVEL_STEPS, NO_LEVEL = 10_000, 65_535
INDICES, LEVELS = ("nodule", "kind", "fold"), "level_probabilities"
ARRAYS = tuple(part.name for part in fields(FoldAnswers))
NUMBERS = tuple(name for name in ARRAYS if name not in (*INDICES, "refused", LEVELS))


def rounded(run: FinishedRun) -> FinishedRun:
    """The run with its predictions rounded as in the file."""
    return replace(run, answers=_answers(_kept(run.answers)))


def keep_answers(file: Path, run: FinishedRun, nodules: Sequence[Nodule]) -> None:
    """Write the predictions of a run, atomically.

    Args:
        file: an .npz file.
        run: with the answers of all folds.
        nodules: all rows of the table that the run was made with.

    Raises:
        InputError: it cannot be written.
    """
    answered, place = np.unique(run.answers.nodule, return_inverse=True)
    facts = {
        "format": FORMAT_VERSION,
        "run": run.name,
        "epochs": run.epochs,
        "calibrations": {str(fold): fitted.to_dict() for fold, fitted in run.calibrations.items()},
        "nodule_ids": [nodules[index].nodule_id for index in answered],
    }
    arrays: dict[str, Any] = dict(_kept(replace(run.answers, nodule=place)))
    arrays[FACTS] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    remove_leftovers(file)
    with writing(file) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_kept_answers(file: Path, nodules: Sequence[Nodule]) -> FinishedRun:
    """Read the file of `keep_answers`. Predictions for nodules that are not in the table are left out and counted.

    The folds of the file are used, which name the network of each prediction; those of the table may differ.

    Args:
        file: the file.
        nodules: all rows of the table.

    Raises:
        InputError: missing, damaged, of another version, or of another table.
    """
    try:
        arrays = read_arrays(Path(file), (FACTS, *ARRAYS))
        facts = json.loads(arrays.pop(FACTS).astype(np.uint8).tobytes())
        if facts["format"] != FORMAT_VERSION:
            raise ValueError(f"it is of format {str(facts['format'])[:20]}")
        answers, ids = _answers(arrays), [str(one) for one in facts["nodule_ids"]]
        answers.require_consistent()
        calibrations = {int(fold): Calibrations.from_dict(own) for fold, own in facts["calibrations"].items()}
        if not (np.isin(answers.fold, list(calibrations)).all() and answers.nodule.max(initial=-1) < len(ids)):
            raise ValueError("its indices lead nowhere")
        name, epochs = str(facts["run"]), int(facts["epochs"])
    except (OSError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)[:120]
        raise InputError(
            f"{file} holds no answers that can be read ({reason}). Write it with 'cliplung evaluate --runs RUNS --keep-answers {file}'."
        ) from error
    rows = _rows(file, ids, nodules)
    row = rows[answers.nodule]
    known = replace(answers.of(row >= 0), nodule=row[row >= 0])
    return FinishedRun(name, Path(file), sorted(calibrations), known, calibrations, epochs, int((rows < 0).sum()))


def _kept(answers: FoldAnswers) -> dict[str, np.ndarray]:
    """Name -> array as it is stored."""
    arrays = {name: _smallest(getattr(answers, name)) for name in INDICES}
    steps = np.rint(answers.level_probabilities * LEVEL_STEPS)
    # Level by level, as neighbours are alike and pack well.
    levels = np.asfortranarray(np.where(np.isnan(steps), NO_LEVEL, steps).astype(np.uint16))
    arrays |= {"refused": answers.refused, LEVELS: levels}
    return arrays | {name: getattr(answers, name).astype(np.float32) for name in NUMBERS}


def _smallest(indices: np.ndarray) -> np.ndarray:
    return indices.astype(np.min_scalar_type(int(indices.max(initial=0))))


def _answers(arrays: Mapping[str, np.ndarray]) -> FoldAnswers:
    """The inverse of `_kept`, except for rounding."""
    values: dict[str, Any] = {name: arrays[name].astype(np.float64) for name in NUMBERS}
    levels = arrays[LEVELS].astype(np.float64)
    values[LEVELS] = np.where(levels == NO_LEVEL, np.nan, levels / LEVEL_STEPS)
    # Other numbers than indices stay what they are, and are found to be wrong.
    values |= {
        name: arrays[name].astype(np.int64) if arrays[name].dtype.kind == "u" else arrays[name] for name in INDICES
    }
    return FoldAnswers(refused=arrays["refused"], **values)


def _rows(file: Path, ids: Sequence[str], nodules: Sequence[Nodule]) -> np.ndarray:
    """(N,) row of every id in the table; -1 where the table lacks it."""
    place = {nodule.nodule_id: index for index, nodule in enumerate(nodules)}
    rows = np.array([place.get(one, -1) for one in ids], dtype=np.int64)
    if (rows < 0).all():
        raise InputError(
            f"{file} answers for no nodule of the table (it has '{''.join(ids[:1])[:60]}'). Give the data folder of that run."
        )
    return rows
