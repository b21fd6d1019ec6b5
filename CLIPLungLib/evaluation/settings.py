"""Settings: kinds of image, and the predictions of a run that each setting evaluates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from CLIPLungLib.dataset.nodule_table import Nodule, fewest_readers, is_trusted
from CLIPLungLib.errors import InputError
from CLIPLungLib.training.fold_answers import FoldAnswers
from CLIPLungLib.training.fold_calibrations import one_answer_per_nodule

VOLUMES, SLICES, CONTEXT, ALL_NODULES = "volumes", "slices", "true_context", "all_nodules"
# Setting -> the kinds of image that show a nodule so; the first that there is counts. A crop has more context and finer voxels than
# a cube. `all_nodules` takes each once, whoever read it, as papers do.
SETTINGS: dict[str, tuple[str, ...]] = {
    VOLUMES: ("volume",),
    SLICES: ("slice",),
    CONTEXT: ("crop", "cube"),
    ALL_NODULES: (),
}
# The main one is the first of these that there is.
MAIN_SETTINGS = (VOLUMES, CONTEXT, SLICES)


def judged_answers(setting: str, answers: FoldAnswers, nodules: Sequence[Nodule]) -> np.ndarray:
    """(V,) bool: one prediction per nodule of a setting with enough readers or a known outcome; none for refused clicks.

    Args:
        setting: one of SETTINGS.
        answers: of all folds.
        nodules: all rows of the table.
    """
    if setting == ALL_NODULES:
        return one_answer_per_nodule(answers, nodules, fewest_readers=1)
    readers = fewest_readers(nodules)
    usable = np.array([is_trusted(nodules[index], readers) for index in answers.nodule], dtype=bool) & ~answers.refused
    chosen = np.zeros(len(answers.nodule), dtype=bool)
    for kind in SETTINGS[setting]:
        chosen |= usable & answers.is_kind(kind) & ~np.isin(answers.nodule, answers.nodule[chosen])
    return chosen


def main_setting(answers: FoldAnswers, nodules: Sequence[Nodule]) -> str:
    """The setting that sizes, class sets and plots are about.

    Raises:
        InputError: no answer is for a nodule whose malignancy is known.
    """
    for setting in MAIN_SETTINGS:
        if judged_answers(setting, answers, nodules).any():
            return setting
    raise InputError(
        "No nodule has both an answer and a known malignancy, so there is nothing to judge by. Give the data folder of the cross-validation."
    )
