"""The answer for one nodule, and its JSON and table forms."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from CLIPLungLib.calibration.truth import LIDC_READERS, Truth, notice, truth_phrase
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.outline_mask import OutlineMask, on_grid_of
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, ATTRIBUTE_OF_NAME, CLASSES, best_code

# Of the outline, wherever it is shown.
OUTLINE_RGB = (0.35, 0.95, 0.75)
DISCLAIMER = notice(LIDC_READERS)
CSV_COLUMNS = (
    "id",
    "status",
    "error",
    "malignancy_probability",
    "p_benign",
    "p_unsure",
    "p_malignant",
    "predicted_class",
    "diameter_mm",
    *(f"{name}_{kind}" for name in ATTRIBUTE_NAMES for kind in ("similarity", "level")),
    "diameter_low_mm",
    "diameter_high_mm",
    "volume_mm3",
    "class_set",
    "warnings",
    "notes",
    "truth",
)


# (2, 3) RAS mm.
Ends = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class AttributeResult:
    """One radiological sign.

    Attributes:
        name: one of ATTRIBUTE_NAMES.
        similarity: cosine (-1..1) between the image and the text of the sign at its clearest.
        level: expected rating on the LIDC scale (1 .. number of levels).
        level_probabilities: one per code, sum 1.
        text: the level that fits best, in words.
    """

    name: str
    similarity: float
    level: float
    level_probabilities: tuple[float, ...]
    text: str

    @property
    def code(self) -> int:
        """The code that `text` names: the same in panel, report, JSON and DICOM."""
        return best_code(ATTRIBUTE_OF_NAME[self.name], self.level_probabilities, self.level)


@dataclass(frozen=True)
class NoduleMeasurement:
    """What the outline drawn around the click measures, and how far it may be off.

    Attributes:
        diameter_mm: longest diameter in the axial plane, as LIDC's readers would draw it.
        diameter_interval_mm: holds the readers' diameter in 90 % of nodules of other patients.
        mean_diameter_mm: mean of longest and short diameter, as guidelines ask for.
        volume_mm3, volume_interval_mm3: likewise.
        center_ras: (3,) RAS mm, centroid of the outline.
        short_diameter_mm: extent across the longest diameter; None in results of versions before 0.4.
        long_axis_ras, short_axis_ras: (2, 3) RAS mm, ends of both in the axial plane where they were measured. The lengths of the
            lines are those of the outline, before they are brought to what readers would measure.
        corrected_by_hand: a person has changed the outline. Its sizes are then those of the outline itself, and so are the ends of
            the intervals.
    """

    diameter_mm: float
    diameter_interval_mm: tuple[float, float]
    mean_diameter_mm: float
    volume_mm3: float
    volume_interval_mm3: tuple[float, float]
    center_ras: tuple[float, float, float]
    short_diameter_mm: float | None = None
    long_axis_ras: Ends | None = None
    short_axis_ras: Ends | None = None
    corrected_by_hand: bool = False

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> NoduleMeasurement:
        """The inverse of dataclasses.asdict, from JSON."""
        return cls(**{name: _as_tuples(value) for name, value in plain.items()})


@dataclass(frozen=True, eq=False)
class NoduleResult:
    """Everything known about one click.

    Attributes:
        point_ras: (3,) RAS mm.
        malignancy_probability: calibrated probability that the readers' mean malignancy rating exceeds 3, or of a malignant outcome: see `truth`.
        class_probabilities: of CLASSES, sum 1.
        diameter_mm: measured longest diameter, or the network's estimate where nothing could be outlined.
        attributes: one per ATTRIBUTE_NAMES, in that order.
        heatmap: (Z, Y, X) float32 in 0..1, relevance for malignancy_score; of size 0 where none was asked for.
        heatmap_to_ras: (4, 4) IJK-to-RAS of the heat map.
        measurement: None where nothing could be outlined at the click.
        class_set: the classes that cannot be excluded: holds the readers' class in 90 % of nodules of other patients.
        outline: (Z, Y, X) bool on the heat map's grid; None where nothing could be outlined.
        outline_on_ct: the same on the CT's own grid, and the very voxels a person has drawn where one has corrected it; None also in
            answers that are read from a file.
        warnings: what the reader should know before trusting the numbers.
        model: name, version, sha256 of the weights.
        truth: whose word probability and classes estimate.
    """

    point_ras: tuple[float, float, float]
    malignancy_probability: float
    class_probabilities: tuple[float, float, float]
    diameter_mm: float
    attributes: tuple[AttributeResult, ...]
    heatmap: np.ndarray
    heatmap_to_ras: np.ndarray
    warnings: tuple[str, ...] = ()
    model: dict[str, str] = field(default_factory=dict)
    image: dict[str, str] = field(default_factory=dict)
    measurement: NoduleMeasurement | None = None
    class_set: tuple[str, ...] = CLASSES
    outline: np.ndarray | None = None
    truth: Truth = LIDC_READERS
    outline_on_ct: OutlineMask | None = None

    @property
    def notice(self) -> str:
        """What must stand beside the answer."""
        return notice(self.truth)

    @property
    def predicted_class(self) -> str:
        """The most probable of CLASSES."""
        return CLASSES[int(np.argmax(self.class_probabilities))]

    def outline_in(self, ct: CTVolume) -> OutlineMask | None:
        """The outline on the grid of the CT it was found in; None where nothing could be outlined."""
        if self.outline_on_ct is not None or self.outline is None:
            return self.outline_on_ct
        return on_grid_of(OutlineMask(self.outline, self.heatmap_to_ras), ct)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the heat map itself is a file of its own."""
        return {
            "point_ras_mm": list(self.point_ras),
            "malignancy_probability": self.malignancy_probability,
            "class_probabilities": dict(zip(CLASSES, self.class_probabilities, strict=True)),
            "predicted_class": self.predicted_class,
            "class_set": list(self.class_set),
            "diameter_mm": self.diameter_mm,
            "measurement": asdict(self.measurement) if self.measurement else None,
            "attributes": {
                a.name: {
                    "similarity": a.similarity,
                    "level": a.level,
                    "code": a.code,
                    "level_probabilities": list(a.level_probabilities),
                    "text": a.text,
                }
                for a in self.attributes
            },
            "warnings": list(self.warnings),
            "image": dict(self.image),
            "model": dict(self.model),
            "truth": {**self.truth.to_dict(), "event": truth_phrase(self.truth)},
            "notice": self.notice,
        }

    def to_json(self) -> str:
        """Indented JSON; refuses numbers JSON does not know (NaN, infinity)."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_row(self, row_id: str) -> dict[str, str]:
        """One row of `results.csv`, columns as in CSV_COLUMNS."""
        row = dict.fromkeys(CSV_COLUMNS, "") | {
            "id": row_id,
            "status": "ok",
            "error": "",
            "malignancy_probability": _number(self.malignancy_probability),
            "predicted_class": self.predicted_class,
            "diameter_mm": _number(self.diameter_mm),
        }
        row |= {f"p_{name}": _number(p) for name, p in zip(CLASSES, self.class_probabilities, strict=True)}
        row["class_set"], row["warnings"] = " ".join(self.class_set), " ".join(self.warnings)
        row["notes"], row["truth"] = self.image.get("note", ""), truth_phrase(self.truth)
        if self.measurement:
            low, high = self.measurement.diameter_interval_mm
            row |= {"diameter_low_mm": _number(low), "diameter_high_mm": _number(high)}
            row["volume_mm3"] = _number(self.measurement.volume_mm3)
        for attribute in self.attributes:
            row[f"{attribute.name}_similarity"] = _number(attribute.similarity)
            row[f"{attribute.name}_level"] = _number(attribute.level)
        return row


def failed_row(row_id: str, error: str) -> dict[str, str]:
    """The row of a nodule that could not be answered."""
    return dict.fromkeys(CSV_COLUMNS, "") | {"id": row_id, "status": "failed", "error": error}


def _as_tuples(value: Any) -> Any:
    """A value of JSON with tuples for its lists."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _number(value: float) -> str:
    return f"{value:.6f}"
