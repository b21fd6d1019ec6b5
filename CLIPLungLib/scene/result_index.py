"""The stored results of a whole list of points, for a panel that shows them again and again: read once, until they change.

Heat maps and outlines stay where they are: a list needs numbers and texts only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import slicer

from CLIPLungLib.errors import CLIPLungError
from CLIPLungLib.scene import heatmap_node
from CLIPLungLib.scene.result_record import Record, read_record
from CLIPLungLib.scene.result_store import StoredResult
from CLIPLungLib.scene.tagged_nodes import CT_ROLE, MARKUPS_ROLE, POINT_ID, all_tagged

# Far more nodules than a scan has; results that are gone are forgotten when there are more.
MOST_KEPT = 2000
# Of node and voxels. The toolkit never uses a modification time twice, so it also tells one node from another.
Version = tuple[int, int]


class ResultIndex:
    """Finds and reads results of one scene at a time. Nothing is taken on trust: a changed node is read again."""

    def __init__(self) -> None:
        self._records: dict[Version, Record] = {}

    def results(self, markups_node: slicer.vtkMRMLMarkupsNode) -> dict[str, StoredResult | CLIPLungError]:
        """What is stored for every point of a list by the point's ID; the reason, where it cannot be read.

        Results are as `result_store.stored_result` gives them, with an empty heat map that lies nowhere, and without outline.
        """
        nodes: dict[str, slicer.vtkMRMLScalarVolumeNode] = {}
        for node in all_tagged(markups_node.GetScene(), heatmap_node.KIND):
            if node.GetNodeReference(MARKUPS_ROLE) is markups_node:
                nodes.setdefault(node.GetAttribute(POINT_ID), node)
        return {point_id: self._result(node) for point_id, node in nodes.items()}

    def result(self, markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> StoredResult | CLIPLungError | None:
        """What is stored for one point; None where there is nothing. Cheap enough for every move of the mouse."""
        node = heatmap_node.find_overlay(markups_node, point_id)
        return None if node is None else self._result(node)

    def _result(self, node: slicer.vtkMRMLScalarVolumeNode) -> StoredResult | CLIPLungError:
        image = node.GetImageData()
        version = (node.GetMTime(), image.GetMTime() if image is not None else 0)
        # A damaged one is read again each time: what is wrong may lie in a transform, of which the node knows nothing.
        record = self._records.get(version)
        if record is None:
            try:
                record = _without_voxels(read_record(node))
            except CLIPLungError as error:
                return error
            if len(self._records) >= MOST_KEPT:
                self._records.clear()
            self._records[version] = record
        ct_node = node.GetNodeReference(CT_ROLE)
        return StoredResult(record.result, ct_node, node, record.ct_ijk_to_ras, record.ct_voxels)


def _without_voxels(record: Record) -> Record:
    result = replace(record.result, heatmap=np.empty((0, 0, 0), np.float32), heatmap_to_ras=np.eye(4), outline=None)
    return replace(record, result=result)
