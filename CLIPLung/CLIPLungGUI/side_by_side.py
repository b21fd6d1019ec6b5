"""Two CTs side by side: current left, prior right, each centred on its nodule, scrolled and zoomed together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from CLIPLungLib.scene.slice_layers import PRIOR_VIEW

# Any number that is not one of the application's own arrangements.
LAYOUT_ID = 47110
# Views by row: name of the current CT's, of the prior one's, orientation.
ROWS = (
    ("CLIPLungNowAxial", f"{PRIOR_VIEW}Axial", "Axial"),
    ("CLIPLungNowCoronal", f"{PRIOR_VIEW}Coronal", "Coronal"),
)
FIELD_MM = 80.0
SAME_MM = 1e-3
VIEW = (
    '<item><view class="vtkMRMLSliceNode" singletontag="{name}"><property name="orientation" action="default">{orientation}'
    '</property><property name="viewlabel" action="default">{label}</property><property name="viewcolor" action="default">{color}'
    "</property></view></item>"
)


def layoutText() -> str:
    """The arrangement as the application reads it."""
    rows = []
    for now, before, orientation in ROWS:
        left = VIEW.format(name=now, orientation=orientation, label="Now", color="#4A90C2")
        right = VIEW.format(name=before, orientation=orientation, label="Before", color="#B8860B")
        rows.append(f'<item><layout type="horizontal">{left}{right}</layout></item>')
    return f'<layout type="vertical">{"".join(rows)}</layout>'


def registerLayout() -> None:
    """Make the arrangement known, so that a scene that was saved with it opens with views."""
    layout = _layoutNode()
    if layout is not None and not layout.IsLayoutDescription(LAYOUT_ID):
        layout.AddLayoutDescription(LAYOUT_ID, layoutText())


class SideBySide(VTKObservationMixin):
    """Shows two CTs, and goes back to the arrangement that was there before."""

    def __init__(self) -> None:
        VTKObservationMixin.__init__(self)
        self._before: int | None = None
        self._middle: dict[str, Sequence[float]] = {}
        self._isFollowing = False

    @property
    def isShown(self) -> bool:
        """Whether the views are arranged so now."""
        layout = _layoutNode()
        return layout is not None and layout.GetViewArrangement() == LAYOUT_ID

    def show(self, current: Any, currentRas: Sequence[float], prior: Any, priorRas: Sequence[float]) -> None:
        """Arrange the views, and centre them.

        Args:
            current, prior: volume nodes.
            currentRas, priorRas: (3,) world RAS mm of the nodule in each.
        """
        layout = _layoutNode()
        if layout is None:
            return
        if not self.isShown:
            self._before = layout.GetViewArrangement()
        registerLayout()
        layout.SetViewArrangement(LAYOUT_ID)
        self.removeObservers()
        for now, before, _orientation in ROWS:
            for name, volume, ras in ((now, current, currentRas), (before, prior, priorRas)):
                self._middle[name] = tuple(float(value) for value in ras)
                self._place(name, volume)
        for name in self._middle:
            for node in _viewNodes("vtkMRMLSliceNode", name):
                self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._follow)

    def back(self) -> None:
        """The arrangement that was there before."""
        self.removeObservers()
        layout = _layoutNode()
        if layout is not None and self.isShown:
            fourUp = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
            layout.SetViewArrangement(fourUp if self._before in (None, LAYOUT_ID) else self._before)

    def stop(self) -> None:
        """Let go of all views: the scene is about to be closed, or the panel to go."""
        self.removeObservers()
        self._before = None

    def _place(self, name: str, volume: Any) -> None:
        for composite in _viewNodes("vtkMRMLSliceCompositeNode", name):
            composite.SetLinkedControl(False)
            composite.SetBackgroundVolumeID(volume.GetID())
            composite.SetForegroundVolumeID(None)
        for node in _viewNodes("vtkMRMLSliceNode", name):
            node.JumpSliceByCentering(*self._middle[name])
            width, height, depth = node.GetFieldOfView()
            factor = FIELD_MM / min(width, height)
            node.SetFieldOfView(width * factor, height * factor, depth)

    def _follow(self, moved: Any, _event: str) -> None:
        """The other view of a row scrolls and zooms by as much, about its own nodule."""
        if self._isFollowing:
            return
        partner = next(
            (b if moved.GetLayoutName() == a else a for a, b, _o in ROWS if moved.GetLayoutName() in (a, b)), ""
        )
        self._isFollowing = True
        try:
            for other in _viewNodes("vtkMRMLSliceNode", partner):
                self._copy(moved, other)
        finally:
            self._isFollowing = False

    def _copy(self, moved: Any, other: Any) -> None:
        matrix, target = moved.GetSliceToRAS(), other.GetSliceToRAS()
        away = [matrix.GetElement(row, 3) - self._middle[moved.GetLayoutName()][row] for row in range(3)]
        wanted = [self._middle[other.GetLayoutName()][row] + away[row] for row in range(3)]
        if max(abs(target.GetElement(row, 3) - wanted[row]) for row in range(3)) > SAME_MM:
            for row in range(3):
                target.SetElement(row, 3, wanted[row])
            other.UpdateMatrices()
        width, height, depth = other.GetFieldOfView()
        factor = moved.GetFieldOfView()[0] / width
        if abs(factor - 1) > SAME_MM:
            other.SetFieldOfView(width * factor, height * factor, depth)


def _layoutNode() -> Any:
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def _viewNodes(className: str, name: str) -> list[Any]:
    return [node for node in slicer.util.getNodesByClass(className) if node.GetLayoutName() == name]
