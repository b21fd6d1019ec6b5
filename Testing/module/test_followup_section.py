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
def widget(opened_module):
    """The module with two CTs and a nodule that is answered and selected; the section is open."""
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    opened = opened_module
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
    assert ui.priorSelector.nodeCount() == 2, "heat maps are no CTs"
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


def compared(widget):
    """A comparison of the nodule with itself in the other CT, at the same place."""
    node = mark(widget)
    slicer.util.arrayFromVolume(prior(widget))[:] += 1
    slicer.util.arrayFromVolumeModified(prior(widget))
    widget.followup.ui.compareButton.click()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert "before" in widget.followup.ui.followupLabel.text
    assert OUTDATED not in widget.followup.ui.followupLabel.text
    return node


def prior(_widget):
    return slicer.util.getNode("then")


def touch(widget):
    prior(widget).Modified()
    slicer.util.arrayFromVolumeModified(prior(widget))


def overwrite(node):
    slicer.util.arrayFromVolume(node)[:] -= 100
    slicer.util.arrayFromVolumeModified(node)


def shift(node):
    matrix = np.eye(4)
    matrix[0, 3] = 3.0
    node.SetAndObserveTransformNodeID(slicer_scene.add_transform(slicer.mrmlScene, matrix).GetID())


def answer_anew(widget):
    from dataclasses import replace

    (points, point_id), ct = widget._selection(), widget._parameterNode.ct
    widget.logic.store(ct, points, point_id, replace(widget.logic.result(points, point_id), diameter_mm=3.0))


OUTDATED = "moved or changed since"


@pytest.mark.parametrize(
    ("change", "is_outdated"),
    [
        (lambda widget: overwrite(prior(widget)), True),
        (lambda widget: overwrite(widget._parameterNode.ct), True),
        (lambda widget: shift(prior(widget)), True),
        (lambda widget: shift(widget._parameterNode.ct), True),
        (answer_anew, True),
        (touch, False),
    ],
    ids=["prior filled anew", "CT filled anew", "prior moved", "CT moved", "answered anew", "touched"],
)
def test_comparison_of_something_else_than_what_is_there_now_says_so(widget, change, is_outdated):
    compared(widget)
    change(widget)
    widget.refresh()
    assert (OUTDATED in widget.followup.ui.followupLabel.text) is is_outdated


def test_outdated_answer_is_not_compared(widget):
    mark(widget)
    overwrite(widget._parameterNode.ct)
    widget.followup.ui.compareButton.click()
    assert "Analyze again" in widget.followup.ui.followupLabel.text
    assert not widget.worker.busy


@pytest.mark.parametrize("what", ["propose", "compare"])
def test_ct_that_changes_meanwhile_is_told_and_nothing_is_kept(widget, what):
    from types import SimpleNamespace

    from CLIPLungGUI import comparison_state

    node, (points, point_id) = mark(widget), widget._selection()
    states = comparison_state.statesOf(widget._parameterNode.ct, prior(widget))
    overwrite(prior(widget))
    match = SimpleNamespace(point_ras=PRIOR_RAS, similarity=0.9, warnings=())
    if what == "propose":
        widget.followup._onProposed(points.GetID(), point_id, prior(widget).GetID(), match, PRIOR_RAS, states)
    else:
        widget.followup._onCompared(points.GetID(), point_id, None, states)
    assert "while the nodule was analyzed" in widget.followup.ui.followupLabel.text
    assert node.GetAttribute("CLIPLung.comparison") is None


def test_the_ct_of_the_answer_is_compared_whichever_is_chosen(widget, monkeypatch):
    """The prior CT, or one of another patient, is chosen in the panel, while a nodule of the first CT is selected."""
    import types

    dates = {"1.1": "20240701", "1.2": "20190101"}
    database = types.SimpleNamespace(instanceValue=lambda uid, tag: dates[uid] if tag == "0008,0022" else "")
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    now, ui = widget._parameterNode.ct, widget.followup.ui
    now.SetAttribute("DICOM.instanceUIDs", "1.1")
    prior(widget).SetAttribute("DICOM.instanceUIDs", "1.2")
    widget.followup.onOpened(False)
    widget._parameterNode.ct = prior(widget)
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert widget.followup._currentCT() is now
    assert ui.dateEdit.text == "2024-07-01"
    assert "'now', not of the CT chosen above" in widget.ui.warningLabel.text
    compared(widget)
    assert "Exchange" not in ui.followupLabel.text
    # Without an answer, the chosen one counts, with its own date.
    widget._points.AddControlPointWorld([0.0, 150.0, 0.0], "in air")
    assert widget.worker.wait(60, slicer.app.processEvents)
    widget.selectNodule(widget._points.GetNthControlPointID(1))
    assert widget.followup._currentCT() is prior(widget)
    assert ui.dateEdit.text == "2019-01-01"


def test_scans_of_two_patients_are_told(widget):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    for name, patient_id in (("now", "A"), ("then", "B")):
        patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), name)
        hierarchy.SetItemAttribute(patient, "DICOM.PatientID", patient_id)
        hierarchy.CreateItem(patient, slicer.util.getNode(name))
    compared(widget)
    assert "different patients" in widget.followup.ui.followupLabel.text


