"""The section "Before and after" and its views, on Qt stand-ins with a real MRML scene on slicer-core."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("PySide6")
from helpers import slicer_scene

slicer = slicer_scene.slicer
PRIOR_RAS = (-30.0, 15.0, -118.0)


@pytest.fixture
def widget(application, tiny_checkpoint_file):
    """The module with two CTs and a nodule that is answered and selected; the section is open."""
    from CLIPLungLib.inference.classifier import NoduleClassifier

    opened = application.open_module()
    opened.logic.classifier = NoduleClassifier.load(tiny_checkpoint_file, "cpu")
    opened.enter()
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    opened._parameterNode.ct = addTestCT("now")
    addTestCT("then")
    points = opened._parameterNode.points = opened.logic.makePoints()
    points.AddControlPointWorld(list(LARGE_RAS), "one")
    assert opened.worker.wait(60, slicer.app.processEvents)
    opened.selectNodule(points.GetNthControlPointID(0))
    opened.followup.ui.followupSection.collapsed = False
    opened.followup.ui.priorSelector.setCurrentNode(slicer.util.getNode("then"))
    return opened


def mark(widget):
    from CLIPLungGUI.selftest import LARGE_RAS

    from CLIPLungLib.scene.prior_point import set_prior_point

    points, point_id = widget._selection()
    node = set_prior_point(points, point_id, slicer.util.getNode("then"), np.array(LARGE_RAS), "one before")
    widget.refresh()
    return node


def test_nothing_can_be_compared_before_a_place_is_marked(widget):
    ui = widget.followup.ui
    assert ui.proposeButton.enabled
    assert not ui.compareButton.enabled
    assert not ui.sideBySideButton.enabled
    ui.priorSelector.setCurrentNode(widget._parameterNode.ct)
    assert not ui.proposeButton.enabled


def test_comparison_is_shown_and_kept_with_the_scene(widget, tmp_path):
    node, ui = mark(widget), widget.followup.ui
    ui.dateEdit.setText("2024-07-01")
    ui.priorDateEdit.setText("2024-01-01")
    ui.compareButton.click()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert "before" in ui.followupLabel.text
    kept = json.loads(node.GetAttribute("CLIPLung.comparison"))
    assert kept["comparison"]["current_date"] == "2024-07-01"
    assert "moved" not in ui.followupLabel.text
    node.SetNthControlPointPositionWorld(0, *PRIOR_RAS)
    widget.refresh()
    assert "moved" in ui.followupLabel.text
    file = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(file))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(file))
    from CLIPLungLib.scene.prior_point import prior_ct, prior_point, prior_ras, read_record

    points = slicer.util.getNode("Nodules")
    again = prior_point(points, points.GetNthControlPointID(0))
    assert prior_ct(again).GetName() == "then"
    np.testing.assert_allclose(prior_ras(again), PRIOR_RAS, atol=1e-6)
    assert read_record(again)["comparison"]["prior_date"] == "2024-01-01"


def test_wrong_dates_are_told_in_the_section(widget):
    mark(widget)
    ui = widget.followup.ui
    for now, before, words in (("2024-01-01", "2024-07-01", "Exchange"), ("soon", "", "no date of the CT")):
        ui.dateEdit.setText(now)
        ui.priorDateEdit.setText(before)
        ui.compareButton.click()
        assert words in ui.followupLabel.text


def test_refused_proposal_is_told_and_the_section_goes_on(widget):
    ui = widget.followup.ui
    slicer.util.arrayFromVolume(slicer.util.getNode("then"))[:] = -1000
    ui.proposeButton.click()
    assert ui.followupCancelButton.enabled
    assert widget.worker.wait(120, slicer.app.processEvents)
    assert "then" in ui.followupLabel.text
    assert not ui.followupCancelButton.enabled
    assert ui.proposeButton.enabled


def test_proposed_place_becomes_a_point_the_reader_can_move(widget):
    from types import SimpleNamespace

    from CLIPLungLib.scene.prior_point import prior_ras

    points, point_id = widget._selection()
    match = SimpleNamespace(point_ras=PRIOR_RAS, similarity=0.9, warnings=("look twice",))
    widget.followup._onProposed(points.GetID(), point_id, slicer.util.getNode("then").GetID(), match)
    np.testing.assert_allclose(prior_ras(widget.followup._mark()), PRIOR_RAS)
    assert "look twice" in widget.followup.ui.followupLabel.text
    assert widget.followup.ui.compareButton.enabled


def test_deleted_nodes_and_closed_scene_leave_a_working_section(widget):
    node = mark(widget)
    points, point_id = widget._selection()
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("then"))
    widget.refresh()
    assert "gone" in widget.followup.ui.followupLabel.text
    points.RemoveNthControlPoint(0)
    widget.refresh()
    assert not slicer.mrmlScene.IsNodePresent(node)
    widget.followup._onProposed(points.GetID(), point_id, "nothing", None)
    slicer.mrmlScene.Clear(0)
    widget.refresh()
    widget.followup.onCompare()
    widget.followup.onSideBySide()


def test_damaged_record_is_no_fault(widget):
    node = mark(widget)
    for text in ("{", "[1]", '{"lines": 3}', '{"lines": [1, ["a"]], "comparison": {"current": 1}}'):
        node.SetAttribute("CLIPLung.comparison", text)
        widget.followup._shown = (None, "")
        widget.refresh()


@pytest.fixture
def views(application):
    """The four views of the arrangement, as the application's layout manager would make them."""
    from CLIPLungGUI.side_by_side import ROWS

    made = {}
    for now, before, orientation in ROWS:
        for name in (now, before):
            node = slicer.vtkMRMLSliceNode()
            node.SetName(name)
            node.SetLayoutName(name)
            node.SetOrientation(orientation)
            composite = slicer.vtkMRMLSliceCompositeNode()
            composite.SetLayoutName(name)
            slicer.mrmlScene.AddNode(composite)
            made[name] = slicer.mrmlScene.AddNode(node)
    if slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode") is None:
        slicer.mrmlScene.AddNode(slicer.vtkMRMLLayoutNode())
    return made


def test_views_show_both_nodules_scroll_together_and_go_back(widget, views):
    from CLIPLungGUI.selftest import LARGE_RAS

    node = mark(widget)
    node.SetNthControlPointPositionWorld(0, *PRIOR_RAS)
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    widget.followup.onSideBySide()
    assert widget.followup.views.isShown
    now, before = views["CLIPLungNowAxial"], views["CLIPLungBeforeAxial"]
    assert now.GetSliceOffset() == pytest.approx(LARGE_RAS[2])
    assert before.GetSliceOffset() == pytest.approx(PRIOR_RAS[2])
    shown = {
        c.GetLayoutName(): c.GetBackgroundVolumeID() for c in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    }
    assert shown["CLIPLungNowAxial"] == widget._parameterNode.ct.GetID()
    assert shown["CLIPLungBeforeCoronal"] == slicer.util.getNode("then").GetID()
    now.SetSliceOffset(now.GetSliceOffset() + 4.0)
    assert before.GetSliceOffset() == pytest.approx(PRIOR_RAS[2] + 4.0)
    before.SetSliceOffset(PRIOR_RAS[2] - 6.0)
    assert now.GetSliceOffset() == pytest.approx(LARGE_RAS[2] - 6.0)
    width, height, depth = now.GetFieldOfView()
    now.SetFieldOfView(width / 2, height / 2, depth)
    assert before.GetFieldOfView()[0] == pytest.approx(width / 2, rel=0.01)
    widget.followup.onBack()
    assert layout.GetViewArrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
