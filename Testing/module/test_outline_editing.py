"""The panel's outline section on Qt stand-ins, with real MRML on slicer-core."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("PySide6")
from helpers import slicer_scene
from vtk.util.numpy_support import vtk_to_numpy

slicer = slicer_scene.slicer


@pytest.fixture
def widget(opened_module):
    """The module with a CT."""
    from CLIPLungGUI.selftest import addTestCT

    addTestCT()
    opened_module.outline.editing._timer.setInterval(20)
    return opened_module


@pytest.fixture
def answered(widget, monkeypatch):
    """A point whose nodule is outlined as a ball: an untrained network may draw anything."""
    from CLIPLungGUI.selftest import LARGE_RAS

    from CLIPLungLib.inference import outline_measurement, readout

    def measured(inside, spacing_mm, exists=None):
        middle = (np.array(inside.shape) - 1) / 2
        offsets_mm = (np.moveaxis(np.indices(inside.shape), 0, -1) - middle) * spacing_mm
        ball = (np.linalg.norm(offsets_mm, axis=-1) < 6.0).astype(float)
        return outline_measurement.measure_outline(ball, spacing_mm, exists)

    monkeypatch.setattr(readout, "measure_outline", measured)
    return place(widget, LARGE_RAS)


def place(widget, ras):
    points = widget._parameterNode.points
    if points is None:
        points = widget._parameterNode.points = widget.logic.makePoints()
    index = points.AddControlPointWorld(list(ras), "N-1")
    assert widget.worker.wait(60, slicer.app.processEvents)
    return points.GetNthControlPointID(index)


def idle(widget):
    """Let the timer fire."""
    end = time.monotonic() + 10
    while widget.outline.editing._timer.isActive() and time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.005)


def segment_of(widget, point_id):
    from CLIPLungLib.scene import outline_segments

    return outline_segments.find_segment(widget._points, point_id)


def erase_half(segment):
    segmentation = segment.node.GetSegmentation()
    labelmap = segmentation.GetSegment(segment.id).GetRepresentation("Binary labelmap")
    voxels = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(labelmap.GetDimensions()[::-1])
    voxels[:, :, : voxels.shape[2] // 2] = 0
    segmentation.InvokeEvent(segmentation.SourceRepresentationModified, segment.id)


def result_of(widget, point_id):
    return widget.logic.result(widget._points, point_id)


def test_edit_is_measured_once_a_moment_after_the_last_stroke(widget, answered, monkeypatch):
    from CLIPLungLib.scene import outline_edits

    idle(widget)
    calls, whole = [], outline_edits.take_over_edits
    monkeypatch.setattr(outline_edits, "take_over_edits", lambda scene: calls.append(1) or whole(scene))
    before = result_of(widget, answered).measurement.volume_mm3
    for _stroke in range(5):
        erase_half(segment_of(widget, answered))
    assert calls == []
    assert not result_of(widget, answered).measurement.corrected_by_hand
    idle(widget)
    assert calls == [1]
    size = result_of(widget, answered).measurement
    assert size.corrected_by_hand
    assert size.volume_mm3 < before
    assert "corrected by hand" in widget.ui.warningLabel.text


def test_edit_made_while_the_module_is_closed_is_measured_too(widget, answered):
    idle(widget)
    widget.exit()
    erase_half(segment_of_scene())
    idle(widget)
    widget.enter()
    assert result_of(widget, answered).measurement.corrected_by_hand


def segment_of_scene():
    from CLIPLungLib.scene import outline_segments

    return outline_segments.all_segments(slicer.mrmlScene)[0]


def test_restore_button_takes_the_correction_back(widget, answered):
    idle(widget)
    before = result_of(widget, answered).measurement
    erase_half(segment_of(widget, answered))
    idle(widget)
    widget.outline.ui.restoreOutlineButton.click()
    assert result_of(widget, answered).measurement == before
    assert not widget.outline.ui.outlineLabel.text


def test_deleted_segmentation_and_point_and_scene_are_survived(widget, answered):
    idle(widget)
    erase_half(segment_of(widget, answered))
    idle(widget)
    slicer.mrmlScene.RemoveNode(segment_of(widget, answered).node)
    idle(widget)
    assert not result_of(widget, answered).measurement.corrected_by_hand
    widget.outline.ui.restoreOutlineButton.click()
    assert segment_of(widget, answered) is not None
    widget._points.RemoveNthControlPoint(0)
    idle(widget)
    assert slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode") is None
    slicer.mrmlScene.Clear(False)
    idle(widget)


def test_scene_with_a_correction_is_loaded_and_watched(widget, answered, tmp_path):
    widget.parent.isEntered = True
    idle(widget)
    erase_half(segment_of(widget, answered))
    idle(widget)
    size = result_of(widget, answered).measurement
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    idle(widget)
    again = result_of(widget, answered).measurement
    assert again.corrected_by_hand
    assert again.volume_mm3 == pytest.approx(size.volume_mm3)
    erase_half(segment_of(widget, answered))
    idle(widget)
    assert result_of(widget, answered).measurement.volume_mm3 < size.volume_mm3


def test_buttons_without_a_nodule_or_a_segment_say_what_to_do(widget):
    for button, text in (
        (widget.outline.ui.editOutlineButton, "No nodule is selected"),
        (widget.outline.ui.restoreOutlineButton, "No nodule is selected"),
        (widget.outline.ui.segmentPointButton, "No segment is selected"),
    ):
        button.click()
        assert text in widget.outline.ui.outlineLabel.text


@pytest.fixture
def editor(application):
    """The logic that knows the Segment Editor's node."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLApplicationLogic(application.standalone.application_logic)
    logic.SetMRMLScene(slicer.mrmlScene)
    yield logic
    logic.SetMRMLScene(None)


def test_edit_button_opens_the_editor_with_the_outline(widget, answered, editor, monkeypatch):
    opened = []
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    widget.outline.ui.editOutlineButton.click()
    node = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    segment = segment_of(widget, answered)
    assert node.GetSegmentationNode() is segment.node
    assert node.GetSelectedSegmentID() == segment.id
    assert node.GetSourceVolumeNode() is widget._parameterNode.ct
    assert opened == ["SegmentEditor"]


def test_drawn_segment_is_analyzed_as_if_it_had_been_clicked(widget, answered, editor, monkeypatch):
    from CLIPLungLib.scene import outline_segments

    monkeypatch.setattr(slicer.util, "selectModule", lambda _name: None)
    widget.outline.ui.editOutlineButton.click()
    middle = outline_segments.segment_mask(segment_of(widget, answered)).middle_ras()
    widget.outline.ui.segmentPointButton.click()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert widget._points.GetNumberOfControlPoints() == 2
    np.testing.assert_allclose(widget._points.GetNthControlPointPositionWorld(1), middle)
    assert result_of(widget, widget._points.GetNthControlPointID(1)) is not None
    assert widget.outline.ui.outlineLabel.text == ""


def test_segment_drawn_on_another_ct_than_the_chosen_one_says_so(widget, answered, editor, monkeypatch):
    from CLIPLungGUI.selftest import addTestCT

    monkeypatch.setattr(slicer.util, "selectModule", lambda _name: None)
    widget.outline.ui.editOutlineButton.click()
    widget._parameterNode.ct = addTestCT("of somebody else")
    widget.outline.ui.segmentPointButton.click()
    assert "analyzed on 'of somebody else'" in widget.outline.ui.outlineLabel.text
