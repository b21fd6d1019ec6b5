"""The parts of a run: for each task, split, row and fold the logits of the left-out nodules, in a file of its own.

A part is there whole or not at all, so a run that was stopped goes on with the next part, and several processes can share a folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.atomic_write import remove_leftovers, writing
from CLIPLungLib.dataset.array_file import read_arrays
from CLIPLungLib.errors import InputError
from CLIPLungLib.reproduction.protocol import Row, Task

PARTS, LOGS = "parts", "logs"
ARRAYS = ("logits", "nodule", "fingerprint", "text_encoder")


@dataclass(frozen=True)
class Part:
    """One training: all folds but one."""

    task: Task
    split: str
    row: Row
    fold: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.task.name}-by-{self.split}-{self.row.name}-fold{self.fold}"

    def file(self, run: Path) -> Path:
        """The file of its predictions."""
        return run / PARTS / f"{self.name}.npz"

    def log(self, run: Path) -> Path:
        """Where its epochs are recorded."""
        return run / LOGS / f"{self.name}.csv"


@dataclass(frozen=True, eq=False)
class PartAnswers:
    """Predictions of a network for its held-out nodules.

    Attributes:
        logits: (N, K) float32.
        nodule: (N,) indices into the nodule set.
        fingerprint: of settings and data.
        text_encoder: name of the one it was trained with; empty without texts.
    """

    logits: np.ndarray
    nodule: np.ndarray
    fingerprint: bytes
    text_encoder: str

    def save(self, file: Path) -> None:
        """Write at once.

        Raises:
            InputError: it cannot be written.
        """
        if file.parent.is_dir():
            remove_leftovers(file)
        text = np.frombuffer(self.text_encoder.encode(), np.uint8)
        fingerprint = np.frombuffer(self.fingerprint, np.uint8)
        with writing(file) as temporary, temporary.open("wb") as stream:
            np.savez(stream, logits=self.logits, nodule=self.nodule, fingerprint=fingerprint, text_encoder=text)


def read_part(part: Part, run: Path, tested: np.ndarray, fingerprint: bytes) -> PartAnswers | None:
    """The predictions of a part; None where they are missing or damaged, so that they are made anew.

    Args:
        run: folder of the run.
        tested: (N,) the nodules of the part.
        fingerprint: of the settings and data asked for.

    Raises:
        InputError: they were made with other settings or data.
    """
    try:
        arrays = read_arrays(part.file(run), ARRAYS)
        found = PartAnswers(
            arrays["logits"],
            arrays["nodule"],
            arrays["fingerprint"].tobytes(),
            arrays["text_encoder"].tobytes().decode(),
        )
    except (OSError, ValueError):
        return None
    if found.fingerprint != fingerprint:
        raise InputError(
            f"{part.file(run)} was made with other settings or other data. Choose another folder for --output, or remove that one."
        )
    is_whole = found.logits.shape == (len(tested), len(part.task.classes)) and np.array_equal(found.nodule, tested)
    return found if is_whole and np.isfinite(found.logits).all() else None


def require_one_text_encoder(answers: Iterable[tuple[Part, PartAnswers]], text_encoder: str) -> None:
    """A row's folds must have been trained with one text encoder.

    Raises:
        InputError: one was trained with another.
    """
    for part, found in answers:
        if part.row.has_texts and found.text_encoder != text_encoder:
            raise InputError(
                f"The run holds '{part.name}' trained with the text encoder {found.text_encoder}, not {text_encoder}. "
                "Choose another folder for --output."
            )
