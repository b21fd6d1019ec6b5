"""A result as JSON on its heat map node: what a saved scene needs to show it again without computing.

A scene may come from anywhere: every number read is checked before it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np
import slicer

from CLIPLungLib.calibration.truth import LIDC_READERS, Truth
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.result import AttributeResult, Ends, NoduleMeasurement, NoduleResult
from CLIPLungLib.scene.correction_record import with_correction
from CLIPLungLib.scene.ct_mark import VoxelMark, mark_from_plain, mark_voxels
from CLIPLungLib.scene.mask_text import mask_from_plain, mask_to_plain
from CLIPLungLib.scene.volume_node import ct_volume, world_ijk_to_ras
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASSES, Attribute

RESULT = "CLIPLung.result"
MODEL_VERSION = "CLIPLung.modelVersion"
MODEL_SHA256 = "CLIPLung.modelSHA256"
FORMAT_VERSION = 2
# A real record has about 10,000 characters.
MOST_CHARACTERS = 4_000_000
LARGEST_DIAMETER_MM, LARGEST_VOLUME_MM3 = 1e3, 1e9
LARGEST_COORDINATE_MM = 1e6
# Sums of probabilities and the ends of ranges, rounded as floats are.
TOLERANCE = 1e-5
KEPT_RECORDS = 256
# What reading a text that is no record ends in; RecursionError: thousands of brackets in one another.
DAMAGED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, eq=False)
class Record:
    """What was stored.

    Attributes:
        result: as the classifier gave it, with the size of the outline as a person has corrected it; its heat map shares memory with the node and lies where the node lies now.
        ct_ijk_to_ras: (4, 4) where the CT lay in the world when the result was stored.
        ct_voxels: what the CT held around the nodule then; None in results of older versions.
    """

    result: NoduleResult
    ct_ijk_to_ras: np.ndarray
    ct_voxels: VoxelMark | None = None


def write_record(
    heatmap_node: slicer.vtkMRMLScalarVolumeNode, ct_node: slicer.vtkMRMLScalarVolumeNode, result: NoduleResult
) -> None:
    """Write a result, the CT's place and the model's provenance as attributes of the heat map node.

    Raises:
        InputError: the outline is not on the heat map's grid, or a number is none or out of its range.
    """
    record = {
        "format_version": FORMAT_VERSION,
        "ct_ijk_to_ras": world_ijk_to_ras(ct_node).tolist(),
        "result": result.to_dict(),
    }
    mark = mark_voxels(ct_volume(ct_node), result.heatmap_to_ras, result.heatmap.shape)
    if mark is not None:
        record["ct_voxels"] = mark.to_plain()
    if result.outline is not None:
        if result.outline.shape != result.heatmap.shape:
            raise InputError(
                f"The outline of '{heatmap_node.GetName()}' has shape {result.outline.shape}, its heat map {result.heatmap.shape}. "
                "Analyse the nodule again."
            )
        record["outline"] = mask_to_plain(result.outline)
    try:
        text = json.dumps(record, allow_nan=False)
        _parsed(text, result.heatmap.shape)
    except DAMAGED as error:
        raise InputError(
            f"The result of '{heatmap_node.GetName()}' is not kept, as it could not be read again ({_reason(error)}). "
            "Check the CT around the point for damaged voxels and analyse the nodule again."
        ) from error
    heatmap_node.SetAttribute(RESULT, text)
    heatmap_node.SetAttribute(MODEL_VERSION, result.model.get("version", ""))
    heatmap_node.SetAttribute(MODEL_SHA256, result.model.get("sha256", ""))


def read_record(heatmap_node: slicer.vtkMRMLScalarVolumeNode) -> Record:
    """Read back what `write_record` wrote. Cheap when called again: a text is parsed once.

    Raises:
        InputError: the node's JSON or voxels are missing, damaged, too large, of a newer format or hold impossible numbers.
    """
    name = heatmap_node.GetName()
    text = heatmap_node.GetAttribute(RESULT)
    image = heatmap_node.GetImageData()
    if not text or image is None or image.GetPointData().GetScalars() is None:
        raise InputError(f"'{name}' holds no complete CLIPLung result. Analyse the nodule again.")
    try:
        heatmap = _checked_heatmap(slicer.util.arrayFromVolume(heatmap_node))
        stored = _parsed(text, heatmap.shape)
        result = replace(
            stored.result,
            heatmap=heatmap,
            heatmap_to_ras=world_ijk_to_ras(heatmap_node),
            model=dict(stored.result.model),
            image=dict(stored.result.image),
        )
        return replace(stored, result=with_correction(heatmap_node, result))
    except _OtherFormatError as error:
        raise InputError(
            f"'{name}' holds a CLIPLung result of format {error}; this version reads format {FORMAT_VERSION}. "
            "Analyse the nodule again, or update CLIPLung."
        ) from error
    except DAMAGED as error:
        raise InputError(
            f"The CLIPLung result of '{name}' is damaged ({_reason(error)}). Analyse the nodule again."
        ) from error


class _OtherFormatError(Exception):
    """The record's format is not this version's."""


@lru_cache(maxsize=KEPT_RECORDS)
def _parsed(text: str, shape: tuple[int, ...]) -> Record:
    """A record's text for a heat map of this shape; the heat map itself and its place are left empty."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters")
    record = json.loads(text, parse_constant=_refuse_constant)
    if record["format_version"] != FORMAT_VERSION:
        raise _OtherFormatError(str(record["format_version"])[:20])
    result = _result_from_dict(record["result"])
    if record.get("outline") is not None:
        outline = mask_from_plain(record["outline"], shape)
        outline.flags.writeable = False
        result = replace(result, outline=outline)
    ct_ijk_to_ras = np.array([_vector(row, "place of the CT", 4) for row in _list(record["ct_ijk_to_ras"], 4)])
    mark = None if record.get("ct_voxels") is None else mark_from_plain(record["ct_voxels"])
    return Record(result, ct_ijk_to_ras, mark)


