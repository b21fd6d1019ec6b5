"""From the scene to the rows of the list of nodules. No Qt."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode

from CLIPLungGUI.nodule_rows import DONE, FAILED, MOVED, NEW, WAITING, NoduleRow

if TYPE_CHECKING:
    from CLIPLungLib.errors import CLIPLungError
    from CLIPLungLib.inference.result import NoduleResult
    from CLIPLungLib.scene.control_points import DefinedPoint
    from CLIPLungLib.scene.result_index import ResultIndex
    from CLIPLungLib.scene.result_store import StoredResult


class RowSource:
    """Makes the rows of one list of points at one moment.

    Args:
        index: finds the stored results.
        points: the list.
        waiting: IDs of the points that are being analyzed.
        failures: point ID -> why there is no answer.
    """

    def __init__(
        self,
        index: ResultIndex,
        points: vtkMRMLMarkupsFiducialNode,
        waiting: Collection[str],
        failures: Mapping[str, str],
    ) -> None:
        self._index, self._points = index, points
        self._waiting, self._failures = waiting, failures
        self._places: dict[str, np.ndarray] = {}

    def all(self) -> list[NoduleRow]:
        """A row per placed point, in the order of the list."""
        from CLIPLungLib.scene.control_points import defined_points

        stored = self._index.results(self._points)
        return [self._row(point, stored.get(point.id)) for point in defined_points(self._points)]

    def at(self, number: int) -> NoduleRow | None:
        """The row of the point at this place in the list; None when it is not placed."""
        from CLIPLungLib.scene.control_points import defined_point_at

        point = defined_point_at(self._points, number)
        return None if point is None else self._row(point, self._index.result(self._points, point.id))

    def _row(self, point: DefinedPoint, stored: StoredResult | CLIPLungError | None) -> NoduleRow:
        from CLIPLungLib.errors import CLIPLungError

        state, reason = self._state(point.id)
        if stored is None:
            return NoduleRow(point.id, point.label, state, reason=reason)
        if isinstance(stored, CLIPLungError):
            return NoduleRow(point.id, point.label, FAILED, reason=str(stored))
        try:
            isMoved = stored.is_stale_at(point.ras, self._place(stored.ct_node))
        except CLIPLungError as error:
            return NoduleRow(point.id, point.label, FAILED, reason=str(error))
        if state == NEW:
            state, reason = MOVED if isMoved else DONE, "\n".join(stored.result.warnings)
        return _answered(point, state, reason, stored.result, isMoved)

    def _state(self, pointID: str) -> tuple[str, str]:
        """State and reason, as far as they do not follow from an answer."""
        if pointID in self._waiting:
            return WAITING, ""
        reason = self._failures.get(pointID, "")
        return (FAILED, reason) if reason else (NEW, "")

    def _place(self, ct: vtkMRMLScalarVolumeNode | None) -> np.ndarray | None:
        """Where a CT lies now, computed once for all of its nodules."""
        from CLIPLungLib.scene.volume_node import world_ijk_to_ras

        if ct is None:
            return None
        place = self._places.get(ct.GetID())
        if place is None:
            place = self._places[ct.GetID()] = world_ijk_to_ras(ct)
        return place


def _answered(point: DefinedPoint, state: str, reason: str, result: NoduleResult, isMoved: bool) -> NoduleRow:
    measured = result.measurement
    return NoduleRow(
        pointID=point.id,
        label=point.label,
        state=state,
        probability=result.malignancy_probability,
        className=result.predicted_class,
        diameter_mm=result.diameter_mm,
        volume_mm3=None if measured is None else measured.volume_mm3,
        reason=reason,
        isMoved=isMoved,
    )
