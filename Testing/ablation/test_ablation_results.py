"""Figures of an ablation from answers whose right figures are known."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_reproduction import nodule
from helpers.tiny_training import tiny_patches

from CLIPLungLib.ablation.figures import DIAMETER_ERROR, GRADED_SIGNS, SPEARMAN_SIGNS
from CLIPLungLib.ablation.results import difference_name, results_of
from CLIPLungLib.ablation.rows import ROWS, WITH_TEXT, WITHOUT_TEXT
from CLIPLungLib.ablation.run import AblationData, Part
from CLIPLungLib.ablation.table import BEGIN, END, results_text, text_sentence, verdict, write_page_table
from CLIPLungLib.dataset.nodule_images import PATCH_KINDS
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.figures import AUC_ABOVE_3, AUC_STRICT, SPEARMAN_MALIGNANCY
from CLIPLungLib.training import DEFAULT_CONFIG
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.fold_answers import COLUMNS, FoldAnswers
from CLIPLungLib.vocabulary import ATTRIBUTE_OF_NAME, level_columns

RECIPE = TrainConfig.read(DEFAULT_CONFIG)
# Fold 2 judges: twelve nodules of six patients, of the three classes in turn. The last one has too few readers.
NODULES = [nodule(index, fold=index // 12, n_readers=1 if index == 35 else 4) for index in range(36)]
TESTED = [index for index, one in enumerate(NODULES) if one.fold == 2]
JUDGED = [index for index in TESTED if index != 35]
DATA = AblationData(Path("data"), NODULES, tiny_patches(), (2,))
CONTEXT_AUC = f"true_context_{AUC_ABOVE_3}"


def answers(nodules=TESTED, kinds=("volume", "cube", "crop"), **values) -> FoldAnswers:
    """For every nodule and kind: the readers' rating as score, their codes as levels, 2 mm too much in the outline."""
    nodule = np.repeat(nodules, len(kinds))
    own, count = [NODULES[index] for index in nodule], len(nodule)
    levels = np.zeros((count, *COLUMNS["level_probabilities"]))
    for place, one in enumerate(own):
        for name in ATTRIBUTE_OF_NAME:
            levels[place, level_columns(name).start + one.ratings[name][0] - 1] = 1
    unknown = {part.name: np.full((count, *COLUMNS.get(part.name, ())), np.nan) for part in fields(FoldAnswers)}
    known = {
        "nodule": nodule,
        "kind": np.tile([PATCH_KINDS.index(kind) for kind in kinds], len(nodules)),
        "fold": np.array([one.fold for one in own]),
        "refused": np.zeros(count, dtype=bool),
        "malignancy_score": np.array([one.malignancy for one in own]),
        "level_probabilities": levels,
        "diameter_mm": np.array([one.diameter_mm for one in own]) + 2,
    }
    return FoldAnswers(**unknown | known | values)


RIGHT = answers()
WRONG = replace(RIGHT, malignancy_score=-RIGHT.malignancy_score)


def part(name: str, seed: int = 0) -> Part:
    return Part(ROWS[name], seed)


def results(parts, **options):
    found = results_of(parts, DATA, RECIPE, **options)
    # It can be written, and read again as it was.
    assert json.loads(json.dumps(found, allow_nan=False)) == found | {"recipe": json.loads(json.dumps(found["recipe"]))}
    return found


def test_a_row_is_the_mean_of_its_seeds_over_the_nodules_with_enough_readers():
    found = results({part("all"): RIGHT, part("all", 1): WRONG})
    own = found["figures"]["all"]
    rated = [index for index in JUDGED if NODULES[index].malignancy != 3]
    assert found["judged"]["volumes"] == {"nodules": 11, "patients": 6}
    for key, single in ((AUC_ABOVE_3, (1, 0)), (AUC_STRICT, (1, 0)), (SPEARMAN_MALIGNANCY, (1, -1))):
        assert own[key]["seeds"] == pytest.approx(dict(zip(("0", "1"), single, strict=True)))
        assert own[key]["value"] == pytest.approx(np.mean(single))
        assert own[key]["n"] == (11 if key == SPEARMAN_MALIGNANCY else len(rated))
        # One seed is as much above the mean as the other is below, in every draw.
        assert own[key]["interval"] == pytest.approx([np.mean(single)] * 2)


def test_volumes_and_true_context_are_judged_apart_and_a_crop_counts_before_a_cube():
    score = RIGHT.malignancy_score * np.where(RIGHT.is_kind("crop"), -1, 1)
    own = results({part("all"): replace(RIGHT, malignancy_score=score)})["figures"]["all"]
    assert (own[AUC_ABOVE_3]["value"], own[CONTEXT_AUC]["value"]) == (1, 0)
    assert own[CONTEXT_AUC]["n"] == own[AUC_ABOVE_3]["n"]
    assert own[f"true_context_{SPEARMAN_MALIGNANCY}"]["value"] == pytest.approx(-1)


