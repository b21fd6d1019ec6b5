"""The heat map as a volume node over the CT."""

from __future__ import annotations

import numpy as np
import slicer

from CLIPLungLib.inference.heat_threshold import HEAT_THRESHOLD
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.scene.colors import relevance_colors
from CLIPLungLib.scene.control_points import DefinedPoint
from CLIPLungLib.scene.tagged_nodes import CT_ROLE, add_tagged, find_tagged, rename
from CLIPLungLib.scene.volume_node import parent_to_world

KIND = "overlay"
# Nothing is cut off at the top: interpolation may overshoot 1 a little.
UPPER_THRESHOLD = 1e9


def update_overlay(
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    markups_node: slicer.vtkMRMLMarkupsNode,
    point: DefinedPoint,
    result: NoduleResult,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Put a result's heat map into the scene; the control point's tagged node is used again when there is one.

    The volume lies under the CT's transform, so that it follows the CT, and its own matrix takes that transform back:
    every voxel's world RAS is the one of `heatmap_to_ras`. Display settings a user has changed are kept.

    Raises:
        InputError: a transform above the CT is not linear.
    """
    name = heatmap_name(ct_node, point)
    node = find_overlay(markups_node, point.id)
    # Before a node is made: a transform above the CT may refuse it.
    heatmap_to_local = np.linalg.solve(parent_to_world(ct_node), result.heatmap_to_ras)
    if node is None:
        node = add_tagged(ct_node.GetScene(), "vtkMRMLScalarVolumeNode", name, KIND, markups_node, point.id)
    fill(node, ct_node, name, result.heatmap, heatmap_to_local)
    return node


def fill(
    node: slicer.vtkMRMLScalarVolumeNode,
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    name: str,
    heatmap: np.ndarray,
    heatmap_to_local: np.ndarray,
) -> None:
    """Give a node of relevance its name, its place, its voxels, and a display when it has none.

    Args:
        heatmap: (Z, Y, X) in 0..1.
        heatmap_to_local: (4, 4) IJK-to-RAS below the CT's transform.
    """
    with slicer.util.NodeModify(node):
        rename(node, name)
        node.SetNodeReferenceID(CT_ROLE, ct_node.GetID())
        node.SetAndObserveTransformNodeID(ct_node.GetTransformNodeID())
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(heatmap_to_local))
        slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(heatmap, dtype=np.float32))
    display_of(node)


def display_of(node: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeDisplayNode:
    """How a node of relevance is drawn; made where there is nothing yet, or where a user has deleted it."""
    if node.GetScalarVolumeDisplayNode() is None:
        _add_display(node)
    return node.GetScalarVolumeDisplayNode()


def heatmap_name(ct_node: slicer.vtkMRMLScalarVolumeNode, point: DefinedPoint) -> str:
    """What the heat map of a control point is called, before it is made unique."""
    return f"{ct_node.GetName()} {point.label} relevance"


def find_overlay(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The heat map of a control point, or None."""
    return find_tagged(KIND, markups_node, point_id)


def _add_display(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Relevance 0..1 over the whole colour table; low relevance transparent, voxels smoothed."""
    node.CreateDefaultDisplayNodes()
    display = node.GetScalarVolumeDisplayNode()
    with slicer.util.NodeModify(display):
        display.SetAndObserveColorNodeID(relevance_colors(node.GetScene()).GetID())
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0.0, 1.0)
        display.AutoThresholdOff()
        display.SetLowerThreshold(HEAT_THRESHOLD)
        display.SetUpperThreshold(UPPER_THRESHOLD)
        display.ApplyThresholdOn()
        display.InterpolateOn()
