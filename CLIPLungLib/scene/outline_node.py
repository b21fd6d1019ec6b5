"""The outline of a nodule in the scene: a segment, or a label map where the application knows no segmentations."""

from __future__ import annotations

import logging
from functools import cache

import slicer

from CLIPLungLib.image.outline_mask import OutlineMask
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.scene import outline_labelmap, outline_segments
from CLIPLungLib.scene.control_points import DefinedPoint, has_point
from CLIPLungLib.scene.tagged_nodes import MARKUPS_ROLE, POINT_ID, all_tagged, remove_with_parts, rename
from CLIPLungLib.scene.volume_node import ct_volume

logger = logging.getLogger(__name__)
NO_SEGMENTATIONS = "This application has no Segmentations module: outlines are shown as label maps, which the Segment Editor cannot change."


def update_outline(
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    markups_node: slicer.vtkMRMLMarkupsNode,
    point: DefinedPoint,
    result: NoduleResult,
) -> slicer.vtkMRMLNode | None:
    """Put a result's outline into the scene in place of an earlier one; without an outline the earlier one goes.

    Returns:
        The node that shows it; None where nothing could be outlined.

    Raises:
        InputError: a transform above the CT is not linear.
    """
    outline = result.outline_in(ct_volume(ct_node)) if result.outline is not None else None
    if outline is None or outline.is_empty:
        remove_outline(markups_node, point.id)
        return None
    if outline_segments.can_segment():
        return outline_segments.update_segment(ct_node, markups_node, point.id, point.label, outline).node
    _say_once()
    name = labelmap_name(ct_node, point)
    return outline_labelmap.update_labelmap(ct_node, markups_node, point.id, name, outline)


def outline_mask(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> OutlineMask | None:
    """What lies inside a nodule's outline as the scene has it, in world RAS; None where there is no outline, or an empty one.

    Raises:
        InputError: a transform above the outline is not linear.
    """
    if outline_segments.can_segment():
        segment = outline_segments.find_segment(markups_node, point_id)
        return None if segment is None else outline_segments.segment_mask(segment)
    node = outline_labelmap.find_labelmap(markups_node, point_id)
    return None if node is None else outline_labelmap.labelmap_mask(node)


def nodes(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> list[slicer.vtkMRMLNode]:
    """The node that holds a nodule's outline, if any."""
    segment = outline_segments.find_segment(markups_node, point_id) if outline_segments.can_segment() else None
    node = outline_labelmap.find_labelmap(markups_node, point_id) if segment is None else segment.node
    return [] if node is None else [node]


def rename_outline(
    ct_node: slicer.vtkMRMLScalarVolumeNode, markups_node: slicer.vtkMRMLMarkupsNode, point: DefinedPoint
) -> None:
    """Call the outline as its control point is called."""
    if outline_segments.can_segment():
        segment = outline_segments.find_segment(markups_node, point.id)
        if segment is not None:
            outline_segments.rename_segment(segment, point.label)
        return
    node = outline_labelmap.find_labelmap(markups_node, point.id)
    if node is not None:
        rename(node, labelmap_name(ct_node, point))


def remove_outline(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> None:
    """Take a nodule's outline out of the scene."""
    if outline_segments.can_segment():
        segment = outline_segments.find_segment(markups_node, point_id)
        if segment is not None:
            outline_segments.remove_segment(segment)
    node = outline_labelmap.find_labelmap(markups_node, point_id)
    if node is not None:
        remove_with_parts(node)


def remove_orphan_outlines(scene: slicer.vtkMRMLScene) -> None:
    """Remove the outlines of points and lists of points that no longer exist."""
    if outline_segments.can_segment():
        for segment in outline_segments.all_segments(scene):
            if segment.markups_node is None or not has_point(segment.markups_node, segment.point_id):
                outline_segments.remove_segment(segment)
    for node in all_tagged(scene, outline_labelmap.KIND):
        markups_node = node.GetNodeReference(MARKUPS_ROLE)
        if markups_node is None or not has_point(markups_node, node.GetAttribute(POINT_ID)):
            remove_with_parts(node)


def labelmap_name(ct_node: slicer.vtkMRMLScalarVolumeNode, point: DefinedPoint) -> str:
    """What the label map of a control point is called, before it is made unique."""
    return f"{ct_node.GetName()} {point.label} outline"


@cache
def _say_once() -> None:
    logger.warning(NO_SEGMENTATIONS)
