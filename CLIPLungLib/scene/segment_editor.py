"""What the Segment Editor has selected, and selecting a nodule's outline there. Its settings are a node of the scene."""

from __future__ import annotations

import slicer

from CLIPLungLib.errors import InputError
from CLIPLungLib.scene import outline_segments
from CLIPLungLib.scene.tagged_nodes import CT_ROLE

EDITOR_CLASS, EDITOR_TAG = "vtkMRMLSegmentEditorNode", "SegmentEditor"


def selected_segment(scene: slicer.vtkMRMLScene) -> tuple[slicer.vtkMRMLSegmentationNode, str]:
    """The segmentation node and the ID of the segment that is selected in the Segment Editor.

    Raises:
        InputError: nothing is selected.
    """
    editor = scene.GetSingletonNode(EDITOR_TAG, EDITOR_CLASS)
    node = editor.GetSegmentationNode() if editor is not None else None
    segment_id = editor.GetSelectedSegmentID() if editor is not None else None
    if node is None or not segment_id or node.GetSegmentation().GetSegment(segment_id) is None:
        raise InputError(
            "No segment is selected. Draw the nodule as a segment in the Segment Editor, and leave it selected."
        )
    return node, str(segment_id)


def drawn_on(node: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLVolumeNode | None:
    """The volume whose voxels a segmentation was drawn on; None where that is not known."""
    return node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())


def select_outline(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> None:
    """Select a nodule's outline in the Segment Editor, with its CT as the source to draw on.

    Raises:
        InputError: the nodule has no outline, or the application no Segment Editor.
    """
    can_edit = outline_segments.can_segment()
    segment = outline_segments.find_segment(markups_node, point_id) if can_edit else None
    if segment is None:
        raise InputError(
            "The selected nodule has no outline that can be edited. Analyze it again, or select another one."
        )
    editor = _editor(markups_node.GetScene())
    if editor is None:
        raise InputError(
            "This application has no Segment Editor, so outlines cannot be edited. Use 3D Slicer 5.2 or later."
        )
    with slicer.util.NodeModify(editor):
        editor.SetAndObserveSegmentationNode(segment.node)
        editor.SetAndObserveSourceVolumeNode(segment.node.GetNodeReference(CT_ROLE))
        editor.SetSelectedSegmentID(segment.id)


def _editor(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode | None:
    """The Segment Editor's own node; made as the module makes it when nobody has opened it yet."""
    node = scene.GetSingletonNode(EDITOR_TAG, EDITOR_CLASS)
    if node is not None:
        return node
    node = scene.CreateNodeByClass(EDITOR_CLASS)
    if node is None:
        return None
    node.UnRegister(None)
    node.SetSingletonTag(EDITOR_TAG)
    return scene.AddNode(node)
