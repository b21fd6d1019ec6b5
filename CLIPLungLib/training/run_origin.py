"""What determines a run: settings, data and initial weights. A stopped run is resumed only with the same ones."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.errors import InputError
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.run_state import read_facts

logger = logging.getLogger(__name__)
STATE_NAME, CONFIG_NAME = "state.safetensors", "config.json"
# Planes that stand for all in the fingerprint of the data; everything else is read whole.
SAMPLED_PLANES = 200
ANOTHER_FOLDER = "Choose another output folder, or remove that one."


@dataclass(frozen=True)
class RunOrigin:
    """What determines a run.

    Attributes:
        config: its settings.
        data_sha256: of `data_sha256`.
        init_sha256: of the checkpoint it started from; empty for a network that starts anew.
    """

    config: TrainConfig
    data_sha256: str
    init_sha256: str = ""

    def facts(self) -> dict[str, str]:
        """The facts that the state of a run keeps; the settings are in a file of their own."""
        return {"data_sha256": self.data_sha256, "init_sha256": self.init_sha256}

    def require_same(self, folder: Path) -> None:
        """Refuse a folder that holds a run of another origin; the learning rate of a step, for one, follows from all epochs.

        Runs of versions that kept no facts are taken as they are.

        Raises:
            InputError: other settings, other data, or other weights to start with.
            CheckpointError: the state in the folder is damaged.
        """
        file = folder / CONFIG_NAME
        if file.is_file() and TrainConfig.read(file) != self.config:
            raise InputError(f"{folder} holds a run with other settings (see its {CONFIG_NAME}). {ANOTHER_FOLDER}")
        if not (folder / STATE_NAME).is_file():
            return
        facts = read_facts(folder / STATE_NAME)
        if facts.get("init_sha256", "") != self.init_sha256:
            raise InputError(f"{folder} holds a run that started from other weights. {ANOTHER_FOLDER}")
        if "data_sha256" not in facts:
            logger.warning("%s holds a run of an earlier version: whether its data are the same cannot be told", folder)
        elif facts["data_sha256"] != self.data_sha256:
            raise InputError(
                f"{folder} holds a run on other data: nodule table or patches have changed since. {ANOTHER_FOLDER}"
            )


def data_sha256(patches: TrainingPatches, nodules: Sequence[Nodule]) -> str:
    """A fingerprint of the training data: the table, the layout of the patches, and some of their planes."""
    digest = hashlib.sha256(json.dumps([_plain(nodule) for nodule in nodules]).encode("utf-8"))
    for values in (patches.nodule, patches.kind, patches.first_plane, patches.plane_count, patches.height_mm):
        # As one type everywhere: systems differ in the size of their whole numbers.
        digest.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    digest.update(np.ascontiguousarray(patches.is_outlined).tobytes())
    step = max(1, len(patches.hu) // SAMPLED_PLANES)
    for planes in (patches.hu, patches.outline):
        digest.update(np.ascontiguousarray(planes[::step]).tobytes())
    return digest.hexdigest()


def _plain(nodule: Nodule) -> list[object]:
    known = (nodule.nodule_id, nodule.patient_id, nodule.fold, nodule.n_readers, nodule.truth)
    sizes = (nodule.diameter_mm, nodule.volume_mm3, nodule.malignancy)
    return [*known, *map(float, sizes), sorted((name, list(codes)) for name, codes in nodule.ratings.items())]
