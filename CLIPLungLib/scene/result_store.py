"""Results in the scene: store, show, read back, remove. The door for the module.

A result belongs to one control point of one markups node. It lives on the point's heat map node: voxels, the result as
JSON, and references to its CT and markups node, so that saving and loading the scene keeps it. Table, chart and slice
views only show it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import slicer

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.scene import axis_lines, chart, explanation_node, folder, heatmap_node, outline_node, result_table
from CLIPLungLib.scene.control_points import DefinedPoint, defined_point, defined_points, has_point
from CLIPLungLib.scene.correction_record import has_correction, write_drawn_by_program
from CLIPLungLib.scene.ct_mark import VoxelMark, has_moved, holds_marked
from CLIPLungLib.scene.result_record import read_record, write_record
from CLIPLungLib.scene.slice_layers import DEFAULT_OPACITY, refresh_legends, show_overlay
from CLIPLungLib.scene.tagged_nodes import CT_ROLE, MARKUPS_ROLE, POINT_ID, all_tagged, remove_with_parts, rename
from CLIPLungLib.scene.volume_node import world_ijk_to_ras

MOVED_MM = 0.01


@dataclass(frozen=True, eq=False)
class ShownResult:
    """The nodes that show one nodule."""

    overlay_node: slicer.vtkMRMLScalarVolumeNode
    table_node: slicer.vtkMRMLTableNode
    chart_node: slicer.vtkMRMLPlotChartNode


@dataclass(frozen=True, eq=False)
class StoredResult:
    """A result found in the scene.

    Attributes:
        result: as it was computed; its heat map shares memory with the overlay node.
        ct_node: the CT it was computed on; None when that has been removed.
        overlay_node: the heat map.
        ct_ijk_to_ras: (4, 4) where the CT lay in the world then.
        ct_voxels: what the CT held around the nodule then; None where that is not known.
    """

    result: NoduleResult
    ct_node: slicer.vtkMRMLScalarVolumeNode | None
    overlay_node: slicer.vtkMRMLScalarVolumeNode
    ct_ijk_to_ras: np.ndarray
    ct_voxels: VoxelMark | None = None

    def is_stale_at(self, point_ras: np.ndarray, ct_now: np.ndarray | None = None) -> bool:
        """Whether the result is for another place than (3,) world RAS mm in the CT as it lies now, or for other voxels than it holds now.

        Args:
            ct_now: (4, 4) `world_ijk_to_ras` of the CT, where it is known already.

        Raises:
            InputError: the CT came under a non-linear transform.
        """
        if self.ct_node is None:
            return True
        if ct_now is None:
            ct_now = world_ijk_to_ras(self.ct_node)
        if has_moved(self.ct_ijk_to_ras, ct_now) or np.linalg.norm(point_ras - self.result.point_ras) > MOVED_MM:
            return True
        return self.ct_voxels is not None and not holds_marked(self.ct_node, self.ct_voxels)


def store_result(
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    markups_node: slicer.vtkMRMLMarkupsNode,
    point_id: str,
    result: NoduleResult,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Put a result into the scene (heat map node, outline, axes, row of the table) and leave views and chart as they are.

    An earlier result of the same control point is replaced in its tagged nodes. An outline that a person has corrected stays while
    its point and its CT are where they were: the new answer has its size.

    Returns:
        The heat map node.

    Raises:
        InputError: a node was removed from the scene, the point does not exist, or the CT's transform is not linear.
    """
    _require_in_scene(ct_node, "CT")
    _require_in_scene(markups_node, "list of points")
    point = defined_point(markups_node, point_id)
    is_corrected = _has_correction_for(ct_node, markups_node, point)
    overlay_node = heatmap_node.update_overlay(ct_node, markups_node, point, result)
    write_record(overlay_node, ct_node, result)
    explanation_node.remove_explanations(markups_node, point_id)
    if is_corrected:
        result = read_record(overlay_node).result
    else:
        outline_node.update_outline(ct_node, markups_node, point, result)
        write_drawn_by_program(overlay_node, outline_node.outline_mask(markups_node, point_id))
    table_node = result_table.update_table(ct_node, markups_node, point, result)
    axes = axis_lines.update_axes(ct_node, markups_node, point, result)
    folder.file_under_ct(ct_node, [overlay_node, table_node, *axes, *outline_node.nodes(markups_node, point_id)])
    return overlay_node


def show_result(
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    markups_node: slicer.vtkMRMLMarkupsNode,
    point_id: str,
    result: NoduleResult,
    opacity: float = DEFAULT_OPACITY,
) -> ShownResult:
    """Store a result and show it: heat map over the CT in every slice view, its row, its bars.

    Raises:
        InputError: as `store_result`.
    """
    store_result(ct_node, markups_node, point_id, result)
    return show_stored(markups_node, point_id, opacity)


def show_stored(
    markups_node: slicer.vtkMRMLMarkupsNode, point_id: str, opacity: float = DEFAULT_OPACITY
) -> ShownResult:
    """Show a result that is in the scene already, without computing anything.

    Raises:
        InputError: there is no readable result for the point, or its CT or the point is gone.
    """
    point = defined_point(markups_node, point_id)
    stored = stored_result(markups_node, point_id)
    if stored is None or stored.ct_node is None:
        missing = "no result in the scene" if stored is None else "a result, but its CT is no longer in the scene"
        raise InputError(f"The point '{point.label}' has {missing}. Choose a CT and analyse the nodule.")
    chart_node = chart.update_chart(markups_node, point, stored.result)
    table_node = result_table.update_table(stored.ct_node, markups_node, point, stored.result)
    folder.file_under_ct(stored.ct_node, [table_node, *chart.chart_nodes(markups_node)])
    show_overlay(markups_node.GetScene(), stored.ct_node, stored.overlay_node, opacity)
    return ShownResult(stored.overlay_node, table_node, chart_node)


