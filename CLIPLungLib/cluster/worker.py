"""What runs on a worker: the model, loaded once per process, and the answers for rows of one image."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from CLIPLungLib.cluster.own_gpu import own_device
from CLIPLungLib.errors import CheckpointError, CLIPLungError, InputError
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.cohort import Answer, answers
from CLIPLungLib.inference.cohort_table import CohortRow
from CLIPLungLib.version import __version__


@dataclass(frozen=True)
class WorkerModel:
    """Which model the workers shall use; they find it on their own disks and are held to its fingerprint.

    Attributes:
        checkpoint: path as workers see it; None for the bundled weights.
        sha256: of that file.
        device: see `NoduleClassifier.load`; "auto" and "cuda" give each worker of a machine a card of its own.
        version: of CLIPLung.
    """

    checkpoint: Path | None
    sha256: str
    device: str
    version: str = __version__


@dataclass(frozen=True, eq=False)
class ImageAnswers:
    """What a worker has to say on rows of one image.

    Attributes:
        answers: one per row.
        worker: its address.
        saw_image: whether there is anything at the image's path on its machine.
    """

    answers: list[Answer]
    worker: str
    saw_image: bool


_LOADING = threading.Lock()
_LOADED: dict[WorkerModel, NoduleClassifier] = {}


def loaded(model: WorkerModel) -> NoduleClassifier:
    """The classifier of this process: loaded by the first call, one at a time.

    Raises:
        CheckpointError: there is no such file here, or it holds other weights.
        InputError: another version of CLIPLung runs here, or the device is not there.
    """
    with _LOADING:
        if model not in _LOADED:
            _LOADED.clear()
            _LOADED[model] = _load(model)
        return _LOADED[model]


def _load(model: WorkerModel) -> NoduleClassifier:
    if model.version != __version__:
        raise InputError(
            f"CLIPLung {__version__} is installed here, {model.version} where the run was started. Install the same version on all machines."
        )
    classifier = NoduleClassifier.load(model.checkpoint, own_device(model.device))
    if classifier.checkpoint.sha256 != model.sha256:
        raise CheckpointError(
            f"Weights file {model.checkpoint or 'of the installation'} holds other weights here ({classifier.checkpoint.sha256[:12]}) than "
            f"where the run was started ({model.sha256[:12]}). Put the same file on all machines."
        )
    return classifier


def fault_of_worker(model: WorkerModel) -> str:
    """Why this worker cannot use the model; empty if it can. Loads it."""
    try:
        loaded(model)
    except CLIPLungError as error:
        return str(error)
    return ""


def answer_rows(model: WorkerModel, rows: Sequence[CohortRow], heatmaps: bool) -> ImageAnswers:
    """The answers for rows of one image, by the same code as on one machine.

    Raises:
        CLIPLungError: the model cannot be used here.
    """
    from distributed import get_worker

    classifier = loaded(model)
    return ImageAnswers(list(answers(rows, classifier, heatmaps)), get_worker().address, _is_there(rows[0].image))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # A name that no file can have.
        return True
