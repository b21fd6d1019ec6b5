"""Outlines that a person changes: measured again a moment after the last stroke, and the buttons of the panel's outline section."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

IDLE_MS = 700


class OutlineEditing(VTKObservationMixin):
    """Watches the segmentations of this module, also while the Segment Editor is open, and measures when nobody draws.

    Args:
        onMeasured: called when the size of a nodule has become another one.
        onProblem: called with the reason when an outline cannot be measured.
    """

    def __init__(self, onMeasured: Callable[[], None], onProblem: Callable[[str], None]) -> None:
        VTKObservationMixin.__init__(self)
        self._onMeasured, self._onProblem = onMeasured, onProblem
        self._problem = ""
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(IDLE_MS)
        self._timer.connect("timeout()", self.measure)

    def follow(self, *_arguments: Any) -> None:
        """Watch the segmentations the scene has now, and measure soon: some may have come, changed or gone."""
        from CLIPLungLib.scene import outline_labelmap, outline_segments
        from CLIPLungLib.scene.tagged_nodes import all_tagged

        self.removeObservers()
        for node in all_tagged(slicer.mrmlScene, outline_segments.KIND):
            segmentation = node.GetSegmentation()
            self.addObserver(segmentation, vtk.vtkCommand.ModifiedEvent, self.measureSoon)
            self.addObserver(segmentation, segmentation.SourceRepresentationModified, self.measureSoon)
            self.addObserver(segmentation, segmentation.SegmentRemoved, self.measureSoon)
        for node in all_tagged(slicer.mrmlScene, outline_labelmap.KIND):
            self.addObserver(node, node.ImageDataModifiedEvent, self.measureSoon)
        self.measureSoon()

    def measureSoon(self, *_arguments: Any) -> None:
        """Begin to wait anew: a stroke costs nothing else."""
        self._timer.start()

    def measure(self) -> None:
        """Measure now what has changed; while a scene is loaded or closed, later."""
        from CLIPLungLib.scene.outline_edits import take_over_edits

        if slicer.mrmlScene.IsBatchProcessing():
            self.measureSoon()
            return
        edits = take_over_edits(slicer.mrmlScene)
        if edits.changed:
            self._onMeasured()
        problem = "\n".join(edits.problems)
        # Said once, not after every stroke.
        if problem and problem != self._problem:
            self._onProblem(problem)
        self._problem = problem

    def stop(self) -> None:
        """Before the panel goes."""
        self._timer.stop()
        self.removeObservers()


class OutlineSection:
    """The section of the panel, and the watching.

    Args:
        file: the .ui of the section.
        selection: gives the list of points and the ID of the selected one.
        makePoints: gives the list that new points go to, made when there is none.
        chosenCT: gives the CT of the panel, on which new points are analyzed.
        refresh: shows what the scene holds.
        fit: called when the section is opened or closed.
    """

    def __init__(
        self,
        file: str,
        selection: Callable[[], tuple[Any, str]],
        makePoints: Callable[[], slicer.vtkMRMLMarkupsFiducialNode],
        chosenCT: Callable[[], Any],
        refresh: Callable[[], None],
        fit: Callable[..., None],
    ) -> None:
        self.widget = slicer.util.loadUI(file)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._selection, self._makePoints, self._refresh = selection, makePoints, refresh
        self._chosenCT = chosenCT
        self.editing = OutlineEditing(self._onMeasured, self._say)
        self.ui.editOutlineButton.connect("clicked(bool)", self.onEdit)
        self.ui.restoreOutlineButton.connect("clicked(bool)", self.onRestore)
        self.ui.segmentPointButton.connect("clicked(bool)", self.onSegment)
        self.ui.outlineSection.connect("contentsCollapsed(bool)", fit)
        self._say("")

    def onSceneReplaced(self) -> None:
        """Another scene: its outlines are watched, and take no more memory than they need."""
        from CLIPLungLib.scene import outline_segments

        if outline_segments.can_segment():
            outline_segments.keep_local(slicer.mrmlScene)
        self.editing.follow()

    def onEdit(self, *_arguments: Any) -> None:
        """Open the Segment Editor with the selected nodule's outline."""
        from CLIPLungLib.scene.segment_editor import select_outline

        points, pointID = self._selection()
        if self._try(lambda: select_outline(*self._selected(points, pointID))):
            slicer.util.selectModule("SegmentEditor")

    def onRestore(self, *_arguments: Any) -> None:
        """The program's own outline and size again."""
        from CLIPLungLib.scene.outline_edits import restore_outline

        points, pointID = self._selection()
        if self._try(lambda: restore_outline(*self._selected(points, pointID))):
            self._onMeasured()

    def onSegment(self, *_arguments: Any) -> None:
        """A point in the segment that is selected in the Segment Editor: as if it had been clicked."""
        if self._try(self.analyseSelectedSegment):
            self._say(self._otherCTText())

    def analyseSelectedSegment(self) -> str:
        """Place a point in the segment that is selected in the Segment Editor; the panel then asks for its answer.

        Returns:
            ID of the point.

        Raises:
            InputError: nothing is selected, or the segment is empty.
        """
        from CLIPLungLib.scene.outline_edits import segment_click_ras
        from CLIPLungLib.scene.segment_editor import selected_segment

        node, segmentID = selected_segment(slicer.mrmlScene)
        ras = segment_click_ras(node, segmentID)
        points = self._selection()[0] or self._makePoints()
        index = points.AddControlPointWorld([float(value) for value in ras])
        return str(points.GetNthControlPointID(index))

    def _otherCTText(self) -> str:
        """That a segment was drawn on another volume than it is analyzed on, which may be of another patient; empty otherwise."""
        from CLIPLungLib.scene.segment_editor import drawn_on, selected_segment

        drawn, chosen = drawn_on(selected_segment(slicer.mrmlScene)[0]), self._chosenCT()
        if drawn is None or chosen in (None, drawn):
            return ""
        return _("The segment was drawn on '{drawn}', and is analyzed on '{chosen}', the CT chosen above.").format(
            drawn=drawn.GetName(), chosen=chosen.GetName()
        )

    def _onMeasured(self) -> None:
        self._say("")
        self._refresh()

    def _selected(self, points: Any, pointID: str) -> tuple[Any, str]:
        from CLIPLungLib.errors import InputError

        if points is None or not pointID:
            raise InputError(_("No nodule is selected. Select one in the list."))
        return points, pointID

    def _try(self, action: Callable[[], object]) -> bool:
        """Whether it could be done; the reason is shown otherwise."""
        from CLIPLungLib.errors import CLIPLungError

        try:
            action()
        except CLIPLungError as error:
            self._say(str(error))
            return False
        self._say("")
        return True

    def _say(self, text: str) -> None:
        self.ui.outlineLabel.text = text
        self.ui.outlineLabel.visible = bool(text)
