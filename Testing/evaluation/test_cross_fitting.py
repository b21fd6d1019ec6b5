"""Reader reference, cross-fitted predictions, baselines and the figures of both."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.calibration.calibrations import Calibrations
from CLIPLungLib.calibration.double_reading import no_second_readings
from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.comparison import BESIDE_ONE_READER, READERS_DIAMETER, compare
from CLIPLungLib.evaluation.cross_fitting import cross_fitted, network_predictions, size_predictions
from CLIPLungLib.evaluation.figures import AUC_ABOVE_3, BRIER, ECE, LABELS, SIGN_LABELS
from CLIPLungLib.evaluation.one_reader import beside_one_reader
from CLIPLungLib.evaluation.reader_reference import (
    CALCIFICATION_ABSENT,
    ReaderReference,
    reader_codes,
)
from CLIPLungLib.evaluation.run_choice import SHIPPED
from CLIPLungLib.evaluation.tables import FIGURES_BEGIN, FIGURES_END, all_tables, readme_table, write_readme_table
from CLIPLungLib.training.fold_answers import FoldAnswers
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, LEVEL_COUNT

RNG = np.random.default_rng(3)


def nodule(index: int, malignancy: float, diameter_mm: float, calcification=(6, 6, 5), margin=(3, 4, 5)) -> Nodule:
    ratings = dict.fromkeys(ATTRIBUTE_NAMES, (1, 2, 3)) | {"calcification": calcification, "margin": margin}
    return Nodule(
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
def nodules() -> list[Nodule]:
    ratings = RNG.uniform(1, 5, 120)
    sizes = np.exp(1.2 + 0.3 * ratings + RNG.normal(0, 0.3, 120))
    return [nodule(index, *pair) for index, pair in enumerate(zip(ratings, sizes, strict=True))]


def test_calcification_is_asked_as_absent_or_not_since_its_codes_are_kinds():
    assert reader_codes(nodule(0, 3, 5), CALCIFICATION_ABSENT).tolist() == [1, 1, 0]


def test_nothing_is_fitted_on_the_fold_it_answers_for():
    fold = np.array([0, 0, 1, 1, 2, 2])
    fit = np.array([True, False, True, True, True, True])

    def answer(learn, own):
        assert set(fold[learn]).isdisjoint(fold[own])
        return np.full(len(own), learn.size)

    assert cross_fitted(fold, fit, answer, width=1)[:, 0].tolist() == [4, 4, 3, 3, 3, 3]


def test_size_alone_is_calibrated_and_ordered_as_the_size(nodules):
    reference = ReaderReference.of_nodules(nodules)
    everyone = np.ones(len(nodules), dtype=bool)
    found = size_predictions(reference.diameter_mm, reference, everyone)
    assert np.array_equal(np.argsort(found.score), np.argsort(reference.diameter_mm))
    assert np.abs(found.probability.mean() - np.mean(reference.rating > 3)) < 0.05
    np.testing.assert_allclose(found.classes.sum(axis=1), 1)


def test_ratings_on_a_boundary_follow_one_rule():
    reference = ReaderReference.of_nodules([nodule(i, rating, 5) for i, rating in enumerate((2.49, 2.5, 3, 3.5, 3.51))])
    assert reference.label.tolist() == [0, 1, 1, 1, 2]
    assert reference.exceeds_3.tolist() == [False, False, False, True, True]


def fold_answers(score: np.ndarray, fold: np.ndarray) -> FoldAnswers:
    nan = np.full(len(score), np.nan)
    levels = np.tile(np.arange(LEVEL_COUNT) / LEVEL_COUNT, (len(score), 1))
    kind, nodule_index = np.zeros(len(score), int), np.arange(len(score))
    second = no_second_readings(len(score))
    return FoldAnswers(nodule_index, kind, fold, np.isnan(score), score, levels, *[nan] * 6, second)


def test_every_fold_is_calibrated_by_its_own_checkpoint():
    calibrations = {
        0: Calibrations(Calibration(1.0, (-1.0, 0.0, 1.0)), 0.5, None),
        1: Calibrations(Calibration(1.0, (4.0, 5.0, 6.0)), 0.5, None),
    }
    found = network_predictions(fold_answers(np.array([0.0, 0.0]), np.array([0, 1])), calibrations)
    assert found.probability == pytest.approx([0.5, 1 / (1 + np.exp(5))])
    np.testing.assert_allclose(found.classes.sum(axis=1), 1)


def predictions_of(nodules):
    reference, everyone = ReaderReference.of_nodules(nodules), np.ones(len(nodules), dtype=bool)
    shipped = size_predictions(np.exp(reference.rating), reference, everyone)
    signs = {name: np.random.default_rng(0).random(len(nodules)) for name in reference.signs}
    return {
        READERS_DIAMETER: size_predictions(reference.diameter_mm, reference, everyone),
        SHIPPED: type(shipped)(shipped.score, shipped.probability, shipped.classes, signs),
    }


def compared(nodules, repeats=50):
    return compare(predictions_of(nodules), ReaderReference.of_nodules(nodules), READERS_DIAMETER, repeats)


def test_differences_are_paired_and_a_perfect_answer_wins(nodules):
    found, gains = compared(nodules)
    assert found[SHIPPED][AUC_ABOVE_3]["value"] == 1.0
    gain, baseline = gains[SHIPPED][AUC_ABOVE_3], found[READERS_DIAMETER][AUC_ABOVE_3]
    assert gain["value"] == pytest.approx(1 - baseline["value"])
    assert gain["interval"][0] > 0
    # A paired interval is that of the baseline mirrored, as the other side never changes.
    assert gain["interval"][0] == pytest.approx(1 - baseline["interval"][1])


def test_every_figure_has_a_label_and_exactly_3_is_left_out_of_one_auc_alone(nodules):
    at_3 = [nodule(500 + index, 3.0, 8.0) for index in range(7)]
    found, gains = compared([*nodules, *at_3])
    assert found[SHIPPED].keys() <= LABELS.keys()
    assert found[SHIPPED][AUC_ABOVE_3]["n"] == len(nodules)
    assert found[SHIPPED][BRIER]["n"] == len(nodules) + 7
    # The percentile bootstrap of the ECE excludes its own value.
    assert found[SHIPPED][ECE]["interval"] is None
    assert found[SHIPPED][ECE]["by_chance"] > 0
    assert ECE not in gains[SHIPPED]


def made_up_results(nodules) -> dict:
    found, gains = compared(nodules, repeats=10)
    setting = {
        "nodules": 120,
        "patients": 60,
        "figures": found | {"own_diameter": found[READERS_DIAMETER]},
        f"gain_over_{READERS_DIAMETER}": gains,
        "outcomes": 0,
        BESIDE_ONE_READER: beside_one_reader(nodules, predictions_of(nodules)[SHIPPED], repeats=5),
    }
    return {
        "folds": [0, 1, 2],
        "fewest_readers": 3,
        "bootstraps": 10,
        "runs": {SHIPPED: {"epochs": 24}},
        "main_run": SHIPPED,
        "main_setting": "volumes",
        "settings": {"volumes": setting, "true_context": setting},
        "measurement": {},
        "class_sets": {},
        "warnings": {"volume": {"value": 0.04, "interval": [0.02, 0.06], "n": 120, "refused": 2}},
    }


def test_tables_have_a_row_for_everything_in_the_results(nodules):
    results = made_up_results(nodules)
    tables = all_tables(results)
    assert "shipped (24 epochs) | 1.000" in tables["Runs, volumes (120 nodules of 60 patients)"]
    warnings = tables["Sizes, class sets and warnings of the model"]
    assert "0.040 (0.020 to 0.060) | 120, 2 clicks refused" in warnings
    signs, beside = (
        tables[f"{name}, volumes"] for name in ("Signs, with the mean of all readers", "The model beside one reader")
    )
    assert "| Spearman, margin | -1.000" in beside
    assert all(label in signs for name, label in SIGN_LABELS.items() if name != "calcification")


def test_readme_gets_its_five_rows_between_its_marks(nodules, tmp_path):
    results, readme = made_up_results(nodules), tmp_path / "README.md"
    assert len(readme_table(results).splitlines()) == 2 + 5
    readme.write_text(f"before\n{FIGURES_BEGIN}\nold\n{FIGURES_END}\nafter\n", encoding="utf-8")
    write_readme_table(readme, results)
    written = readme.read_text(encoding="utf-8")
    assert written == f"before\n{FIGURES_BEGIN}\n{readme_table(results)}\n{FIGURES_END}\nafter\n"
    readme.write_text("no marks", encoding="utf-8")
    with pytest.raises(InputError, match="once each"):
        write_readme_table(readme, results)
