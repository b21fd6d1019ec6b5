"""An ablation, from data folder to predictions: one network per row and seed, trained on all folds but the test folds.

A part is finished when its predictions are written; a stopped training is resumed. Several processes can share a folder when each
takes its own rows or seeds.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from CLIPLungLib.ablation.rows import ROWS, Row
from CLIPLungLib.dataset.nodule_images import NoduleImage, nodule_images
from CLIPLungLib.dataset.nodule_table import Nodule, fewest_readers, is_trusted
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.checkpoint import load_checkpoint, save_checkpoint
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.model.text_encoder import TextEncoder
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.cross_validation import CHECKPOINT_NAME, trained_checkpoint
from CLIPLungLib.training.data_source import DataSource
from CLIPLungLib.training.fold_answers import ANSWERS_NAME, FoldAnswers, answer_images
from CLIPLungLib.training.run_origin import STATE_NAME, RunOrigin
from CLIPLungLib.training.trainer import Trainer

logger = logging.getLogger(__name__)
# Where a nodule is judged: a single slice or a place without a nodule would take most of the time.
JUDGED_KINDS = ("volume", "cube", "crop")
# (epochs done, epochs in all, name of the part)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Part:
    """One network: a row and a seed."""

    row: Row
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.row.name}-seed{self.seed}"


def parts_of(rows: Sequence[Row], seeds: Sequence[int]) -> list[Part]:
    """All of these rows by all of these seeds: seed after seed, so that what is compared becomes ready together.

    Raises:
        InputError: a seed below 0.
    """
    for seed in seeds:
        if seed < 0:
            raise InputError(f"A seed must be a whole number of at least 0, not {seed}. Choose others with --seeds.")
    return [Part(row, seed) for seed in dict.fromkeys(seeds) for row in rows]


@dataclass(frozen=True, eq=False)
class AblationData:
    """What all parts share.

    Attributes:
        folder: of the table and its images.
        nodules: all rows of the table.
        patches: prepared from their images.
        tested_folds: the patients that judge; all other folds train.
    """

    folder: Path
    nodules: Sequence[Nodule]
    patches: TrainingPatches
    tested_folds: tuple[int, ...]

    @property
    def train_folds(self) -> tuple[int, ...]:
        """The folds to learn from.

        Raises:
            InputError: a tested fold is not in the table, or none is left to learn from.
        """
        there = {nodule.fold for nodule in self.nodules}
        unknown = sorted(set(self.tested_folds) - there)
        left = tuple(sorted(there - set(self.tested_folds)))
        if unknown or not left or not self.tested_folds:
            raise InputError(
                f"The folds {list(self.tested_folds)} cannot judge: the table has {sorted(there)}, and some must be left to learn from. "
                "Choose others with --test-folds."
            )
        return left

    def source(self) -> DataSource:
        """Name and fingerprint; reads all patches."""
        return DataSource.of(self.folder, self.nodules, self.patches)

    def images(self) -> Iterator[NoduleImage]:
        """The test images: nodules of the test folds with enough readers."""
        readers = fewest_readers(self.nodules)
        chosen = [
            index
            for index, nodule in enumerate(self.nodules)
            if nodule.fold in self.tested_folds and is_trusted(nodule, readers)
        ]
        return (image for image in nodule_images(self.folder, self.nodules, chosen) if image.kind in JUDGED_KINDS)


def run_ablation(
    recipe: TrainConfig,
    data: AblationData,
    parts: Sequence[Part],
    output: Path,
    text_encoder: TextEncoder | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[Part, FoldAnswers]:
    """Train and evaluate the missing parts.

    Args:
        recipe: with all terms; its folds and seed do not count.
        data: to learn from and to judge by.
        parts: the networks.
        output: folder of the run; gets a folder for each part with its checkpoint, its log and its answers.
        text_encoder: built from the recipe unless given.
        device: where to compute.
        progress: called after every epoch.

    Returns:
        The answers of every part.

    Raises:
        InputError: folds that cannot judge, or a folder of a run with other settings or data.
    """
    source = data.source()
    configs = {part: part.row.config(recipe, part.seed, data.train_folds) for part in parts}
    for part, config in configs.items():
        _require_same(output / part.name, RunOrigin(config, source.sha256))
    found = {}
    for place, (part, config) in enumerate(configs.items()):
        folder = output / part.name
        if not (folder / ANSWERS_NAME).is_file():

            def after_epoch(done: int, total: int, part: Part = part, before: int = place) -> None:
                if progress:
                    progress(before * total + done, len(parts) * total, part.name)

            trainer = Trainer(config, data.patches, data.nodules, folder, device, text_encoder)
            trainer.run(after_epoch)
            save_checkpoint(folder / CHECKPOINT_NAME, trained_checkpoint(trainer, None, source, second_reader=None))
            classifier = NoduleClassifier(load_checkpoint(folder / CHECKPOINT_NAME), device)
            answer_images(classifier, data.images(), data.nodules).save(folder / ANSWERS_NAME)
            logger.info("done: %s", part.name)
        found[part] = FoldAnswers.load(folder / ANSWERS_NAME)
    return found


def read_parts(recipe: TrainConfig, data: AblationData, output: Path) -> dict[Part, FoldAnswers]:
    """The predictions of every finished part in a folder, with the rows in the order of the table.

    Args:
        recipe: with all terms; its folds and seed do not count.
        data: to learn from and to judge by.
        output: folder of the run.

    Raises:
        InputError: a part has other settings or data, or its answers cannot be read.
    """
    finished = [part for part in _named_parts(output) if (output / part.name / ANSWERS_NAME).is_file()]
    sha256 = data.source().sha256
    for part in finished:
        config = part.row.config(recipe, part.seed, data.train_folds)
        _require_same(output / part.name, RunOrigin(config, sha256))
    return {part: FoldAnswers.load(output / part.name / ANSWERS_NAME) for part in finished}


def _named_parts(output: Path) -> list[Part]:
    """The parts that have a folder."""
    names = "|".join(map(re.escape, ROWS))
    matches = [re.fullmatch(rf"({names})-seed(0|[1-9]\d*)", folder.name) for folder in output.glob("*-seed*")]
    found = [Part(ROWS[match[1]], int(match[2])) for match in matches if match]
    return sorted(found, key=lambda part: (list(ROWS).index(part.row.name), part.seed))


def _require_same(folder: Path, origin: RunOrigin) -> None:
    if any((folder / name).is_file() for name in (STATE_NAME, ANSWERS_NAME)):
        origin.require_same(folder)
