"""What happens to the CT of the panel: moved by a transform, filled with other voxels, given another name."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
import vtk
from slicer.util import VTKObservationMixin

IDLE_MS = 150


class CTObserver(VTKObservationMixin):
    """Observes one CT at a time.

    Args:
        onChanged: called a moment after the last change, as a slider or a sequence makes many.
    """

    def __init__(self, onChanged: Callable[[], None]) -> None:
        VTKObservationMixin.__init__(self)
        self._ct: slicer.vtkMRMLScalarVolumeNode | None = None
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(IDLE_MS)
        self._timer.connect("timeout()", onChanged)

    def follow(self, ct: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Let go of the old CT, and observe this one, if any."""
        if ct is self._ct:
            return
        self._timer.stop()
        self.removeObservers()
        self._ct = ct
        if ct is not None:
            for event in (vtk.vtkCommand.ModifiedEvent, ct.TransformModifiedEvent, ct.ImageDataModifiedEvent):
                self.addObserver(ct, event, self._changed)

    def _changed(self, *_arguments: object) -> None:
        self._timer.start()
