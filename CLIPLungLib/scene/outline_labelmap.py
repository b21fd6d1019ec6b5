"""Outlines as label map volumes, one a nodule, where the application knows no segmentations."""

from __future__ import annotations

import numpy as np
import slicer

from CLIPLungLib.image.outline_mask import OutlineMask
from CLIPLungLib.scene.tagged_nodes import CT_ROLE, add_tagged, find_tagged, rename
from CLIPLungLib.scene.volume_node import parent_to_world, world_ijk_to_ras

KIND = "outline label map"


def update_labelmap(
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    markups_node: slicer.vtkMRMLMarkupsNode,
    point_id: str,
    name: str,
    outline: OutlineMask,
) -> slicer.vtkMRMLLabelMapVolumeNode:
    """Put an outline in world RAS into the scene: 1 inside, 0 outside, in the smallest box that holds it.

    Raises:
        InputError: a transform above the CT is not linear.
    """
    box = outline.cropped()
    box_to_local = np.linalg.solve(parent_to_world(ct_node), box.ijk_to_ras)
    node = find_labelmap(markups_node, point_id)
    if node is None:
        node = add_tagged(ct_node.GetScene(), "vtkMRMLLabelMapVolumeNode", name, KIND, markups_node, point_id)
    with slicer.util.NodeModify(node):
        rename(node, name)
        node.SetNodeReferenceID(CT_ROLE, ct_node.GetID())
        node.SetAndObserveTransformNodeID(ct_node.GetTransformNodeID())
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(box_to_local))
        slicer.util.updateVolumeFromArray(node, box.inside.astype(np.uint8))
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    return node


def find_labelmap(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> slicer.vtkMRMLLabelMapVolumeNode | None:
    """The label map of a control point, or None."""
    return find_tagged(KIND, markups_node, point_id)


def labelmap_mask(node: slicer.vtkMRMLLabelMapVolumeNode) -> OutlineMask | None:
    """What is labelled, in world RAS; None where nothing is.

    Raises:
        InputError: a transform above the node is not linear.
    """
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        return None
    mask = OutlineMask(slicer.util.arrayFromVolume(node) > 0, world_ijk_to_ras(node))
    return None if mask.is_empty else mask.cropped()
