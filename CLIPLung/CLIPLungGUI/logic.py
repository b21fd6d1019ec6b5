"""Between the scene and the classifier; needs no panel and no Qt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import slicer
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode, vtkMRMLSliceNode
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from CLIPLungGUI.nodule_rows import DONE, FAILED, MOVED, NEW, WAITING, NoduleRow, sizeText
from CLIPLungGUI.parameters import CLIPLungParameterNode

if TYPE_CHECKING:
    from CLIPLungLib.inference.result import NoduleResult
    from CLIPLungLib.scene.control_points import DefinedPoint
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
        from CLIPLungLib.scene import heatmap_node
        from CLIPLungLib.scene.tagged_nodes import all_tagged

        return [node.GetID() for node in all_tagged(slicer.mrmlScene, heatmap_node.KIND)]

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
        from CLIPLungLib.errors import CLIPLungError
        from CLIPLungLib.scene.control_points import defined_points

        rows = []
        for point in defined_points(points):
            try:
                rows.append(self._row(points, point, waiting))
            except CLIPLungError as error:
                rows.append(NoduleRow(point.id, point.label, FAILED, reason=str(error)))
        return rows

    def _row(self, points: vtkMRMLMarkupsFiducialNode, point: DefinedPoint, waiting: set[str]) -> NoduleRow:
        from CLIPLungLib.scene.result_store import stored_result

        key, stored = self.key(points, point.id), stored_result(points, point.id)
        reason = self.failures.get(key, "")
        if key in waiting:
            state, reason = WAITING, ""
        elif reason:
            state = FAILED
        elif stored is None:
            state = NEW
        else:
            state = MOVED if stored.is_stale_at(point.ras) else DONE
            reason = "\n".join(stored.result.warnings)
        if stored is None:
            return NoduleRow(point.id, point.label, state, reason=reason)
        probability, size = stored.result.malignancy_probability, sizeText(stored.result)
        return NoduleRow(point.id, point.label, state, probability, size, reason, stored.is_stale_at(point.ras))

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
    def show(
        points: vtkMRMLMarkupsFiducialNode, pointID: str, opacity: float, threshold: float, showLegend: bool
    ) -> None:
        """The heat map of a point over its CT in every slice view; nothing where there is none."""
        from CLIPLungLib.scene.color_legend import show_legend
        from CLIPLungLib.scene.result_store import show_stored
        from CLIPLungLib.scene.slice_layers import refresh_legends

        stored = CLIPLungLogic.stored(points, pointID)
        if stored is None or stored.ct_node is None:
            return
        display = stored.overlay_node.GetDisplayNode()
        display.SetLowerThreshold(max(threshold, 1e-3))
        show_stored(points, pointID, opacity)
        show_legend(stored.overlay_node, showLegend)
        refresh_legends(slicer.mrmlScene)

    @staticmethod
    def followLabels(points: vtkMRMLMarkupsFiducialNode) -> None:
        """Heat maps, table and chart are called as their points are called now."""
        from CLIPLungLib.scene.result_store import follow_labels

        follow_labels(points)

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