def _result_from_dict(plain: dict[str, Any]) -> NoduleResult:
    """The inverse of `NoduleResult.to_dict`, every value checked."""
    probabilities = {name: _number(value, name, 0.0, 1.0) for name, value in plain["class_probabilities"].items()}
    return NoduleResult(
        point_ras=_vector(plain["point_ras_mm"], "point", 3),
        malignancy_probability=_number(plain["malignancy_probability"], "probability", 0.0, 1.0),
        class_probabilities=_shares([probabilities[name] for name in CLASSES], len(probabilities)),
        diameter_mm=_number(plain["diameter_mm"], "diameter", 0.0, LARGEST_DIAMETER_MM),
        attributes=tuple(_sign(attribute, plain["attributes"][attribute.name]) for attribute in ATTRIBUTES),
        heatmap=np.empty((0, 0, 0), np.float32),
        heatmap_to_ras=np.eye(4),
        warnings=tuple(_text(warning) for warning in _list(plain["warnings"])),
        model=_texts(plain["model"]),
        image=_texts(plain["image"]),
        measurement=None if plain["measurement"] is None else _measurement(plain["measurement"]),
        class_set=_class_set(plain["class_set"]),
        truth=_truth(plain.get("truth")),
    )


def _sign(attribute: Attribute, values: dict[str, Any]) -> AttributeResult:
    count, title = len(attribute.levels), attribute.title
    shares = [_number(value, title, 0.0, 1.0) for value in _list(values["level_probabilities"], count)]
    return AttributeResult(
        name=attribute.name,
        similarity=_number(values["similarity"], f"similarity of {title}", -1.0, 1.0),
        level=_number(values["level"], f"level of {title}", 1.0, count),
        level_probabilities=_shares(shares, count),
        text=_text(values["text"]),
    )


