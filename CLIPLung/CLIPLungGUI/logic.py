"""Between the scene and the classifier; needs no panel and no Qt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import slicer
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode, vtkMRMLSliceNode
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from CLIPLungGUI.nodule_rows import NoduleRow
from CLIPLungGUI.parameters import CLIPLungParameterNode
from CLIPLungGUI.row_source import RowSource

if TYPE_CHECKING:
    from CLIPLungLib.inference.result import NoduleResult
    from CLIPLungLib.scene.ct_mark import CTState
    from CLIPLungLib.scene.result_index import ResultIndex
    from CLIPLungLib.scene.result_store import StoredResult

POINT_GLYPH_SCALE = 1.5


class CLIPLungLogic(ScriptedLoadableModuleLogic):
    """Answers of the points of a list, and how they are shown.

    Attributes:
        classifier: a NoduleClassifier, or None before the model is loaded.
        failures: key -> why there is no answer.
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.classifier: Any = None
        self.failures: dict[str, str] = {}
        self._index: ResultIndex | None = None

    def getParameterNode(self) -> CLIPLungParameterNode:
        """The module's parameters in the scene."""
        # The wrapper gives the class its constructor.
        return CLIPLungParameterNode(super().getParameterNode())  # type: ignore[call-arg]

    @staticmethod
    def ctNodes() -> list[vtkMRMLScalarVolumeNode]:
        """Volumes that may be a CT: neither heat maps nor label maps."""
        heatMaps = set(CLIPLungLogic.heatMapIDs())
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        return [v for v in volumes if v.GetClassName() == "vtkMRMLScalarVolumeNode" and v.GetID() not in heatMaps]

    @staticmethod
    def heatMapIDs() -> list[str]:
        """IDs of the volumes this module has made."""
        from CLIPLungLib.scene import explanation_node, heatmap_node
        from CLIPLungLib.scene.tagged_nodes import all_tagged

        kinds = (heatmap_node.KIND, explanation_node.KIND)
        return [node.GetID() for kind in kinds for node in all_tagged(slicer.mrmlScene, kind)]

    @staticmethod
    def priorMarkIDs() -> list[str]:
        """IDs of the points that mark nodules in prior CTs."""
        from CLIPLungLib.scene import prior_point
        from CLIPLungLib.scene.tagged_nodes import all_tagged

        return [node.GetID() for node in all_tagged(slicer.mrmlScene, prior_point.KIND)]

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

    def rows(self, points: vtkMRMLMarkupsFiducialNode, waiting: set[str]) -> list[NoduleRow]:
        """A row per placed point; `waiting` are the keys that are being analyzed."""
        return self._rowSource(points, waiting).all()

    def rowAt(self, points: vtkMRMLMarkupsFiducialNode, number: int, waiting: set[str]) -> NoduleRow | None:
        """The row of the point at this place in the list; None when it is not placed. For every move of the mouse."""
        return self._rowSource(points, waiting).at(number)

    def _rowSource(self, points: vtkMRMLMarkupsFiducialNode, waiting: set[str]) -> RowSource:
        from CLIPLungLib.scene.result_index import ResultIndex

        if self._index is None:
            self._index = ResultIndex()
        prefix = self.key(points, "")
        waitingIDs = {key.removeprefix(prefix) for key in waiting if key.startswith(prefix)}
        failures = {key.removeprefix(prefix): why for key, why in self.failures.items() if key.startswith(prefix)}
        return RowSource(self._index, points, waitingIDs, failures)

    @staticmethod
    def stored(points: vtkMRMLMarkupsFiducialNode, pointID: str) -> StoredResult | None:
        """What the scene holds for a point; None for a damaged one too, whose row says so."""
        from CLIPLungLib.errors import CLIPLungError
        from CLIPLungLib.scene.result_store import stored_result

        try:
            return stored_result(points, pointID)
        except CLIPLungError:
            return None

    def result(self, points: vtkMRMLMarkupsFiducialNode, pointID: str) -> NoduleResult | None:
        """The answer for a point."""
        stored = self.stored(points, pointID)
        return stored.result if stored else None

    @staticmethod
    def heatMap(points: vtkMRMLMarkupsFiducialNode, pointID: str) -> vtkMRMLScalarVolumeNode | None:
        """The node that holds a point's answer."""
        from CLIPLungLib.scene.heatmap_node import find_overlay

        return find_overlay(points, pointID)

    @staticmethod
    def ctOf(points: vtkMRMLMarkupsFiducialNode | None, pointID: str) -> vtkMRMLScalarVolumeNode | None:
        """The CT that a point's answer is of, whichever is chosen now; None without an answer, or when that CT is gone."""
        from CLIPLungLib.scene.tagged_nodes import CT_ROLE

        node = CLIPLungLogic.heatMap(points, pointID) if points is not None and pointID else None
        return None if node is None else node.GetNodeReference(CT_ROLE)

    @staticmethod
    def hasPoint(points: vtkMRMLMarkupsFiducialNode, pointID: str) -> bool:
        """Whether the point is still there."""
        from CLIPLungLib.scene.control_points import has_point

        return has_point(points, pointID)

    def job(
        self, ct: vtkMRMLScalarVolumeNode, points: vtkMRMLMarkupsFiducialNode, pointID: str
    ) -> Callable[[threading.Event], NoduleResult]:
        """The analysis of a point as a function for a thread: it touches arrays only.

        Raises:
            InputError: the volume or the point cannot be used; the text says why.
        """
        from CLIPLungLib.scene.control_points import point_world_ras
        from CLIPLungLib.scene.volume_node import ct_volume

        volume, ras, classifier = ct_volume(ct), point_world_ras(points, pointID), self.classifier
        # Held so that the voxels outlive the node, should the scene be closed while the thread reads them.
        voxels = ct.GetImageData().GetPointData().GetScalars()

        def work(_cancelled: threading.Event, _voxels: Any = voxels) -> NoduleResult:
            return _withSceneWarning(classifier.classify(volume, ras), volume.source.get("warning", ""))

        return work

    @staticmethod
    def ctState(ct: vtkMRMLScalarVolumeNode) -> CTState:
        """Where a CT lies and how old its voxels are, to be given to `requireUnchanged` when the answer is there."""
        from CLIPLungLib.scene.ct_mark import ct_state

        return ct_state(ct)

    @staticmethod
    def requireUnchanged(ct: vtkMRMLScalarVolumeNode, before: CTState) -> None:
        """Refuse an answer for a CT that has become another one.

        Raises:
            InputError: it was moved or its voxels were modified meanwhile.
        """
        from CLIPLungLib.scene.ct_mark import require_unchanged

        require_unchanged(ct, before)

    @staticmethod
    def store(
        ct: vtkMRMLScalarVolumeNode, points: vtkMRMLMarkupsFiducialNode, pointID: str, result: NoduleResult
    ) -> None:
        """Put an answer into the scene."""
        from CLIPLungLib.scene.result_store import store_result

        store_result(ct, points, pointID, result)

    @staticmethod
    def jumpTo(points: vtkMRMLMarkupsFiducialNode, pointID: str) -> None:
        """Centre the slice views on a point."""
        from CLIPLungLib.scene.control_points import point_world_ras
        from CLIPLungLib.scene.slice_layers import jump_slices

        jump_slices(slicer.mrmlScene, point_world_ras(points, pointID))

    @staticmethod
    def jumpViewTo(sliceNode: vtkMRMLSliceNode, points: vtkMRMLMarkupsFiducialNode, pointID: str) -> None:
        """Centre one slice view on a point; nothing when the point is gone."""
        from CLIPLungLib.scene.control_points import defined_points
        from CLIPLungLib.scene.slice_layers import jump_slice

        for point in defined_points(points):
            if point.id == pointID:
                jump_slice(sliceNode, point.ras)

    @staticmethod
    def zoom(ct: vtkMRMLScalarVolumeNode, isClose: bool) -> None:
        """The slice views close to a nodule, or wide enough for the whole CT."""
        from CLIPLungLib.scene.slice_layers import NODULE_FIELD_MM, whole_field_mm, zoom_slices

        zoom_slices(slicer.mrmlScene, NODULE_FIELD_MM if isClose else whole_field_mm(ct))

    @staticmethod
    def zoomView(sliceNode: vtkMRMLSliceNode) -> None:
        """One slice view close to a nodule."""
        from CLIPLungLib.scene.slice_layers import NODULE_FIELD_MM, zoom_slice

        zoom_slice(sliceNode, NODULE_FIELD_MM)

    @staticmethod
    def show(
        points: vtkMRMLMarkupsFiducialNode, pointID: str, opacity: float, threshold: float, showLegend: bool
    ) -> None:
        """The heat map of a point over its CT in every slice view; nothing where there is none."""
        from CLIPLungLib.scene.color_legend import show_legend
        from CLIPLungLib.scene.heatmap_node import display_of
        from CLIPLungLib.scene.result_store import show_stored
        from CLIPLungLib.scene.slice_layers import refresh_legends

        stored = CLIPLungLogic.stored(points, pointID)
        if stored is None or stored.ct_node is None:
            return
        display_of(stored.overlay_node).SetLowerThreshold(max(threshold, 1e-3))
        show_stored(points, pointID, opacity)
        show_legend(stored.overlay_node, showLegend)
        refresh_legends(slicer.mrmlScene)

    @staticmethod
    def followLabels(points: vtkMRMLMarkupsFiducialNode, labels: Mapping[str, str]) -> None:
        """Heat maps, table and chart are called as their points are called now.

        Args:
            labels: point ID -> label, of those that may have changed.
        """
        from CLIPLungLib.scene.result_store import follow_labels
        from CLIPLungLib.scene.result_table import other_labels

        renamed = other_labels(points, labels)
        if renamed:
            follow_labels(points, renamed)

    def removeOrphans(self) -> None:
        """Take away the results of points that are gone, and the reasons why others had none: IDs may be used again."""
        from CLIPLungLib.scene.result_store import remove_orphans

        remove_orphans(slicer.mrmlScene)
        self.failures = {key: reason for key, reason in self.failures.items() if self._isThere(key)}

    def _isThere(self, key: str) -> bool:
        nodeID, _separator, pointID = key.rpartition("/")
        points = slicer.mrmlScene.GetNodeByID(nodeID)
        return points is not None and self.hasPoint(points, pointID)

    @staticmethod
    def reason(error: Exception) -> str:
        """What the user reads."""
        from CLIPLungLib.errors import CLIPLungError

        if isinstance(error, CLIPLungError | OSError):
            return str(error)
        return _("Unexpected problem ({kind}): {reason}").format(kind=type(error).__name__, reason=error)


def _withSceneWarning(result: NoduleResult, warning: str) -> NoduleResult:
    """An answer that says what the scene does to its CT, before anything else."""
    if not warning or warning in result.warnings:
        return result
    return replace(result, warnings=(warning, *result.warnings))
