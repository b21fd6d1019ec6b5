"""The module: click a nodule on CT, see how suspicious it looks, how similar it is to each sign, and where the evidence lies."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if sys.version_info < (3, 10):  # noqa: UP036 - an older Slicer reads this file, too
    raise ImportError("CLIP-Lung needs 3D Slicer 5.10 or later, which brings Python 3.12. Install a newer 3D Slicer.")

# Installed, the library lies beside this file; in an unbuilt source tree it lies beside this file's folder.
if importlib.util.find_spec("CLIPLungLib") is None:
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from CLIPLungGUI.commands import Commands
from CLIPLungGUI.logic import CLIPLungLogic
from CLIPLungGUI.nodule_rows import FAILED, MOVED, NEW, NoduleRow
from CLIPLungGUI.parameters import CLIPLungParameterNode

SHUTDOWN_S = 15.0


class CLIPLung(ScriptedLoadableModule):
    """What the application shows of the module before it is opened."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "CLIP-Lung"
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = []
        self.parent.contributors = ["The CLIPLung developers"]
        self.parent.helpText = _(
            "Choose a chest CT, press <b>Place nodules</b> and click on a nodule. The module shows a calibrated probability that "
            "readers would call it suspicious, how similar it looks to each radiological sign, its measured size, and a heat map "
            "of where the evidence lies. <b>Research use only.</b>"
        )
        self.parent.acknowledgementText = _(
            "Method: Lei Y, et al. CLIP-Lung: Textual Knowledge-Guided Lung Nodule Malignancy Prediction. MICCAI 2023. "
            "Data: LIDC-IDRI, The Cancer Imaging Archive (Armato SG III, et al. Med Phys 38:915-931, 2011), CC BY 3.0."
        )
        slicer.app.connect("startupCompleted()", _onStartup)


def _onStartup() -> None:
    from CLIPLungGUI.sample_data import registerSampleData
    from CLIPLungGUI.side_by_side import registerLayout

    registerLayout()
    registerSampleData()


