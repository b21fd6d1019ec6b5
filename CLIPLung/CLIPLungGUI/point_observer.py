"""What happens to the points of the list that the panel shows."""

from __future__ import annotations

from collections.abc import Callable

import slicer
from slicer.util import VTKObservationMixin

Callback = Callable[..., None]


class PointObserver(VTKObservationMixin):
    """Observes one list of points at a time.

    Args:
        onChanged: called when a point was placed, taken back or removed.
        onDropped: called when the mouse was released after dragging.
        onModified: called at every change of a point, such as each step of dragging.
    """

    def __init__(self, onChanged: Callback, onDropped: Callback, onModified: Callback) -> None:
        VTKObservationMixin.__init__(self)
        markups = slicer.vtkMRMLMarkupsNode
        self._callbacks: list[tuple[int, Callback]] = [
            (markups.PointPositionDefinedEvent, onChanged),
            (markups.PointPositionUndefinedEvent, onChanged),
            (markups.PointRemovedEvent, onChanged),
            (markups.PointEndInteractionEvent, onDropped),
            (markups.PointModifiedEvent, onModified),
        ]

    def follow(self, points: slicer.vtkMRMLMarkupsFiducialNode | None) -> None:
        """Let go of the old list, and observe this one, if any."""
        self.removeObservers()
        if points is not None:
            for event, callback in self._callbacks:
                self.addObserver(points, event, callback)
