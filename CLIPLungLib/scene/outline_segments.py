"""Outlines as segments: one segmentation a CT and transform above it, one segment a nodule, for the Segment Editor to change.

A segment lies in a small box of the CT's own grid. It carries the ID of its control point as a tag, and its list of points is a node
reference of the segmentation whose role names the segment. It also carries its own ID: a copy that a user makes has another one, and is
theirs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from CLIPLungLib.image.outline_mask import OutlineMask, first_voxel_ijk, shifted
from CLIPLungLib.inference.result import OUTLINE_RGB
from CLIPLungLib.scene.tagged_nodes import (
    CT_ROLE,
    MARKUPS_ROLE,
    POINT_ID,
    SELF_ROLE,
    add_tagged,
    all_tagged,
    remove_with_parts,
)
from CLIPLungLib.scene.volume_node import parent_to_world, world_ijk_to_ras

KIND = "outlines"
LABELMAP, SURFACE = "Binary labelmap", "Closed surface"
FILL_OPACITY, RIM_OPACITY, SURFACE_OPACITY = 0.0, 1.0, 0.6
# A box this many times as large as what lies inside, in voxels, is cut down.
LARGEST_SHARE_OF_AIR = 8
SMALLEST_BOX_VOXELS = 64**3


class Segment(NamedTuple):
    """A nodule's segment: its segmentation node, its ID there, and the control point it belongs to."""

    node: slicer.vtkMRMLSegmentationNode
    id: str
    markups_node: slicer.vtkMRMLMarkupsNode | None
    point_id: str


def can_segment() -> bool:
    """Whether this application knows segmentations."""
    return hasattr(slicer, "vtkMRMLSegmentationNode") and hasattr(slicer, "vtkSegment")


def all_segments(scene: slicer.vtkMRMLScene) -> list[Segment]:
    """The segments of all nodules; those that a user has added or copied are left out."""
    return [segment for node in all_tagged(scene, KIND) for segment in _segments_of(node)]


