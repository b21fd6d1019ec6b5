"""The evaluation of a network of an ablation: the nodules of each setting, and its figures of merit there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from CLIPLungLib.ablation.rows import Row
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.bootstrap import patient_weights
from CLIPLungLib.evaluation.cross_fitting import Predictions
from CLIPLungLib.evaluation.figures import AUC_ABOVE_3, AUC_STRICT, SPEARMAN_MALIGNANCY, Figure, figures_of
from CLIPLungLib.evaluation.interval_coverage import JUDGED_MM
from CLIPLungLib.evaluation.reader_reference import ReaderReference
from CLIPLungLib.evaluation.settings import CONTEXT, VOLUMES, judged_answers
from CLIPLungLib.training.fold_answers import FoldAnswers
from CLIPLungLib.vocabulary import ATTRIBUTE_OF_NAME, ATTRIBUTES, level_columns

# Internal structure and calcification are kinds: between two codes lies nothing, so their order says nothing either.
GRADED_SIGNS = tuple(attribute.name for attribute in ATTRIBUTES if attribute.ordinal)
CONTEXT_PREFIX = f"{CONTEXT}_"
SPEARMAN_SIGNS, DIAMETER_ERROR = "spearman_signs", "diameter_median_error_mm"
# Key of a figure -> the setting it is about, in the order of the table.
SETTING_OF: dict[str, str] = {
    AUC_ABOVE_3: VOLUMES,
    AUC_STRICT: VOLUMES,
    SPEARMAN_MALIGNANCY: VOLUMES,
    f"{CONTEXT_PREFIX}{AUC_ABOVE_3}": CONTEXT,
    f"{CONTEXT_PREFIX}{SPEARMAN_MALIGNANCY}": CONTEXT,
    SPEARMAN_SIGNS: VOLUMES,
    DIAMETER_ERROR: VOLUMES,
}


@dataclass(frozen=True, eq=False)
class Judged:
    """The N test nodules of one setting.

    Attributes:
        setting: VOLUMES or CONTEXT.
        nodule: (N,) rising indices into the table.
        reference: what the readers said of them.
        weights: (R, N) draws of their patients, the same for every network.
    """

    setting: str
    nodule: np.ndarray
    reference: ReaderReference
    weights: np.ndarray

    @classmethod
    def of(cls, setting: str, answers: FoldAnswers, nodules: Sequence[Nodule]) -> Judged:
        """The nodules of a setting with a prediction.

        Args:
            answers: of any network of the ablation, as all answer for the same images.
            nodules: all rows of the table.
        """
        nodule = _of_setting(setting, answers, nodules).nodule
        reference = ReaderReference.of_nodules([nodules[index] for index in nodule])
        return cls(setting, nodule, reference, patient_weights(reference.patient))

    @property
    def signs(self) -> tuple[str, ...]:
        """The graded signs that vary among these nodules; others have no rank correlation."""
        means = {name: self.reference.signs[name] for name in GRADED_SIGNS}
        return tuple(name for name, mean in means.items() if len(np.unique(mean[np.isfinite(mean)])) > 1)

    def answers(self, answers: FoldAnswers, nodules: Sequence[Nodule], name: str) -> FoldAnswers:
        """The predictions of a network for these nodules, in their order.

        Args:
            name: of the network, for the message.

        Raises:
            InputError: it answered for others.
        """
        own = _of_setting(self.setting, answers, nodules)
        if not np.array_equal(own.nodule, self.nodule):
            raise InputError(
                f"'{name}' answers for other nodules than the other networks. Remove its folder, and run the same command again."
            )
        return own


def network_figures(row: Row, answers: Mapping[str, FoldAnswers], judged: Mapping[str, Judged]) -> dict[str, Figure]:
    """Key of SETTING_OF -> figure, for the targets that the row was trained on.

    Args:
        row: of the network.
        answers: setting -> answers for the nodules that judge there.
        judged: setting -> these nodules.
    """
    found: dict[str, Figure] = {}
    for setting, own in answers.items():
        found |= _order_figures(own.malignancy_score, judged[setting])
    if VOLUMES in judged and row.learns_signs and judged[VOLUMES].signs:
        found[SPEARMAN_SIGNS] = _sign_figure(answers[VOLUMES], judged[VOLUMES])
    if VOLUMES in judged and row.measures:
        found[DIAMETER_ERROR] = _error_figure(answers[VOLUMES], judged[VOLUMES].reference)
    return found


def baseline_figures(judged: Mapping[str, Judged]) -> dict[str, Figure]:
    """The figures of the size-only baseline: the readers' diameter."""
    found: dict[str, Figure] = {}
    for own in judged.values():
        found |= _order_figures(own.reference.diameter_mm, own)
    return found


def _of_setting(setting: str, answers: FoldAnswers, nodules: Sequence[Nodule]) -> FoldAnswers:
    """One prediction for every nodule of the setting, in the order of the table."""
    own = answers.of(judged_answers(setting, answers, nodules))
    return own.of(np.argsort(own.nodule, kind="stable"))


def _predictions(score: np.ndarray, signs: dict[str, np.ndarray]) -> Predictions:
    """Scores and levels for figures of ranking, which need no calibration."""
    return Predictions(score, np.zeros(len(score)), np.zeros((len(score), 3)), signs)


def _order_figures(score: np.ndarray, judged: Judged) -> dict[str, Figure]:
    prefix = "" if judged.setting == VOLUMES else CONTEXT_PREFIX
    found = figures_of(_predictions(score, {}), judged.reference)
    keys = (AUC_ABOVE_3, AUC_STRICT, SPEARMAN_MALIGNANCY)
    return {f"{prefix}{key}": found[key] for key in keys if f"{prefix}{key}" in SETTING_OF}


def _sign_figure(answers: FoldAnswers, judged: Judged) -> Figure:
    """The mean over the signs of the Spearman correlation of the level, as the texts tell it, with the readers' mean."""
    levels = {name: _text_level(answers, name) for name in judged.signs}
    found = figures_of(_predictions(answers.malignancy_score, levels), judged.reference)
    of_signs = [found[f"spearman_{name}"] for name in judged.signs]

    def mean(weights: np.ndarray) -> np.ndarray:
        values: np.ndarray = np.mean([figure.value(weights) for figure in of_signs], axis=0)
        return values

    return Figure(max(figure.n for figure in of_signs), mean)


def _text_level(answers: FoldAnswers, sign: str) -> np.ndarray:
    """(V,) expected code."""
    level: np.ndarray = answers.level_probabilities[:, level_columns(sign)] @ ATTRIBUTE_OF_NAME[sign].codes
    return level


def _error_figure(answers: FoldAnswers, reference: ReaderReference) -> Figure:
    """The median of |own - readers' diameter|; own is that of the outline, or the direct estimate where nothing was outlined."""
    outlined = np.isfinite(answers.diameter_mm)
    own_mm = np.where(outlined, answers.diameter_mm, answers.estimated_diameter_mm)
    members = (reference.diameter_mm >= JUDGED_MM[0]) & (reference.diameter_mm <= JUDGED_MM[1])
    error_mm = np.abs(own_mm - reference.diameter_mm)[members]
    value = partial(metrics.median, error_mm)
    return Figure(int(members.sum()), lambda weights: value(weights[:, members]))
