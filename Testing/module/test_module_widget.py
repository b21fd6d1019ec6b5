"""The module's panel on Qt stand-ins (PySide6) with a real MRML scene on slicer-core."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys

import pytest

pytest.importorskip("PySide6")
from helpers import slicer_scene

slicer = slicer_scene.slicer


@pytest.fixture
def widget(opened_module):
    """The module, entered, with a small untrained model already loaded."""
    return opened_module


def place(widget, ras, label):
    points = widget._parameterNode.points
    if points is None:
        points = widget._parameterNode.points = widget.logic.makePoints()
    index = points.AddControlPointWorld(list(ras), label)
    assert widget.worker.wait(60, slicer.app.processEvents)
    return points.GetNthControlPointID(index)


def test_self_test_passes_with_the_bundled_weights(application):
    widget = application.open_module()
    module = sys.modules["CLIPLung"]
    module.CLIPLungTest().runTest()
    assert widget.worker.wait(10, slicer.app.processEvents)


@pytest.mark.parametrize("is_open", [True, False])
def test_self_test_passes_without_torch_and_leaves_no_made_up_model(application, monkeypatch, is_open):
    widget = application.open_module()
    widget.parent.isEntered = is_open
    installer = importlib.import_module("CLIPLungGUI.installer")
    monkeypatch.setattr(installer, "missingPackages", lambda: ["torch"])
    sys.modules["CLIPLung"].CLIPLungTest().runTest()
    assert widget.logic.classifier is None
    assert (widget._parameterNode is not None) == is_open


def test_only_ct_is_chosen_and_heat_maps_stay_out_of_the_list(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    assert not widget.ui.placeButton.enabled
    ct = addTestCT()
    assert widget._parameterNode.ct is ct
    assert widget.ui.placeButton.enabled
    place(widget, LARGE_RAS, "one")
    assert widget.ui.ctSelector.nodeCount() == 1


def test_second_ct_leaves_the_choice_to_the_user(widget):
    from CLIPLungGUI.selftest import addTestCT

    first = addTestCT("first")
    addTestCT("second")
    assert widget._parameterNode.ct is first


def test_place_button_follows_the_application(widget):
    from CLIPLungGUI.selftest import addTestCT

    addTestCT()
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    widget.ui.placeButton.checked = True
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert interaction.GetPlaceModePersistence() == 1
    interaction.SwitchToViewTransformMode()
    assert not widget.ui.placeButton.checked
    assert interaction.GetPlaceModePersistence() == 0


def test_place_button_goes_up_when_clicks_go_to_another_list(widget):
    from CLIPLungGUI.selftest import addTestCT

    addTestCT()
    widget.ui.placeButton.checked = True
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "a reader's ruler")
    slicer.app.processEvents()
    assert not widget.ui.placeButton.checked
    assert slicer.app.applicationLogic().GetInteractionNode().GetPlaceModePersistence() == 0
    widget.ui.placeButton.checked = True
    selection = slicer.app.applicationLogic().GetSelectionNode()
    assert selection.GetActivePlaceNodeID() == widget._points.GetID()


def test_leaving_the_module_stops_placing(widget):
    from CLIPLungGUI.selftest import addTestCT

    addTestCT()
    widget.ui.placeButton.checked = True
    widget.exit()
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() != interaction.Place


def test_preview_point_under_the_mouse_is_no_nodule(widget):
    from CLIPLungGUI.selftest import addTestCT

    addTestCT()
    points = widget._parameterNode.points = widget.logic.makePoints()
    points.AddNControlPoints(1, "preview", [0.0, 0.0, 0.0])
    points.UnsetNthControlPointPosition(0)
    assert widget.ui.noduleTable.rowCount == 0


def test_answer_for_a_point_deleted_meanwhile_is_dropped(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    points = widget._parameterNode.points = widget.logic.makePoints()
    points.AddControlPointWorld(list(LARGE_RAS), "gone")
    points.RemoveNthControlPoint(0)
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert widget.logic.heatMapIDs() == []


def test_closing_the_scene_while_it_computes_is_safe(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    points = widget._parameterNode.points = widget.logic.makePoints()
    points.AddControlPointWorld(list(LARGE_RAS), "gone")
    slicer.mrmlScene.Clear(0)
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert widget.ui.noduleTable.rowCount == 0
    assert widget.logic.heatMapIDs() == []


def test_volume_that_is_no_ct_is_refused_where_the_user_looks(widget):
    import numpy as np

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "MR")
    slicer.util.updateVolumeFromArray(volume, np.full((20, 20, 20), 300, np.int16))
    point_id = place(widget, (5.0, 5.0, 5.0), "point")
    widget.selectNodule(point_id)
    assert "MR" in widget.ui.answerLabel.text
    assert "refused" in widget.ui.noduleTable.item(0, 1).text()


def test_cancelled_nodules_say_how_to_go_on(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, SMALL_RAS, addTestCT

    addTestCT()
    points = widget._parameterNode.points = widget.logic.makePoints()
    for ras in (LARGE_RAS, SMALL_RAS):
        points.AddControlPointWorld(list(ras))
    widget.onCancel()
    assert widget.worker.wait(60, slicer.app.processEvents)
    states = [row.state for row in widget.logic.rows(points, set())]
    assert "failed" in states
    first = points.GetNthControlPointID(0)
    widget.selectNodule(first)
    widget.onAnalyzeAgain()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert widget.logic.rows(points, set())[0].state == "done"


def test_classes_that_cannot_be_excluded_are_named_beside_the_likeliest(application):
    from dataclasses import replace

    from CLIPLungGUI.answer_panel import detailText

    result = slicer_scene.fake_result()
    assert result.predicted_class == "malignant"
    alone, doubtful = (replace(result, class_set=names) for names in (("malignant",), ("unsure", "malignant")))
    assert detailText(alone).splitlines()[0] == "Looks malignant"
    assert detailText(doubtful).splitlines()[0] == "Looks malignant; compatible with indeterminate"


def test_hidden_overlay_and_threshold_reach_the_views(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    widget.selectNodule(place(widget, LARGE_RAS, "one"))
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {round(c.GetForegroundOpacity(), 3) for c in composites} == {0.5}
    widget.onToggleOverlay()
    assert {c.GetForegroundOpacity() for c in composites} == {0.0}
    widget.onToggleOverlay()
    widget.ui.thresholdSlider.value = 0.4
    heat = slicer.mrmlScene.GetNodeByID(widget.logic.heatMapIDs()[0])
    assert heat.GetDisplayNode().GetLowerThreshold() == pytest.approx(0.4)


def test_slice_view_made_by_another_layout_shows_the_overlay_too(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    ct = addTestCT()
    widget.selectNodule(place(widget, LARGE_RAS, "one"))
    added = slicer.vtkMRMLSliceCompositeNode()
    added.SetLayoutName("Slice4")
    added = slicer.mrmlScene.AddNode(added)
    assert added.GetBackgroundVolumeID() == ct.GetID()
    assert added.GetForegroundVolumeID() == widget.logic.heatMapIDs()[0]


def test_heat_maps_of_a_loaded_scene_stay_out_of_the_list_of_cts(widget, tmp_path):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    place(widget, LARGE_RAS, "one")
    file = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(file))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(file))
    widget.initializeParameterNode()
    assert len(widget.logic.heatMapIDs()) == 1
    assert widget.ui.ctSelector.nodeCount() == 1


def test_selected_nodule_is_selected_again_and_the_views_are_left_alone(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, SMALL_RAS, addTestCT

    addTestCT()
    first = place(widget, LARGE_RAS, "one")
    place(widget, SMALL_RAS, "two")
    widget.selectNodule(first)
    widget.exit()
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    for composite in composites:
        composite.SetForegroundVolumeID(None)
    widget.enter()
    assert widget.nodules.selectedPointID() == first
    assert "one" in widget.ui.answerLabel.text
    assert {composite.GetForegroundVolumeID() for composite in composites} == {None}


def test_removing_something_else_leaves_the_views_alone(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    place(widget, LARGE_RAS, "one")
    other = addTestCT("other")
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    for composite in composites:
        composite.SetForegroundVolumeID(None)
    slicer.mrmlScene.RemoveNode(other)
    assert {composite.GetForegroundVolumeID() for composite in composites} == {None}
    slicer.mrmlScene.RemoveNode(widget._points)
    assert widget.ui.noduleTable.rowCount == 0


def test_scene_added_to_an_open_one_is_shown_with_its_answers(widget, tmp_path):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    place(widget, LARGE_RAS, "saved")
    file = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(file))
    widget._points.SetNthControlPointLabel(0, "open")
    widget.parent.isEntered = True
    slicer.mrmlScene.ReadFromMRB(str(file), False)
    assert [(row.label, row.state) for row in widget._rows()] == [("saved", "done")]
    assert "saved" in widget.ui.answerLabel.text


def test_exports_are_written_and_refusals_shown(widget, application, tmp_path):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    widget.selectNodule(place(widget, LARGE_RAS, "one"))
    for name, slot in (
        ("a.csv", widget.exports.onCSV),
        ("a.json", widget.exports.onJSON),
        ("a.png", widget.exports.onReport),
    ):
        application.save_as = str(tmp_path / name)
        slot()
        assert (tmp_path / name).stat().st_size > 0
        assert name in widget.ui.statusLabel.text
    assert json.loads((tmp_path / "a.json").read_text())["notice"]
    assert application.dialogs == []
    application.save_as = str(tmp_path / "a.dcm")
    widget.exports.onDICOM()
    assert "DICOM module" in application.dialogs[0]


def test_nodules_without_an_answer_are_told_with_their_reason(widget):
    from CLIPLungGUI import exports
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    place(widget, LARGE_RAS, "one")
    assert exports.leftOutText(widget.logic, widget._points) == ""
    place(widget, (0.0, 0.0, 5000.0), "far")
    head, reason = exports.leftOutText(widget.logic, widget._points).splitlines()
    assert head == "Not in the report, for there is no answer:"
    assert reason.startswith("far: ")
    assert "lies outside" in reason
    widget.logic.failures.clear()
    assert "far: not analyzed. Press" in exports.leftOutText(widget.logic, widget._points)


def test_missing_packages_are_named_and_nothing_happens_without_consent(application, monkeypatch):
    widget = application.open_module()
    installer = importlib.import_module("CLIPLungGUI.installer")
    monkeypatch.setattr(installer, "missingPackages", lambda: ["torch", "safetensors"])
    monkeypatch.setattr(installer, "pipInstall", lambda _: pytest.fail("installed without consent"))
    application.agrees = False
    widget.enter()
    assert "torch" in widget.ui.statusLabel.text
    widget.model.onInstall()
    assert "PyTorch" in application.dialogs[0]
    assert "Nothing was installed" in widget.ui.statusLabel.text
    assert widget.logic.classifier is None


def test_without_the_pytorch_extension_the_user_is_told_how_to_get_it(application, monkeypatch):
    widget = application.open_module()
    installer = importlib.import_module("CLIPLungGUI.installer")
    monkeypatch.setattr(installer, "missingPackages", lambda: ["torch"])
    widget.enter()
    widget.model.onInstall()
    assert "Extensions Manager" in widget.ui.statusLabel.text


def test_damaged_model_file_is_named(application, tmp_path, tiny_checkpoint_file):
    broken = tmp_path / "broken.safetensors"
    shutil.copy(tiny_checkpoint_file, broken)
    broken.write_bytes(broken.read_bytes()[:100])
    application.settings.setValue("CLIPLung/ModelFile", str(broken))
    widget = application.open_module()
    widget.enter()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert "broken.safetensors" in widget.ui.statusLabel.text


def test_every_parameter_of_the_panel_exists(application):
    """connectGui of the stand-in refuses unknown parameters and unfit widgets, as the real one does."""
    widget = application.open_module()
    names = {w.property("SlicerParameterName") for w in vars(widget.ui).values()} - {None}
    assert names == {"ct", "points", "showOverlay", "opacity", "threshold", "showLegend"}


def test_damaged_result_in_a_loaded_scene_is_told_and_can_be_made_again(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, SMALL_RAS, addTestCT

    addTestCT()
    damaged, whole = place(widget, LARGE_RAS, "damaged"), place(widget, SMALL_RAS, "whole")
    widget.logic.stored(widget._points, damaged).overlay_node.SetAttribute("CLIPLung.result", "{")
    widget.selectNodule(damaged)
    assert "damaged" in widget.ui.answerLabel.text
    assert [row.state for row in widget._rows()] == ["failed", "done"]
    widget.selectNodule(whole)
    assert "whole" in widget.ui.answerLabel.text
    widget.selectNodule(damaged)
    widget.onAnalyzeAgain()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert [row.state for row in widget._rows()] == ["done", "done"]


def test_answer_that_cannot_be_stored_is_told(widget, monkeypatch):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    monkeypatch.setattr(widget.logic, "store", lambda *_: (_ for _ in ()).throw(RuntimeError("no room")))
    widget.selectNodule(place(widget, LARGE_RAS, "one"))
    assert "no room" in widget.ui.answerLabel.text


EXPORTS = {"csv": "onCSV", "json": "onJSON", "png": "onReport", "dcm": "onDICOM"}


@pytest.mark.parametrize("kind", EXPORTS)
@pytest.mark.parametrize("moved", ["point", "ct"])
def test_moved_points_are_not_exported_in_any_form(widget, application, tmp_path, monkeypatch, kind, moved):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    ct = addTestCT()
    widget.selectNodule(place(widget, LARGE_RAS, "one"))
    application.save_as = str(tmp_path / "before.csv")
    widget.exports.onCSV()
    assert "Written" in widget.ui.statusLabel.text
    if moved == "point":
        widget._points.SetNthControlPointPositionWorld(0, LARGE_RAS[0] + 5, *LARGE_RAS[1:])
        widget.ui.statusLabel.text = "Written: before.csv"
    else:
        shift = slicer_scene.np.eye(4)
        shift[0, 3] = 5
        ct.SetAndObserveTransformNodeID(slicer_scene.add_transform(slicer.mrmlScene, shift).GetID())
    application.save_as = str(tmp_path / f"a.{kind}")
    getattr(widget.exports, EXPORTS[kind])()
    assert application.dialogs == [
        "These points have moved since they were analyzed, or their CT has moved or changed: one. Press 'Analyze again' for each, then export."
    ]
    assert not (tmp_path / f"a.{kind}").exists()
    assert "Written" not in widget.ui.statusLabel.text
    assert "nothing was written" in widget.ui.statusLabel.text


def test_table_names_refused_nodules_and_why(widget, application, tmp_path):
    import csv

    from CLIPLungGUI.selftest import AIR_RAS, LARGE_RAS, SMALL_RAS, addTestCT

    addTestCT()
    for label, ras in (("good", LARGE_RAS), ("in air", AIR_RAS), ("dragged away", SMALL_RAS)):
        place(widget, ras, label)
    # An answer that was given before the point was refused stands for nothing now.
    widget._points.SetNthControlPointPositionWorld(2, *AIR_RAS)
    widget.onPointDropped()
    assert widget.worker.wait(60, slicer.app.processEvents)
    application.save_as = str(tmp_path / "a.csv")
    widget.exports.onCSV()
    assert application.dialogs == []
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    assert [(label, row["status"]) for label, row in rows.items()] == [
        ("good", "ok"),
        ("in air", "failed"),
        ("dragged away", "failed"),
    ]
    for label in ("in air", "dragged away"):
        assert rows[label]["error"] == next(row.reason for row in widget._rows() if row.label == label) != ""
        assert rows[label]["malignancy_probability"] == ""
    widget.selectNodule("3")
    application.save_as = str(tmp_path / "a.json")
    widget.exports.onJSON()
    assert "no answer to export" in application.dialogs[0]


def test_old_answer_is_marked_while_the_new_one_is_computed(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    widget.selectNodule(place(widget, LARGE_RAS, "one"))
    assert "has moved since" not in widget.ui.warningLabel.text
    widget.onAnalyzeAgain()
    assert widget._rows()[0].state == "waiting"
    assert "has moved since" not in widget.ui.warningLabel.text, "it answers for this place"
    assert widget.worker.wait(60, slicer.app.processEvents)
    widget._points.SetNthControlPointPositionWorld(0, LARGE_RAS[0] + 1, *LARGE_RAS[1:])
    widget.onPointDropped()
    assert widget._rows()[0].state == "waiting"
    assert "has moved since" in widget.ui.warningLabel.text
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert "has moved since" not in widget.ui.warningLabel.text


def test_only_the_selected_point_must_be_in_place_for_its_own_export(widget, application, tmp_path):
    from CLIPLungGUI.selftest import LARGE_RAS, SMALL_RAS, addTestCT

    addTestCT()
    first = place(widget, LARGE_RAS, "one")
    place(widget, SMALL_RAS, "two")
    widget._points.SetNthControlPointPositionWorld(1, *LARGE_RAS)
    widget.selectNodule(first)
    application.save_as = str(tmp_path / "a.json")
    widget.exports.onJSON()
    assert application.dialogs == []
    application.save_as = str(tmp_path / "a.csv")
    widget.exports.onCSV()
    assert "two" in application.dialogs[0]


def test_exports_without_an_answer_are_refused(widget, application, tmp_path):
    from CLIPLungGUI import exports
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    application.save_as = str(tmp_path / "a.json")
    widget.exports.onJSON()
    assert "no list of points" in application.dialogs[-1]
    addTestCT()
    place(widget, LARGE_RAS, "one")
    widget.nodules.select("")
    widget.exports.onJSON()
    assert "no answer" in application.dialogs[-1]
    with pytest.raises(ValueError, match="no answer"):
        exports.writeJSON(widget.logic, widget._points, "77", tmp_path / "a.json")
    assert list(tmp_path.glob("a.*")) == []


def test_matplotlib_does_not_fill_the_log(widget, application, tmp_path):
    import logging

    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    widget.selectNodule(place(widget, LARGE_RAS, "one"))
    logging.getLogger("matplotlib").setLevel(logging.NOTSET)
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.DEBUG)  # as in Slicer
    try:
        application.save_as = str(tmp_path / "a.png")
        widget.exports.onReport()
        assert application.dialogs == []
        assert not logging.getLogger("matplotlib.font_manager").isEnabledFor(logging.INFO)
    finally:
        root.setLevel(level)


# While another module is open


def test_what_happened_elsewhere_is_taken_over_when_the_module_is_opened_again(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, SMALL_RAS, addTestCT

    addTestCT()
    for label in ("deleted", "moved", "renamed"):
        place(widget, LARGE_RAS, label)
    points = widget._points
    widget.exit()
    points.RemoveNthControlPoint(0)
    points.SetNthControlPointPositionWorld(0, *SMALL_RAS)
    points.SetNthControlPointLabel(1, "new name")
    points.AddControlPointWorld(list(SMALL_RAS), "added")
    assert len(widget.logic.heatMapIDs()) == 3
    widget.enter()
    assert len(widget.logic.heatMapIDs()) == 2
    assert widget.worker.wait(60, slicer.app.processEvents)
    rows = {row.label: row.state for row in widget._rows()}
    assert rows == {"moved": "moved", "new name": "done", "added": "done"}
    names = {slicer.mrmlScene.GetNodeByID(i).GetName() for i in widget.logic.heatMapIDs()}
    assert names == {"Test CT moved relevance", "Test CT new name relevance", "Test CT added relevance"}


def test_without_torch_what_happened_elsewhere_is_taken_over_too(widget, monkeypatch):
    from CLIPLungGUI.selftest import LARGE_RAS, SMALL_RAS, addTestCT

    addTestCT()
    for label in ("deleted", "moved"):
        place(widget, LARGE_RAS, label)
    points = widget._points
    widget.exit()
    widget.logic.classifier = None
    installer = importlib.import_module("CLIPLungGUI.installer")
    monkeypatch.setattr(installer, "missingPackages", lambda: ["torch"])
    points.RemoveNthControlPoint(0)
    points.SetNthControlPointPositionWorld(0, *SMALL_RAS)
    added = points.GetNthControlPointID(points.AddControlPointWorld(list(SMALL_RAS), "added"))
    widget.enter()
    assert [(row.label, row.state) for row in widget._rows()] == [("moved", "moved"), ("added", "new")]
    assert len(widget.logic.heatMapIDs()) == 1
    widget.selectNodule(added)
    assert "analyzing" not in widget.ui.answerLabel.text
    assert "added" in widget.ui.answerLabel.text
    assert "not analyzed" in widget.ui.noduleTable.item(1, 1).text()


def test_everything_is_called_as_its_point_is_called_now(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    from CLIPLungLib.scene.chart import find_chart

    addTestCT()
    widget.selectNodule(place(widget, LARGE_RAS, "old"))
    widget._points.SetNthControlPointLabel(0, "apex")
    heat = slicer.mrmlScene.GetNodeByID(widget.logic.heatMapIDs()[0])
    assert heat.GetName() == "Test CT apex relevance"
    assert find_chart(widget._points).GetTitle().startswith("apex:")
    assert "apex" in widget.ui.answerLabel.text
    assert "old" not in widget.ui.answerLabel.text


def test_a_point_renamed_while_the_model_loads_is_called_by_its_new_name(application, tiny_checkpoint_file):
    from CLIPLungLib.inference.classifier import NoduleClassifier

    widget = application.open_module()
    widget.model.prepare = lambda: None
    widget.enter()
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    points = widget._parameterNode.points = widget.logic.makePoints()
    points.AddControlPointWorld(list(LARGE_RAS), "old")
    widget.selectNodule("1")
    assert "old" in widget.ui.answerLabel.text
    points.SetNthControlPointLabel(0, "apex")
    assert "apex" in widget.ui.answerLabel.text
    widget._onModel(NoduleClassifier.load(tiny_checkpoint_file, "cpu"))
    points.SetNthControlPointLabel(0, "base")
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert "base" in widget.ui.answerLabel.text
    assert widget.ui.noduleTable.item(0, 0).text() == "base"
    assert slicer.mrmlScene.GetNodeByID(widget.logic.heatMapIDs()[0]).GetName() == "Test CT base relevance"


def test_slice_view_made_by_another_layout_is_placed_on_the_nodule_and_the_others_stay(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    widget.selectNodule(place(widget, LARGE_RAS, "one"))

    def middle(node):
        return [node.GetSliceToRAS().GetElement(row, 3) for row in range(3)]

    old = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    for node in old:
        node.JumpSliceByCentering(1.0, 2.0, 3.0)
    added = slicer.vtkMRMLSliceNode()
    added.SetLayoutName("Slice4")
    added = slicer.mrmlScene.AddNode(added)
    added.SetOrientation("Sagittal")
    # As the layout does, which fits a view to its volume once it is there.
    added.JumpSliceByCentering(9.0, 9.0, 9.0)
    slicer.app.processEvents()
    assert middle(added) == pytest.approx(LARGE_RAS)
    assert all(middle(node) == [1.0, 2.0, 3.0] for node in old)


def test_a_list_that_is_chosen_later_is_analyzed_and_so_is_one_that_waited_for_its_ct(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, SMALL_RAS, addTestCT

    early = widget.logic.makePoints()
    early.AddControlPointWorld(list(LARGE_RAS), "early")
    widget._parameterNode.points = early
    assert [row.state for row in widget._rows()] == ["new"]
    addTestCT()
    slicer.app.processEvents()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert [row.state for row in widget._rows()] == ["done"]
    other = widget.logic.makePoints()
    other.AddControlPointWorld(list(SMALL_RAS), "other")
    widget._parameterNode.points = other
    slicer.app.processEvents()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert [(row.label, row.state) for row in widget._rows()] == [("other", "done")]


# Looks


def test_no_line_breaks_between_a_number_and_its_sign(widget):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    widget.selectNodule(place(widget, LARGE_RAS, "one"))
    texts = [widget.ui.answerLabel.text, widget.ui.detailLabel.text]
    texts += [widget.ui.noduleTable.item(0, column).text() for column in (1, 3)]
    assert all(not re.search(r"\d (%|mm)", text) for text in texts), texts
    assert all(re.search(r"\d\u00a0(%|mm)", text) for text in texts), texts


def test_texts_of_a_scene_are_shown_as_they_are(widget):
    from dataclasses import replace

    result = replace(slicer_scene.fake_result(), warnings=("<b>bold</b><img src='x.png'>",))
    widget.answer.showResult("<i>label</i>", result, False)
    assert widget.ui.warningLabel.textFormat().name == "PlainText"
    assert "&lt;i&gt;" in widget.ui.answerLabel.text


@pytest.mark.parametrize("width", [330, 420, 600])
def test_the_panel_is_as_high_as_its_texts_need_whatever_is_shown(widget, width):
    """In a place that asks for the minimum height only, as Slicer's module area does."""
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    parent, panel = widget.parent, widget.ui.nodulesSection.parentWidget()

    def settle():
        for _ in range(5):
            slicer.app.processEvents()

    def is_whole():
        settle()
        parent.resize(width, parent.minimumSizeHint().height())
        settle()
        assert panel.height() >= panel.layout().totalHeightForWidth(panel.width())
        for name in ("attributeTable", "warningLabel", "disclaimerLabel", "advancedSection"):
            part = getattr(widget.ui, name)
            if part.isVisible():
                bottom = part.mapTo(panel, part.rect().bottomLeft()).y()
                assert bottom < panel.height(), name
                need = part.heightForWidth(part.width())
                assert part.height() >= need, name

    parent.resize(width, 300)
    parent.show()
    settle()
    widget.exit()
    parent.hide()
    settle()
    parent.show()
    widget.enter()
    is_whole()
    addTestCT()
    widget.selectNodule(place(widget, LARGE_RAS, "one"))
    is_whole()
    widget.answer.showResult("one", replace_warnings(12), True)
    widget.fitted.fitSoon()
    is_whole()
    tall = parent.minimumSizeHint().height()
    widget.ui.answerSection.collapsed = True
    settle()
    assert parent.minimumSizeHint().height() < tall
    widget.ui.answerSection.collapsed = False
    is_whole()


