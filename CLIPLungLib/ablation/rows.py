"""The rows of the ablation: which terms of a recipe count in each, and how many images a step have texts of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from CLIPLungLib.errors import InputError
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.objective import LossWeights

CROSS_ENTROPY = ("class_",)
MEASURING = (*CROSS_ENTROPY, "rating", "diameter", "gate", "outline")
IMAGE_CLASS = (*MEASURING, "image_class")
# The distance of levels is read from the same texts.
IMAGE_ATTRIBUTE = (*IMAGE_CLASS, "image_attribute", "attribute_rating")
ALL_TERMS = (*IMAGE_ATTRIBUTE, "class_attribute")


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: in names of files and on the command line.
        label: in tables.
        terms: names of LossWeights that keep the recipe's weight; all others are 0.
        conditioned_texts: images per batch with texts of their own; None leaves the recipe's number.
        below: name of the row it is compared with; empty for the first.
    """

    name: str
    label: str
    terms: tuple[str, ...]
    below: str
    conditioned_texts: int | None = None

    @property
    def learns_signs(self) -> bool:
        """Whether the similarities to the texts of signs mean anything."""
        return "image_attribute" in self.terms

    @property
    def measures(self) -> bool:
        """Whether the network has learned sizes."""
        return "diameter" in self.terms

    def config(self, recipe: TrainConfig, seed: int, train_folds: tuple[int, ...]) -> TrainConfig:
        """The recipe with this row's terms, for the network alone.

        Args:
            recipe: with all terms.
            seed: of weights, order and augmentation.
            train_folds: the folds to learn from.
        """
        weights = {f.name: getattr(recipe.losses, f.name) * (f.name in self.terms) for f in fields(LossWeights)}
        conditioned = recipe.conditioned_texts if self.conditioned_texts is None else self.conditioned_texts
        return replace(
            recipe,
            losses=LossWeights(**weights),
            conditioned_texts=conditioned,
            seed=seed,
            train_folds=train_folds,
            # It learns from no loss term, and its share in an answer would hide what a term does to the network.
            second_reader=False,
            # Without an outline to learn, patches without a nodule teach nothing.
            background_patches=recipe.background_patches if "outline" in self.terms else 0,
        )


ROWS = {
    row.name: row
    for row in (
        Row("cross-entropy", "cross entropy alone", CROSS_ENTROPY, ""),
        Row("measuring", "+ rating, diameter, gate and outline", MEASURING, "cross-entropy"),
        Row("image-class", "+ image-class", IMAGE_CLASS, "measuring"),
        Row("image-attribute", "+ image-attribute", IMAGE_ATTRIBUTE, "image-class"),
        Row("all", "+ class-attribute: all terms", ALL_TERMS, "image-attribute"),
        Row("one-text", "all, with one text for all images", ALL_TERMS, "all", 0),
        Row("eight-texts", "all, with texts of their own for 8 images", ALL_TERMS, "all", 8),
    )
}
# The question "does the text help?": all terms against all that need no text.
WITH_TEXT, WITHOUT_TEXT = ROWS["all"], ROWS["measuring"]


def find_rows(names: Sequence[str]) -> list[Row]:
    """Rows by their names, in the order of the table.

    Raises:
        InputError: there is no such row.
    """
    for name in names:
        if name not in ROWS:
            raise InputError(f"Row '{name}' is not in the ablation. Choose among {', '.join(ROWS)}.")
    return [row for row in ROWS.values() if row.name in names]
