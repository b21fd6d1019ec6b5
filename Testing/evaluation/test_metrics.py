"""Figures of merit of all draws at once equal those of the resamples written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import spearmanr

from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.evaluation.bootstrap import patient_weights
from CLIPLungLib.vocabulary import CLASSES

EXACT = {"rel": 1e-12, "abs": 1e-12}
# Few different values, so that ties are common; and any values.
VALUES = st.one_of(st.integers(-2, 2).map(float), st.floats(-1e6, 1e6, allow_subnormal=False))
PROBABILITIES = st.one_of(st.sampled_from((0.0, 1 / 15, 0.2, 0.5, 1.0)), st.floats(0, 1))


@st.composite
def draws(draw, *elements: st.SearchStrategy, most: int = 25):
    """Arrays (N,) of these elements, and weights (R, N) that leave some samples out and repeat others."""
    n, repeats = draw(st.integers(1, most)), draw(st.integers(1, 4))
    arrays = [np.array(draw(st.lists(element, min_size=n, max_size=n))) for element in elements]
    return *arrays, draw(hnp.arrays(np.float64, (repeats, n), elements=st.integers(0, 4)))


def resamples(weights: np.ndarray) -> list[np.ndarray]:
    """Sample indices of each draw, written out."""
    return [np.repeat(np.arange(weights.shape[1]), row.astype(int)) for row in weights]


def assert_equal(found: np.ndarray, expected: list[float]) -> None:
    assert found.shape == (len(expected),)
    assert found == pytest.approx(np.array(expected, float), nan_ok=True, **EXACT)


def varies(values: np.ndarray) -> bool:
    return len(np.unique(values)) > 1


@settings(deadline=None)
@given(draws(st.booleans(), VALUES))
def test_auc_is_that_of_the_resample(case):
    roc_auc_score = pytest.importorskip("sklearn.metrics", reason="needs the extra 'train'").roc_auc_score
    positive, score, weights = case
    expected = [roc_auc_score(positive[i], score[i]) if varies(positive[i]) else np.nan for i in resamples(weights)]
    assert_equal(metrics.auc(positive, score, weights), expected)


@settings(deadline=None)
@given(draws(VALUES, VALUES))
def test_spearman_is_that_of_the_resample(case):
    a, b, weights = case
    expected = [
        spearmanr(a[i], b[i]).statistic if len(i) >= 3 and varies(a[i]) and varies(b[i]) else np.nan
        for i in resamples(weights)
    ]
    assert_equal(metrics.spearman(a, b, weights), expected)


@settings(deadline=None)
@given(draws(VALUES))
def test_mean_and_median_are_those_of_the_resample(case):
    values, weights = case
    known = [values[i] for i in resamples(weights)]
    assert_equal(metrics.median(values, weights), [np.median(v) if len(v) else np.nan for v in known])
    # Sums of values that cancel are as exact as the largest of them.
    scale = max(1.0, np.abs(values).max())
    assert_equal(metrics.mean(values / scale, weights), [np.mean(v / scale) if len(v) else np.nan for v in known])


@settings(deadline=None)
@given(draws(st.booleans(), PROBABILITIES))
def test_calibration_figures_are_those_of_the_resample(case):
    positive, probability, weights = case
    kept = [(positive[i], probability[i]) for i in resamples(weights)]
    assert_equal(
        metrics.brier(positive, probability, weights),
        [np.mean((p - y) ** 2) if len(y) else np.nan for y, p in kept],
    )
    for bins in (1, 7, metrics.BINS):
        found = metrics.expected_calibration_error(positive, probability, weights, bins=bins)
        assert_equal(found, [written_out_ece(y, p, bins) for y, p in kept])


def written_out_ece(positive: np.ndarray, probability: np.ndarray, bins: int) -> float:
    if len(positive) == 0:
        return np.nan
    own = np.minimum(np.floor(probability * bins), bins - 1)
    members = [own == index for index in range(bins)]
    gaps = [m.mean() * abs(positive[m].mean() - probability[m].mean()) for m in members if m.any()]
    return float(np.sum(gaps))


@settings(deadline=None)
@given(draws(st.sampled_from((0, 1, 2)), st.sampled_from((0, 1, 2))))
def test_class_figures_are_those_of_the_resample(case):
    scores = pytest.importorskip("sklearn.metrics", reason="needs the extra 'train'")
    label, predicted, weights = case
    figures = metrics.class_figures(label, predicted, weights)
    assert list(figures)[:3] == ["accuracy", "macro_f1", "quadratic_kappa"]
    assert set(list(figures)[3:]) == {f"{figure}_{name}" for figure in ("recall", "f1") for name in CLASSES}
    expected = {name: [] for name in figures}
    for i in resamples(weights):
        y, p = label[i], predicted[i]
        there = [index in y for index in range(3)]
        f1 = scores.f1_score(y, p, labels=[0, 1, 2], average=None, zero_division=0) if len(y) else np.zeros(3)
        recall = scores.recall_score(y, p, labels=[0, 1, 2], average=None, zero_division=0) if len(y) else np.zeros(3)
        expected["accuracy"].append(np.mean(y == p) if len(y) else np.nan)
        expected["macro_f1"].append(f1.mean() if all(there) else np.nan)
        one_class = len(np.unique(np.concatenate([y, p]))) < 2
        kappa = np.nan if one_class else scores.cohen_kappa_score(y, p, labels=[0, 1, 2], weights="quadratic")
        expected["quadratic_kappa"].append(kappa)
        for index, name in enumerate(CLASSES):
            expected[f"recall_{name}"].append(recall[index] if there[index] else np.nan)
            expected[f"f1_{name}"].append(f1[index] if there[index] else np.nan)
    for name, values in expected.items():
        assert_equal(figures[name], values)


@settings(deadline=None)
@given(draws(st.booleans(), VALUES))
def test_reversed_scores_turn_the_auc_over_and_growing_maps_keep_it(case):
    positive, score, weights = case
    found = metrics.auc(positive, score, weights)
    assert_equal(metrics.auc(positive, -score, weights), list(1 - found))
    assert_equal(metrics.auc(positive, np.searchsorted(np.unique(score), score), weights), list(found))
    assert_equal(metrics.auc(~positive, score, weights), list(1 - found))


@settings(deadline=None)
@given(draws(VALUES, VALUES))
def test_spearman_stays_within_one_and_is_one_of_the_same(case):
    a, b, weights = case
    rho = metrics.spearman(a, b, weights)
    assert (np.abs(rho[~np.isnan(rho)]) <= 1).all()
    own = metrics.spearman(a, a, weights)
    assert (own[~np.isnan(own)] == 1).all()


def test_hand_computed_values():
    positive, once = np.array([False, True, False, True]), np.ones((1, 4))
    assert metrics.auc(positive, np.array([0.1, 0.4, 0.35, 0.8]), once) == [1.0]
    assert metrics.auc(positive, np.array([0.5, 0.4, 0.35, 0.8]), once) == [0.75]
    assert metrics.auc(positive, np.array([0.4, 0.4, 0.35, 0.8]), once) == [0.875]
    # The first negative three times: of 8 pairs its 3 with the lower positive are lost.
    assert metrics.auc(positive, np.array([0.5, 0.4, 0.35, 0.8]), np.array([[3, 1, 1, 1]])) == [5 / 8]
    assert metrics.brier(positive, np.array([0.0, 1.0, 0.5, 0.5]), once) == [0.125]
    # Two bins: {0.1 (no), 0.1 (yes)}: |1 - 0.2| and {0.9 (no), 0.9 (yes)}: |1 - 1.8|.
    halves = metrics.expected_calibration_error(positive, np.array([0.1, 0.1, 0.9, 0.9]), once)
    assert halves == pytest.approx([(0.8 + 0.8) / 4])
    assert metrics.spearman(np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 9, 16]), once) == [1.0]
    few = np.array([[1, 1, 0], [2, 0, 1], [3, 0, 0], [1, 1, 1]])
    assert_equal(metrics.spearman(np.array([1.0, 2, 3]), np.array([2.0, 1, 0]), few), [np.nan, -1, np.nan, -1])
    weights = np.array([[1, 1, 1, 1], [0, 0, 0, 5], [1, 0, 0, 2], [0, 0, 0, 0]])
    assert_equal(metrics.median(np.array([1.0, 2, 3, 10]), weights), [2.5, 10, 10, np.nan])
    assert_equal(metrics.mean(np.array([1.0, 2, 3, 10]), weights), [4, 10, 7, np.nan])


def test_a_class_without_cases_has_no_recall_and_two_draws_do_not_mix():
    weights = np.array([[1, 1, 1], [0, 2, 0]])
    figures = metrics.class_figures(np.array([0, 0, 2]), np.array([0, 2, 2]), weights)
    assert_equal(figures["accuracy"], [2 / 3, 0])
    assert_equal(figures["recall_benign"], [0.5, 0])
    assert_equal(figures["recall_unsure"], [np.nan, np.nan])
    assert_equal(figures["f1_malignant"], [2 / 3, np.nan])
    assert_equal(figures["macro_f1"], [np.nan, np.nan])


@settings(deadline=None)
@given(draws(st.booleans(), PROBABILITIES), st.data())
def test_an_unknown_value_spoils_only_the_draws_that_hold_it(case, data):
    positive, probability, weights = case
    hole = data.draw(st.integers(0, len(positive) - 1))
    value = data.draw(st.sampled_from((np.nan, np.inf)))
    damaged = np.where(np.arange(len(positive)) == hole, value, probability)
    held = weights[:, hole] > 0
    for figure in (
        lambda p: metrics.mean(p, weights),
        lambda p: metrics.median(p, weights),
        lambda p: metrics.brier(positive, p, weights),
        lambda p: metrics.expected_calibration_error(positive, p, weights),
        lambda p: metrics.expected_calibration_error(p, np.full(len(p), 0.3), weights),
    ):
        assert_equal(figure(damaged), list(np.where(held, np.nan, figure(probability))))
    assume(np.isnan(value))
    for figure in (
        lambda p: metrics.auc(positive, p, weights),
        lambda p: metrics.spearman(positive, p, weights),
        lambda p: metrics.spearman(p, positive, weights),
    ):
        assert_equal(figure(damaged), list(np.where(held, np.nan, figure(probability))))


def test_endless_scores_rank_first_and_last():
    score = np.array([-np.inf, 0.0, 1.0, np.inf])
    assert metrics.auc(np.array([0, 0, 1, 1]), score, np.ones((1, 4))) == [1.0]
    assert metrics.spearman(score, np.arange(4), np.ones((1, 4))) == [1.0]


FIGURES = {
    "auc": lambda weights, n: metrics.auc(np.arange(n) % 2, np.arange(n) % 5, weights),
    "spearman": lambda weights, n: metrics.spearman(np.arange(n) % 7, np.arange(n) % 5, weights),
    "mean": lambda weights, n: metrics.mean(np.arange(n), weights),
    "median": lambda weights, n: metrics.median(np.arange(n) % 11, weights),
    "brier": lambda weights, n: metrics.brier(np.arange(n) % 2, np.full(n, 0.5), weights),
    "ece": lambda weights, n: metrics.expected_calibration_error(np.arange(n) % 2, np.full(n, 0.5), weights),
    "accuracy": lambda weights, n: metrics.class_figures(np.arange(n) % 3, np.arange(n) % 2, weights)["accuracy"],
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_samples_give_no_figure_and_no_draws_none(name):
    figure = FIGURES[name]
    assert np.isnan(figure(np.zeros((3, 0)), 0)).tolist() == [True] * 3
    assert np.isnan(figure(np.zeros((2, 9)), 9)).tolist() == [True] * 2
    assert figure(np.zeros((0, 9)), 9).shape == (0,)


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones((2, 8)), "do not fit"),
        (np.ones((2, 10)), "do not fit"),
        (np.ones(9), "do not fit"),
        (np.full((2, 9), -1.0), "below 0"),
        (np.full((2, 9), np.nan), "below 0 or NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused(name, weights, words):
    with pytest.raises(InputError, match=words):
        FIGURES[name](weights, 9)


def test_truth_that_is_no_yes_or_no_and_unknown_classes_are_refused():
    with pytest.raises(InputError, match="other than 0 and 1"):
        metrics.auc(np.array([0.0, 0.3, 1.0]), np.arange(3), np.ones((1, 3)))
    for label in ([0, 3], [-1, 0], [0.5, 1], [np.nan, 1]):
        with pytest.raises(InputError, match="none of 0 to 2"):
            metrics.class_figures(np.array(label), np.array([0, 1]), np.ones((1, 2)))
        with pytest.raises(InputError, match="none of 0 to 2"):
            metrics.class_figures(np.array([0, 1]), np.array(label), np.ones((1, 2)))


@pytest.mark.parametrize("name", ["auc", "spearman", "median"])
@pytest.mark.parametrize("cells", [1, 100, 333])
def test_blocks_of_draws_change_nothing(name, cells, monkeypatch):
    weights = patient_weights(np.arange(40) // 2, repeats=30)
    whole = FIGURES[name](weights, 40)
    assert len(np.unique(whole)) > 3
    monkeypatch.setattr(metrics, "CELLS_AT_ONCE", cells)
    assert FIGURES[name](weights, 40).tolist() == whole.tolist()


def test_chance_alone_leaves_a_calibration_error():
    rng = np.random.default_rng(3)
    probability = rng.uniform(size=400)
    by_chance = metrics.chance_calibration_error(probability)
    once = np.ones((1, 400))
    drawn = [
        metrics.expected_calibration_error(rng.random(400) < probability, probability, once)[0] for _ in range(200)
    ]
    assert by_chance == pytest.approx(np.mean(drawn), rel=0.1)
    assert by_chance < metrics.chance_calibration_error(probability[:40])
    assert metrics.chance_calibration_error(np.array([0.0, 1.0])) == 0
    assert np.isnan(metrics.chance_calibration_error(np.zeros(0)))
