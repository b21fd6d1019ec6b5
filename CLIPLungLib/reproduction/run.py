"""A reproduction, from data folder to results: trains the missing parts, and keeps the others."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.device import choose_device
from CLIPLungLib.errors import InputError
from CLIPLungLib.model.text_encoder import TextEncoder
from CLIPLungLib.reproduction.nodule_set import NoduleSet, read_nodule_set
from CLIPLungLib.reproduction.parts import Part, PartAnswers, read_part, require_one_text_encoder
from CLIPLungLib.reproduction.protocol import DEFAULT_ROWS, ROWS, SETTINGS, SPLITS, Row, Setting, Task
from CLIPLungLib.reproduction.results import Answers, results_of
from CLIPLungLib.reproduction.settings import PublishedSettings
from CLIPLungLib.reproduction.table import results_text
from CLIPLungLib.reproduction.training import class_logits, train_network
from CLIPLungLib.training.log import write_row

logger = logging.getLogger(__name__)
RESULTS_NAME, TABLE_NAME = "results.json", "table.md"
# (epochs done, epochs in all, name of the part)
Progress = Callable[[int, int, str], None]


def reproduce(
    settings: PublishedSettings,
    setting: Setting,
    data_folder: Path,
    run: Path,
    text_encoder: TextEncoder | None,
    rows: Sequence[Row] = tuple(map(ROWS.__getitem__, DEFAULT_ROWS)),
    splits: Sequence[str] = SPLITS,
    folds: Sequence[int] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train every missing part of a setting, then evaluate all parts in the folder.

    Args:
        run: folder of the run; other settings may share it. Gets a file per part, results and table.
        text_encoder: needed when one of the rows has texts.
        rows, splits, folds: what to train; all folds without a choice.
        device: where to compute.
        progress: called after every epoch.

    Returns:
        The results, as written to RESULTS_NAME.

    Raises:
        InputError: data that cannot be used, folds that are not there, a folder of a run with other settings, or one that
            cannot be written.
    """
    where = choose_device(device)
    nodules = read_nodule_set(data_folder, settings)
    nodules.require_classes(setting.task)
    fingerprint = nodules.fingerprint(settings)
    there = _parts_there(run, nodules, fingerprint)
    name = text_encoder.name if text_encoder is not None else ""
    require_one_text_encoder(((part, found) for part, found in there.items() if part.row in rows), name)
    planned = _planned(setting.task, nodules, rows, splits, folds)
    total = len(planned) * settings.epochs
    for place, part in enumerate(planned):
        tested = nodules.tested(part.task, part.split, part.fold)
        # Another process may have made it since.
        if read_part(part, run, tested, fingerprint) is not None:
            continue

        def after_epoch(epoch: int, means: dict[str, float], part: Part = part, before: int = place) -> None:
            write_row(part.log(run), epoch, means)
            if progress is not None:
                progress(before * settings.epochs + epoch, total, part.name)

        learned = nodules.learned(part.task, part.split, part.fold)
        network = train_network(settings, nodules, learned, part.task, part.row, text_encoder, where, after_epoch)
        logits = class_logits(network, settings, nodules, tested)
        PartAnswers(logits, tested, fingerprint, name if part.row.has_texts else "").save(part.file(run))
        logger.info("done: %s", part.name)
    answers = Answers(nodules, _parts_there(run, nodules, fingerprint))
    results = results_of(settings, answers, [part.name for part in planned])
    _write(run, results)
    return results


def _planned(
    task: Task, nodules: NoduleSet, rows: Sequence[Row], splits: Sequence[str], folds: Sequence[int] | None
) -> list[Part]:
    """The parts asked for, fold by fold, so that rows can be compared early."""
    unknown = sorted(set(folds or ()) - set(nodules.folds))
    if unknown:
        raise InputError(
            f"There is no fold {unknown[0]} in the data. Choose among {', '.join(map(str, nodules.folds))}."
        )
    chosen = nodules.folds if folds is None else [fold for fold in nodules.folds if fold in folds]
    return [Part(task, split, row, fold) for fold in chosen for split in splits for row in rows]


def _parts_there(run: Path, nodules: NoduleSet, fingerprint: bytes) -> dict[Part, PartAnswers]:
    tasks = dict.fromkeys(setting.task for setting in SETTINGS.values())
    everything = (part for task in tasks for part in _planned(task, nodules, list(ROWS.values()), SPLITS, None))
    found = {
        part: read_part(part, run, nodules.tested(part.task, part.split, part.fold), fingerprint) for part in everything
    }
    return {part: answers for part, answers in found.items() if answers is not None}


def _write(run: Path, results: dict[str, Any]) -> None:
    with writing(run / RESULTS_NAME) as temporary:
        temporary.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with writing(run / TABLE_NAME) as temporary:
        temporary.write_text(results_text(results) + "\n", encoding="utf-8")
