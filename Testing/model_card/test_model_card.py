"""The model card and its plots, from made-up answers."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.bootstrap import Estimate
from CLIPLungLib.evaluation.metrics import auc
from CLIPLungLib.evaluation.robustness import Pairs, compare_pairs
from CLIPLungLib.lidc.citations import DATA_CITATION
from CLIPLungLib.model_card import plot_style
from CLIPLungLib.model_card.card import CARD_NAME, CardPredictions, checkpoint_facts, write_card
from CLIPLungLib.model_card.diameter_plot import diameter_figure
from CLIPLungLib.model_card.gallery import Case, case_figure, worst
from CLIPLungLib.model_card.interval_plots import Row, attributes_figure
from CLIPLungLib.model_card.reliability_plot import reliability_figure
from CLIPLungLib.model_card.robustness_table import robustness_table
from CLIPLungLib.model_card.roc_plot import roc_figure
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

RATING = np.array([1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 2.0])
PROBABILITY = np.array([0.05, 0.1, 0.15, 0.3, 0.5, 0.6, 0.8, 0.9, 0.95, 0.85])
SIZE_MM = np.array([4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 12.0, 15.0, 25.0, 10.0])
MEASURED_MM = SIZE_MM + np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 0.0, np.nan])
ONCE = np.ones((1, len(RATING)))
SCORE = np.log(PROBABILITY / (1 - PROBABILITY))
PREDICTIONS = CardPredictions(
    RATING, SCORE, PROBABILITY, SIZE_MM, MEASURED_MM, SIZE_MM / 30, {"model": (0.7, 1.0), "size": (0.6, 1.0)}
)


@pytest.fixture
def case(ball_ct) -> Case:
    nodule = Nodule(
        nodule_id="N-1",
        patient_id="P-1",
        fold=0,
        n_readers=4,
        diameter_mm=12.0,
        volume_mm3=904.8,
        malignancy=1.5,
        ratings=dict.fromkeys(ATTRIBUTE_NAMES, (1, 2)),
        point_ras=(10.0, -20.0, 30.0),
        images={},
        slice_index=None,
        slice_pixel_mm=0.8,
    )
    ball = replace(ball_ct, hu=(ball_ct.hu > 0).astype(np.float32))
    return Case(nodule, 0.91, ball_ct, np.array([10.0, -20.0, 30.0]), ball)


def pairs(reference, condition, rating) -> Pairs:
    count = len(reference)
    patients = np.arange(count).astype(str)
    return Pairs(
        np.array(reference), np.array(condition), np.zeros(count, bool), np.array(rating), patients, np.zeros(count), 2
    )


def robustness() -> dict:
    return {"click_5mm": compare_pairs(pairs(PROBABILITY, PROBABILITY[::-1], RATING))}


def write(folder, cases=None):
    return write_card(
        "nodules with >= 3 readers",
        {"weights": "abc"},
        PREDICTIONS,
        {"Malignancy": "| figure | value |\n|---|---|\n| AUC | 0.950 |"},
        folder,
        [Row("Margin", Estimate(0.6, (0.5, 0.7), 9), Estimate(0.7, (0.6, 0.8), 9))],
        robustness(),
        cases,
    )


@pytest.fixture(scope="module")
def card_folder(tmp_path_factory):
    """A card without a gallery."""
    return write(tmp_path_factory.mktemp("card")).parent


def test_card_tells_everything_and_every_picture_exists(card_folder):
    card = (card_folder / CARD_NAME).read_text(encoding="utf-8")
    for expected in (
        "Research use only",
        "not of pathology",
        "## Intended use",
        "## Not intended",
        DATA_CITATION,
        "nodules with >= 3 readers",
        "| AUC | 0.950 |",
        "click moved by 5 mm",
        "## Limits",
        "## How to reproduce",
    ):
        assert expected in card
    sources = [ElementTree.fromstring(line).get("src") for line in card.splitlines() if line.startswith("<img")]
    assert [source.split("/")[-1] for source in sources] == [
        f"{name}.png" for name in ("reliability", "roc", "rating", "attributes", "diameter", "robustness")
    ]
    for source in sources:
        assert (card_folder / source).read_bytes().startswith(b"\x89PNG")


def test_card_without_cases_has_no_picture_of_a_scan(card_folder):
    card = (card_folder / CARD_NAME).read_text(encoding="utf-8")
    assert "comes without them" in card
    assert not (card_folder / "gallery").exists()


def test_card_with_cases_shows_them(tmp_path, case):
    card = write(tmp_path, [case]).read_text(encoding="utf-8")
    assert "gallery/01-N-1.png" in card
    assert (tmp_path / "gallery" / "01-N-1.png").is_file()
    assert "comes without them" not in card


def test_same_answers_give_the_same_bytes(card_folder, tmp_path):
    first, second = card_folder, write(tmp_path).parent
    files = sorted(file.relative_to(first) for file in first.rglob("*.*"))
    assert len(files) == 7
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)


def test_answers_of_different_numbers_are_refused():
    with pytest.raises(InputError, match="same nodules"):
        replace(PREDICTIONS, measured_mm=MEASURED_MM[:-1])


def test_checkpoint_facts_are_readable(tiny_checkpoint_file):
    from CLIPLungLib.inference.checkpoint import load_checkpoint

    facts = checkpoint_facts(load_checkpoint(tiny_checkpoint_file))
    assert facts["patch"] == "9 x 32 x 32 voxels of 2 x 1 x 1 mm (planes, rows, columns)"
    assert facts["trained on"] == "nothing"


def test_wilson_interval_by_hand():
    low, high = plot_style.wilson(np.array([5.0, 0.0]), np.array([10.0, 10.0]))
    assert low == pytest.approx([0.2366, 0.0], abs=1e-3)
    assert high == pytest.approx([0.7634, 0.2775], abs=1e-3)


def test_reliability_points_are_the_shares_of_their_bins():
    positive = np.array([False, False, True, True, True, False])
    probability = np.array([0.11, 0.15, 0.19, 0.95, 0.97, 0.99])
    axes = reliability_figure(positive, probability).axes[0]
    x, y = axes.lines[-1].get_data()
    assert x == pytest.approx([0.15, 0.97])
    assert y == pytest.approx([1 / 3, 2 / 3])


def test_roc_rings_sit_at_sensitivity_and_specificity():
    decided = RATING != 3
    figure = roc_figure(
        RATING[decided] > 3, SCORE[decided], PROBABILITY[decided], SIZE_MM[decided], operating_points=(0.7,)
    )
    ring = figure.axes[0].lines[-1]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == pytest.approx((1 / 5, 3 / 4))


def test_roc_curve_and_its_figure_are_those_of_the_score():
    positive, swapped = RATING > 3, -SCORE
    figure = roc_figure(positive, swapped, PROBABILITY, SIZE_MM)
    label = next(text for text in (line.get_label() for line in figure.axes[0].lines) if text.startswith("Model"))
    assert label == f"Model: AUC {auc(positive, swapped, ONCE)[0]:.3f}"
    assert f"{auc(positive, PROBABILITY, ONCE)[0]:.3f}" not in label


def test_bland_altman_lines_are_bias_and_limits():
    right = diameter_figure(SIZE_MM, MEASURED_MM).axes[1]
    heights = [line.get_ydata()[0] for line in right.lines]
    # Differences of the nine measured: four times +1, four times -1, once 0: SD 1.
    assert heights == pytest.approx([0.0, -1.96, 1.96])


def test_attributes_are_ordered_and_undefined_ones_come_last():
    rows = [
        Row("a", Estimate(None, None, 0)),
        Row("b", Estimate(0.2, (0.1, 0.3), 9)),
        Row("c", Estimate(0.5, (0.4, 0.6), 9)),
    ]
    axes = attributes_figure(rows).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c", "b", "a"]


def test_worst_answers_are_confident_and_wrong():
    # 0.85 for a mean of 2 is wrong by 0.85; nothing else is on the wrong side, and a mean of 3 has no wrong side.
    assert worst(RATING, PROBABILITY, 5).tolist() == [9]
    assert worst([1, 5, 3], [0.6, 0.1, 1.0], 5).tolist() == [1, 0]


def test_case_shows_scan_outline_and_facts(case):
    figure = case_figure(case)
    picture = np.asarray(figure.axes[0].images[0].get_array())
    assert picture[190, 190] == pytest.approx([(40 + 1350) / 1500] * 3, abs=0.01)
    green = (picture[..., 1] - picture[..., 0]) > 0.3
    assert green.any()
    texts = [text.get_text() for text in figure.axes[2].texts]
    assert texts[0] == "p = 0.91"
    assert "Mean rating 1.50, 4 readers" in texts[1]


def test_robustness_table_says_when_an_auc_is_not_defined():
    row = robustness_table({"noise_10hu": compare_pairs(pairs([0.2], [0.4], [1.0]))}).splitlines()[-1]
    assert row == "| noise of 10 HU | 1 (1) | 2 | not defined | not defined | not defined | 0.200 | 0.200 | 0.0% |"
