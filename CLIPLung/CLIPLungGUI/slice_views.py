"""The selected nodule in the slice views: its heat map over the CT, also in views that a layout makes later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from CLIPLungGUI.logic import CLIPLungLogic
from CLIPLungLib.scene.slice_layers import shows_prior


class SliceViews:
    """Shows one nodule.

    Args:
        logic: which has the answers.
        selection: gives the list of points and the ID of the selected one.
        look: gives the module's parameters, or None while it is closed.
        onNewView: called with a view that a layout has made, once it stands on the nodule.
    """

    def __init__(
        self,
        logic: CLIPLungLogic,
        selection: Callable[[], tuple[Any, str]],
        look: Callable[[], Any],
        onNewView: Callable[[Any], None],
    ) -> None:
        self.logic, self.selection, self.look, self.onNewView = logic, selection, look, onNewView
        self._new: list[str] = []
        # Called after the heat map was put in front: another one may take its place.
        self.onShown: Callable[[], None] = lambda: None

    def showOverlay(self) -> None:
        """The selected nodule's heat map; without a selection the views are left as they are."""
        (points, pointID), look = self.selection(), self.look()
        if look is None or points is None or not pointID:
            return
        opacity = look.opacity if look.showOverlay else 0.0
        self.logic.show(points, pointID, opacity, look.threshold, look.showLegend)
        self.onShown()

    def onNodeAdded(self, node: Any) -> None:
        """A new slice view shows what the others show."""
        if node.IsA("vtkMRMLSliceCompositeNode"):
            self.showOverlay()
        if node.IsA("vtkMRMLSliceNode") and not shows_prior(node):
            self._new.append(node.GetID())
            # The layout that makes a view fits it to its volume afterwards.
            qt.QTimer.singleShot(0, self._placeNew)

    def _placeNew(self) -> None:
        """Views that a layout has made show what the others show, where they show it; those stay where they are."""
        ids, self._new = self._new, []
        points, pointID = self.selection()
        if points is None or not pointID:
            return
        self.showOverlay()
        for node in filter(None, map(slicer.mrmlScene.GetNodeByID, ids)):
            self.logic.jumpViewTo(node, points, pointID)
            self.onNewView(node)
