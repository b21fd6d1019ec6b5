"""What happens to the points of the list that the panel shows."""

from __future__ import annotations

from collections.abc import Callable

import slicer
import vtk
from slicer.util import VTKObservationMixin

Callback = Callable[..., None]


class PointObserver(VTKObservationMixin):
    """Observes one list of points at a time.

    Args:
        onChanged: called when a point was placed, or taken back.
        onRemoved: called when a point was removed; the one under the mouse counts, too.
        onDropped: called when the mouse was released after dragging.
        onModified: called at every change of a point, such as each step of dragging, with its place in the list;
            with None where several may have changed.
    """

    def __init__(
        self, onChanged: Callback, onRemoved: Callback, onDropped: Callback, onModified: Callable[[int | None], None]
    ) -> None:
        VTKObservationMixin.__init__(self)
        self._onModified = onModified
        markups = slicer.vtkMRMLMarkupsNode
        self._callbacks: list[tuple[int, Callback]] = [
            (markups.PointPositionDefinedEvent, onChanged),
            (markups.PointPositionUndefinedEvent, onChanged),
            (markups.PointRemovedEvent, onRemoved),
            (markups.PointEndInteractionEvent, onDropped),
            (markups.PointModifiedEvent, self._modified),
            (markups.TransformModifiedEvent, lambda *_arguments: onModified(None)),
        ]

    def follow(self, points: slicer.vtkMRMLMarkupsFiducialNode | None) -> None:
        """Let go of the old list, and observe this one, if any."""
        self.removeObservers()
        if points is not None:
            for event, callback in self._callbacks:
                self.addObserver(points, event, callback)

    @vtk.calldata_type(vtk.VTK_INT)  # type: ignore[untyped-decorator]
    def _modified(self, _points: object, _event: str, number: int | None) -> None:
        self._onModified(number)
