"""A result as JSON on its heat map node: what a saved scene needs to show it again without computing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.result import AttributeResult, NoduleMeasurement, NoduleResult
from CLIPLungLib.scene.volume_node import world_ijk_to_ras
from CLIPLungLib.vocabulary import CLASSES

RESULT = "CLIPLung.result"
MODEL_VERSION = "CLIPLung.modelVersion"
MODEL_SHA256 = "CLIPLung.modelSHA256"
FORMAT_VERSION = 2


@dataclass(frozen=True, eq=False)
class Record:
    """What was stored.

    Attributes:
        result: as the classifier gave it; its heat map shares memory with the node and lies where the node lies now.
        ct_ijk_to_ras: (4, 4) where the CT lay in the world when the result was stored.
    """

    result: NoduleResult
    ct_ijk_to_ras: np.ndarray


def write_record(
    overlay_node: slicer.vtkMRMLScalarVolumeNode, ct_node: slicer.vtkMRMLScalarVolumeNode, result: NoduleResult
) -> None:
    """Write a result, the CT's place and the model's provenance as attributes of the heat map node."""
    record = {
        "format_version": FORMAT_VERSION,
        "ct_ijk_to_ras": world_ijk_to_ras(ct_node).tolist(),
        "result": result.to_dict(),
    }
    overlay_node.SetAttribute(RESULT, json.dumps(record, allow_nan=False))
    overlay_node.SetAttribute(MODEL_VERSION, result.model.get("version", ""))
    overlay_node.SetAttribute(MODEL_SHA256, result.model.get("sha256", ""))


def read_record(overlay_node: slicer.vtkMRMLScalarVolumeNode) -> Record:
    """Read back what `write_record` wrote.

    Raises:
        InputError: the node's JSON or voxels are missing, damaged or of a newer format.
    """
    name = overlay_node.GetName()
    text = overlay_node.GetAttribute(RESULT)
    if not text or overlay_node.GetImageData() is None:
        raise InputError(f"'{name}' holds no complete CLIPLung result. Analyse the nodule again.")
    try:
        record = json.loads(text)
        version = record["format_version"]
        if version == FORMAT_VERSION:
            ct_ijk_to_ras = np.array(record["ct_ijk_to_ras"], dtype=np.float64).reshape(4, 4)
            return Record(_result_from_dict(record["result"], overlay_node), ct_ijk_to_ras)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The CLIPLung result of '{name}' is damaged ({error!r}). Analyse the nodule again."
        ) from error
    raise InputError(
        f"'{name}' holds a CLIPLung result of format {version}; this version reads format {FORMAT_VERSION}. "
        "Analyse the nodule again, or update CLIPLung."
    )


def _result_from_dict(plain: dict[str, Any], overlay_node: slicer.vtkMRMLScalarVolumeNode) -> NoduleResult:
    """The inverse of `NoduleResult.to_dict`; the heat map comes from the node."""
    return NoduleResult(
        point_ras=tuple(float(value) for value in plain["point_ras_mm"]),
        malignancy_probability=float(plain["malignancy_probability"]),
        class_probabilities=tuple(float(plain["class_probabilities"][name]) for name in CLASSES),
        diameter_mm=float(plain["diameter_mm"]),
        attributes=tuple(
            AttributeResult(
                name=name,
                similarity=float(values["similarity"]),
                level=float(values["level"]),
                level_probabilities=tuple(float(p) for p in values["level_probabilities"]),
                text=values["text"],
            )
            for name, values in plain["attributes"].items()
        ),
        heatmap=slicer.util.arrayFromVolume(overlay_node),
        heatmap_to_ras=world_ijk_to_ras(overlay_node),
        warnings=tuple(plain["warnings"]),
        model=dict(plain["model"]),
        image=dict(plain["image"]),
        measurement=NoduleMeasurement.from_dict(plain["measurement"]) if plain["measurement"] else None,
        class_set=tuple(plain["class_set"]),
    )
