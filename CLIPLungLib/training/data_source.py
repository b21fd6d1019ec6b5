"""The data that a training uses, and the record of them in a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.calibration.truth import OUTCOME, READERS
from CLIPLungLib.dataset.data_name import LIDC, data_name, holds_lidc
from CLIPLungLib.dataset.nodule_table import Nodule, fewest_readers
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.checkpoint import Checkpoint
from CLIPLungLib.lidc.citations import DATA_CITATION, METHOD_CITATION
from CLIPLungLib.training.pretrained import TRUNK_ORIGIN
from CLIPLungLib.training.requirements import not_learned
from CLIPLungLib.training.run_origin import data_sha256
from CLIPLungLib.training.trainer import Trainer


@dataclass(frozen=True)
class DataSource:
    """One data folder.

    Attributes:
        name: of the collection.
        is_lidc: whether nodules of LIDC-IDRI are in it.
        sha256: fingerprint of table and patches.
    """

    name: str
    is_lidc: bool
    sha256: str

    @classmethod
    def of(cls, folder: Path, nodules: Sequence[Nodule], patches: TrainingPatches) -> DataSource:
        """Of a data folder that was read already."""
        return cls(data_name(folder, nodules), holds_lidc(nodules), data_sha256(patches, nodules))

    def require_unseen(self, init: Checkpoint) -> None:
        """Refuse to cross-validate a network on patients that it was trained on.

        No prediction would be out of fold, and calibrations fitted on such predictions would be overconfident.

        Raises:
            InputError: the checkpoint was trained on this collection.
        """
        seen = learned_from(init)
        if self.is_lidc and any(entry.get("name") == LIDC for entry in seen):
            raise InputError(
                f"The weights of --init were trained on {LIDC}, and '{self.name}' holds nodules or patients whose ids begin with {LIDC}: "
                "cross-validation would test a network on patients that it was trained on. Leave these cases out, or train without --init."
            )
        if any(entry.get("name") == self.name or entry.get("sha256") == self.sha256 for entry in seen):
            raise InputError(
                f"The weights of --init were trained on '{self.name}' already: cross-validation would test a network on patients that it "
                "was trained on. Train without --init, or start from weights that were not trained on these patients. If only the "
                'names are the same, change "name" in prepared.json of the data folder.'
            )


def learned_from(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """The collections that a checkpoint was trained on; earlier versions kept them as words."""
    stored = checkpoint.provenance.get("learned_from")
    if isinstance(stored, list):
        return [entry for entry in stored if isinstance(entry, dict)]
    return [{"name": LIDC}] if str(checkpoint.provenance.get("trained_on", "")).startswith(LIDC) else []


def whose_truth(nodules: Sequence[Nodule]) -> str:
    """OUTCOME where every known malignancy is one, else READERS."""
    return OUTCOME if {nodule.truth for nodule in nodules if nodule.has_malignancy} == {OUTCOME} else READERS


def provenance(trainer: Trainer, source: DataSource) -> dict[str, Any]:
    """Plain facts of a training that its checkpoint keeps."""
    config, init = trainer.config, trainer.init
    learned = [
        trainer.data.nodules[index] for index in np.unique(trainer.training_patches.nodule[trainer.learned_patches()])
    ]
    own = {
        "name": source.name,
        "nodules": len(learned),
        "patients": len({nodule.patient_id for nodule in learned}),
        "truth": whose_truth(learned),
        "sha256": source.sha256,
    }
    earlier = learned_from(init) if init else []
    of_lidc = source.is_lidc or any(entry.get("name") == LIDC for entry in earlier)
    return {
        "trained_on": f"{source.name}, patient folds {list(config.train_folds)}",
        "nodules": own["nodules"],
        "patients": own["patients"],
        "learned_from": [*earlier, own],
        "not_learned": [] if init else not_learned(learned),
        "calibrated_on": _calibrated_on(trainer.data.nodules),
        "text_encoder": trainer.text_encoder_name,
        "epochs": config.epochs,
        "losses": asdict(config.losses),
        "seed": config.seed,
        **(
            {"init": {"sha256": init.sha256, "trained_on": init.provenance.get("trained_on", "unknown")}}
            if init
            else {}
        ),
        **({"trunk": TRUNK_ORIGIN} if config.pretrained_trunk and not init else {}),
        **({"data": DATA_CITATION} if of_lidc else {}),
        "method": METHOD_CITATION,
        "use": "Research use only.",
    }


def _calibrated_on(nodules: Sequence[Nodule]) -> str:
    if whose_truth(nodules) == OUTCOME:
        return "out-of-fold answers for nodules of known outcome"
    return f"out-of-fold answers for nodules with >= {fewest_readers(nodules)} readers"