class CLIPLungWidget(Commands, ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel. It shows what the scene holds, and asks for answers that are missing."""

    logic: CLIPLungLogic

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._parameterNode: CLIPLungParameterNode | None = None
        self._guiTag: Any = None
        self._points: slicer.vtkMRMLMarkupsFiducialNode | None = None
        self._chosen: list[str] = []
        self._labels: dict[str, str] = {}
        self._isSelecting = False
        self._isReady = False

    # Life cycle

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        from CLIPLungGUI.analysis_queue import Analyses
        from CLIPLungGUI.answer_panel import AnswerPanel
        from CLIPLungGUI.background_worker import BackgroundWorker, qtTimer
        from CLIPLungGUI.ct_observer import CTObserver
        from CLIPLungGUI.explain_selector import ExplainSelector
        from CLIPLungGUI.export_buttons import ExportButtons
        from CLIPLungGUI.fitted_panel import FittedPanel
        from CLIPLungGUI.followup_section import FollowupSection
        from CLIPLungGUI.guideline_section import GuidelineSection
        from CLIPLungGUI.model_loader import ModelLoader
        from CLIPLungGUI.nodule_list import NoduleList
        from CLIPLungGUI.outline_editing import OutlineSection
        from CLIPLungGUI.place_mode import PlaceMode
        from CLIPLungGUI.point_history import PointHistory
        from CLIPLungGUI.point_observer import PointObserver
        from CLIPLungGUI.scene_observer import SceneObserver
        from CLIPLungGUI.shortcuts import Shortcuts
        from CLIPLungGUI.similar_section import SimilarSection
        from CLIPLungGUI.slice_views import SliceViews
        from CLIPLungGUI.status_line import StatusLine
        from CLIPLungGUI.tab_order import orderTabs
        from CLIPLungGUI.thumbnails import Thumbnails
        from CLIPLungGUI.zoom import ZoomToNodule

        panel = slicer.util.loadUI(self.resourcePath("UI/CLIPLung.ui"))
        self.fitted = FittedPanel(panel)
        self.layout.addWidget(self.fitted)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic, self.history = CLIPLungLogic(), PointHistory()
        self.thumbnails = Thumbnails()
        self.nodules = NoduleList(self.ui.noduleTable, self._picture)
        self.answer = AnswerPanel(self.ui)
        self.status = StatusLine(self.ui)
        self.worker = BackgroundWorker(qtTimer, self._showProgress)
        requirements = self.resourcePath("requirements.txt")
        self.model = ModelLoader(self.ui, self.worker, requirements, self._onModel, self._showProgress)
        self.analyses = Analyses(self.logic, self.worker, self._inputs, self._onStored, self.refresh)
        self.placing = PlaceMode(self.ui.placeButton, lambda: self._points, self._makePoints)
        self.exports = ExportButtons(self.ui, self.logic, self._selection)
        self.zoom = ZoomToNodule(self.ui.zoomButton, self.logic, self._selection, self._chosenCT)
        self.views = SliceViews(self.logic, self._selection, lambda: self._parameterNode, self.zoom.onNewView)
        form, look = self.ui.overlaySection.layout(), lambda: self._parameterNode
        show, fit = self.views.showOverlay, self.fitted.fitSoon
        self.explain = ExplainSelector(form, self.logic, self.worker, self._selection, look, show, fit)
        self.views.onShown = self.explain.show
        similarFile = self.resourcePath("UI/CLIPLungSimilar.ui")
        self.similar = SimilarSection(similarFile, lambda: self.ui.modelPath.currentPath, fit)
        panel.layout().insertWidget(panel.layout().indexOf(self.ui.overlaySection), self.similar.widget)
        outlineFile = self.resourcePath("UI/CLIPLungOutline.ui")
        self.outline = OutlineSection(outlineFile, self._selection, self._makePoints, self._chosenCT, self.refresh, fit)
        panel.layout().insertWidget(panel.layout().indexOf(self.ui.exportSection), self.outline.widget)
        guidelineFile, currentCT = self.resourcePath("UI/CLIPLungGuidelines.ui"), self._selectedCT
        self.guidelines = GuidelineSection(guidelineFile, self._selection, self.logic.heatMap, currentCT, fit)
        panel.layout().insertWidget(panel.layout().indexOf(self.ui.exportSection), self.guidelines.widget)
        followupFile = self.resourcePath("UI/FollowupSection.ui")
        self.followup = FollowupSection(followupFile, self._selection, currentCT, self.logic, self.worker, fit)
        panel.layout().insertWidget(panel.layout().indexOf(self.ui.exportSection), self.followup.widget)
        self.followup.onMarked = self._hideOwnNodes
        # Parts that were put into the panel would come last.
        self.guidelines.onEditors = lambda: orderTabs(self._partsFromTop())
        orderTabs(self._partsFromTop())
        self.pointObserver = PointObserver(
            self.onPointsChanged, self.onPointRemoved, self.onPointDropped, self.onPointModified
        )
        self.ctObserver = CTObserver(self.refresh)
        self.shortcuts = Shortcuts(self.keys())
        self.connectButtons()
        self.fitted.followSections(self.ui)
        self.sceneObserver = SceneObserver(
            self.onSceneStartClose, self.onSceneReplaced, self.onNodeAdded, self.onNodeRemoved
        )
        changed = slicer.vtkMRMLInteractionNode.InteractionModeChangedEvent
        self.addObserver(self.placing.interactionNode(), changed, self.placing.show)
        otherList = slicer.vtkMRMLSelectionNode.ActivePlaceNodeIDChangedEvent
        self.addObserver(self.placing.selectionNode(), otherList, self.placing.showSoon)
        self._isReady = True
        self.initializeParameterNode()

    def _partsFromTop(self) -> list[Any]:
        """What lies below the answer, in the order of the panel."""
        ui = self.ui
        overlay = (ui.overlayCheck, self.explain.combo, ui.opacitySlider, ui.thresholdSlider, ui.legendCheck)
        sections = (self.outline.widget, self.guidelines.widget, self.followup.widget, ui.exportSection)
        return [ui.answerSection, self.similar.widget, ui.overlaySection, *overlay, *sections, ui.advancedSection]

    def cleanup(self) -> None:
        """Before a reload, and when the application quits."""
        if self._isReady:
            self.worker.shutdown(SHUTDOWN_S)
            self.outline.editing.stop()
            self.followup.views.stop()
            self.shortcuts.stop()
            self.sceneObserver.removeObservers()
            self.setParameterNode(None)
        self._isReady = False
        self.removeObservers()

    def enter(self) -> None:
        """The module has been opened; called even when setup failed."""
        if not self._isReady:
            return
        self.initializeParameterNode()
        self._catchUp()
        self.shortcuts.start()
        if self.logic.classifier is None and not self.model.isLoading:
            self.model.prepare()

    def _catchUp(self) -> None:
        """What happened to points while nobody watched: results without a point go, new points are asked for."""
        self.outline.editing.follow()
        self.logic.removeOrphans()
        self.analyses.askFor(self._rows(), NEW, first=self.nodules.selectedPointID())
        self.refresh()

    def exit(self) -> None:
        """Another module has been opened."""
        if not self._isReady:
            return
        self.placing.stop()
        self.shortcuts.stop()
        self.setParameterNode(None)

    def onReload(self) -> None:
        """The library and the panel's pieces too are read anew; the new panel, which is open already, is entered."""
        for name in [n for n in sys.modules if n.partition(".")[0] in ("CLIPLungLib", "CLIPLungGUI")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)
        slicer.modules.CLIPLungWidget.enter()

    # Scene

    def onSceneStartClose(self) -> None:
        """Nothing may hold nodes that are about to go."""
        self.worker.cancelAll()
        self.followup.onStartClose()
        self.logic.failures.clear()
        self.zoom.forget()
        self.setParameterNode(None)

    def onSceneReplaced(self) -> None:
        """An empty scene, or a loaded one that brings its own parameters, points and results; its layers stay as they are."""
        self.outline.onSceneReplaced()
        if self.parent.isEntered:
            self.initializeParameterNode()
            self._catchUp()

    def onNodeAdded(self, node: Any) -> None:
        """The only CT is picked, heat maps stay out of the list of CTs, and a new slice view shows what the others show."""
        if self._parameterNode is None:
            return
        self.views.onNodeAdded(node)
        if node.IsA("vtkMRMLScalarVolumeNode"):
            self._hideOwnNodes()
            self._pickOnlyCT()

    def onNodeRemoved(self) -> None:
        """Results without a point go too, and corrections with their outlines."""
        self.outline.editing.measureSoon()
        if self._parameterNode is None:
            return
        self.logic.removeOrphans()
        # The list of points may be what went.
        self._followPoints()
        self.refresh()

    def initializeParameterNode(self) -> None:
        """Connect the panel with the scene."""
        self.setParameterNode(self.logic.getParameterNode())
        self._hideOwnNodes()
        self._pickOnlyCT()

    def setParameterNode(self, parameterNode: CLIPLungParameterNode | None) -> None:
        """Let go of the old one, and show the new one."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)  # type: ignore[attr-defined]
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameterModified)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._guiTag = parameterNode.connectGui(self.ui)  # type: ignore[attr-defined]
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameterModified)
        self._followPoints()
        # The nodule that was selected, without touching the views: a loaded scene has brought its own layers.
        self.nodules.fill(self._rows())
        self.nodules.select(parameterNode.selected if parameterNode is not None else "")
        if self.nodules.selectedPointID():
            self.zoom.markSeen()
        self.refresh()

    def onParameterModified(self, *_arguments: Any) -> None:
        """The user or a script changed something. What a scene brings is taken over when all of it is there."""
        if slicer.mrmlScene.IsImporting() or self._isSelecting:
            return
        self._followPoints()
        self._askForNew()
        self.refresh()
        self.views.showOverlay()

    def _askForNew(self) -> None:
        """Another CT or another list of points was chosen: its points are asked for, as if they had just been placed."""
        chosen = [node.GetID() if node else "" for node in self._inputs()]
        if chosen != self._chosen:
            self._chosen = chosen
            # A volume may be chosen the moment it comes, and get its voxels afterwards.
            qt.QTimer.singleShot(0, self._askForThem)

    def _askForThem(self) -> None:
        ct, points = self._inputs()
        if points is not None and ct is not None and ct.GetImageData() is not None:
            self.analyses.askFor(self._rows(), NEW, first=self.nodules.selectedPointID())
            self.refresh()

    def _followPoints(self) -> None:
        self.ctObserver.follow(self._parameterNode.ct if self._parameterNode else None)
        points = self._parameterNode.points if self._parameterNode else None
        if points is not self._points:
            self._points = points
            self.pointObserver.follow(points)
            self.history.restart(points)

    def _pickOnlyCT(self) -> None:
        if self._parameterNode is None or self._parameterNode.ct is not None:
            return
        candidates = self.logic.ctNodes()
        if len(candidates) == 1:
            self._parameterNode.ct = candidates[0]

    def _hideOwnNodes(self) -> None:
        """What this module has made is neither a CT nor a list of nodules."""
        for selector in (self.ui.ctSelector, self.followup.ui.priorSelector):
            selector.sortFilterProxyModel().hiddenNodeIDs = self.logic.heatMapIDs()
        self.ui.pointsSelector.sortFilterProxyModel().hiddenNodeIDs = self.logic.priorMarkIDs()

    # Points

    def _makePoints(self) -> slicer.vtkMRMLMarkupsFiducialNode:
        points = self.logic.makePoints()
        if self._parameterNode is not None:
            self._parameterNode.points = points
        return points

    def onPointsChanged(self, *_arguments: Any) -> None:
        """A point was placed, taken back or removed: ask for what is missing."""
        self.history.note(self._points)
        rows = self._rows()
        newest = self.analyses.askFor(rows, NEW)
        if newest:
            self.nodules.fill(rows)
            self.selectNodule(newest)
        else:
            self.refresh()

    def onPointRemoved(self, *_arguments: Any) -> None:
        """Forget what belonged to it."""
        self.logic.removeOrphans()
        self.onPointsChanged()

    def onPointModified(self, number: int | None) -> None:
        """A step of dragging, or another label: only this point's row may look otherwise. Called at each move of the mouse."""
        if self._points is None:
            return
        if number is None or number < 0:
            self.refresh()
            return
        if self.nodules.rowOf(self._points.GetNthControlPointID(number)) is None:
            return  # under the mouse, or being placed, which is told by itself
        row = self.logic.rowAt(self._points, number, self.analyses.waiting)
        if row is None or not self.nodules.update(row):
            return
        self._followLabels([row])
        if row.pointID == self.nodules.selectedPointID():
            self._showAnswer(row)

    def onPointDropped(self, *_arguments: Any) -> None:
        """The mouse was released after dragging: answer again for what has moved."""
        self.history.note(self._points)
        self.analyses.askFor(self._rows(), MOVED, FAILED)
        self.refresh()

    # Analysis

    def _onModel(self, classifier: Any) -> None:
        self.logic.classifier = classifier
        self.analyses.askFor(self._rows(), NEW, first=self.nodules.selectedPointID())
        self.refresh()

    def _inputs(self) -> tuple[Any, Any]:
        return (self._parameterNode.ct, self._points) if self._parameterNode else (None, None)

    def _chosenCT(self) -> Any:
        return self._inputs()[0]

    def _ctOf(self, pointID: str) -> Any:
        """The CT that an answer is of; the chosen one where there is none yet."""
        return self.logic.ctOf(self._points, pointID) or self._chosenCT()

    def _selectedCT(self) -> Any:
        return self._ctOf(self.nodules.selectedPointID())

    def _picture(self, pointID: str) -> str:
        return self.thumbnails.html(self._ctOf(pointID), self._points, pointID)

    def _onStored(self, points: slicer.vtkMRMLMarkupsFiducialNode, pointID: str) -> None:
        self._hideOwnNodes()
        self.outline.editing.follow()
        if points is self._points and self.nodules.selectedPointID() in ("", pointID):
            self.selectNodule(pointID)
        else:
            self.refresh()

    # Showing

    def _rows(self) -> list[NoduleRow]:
        return self.logic.rows(self._points, self.analyses.waiting) if self._points is not None else []

    def refresh(self, *_arguments: Any) -> None:
        """Table, answer and buttons, from what the scene holds."""
        rows = self._rows()
        self._labels = {pointID: self._labels.get(pointID, "") for pointID in (row.pointID for row in rows)}
        self._followLabels(rows)
        self.nodules.fill(rows)
        row = self.nodules.rowOf(self.nodules.selectedPointID())
        hasCT = self._parameterNode is not None and self._parameterNode.ct is not None
        hasResult = self._showAnswer(row) if row else False
        if row is None:
            self.answer.showHint(hasCT)
            self.similar.show(None)
            self.guidelines.show(None, None, len(rows))
        self.exports.enable(any(row.probability is not None for row in rows), hasResult)
        self.ui.analyzeButton.enabled = row is not None and self.logic.classifier is not None
        self.ui.deleteButton.enabled = row is not None
        self.ui.undoButton.enabled = bool(self.history)
        self.ui.placeButton.enabled = hasCT
        self.followup.show()
        self._showProgress()

    def _showAnswer(self, row: NoduleRow) -> bool:
        """The selected nodule's answer. Returns whether it has one."""
        result = self.logic.result(self._points, row.pointID)
        ct, chosen = self.logic.ctOf(self._points, row.pointID), self._inputs()[0]
        otherCT = "" if ct is None or chosen in (None, ct) else ct.GetName()
        self.answer.showRow(row, result, self.model.isLoading, otherCT)
        self.similar.show(result)
        self.guidelines.show(row, result, len(self._labels))
        return result is not None

    def _followLabels(self, rows: list[NoduleRow]) -> None:
        """What belongs to points that have another label now is called so, too."""
        changed = {row.pointID: row.label for row in rows if self._labels.get(row.pointID) != row.label}
        self._labels.update(changed)
        answered = {row.pointID for row in rows if row.probability is not None}
        if self._points is not None and answered & changed.keys():
            self.logic.followLabels(self._points, {key: label for key, label in changed.items() if key in answered})

    def _showProgress(self) -> None:
        isReady = self.logic.classifier is not None
        self.status.show(len(self.analyses.waiting), self.model.isLoading, isReady, self.model.problem)
        self.fitted.fitSoon()

    def _selection(self) -> tuple[Any, str]:
        return self._points, self.nodules.selectedPointID()


class CLIPLungTest(ScriptedLoadableModuleTest):
    """The whole way of work in a running Slicer; without torch a made-up model stands in."""

    def setUp(self) -> None:
        """An empty scene. Clearing the nodes that belong to the application would crash it."""
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """All tests."""
        self.setUp()
        self.test_wayOfWork()

    def test_wayOfWork(self) -> None:
        """Place, answer, move, undo, export, save and load, delete."""
        from CLIPLungGUI.selftest import checkWayOfWork

        checkWayOfWork(self)