def find_segment(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> Segment | None:
    """The segment of a control point, or None."""
    scene = markups_node.GetScene()
    found = all_segments(scene) if scene else []
    return next((s for s in found if s.markups_node is markups_node and s.point_id == point_id), None)


def update_segment(
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    markups_node: slicer.vtkMRMLMarkupsNode,
    point_id: str,
    name: str,
    outline: OutlineMask,
) -> Segment:
    """Put an outline on the CT's grid, in world RAS, into the scene; the control point's segment is used again when there is one.

    Raises:
        InputError: a transform above the CT is not linear.
    """
    node = _segmentation_of(ct_node) or _add_segmentation(ct_node)
    segment = find_segment(markups_node, point_id)
    if segment is not None and segment.node is not node:
        # The point was analyzed on another CT before, or under another transform.
        remove_segment(segment)
        segment = None
    labelmap = _labelmap(ct_node, outline)
    if segment is None:
        return _add_segment(node, markups_node, point_id, name, labelmap)
    rename_segment(segment, name)
    _replace_labelmap(segment, labelmap)
    return segment


def segment_mask(segment: Segment) -> OutlineMask | None:
    """What lies inside a segment, in world RAS; None where it has no voxels, or none inside.

    Raises:
        InputError: a transform above the segmentation is not linear.
    """
    found = _local_mask(segment)
    if found is None:
        return None
    return OutlineMask(found.inside, parent_to_world(segment.node) @ found.ijk_to_ras)


def rename_segment(segment: Segment, name: str) -> None:
    """Call a segment by another name."""
    part = segment.node.GetSegmentation().GetSegment(segment.id)
    if part.GetName() != name:
        part.SetName(name)


def remove_segment(segment: Segment) -> None:
    """Take a segment away, and the segmentation when nothing is left in it."""
    segment.node.GetSegmentation().RemoveSegment(segment.id)
    segment.node.SetNodeReferenceID(_role(segment.id), None)
    if segment.node.GetSegmentation().GetNumberOfSegments() == 0:
        remove_with_parts(segment.node)


def keep_local(scene: slicer.vtkMRMLScene) -> None:
    """Give segments boxes of their own size: in a file all share one, which may span the whole CT when nodules lie far apart."""
    for segment in all_segments(scene):
        labelmap = _source(segment)
        found = _local_mask(segment)
        voxels = 0 if labelmap is None else labelmap.GetNumberOfPoints()
        if found is not None and voxels > max(SMALLEST_BOX_VOXELS, LARGEST_SHARE_OF_AIR * found.inside.size):
            first_ijk = first_voxel_ijk(found, _matrix(labelmap))
            if first_ijk is not None:
                _replace_labelmap(segment, _image(found.inside, _matrix(labelmap), first_ijk))


def _role(segment_id: str) -> str:
    return f"{MARKUPS_ROLE}.{segment_id}"


def _segments_of(node: slicer.vtkMRMLSegmentationNode) -> list[Segment]:
    segmentation, found = node.GetSegmentation(), []
    for segment_id in segmentation.GetSegmentIDs():
        part = segmentation.GetSegment(segment_id)
        if _tag(part, SELF_ROLE) == segment_id:
            found.append(Segment(node, segment_id, node.GetNodeReference(_role(segment_id)), _tag(part, POINT_ID)))
    return found


def _tag(part: slicer.vtkSegment, name: str) -> str:
    text = vtk.reference("")
    return str(text.get()) if part.GetTag(name, text) else ""


def _segmentation_of(ct_node: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode | None:
    """The CT's segmentation under the transform it has now: to move one would move the outlines that are in it already."""
    above = ct_node.GetTransformNodeID()
    nodes = (node for node in all_tagged(ct_node.GetScene(), KIND) if node.GetNodeReference(CT_ROLE) is ct_node)
    return next((node for node in nodes if node.GetTransformNodeID() == above), None)


def _add_segmentation(ct_node: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    node = add_tagged(ct_node.GetScene(), "vtkMRMLSegmentationNode", f"{ct_node.GetName()} outlines", KIND)
    node.SetNodeReferenceID(CT_ROLE, ct_node.GetID())
    # First: the grid is taken as the segmentation sees it.
    node.SetAndObserveTransformNodeID(ct_node.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct_node)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    with slicer.util.NodeModify(display):
        # The rim alone: what lies within must stay visible.
        display.SetOpacity2DFill(FILL_OPACITY)
        display.SetOpacity2DOutline(RIM_OPACITY)
        display.SetOpacity3D(SURFACE_OPACITY)
        display.SetPreferredDisplayRepresentationName3D(SURFACE)
    node.AddDefaultStorageNode()
    storage = node.GetStorageNode()
    if storage is not None:
        # Otherwise a scene is saved with voxels for the whole CT.
        storage.SetCropToMinimumExtent(True)
    return node


def _add_segment(
    node: slicer.vtkMRMLSegmentationNode,
    markups_node: slicer.vtkMRMLMarkupsNode,
    point_id: str,
    name: str,
    labelmap: slicer.vtkOrientedImageData,
) -> Segment:
    segmentation, part = node.GetSegmentation(), slicer.vtkSegment()
    part.SetName(name)
    part.SetNameAutoGenerated(False)
    part.SetColor(*OUTLINE_RGB)
    part.SetColorAutoGenerated(False)
    segment_id = segmentation.GenerateUniqueSegmentID("CLIPLung_1")
    part.SetTag(POINT_ID, point_id)
    part.SetTag(SELF_ROLE, segment_id)
    part.AddRepresentation(LABELMAP, labelmap)
    # Before the segment comes, for those who watch and ask whose it is.
    node.SetNodeReferenceID(_role(segment_id), markups_node.GetID())
    segmentation.AddSegment(part, segment_id)
    if not segmentation.ContainsRepresentation(SURFACE):
        # Where no rule for it is registered, as without the application, slices alone show the outline.
        segmentation.CreateRepresentation(SURFACE)
    return Segment(node, segment_id, markups_node, point_id)


def _labelmap(ct_node: slicer.vtkMRMLScalarVolumeNode, outline: OutlineMask) -> slicer.vtkOrientedImageData:
    """The outline's box as part of the CT's grid: an editor then draws on the CT's voxels."""
    box = outline.cropped()
    local_to_ras = np.linalg.solve(parent_to_world(ct_node), world_ijk_to_ras(ct_node))
    first_ijk = first_voxel_ijk(box, world_ijk_to_ras(ct_node))
    if first_ijk is None:
        return _image(box.inside, np.linalg.solve(parent_to_world(ct_node), box.ijk_to_ras), np.zeros(3, int))
    return _image(box.inside, local_to_ras, first_ijk)


def _image(inside: np.ndarray, grid_to_ras: np.ndarray, first_ijk: np.ndarray) -> slicer.vtkOrientedImageData:
    image = slicer.vtkOrientedImageData()
    ends = [int(end) for first, n in zip(first_ijk, inside.shape[::-1], strict=True) for end in (first, first + n - 1)]
    image.SetExtent(*ends)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = inside.ravel()
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(grid_to_ras))
    return image


def _replace_labelmap(segment: Segment, labelmap: slicer.vtkOrientedImageData) -> None:
    segmentation = segment.node.GetSegmentation()
    # Several segments may lie in the voxels of one labelmap, as they do after loading.
    segmentation.SeparateSegmentLabelmap(segment.id)
    part = segmentation.GetSegment(segment.id)
    part.SetLabelValue(1)
    part.AddRepresentation(LABELMAP, labelmap)
    segmentation.InvokeEvent(segmentation.SourceRepresentationModified, segment.id)
    if segmentation.ContainsRepresentation(SURFACE):
        part.RemoveRepresentation(SURFACE)
        segmentation.CreateRepresentation(SURFACE, True)


def _source(segment: Segment) -> slicer.vtkOrientedImageData | None:
    return segment.node.GetSegmentation().GetSegment(segment.id).GetRepresentation(LABELMAP)


def _local_mask(segment: Segment) -> OutlineMask | None:
    """What lies inside, in the segmentation's own RAS."""
    labelmap = _source(segment)
    if labelmap is None or labelmap.GetPointData().GetScalars() is None or labelmap.GetNumberOfPoints() == 0:
        return None
    value = segment.node.GetSegmentation().GetSegment(segment.id).GetLabelValue()
    labels = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(labelmap.GetDimensions()[::-1])
    mask = OutlineMask(labels == value, shifted(_matrix(labelmap), np.array(labelmap.GetExtent()[::2])))
    return None if mask.is_empty else mask.cropped()


def _matrix(labelmap: slicer.vtkOrientedImageData) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    ijk_to_ras: np.ndarray = slicer.util.arrayFromVTKMatrix(matrix)
    return ijk_to_ras
