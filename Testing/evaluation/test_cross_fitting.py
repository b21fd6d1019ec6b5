"""Figures of merit and what they are computed of: signs, opinions calibrated out of fold, floors, tables."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from sklearn.metrics import cohen_kappa_score, f1_score

from CLIPLungLib.calibration.sphericity import fit_sphericity
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.comparison import FLOOR, SHIPPED, compare, readers_figures
from CLIPLungLib.evaluation.cross_fitting import (
    ABSENT_NAME,
    Truth,
    cross_fitted,
    cross_fitted_classes,
    reader_pairs,
    readers_codes,
    size_opinion,
)
from CLIPLungLib.evaluation.tables import AUC_MEAN, FIGURES_BEGIN, FIGURES_END, all_tables, write_figures
from CLIPLungLib.lidc.nodule_table import LidcNodule
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

RNG = np.random.default_rng(3)


def nodule(index: int, malignancy: float, diameter_mm: float, calcification=(6, 6, 5), margin=(3, 4, 5)) -> LidcNodule:
    ratings = dict.fromkeys(ATTRIBUTE_NAMES, (1, 2, 3)) | {"calcification": calcification, "margin": margin}
    return LidcNodule(
        nodule_id=f"n{index}",
        patient_id=f"p{index // 2}",
        fold=index // 2 % 3,
        n_readers=3,
        diameter_mm=diameter_mm,
        volume_mm3=1.0,
        malignancy=malignancy,
        ratings=ratings,
        point_ras=None,
        images={},
        slice_index=None,
        slice_pixel_mm=0.7,
    )


@pytest.fixture(scope="module")
def nodules() -> list[LidcNodule]:
    ratings = RNG.uniform(1, 5, 120)
    sizes = np.exp(1.2 + 0.3 * ratings + RNG.normal(0, 0.3, 120))
    return [nodule(index, *pair) for index, pair in enumerate(zip(ratings, sizes, strict=True))]


def test_class_figures_equal_those_of_scikit_learn():
    label, predicted = RNG.integers(0, 3, 200), RNG.integers(0, 3, 200)
    figures = metrics.class_figures(label, predicted)
    assert figures["macro-F1"] == pytest.approx(f1_score(label, predicted, average="macro"))
    assert figures["quadratic kappa"] == pytest.approx(cohen_kappa_score(label, predicted, weights="quadratic"))
    assert figures["accuracy, 3 classes"] == np.mean(label == predicted)
    assert figures["recall, unsure"] == np.mean(predicted[label == 1] == 1)


def test_class_without_a_case_has_no_recall_rather_than_none_right():
    figures = metrics.class_figures(np.array([0, 0, 2]), np.array([0, 2, 2]))
    assert np.isnan(figures["recall, unsure"])
    assert figures["recall, benign"] == 0.5


def test_bootstrap_draws_patients_with_all_their_nodules():
    patients = np.repeat(np.arange(40), 5)
    values = np.repeat(RNG.normal(size=40), 5)
    low, high = metrics.patient_bootstrap(patients, lambda drawn: values[drawn].mean())
    by_nodule = metrics.patient_bootstrap(np.arange(200), lambda drawn: values[drawn].mean())
    assert high - low > 1.5 * (by_nodule[1] - by_nodule[0])
    pair = metrics.patient_bootstrap(patients, lambda drawn: np.array([values[drawn].mean(), np.nan]))
    assert pair[:, 0].tolist() == [low, high]
    assert np.isnan(pair[:, 1]).all()


def test_calibration_error_by_chance_is_that_of_right_probabilities():
    probability = RNG.uniform(size=400)
    by_chance = metrics.chance_calibration_error(probability)
    drawn = [metrics.expected_calibration_error(RNG.random(400) < probability, probability) for _ in range(50)]
    assert by_chance == pytest.approx(np.mean(drawn), rel=0.1)


def test_calcification_is_asked_as_absent_or_not_since_its_codes_are_kinds():
    assert readers_codes(nodule(0, 3, 5), ABSENT_NAME).tolist() == [1, 1, 0]
    one, others, place = reader_pairs([nodule(0, 3, 5)], "margin")
    assert (one.tolist(), others.tolist(), place.tolist()) == ([3, 4, 5], [4.5, 4, 3.5], [0, 0, 0])


def test_nothing_is_fitted_on_the_fold_it_answers_for():
    fold = np.array([0, 0, 1, 1, 2, 2])
    fit = np.array([True, False, True, True, True, True])

    def answer(learn, own):
        assert set(fold[learn]).isdisjoint(fold[own])
        return np.full(len(own), learn.size)

    assert cross_fitted(fold, fit, answer, width=1)[:, 0].tolist() == [4, 4, 3, 3, 3, 3]


def test_size_alone_is_calibrated_and_ordered_as_the_size(nodules):
    truth = Truth.of_nodules(nodules)
    everyone = np.ones(len(nodules), dtype=bool)
    opinion = size_opinion(truth.size_mm, truth, everyone)
    assert np.array_equal(np.argsort(opinion.score), np.argsort(truth.size_mm))
    assert np.abs(opinion.probability.mean() - np.mean(truth.rating > 3)) < 0.05
    np.testing.assert_allclose(opinion.classes.sum(axis=1), 1)
    probability, _ = cross_fitted_classes(opinion.score, truth, everyone)
    np.testing.assert_array_equal(probability, opinion.probability)


def test_differences_are_paired_and_a_perfect_answer_wins(nodules):
    truth = Truth.of_nodules(nodules)
    everyone = np.ones(len(nodules), dtype=bool)
    opinions = {
        FLOOR: size_opinion(truth.size_mm, truth, everyone),
        SHIPPED: size_opinion(np.exp(truth.rating), truth, everyone),
    }
    found, differences = compare(opinions, truth, FLOOR, repeats=50)
    assert found[SHIPPED][AUC_MEAN]["value"] == 1.0
    gain = differences[SHIPPED][AUC_MEAN]
    assert gain["value"] == pytest.approx(1 - found[FLOOR][AUC_MEAN]["value"])
    assert gain["interval"][0] > 0
    # A paired interval is that of the floor mirrored, as the other side never changes.
    assert gain["interval"][0] == pytest.approx(1 - found[FLOOR][AUC_MEAN]["interval"][1])


def test_one_reader_is_judged_by_the_others(nodules):
    figures = readers_figures(nodules, repeats=20)
    # Codes 1, 2, 3 for every nodule: who is high has low others.
    assert figures["Spearman, margin"]["value"] == pytest.approx(-1.0)
    assert figures["Spearman, margin"]["n"] == len(nodules)


def test_sphericity_is_learned_from_texts_and_outline():
    text, longest = RNG.uniform(1, 5, 80), RNG.uniform(5, 20, 80)
    short = longest * RNG.uniform(0.4, 1, 80)
    volume = 4 / 3 * np.pi * (longest * RNG.uniform(0.3, 0.5, 80)) ** 3
    ball = np.cbrt(6 * volume / np.pi)
    rating = 1 + 0.2 * text + 1.5 * short / longest + 0.5 * ball / longest
    calibration = fit_sphericity(text, longest, short, volume, rating)
    np.testing.assert_allclose(calibration.level(text, longest, short, volume), rating, atol=1e-6)
    with pytest.raises(InputError, match="10 outlined nodules"):
        fit_sphericity(text[:9], longest[:9], short[:9], volume[:9], rating[:9])


def test_tables_have_a_row_for_everything_in_the_results(nodules, tmp_path):
    truth, everyone = Truth.of_nodules(nodules), np.ones(len(nodules), dtype=bool)
    opinions = {FLOOR: size_opinion(truth.size_mm, truth, everyone)}
    signs = {name: np.random.default_rng(0).random(len(nodules)) for name in truth.signs}
    shipped = size_opinion(np.exp(truth.rating), truth, everyone)
    opinions[SHIPPED] = type(shipped)(shipped.score, shipped.probability, shipped.classes, signs)
    found, differences = compare(opinions, truth, FLOOR, repeats=10)
    results = {
        "rule": "made up",
        "variants": {SHIPPED: "shipped (24 epochs)"},
        "settings": {
            "volumes": {
                "nodules": 120,
                "patients": 60,
                "answers": found,
                f"difference to {FLOOR}": differences,
                "one reader": readers_figures(nodules, repeats=5),
            }
        },
        "measurement": {},
        "class sets": {},
        "familiarity": {"warned, volume": {"value": 0.04, "interval": [0.02, 0.06], "n": 120}},
    }
    tables = all_tables(results)
    variants = tables["Variants, volumes (120 nodules of 60 patients)"]
    assert "shipped (24 epochs) | 1.000" in variants
    assert "0.040 (0.020 to 0.060)" in tables["Further statements of the shipped model"]
    assert all(name in tables["Signs, one reader and the shipped model, volumes"] for name in truth.signs)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{FIGURES_BEGIN}\nold\n{FIGURES_END}\nafter\n", encoding="utf-8")
    write_figures(readme, results)
    written = readme.read_text(encoding="utf-8")
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert variants in written
    assert "old" not in written
    readme.write_text("no marks", encoding="utf-8")
    with pytest.raises(InputError, match="once each"):
        write_figures(readme, results)
