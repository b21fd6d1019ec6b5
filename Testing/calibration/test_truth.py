"""Whose word a probability is: counts that fit, classes it knows, and words that never mix it up."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.calibration.calibrations import Calibrations
from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.truth import LIDC_READERS, OUTCOME, READERS, Truth, notice, short_phrase, truth_phrase

BY_OUTCOME = Truth(OUTCOME, 412, 300, 120, "cases.csv", "2026-11-26")
BY_READERS = Truth(READERS, 1, 1, 0)
ONE_CUT = Calibration(1.0, (0.5, 0.5, 0.5))


def test_words_name_the_truth_and_its_cases():
    assert truth_phrase(LIDC_READERS) == "malignancy rating > 3"
    assert truth_phrase(BY_READERS) == "malignancy rating > 3 by readers of 1 local case"
    assert truth_phrase(BY_OUTCOME) == "malignant by outcome of 412 local cases"
    assert short_phrase(BY_OUTCOME) == "by outcome, 412 local cases"
    assert "LIDC-IDRI readers, not of pathology" in notice(LIDC_READERS)
    assert "readers of 1 local case, not of pathology" in notice(BY_READERS)
    assert "not of pathology" not in notice(BY_OUTCOME)
    for truth in (LIDC_READERS, BY_READERS, BY_OUTCOME):
        assert notice(truth).startswith("Research use only.")


@pytest.mark.parametrize(
    "values",
    [
        ("pathology", 10, 5, 2),
        (OUTCOME, 0, 0, 0),
        (OUTCOME, 5, 6, 1),
        (OUTCOME, 5, 5, 6),
        (READERS, -1, -1, -1),
        (READERS, 5, 5, -1),
        (READERS, 1, 1, 1, "x" * 256),
        (READERS, 1, 1, 1, "", "26 November 2026"),
    ],
)
def test_counts_that_do_not_fit_are_refused(values):
    with pytest.raises(ValueError, match=r"truth|fit|outcome|long"):
        Truth(*values)


def test_an_outcome_is_never_unsure():
    calibrations = Calibrations(ONE_CUT, 0.95, None, BY_OUTCOME)
    for score in (-3.0, 0.4, 0.5, 0.6, 3.0):
        classes = ONE_CUT.class_probabilities(np.array([score]))[0]
        assert classes[1] == 0
        assert classes.argmax() in (0, 2)
        assert "unsure" not in calibrations.class_set(classes)
    assert calibrations.class_set(np.array([0.5, 0.0, 0.5])) == ("benign", "malignant")
    # Readers may be.
    readers = Calibrations(Calibration(1.0, (0.0, 0.5, 1.0)), 0.95, None)
    assert readers.class_set(np.array([0.45, 0.1, 0.45])) == ("benign", "unsure", "malignant")


def test_an_outcome_has_one_cut():
    with pytest.raises(ValueError, match="one cut"):
        Calibrations(Calibration(1.0, (0.0, 0.5, 1.0)), 0.5, None, BY_OUTCOME)


@pytest.mark.parametrize("truth", [LIDC_READERS, BY_READERS, BY_OUTCOME])
def test_calibrations_come_back_with_their_truth(truth):
    calibrations = Calibrations(ONE_CUT, 0.5, None, truth)
    assert Calibrations.from_dict(calibrations.to_dict()) == calibrations
    assert ("truth" in calibrations.to_dict()) == truth.is_local
