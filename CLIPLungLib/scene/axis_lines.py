"""Long and short axis of a nodule as two lines of the Markups module, in the plane where they were measured."""

from __future__ import annotations

import numpy as np
import slicer

from CLIPLungLib.inference.result import OUTLINE_RGB, Ends, NoduleResult
from CLIPLungLib.scene.control_points import DefinedPoint
from CLIPLungLib.scene.tagged_nodes import CT_ROLE, add_tagged, find_tagged, remove_with_parts, rename
from CLIPLungLib.scene.volume_node import parent_to_world

KINDS = LONG, SHORT = "long axis", "short axis"
GLYPH_SCALE, LINE_THICKNESS = 1.0, 0.2


def update_axes(
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    markups_node: slicer.vtkMRMLMarkupsNode,
    point: DefinedPoint,
    result: NoduleResult,
) -> list[slicer.vtkMRMLMarkupsLineNode]:
    """Draw both axes of a result; the lines of an earlier one are used again, or go where there is nothing to draw.

    Raises:
        InputError: a transform above the CT is not linear.
    """
    size = result.measurement
    ends = (None, None) if size is None else (size.long_axis_ras, size.short_axis_ras)
    nodes = []
    for kind, ends_ras in zip(KINDS, ends, strict=True):
        node = find_tagged(kind, markups_node, point.id)
        if ends_ras is None:
            if node is not None:
                remove_with_parts(node)
            continue
        if node is None:
            node = _add_line(ct_node, markups_node, point, kind)
        _place(node, ct_node, ends_ras)
        rename(node, axis_name(point, kind))
        nodes.append(node)
    return nodes


def rename_axes(markups_node: slicer.vtkMRMLMarkupsNode, point: DefinedPoint) -> None:
    """Call the lines as their control point is called."""
    for kind in KINDS:
        node = find_tagged(kind, markups_node, point.id)
        if node is not None:
            rename(node, axis_name(point, kind))


def remove_axes(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> None:
    """Take the lines of a control point out of the scene."""
    for kind in KINDS:
        node = find_tagged(kind, markups_node, point_id)
        if node is not None:
            remove_with_parts(node)


def axis_name(point: DefinedPoint, kind: str) -> str:
    """What a line is called, before it is made unique."""
    return f"{point.label} {kind}"


def _add_line(
    ct_node: slicer.vtkMRMLScalarVolumeNode, markups_node: slicer.vtkMRMLMarkupsNode, point: DefinedPoint, kind: str
) -> slicer.vtkMRMLMarkupsLineNode:
    name = axis_name(point, kind)
    node = add_tagged(ct_node.GetScene(), "vtkMRMLMarkupsLineNode", name, kind, markups_node, point.id)
    # It shows what was measured: another outline moves it, a hand does not.
    node.SetLocked(True)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is not None:
        with slicer.util.NodeModify(display):
            display.SetSelectedColor(*OUTLINE_RGB)
            display.SetGlyphScale(GLYPH_SCALE)
            display.SetLineThickness(LINE_THICKNESS)
            # The line's own length is that of the outline, the answer's is what readers would measure.
            display.SetPropertiesLabelVisibility(False)
            display.SetPointLabelsVisibility(False)
    return node


def _place(node: slicer.vtkMRMLMarkupsLineNode, ct_node: slicer.vtkMRMLScalarVolumeNode, ends_ras: Ends) -> None:
    world_to_local = np.linalg.inv(parent_to_world(ct_node))
    local_ras = np.array(ends_ras) @ world_to_local[:3, :3].T + world_to_local[:3, 3]
    with slicer.util.NodeModify(node):
        node.SetNodeReferenceID(CT_ROLE, ct_node.GetID())
        node.SetAndObserveTransformNodeID(ct_node.GetTransformNodeID())
        while node.GetNumberOfControlPoints() < len(local_ras):
            node.AddControlPoint(local_ras[node.GetNumberOfControlPoints()].tolist())
        for index, end_ras in enumerate(local_ras.tolist()):
            node.SetNthControlPointPosition(index, *end_ras)