def replace_warnings(count):
    from dataclasses import replace

    sentence = "This looks unlike the nodules the model has learned from, and this warning is longer than one line."
    return replace(slicer_scene.fake_result(), warnings=(sentence,) * count)


def test_scripts_can_set_the_parameters_and_the_panel_follows(widget):
    from CLIPLungGUI.selftest import addTestCT

    first, second = addTestCT("first"), addTestCT("second")
    widget._parameterNode.ct = second
    assert widget.ui.ctSelector.currentNode() is second
    widget._parameterNode.showOverlay = False
    assert not widget.ui.overlayCheck.checked
    widget._parameterNode.opacity = 0.25
    assert widget.ui.opacitySlider.value == 0.25
    slicer.mrmlScene.RemoveNode(second)
    # The other one is not taken instead: answers for another scan than the user chose would go unnoticed.
    assert widget._parameterNode.ct is None
    assert first.GetScene() is not None


def test_another_device_loads_the_model_again_and_keeps_the_answers(widget, monkeypatch):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    place(widget, LARGE_RAS, "one")
    loaded = []
    module = importlib.import_module("CLIPLungGUI.model_loader")
    classifier = widget.logic.classifier
    monkeypatch.setattr(module, "loadClassifier", lambda path, device: loaded.append((path, device)) or classifier)
    widget.ui.deviceCombo.setCurrentIndex(widget.ui.deviceCombo.findData("cpu"))
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert loaded == [("", "cpu")]
    assert widget.logic.classifier is classifier
    assert widget._rows()[0].state == "done"


