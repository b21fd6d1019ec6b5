"""Raw out-of-fold predictions of a fold's network, end to end, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.calibration.double_reading import joint_diameter_mm, joint_level, no_second_readings
from CLIPLungLib.dataset.array_file import read_arrays
from CLIPLungLib.dataset.insertion import read_hosts
from CLIPLungLib.dataset.nodule_images import PATCH_KINDS, NoduleImage, nodule_images
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.patch import Patch, extract_patch
from CLIPLungLib.inference.classifier import PATCHES_PER_BATCH, NoduleClassifier
from CLIPLungLib.inference.readout import Reading
from CLIPLungLib.model.second_outputs import SECOND_OUTPUTS
from CLIPLungLib.vocabulary import LEVEL_COUNT, level_columns

ANSWERS_NAME = "answers.npz"
# Arrays of several numbers for every image.
COLUMNS = {"level_probabilities": (LEVEL_COUNT,), "second": (len(SECOND_OUTPUTS),)}


@dataclass(frozen=True, eq=False)
class FoldAnswers:
    """Out-of-fold predictions for V images, NaN where the click was refused.

    Attributes:
        nodule: (V,) index into the table.
        kind: (V,) index into PATCH_KINDS.
        fold: (V,) held-out fold of the network, which is the patient's.
        refused: (V,) bool.
        malignancy_score: (V,) uncalibrated; of the network and the second reader, where there is one.
        level_probabilities: (V, M) of every attribute level.
        estimated_diameter_mm: (V,) direct estimate; of both.
        diameter_mm, short_diameter_mm, volume_mm3: (V,) of the outline, uncalibrated; NaN where nothing was outlined.
        presence, distance: (V,) criteria of the out-of-distribution warning; NaN for a network that draws no outline.
        second: (V, O) outputs of the second reader, see SECOND_OUTPUTS; NaN without one.
    """

    nodule: np.ndarray
    kind: np.ndarray
    fold: np.ndarray
    refused: np.ndarray
    malignancy_score: np.ndarray
    level_probabilities: np.ndarray
    estimated_diameter_mm: np.ndarray
    diameter_mm: np.ndarray
    short_diameter_mm: np.ndarray
    volume_mm3: np.ndarray
    presence: np.ndarray
    distance: np.ndarray
    second: np.ndarray

    def save(self, file: Path) -> None:
        """Write as .npz without pickled objects, atomically; numbers in single precision, as the network computes them."""
        arrays: dict[str, Any] = {name: _as_float(values, np.float32) for name, values in vars(self).items()}
        with writing(file) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)

    @classmethod
    def load(cls, file: Path) -> FoldAnswers:
        """Read what `save` wrote.

        Raises:
            InputError: missing or damaged.
        """
        try:
            arrays = read_arrays(Path(file), [part.name for part in fields(cls)])
            answers = cls(**{name: _as_float(values, np.float64) for name, values in arrays.items()})
            answers.require_consistent()
        except (OSError, ValueError) as error:
            raise InputError(
                f"{file} cannot be read: that cross-validation is not finished, or the file is damaged. Run 'cliplung crossvalidate' again."
            ) from error
        return answers

    def require_consistent(self) -> None:
        """Raise ValueError unless all arrays have the same length, their types of number, and valid indices."""
        for part in fields(self):
            values = getattr(self, part.name)
            if values.shape != (self.nodule.size, *COLUMNS.get(part.name, ())):
                raise ValueError(f"{part.name} has the shape {values.shape}")
        whole = (self.nodule, self.kind, self.fold)
        if self.nodule.size and (
            self.refused.dtype.kind != "b" or any(values.dtype.kind not in "iu" for values in whole)
        ):
            raise ValueError("its arrays hold other numbers")
        if any((values < 0).any() for values in whole) or (self.kind >= len(PATCH_KINDS)).any():
            raise ValueError("its indices lead nowhere")

    def of(self, chosen: np.ndarray) -> FoldAnswers:
        """The predictions at these places (indices or mask)."""
        return FoldAnswers(**{name: values[chosen] for name, values in vars(self).items()})

    def is_kind(self, *kinds: str) -> np.ndarray:
        """(V,) bool: predictions for images of these kinds."""
        return np.isin(self.kind, [PATCH_KINDS.index(kind) for kind in kinds])

    def level(self, attribute: str) -> np.ndarray:
        """(V,) expected code of an attribute, from the texts and, where there is one, the second reader."""
        columns = level_columns(attribute)
        # Rounded, so that what is equal is ranked as equal on every processor.
        of_texts = (self.level_probabilities[:, columns] @ np.arange(1, columns.stop - columns.start + 1)).round(6)
        return joint_level(attribute, of_texts, self.second)

    @property
    def measured_diameter_mm(self) -> np.ndarray:
        """(V,) uncalibrated, see `joint_diameter_mm`; NaN where nothing was outlined."""
        return joint_diameter_mm(self.diameter_mm, self.estimated_diameter_mm, self.second)

    def level_probability(self, attribute: str, code: int) -> np.ndarray:
        """(V,) probability of one code of an attribute."""
        return self.level_probabilities[:, level_columns(attribute).start + code - 1]


def _as_float(values: np.ndarray, precision: type[np.floating]) -> np.ndarray:
    """Numbers with decimals in this precision; indices and flags as they are."""
    return values.astype(precision) if values.dtype.kind == "f" else values


def join_answers(parts: Sequence[FoldAnswers]) -> FoldAnswers:
    """Concatenate predictions."""
    return FoldAnswers(
        **{field.name: np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(FoldAnswers)}
    )


def answer_fold(
    classifier: NoduleClassifier,
    data_folder: Path,
    nodules: Sequence[Nodule],
    fold: int,
    progress: Callable[[int], None] | None = None,
) -> FoldAnswers:
    """Predict every image of every nodule of a fold, also the volumes inserted into other lung.

    Args:
        classifier: with the network that has not seen the fold; calibrations are not used.
        data_folder: of the table and its images.
        nodules: all rows of the table.
        fold: which patients.
        progress: called with the number of images answered so far.
    """
    chosen = [index for index, nodule in enumerate(nodules) if nodule.fold == fold]
    return answer_images(
        classifier, nodule_images(data_folder, nodules, chosen, read_hosts(data_folder)), nodules, progress
    )


def answer_images(
    classifier: NoduleClassifier,
    images: Iterator[NoduleImage],
    nodules: Sequence[Nodule],
    progress: Callable[[int], None] | None = None,
) -> FoldAnswers:
    """Predict some images, in their order.

    Args:
        classifier: with a network that has not seen their patients; calibrations are not used.
        images: of `nodule_images`.
        nodules: all rows of the table.
        progress: called with the number of images answered so far.
    """
    rows: list[tuple[NoduleImage, Reading | None]] = []
    for batch in batched(images, PATCHES_PER_BATCH):
        rows += _answered(classifier, batch)
        if progress:
            progress(len(rows))
    return _as_arrays([(image.nodule, image.kind, reading) for image, reading in rows], nodules)


def batched(images: Iterator[NoduleImage], size: int) -> Iterator[list[NoduleImage]]:
    """Images in lists of so many; the last may be shorter."""
    while batch := list(islice(images, size)):
        yield batch


def _answered(classifier: NoduleClassifier, images: Iterable[NoduleImage]) -> list[tuple[NoduleImage, Reading | None]]:
    """A reading for every image; None where the click is refused."""
    patches: list[tuple[NoduleImage, Patch | None]] = []
    for image in images:
        try:
            patches.append((image, extract_patch(image.ct, image.point_ras, classifier.checkpoint.patch)))
        except InputError:
            patches.append((image, None))
    accepted = [(image, patch) for image, patch in patches if patch is not None]
    found = iter(classifier.read_patches([patch for _, patch in accepted], [image.ct for image, _ in accepted]))
    return [(image, None if patch is None else next(found)) for image, patch in patches]


def _as_arrays(rows: Sequence[tuple[int, str, Reading | None]], nodules: Sequence[Nodule]) -> FoldAnswers:
    readings = [reading for *_, reading in rows]

    def column(value: Callable[[Reading], float]) -> np.ndarray:
        return np.array([np.nan if reading is None else value(reading) for reading in readings], dtype=np.float64)

    def size(name: str) -> np.ndarray:
        return column(lambda reading: getattr(reading.measurement, name) if reading.measurement else np.nan)

    second = [no_second_readings(1)[0] if reading is None else reading.second for reading in readings]
    levels = [np.full(LEVEL_COUNT, np.nan) if reading is None else reading.level_probabilities for reading in readings]
    return FoldAnswers(
        nodule=np.array([nodule for nodule, *_ in rows], dtype=np.int64),
        kind=np.array([PATCH_KINDS.index(kind) for _, kind, _ in rows], dtype=np.int64),
        fold=np.array([nodules[nodule].fold for nodule, *_ in rows], dtype=np.int64),
        refused=np.array([reading is None for reading in readings]),
        malignancy_score=column(lambda reading: reading.malignancy_score),
        level_probabilities=np.reshape(levels, (len(rows), LEVEL_COUNT)),
        estimated_diameter_mm=column(lambda reading: reading.estimated_diameter_mm),
        diameter_mm=size("diameter_mm"),
        short_diameter_mm=size("short_diameter_mm"),
        volume_mm3=size("volume_mm3"),
        presence=column(lambda reading: reading.presence),
        distance=column(lambda reading: reading.distance),
        second=np.reshape(second, (len(rows), len(SECOND_OUTPUTS))),
    )
