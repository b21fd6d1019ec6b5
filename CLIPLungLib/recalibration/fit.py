"""Refits the calibrations of a trained network to local cases; the network does not change.

The refitted probability is evaluated on held-out patients. Calibrations for which there are too few cases are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from CLIPLungLib.calibration.calibrations import Calibrations, OutlineCalibrations
from CLIPLungLib.calibration.conformal import class_set, fit_class_sets
from CLIPLungLib.calibration.measurement import MeasurementCalibration, fit_measurement_calibration
from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.sample_size import PowerStatement, power_statement
from CLIPLungLib.calibration.truth import Truth
from CLIPLungLib.calibration.updating import Update, unchanged, update_calibration
from CLIPLungLib.dataset.case_table import Case
from CLIPLungLib.errors import InputError
from CLIPLungLib.recalibration.answers import LocalAnswers
from CLIPLungLib.vocabulary import CLASSES, EVENT_ABOVE, reached_cuts

# With an event, and without: below, neither a shift nor its error means anything.
FEWEST_PATIENTS = 5
# The 90 % quantile of 9 values is their largest: a class with fewer has no say of its own in the class sets.
FEWEST_PER_CLASS = 10
FEWEST_SIZES = 30
FOLDS, SEED = 10, 0
LEAST_PROBABILITY = 1e-12


@dataclass(frozen=True, eq=False)
class LocalCalibration:
    """The refitted calibrations, and the reasons.

    Attributes:
        calibrations: to use.
        update: of the probability, on all cases.
        is_updated: whether the update is used; False where it was no better than the old calibration.
        event: (N,) bool.
        patient: (N,) whose case it is.
        before: (N,) the old calibration's probability of the event.
        after: (N,) the update's, each fitted on other patients.
        power: the precision that so many cases allow.
        decisions: part of the calibrations -> what was done with it, in words.
    """

    calibrations: Calibrations
    update: Update
    is_updated: bool
    event: np.ndarray
    patient: np.ndarray
    before: np.ndarray
    after: np.ndarray
    power: PowerStatement
    decisions: dict[str, str]


def calibrate_locally(answers: LocalAnswers, old: Calibrations, whose: str, table: str, date: str) -> LocalCalibration:
    """Refit the calibrations for which there are enough cases, and keep the others.

    Args:
        answers: for cases of patients that the network was not trained on.
        old: calibrations of the network.
        whose: READERS or OUTCOME.
        table: name of the cases' table.
        date: YYYY-MM-DD.

    Raises:
        InputError: too few patients with or without an event, or scores that part the two without overlap or do not rise with them.
    """
    score, patient = answers.malignancy_score, np.array([case.patient_id for case in answers.cases])
    cuts = np.array([reached_cuts(case.malignancy) for case in answers.cases])
    event, reached = cuts[:, 1], cuts.sum(axis=1)
    require_enough(answers.cases)
    before = unchanged(old.probability, whose)
    power = power_statement(before.slope * score - before.offsets[1], event, patient)

    def fit(chosen: np.ndarray) -> Update:
        return update_calibration(before, score[chosen], reached[chosen], whose)

    after = _cross_fitted(score, event, patient, lambda chosen: fit(chosen).calibration)
    update, old_losses = fit(np.ones(len(score), dtype=bool)), log_losses(event, before.malignancy_probability(score))
    is_updated = bool(log_losses(event, after[:, 1]).mean() < old_losses.mean())
    classes = _class_probabilities(after) if is_updated else before.class_probabilities(score)
    label = cuts[:, 0].astype(int) + cuts[:, 2]
    truth = Truth(whose, len(event), len(np.unique(patient)), int(event.sum()), table, date)
    threshold, set_decision = _class_sets(classes, label, old, truth)
    outline, outline_decisions = _outline(answers, old.outline)
    return LocalCalibration(
        calibrations=Calibrations(update.calibration if is_updated else before, threshold, outline, truth),
        update=update,
        is_updated=is_updated,
        event=event,
        patient=patient,
        before=before.malignancy_probability(score),
        after=after[:, 1],
        power=power,
        decisions={
            "probability": _update_decision(update, is_updated),
            "class sets": set_decision,
            **outline_decisions,
        },
    )


def log_losses(event: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """(N,) negative log likelihood of each case."""
    losses: np.ndarray = -np.log(np.maximum(np.where(event, probability, 1 - probability), LEAST_PROBABILITY))
    return losses


def require_enough(cases: Sequence[Case]) -> None:
    """Refuse cases of too few patients, before anything is computed.

    Raises:
        InputError: fewer than FEWEST_PATIENTS with an event, or without.
    """
    with_event = len({case.patient_id for case in cases if case.malignancy > EVENT_ABOVE})
    without = len({case.patient_id for case in cases if not case.malignancy > EVENT_ABOVE})
    if min(with_event, without) < FEWEST_PATIENTS:
        raise InputError(
            f"{len(cases)} cases are too few to calibrate on: {with_event} patient(s) with an event (rating > 3, or malignant) and "
            f"{without} without. Add cases until there are {FEWEST_PATIENTS} of each; the command then states the precision that they allow."
        )


def _cross_fitted(
    score: np.ndarray, event: np.ndarray, patient: np.ndarray, fit: Callable[[np.ndarray], Calibration]
) -> np.ndarray:
    """(N, 3) probabilities of exceeding each cut, by a calibration fitted on other patients."""
    found = np.empty((len(score), 3))
    fold = patient_folds(event, patient)
    for one in np.unique(fold):
        found[fold == one] = fit(fold != one).exceeds(score[fold == one])
    return found


def patient_folds(event: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """(N,) fold of each case: patients assigned at random, stratified by event; the same in every run."""
    names, group = np.unique(patient, return_inverse=True)
    order = np.random.default_rng(SEED).permutation(len(names))
    has_event = np.bincount(group, weights=event) > 0
    shuffled = order[np.argsort(has_event[order], kind="stable")]
    fold = np.empty(len(names), dtype=np.int64)
    fold[shuffled] = np.arange(len(names)) % FOLDS
    folds: np.ndarray = fold[group]
    return folds


def _class_probabilities(above: np.ndarray) -> np.ndarray:
    return np.stack([1 - above[:, 0], above[:, 0] - above[:, 2], above[:, 2]], axis=1)


def _update_decision(update: Update, is_updated: bool) -> str:
    if not is_updated:
        return "kept: an update fitted on these cases was no better on other patients of theirs"
    return (
        f"updated: old logits times {update.slope_factor:.2f}, shifted by {update.shift:+.2f} "
        f"(the cases decide {update.slope_weight:.0%} of the factor and {update.shift_weight:.0%} of the shift, the old calibration the rest)"
    )


def _class_sets(classes: np.ndarray, label: np.ndarray, old: Calibrations, truth: Truth) -> tuple[float, str]:
    counts = {name: int((label == CLASSES.index(name)).sum()) for name in truth.classes}
    held = [CLASSES[k] in class_set(row, old.class_set_threshold) for row, k in zip(classes, label, strict=True)]
    few = [f"{count} {name}" for name, count in counts.items() if count < FEWEST_PER_CLASS]
    if few:
        return old.class_set_threshold, (
            f"kept: only {', '.join(few)} ({FEWEST_PER_CLASS} of every class are needed); they hold the truth in {np.mean(held):.0%} of the cases"
        )
    threshold = fit_class_sets(classes, label)
    return threshold, f"refitted to hold the truth in 90 % of cases; the old threshold did so in {np.mean(held):.0%}"


def _outline(
    answers: LocalAnswers, old: OutlineCalibrations | None
) -> tuple[OutlineCalibrations | None, dict[str, str]]:
    if old is None:
        return None, {}
    known = {name: np.array([getattr(case, name) for case in answers.cases]) for name in ("diameter_mm", "volume_mm3")}
    diameter, of_diameter = _size(answers.diameter_mm, known["diameter_mm"], old.diameter)
    volume, of_volume = _size(answers.volume_mm3, known["volume_mm3"], old.volume)
    warned = [
        bool(old.limits.warnings(distance, presence))
        for distance, presence in zip(answers.distance, answers.presence, strict=True)
    ]
    decisions = {
        "diameter": of_diameter,
        "volume": of_volume,
        "warnings": f"limits kept; {np.mean(warned):.0%} of the cases look unlike what the network has learned from",
    }
    return replace(old, diameter=diameter, volume=volume), decisions


def _size(measured: np.ndarray, known: np.ndarray, old: MeasurementCalibration) -> tuple[MeasurementCalibration, str]:
    both = np.isfinite(measured) & np.isfinite(known)
    count = int(both.sum())
    if count < FEWEST_SIZES:
        return old, f"kept: {count} cases have a known and a measured size, {FEWEST_SIZES} are needed"
    ends = np.array([old.interval(value) for value in measured[both]])
    held = float(np.mean((ends[:, 0] <= known[both]) & (known[both] <= ends[:, 1])))
    try:
        new = fit_measurement_calibration(measured[both], known[both])
    except InputError as error:
        return old, f"kept: {error}"
    return new, f"refitted on {count} cases; the old 90 % interval held the known size in {held:.0%}"
