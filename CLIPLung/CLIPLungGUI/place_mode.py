"""Clicks in the slice views that place points of one list, for as long as the button is down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer


class PlaceMode:
    """Keeps a button and the application's mouse mode alike.

    Args:
        button: a checkable one.
        currentPoints: gives the list of points of the panel, or None.
        makePoints: gives a list where there is none yet.
    """

    def __init__(self, button: Any, currentPoints: Callable[[], Any], makePoints: Callable[[], Any]) -> None:
        self.button, self.currentPoints, self.makePoints = button, currentPoints, makePoints
        button.connect("toggled(bool)", self.onToggled)

    @staticmethod
    def interactionNode() -> slicer.vtkMRMLInteractionNode:
        """Tells of a change of the mouse mode."""
        return slicer.app.applicationLogic().GetInteractionNode()

    @staticmethod
    def selectionNode() -> slicer.vtkMRMLSelectionNode:
        """Tells of a change of the list that clicks go to."""
        return slicer.app.applicationLogic().GetSelectionNode()

    def isOn(self) -> bool:
        """Whether a click places a point of this panel's list."""
        points, interaction = self.currentPoints(), self.interactionNode()
        place = self.selectionNode().GetActivePlaceNodeID()
        isOwn = points is not None and place == points.GetID()
        return isOwn and interaction.GetCurrentInteractionMode() == interaction.Place

    def onToggled(self, checked: bool) -> None:
        """The button."""
        if checked:
            self.start()
        else:
            self.stop()

    def start(self) -> None:
        """Every click places a point, until it is stopped."""
        points = self.currentPoints() or self.makePoints()
        selection, interaction = self.selectionNode(), self.interactionNode()
        selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
        selection.SetActivePlaceNodeID(points.GetID())
        interaction.SetPlaceModePersistence(1)
        interaction.SetCurrentInteractionMode(interaction.Place)

    def stop(self) -> None:
        """Clicks do what they did before."""
        interaction = self.interactionNode()
        if self.isOn():
            interaction.SwitchToViewTransformMode()
        if interaction.GetCurrentInteractionMode() != interaction.Place:
            # Or the next point placed elsewhere in the application would be followed by another.
            interaction.SetPlaceModePersistence(0)

    def show(self, *_arguments: Any) -> None:
        """The button follows the application, which ends placing at a right click, too."""
        isOn = self.isOn()
        if self.button.checked and not isOn:
            # The reader may be placing something else by now, of which one was meant.
            self.interactionNode().SetPlaceModePersistence(0)
        self.button.checked = isOn

    def showSoon(self, *_arguments: Any) -> None:
        """Another list takes the clicks: chosen by the reader, or for a moment, while lines of an answer are made."""
        qt.QTimer.singleShot(0, self.show)

    def toggle(self) -> None:
        """What the button's key does."""
        if self.button.enabled:
            self.button.checked = not self.button.checked