def _measurement(plain: dict[str, Any]) -> NoduleMeasurement:
    short_mm = plain.get("short_diameter_mm")
    diameters = [_number(plain[name], name, 0.0, LARGEST_DIAMETER_MM) for name in ("diameter_mm", "mean_diameter_mm")]
    return NoduleMeasurement(
        diameter_mm=diameters[0],
        diameter_interval_mm=_interval(plain["diameter_interval_mm"], "interval of the diameter", LARGEST_DIAMETER_MM),
        mean_diameter_mm=diameters[1],
        volume_mm3=_number(plain["volume_mm3"], "volume", 0.0, LARGEST_VOLUME_MM3),
        volume_interval_mm3=_interval(plain["volume_interval_mm3"], "interval of the volume", LARGEST_VOLUME_MM3),
        center_ras=_vector(plain["center_ras"], "centroid", 3),
        short_diameter_mm=None if short_mm is None else _number(short_mm, "short diameter", 0.0, LARGEST_DIAMETER_MM),
        long_axis_ras=_ends(plain.get("long_axis_ras"), "long axis"),
        short_axis_ras=_ends(plain.get("short_axis_ras"), "short axis"),
        corrected_by_hand=plain.get("corrected_by_hand") is True,
    )


def _ends(values: Any, what: str) -> Ends | None:
    """Both ends of an axis; results of versions before 0.4 have none."""
    if values is None:
        return None
    first, second = (_vector(end, f"end of the {what}", 3) for end in _list(values, 2))
    return first, second


def _checked_heatmap(heatmap: np.ndarray) -> np.ndarray:
    """The heat map as it is, when it is one."""
    # Written so that NaN fails it too.
    if heatmap.ndim != 3 or not (heatmap.min() >= -TOLERANCE and heatmap.max() <= 1.0 + TOLERANCE):
        raise ValueError(f"its heat map {heatmap.shape} is no volume of numbers within 0 and 1")
    return heatmap


def _number(value: Any, what: str, lowest: float, highest: float) -> float:
    """A number within a range; true, text and NaN are none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not lowest - TOLERANCE <= value <= highest + TOLERANCE:
        raise ValueError(f"{what} is {str(value)[:40]!r}, not a number from {lowest:g} to {highest:g}")
    return float(value)


def _vector(values: Any, what: str, count: int) -> tuple[Any, ...]:
    return tuple(_number(value, what, -LARGEST_COORDINATE_MM, LARGEST_COORDINATE_MM) for value in _list(values, count))


def _interval(values: Any, what: str, highest: float) -> tuple[float, float]:
    low, high = (_number(value, what, 0.0, highest) for value in _list(values, 2))
    if low > high:
        raise ValueError(f"{what} runs backwards")
    return low, high


def _shares(shares: Sequence[float], count: int) -> tuple[Any, ...]:
    """Probabilities of everything that can be."""
    if len(shares) != count or abs(sum(shares) - 1.0) > TOLERANCE * count:
        raise ValueError(f"probabilities sum to {sum(shares):g}")
    return tuple(shares)


def _class_set(values: Any) -> tuple[str, ...]:
    names = tuple(_text(value) for value in _list(values))
    if not set(names) <= set(CLASSES) or len(set(names)) != len(names):
        raise ValueError(f"{', '.join(names)[:80]!r} are not the classes")
    return names


def _truth(plain: Any) -> Truth:
    """Whose word the probability is; records from before there was a choice know LIDC-IDRI's readers alone."""
    if plain is None:
        return LIDC_READERS
    counts = [plain[name] for name in ("cases", "patients", "events")]
    if not all(type(count) is int for count in counts):
        raise ValueError(f"{str(counts)[:80]} are not numbers of cases")
    cases, patients, events = counts
    return Truth(_text(plain["whose"]), cases, patients, events, _text(plain["table"]), _text(plain["date"]))


def _list(value: Any, count: int | None = None) -> list[Any]:
    if not isinstance(value, list) or count not in (None, len(value)):
        raise ValueError(f"{str(value)[:40]!r} is no list of {'values' if count is None else count}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]!r} is no text")
    return value


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"{str(value)[:40]!r} is no list of facts")
    return {name: _text(fact) for name, fact in value.items()}


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
