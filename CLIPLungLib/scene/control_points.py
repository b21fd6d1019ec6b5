"""Control points of a markups node, by their IDs.

Indices shift when a point is removed and labels can be alike; IDs stay. A point under the mouse in place mode exists
already, but is not defined: only defined points are nodules.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import slicer

from CLIPLungLib.errors import InputError


class DefinedPoint(NamedTuple):
    """A placed control point; `ras` is (3,) world RAS mm."""

    id: str
    label: str
    ras: np.ndarray


def defined_points(markups_node: slicer.vtkMRMLMarkupsNode) -> list[DefinedPoint]:
    """Every placed control point, in the order of the list; previews and points without a position are left out."""
    return [
        _point(markups_node, index)
        for index in range(markups_node.GetNumberOfControlPoints())
        if _is_defined(markups_node, index)
    ]


def defined_point(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> DefinedPoint:
    """One placed control point.

    Raises:
        InputError: the node has no such point, or the point is not placed yet.
    """
    index = markups_node.GetNthControlPointIndexByID(point_id)
    if index < 0:
        raise InputError(
            f"'{markups_node.GetName()}' has no control point with the ID '{point_id}'; it may have been deleted. Choose a point of the list."
        )
    if not _is_defined(markups_node, index):
        label = markups_node.GetNthControlPointLabel(index)
        raise InputError(
            f"The point '{label}' of '{markups_node.GetName()}' has no position yet. Place it on the nodule."
        )
    return _point(markups_node, index)


def defined_point_at(markups_node: slicer.vtkMRMLMarkupsNode, index: int) -> DefinedPoint | None:
    """The control point at this place in the list; None when there is none, or it is not placed."""
    if not 0 <= index < markups_node.GetNumberOfControlPoints() or not _is_defined(markups_node, index):
        return None
    return _point(markups_node, index)


def point_world_ras(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> np.ndarray:
    """(3,) world RAS mm of a placed control point, whatever transforms lie above it.

    Raises:
        InputError: the node has no such point, or the point is not placed yet.
    """
    return defined_point(markups_node, point_id).ras


def has_point(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> bool:
    """Whether the list still holds the point, placed or not."""
    return bool(markups_node.GetNthControlPointIndexByID(point_id) >= 0)


def _is_defined(markups_node: slicer.vtkMRMLMarkupsNode, index: int) -> bool:
    status: int = markups_node.GetNthControlPointPositionStatus(index)
    return bool(status == slicer.vtkMRMLMarkupsNode.PositionDefined)


def _point(markups_node: slicer.vtkMRMLMarkupsNode, index: int) -> DefinedPoint:
    return DefinedPoint(
        markups_node.GetNthControlPointID(index),
        markups_node.GetNthControlPointLabel(index),
        np.array(markups_node.GetNthControlPointPositionWorld(index)),
    )
