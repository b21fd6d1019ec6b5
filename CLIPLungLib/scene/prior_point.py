"""The place of a nodule in an earlier CT, as a point of its own in the scene, with the comparison that was made there.

The node refers to the nodule's point and to the earlier CT, so that saving, loading and importing keep them together.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import slicer

from CLIPLungLib.scene.control_points import defined_points, has_point
from CLIPLungLib.scene.tagged_nodes import (
    CT_ROLE,
    MARKUPS_ROLE,
    POINT_ID,
    add_tagged,
    all_tagged,
    find_tagged,
    remove_with_parts,
)

KIND = "prior"
COMPARISON = "CLIPLung.comparison"


def prior_point(points: slicer.vtkMRMLMarkupsNode, point_id: str) -> slicer.vtkMRMLMarkupsNode | None:
    """The node that marks a nodule in its earlier CT; None without one."""
    return find_tagged(KIND, points, point_id)


def set_prior_point(
    points: slicer.vtkMRMLMarkupsNode,
    point_id: str,
    prior_ct: slicer.vtkMRMLScalarVolumeNode,
    ras: np.ndarray,
    label: str,
) -> slicer.vtkMRMLMarkupsNode:
    """Mark a nodule in its earlier CT at (3,) world RAS mm; what was compared at another place is forgotten."""
    node = prior_point(points, point_id)
    if node is None:
        node = add_tagged(points.GetScene(), "vtkMRMLMarkupsFiducialNode", label, KIND, points, point_id)
        node.CreateDefaultDisplayNodes()
    node.SetNodeReferenceID(CT_ROLE, prior_ct.GetID())
    node.SetAttribute(COMPARISON, None)
    with slicer.util.NodeModify(node):
        node.RemoveAllControlPoints()
        node.AddControlPointWorld(*(float(value) for value in ras), label)
    return node


def prior_ras(node: slicer.vtkMRMLMarkupsNode) -> np.ndarray | None:
    """(3,) world RAS mm of the mark; None where it was deleted."""
    found = defined_points(node)
    return found[0].ras if found else None


def prior_ct(node: slicer.vtkMRMLMarkupsNode) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The earlier CT; None where it was deleted."""
    return node.GetNodeReference(CT_ROLE)


def write_record(node: slicer.vtkMRMLMarkupsNode, record: dict[str, Any]) -> None:
    """Keep plain values of a comparison with the mark."""
    node.SetAttribute(COMPARISON, json.dumps(record, allow_nan=False))


def read_record(node: slicer.vtkMRMLMarkupsNode) -> dict[str, Any] | None:
    """What was kept; None without it, or where it is damaged."""
    try:
        record = json.loads(node.GetAttribute(COMPARISON) or "null")
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def remove_orphans(scene: slicer.vtkMRMLScene) -> None:
    """Take away marks whose nodule is gone."""
    for node in all_tagged(scene, KIND):
        points = node.GetNodeReference(MARKUPS_ROLE)
        if points is None or not has_point(points, node.GetAttribute(POINT_ID)):
            remove_with_parts(node)
