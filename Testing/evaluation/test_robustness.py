"""The comparison of answers for the same nodules under other conditions."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.evaluation import robustness
from CLIPLungLib.evaluation.robustness import LABELS, Pairs, compare_pairs
from CLIPLungLib.inference.classifier import NoduleClassifier


def pairs(reference, condition, rating) -> Pairs:
    reference, condition = np.array(reference), np.array(condition)
    changed = (reference > 0.5) != (condition > 0.5)
    patients = np.array([f"p{index}" for index in range(len(reference))])
    return Pairs(reference, condition, changed, np.array(rating), patients, np.zeros(len(reference)), refused=2)


def test_comparison_by_hand():
    # One benign nodule is now above one malignant one: 3 of 4 pairs are right. The rating of exactly 3 has no part in the AUC.
    figures = compare_pairs(pairs([0.1, 0.2, 0.5, 0.8, 0.9], [0.1, 0.85, 0.5, 0.8, 0.9], [1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (figures["n"], figures["n_auc"], figures["refused"]) == (5, 4, 2)
    assert (figures["auc_reference"], figures["auc_condition"], figures["auc_difference"]) == (1.0, 0.75, -0.25)
    low, high = figures["auc_difference_interval"]
    assert low < -0.25 <= high <= 0.0
    assert figures["mean_change"] == pytest.approx(0.13)
    assert figures["p95_change"] == pytest.approx(0.52)
    assert figures["changed_class"] == pytest.approx(0.2)


def test_comparison_without_both_kinds_has_no_auc():
    figures = compare_pairs(pairs([0.1, 0.2], [0.1, 0.2], [1, 2]))
    assert figures["auc_difference"] is None
    assert figures["auc_difference_interval"] is None
    assert figures["mean_change"] == 0.0


def test_conditions_on_lidc_nodules(lidc_folder, tiny_checkpoint_file):
    from CLIPLungLib.dataset.nodule_table import read_nodules

    classifier = NoduleClassifier.load(tiny_checkpoint_file, "cpu")
    nodules = [n for n in read_nodules(lidc_folder) if "cube" in n.images and "volume" in n.images][:4]
    found = robustness.changed_scans(lidc_folder, nodules, classifier)
    again = robustness.changed_scans(lidc_folder, nodules[::-1], classifier)
    assert found.keys() <= LABELS.keys()
    for key in ("slices_reversed", "rows_columns_reversed"):
        assert found[key].condition == pytest.approx(found[key].reference, abs=1e-4)
    moved = found["click_2mm"]
    assert len(moved.reference) + moved.refused == len(nodules)
    assert moved.click_mm.max() <= 2.0 + 1e-9
    assert np.sort(again["click_2mm"].condition) == pytest.approx(np.sort(moved.condition), abs=1e-5)
    cubes = robustness.other_images(lidc_folder, nodules, classifier, "cube")
    assert len(cubes.reference) == len(nodules)
    joined = robustness.join_pairs([cubes, cubes])
    assert len(joined.patient) == 2 * len(nodules)
