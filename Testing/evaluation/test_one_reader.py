"""The model and one reader are judged by the same readers: the others of the nodule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.tiny_training import nodule

from CLIPLungLib.dataset.nodule_table import MALIGNANCY
from CLIPLungLib.evaluation.cross_fitting import Predictions
from CLIPLungLib.evaluation.one_reader import DIFFERENCE, MODEL, ONE_READER, beside_one_reader, readers_left_out

CODES = ((1, 2, 2), (2, 1, 3), (3, 3, 4, 5), (5, 4, 4), (4, 5, 3), (5, 5, 4, 4), (1, 1, 1), (2, 4))


def rated(codes: tuple[tuple[int, ...], ...]) -> list:
    return [
        replace(
            nodule(index),
            n_readers=len(own),
            malignancy=float(np.mean(own)),
            malignancy_ratings=own,
            ratings=nodule(index).ratings
            | {"margin": own, "calcification": tuple(6 if code > 2 else 3 for code in own)},
        )
        for index, own in enumerate(codes)
    ]


def predictions(score: np.ndarray) -> Predictions:
    nothing = np.full(len(score), 0.5)
    return Predictions(score, nothing, np.full((len(score), 3), 1 / 3), {"margin": -score})


def test_every_reader_is_left_out_once():
    left_out = readers_left_out(rated(((3, 4, 5), (1, 2))), "margin")
    # Two readers are too few: the mean of the others would be one person's word.
    assert left_out.code.tolist() == [3, 4, 5]
    assert left_out.others.tolist() == [4.5, 4.0, 3.5]
    assert left_out.place.tolist() == [0, 0, 0]
    assert readers_left_out(rated(((3, 4, 5),)), MALIGNANCY).code.tolist() == [3, 4, 5]


def test_both_are_held_against_the_mean_of_the_others_over_the_same_pairs():
    score = np.array([0.1, 0.4, 0.3, 0.9, 0.6, 0.7, 0.0, 5.0])
    found = beside_one_reader(rated(CODES), predictions(score), repeats=200)
    code, others, answer = [], [], []
    for own, said in zip(CODES[:-1], score[:-1], strict=True):
        for place, one in enumerate(own):
            code.append(one)
            others.append(np.mean(np.delete(own, place)))
            answer.append(said)
    from scipy.stats import spearmanr

    for side, values in ((ONE_READER, code), (MODEL, answer)):
        assert found[side]["spearman_malignancy"]["value"] == pytest.approx(spearmanr(values, others).statistic)
    assert found[MODEL]["spearman_margin"]["value"] == pytest.approx(-found[MODEL]["spearman_malignancy"]["value"])
    assert {own["spearman_malignancy"]["n"] for own in found.values()} == {7}
    decided = np.array(others) != 3
    event = (np.array(others) > 3)[decided]
    wins = np.subtract.outer(np.array(answer)[decided][event], np.array(answer)[decided][~event])
    auc = (np.sum(wins > 0) + np.sum(wins == 0) / 2) / wins.size
    assert found[MODEL]["auc_above_3"]["value"] == pytest.approx(auc)


def test_the_difference_is_paired():
    nodules, everything = rated(CODES[:-1]), np.zeros(7)
    # A model that says what the readers of a nodule say on the whole differs from one reader alike in every draw.
    means = np.array([np.mean(codes) for codes in CODES[:-1]])
    found = beside_one_reader(nodules, predictions(means), repeats=300)
    sides = [found[side]["spearman_malignancy"] for side in (MODEL, ONE_READER, DIFFERENCE)]
    assert sides[2]["value"] == pytest.approx(sides[0]["value"] - sides[1]["value"])
    widths = [side["interval"][1] - side["interval"][0] for side in sides]
    assert widths[2] < widths[1]
    # A constant answer has no rank, so no difference either.
    assert beside_one_reader(nodules, predictions(everything), repeats=20)[DIFFERENCE]["spearman_malignancy"] == {
        "value": None,
        "interval": None,
        "n": 7,
    }


def test_without_three_readers_nothing_stands_beside():
    found = beside_one_reader(rated(((3, 4), (1,))), predictions(np.array([0.1, 0.2])), repeats=5)
    assert found == {ONE_READER: {}, MODEL: {}, DIFFERENCE: {}}


def test_on_calcification_the_model_says_yes_or_no_as_a_reader_does():
    nodules = rated(CODES[:-1])
    sure = np.array([float(np.mean(codes) > 2) for codes in CODES[:-1]])
    # Probabilities on the same side of a half, in an order that means nothing.
    wavering = np.where(sure > 0.5, 0.6 + 0.05 * np.arange(7), 0.4 - 0.05 * np.arange(7))
    figures = []
    for answers in (sure, wavering):
        signs = {"calcification_absent": answers}
        found = beside_one_reader(nodules, replace(predictions(sure), signs=signs), repeats=20)
        figures.append(found[MODEL]["spearman_calcification_absent"]["value"])
    assert figures[0] == figures[1]
    assert figures[0] > 0.8
