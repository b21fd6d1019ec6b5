"""Further heat maps of a nodule, of what speaks for something else than suspicion, kept beside its own until it is answered anew."""

from __future__ import annotations

import numpy as np
import slicer

from CLIPLungLib.scene import folder, heatmap_node
from CLIPLungLib.scene.control_points import DefinedPoint
from CLIPLungLib.scene.tagged_nodes import (
    MARKUPS_ROLE,
    POINT_ID,
    add_tagged,
    all_tagged,
    remove_with_parts,
)
from CLIPLungLib.scene.volume_node import parent_to_world

KIND = "explanation"
# Which of `explain_targets.EXPLAINABLE` a map explains.
EXPLAINS = "CLIPLung.explains"


def update_explanation(
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    markups_node: slicer.vtkMRMLMarkupsNode,
    point: DefinedPoint,
    name: str,
    heatmap: np.ndarray,
    heatmap_to_ras: np.ndarray,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Put the map of a name into the scene, over the CT; an earlier one of the same name is used again.

    Args:
        heatmap: (Z, Y, X) in 0..1.
        heatmap_to_ras: (4, 4) IJK to world RAS.

    Raises:
        InputError: a transform above the CT is not linear.
    """
    heatmap_to_local = np.linalg.solve(parent_to_world(ct_node), heatmap_to_ras)
    title = f"{ct_node.GetName()} {point.label} {name}"
    node = find_explanation(markups_node, point.id, name)
    if node is None:
        node = add_tagged(ct_node.GetScene(), "vtkMRMLScalarVolumeNode", title, KIND, markups_node, point.id)
        node.SetAttribute(EXPLAINS, name)
    heatmap_node.fill(node, ct_node, title, heatmap, heatmap_to_local)
    folder.file_under_ct(ct_node, [node])
    return node


def find_explanation(
    markups_node: slicer.vtkMRMLMarkupsNode, point_id: str, name: str
) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The map of a name for a control point, or None."""
    found = (node for node in _explanations(markups_node, point_id) if node.GetAttribute(EXPLAINS) == name)
    return next(found, None)


def remove_explanations(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> None:
    """Take all further maps of a control point out of the scene, as those of an answer that is gone."""
    for node in _explanations(markups_node, point_id):
        remove_with_parts(node)


def _explanations(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> list[slicer.vtkMRMLScalarVolumeNode]:
    scene = markups_node.GetScene()
    return [
        node
        for node in (all_tagged(scene, KIND) if scene else ())
        if node.GetAttribute(POINT_ID) == point_id and node.GetNodeReference(MARKUPS_ROLE) is markups_node
    ]
