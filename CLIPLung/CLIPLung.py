"""The module: click a nodule on CT, see how suspicious it looks, how similar it is to each sign, and where the network looked."""

import importlib.util
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import qt
import slicer
import vtk
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# Installed, the library lies beside this file; in an unbuilt source tree it lies beside this file's folder.
if importlib.util.find_spec("CLIPLungLib") is None:
    sys.path.append(str(Path(__file__).resolve().parents[1]))

if TYPE_CHECKING:
    from CLIPLungLib.result import NoduleResult

DEVICE_SETTING, MODEL_SETTING = "CLIPLung/Device", "CLIPLung/ModelFile"
POINT_GLYPH_SCALE = 1.5
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
            "of where the network looked. <b>Research use only.</b>"
        )
        self.parent.acknowledgementText = _(
            "Method: Lei Y, et al. CLIP-Lung: Textual Knowledge-Guided Lung Nodule Malignancy Prediction. MICCAI 2023. "
            "Data: LIDC-IDRI, The Cancer Imaging Archive (Armato SG III, et al. Med Phys 38:915-931, 2011), CC BY 3.0."
        )
        slicer.app.connect("startupCompleted()", _registerSampleData)


def _registerSampleData() -> None:
    from CLIPLungGUI.sample_data import registerSampleData

    registerSampleData()


@parameterNodeWrapper
class CLIPLungParameterNode:
    """What is saved with the scene beside the results themselves.

    ct - the chest CT.
    points - one control point per nodule.
    showOverlay, opacity, threshold, showLegend - how the heat map is drawn.
    """

    ct: vtkMRMLScalarVolumeNode
    points: vtkMRMLMarkupsFiducialNode
    showOverlay: bool = True
    opacity: Annotated[float, WithinRange(0, 1)] = 0.5
    threshold: Annotated[float, WithinRange(0, 1)] = 0.1
    showLegend: bool = False


class CLIPLungWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel. It shows what the scene holds, and asks for answers that are missing."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: CLIPLungLogic | None = None
        self._parameterNode: CLIPLungParameterNode | None = None
        self._guiTag: Any = None
        self._points: vtkMRMLMarkupsFiducialNode | None = None
        self._modelProblem = ""
        self._shortcuts: list[qt.QShortcut] = []

    # Life cycle

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        from CLIPLungGUI.answer_panel import AnswerPanel
        from CLIPLungGUI.nodule_list import NoduleList
        from CLIPLungGUI.worker import BackgroundWorker, qtTimer

        panel = slicer.util.loadUI(self.resourcePath("UI/CLIPLung.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.nodules, self.answer = NoduleList(self.ui.noduleTable), AnswerPanel(self.ui)
        self.worker = BackgroundWorker(qtTimer, self._showProgress)
        self.logic = CLIPLungLogic()
        self._fillAdvanced()
        self._connectButtons()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(scene, scene.NodeAddedEvent, self.onVolumesChanged)
        self.addObserver(scene, scene.NodeRemovedEvent, self.onNodeRemoved)
        self.addObserver(
            self._interactionNode(), slicer.vtkMRMLInteractionNode.InteractionModeChangedEvent, self._showPlaceMode
        )
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Before a reload, and when the application quits."""
        if hasattr(self, "worker"):
            self.worker.shutdown(SHUTDOWN_S)
        self._removeShortcuts()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """The module has been opened."""
        if not hasattr(self, "worker"):
            return  # setup failed, and has said so
        self.initializeParameterNode()
        self._addShortcuts()
        self._prepareModel()

    def exit(self) -> None:
        """Another module has been opened."""
        if not hasattr(self, "worker"):
            return
        self._stopPlacing()
        self._removeShortcuts()
        self.setParameterNode(None)

    def onReload(self) -> None:
        """The library and the panel's pieces too are read anew."""
        for name in [n for n in sys.modules if n.partition(".")[0] in ("CLIPLungLib", "CLIPLungGUI")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, *_arguments: Any) -> None:
        """Nothing may hold nodes that are about to go."""
        self.worker.cancelAll()
        self.logic.failures.clear()
        self.setParameterNode(None)

    def onSceneEndClose(self, *_arguments: Any) -> None:
        """Start afresh."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, *_arguments: Any) -> None:
        """A loaded scene brings its own parameters, points and results; its layers stay as they are."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    # Parameters

    def initializeParameterNode(self) -> None:
        """Connect the panel with the scene."""
        self.setParameterNode(self.logic.getParameterNode())
        self._pickOnlyCT()

    def setParameterNode(self, parameterNode: CLIPLungParameterNode | None) -> None:
        """Let go of the old one, and show the new one."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameterModified)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._guiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameterModified)
        self.onParameterModified()

    def onParameterModified(self, *_arguments: Any) -> None:
        """The user, a script or a loaded scene changed something."""
        points = self._parameterNode.points if self._parameterNode else None
        if points is not self._points:
            self._observePoints(points)
        self.refresh()
        self.showOverlay()

    def _pickOnlyCT(self) -> None:
        if self._parameterNode is None or self._parameterNode.ct is not None:
            return
        candidates = self.logic.ctNodes()
        if len(candidates) == 1:
            self._parameterNode.ct = candidates[0]

    def onVolumesChanged(self, *_arguments: Any) -> None:
        """A node came: the only CT is picked, and heat maps stay out of the list of CTs."""
        if self._parameterNode is None or slicer.mrmlScene.IsBatchProcessing():
            return
        self._hideHeatMaps()
        self._pickOnlyCT()

    def onNodeRemoved(self, *_arguments: Any) -> None:
        """A node went: results without a point go too."""
        if self._parameterNode is None or slicer.mrmlScene.IsBatchProcessing():
            return
        self.logic.removeOrphans()
        self.refresh()

    # Points

    def _pointEvents(self) -> list[tuple[int, Callable]]:
        markups = slicer.vtkMRMLMarkupsNode
        return [
            (markups.PointPositionDefinedEvent, self.onPointsChanged),
            (markups.PointPositionUndefinedEvent, self.onPointsChanged),
            (markups.PointRemovedEvent, self.onPointsChanged),
            (markups.PointEndInteractionEvent, self.onPointDropped),
            (markups.PointModifiedEvent, self.onPointMoved),
        ]

    def _observePoints(self, points: vtkMRMLMarkupsFiducialNode | None) -> None:
        for event, callback in self._pointEvents():
            if self._points is not None:
                self.removeObserver(self._points, event, callback)
            if points is not None:
                self.addObserver(points, event, callback)
        self._points = points

    def onPointsChanged(self, *_arguments: Any) -> None:
        """A point was placed, taken back or removed: ask for what is missing, forget what is gone."""
        self.logic.removeOrphans()
        newest = self._askForMissing()
        self.refresh()
        if newest:
            self.selectNodule(newest)

    def onPointDropped(self, *_arguments: Any) -> None:
        """The mouse was released after dragging: answer again for what has moved."""
        for row in self.logic.rows(self._points, self._waiting()):
            if row.state in ("moved", "failed"):
                self.analyze(row.pointID)
        self.refresh()

    def onPointMoved(self, *_arguments: Any) -> None:
        """Comes with every mouse move: only refresh what is shown."""
        self.refresh()

    def onPlace(self, checked: bool) -> None:
        """The place button."""
        if not checked:
            self._stopPlacing()
            return
        if self._parameterNode.points is None:
            self._parameterNode.points = self.logic.makePoints()
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
        selection.SetActivePlaceNodeID(self._parameterNode.points.GetID())
        interaction = self._interactionNode()
        interaction.SetPlaceModePersistence(1)
        interaction.SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.Place)

    def _stopPlacing(self) -> None:
        if self.ui.placeButton.checked:
            self._interactionNode().SwitchToViewTransformMode()

    def _showPlaceMode(self, *_arguments: Any) -> None:
        selection, points = slicer.app.applicationLogic().GetSelectionNode(), self._points
        placing = self._interactionNode().GetCurrentInteractionMode() == slicer.vtkMRMLInteractionNode.Place
        own = points is not None and selection.GetActivePlaceNodeID() == points.GetID()
        self.ui.placeButton.checked = placing and own

    @staticmethod
    def _interactionNode() -> slicer.vtkMRMLInteractionNode:
        return slicer.app.applicationLogic().GetInteractionNode()

    # Analysis

    def _prepareModel(self) -> None:
        """Load the model in the background, once everything it needs is there."""
        from CLIPLungGUI import installer

        missing = installer.missingPackages()
        self.ui.installButton.visible = bool(missing)
        if missing:
            self._modelProblem = _("Missing: {names}. Results in the scene can be seen; new nodules need them.").format(
                names=", ".join(missing)
            )
            if installer.wantsResume() and installer.hasTorchExtension():
                self.onInstall(ask=False)
        elif self.logic.classifier is None and "model" not in self.worker.keys:
            self._modelProblem = ""
            path, device = self._modelPath(), self._device()
            self.worker.submit(
                "model", lambda _cancelled: loadClassifier(path, device), self._onModel, self._onModelError
            )
        self._showProgress()

    def _onModel(self, classifier: Any) -> None:
        self.logic.classifier = classifier
        self._fillDevices()
        self._askForMissing()
        self.refresh()

    def _onModelError(self, error: Exception) -> None:
        self._modelProblem = _("The model cannot be used: {reason}").format(reason=error)
        self._showProgress()

    def onInstall(self, *_arguments: Any, ask: bool = True) -> None:
        """The install button."""
        from CLIPLungGUI import installer

        try:
            installer.install(self.resourcePath("requirements.txt"), ask)
        except installer.NotInstalledError as error:
            self._modelProblem = str(error)
            self._showProgress()
            return
        self._prepareModel()

    def analyze(self, pointID: str) -> None:
        """Ask for the answer for a point, in the background."""
        if self._parameterNode is None or self._parameterNode.ct is None or self.logic.classifier is None:
            return
        points, ct = self._points, self._parameterNode.ct
        self.logic.failures.pop(self.logic.key(points, pointID), None)
        key = self.logic.key(points, pointID)
        try:
            work = self.logic.job(ct, points, pointID)
        except Exception as error:
            self._onRefused(key, error)
            return
        ids = points.GetID(), ct.GetID()
        self.worker.submit(
            key,
            work,
            lambda result: self._onAnswer(*ids, pointID, result),
            lambda error: self._onRefused(key, error),
        )

    def _askForMissing(self) -> str:
        """Ask for every placed point without an answer; returns the last of them."""
        asked = ""
        if self._points is not None and self._parameterNode is not None:
            for row in self.logic.rows(self._points, self._waiting()):
                if row.state == "new":
                    self.analyze(row.pointID)
                    asked = row.pointID
        return asked

    def _onAnswer(self, pointsID: str, ctID: str, pointID: str, result: "NoduleResult") -> None:
        points, ct = slicer.mrmlScene.GetNodeByID(pointsID), slicer.mrmlScene.GetNodeByID(ctID)
        if points is None or ct is None or not self.logic.hasPoint(points, pointID):
            return  # gone meanwhile
        self.logic.store(ct, points, pointID, result)
        self._hideHeatMaps()
        self.refresh()
        if points is self._points and self.nodules.selectedPointID() in ("", pointID):
            self.selectNodule(pointID)

    def _onRefused(self, key: str, error: Exception) -> None:
        self.logic.failures[key] = self.logic.reason(error)
        self.refresh()

    def onCancel(self, *_arguments: Any) -> None:
        """Forget the nodules that wait; they can be asked for again."""
        for key in self.worker.keys - {"model"}:
            self.logic.failures[key] = _("Cancelled. Press 'Analyze again' to ask for the answer.")
            self.worker.cancel(key)
        self.refresh()

    def _waiting(self) -> set[str]:
        return self.worker.keys

    # Showing

    def refresh(self) -> None:
        """Table, answer and buttons, from what the scene holds."""
        rows = self.logic.rows(self._points, self._waiting()) if self._points is not None else []
        self.nodules.fill(rows)
        selected = self.nodules.selectedPointID()
        row = next((row for row in rows if row.pointID == selected), None)
        result = self.logic.result(self._points, selected) if row else None
        if row is None:
            self.answer.showMessage(self._hint())
        elif result is None or row.state == "failed":
            self.answer.showMessage(row.reason or _("{label}: analyzing...").format(label=row.label))
        else:
            self.answer.showResult(row.label, result, row.state == "moved")
        hasAnswers = any(row.probability is not None for row in rows)
        self.ui.analyzeButton.enabled = row is not None and self.logic.classifier is not None
        self.ui.deleteButton.enabled = row is not None
        self.ui.placeButton.enabled = self._parameterNode is not None and self._parameterNode.ct is not None
        for button, enabled in (
            (self.ui.csvButton, hasAnswers),
            (self.ui.dicomButton, hasAnswers),
            (self.ui.jsonButton, result is not None),
            (self.ui.reportButton, result is not None),
        ):
            button.enabled = enabled
        self._showProgress()

    def _hint(self) -> str:
        if self._parameterNode is None or self._parameterNode.ct is None:
            return _("Load a chest CT and choose it above.")
        return _("Press 'Place nodules' and click on a nodule in a slice view.")

    def _showProgress(self) -> None:
        keys = self.worker.keys
        nodules = len(keys - {"model"})
        if "model" in keys:
            text = _("Loading the model...")
        elif nodules:
            text = _("Analyzing; {count} to go").format(count=nodules)
        elif self._modelProblem:
            text = self._modelProblem
        else:
            text = _("Ready.") if self.logic and self.logic.classifier else ""
        self.ui.statusLabel.text = text
        self.ui.progressBar.setRange(0, 0)
        self.ui.progressBar.visible = bool(keys)
        self.ui.cancelButton.visible = nodules > 0

    def selectNodule(self, pointID: str) -> None:
        """Select a nodule, jump there and show its heat map."""
        self.nodules.select(pointID)
        self.onNoduleSelected()

    def onNoduleSelected(self) -> None:
        """A row of the table was selected."""
        pointID = self.nodules.selectedPointID()
        if pointID and self._points is not None:
            self.logic.jumpTo(self._points, pointID)
            self.showOverlay()
        self.refresh()

    def showOverlay(self) -> None:
        """The selected nodule's heat map; without a selection the views are left as they are."""
        pointID = self.nodules.selectedPointID()
        if self._parameterNode is None or self._points is None or not pointID:
            return
        look = self._parameterNode
        self.logic.show(
            self._points, pointID, look.opacity if look.showOverlay else 0.0, look.threshold, look.showLegend
        )

    def _hideHeatMaps(self) -> None:
        self.ui.ctSelector.sortFilterProxyModel().hiddenNodeIDs = self.logic.heatMapIDs()

    # Buttons and keys

    def _connectButtons(self) -> None:
        ui = self.ui
        ui.placeButton.connect("toggled(bool)", self.onPlace)
        ui.noduleTable.connect("itemSelectionChanged()", self.onNoduleSelected)
        for button, slot in (
            (ui.installButton, self.onInstall),
            (ui.cancelButton, self.onCancel),
            (ui.analyzeButton, self.onAnalyzeAgain),
            (ui.deleteButton, self.onDelete),
            (ui.csvButton, self.onExportCSV),
            (ui.jsonButton, self.onExportJSON),
            (ui.reportButton, self.onExportReport),
            (ui.dicomButton, self.onExportDICOM),
        ):
            button.connect("clicked(bool)", slot)
        ui.deviceCombo.connect("currentIndexChanged(int)", self.onModelChanged)
        ui.modelPath.connect("currentPathChanged(QString)", self.onModelChanged)

    def onAnalyzeAgain(self, *_arguments: Any) -> None:
        """Ask again for the selected nodule."""
        if self.nodules.selectedPointID():
            self.analyze(self.nodules.selectedPointID())
            self.refresh()

    def onDelete(self, *_arguments: Any) -> None:
        """Remove the selected nodule; its result goes with it."""
        index = self._points.GetNthControlPointIndexByID(self.nodules.selectedPointID()) if self._points else -1
        if index >= 0:
            slicer.mrmlScene.SaveStateForUndo()
            self._points.RemoveNthControlPoint(index)

    def onNext(self) -> None:
        """Select the next nodule."""
        self._step(1)

    def onPrevious(self) -> None:
        """Select the previous nodule."""
        self._step(-1)

    def onToggleOverlay(self) -> None:
        """Show or hide the heat map."""
        self.ui.overlayCheck.checked = not self.ui.overlayCheck.checked

    def onTogglePlace(self) -> None:
        """Start or stop placing."""
        if self.ui.placeButton.enabled:
            self.ui.placeButton.checked = not self.ui.placeButton.checked

    def _step(self, step: int) -> None:
        pointID = self.nodules.neighbour(step)
        if pointID:
            self.selectNodule(pointID)

    def _addShortcuts(self) -> None:
        window = slicer.util.mainWindow()
        if window is None or self._shortcuts:
            return
        for keys, slot in (
            ("Alt+P", self.onTogglePlace),
            ("Alt+Down", self.onNext),
            ("Alt+Up", self.onPrevious),
            ("Alt+H", self.onToggleOverlay),
            ("Alt+Del", self.onDelete),
        ):
            shortcut = qt.QShortcut(qt.QKeySequence(keys), window)
            shortcut.connect("activated()", slot)
            self._shortcuts.append(shortcut)

    def _removeShortcuts(self) -> None:
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
        self._shortcuts = []

    # Export

    def onExportCSV(self, *_arguments: Any) -> None:
        """All answers as a table."""
        self._export(_("Table of all nodules"), "nodules.csv", "CSV (*.csv)", self.logic.writeCSV, every=True)

    def onExportJSON(self, *_arguments: Any) -> None:
        """The selected answer with every number."""
        self._export(_("Numbers of the nodule"), "nodule.json", "JSON (*.json)", self.logic.writeJSON)

    def onExportReport(self, *_arguments: Any) -> None:
        """The selected answer as a picture."""
        self._export(_("Report"), "nodule.png", "PNG (*.png)", self.logic.writeReport, needs="matplotlib")

    def onExportDICOM(self, *_arguments: Any) -> None:
        """All answers as a structured report."""
        self._export(_("Structured report"), "nodules.dcm", "DICOM (*.dcm)", self.logic.writeDICOM, True, "highdicom")

    def _export(
        self, title: str, name: str, kinds: str, write: Callable[..., None], every: bool = False, needs: str = ""
    ) -> None:
        from CLIPLungGUI.installer import ensureExportPackage

        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, kinds)
        if not path:
            return
        try:
            if needs:
                ensureExportPackage(needs, title)
            arguments = [self._points] if every else [self._points, self.nodules.selectedPointID()]
            write(*arguments, Path(path))
        except Exception as error:
            slicer.util.errorDisplay(self.logic.reason(error), windowTitle=title)
            return
        self.ui.statusLabel.text = _("Written: {path}").format(path=path)

    # Device and model file

    def _fillAdvanced(self) -> None:
        self.ui.modelPath.nameFilters = ["*.safetensors"]
        self.ui.modelPath.currentPath = slicer.util.settingsValue(MODEL_SETTING, "")
        self.ui.deviceCombo.addItem(_("Automatic"), "auto")
        self.ui.deviceCombo.addItem(_("Processor (CPU)"), "cpu")

    def _fillDevices(self) -> None:
        """Graphics cards are known once torch has been imported."""
        combo, wanted = self.ui.deviceCombo, slicer.util.settingsValue(DEVICE_SETTING, "auto")
        was = combo.blockSignals(True)
        for name, title in self.logic.devices():
            if combo.findData(name) < 0:
                combo.addItem(title, name)
        combo.setCurrentIndex(max(0, combo.findData(wanted)))
        combo.blockSignals(was)

    def _device(self) -> str:
        return slicer.util.settingsValue(DEVICE_SETTING, "auto")

    def _modelPath(self) -> str:
        return slicer.util.settingsValue(MODEL_SETTING, "")

    def onModelChanged(self, *_arguments: Any) -> None:
        """Another device or file: load again; answers in the scene stay and say which model they are from."""
        path = self.ui.modelPath.currentPath
        settings = slicer.app.userSettings()
        settings.setValue(MODEL_SETTING, path if path and Path(path).is_file() else "")
        settings.setValue(DEVICE_SETTING, self.ui.deviceCombo.itemData(self.ui.deviceCombo.currentIndex))
        self.logic.classifier = None
        self._prepareModel()


def loadClassifier(path: str, device: str) -> Any:
    """Runs in the thread: importing torch and reading the weights take seconds."""
    from CLIPLungLib.classifier import NoduleClassifier

    return NoduleClassifier.load(path or None, device)


class CLIPLungLogic(ScriptedLoadableModuleLogic):
    """Between the scene and the classifier; needs no panel.

    Attributes:
        classifier: a NoduleClassifier, or None before the model is loaded.
        failures: key -> why there is no answer.
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.classifier: Any = None
        self.failures: dict[str, str] = {}

    def getParameterNode(self) -> CLIPLungParameterNode:
        """The module's parameters in the scene."""
        return CLIPLungParameterNode(super().getParameterNode())

    @staticmethod
    def ctNodes() -> list[vtkMRMLScalarVolumeNode]:
        """Volumes that may be a CT: neither heat maps nor label maps."""
        heatMaps = set(CLIPLungLogic.heatMapIDs())
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        return [v for v in volumes if v.GetClassName() == "vtkMRMLScalarVolumeNode" and v.GetID() not in heatMaps]

    @staticmethod
    def heatMapIDs() -> list[str]:
        """IDs of the volumes this module has made."""
        from CLIPLungLib.scene import overlay
        from CLIPLungLib.scene.owned import all_owned

        return [node.GetID() for node in all_owned(slicer.mrmlScene, overlay.KIND)]

    @staticmethod
    def makePoints() -> vtkMRMLMarkupsFiducialNode:
        """A list of points drawn small, so that a nodule stays visible under its point."""
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodules")
        points.SetControlPointLabelFormat("N-%d")
        points.CreateDefaultDisplayNodes()
        points.GetDisplayNode().SetGlyphScale(POINT_GLYPH_SCALE)
        return points

    @staticmethod
    def key(points: vtkMRMLMarkupsFiducialNode, pointID: str) -> str:
        """Names a point among those of all lists."""
        return f"{points.GetID()}/{pointID}"

    def rows(self, points: vtkMRMLMarkupsFiducialNode, waiting: set[str]) -> list[Any]:
        """A NoduleRow per placed point; `waiting` are the keys that are being analyzed."""
        from CLIPLungGUI.nodule_list import NoduleRow

        from CLIPLungLib.errors import CLIPLungError
        from CLIPLungLib.scene.points import defined_points

        rows = []
        for point in defined_points(points):
            try:
                rows.append(self._row(points, point, waiting))
            except CLIPLungError as error:
                rows.append(NoduleRow(point.id, point.label, "failed", reason=str(error)))
        return rows

    def _row(self, points: vtkMRMLMarkupsFiducialNode, point: Any, waiting: set[str]) -> Any:
        from CLIPLungGUI.answer_panel import sizeText
        from CLIPLungGUI.nodule_list import DONE, FAILED, MOVED, NEW, WAITING, NoduleRow

        from CLIPLungLib.scene.results import is_stale

        key, result = self.key(points, point.id), self.result(points, point.id)
        reason = self.failures.get(key, "")
        if key in waiting:
            state = WAITING
        elif reason:
            state = FAILED
        elif result is None:
            state = NEW
        else:
            state = MOVED if is_stale(points, point.id) else DONE
            reason = "\n".join(result.warnings)
        if result is None:
            return NoduleRow(point.id, point.label, state, reason=reason)
        return NoduleRow(point.id, point.label, state, result.malignancy_probability, sizeText(result), reason)

    def result(self, points: vtkMRMLMarkupsFiducialNode, pointID: str) -> "NoduleResult | None":
        """What the scene holds for a point."""
        from CLIPLungLib.scene.results import stored_result

        stored = stored_result(points, pointID)
        return stored.result if stored else None

    @staticmethod
    def hasPoint(points: vtkMRMLMarkupsFiducialNode, pointID: str) -> bool:
        """Whether the point is still there."""
        from CLIPLungLib.scene.points import has_point

        return has_point(points, pointID)

    def job(
        self, ct: vtkMRMLScalarVolumeNode, points: vtkMRMLMarkupsFiducialNode, pointID: str
    ) -> Callable[[threading.Event], "NoduleResult"]:
        """The analysis of a point as a function for a thread: it touches arrays only.

        Raises:
            InputError: the volume or the point cannot be used; the text says why.
        """
        from CLIPLungLib.scene.ct_node import ct_volume
        from CLIPLungLib.scene.points import point_world_ras

        volume, ras, classifier = ct_volume(ct), point_world_ras(points, pointID), self.classifier
        # Held so that the voxels outlive the node, should the scene be closed while the thread reads them.
        voxels = ct.GetImageData().GetPointData().GetScalars()

        def work(_cancelled: threading.Event, _voxels: Any = voxels) -> "NoduleResult":
            return classifier.classify(volume, ras)

        return work

    @staticmethod
    def store(
        ct: vtkMRMLScalarVolumeNode, points: vtkMRMLMarkupsFiducialNode, pointID: str, result: "NoduleResult"
    ) -> None:
        """Put an answer into the scene."""
        from CLIPLungLib.scene.results import store_result

        store_result(ct, points, pointID, result)

    @staticmethod
    def jumpTo(points: vtkMRMLMarkupsFiducialNode, pointID: str) -> None:
        """Centre the slice views on a point."""
        from CLIPLungLib.scene.layers import jump_slices
        from CLIPLungLib.scene.points import point_world_ras

        jump_slices(slicer.mrmlScene, point_world_ras(points, pointID))

    @staticmethod
    def show(
        points: vtkMRMLMarkupsFiducialNode, pointID: str, opacity: float, threshold: float, showLegend: bool
    ) -> None:
        """The heat map of a point over its CT in every slice view; nothing where there is none."""
        from CLIPLungLib.scene.layers import refresh_legends
        from CLIPLungLib.scene.results import show_stored, stored_result

        stored = stored_result(points, pointID)
        if stored is None or stored.ct_node is None:
            return
        display = stored.overlay_node.GetDisplayNode()
        display.SetLowerThreshold(max(threshold, 1e-3))
        show_stored(points, pointID, opacity)
        colors = slicer.modules.colors.logic()
        if showLegend and colors.GetColorLegendDisplayNode(stored.overlay_node) is None:
            legend = colors.AddDefaultColorLegendDisplayNode(stored.overlay_node)
            legend.SetTitleText(_("Relevance"))
            legend.SetLabelFormat("%.1f")
        legend = colors.GetColorLegendDisplayNode(stored.overlay_node)
        if legend is not None:
            legend.SetVisibility(showLegend)
        refresh_legends(slicer.mrmlScene)

    @staticmethod
    def removeOrphans() -> None:
        """Take away the results of points that are gone."""
        from CLIPLungLib.scene.results import remove_orphans

        remove_orphans(slicer.mrmlScene)

    @staticmethod
    def devices() -> list[tuple[str, str]]:
        """Name and title of every graphics card torch can use."""
        import torch

        return [(f"cuda:{i}", torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())]

    @staticmethod
    def reason(error: Exception) -> str:
        """What the user reads."""
        from CLIPLungLib.errors import CLIPLungError

        if isinstance(error, CLIPLungError | OSError) or type(error).__name__ == "NotInstalledError":
            return str(error)
        return _("Unexpected problem ({kind}): {reason}").format(kind=type(error).__name__, reason=error)

    # Files

    def writeCSV(self, points: vtkMRMLMarkupsFiducialNode, path: Path) -> None:
        """All answers, with the columns of `cliplung batch`."""
        import csv

        from CLIPLungLib.replacing import replacing
        from CLIPLungLib.result import CSV_COLUMNS

        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, CSV_COLUMNS)
            writer.writeheader()
            writer.writerows(result.to_row(label) for label, result, _id in self._answers(points))

    def writeJSON(self, points: vtkMRMLMarkupsFiducialNode, pointID: str, path: Path) -> None:
        """One answer with every number."""
        from CLIPLungLib.report.files import write_json

        write_json(self.result(points, pointID), path)

    def writeReport(self, points: vtkMRMLMarkupsFiducialNode, pointID: str, path: Path) -> None:
        """One answer as a picture."""
        from CLIPLungLib.report.figure import save_report
        from CLIPLungLib.scene.ct_node import ct_volume
        from CLIPLungLib.scene.results import stored_result

        stored = stored_result(points, pointID)
        save_report(ct_volume(stored.ct_node), stored.result, path)

    def writeDICOM(self, points: vtkMRMLMarkupsFiducialNode, path: Path) -> None:
        """All answers as a DICOM structured report that refers to the CT's series."""
        from CLIPLungLib.report.dicom_sr import ReportedNodule, write_structured_report
        from CLIPLungLib.scene.results import stored_result

        answers = self._answers(points)
        cts = {stored_result(points, pointID).ct_node for _label, _result, pointID in answers}
        nodules = [ReportedNodule(label, result) for label, result, _id in answers]
        write_structured_report(nodules, _sourceFiles(cts), path)

    def _answers(self, points: vtkMRMLMarkupsFiducialNode) -> list[tuple[str, "NoduleResult", str]]:
        """Label, answer and ID of every point that has an answer for where it lies."""
        from CLIPLungLib.errors import InputError

        rows = [row for row in self.rows(points, set()) if row.state in ("done", "moved")]
        moved = [row.label for row in rows if row.state == "moved"]
        if moved:
            raise InputError(
                f"These points have moved since they were analyzed: {', '.join(moved)}. Press 'Analyze again' for each, then export."
            )
        return [(row.label, self.result(points, row.pointID), row.pointID) for row in rows]


def _sourceFiles(cts: set) -> list[Path]:
    """The DICOM files a CT was loaded from."""
    from CLIPLungLib.errors import InputError

    if len(cts) != 1 or None in cts:
        raise InputError("A structured report refers to one CT. Export the nodules of one CT at a time.")
    ct = cts.pop()
    uids = (ct.GetAttribute("DICOM.instanceUIDs") or "").split()
    files = [slicer.dicomDatabase.fileForInstance(uid) for uid in uids] if uids else []
    if not files or not all(files):
        raise InputError(
            f"'{ct.GetName()}' was not loaded from Slicer's DICOM database, so a structured report has no series to refer to. "
            "Import the series with the DICOM module, load it from there, and analyze the nodules on it."
        )
    return [Path(file) for file in files]


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
        """Place, answer, move, export, save and load, delete."""
        from CLIPLungGUI.selftest import checkWayOfWork

        checkWayOfWork(self)