def test_keys_work_while_the_module_is_open_and_not_afterwards(widget):
    from CLIPLungGUI.selftest import addTestCT

    addTestCT()
    assert len(widget.shortcuts._shortcuts) == 10
    keys = {shortcut.key().toString() for shortcut in widget.shortcuts._shortcuts}
    assert keys == {"Alt+P", "Esc", "Alt+Down", "Alt+Up", "Alt+O", "Alt+Del", "Alt+Z", "Alt+N", "Alt+B", "Alt+G"}
    # These open the menus File, Edit, View and Help of the application, and a key with two meanings does nothing.
    assert not keys & {"Alt+F", "Alt+E", "Alt+V", "Alt+H"}
    widget.placing.toggle()
    assert widget.ui.placeButton.checked
    widget.exit()
    assert widget.shortcuts._shortcuts == []


@pytest.fixture
def library_kept():
    """A reload reads the library anew; the other tests go on with the one they have imported."""

    def own() -> dict:
        return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "CLIPLungLib"}

    before = own()
    yield
    for name in own():
        del sys.modules[name]
    sys.modules.update(before)


def test_reload_replaces_the_widget_and_the_old_one_stays_silent(library_kept, widget):
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    place(widget, LARGE_RAS, "one")
    widget.onReload()
    new = slicer.modules.CLIPLungWidget
    assert new is not widget
    assert [row.label for row in new._rows()] == ["one"]
    widget.enter()
    assert widget._parameterNode is None
    assert widget.shortcuts._shortcuts == []
    assert new.worker.wait(60, slicer.app.processEvents)
    new._points.AddControlPointWorld(list(LARGE_RAS), "two")
    assert new.worker.wait(60, slicer.app.processEvents)
    assert [row.state for row in new._rows()] == ["done", "done"]
    assert len(new.logic.heatMapIDs()) == 2


def test_panel_can_be_drawn_in_every_state(tmp_path):
    import panel_pictures

    panel_pictures.main(tmp_path)
    names = {"no_torch", "no_ct", "empty", "one", "many", "stale", "error", "guidelines", "dark"}
    pictures = {file.stem: file.read_bytes() for file in tmp_path.glob("*.png")}
    assert set(pictures) == names
    assert len(set(pictures.values())) == len(names)
