"""Everything that turns the raw answers of one network into statements, as one value that is fitted, stored and read together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from CLIPLungLib.calibration.measurement import MeasurementCalibration
from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.out_of_distribution import OutOfDistributionLimits
from CLIPLungLib.calibration.sphericity import SphericityCalibration


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
    """

    probability: Calibration
    class_set_threshold: float
    outline: OutlineCalibrations | None

    def __post_init__(self) -> None:
        # Written so that NaN fails it too.
        if not 0 <= self.class_set_threshold <= 1:
            raise ValueError(f"class_set_threshold must lie in 0..1, not at {self.class_set_threshold}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "probability": self.probability.to_dict(),
            "class_set_threshold": self.class_set_threshold,
            "outline": self.outline.to_dict() if self.outline else None,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Calibrations:
        """The inverse of `to_dict`; other names and values are refused with TypeError, KeyError or ValueError."""
        probability = plain["probability"]
        return cls(
            Calibration(probability["slope"], tuple(probability["offsets"])),
            plain["class_set_threshold"],
            OutlineCalibrations.from_dict(plain["outline"]) if plain["outline"] is not None else None,
        )