def test_signs_are_a_mean_over_those_that_have_degrees_and_differ():
    levels = RIGHT.level_probabilities.copy()
    columns = level_columns("margin")
    levels[:, columns] = levels[:, columns][:, ::-1]
    found = results({part("all"): replace(RIGHT, level_probabilities=levels), part("measuring"): RIGHT})
    assert found["signs"] == list(GRADED_SIGNS)
    assert set(ATTRIBUTE_OF_NAME) - set(GRADED_SIGNS) == {"internalStructure", "calcification"}
    assert found["figures"]["all"][SPEARMAN_SIGNS]["value"] == pytest.approx(
        (len(GRADED_SIGNS) - 2) / len(GRADED_SIGNS)
    )
    assert SPEARMAN_SIGNS not in found["figures"]["measuring"]


def test_a_sign_that_all_nodules_share_has_no_order():
    alike = [replace(one, ratings=one.ratings | {"texture": (5, 5, 5)}) for one in NODULES]
    found = results_of({part("all"): RIGHT}, replace(DATA, nodules=alike), RECIPE)
    assert found["signs"] == [name for name in GRADED_SIGNS if name != "texture"]
    assert found["figures"]["all"][SPEARMAN_SIGNS]["value"] == pytest.approx(1)


def test_diameters_are_those_of_the_outline_or_else_the_direct_estimate():
    # Four of eleven nodules have an outline; of the others the estimate is 1 mm too small.
    outlined = np.isin(RIGHT.nodule, JUDGED[:4])
    own = replace(
        RIGHT,
        diameter_mm=np.where(outlined, RIGHT.diameter_mm, np.nan),
        estimated_diameter_mm=RIGHT.diameter_mm - 3,
    )
    found = results({part("measuring"): own, part("all"): RIGHT, part("cross-entropy"): RIGHT})["figures"]
    assert found["measuring"][DIAMETER_ERROR]["value"] == pytest.approx(1)
    assert found["all"][DIAMETER_ERROR]["value"] == pytest.approx(2)
    assert found["all"][DIAMETER_ERROR]["n"] == 11
    assert DIAMETER_ERROR not in found["cross-entropy"]


def test_small_and_large_diameters_do_not_count():
    sizes = {JUDGED[0]: 4.9, JUDGED[1]: 20.1, JUDGED[2]: np.nan}
    nodules = [replace(one, diameter_mm=sizes.get(index, one.diameter_mm)) for index, one in enumerate(NODULES)]
    found = results_of({part("all"): RIGHT}, replace(DATA, nodules=nodules), RECIPE)
    assert found["figures"]["all"][DIAMETER_ERROR]["n"] == 8
    # Without a size there is no baseline for that nodule.
    assert (found["baseline"][SPEARMAN_MALIGNANCY]["n"], found["figures"]["all"][SPEARMAN_MALIGNANCY]["n"]) == (10, 11)


def test_the_readers_diameter_is_the_baseline_on_the_same_nodules():
    found = results({part("all"): WRONG})
    # The made-up classes differ in diameter without overlap.
    assert found["baseline"][AUC_STRICT]["value"] == found["baseline"][CONTEXT_AUC]["value"] == 1
    assert found["baseline"][AUC_STRICT]["n"] == found["figures"]["all"][AUC_STRICT]["n"]
    assert DIAMETER_ERROR not in found["baseline"]
    assert "| size only: readers' diameter |  | 1.000 (1.000 to 1.000) |" in results_text(found)


def noisy(seed: int) -> FoldAnswers:
    noise = np.random.default_rng(seed).normal(0, 1.5, RIGHT.nodule.size)
    return replace(RIGHT, malignancy_score=RIGHT.malignancy_score + noise)


def test_a_row_less_another_with_the_same_answers_is_exactly_0_and_not_so_with_others():
    same = {part(name, seed): noisy(seed) for name in ("measuring", "all") for seed in (0, 1)}
    less = results(same)["differences"][difference_name(WITH_TEXT, WITHOUT_TEXT)]["figures"]
    assert len(less) == 6
    for figure in less.values():
        assert (figure["value"], figure["interval"], figure["seeds"]) == (0, [0, 0], {"0": 0, "1": 0})
    other = results(same | {part("all", 1): noisy(2)})
    less = other["differences"][difference_name(WITH_TEXT, WITHOUT_TEXT)]["figures"][SPEARMAN_MALIGNANCY]
    one, two = (other["figures"][name][SPEARMAN_MALIGNANCY]["value"] for name in ("all", "measuring"))
    assert less["value"] == pytest.approx(one - two)
    assert less["interval"][0] < less["interval"][1]