def test_place_proposed_for_another_nodule_says_so(widget):
    from types import SimpleNamespace

    (points, point_id), match = widget._selection(), SimpleNamespace(point_ras=PRIOR_RAS, similarity=0.9, warnings=())
    ras = np.array(points.GetNthControlPointPositionWorld(0))
    widget.followup._onProposed(points.GetID(), point_id, prior(widget).GetID(), match, ras)
    for moved_mm, is_outdated in ((3.0, False), (30.0, True)):
        points.SetNthControlPointPositionWorld(0, *(ras + (moved_mm, 0.0, 0.0)))
        widget.refresh()
        assert (OUTDATED in widget.followup.ui.followupLabel.text) is is_outdated


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
    widget.followup._onProposed(points.GetID(), point_id, slicer.util.getNode("then").GetID(), match, (20.0, 10.0, 5.0))
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
    widget.followup._onProposed(points.GetID(), point_id, "nothing", None, None)
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


def make_views():
    """The four views of the arrangement, as the application's layout manager makes them."""
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
            made[name] = slicer.mrmlScene.AddNode(node)
            slicer.mrmlScene.AddNode(composite)
    return made


@pytest.fixture
def layout(application):
    """The application's, which knows its own arrangements only."""
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    return node or slicer.mrmlScene.AddNode(slicer.vtkMRMLLayoutNode())


@pytest.fixture
def views(layout):
    """The views of the arrangement, which has been shown before."""
    return make_views()


@pytest.fixture
def made_when_asked(layout):
    """The views of the arrangement by their names; made, as by the layout manager, once the arrangement is shown."""
    from CLIPLungGUI.side_by_side import LAYOUT_ID

    made = {}

    def follow(*_arguments):
        if layout.GetViewArrangement() == LAYOUT_ID and not made:
            assert "CLIPLungBeforeAxial" in layout.GetCurrentLayoutDescription(), "views are made from the description"
            made.update(make_views())

    tag = layout.AddObserver("ModifiedEvent", follow)
    yield made
    layout.RemoveObserver(tag)


def backgrounds():
    """Name of a view of the arrangement -> name of the volume behind."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return {
        c.GetLayoutName(): slicer.mrmlScene.GetNodeByID(c.GetBackgroundVolumeID()).GetName()
        for c in composites
        if c.GetLayoutName().startswith("CLIPLung")
    }


NOW_AND_BEFORE = {
    "CLIPLungNowAxial": "now",
    "CLIPLungBeforeAxial": "then",
    "CLIPLungNowCoronal": "now",
    "CLIPLungBeforeCoronal": "then",
}


def middle(view):
    return [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)]


def test_views_that_are_made_when_asked_show_the_prior_ct_too(widget, made_when_asked):
    mark(widget).SetNthControlPointPositionWorld(0, *PRIOR_RAS)
    widget.followup.onSideBySide()
    for _ in range(3):
        slicer.app.processEvents()
    assert backgrounds() == NOW_AND_BEFORE
    assert middle(made_when_asked["CLIPLungBeforeAxial"]) == pytest.approx(PRIOR_RAS)


def hide_the_map(widget):
    widget.onToggleOverlay()


def select_again(widget):
    widget.selectNodule(widget.nodules.selectedPointID())


def zoom_out(widget):
    widget.zoom.toggle()


def analyze_again(widget):
    widget.onAnalyzeAgain()
    assert widget.worker.wait(60, slicer.app.processEvents)


def explain_texture(widget):
    widget.explain.combo.setCurrentIndex(widget.explain.combo.findData("texture"))
    assert widget.worker.wait(60, slicer.app.processEvents)


@pytest.mark.parametrize("act", [hide_the_map, select_again, zoom_out, analyze_again, explain_texture])
def test_views_of_the_prior_ct_keep_it_whatever_the_reader_does(widget, views, act):
    mark(widget).SetNthControlPointPositionWorld(0, *PRIOR_RAS)
    widget.followup.onSideBySide()
    act(widget)
    slicer.app.processEvents()
    assert backgrounds() == NOW_AND_BEFORE
    assert middle(views["CLIPLungBeforeAxial"]) == pytest.approx(PRIOR_RAS)
    fields = {round(node.GetFieldOfView()[0], 3) for name, node in views.items() if name.endswith("Axial")}
    assert len(fields) == 1


def test_another_nodule_is_shown_side_by_side_too(widget, views):
    from CLIPLungGUI.selftest import LARGE_RAS, SMALL_RAS

    from CLIPLungLib.scene.prior_point import set_prior_point

    points, then = widget._points, slicer.util.getNode("then")
    mark(widget).SetNthControlPointPositionWorld(0, *PRIOR_RAS)
    points.AddControlPointWorld(list(SMALL_RAS), "two")
    assert widget.worker.wait(60, slicer.app.processEvents)
    first, second = (points.GetNthControlPointID(index) for index in range(2))
    set_prior_point(points, second, then, np.array(LARGE_RAS), "two before")
    widget.selectNodule(first)
    widget.followup.onSideBySide()
    widget.selectNodule(second)
    assert middle(views["CLIPLungNowAxial"]) == pytest.approx(SMALL_RAS)
    assert middle(views["CLIPLungBeforeAxial"]) == pytest.approx(LARGE_RAS)


def test_arrangement_is_known_from_the_start_of_the_application(application, layout, monkeypatch):
    import sys

    from CLIPLungGUI.side_by_side import LAYOUT_ID

    application.open_module()
    sys.modules["CLIPLung"]._onStartup()
    assert layout.IsLayoutDescription(LAYOUT_ID)


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
