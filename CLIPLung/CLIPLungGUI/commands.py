"""What the list, the buttons and the keys of the panel do with nodules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer

from CLIPLungGUI.analysis_queue import Analyses
from CLIPLungGUI.logic import CLIPLungLogic
from CLIPLungGUI.nodule_list import NoduleList
from CLIPLungGUI.nodule_rows import MOVED, NEW, NoduleRow
from CLIPLungGUI.place_mode import PlaceMode
from CLIPLungGUI.point_history import PointHistory
from CLIPLungGUI.slice_views import SliceViews
from CLIPLungGUI.zoom import ZoomToNodule

if TYPE_CHECKING:
    from CLIPLungGUI.guideline_section import GuidelineSection

SORT_SETTING = "CLIPLung/SortByProbability"


class Commands:
    """A part of the module's widget, which has what is named here."""

    ui: Any
    analyses: Analyses
    history: PointHistory
    nodules: NoduleList
    placing: PlaceMode
    views: SliceViews
    zoom: ZoomToNodule
    guidelines: GuidelineSection
    logic: CLIPLungLogic
    _parameterNode: Any
    _points: Any
    _isSelecting: bool

    def _rows(self) -> list[NoduleRow]:
        raise NotImplementedError

    def refresh(self, *_arguments: Any) -> None:
        """Show what the scene holds."""
        raise NotImplementedError

    def connectButtons(self) -> None:
        """The list of nodules and its buttons."""
        self.ui.noduleTable.connect("itemSelectionChanged()", self.onNoduleSelected)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancel)
        self.ui.analyzeButton.connect("clicked(bool)", self.onAnalyzeAgain)
        self.ui.undoButton.connect("clicked(bool)", self.onUndo)
        self.ui.deleteButton.connect("clicked(bool)", self.onDelete)
        self.ui.sortButton.checked = slicer.util.settingsValue(SORT_SETTING, False, converter=slicer.util.toBool)
        self.nodules.sortByProbability(self.ui.sortButton.checked)
        self.ui.sortButton.connect("toggled(bool)", self.onSort)

    def keys(self) -> dict[str, Any]:
        """Key sequence -> what it does."""
        return {
            "Alt+P": self.placing.toggle,
            "Esc": self.placing.stop,
            "Alt+Down": self.onNext,
            "Alt+Up": self.onPrevious,
            "Alt+O": self.onToggleOverlay,
            "Alt+Del": self.onDelete,
            "Alt+Z": self.onUndo,
            "Alt+N": self.zoom.toggle,
            "Alt+B": self.onToggleSort,
            "Alt+G": self.onGuidelines,
        }

    def selectNodule(self, pointID: str) -> None:
        """Select a nodule, jump there and show its heat map."""
        self.nodules.select(pointID)
        self.onNoduleSelected()

    def onNoduleSelected(self) -> None:
        """A row of the table was selected."""
        pointID = self.nodules.selectedPointID()
        if pointID and self._points is not None and self._parameterNode is not None:
            # What follows the parameters shows the nodule; it is shown here, once.
            self._isSelecting = True
            try:
                self._parameterNode.selected = pointID
            finally:
                self._isSelecting = False
            self.analyses.prefer(pointID)
            self.zoom.onSelected()
            self.logic.jumpTo(self._points, pointID)
            self.views.showOverlay()
        self.refresh()

    def onSort(self, isSorted: bool) -> None:
        """The most suspicious nodule first, or the order of the points; remembered in the settings."""
        slicer.app.userSettings().setValue(SORT_SETTING, isSorted)
        self.nodules.sortByProbability(isSorted)
        self.refresh()

    def onToggleSort(self) -> None:
        """What the button's key does."""
        self.ui.sortButton.checked = not self.ui.sortButton.checked

    def onGuidelines(self) -> None:
        """Open the guidelines, or confirm what stands there when they are open."""
        section = self.guidelines.ui.guidelineSection
        if section.collapsed:
            section.collapsed = False
        else:
            self.guidelines.onConfirm()

    def onCancel(self, *_arguments: Any) -> None:
        """Forget the nodules that wait."""
        self.analyses.cancel()

    def onAnalyzeAgain(self, *_arguments: Any) -> None:
        """Ask again for the selected nodule."""
        if self.nodules.selectedPointID():
            self.analyses.ask(self.nodules.selectedPointID())
            self.refresh()

    def onDelete(self, *_arguments: Any) -> None:
        """Remove the selected nodule; its result goes with it."""
        if self._points is None:
            return
        index = self._points.GetNthControlPointIndexByID(self.nodules.selectedPointID())
        if index >= 0:
            self._points.RemoveNthControlPoint(index)

    def onUndo(self, *_arguments: Any) -> None:
        """Take the last placing, dragging or deleting back."""
        if self._points is None:
            return
        back = self.history.undo(self._points)
        self.analyses.askFor(self._rows(), NEW, MOVED)
        self.refresh()
        if back:
            self.selectNodule(back)

    def onNext(self) -> None:
        """Select the next nodule."""
        self._step(1)

    def onPrevious(self) -> None:
        """Select the previous nodule."""
        self._step(-1)

    def onToggleOverlay(self) -> None:
        """Show or hide the heat map."""
        self.ui.overlayCheck.checked = not self.ui.overlayCheck.checked

    def _step(self, step: int) -> None:
        pointID = self.nodules.neighbour(step)
        if pointID:
            self.selectNodule(pointID)
