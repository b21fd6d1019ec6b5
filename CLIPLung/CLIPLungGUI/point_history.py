"""Taking back what was done with points: placing, deleting, dragging. Slicer's own undo is switched off unless a user asks for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import slicer

PLACED, DELETED, DRAGGED = "placed", "deleted", "dragged"
DEEPEST = 100
SAME_PLACE_MM = 1e-5


@dataclass(frozen=True, eq=False)
class _Step:
    kind: str
    pointID: str
    label: str
    local_ras: np.ndarray


class PointHistory:
    """Remembers how the points of a list were before each change, in the list's own space: a transform above it is no change."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._known: dict[str, tuple[str, np.ndarray]] = {}

    def __bool__(self) -> bool:
        return bool(self._steps)

    def restart(self, points: slicer.vtkMRMLMarkupsFiducialNode | None) -> None:
        """Forget everything; the points are as they are."""
        self._steps.clear()
        self._known = _positions(points)

    def note(self, points: slicer.vtkMRMLMarkupsFiducialNode) -> None:
        """The points were changed: one step for each that came, went or was moved since the last time."""
        now = _positions(points)
        for pointID, (label, local_ras) in now.items():
            if pointID not in self._known:
                self._steps.append(_Step(PLACED, pointID, label, local_ras))
            elif np.abs(self._known[pointID][1] - local_ras).max() > SAME_PLACE_MM:
                self._steps.append(_Step(DRAGGED, pointID, label, self._known[pointID][1]))
        gone = [(pointID, *self._known[pointID]) for pointID in self._known if pointID not in now]
        self._steps += [_Step(DELETED, *point) for point in gone]
        del self._steps[:-DEEPEST]
        self._known = now

    def undo(self, points: slicer.vtkMRMLMarkupsFiducialNode) -> str:
        """Take the last step back.

        Returns:
            ID of the point that is there again, or at its old place again; empty otherwise.
        """
        if not self._steps:
            return ""
        step = self._steps.pop()
        # Known before it happens, so that the events of it are no new step.
        index = points.GetNthControlPointIndexByID(step.pointID)
        back = ""
        if step.kind == DELETED:
            kept = len(self._steps)
            index = points.AddControlPoint(step.local_ras.tolist(), step.label)
            back = points.GetNthControlPointID(index)
            # It has a new ID, by which earlier steps must know it too.
            self._steps = [replace(s, pointID=back) if s.pointID == step.pointID else s for s in self._steps[:kept]]
        elif step.kind == PLACED and index >= 0:
            self._known.pop(step.pointID, None)
            points.RemoveNthControlPoint(index)
        elif step.kind == DRAGGED and index >= 0:
            self._known[step.pointID] = (step.label, step.local_ras)
            points.SetNthControlPointPosition(index, *step.local_ras.tolist())
            back = step.pointID
        self._known = _positions(points)
        return back


def _positions(points: slicer.vtkMRMLMarkupsFiducialNode | None) -> dict[str, tuple[str, np.ndarray]]:
    from CLIPLungLib.scene.control_points import defined_points

    if points is None:
        return {}
    places = {p.id: points.GetNthControlPointIndexByID(p.id) for p in defined_points(points)}
    return {
        pointID: (points.GetNthControlPointLabel(index), np.array(points.GetNthControlPointPosition(index)))
        for pointID, index in places.items()
    }
