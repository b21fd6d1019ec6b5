"""Whether a person has corrected the outline of a nodule: what the program drew and what is drawn now, as attributes of the heat map node.

A scene may come from anywhere: what is read is checked, and the size is measured again from the voxels.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any

import numpy as np
import slicer

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.outline_mask import OutlineMask, sampled_inside
from CLIPLungLib.inference.mask_measurement import MaskMeasurement, measure_mask, with_drawn_outline
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.scene.mask_text import mask_from_plain, mask_to_plain
from CLIPLungLib.scene.volume_node import parent_to_world

DRAWN_BY_PROGRAM, CORRECTION = "CLIPLung.outline", "CLIPLung.correction"
# Of 250 mm in voxels of half a millimetre.
MOST_VOXELS = 500**3
MOST_CHARACTERS = 4_000_000
SAME_PLACE_MM = 0.05
KEPT_CORRECTIONS = 64


def write_drawn_by_program(heatmap_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask | None) -> None:
    """Remember the outline (world RAS) that the program has put into the scene; nobody has corrected it yet."""
    text = None if outline is None else json.dumps(_fingerprint(heatmap_node, outline))
    heatmap_node.SetAttribute(DRAWN_BY_PROGRAM, text)
    heatmap_node.SetAttribute(CORRECTION, None)


def is_another(heatmap_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask | None) -> bool:
    """Whether the outline (world RAS) that is in the scene now differs from what `write_correction` was given last."""
    before = heatmap_node.GetAttribute(CORRECTION) or None
    text = _correction_text(heatmap_node, outline)
    return text != before and not (text and before and _is_same(text, before))


def write_correction(heatmap_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask | None) -> None:
    """Remember the outline (world RAS) that is in the scene now; None, or the program's own, is no correction."""
    heatmap_node.SetAttribute(CORRECTION, _correction_text(heatmap_node, outline))


def _correction_text(heatmap_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask | None) -> str | None:
    if outline is None or _is_programs(heatmap_node, outline):
        return None
    return _to_text(heatmap_node, outline)


def _is_same(text: str, before: str) -> bool:
    """Whether two corrections are the same voxels at the same place, but for numbers rounded in a file."""
    try:
        first, second = _from_text(text), _from_text(before)
    except (LookupError, RecursionError, TypeError, ValueError):
        return False
    apart = np.abs(first.ijk_to_ras - second.ijk_to_ras).max()
    return bool(np.array_equal(first.inside, second.inside) and apart <= SAME_PLACE_MM)


def has_outline_of_program(heatmap_node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether the program has put an outline into the scene for this heat map."""
    return bool(heatmap_node.GetAttribute(DRAWN_BY_PROGRAM))


def has_correction(heatmap_node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether the scene says that a person has corrected the outline."""
    return bool(heatmap_node.GetAttribute(CORRECTION))


def with_correction(heatmap_node: slicer.vtkMRMLScalarVolumeNode, result: NoduleResult) -> NoduleResult:
    """A result with the size of the corrected outline, where there is one.

    Raises:
        ValueError, and what reading JSON raises: the text is no correction.
        InputError: a transform above the node is not linear.
    """
    text = heatmap_node.GetAttribute(CORRECTION)
    if not text:
        return result
    places = (parent_to_world(heatmap_node).tobytes(), result.heatmap_to_ras.tobytes())
    return with_drawn_outline(result, *_measured(text, *places, result.heatmap.shape))


@lru_cache(maxsize=KEPT_CORRECTIONS)
def _measured(
    text: str, local_to_world: bytes, heatmap_to_ras: bytes, shape: tuple[int, ...]
) -> tuple[MaskMeasurement, OutlineMask, np.ndarray]:
    """Size, outline in world RAS, and the same on the heat map's grid. Kept, as it is asked for at every move of the mouse."""
    local = _from_text(text)
    to_world, grid_to_ras = (np.frombuffer(matrix).reshape(4, 4) for matrix in (local_to_world, heatmap_to_ras))
    drawn = OutlineMask(local.inside, to_world @ local.ijk_to_ras)
    try:
        return measure_mask(drawn), drawn, sampled_inside(drawn, grid_to_ras, shape)
    except InputError as error:
        raise ValueError(str(error)) from error


def _to_text(heatmap_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask) -> str:
    box = outline.cropped()
    box_to_local = np.linalg.solve(parent_to_world(heatmap_node), box.ijk_to_ras)
    return json.dumps(mask_to_plain(box.inside) | {"ijk_to_local": box_to_local.round(9).tolist()})


def _from_text(text: str) -> OutlineMask:
    """The corrected outline in the heat map node's own RAS."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"the corrected outline has {len(text)} characters")
    plain = json.loads(text)
    shape = plain["shape"]
    if not (isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)):
        raise ValueError("the corrected outline has no three sizes")
    if int(np.prod(shape, dtype=object)) > MOST_VOXELS:
        raise ValueError(f"the corrected outline has {shape} voxels")
    matrix = np.array(plain["ijk_to_local"], dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or np.linalg.det(matrix[:3, :3]) == 0:
        raise ValueError("the corrected outline has no place")
    inside = mask_from_plain({"shape": shape, "bits": plain["bits"]}, tuple(shape))
    inside.flags.writeable = False
    return OutlineMask(inside, matrix)


def _fingerprint(heatmap_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask) -> dict[str, Any]:
    """What tells an outline from others: its voxels, and where the first one lies under the CT's transform."""
    box = outline.cropped()
    origin = np.linalg.solve(parent_to_world(heatmap_node), box.ijk_to_ras)[:3, 3]
    voxels = hashlib.sha256(repr(box.inside.shape).encode() + np.packbits(box.inside).tobytes())
    return {"sha256": voxels.hexdigest(), "origin_mm": origin.tolist()}


def _is_programs(heatmap_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask) -> bool:
    now = _fingerprint(heatmap_node, outline)
    try:
        before = json.loads(heatmap_node.GetAttribute(DRAWN_BY_PROGRAM) or "null")
        apart_mm = np.abs(np.subtract(before["origin_mm"], now["origin_mm"])).max()
        return bool(before["sha256"] == now["sha256"] and apart_mm <= SAME_PLACE_MM)
    except (LookupError, TypeError, ValueError):
        return False
