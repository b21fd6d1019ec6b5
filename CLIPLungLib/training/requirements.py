"""Checks of a table before hours of training: folds, and labels of both kinds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from CLIPLungLib.dataset.nodule_table import Nodule, fewest_readers, is_trusted
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.errors import InputError
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, EVENT_ABOVE

KINDS = {False: "benign (rating up to 3, or outcome 0)", True: "malignant (rating above 3, or outcome 1)"}


def require_trainable(folds: Sequence[int], patches: TrainingPatches, nodules: Sequence[Nodule]) -> None:
    """Check folds and labels.

    Args:
        folds: to train on, of which each is left out in turn.
        patches: prepared from the images of `nodules`.
        nodules: all rows of the table.

    Raises:
        InputError: fewer than two folds, one without nodules, or one beside which a kind of nodule is missing.
    """
    shown = [nodules[index] for index in np.unique(patches.nodule) if index < len(nodules)]
    there = sorted({nodule.fold for nodule in shown})
    if len(folds) < 2:
        raise InputError(
            f"Cross-validation needs two folds at least, to answer for each with the others; got {list(folds)}. Give the cases of more "
            "patients, or other folds."
        )
    for fold in folds:
        if fold not in there:
            raise InputError(
                f'Fold {fold} of the settings holds no nodule; the table has the folds {there}. Write "train_folds": [] (all folds of '
                "the table) or these in the settings."
            )
    _require_both_kinds(folds, shown, fewest_readers(nodules))


def _require_both_kinds(folds: Sequence[int], shown: Sequence[Nodule], readers: int) -> None:
    """Require benign and malignant nodules outside of every fold."""
    known = [nodule for nodule in shown if nodule.fold in folds and is_trusted(nodule, readers)]
    for kind, words in KINDS.items():
        of_kind = [nodule for nodule in known if (nodule.malignancy > EVENT_ABOVE) == kind]
        if not of_kind:
            raise InputError(f"No nodule of the folds {list(folds)} is {words}. Add cases of this kind.")
        if len({nodule.fold for nodule in of_kind}) < 2:
            raise InputError(
                f"All nodules that are {words} are in fold {of_kind[0].fold}: outside of it there is none to train on. Add cases of this "
                "kind, or assign patients to other folds."
            )


def not_learned(nodules: Sequence[Nodule]) -> list[str]:
    """Targets without a label in any nodule, which a network trained from scratch cannot learn: the diameter, signs."""
    found = [] if any(np.isfinite(nodule.diameter_mm) for nodule in nodules) else ["diameter"]
    return found + [name for name in ATTRIBUTE_NAMES if not any(nodule.ratings[name] for nodule in nodules)]
