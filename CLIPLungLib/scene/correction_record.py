"""Whether a person has corrected the outline of a nodule: what the program drew and what is drawn now, as attributes of the heat map node.

Places are kept in voxels of the heat map: neither moving nor hardening a transform above both changes them.
A scene may come from anywhere: what is read is checked, and the size is measured again from the voxels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import slicer

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.outline_mask import OutlineMask, sampled_inside
from CLIPLungLib.inference.mask_measurement import MaskMeasurement, measure_mask, with_drawn_outline
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.scene.mask_text import mask_from_plain, mask_to_plain
from CLIPLungLib.scene.volume_node import parent_to_world, world_ijk_to_ras

DRAWN_BY_PROGRAM, CORRECTION = "CLIPLung.outline", "CLIPLung.correction"
# Of 250 mm in voxels of half a millimetre.
MOST_VOXELS = 500**3
MOST_CHARACTERS = 4_000_000
SAME_PLACE_MM = 0.05
# What the matrix of a corrected outline leads to: voxels of the heat map, or the heat map's own RAS in scenes of older versions.
IN_MAP, IN_LOCAL = "ijk_to_map", "ijk_to_local"
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
    return text != before and not (text and before and _is_same(heatmap_node, text, before))


def write_correction(heatmap_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask | None) -> None:
    """Remember the outline (world RAS) that is in the scene now; None, or the program's own, is no correction."""
    heatmap_node.SetAttribute(CORRECTION, _correction_text(heatmap_node, outline))


def _correction_text(heatmap_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask | None) -> str | None:
    if outline is None or _is_programs(heatmap_node, outline):
        return None
    return _to_text(heatmap_node, outline)


def _is_same(heatmap_node: slicer.vtkMRMLScalarVolumeNode, text: str, before: str) -> bool:
    """Whether two corrections are the same voxels at the same place, but for numbers rounded in a file."""
    try:
        frames = _frames(heatmap_node)
        first, second = _from_text(text, frames), _from_text(before, frames)
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
    places = tuple((name, frame.tobytes()) for name, frame in _frames(heatmap_node).items())
    return with_drawn_outline(result, *_measured(text, places, result.heatmap.shape))


@lru_cache(maxsize=KEPT_CORRECTIONS)
def _measured(
    text: str, places: tuple[tuple[str, bytes], ...], shape: tuple[int, ...]
) -> tuple[MaskMeasurement, OutlineMask, np.ndarray]:
    """Size, outline in world RAS, and the same on the heat map's grid. Kept, as it is asked for at every move of the mouse."""
    frames = {name: np.frombuffer(frame).reshape(4, 4) for name, frame in places}
    drawn = _from_text(text, frames)
    try:
        return measure_mask(drawn), drawn, sampled_inside(drawn, frames[IN_MAP], shape)
    except InputError as error:
        raise ValueError(str(error)) from error


def _to_text(heatmap_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask) -> str:
    box = outline.cropped()
    box_to_map = np.linalg.solve(world_ijk_to_ras(heatmap_node), box.ijk_to_ras)
    return json.dumps(mask_to_plain(box.inside) | {IN_MAP: box_to_map.round(9).tolist()})


def _frames(heatmap_node: slicer.vtkMRMLScalarVolumeNode) -> dict[str, np.ndarray]:
    """(4, 4) to world RAS of what a place may be kept in: voxels of the heat map, or its own RAS, as older versions did."""
    return {IN_MAP: world_ijk_to_ras(heatmap_node), IN_LOCAL: parent_to_world(heatmap_node)}


def _from_text(text: str, frames: Mapping[str, np.ndarray]) -> OutlineMask:
    """The corrected outline in world RAS."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"the corrected outline has {len(text)} characters")
    plain = json.loads(text)
    shape = plain["shape"]
    if not (isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)):
        raise ValueError("the corrected outline has no three sizes")
    if int(np.prod(shape, dtype=object)) > MOST_VOXELS:
        raise ValueError(f"the corrected outline has {shape} voxels")
    name = IN_MAP if IN_MAP in plain else IN_LOCAL
    matrix = np.array(plain[name], dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or np.linalg.det(matrix[:3, :3]) == 0:
        raise ValueError("the corrected outline has no place")
    inside = mask_from_plain({"shape": shape, "bits": plain["bits"]}, tuple(shape))
    inside.flags.writeable = False
    return OutlineMask(inside, frames[name] @ matrix)


def _fingerprint(heatmap_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask) -> dict[str, Any]:
    """What tells an outline from others: its voxels, and where the first one lies in the heat map."""
    box = outline.cropped()
    origin_ijk = np.linalg.solve(world_ijk_to_ras(heatmap_node), box.ijk_to_ras)[:3, 3]
    return {"sha256": _voxels_sha256(box), "origin_in_map": origin_ijk.tolist()}


def _voxels_sha256(box: OutlineMask) -> str:
    return hashlib.sha256(repr(box.inside.shape).encode() + np.packbits(box.inside).tobytes()).hexdigest()


def _is_programs(heatmap_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask) -> bool:
    box = outline.cropped()
    try:
        before = json.loads(heatmap_node.GetAttribute(DRAWN_BY_PROGRAM) or "null")
        is_in_map = "origin_in_map" in before
        frame = world_ijk_to_ras(heatmap_node) if is_in_map else parent_to_world(heatmap_node)
        origin = np.array(before["origin_in_map" if is_in_map else "origin_mm"], dtype=np.float64)
        apart_mm = np.abs(frame[:3, :3] @ origin + frame[:3, 3] - box.ijk_to_ras[:3, 3]).max()
        return bool(before["sha256"] == _voxels_sha256(box) and apart_mm <= SAME_PLACE_MM)
    except (LookupError, TypeError, ValueError):
        return False
