"""What the panel says of answers when the scene changes under them: the CT is moved, filled anew, or another one is chosen."""

from __future__ import annotations

import csv
import time

import numpy as np
import pytest

pytest.importorskip("PySide6")
from helpers import slicer_scene

slicer = slicer_scene.slicer


@pytest.fixture
def widget(opened_module):
    """The module with a CT and a list of points."""
    from CLIPLungGUI.selftest import addTestCT

    addTestCT("first")
    opened_module._parameterNode.points = opened_module.logic.makePoints()
    return opened_module


def click(widget, label="one", ras=None):
    """Place a point, and wait for nothing."""
    from CLIPLungGUI.selftest import LARGE_RAS

    index = widget._points.AddControlPointWorld(list(ras or LARGE_RAS), label)
    return widget._points.GetNthControlPointID(index)


def answered(widget, label="one", ras=None):
    point_id = click(widget, label, ras)
    assert widget.worker.wait(60, slicer.app.processEvents)
    widget.selectNodule(point_id)
    return point_id


def wait_for_observer(widget):
    end = time.monotonic() + 5
    while widget.ctObserver._timer.isActive() and time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.005)


def move(node):
    shift = np.eye(4)
    shift[0, 3] = 4.0
    node.SetAndObserveTransformNodeID(slicer_scene.add_transform(slicer.mrmlScene, shift).GetID())


def fill_anew(node):
    slicer.util.arrayFromVolume(node)[:] -= 50
    slicer.util.arrayFromVolumeModified(node)


def bend(node):
    above = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "bent")
    node.SetAndObserveTransformNodeID(above.GetID())


def state(widget):
    return widget.nodules.rowOf(widget.nodules.selectedPointID()).state


@pytest.mark.parametrize("change", [move, fill_anew, bend])
def test_ct_that_changes_while_a_nodule_is_analyzed_gives_no_answer(widget, change):
    point_id = click(widget)
    assert widget.analyses.waiting
    change(widget._parameterNode.ct)
    assert widget.logic.heatMapIDs() == [], "the answer came before the change"
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert widget.logic.heatMapIDs() == []
    widget.selectNodule(point_id)
    assert state(widget) == "failed"
    assert ("not linear" if change is bend else "while the nodule was analyzed") in widget.ui.answerLabel.text
    if change is not bend:
        widget.onAnalyzeAgain()
        assert widget.worker.wait(60, slicer.app.processEvents)
        assert state(widget) == "done"


@pytest.mark.parametrize("change", [move, fill_anew])
def test_ct_that_changes_afterwards_is_told_without_a_click(widget, application, tmp_path, change):
    answered(widget)
    assert state(widget) == "done"
    change(widget._parameterNode.ct)
    wait_for_observer(widget)
    assert state(widget) == "moved"
    assert "moved or changed" in widget.ui.warningLabel.text
    application.save_as = str(tmp_path / "a.csv")
    widget.exports.onCSV()
    assert "moved or changed: one" in application.dialogs[0]
    widget.onAnalyzeAgain()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert state(widget) == "done"


def test_points_moved_by_a_transform_are_told_without_a_click(widget):
    answered(widget)
    move(widget._points)
    assert state(widget) == "moved"
    widget._points.GetParentTransformNode().SetMatrixTransformToParent(slicer_scene.vtk.vtkMatrix4x4())
    assert state(widget) == "done"


def test_observer_lets_go_of_a_ct_that_is_not_chosen_any_more(widget):
    first = widget._parameterNode.ct
    widget._parameterNode.ct = None
    fill_anew(first)
    assert not widget.ctObserver._timer.isActive()


def test_map_of_a_ct_that_was_bent_or_emptied_says_why(widget):
    answered(widget)
    ct = widget._parameterNode.ct
    for change, words in (
        (bend, "not linear"),
        (lambda node: (node.SetAndObserveTransformNodeID(None), node.SetAndObserveImageData(None)), "holds no voxels"),
    ):
        change(ct)
        widget.explain.onNameChosen()
        widget.explain.combo.setCurrentIndex(widget.explain.combo.findData("texture"))
        widget.explain.onNameChosen()
        assert words in widget.explain.message.text
        assert not widget.worker.busy


