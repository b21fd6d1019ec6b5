"""What a person does with outlines in the scene: changes are measured again, and a segment drawn first can stand for a click.

Nothing is noted while a person draws. The outlines are compared with what was measured last, so undo, deleted segments and loaded scenes
need no rules of their own: what is in the scene counts. A nodule without an outline has the program's own size again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.mask_measurement import measure_mask
from CLIPLungLib.scene import axis_lines, folder, heatmap_node, outline_node, outline_segments, result_table
from CLIPLungLib.scene.control_points import defined_point
from CLIPLungLib.scene.correction_record import (
    has_outline_of_program,
    is_another,
    write_correction,
    write_drawn_by_program,
)
from CLIPLungLib.scene.result_record import read_record
from CLIPLungLib.scene.result_store import stored_result
from CLIPLungLib.scene.tagged_nodes import MARKUPS_ROLE, POINT_ID, all_tagged


@dataclass(frozen=True, eq=False)
class Edits:
    """What was found.

    Attributes:
        changed: list of points and ID of the control point of every nodule whose size is another one now.
        problems: why outlines could not be measured; their answers stay as they were.
    """

    changed: list[tuple[slicer.vtkMRMLMarkupsNode, str]]
    problems: list[str]


def take_over_edits(scene: slicer.vtkMRMLScene) -> Edits:
    """Measure every outline that has changed since it was measured last, and write table and axes anew. Cheap where nothing has."""
    edits = Edits([], [])
    for overlay_node in all_tagged(scene, heatmap_node.KIND):
        markups_node, point_id = overlay_node.GetNodeReference(MARKUPS_ROLE), overlay_node.GetAttribute(POINT_ID)
        if markups_node is None or not has_outline_of_program(overlay_node):
            continue
        try:
            if _measure_again(overlay_node, markups_node, point_id):
                edits.changed.append((markups_node, point_id))
        except InputError as error:
            edits.problems.append(str(error))
    return edits


def segment_click_ras(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> np.ndarray:
    """(3,) world RAS mm: where a click on a drawn segment would be. Its centroid, or the voxel inside that is nearest to it.

    Raises:
        InputError: no such segment, or one without voxels inside.
    """
    part = segmentation_node.GetSegmentation().GetSegment(segment_id) if segmentation_node is not None else None
    if part is None:
        raise InputError("No segment is selected. Choose one in the Segment Editor, or draw the nodule there.")
    mask = outline_segments.segment_mask(outline_segments.Segment(segmentation_node, segment_id, None, ""))
    if mask is None:
        raise InputError(f"The segment '{part.GetName()}' is empty. Draw the nodule, then ask again.")
    return mask.middle_ras()


def _measure_again(
    overlay_node: slicer.vtkMRMLScalarVolumeNode, markups_node: slicer.vtkMRMLMarkupsNode, point_id: str
) -> bool:
    outline = outline_node.outline_mask(markups_node, point_id)
    if not is_another(overlay_node, outline):
        return False
    if outline is not None:
        # Refused before it is remembered.
        measure_mask(outline)
    write_correction(overlay_node, outline)
    _show_size(markups_node, point_id)
    return True


def _show_size(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> None:
    """Table and axes, as the record has them now."""
    point, stored = defined_point(markups_node, point_id), stored_result(markups_node, point_id)
    if stored is not None and stored.ct_node is not None:
        result_table.update_table(stored.ct_node, markups_node, point, stored.result)
        axes = axis_lines.update_axes(stored.ct_node, markups_node, point, stored.result)
        folder.file_under_ct(stored.ct_node, list(axes))


def restore_outline(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> None:
    """Put the program's own outline back, also where its segment was deleted; the nodule has the program's size again.

    Raises:
        InputError: there is no readable result for the point, or its CT or the point is gone.
    """
    point, stored = defined_point(markups_node, point_id), stored_result(markups_node, point_id)
    if stored is None or stored.ct_node is None:
        raise InputError(f"The point '{point.label}' has no answer in the scene. Analyze it again.")
    write_correction(stored.overlay_node, None)
    result = read_record(stored.overlay_node).result
    outline_node.update_outline(stored.ct_node, markups_node, point, result)
    write_drawn_by_program(stored.overlay_node, outline_node.outline_mask(markups_node, point_id))
    _show_size(markups_node, point_id)
