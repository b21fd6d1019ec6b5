"""The rows: which terms count, and that nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from CLIPLungLib.ablation.rows import ROWS, WITH_TEXT, WITHOUT_TEXT, find_rows
from CLIPLungLib.errors import InputError
from CLIPLungLib.training import DEFAULT_CONFIG
from CLIPLungLib.training.config import TrainConfig

RECIPE = replace(TrainConfig.read(DEFAULT_CONFIG), conditioned_texts=3, background_patches=2)
# Settings that a row decides; all others are the recipe's.
DECIDED = ("losses", "conditioned_texts", "background_patches", "second_reader", "train_folds", "seed")
every_row = pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)


@every_row
def test_terms_keep_the_recipes_weight_or_lose_it_and_nothing_else_changes(row):
    config = row.config(RECIPE, 7, (0, 2))
    of_recipe = vars(RECIPE.losses)
    assert all(of_recipe.values())
    assert vars(config.losses) == {name: weight if name in row.terms else 0 for name, weight in of_recipe.items()}
    assert replace(config, **{name: getattr(RECIPE, name) for name in DECIDED}) == RECIPE
    assert (config.seed, config.train_folds, config.second_reader) == (7, (0, 2), False)
    assert TrainConfig.from_dict(config.to_dict()) == config


@every_row
def test_a_row_has_all_terms_of_the_row_below(row):
    assert set(row.terms) <= vars(RECIPE.losses).keys()
    if row.below:
        assert set(ROWS[row.below].terms) <= set(row.terms)
    assert row.below or row.terms == ("class_",)


def test_the_question_is_about_the_terms_with_texts():
    assert set(WITH_TEXT.terms) == vars(RECIPE.losses).keys()
    lost = set(WITH_TEXT.terms) - set(WITHOUT_TEXT.terms)
    assert lost == {"image_class", "image_attribute", "class_attribute", "attribute_rating"}
    assert [row.name for row in ROWS.values() if row.learns_signs] == [
        *("image-attribute", "all", "one-text", "eight-texts")
    ]
    assert [row.name for row in ROWS.values() if not row.measures] == ["cross-entropy"]


def test_texts_are_fixed_or_of_so_many_images_as_the_row_says():
    conditioned = {name: row.config(RECIPE, 0, (0,)).conditioned_texts for name, row in ROWS.items()}
    assert (conditioned.pop("one-text"), conditioned.pop("eight-texts")) == (0, 8)
    assert set(conditioned.values()) == {3}


def test_patches_without_a_nodule_come_with_the_outline_they_teach():
    background = {name: row.config(RECIPE, 0, (0,)).background_patches for name, row in ROWS.items()}
    assert background.pop("cross-entropy") == 0
    assert set(background.values()) == {2}


def test_rows_are_found_in_the_order_of_the_table():
    assert [row.name for row in find_rows(["all", "cross-entropy", "all"])] == ["cross-entropy", "all"]
    with pytest.raises(InputError, match=r"Row 'x' is not in the ablation\. Choose among cross-entropy, measuring"):
        find_rows(["all", "x"])
