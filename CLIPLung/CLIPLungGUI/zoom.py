"""Views close enough to see a nodule: at the first selection on a CT, and whenever the reader asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from CLIPLungGUI.logic import CLIPLungLogic

ZOOM_SETTING = "CLIPLung/ZoomToNodule"


class ZoomToNodule:
    """A checkable button: down, the views are close to the nodules; up, they show the whole CT. Remembered in the settings.

    Args:
        button: the checkable one.
        logic: which has the points.
        selection: gives the list of points and the ID of the selected one.
        currentCT: gives the CT of the panel, or None.
    """

    def __init__(
        self,
        button: Any,
        logic: CLIPLungLogic,
        selection: Callable[[], tuple[Any, str]],
        currentCT: Callable[[], Any],
    ) -> None:
        self.button, self.logic = button, logic
        self.selection, self.currentCT = selection, currentCT
        self._seen: set[str] = set()
        button.checked = slicer.util.settingsValue(ZOOM_SETTING, True, converter=slicer.util.toBool)
        button.connect("toggled(bool)", self.onToggled)

    def onToggled(self, isOn: bool) -> None:
        """The button, or its key."""
        slicer.app.userSettings().setValue(ZOOM_SETTING, isOn)
        (points, pointID), ct = self.selection(), self.currentCT()
        if points is None or ct is None or not pointID:
            return
        self.markSeen()
        self.logic.zoom(ct, isOn)
        self.logic.jumpTo(points, pointID)

    def toggle(self) -> None:
        """What the button's key does."""
        self.button.checked = not self.button.checked

    def onSelected(self) -> None:
        """A nodule was selected: the first one on a CT is zoomed to, later ones leave the zoom to the reader."""
        ct = self.currentCT()
        if ct is not None and self.button.checked and ct.GetID() not in self._seen:
            self.logic.zoom(ct, True)
        self.markSeen()

    def markSeen(self) -> None:
        """Views of this CT have been set, by the panel or by a scene that was loaded."""
        ct = self.currentCT()
        if ct is not None:
            self._seen.add(ct.GetID())

    def onNewView(self, node: Any) -> None:
        """A view that a layout has made."""
        if self.button.checked and self.currentCT() is not None:
            self.logic.zoomView(node)

    def forget(self) -> None:
        """Another scene: its CTs may have the same IDs."""
        self._seen.clear()
