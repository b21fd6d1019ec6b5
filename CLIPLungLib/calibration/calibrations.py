"""Everything that turns the raw answers of one network into statements, as one value that is fitted, stored and read together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from CLIPLungLib.calibration.conformal import class_set
from CLIPLungLib.calibration.measurement import MeasurementCalibration
from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.out_of_distribution import OutOfDistributionLimits
from CLIPLungLib.calibration.sphericity import SphericityCalibration
from CLIPLungLib.calibration.truth import LIDC_READERS, OUTCOME, Truth


@dataclass(frozen=True)
class OutlineCalibrations:
    """What needs an outline.

    Attributes:
        diameter, volume: from the outline's size to the readers'.
        sphericity: from texts and outline to the readers'.
        limits: beyond which an answer carries a warning.
    """

    diameter: MeasurementCalibration
    volume: MeasurementCalibration
    sphericity: SphericityCalibration
    limits: OutOfDistributionLimits

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: part.to_dict() for name, part in vars(self).items()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> OutlineCalibrations:
        """The inverse of `to_dict`; other names and values are refused with TypeError, KeyError or ValueError."""
        return cls(
            MeasurementCalibration(**plain["diameter"]),
            MeasurementCalibration(**plain["volume"]),
            SphericityCalibration(**plain["sphericity"]),
            OutOfDistributionLimits(**plain["limits"]),
        )


@dataclass(frozen=True)
class Calibrations:
    """Fitted on answers for patients the network has not seen.

    Attributes:
        probability: from the malignancy score to probabilities.
        class_set_threshold: of `conformal.class_set`.
        outline: None for a network that draws no outline.
        truth: whose word probability and classes are about. Under an outcome all cuts are one, and nothing is unsure.
    """

    probability: Calibration
    class_set_threshold: float
    outline: OutlineCalibrations | None
    truth: Truth = LIDC_READERS

    def __post_init__(self) -> None:
        # Written so that NaN fails it too.
        if not 0 <= self.class_set_threshold <= 1:
            raise ValueError(f"class_set_threshold must lie in 0..1, not at {self.class_set_threshold}")
        if self.truth.whose == OUTCOME and len(set(self.probability.offsets)) > 1:
            raise ValueError(f"an outcome has one cut, not those at {self.probability.offsets}")

    def class_set(self, class_probabilities: np.ndarray) -> tuple[str, ...]:
        """The classes that cannot be excluded, of those the truth knows, for (3,) probabilities of CLASSES."""
        names = class_set(class_probabilities, self.class_set_threshold)
        return tuple(name for name in names if name in self.truth.classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the truth stands there only where it is local."""
        plain = {
            "probability": self.probability.to_dict(),
            "class_set_threshold": self.class_set_threshold,
            "outline": self.outline.to_dict() if self.outline else None,
        }
        return plain | {"truth": self.truth.to_dict()} if self.truth.is_local else plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Calibrations:
        """The inverse of `to_dict`; other names and values are refused with TypeError, KeyError or ValueError."""
        probability = plain["probability"]
        return cls(
            Calibration(probability["slope"], tuple(probability["offsets"])),
            plain["class_set_threshold"],
            OutlineCalibrations.from_dict(plain["outline"]) if plain["outline"] is not None else None,
            Truth(**plain["truth"]) if "truth" in plain else LIDC_READERS,
        )