def stored_result(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> StoredResult | None:
    """The result the scene holds for a control point, or None.

    Raises:
        InputError: what is stored is damaged or of a newer format.
    """
    overlay_node = heatmap_node.find_overlay(markups_node, point_id)
    if overlay_node is None:
        return None
    record = read_record(overlay_node)
    ct_node = overlay_node.GetNodeReference(CT_ROLE)
    return StoredResult(record.result, ct_node, overlay_node, record.ct_ijk_to_ras, record.ct_voxels)


def is_stale(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> bool:
    """Whether a stored result no longer belongs to where its point lies in the CT. Cheap enough for every mouse move.

    True when the point has moved by more than MOVED_MM or is no longer placed, and when the CT was moved, turned or
    removed, or holds other voxels around the nodule. Hardening the CT's transform moves nothing. False when nothing is stored.

    Raises:
        InputError: what is stored is damaged, or the CT came under a non-linear transform.
    """
    stored = stored_result(markups_node, point_id)
    if stored is None:
        return False
    point = next((point for point in defined_points(markups_node) if point.id == point_id), None)
    return point is None or stored.is_stale_at(point.ras)


def follow_labels(markups_node: slicer.vtkMRMLMarkupsNode, point_ids: Collection[str] | None = None) -> None:
    """Name heat maps, rows and chart after the labels the control points have now; damaged results are left out.

    Args:
        point_ids: of those that may have another label; all when None.
    """
    for point in defined_points(markups_node):
        if point_ids is not None and point.id not in point_ids:
            continue
        try:
            stored = stored_result(markups_node, point.id)
        except InputError:
            continue
        if stored is None:
            continue
        if stored.ct_node is not None:
            rename(stored.overlay_node, heatmap_node.heatmap_name(stored.ct_node, point))
            outline_node.rename_outline(stored.ct_node, markups_node, point)
        axis_lines.rename_axes(markups_node, point)
        result_table.update_label(markups_node, point)
        chart.update_title(markups_node, point, stored.result)


def remove_result(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> bool:
    """Take everything that shows a control point's result out of the scene; the point itself may be gone already.

    Returns:
        Whether there was a result.
    """
    overlay_node = heatmap_node.find_overlay(markups_node, point_id)
    result_table.remove_row(markups_node, point_id)
    chart.remove_chart(markups_node, point_id)
    outline_node.remove_outline(markups_node, point_id)
    axis_lines.remove_axes(markups_node, point_id)
    explanation_node.remove_explanations(markups_node, point_id)
    if overlay_node is not None:
        _remove_tagged(overlay_node)
    return overlay_node is not None


def remove_orphans(scene: slicer.vtkMRMLScene) -> int:
    """Remove the results of points and markups nodes that no longer exist; call it after any of them was deleted.

    Returns:
        How many results were removed.
    """
    before = len(all_tagged(scene, heatmap_node.KIND))
    for markups_node, point_id in _all_keys(scene):
        if markups_node is not None and not has_point(markups_node, point_id):
            remove_result(markups_node, point_id)
    outline_node.remove_orphan_outlines(scene)
    for kind in (heatmap_node.KIND, explanation_node.KIND, result_table.KIND, *axis_lines.KINDS, *chart.KINDS):
        for node in all_tagged(scene, kind):
            if node.GetNodeReference(MARKUPS_ROLE) is None:
                _remove_tagged(node)
    return before - len(all_tagged(scene, heatmap_node.KIND))


def _all_keys(scene: slicer.vtkMRMLScene) -> list[tuple[slicer.vtkMRMLMarkupsNode | None, str]]:
    """Markups node and point ID of everything stored; rows and lines count too, as a user may have deleted a heat map alone."""
    kinds = (heatmap_node.KIND, explanation_node.KIND, *axis_lines.KINDS)
    keys = [(node, node.GetAttribute(POINT_ID)) for kind in kinds for node in all_tagged(scene, kind)]
    keys += [
        (node, point_id) for node in all_tagged(scene, result_table.KIND) for point_id in result_table.point_ids(node)
    ]
    return [(node.GetNodeReference(MARKUPS_ROLE), point_id) for node, point_id in keys]


def _has_correction_for(
    ct_node: slicer.vtkMRMLScalarVolumeNode, markups_node: slicer.vtkMRMLMarkupsNode, point: DefinedPoint
) -> bool:
    """Whether a person has corrected the outline of this point where it lies now in this CT."""
    overlay_node = heatmap_node.find_overlay(markups_node, point.id)
    if overlay_node is None or not has_correction(overlay_node):
        return False
    try:
        stored = stored_result(markups_node, point.id)
    except InputError:
        return False
    return stored is not None and stored.ct_node is ct_node and not stored.is_stale_at(point.ras)


def _remove_tagged(node: slicer.vtkMRMLNode) -> None:
    scene = node.GetScene()
    if scene is None:
        return  # taken out meanwhile by somebody who watches the nodes that went before
    remove_with_parts(node)
    folder.remove_empty_folders(scene)
    refresh_legends(scene)


def _require_in_scene(node: slicer.vtkMRMLNode | None, what: str) -> None:
    if node is None or node.GetScene() is None:
        raise InputError(f"The {what} is no longer in the scene. Choose another one.")
