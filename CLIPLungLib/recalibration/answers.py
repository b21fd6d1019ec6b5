"""Uncalibrated predictions for local cases, end to end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from CLIPLungLib.dataset.case_table import Case
from CLIPLungLib.errors import CLIPLungError, InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import Patch, extract_patch
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.classifier import PATCHES_PER_BATCH, NoduleClassifier
from CLIPLungLib.inference.readout import Reading
from CLIPLungLib.inference.row_image import RowImage, image_of, read_image_of_row

logger = logging.getLogger(__name__)
Progress = Callable[[int, int, str], None]
Answer = Reading | str
"""A reading, or the reason why there is none."""


@dataclass(frozen=True, eq=False)
class LocalAnswers:
    """Cases with a prediction, and those left out.

    Attributes:
        cases: N cases.
        malignancy_score: (N,) uncalibrated.
        diameter_mm: (N,) uncalibrated, see `joint_diameter_mm`; NaN where nothing was outlined.
        volume_mm3: (N,) of the outline, likewise.
        distance, presence: (N,) criteria of the out-of-distribution warning.
        left_out: id -> why there is no prediction.
    """

    cases: tuple[Case, ...]
    malignancy_score: np.ndarray
    diameter_mm: np.ndarray
    volume_mm3: np.ndarray
    distance: np.ndarray
    presence: np.ndarray
    left_out: dict[str, str]


def answer_cases(cases: Sequence[Case], classifier: NoduleClassifier, progress: Progress | None = None) -> LocalAnswers:
    """Predict every case; each image is read once, and one is in memory at a time.

    Args:
        cases: at least one.
        classifier: with the network to recalibrate.
        progress: called as (cases done, cases in all, id).

    Raises:
        InputError: no case has an answer.
    """
    answered: list[tuple[Case, Reading]] = []
    left_out: dict[str, str] = {}
    for done, (case, answer) in enumerate(_answers(cases, classifier), start=1):
        if isinstance(answer, str):
            left_out[case.row.row_id] = answer
        else:
            answered.append((case, answer))
        if progress:
            progress(done, len(cases), case.row.row_id)
    if not answered:
        name, reason = next(iter(left_out.items()))
        raise InputError(f"None of {len(cases)} cases has an answer; '{name}': {reason}")
    return _as_arrays(answered, left_out)


def _as_arrays(answered: Sequence[tuple[Case, Reading]], left_out: dict[str, str]) -> LocalAnswers:
    readings = [reading for _, reading in answered]

    def column(value: Callable[[Reading], float]) -> np.ndarray:
        return np.array([value(reading) for reading in readings], dtype=np.float64)

    return LocalAnswers(
        cases=tuple(case for case, _ in answered),
        malignancy_score=column(lambda reading: reading.malignancy_score),
        diameter_mm=column(lambda reading: reading.measured_diameter_mm),
        volume_mm3=column(lambda reading: reading.measurement.volume_mm3 if reading.measurement else np.nan),
        distance=column(lambda reading: reading.distance),
        presence=column(lambda reading: reading.presence),
        left_out=left_out,
    )


def _answers(cases: Sequence[Case], classifier: NoduleClassifier) -> Iterator[tuple[Case, Answer]]:
    """Every case with its prediction or the reason why there is none, image by image."""
    yield from ((case, case.row.fault) for case in cases if case.row.fault)
    usable = sorted(
        (case for case in cases if not case.row.fault), key=lambda case: (str(case.row.image), case.row.series_uid)
    )
    for image, group in groupby(usable, key=lambda case: image_of(case.row)):
        of_image = list(group)
        ct = _attempt_to_read(image)
        if isinstance(ct, str):
            yield from ((case, ct) for case in of_image)
            continue
        for start in range(0, len(of_image), PATCHES_PER_BATCH):
            yield from _read(ct, of_image[start : start + PATCHES_PER_BATCH], classifier)


def _attempt_to_read(image: RowImage) -> CTVolume | str:
    try:
        return read_image_of_row(image, read_ct)
    except CLIPLungError as error:
        return str(error)
    except Exception as error:  # one unreadable image must not stop the others
        logger.exception("unexpected fault")
        return f"{type(error).__name__}: {error}"


def _read(ct: CTVolume, cases: Sequence[Case], classifier: NoduleClassifier) -> Iterator[tuple[Case, Answer]]:
    accepted: list[tuple[Case, Patch]] = []
    for case in cases:
        try:
            case.row.require_series(ct.source.get("series_uid", ""))
            accepted.append((case, extract_patch(ct, case.row.point_ras(), classifier.checkpoint.patch)))
        except InputError as error:
            yield case, str(error)
    readings = classifier.read_patches([patch for _, patch in accepted], [ct] * len(accepted))
    for (case, _), reading in zip(accepted, readings, strict=True):
        is_number = np.isfinite(reading.malignancy_score)
        yield case, reading if is_number else "the network's score is no number: the CT holds damaged voxels there"
