"""Building the index: neighbours are of other folds, metrics are chosen by measurement, and what does not belong together is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import finished_run

from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.similar_build import build_index
from CLIPLungLib.evaluation.similar_figures import (
    RatedNodules,
    agreements,
    chosen_metric,
    compare_metrics,
    metrics_of_folds,
    neighbour_predictions,
)
from CLIPLungLib.evaluation.similar_metrics import METRICS
from CLIPLungLib.evaluation.similar_tables import BEGIN, END, similar_tables, write_similar_tables
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.similar.features import FEATURE_COUNT, SIZE, SUSPICION
from CLIPLungLib.similar.figures import COMPARED
from CLIPLungLib.training.fold_calibrations import fit_calibrations
from CLIPLungLib.vocabulary import ATTRIBUTES, level_columns

PUBLIC = [replace(n, patient_id=f"LIDC-IDRI-{n.patient_id}") for n in finished_run.NODULES]
BY_SIZE = next(metric for metric in METRICS if metric.name == "suspicion and size, standardised")


def rated(count: int = 100, folds: int = 5) -> RatedNodules:
    """Nodules whose readers said what suspicion and size say."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(count, FEATURE_COUNT))
    readers = np.tile(features[:, [SUSPICION]] + features[:, [SIZE]], (1, len(COMPARED)))
    patient = np.array([f"p{index // 2}" for index in range(count)])
    return RatedNodules(features, readers, readers.copy(), np.arange(count) // 2 % folds, patient)


@pytest.fixture(scope="module")
def run():
    return finished_run.made_up_run(PUBLIC)


@pytest.fixture(scope="module")
def weights(run, tiny_checkpoint_file):
    checkpoint = load_checkpoint(tiny_checkpoint_file)
    return replace(checkpoint, calibrations=fit_calibrations(run.answers, PUBLIC, draws_outline=False))


def test_neighbours_are_never_of_the_own_fold():
    nodules = rated()
    readers = np.where(nodules.fold == 2, 1000.0, 0.0)[:, None].repeat(len(COMPARED), axis=1)
    predicted, distance = neighbour_predictions(replace(nodules, readers=readers), [BY_SIZE] * 5)
    assert (predicted[nodules.fold == 2] == 0).all()
    assert predicted[nodules.fold != 2].max() > 0
    assert (distance > 0).all()


def test_the_prediction_is_the_mean_of_the_ten_nearest_where_they_are_known():
    nodules = rated()
    nodules.readers[::7] = np.nan
    predicted, distance = neighbour_predictions(nodules, [BY_SIZE] * 5)
    others = nodules.fold != nodules.fold[0]
    center, transform = BY_SIZE.fit(nodules.features[others])
    places = (nodules.features - center) @ transform
    gaps = np.linalg.norm(places[others] - places[0], axis=1)
    nearest = np.argsort(gaps)[:10]
    np.testing.assert_allclose(predicted[0], np.nanmean(nodules.readers[others][nearest], axis=0))
    assert distance[0] == pytest.approx(gaps[nearest].mean())


def test_metric_that_tells_most_is_chosen_in_every_fold():
    nodules = rated()
    found = compare_metrics(nodules)
    assert chosen_metric(found).name.startswith("suspicion and size")
    assert found[chosen_metric(found).name] == max(found.values()) > 0.8
    assert all(metric.name.startswith("suspicion and size") for metric in metrics_of_folds(nodules))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metrics_give_every_direction_its_due(metric):
    features = np.random.default_rng(0).normal(size=(400, FEATURE_COUNT)) * np.linspace(1, 9, FEATURE_COUNT)
    center, transform = metric.fit(features)
    places = (features - center) @ transform
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-9)
    if metric.whitens:
        covariance = np.cov(places, rowvar=False)
        np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-6)
    else:
        np.testing.assert_allclose(places.std(axis=0), 1)


def test_expected_levels_are_probabilities_times_codes():
    metric = next(m for m in METRICS if m.name == "expected levels of the signs, standardised")
    features = np.random.default_rng(0).random(FEATURE_COUNT)
    seen = features @ metric.selection
    for column, attribute in enumerate(ATTRIBUTES):
        assert seen[column] == pytest.approx(features[level_columns(attribute.name)] @ np.array(attribute.codes))


def test_what_is_the_same_everywhere_breaks_no_metric():
    features = np.random.default_rng(0).normal(size=(50, FEATURE_COUNT))
    features[:, SIZE] = 2.0
    for metric in METRICS:
        assert np.isfinite(metric.fit(features)[1]).all()


def test_figures_compare_neighbours_and_network_on_the_same_nodules():
    nodules = rated()
    nodules.network[:, 0] = -nodules.readers[:, 0]
    nodules.readers[:9, 0] = np.nan
    predicted = nodules.readers.copy()
    predicted[20:23, 0] = np.nan
    found = agreements(nodules, predicted)["malignancy"]
    assert found.neighbours.n == found.network.n == 100 - 12
    assert (found.neighbours.value, found.network.value) == (1.0, -1.0)


def test_index_is_of_its_weights_and_names_all_rated_nodules(run, weights):
    index = build_index(run, PUBLIC, replace(weights, sha256="12" * 32))
    assert index.weights_sha256 == "12" * 32
    assert len(index.nodule_ids) > 70
    row = index.nodule_ids.index("n5")
    assert index.patient_ids[row] == "LIDC-IDRI-p2"
    assert index.ratings[row, 0] == pytest.approx(PUBLIC[5].malignancy)
    assert index.diameter_mm[row] == pytest.approx(PUBLIC[5].diameter_mm)
    assert index.readers[row] == PUBLIC[5].n_readers
    assert index.metric in index.choices
    assert set(index.figures) == set(COMPARED)
    # The made-up answers follow malignancy and size.
    assert index.figures["diameter_mm"].neighbours.value > 0.5
    table = similar_tables(index)
    assert f"**{index.metric}**" in table
    assert f"| Malignancy | {index.figures['malignancy'].neighbours} |" in table


def test_private_cases_are_refused(run, weights):
    nodules = [*PUBLIC[:-1], replace(PUBLIC[-1], patient_id="Smith")]
    with pytest.raises(InputError, match=r"'Smith' is not of LIDC-IDRI.*public"):
        build_index(run, nodules, weights)


def test_a_part_of_the_data_makes_no_index(run, weights):
    with pytest.raises(InputError, match=r"lacks 2 nodule\(s\) of shipped"):
        build_index(replace(run, missing=2), PUBLIC, weights)


def test_answers_of_another_run_are_refused(run, weights):
    other = replace(run.answers, malignancy_score=1.2 * run.answers.malignancy_score)
    with pytest.raises(InputError, match="does not belong to these weights"):
        build_index(replace(run, answers=other), PUBLIC, weights)


def test_too_few_folds_are_refused(run, weights):
    two = replace(run, answers=run.answers.of(run.answers.fold < 2))
    own = replace(weights, calibrations=fit_calibrations(two.answers, PUBLIC, draws_outline=False))
    with pytest.raises(InputError, match="3 folds"):
        build_index(two, PUBLIC, own)


def test_tables_are_put_between_the_marks_of_a_page(run, weights, tmp_path):
    index, page = build_index(run, PUBLIC, weights), tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write_similar_tables(page, index)
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{similar_tables(index)}\n{END}\nafter\n"
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(InputError, match="needs the lines"):
        write_similar_tables(page, index)
    with pytest.raises(InputError, match="cannot be read"):
        write_similar_tables(tmp_path / "none.md", index)