def test_map_computed_while_the_ct_changed_is_dropped(widget):
    answered(widget)
    before = set(widget.logic.heatMapIDs())
    widget.explain.combo.setCurrentIndex(widget.explain.combo.findData("texture"))
    move(widget._parameterNode.ct)
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert set(widget.logic.heatMapIDs()) == before
    assert "moved or changed" in widget.explain.message.text


def test_nodules_of_two_cts_are_told_apart(widget, application, tmp_path):
    """One list of points goes on from one CT to the next, maybe of another patient."""
    from CLIPLungGUI.selftest import SMALL_RAS, addTestCT

    first, second = widget._parameterNode.ct, addTestCT("second")
    one = answered(widget)
    picture = widget._picture(one)
    widget._parameterNode.ct = second
    fill_anew(second)
    assert "not of the CT chosen above" in widget.ui.warningLabel.text
    assert widget._picture(one) == picture != ""
    application.save_as = str(tmp_path / "a.csv")
    widget.exports.onCSV()
    assert ids(tmp_path / "a.csv") == ["one"]
    two = answered(widget, "two", SMALL_RAS)
    assert "chosen above" not in widget.ui.warningLabel.text
    assert (widget.logic.ctOf(widget._points, one), widget.logic.ctOf(widget._points, two)) == (first, second)
    widget.exports.onCSV()
    assert ids(tmp_path / "a.csv") == ["first one", "second two"]


@pytest.mark.parametrize("is_gone", [False, True])
def test_dragging_and_undoing_move_no_answer_to_the_ct_of_another_patient(widget, is_gone):
    from CLIPLungGUI.selftest import addTestCT

    first, second = widget._parameterNode.ct, addTestCT("second")
    point_id = answered(widget)
    before = widget.logic.result(widget._points, point_id).point_ras
    widget._parameterNode.ct = second
    if is_gone:
        slicer.mrmlScene.RemoveNode(first)
    widget._points.SetNthControlPointPositionWorld(0, 25.0, 10.0, 5.0)
    widget.onPointDropped()
    widget.onUndo()
    widget._points.SetNthControlPointPositionWorld(0, 25.0, 10.0, 5.0)
    widget.onPointDropped()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert state(widget) == "moved"
    assert widget.logic.result(widget._points, point_id).point_ras == before
    # Asked for it, it goes over.
    widget.onAnalyzeAgain()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert state(widget) == "done"
    assert widget.logic.ctOf(widget._points, point_id) is second


def ids(file):
    with file.open(newline="", encoding="utf-8") as stream:
        return [row["id"] for row in csv.DictReader(stream)]


def test_missing_weights_are_named_and_no_others_taken(widget, tmp_path, tiny_checkpoint_file):
    widget.ui.modelPath.currentPath = str(tmp_path / "mine.safetensors")
    assert widget.logic.classifier is None
    assert not widget.worker.busy
    assert "mine.safetensors" in widget.ui.statusLabel.text
    widget.ui.modelPath.currentPath = str(tiny_checkpoint_file)
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert widget.logic.classifier is not None
    assert widget.ui.statusLabel.text == "Ready."
    # Away and back again: the settings name it already.
    widget.ui.modelPath.currentPath = str(tmp_path)
    assert widget.logic.classifier is None
    widget.ui.modelPath.currentPath = str(tiny_checkpoint_file)
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert widget.logic.classifier is not None


@pytest.mark.parametrize("device", ["cuda:7", "abacus", ["cuda:0", "cuda:1"]])
def test_device_of_the_settings_that_is_gone_is_shown_and_can_be_left(application, tiny_checkpoint_file, device):
    application.settings.setValue("CLIPLung/Device", device)
    application.settings.setValue("CLIPLung/ModelFile", str(tiny_checkpoint_file))
    widget = application.open_module()
    widget.enter()
    assert widget.worker.wait(60, slicer.app.processEvents)
    combo = widget.ui.deviceCombo
    assert combo.itemText(combo.currentIndex) == str(device)
    assert "cannot be used" in widget.ui.statusLabel.text
    combo.setCurrentIndex(combo.findData("auto"))
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert widget.logic.classifier is not None