def test_differences_are_over_the_seeds_that_both_rows_have():
    found = results({part("all"): RIGHT, part("all", 1): WRONG, part("measuring", 1): RIGHT})
    less = found["differences"][difference_name(WITH_TEXT, WITHOUT_TEXT)]["figures"][AUC_ABOVE_3]
    assert (less["value"], less["seeds"]) == (-1, {"1": -1})
    none = results({part("all"): RIGHT, part("measuring", 1): RIGHT})
    assert none["differences"] == {}
    assert "Not answered yet" in text_sentence(none)


def test_every_row_is_compared_with_the_one_below_and_with_cross_entropy():
    found = results({part(name): RIGHT for name in ROWS})
    compared = [(one["row"], one["other"]) for one in found["differences"].values()]
    assert compared[0] == ("all", "measuring")
    assert len(compared) == len(set(compared)) == 12
    assert {(row.name, row.below) for row in ROWS.values() if row.below} <= set(compared)
    assert {(name, "cross-entropy") for name in ROWS if name != "cross-entropy"} <= set(compared)
    assert found["missing"] == []
    assert "Not finished" not in results_text(found)


def test_missing_networks_are_named():
    found = results({part("all"): RIGHT}, planned=[part("measuring", 3)])
    assert found["seeds"] == [0, 3]
    assert len(found["missing"]) == 2 * len(ROWS) - 1
    assert {"measuring-seed0", "all-seed3"} <= set(found["missing"])
    assert "**Not finished**: 13 networks missing: cross-entropy-seed0, " in results_text(found)


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(InputError, match="No network of the ablation is finished"):
        results({})
    with pytest.raises(InputError, match=r"No nodule of the folds \[2\]"):
        results({part("all"): answers(kinds=("slice",))})
    fewer = answers(TESTED[1:])
    with pytest.raises(InputError, match="'all-seed1' answers for other nodules"):
        results({part("all"): RIGHT, part("all", 1): fewer})


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ([0.01, 0.2], "helps"),
        ([-0.2, -0.01], "hurts"),
        ([-0.1, 0.2], "does not show"),
        ([0.0, 0.2], "does not show"),
        (None, "does not show"),
    ],
)
def test_the_verdict_follows_from_the_interval(interval, expected):
    assert verdict({"value": 0.1, "interval": interval}) == expected


def test_the_answer_to_the_question_is_computed():
    helped = text_sentence(results({part("all"): RIGHT, part("measuring"): WRONG}))
    assert "over 1 seed: it helps the AUC (+1.000, +1.000 to +1.000), it helps the Spearman" in helped
    assert "for the signs there is nothing to compare" in helped
    assert "it hurts the AUC (-1.000" in text_sentence(results({part("all"): WRONG, part("measuring"): RIGHT}))
    assert "no effect is shown on the AUC" in text_sentence(results({part("all"): RIGHT, part("measuring"): RIGHT}))


def test_without_volumes_true_context_answers():
    crops, wrong = answers(kinds=("crop",)), answers(kinds=("crop",))
    wrong = replace(wrong, malignancy_score=-wrong.malignancy_score)
    found = results({part("all"): crops, part("measuring"): wrong})
    assert list(found["judged"]) == ["true_context"]
    assert "it helps the AUC (+1.000" in text_sentence(found)


def test_page_takes_text_between_its_marks(tmp_path):
    found = results({part("all"): RIGHT, part("all", 1): WRONG, part("measuring"): WRONG})
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    write_page_table(page, found)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(
        f"before\n{BEGIN}\nTrained on the folds 0, 1 for {RECIPE.epochs} epochs, evaluated on the folds 2: 11 nodules of 6 patients"
    )
    assert text.endswith(f"\n{END}\nafter\n")
    assert "stale" not in text
    assert "Seeds: 0, 1. Text encoder: minilm." in text
    assert "| `all`: + class-attribute: all terms | 2 | 0.500 (0.500 to 0.500) [1.000, 0.000] |" in text
    assert "| `all` less `measuring` | 1 | +1.000 (+1.000 to +1.000) |" in text
    page.write_text(f"{END}{BEGIN}", encoding="utf-8")
    with pytest.raises(InputError, match="once each"):
        write_page_table(page, found)
    with pytest.raises(InputError, match="cannot be read"):
        write_page_table(tmp_path / "none.md", found)
