"""The section of similar cases and the list of what a heat map explains, on Qt stand-ins with a real MRML scene on slicer-core."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("PySide6")
from helpers import slicer_scene
from helpers.similar_index import made_up_index

slicer = slicer_scene.slicer


@pytest.fixture
def weights(tiny_checkpoint_file, tmp_path):
    """A weights file with an index beside it."""
    from CLIPLungLib.inference.checkpoint import load_checkpoint
    from CLIPLungLib.similar.index_file import similar_file, write_index

    file = tmp_path / "own.safetensors"
    shutil.copy(tiny_checkpoint_file, file)
    write_index(similar_file(file), made_up_index(load_checkpoint(file).sha256))
    return file


@pytest.fixture
def widget(application, weights):
    """The module with a nodule that is answered and selected, by an untrained model."""
    from CLIPLungLib.inference.classifier import NoduleClassifier

    opened = application.open_module()
    opened.ui.modelPath.blockSignals(True)
    opened.ui.modelPath.currentPath = str(weights)
    opened.ui.modelPath.blockSignals(False)
    opened.logic.classifier = NoduleClassifier.load(weights, "cpu")
    opened.enter()
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    points = opened._parameterNode.points = opened.logic.makePoints()
    points.AddControlPointWorld(list(LARGE_RAS), "one")
    assert opened.worker.wait(60, slicer.app.processEvents)
    opened.selectNodule(points.GetNthControlPointID(0))
    return opened


def cells(widget, row):
    return [widget.similar.ui.similarTable.item(row, column).text() for column in range(3)]


def is_shown(widget, name):
    return not getattr(widget.similar.ui, name).isHidden()


def test_nothing_is_computed_while_the_section_is_closed(widget):
    assert widget.similar.ui.similarSection.collapsed
    assert widget.similar._index is None
    assert cells(widget, 0) == ["", "", ""]


def test_opened_section_shows_cases_mean_and_this_nodule(widget):
    widget.similar.ui.similarSection.collapsed = False
    assert is_shown(widget, "similarTable")
    names = [cells(widget, row)[0] for row in range(12)]
    assert all(name.startswith("LIDC-IDRI-") for name in names[:10])
    assert len(set(names)) == 12
    result = widget.logic.result(widget._points, widget.nodules.selectedPointID())
    assert cells(widget, 11)[1] == f"{result.diameter_mm:.1f}\u00a0mm"
    assert "made up" in widget.similar.ui.similarSourceLabel.text
    assert not widget.similar.ui.similarPlotLabel.pixmap().isNull()


def test_rows_tell_their_signs_and_can_be_reached_by_keys(widget):
    import qt

    widget.similar.ui.similarSection.collapsed = False
    table = widget.similar.ui.similarTable
    assert table.focusPolicy & qt.Qt.TabFocus
    first = widget.similar.ui.similarSignsLabel.text
    assert first.startswith(f"{cells(widget, 0)[0]}, 4 readers: subtlety ")
    table.setCurrentCell(11, 0)
    assert widget.similar.ui.similarSignsLabel.text.startswith("This nodule, by the network: subtlety ")
    table.setCurrentCell(10, 0)
    assert widget.similar.ui.similarSignsLabel.text.startswith("Mean of these")


def test_index_of_other_weights_is_not_shown_and_the_reason_is(widget, weights):
    from CLIPLungLib.similar.index_file import similar_file, write_index

    write_index(similar_file(weights), made_up_index("cd" * 32))
    widget.similar.ui.similarSection.collapsed = False
    assert not is_shown(widget, "similarTable")
    assert "of the weights cdcdcdcdcdcd" in widget.similar.ui.similarMessageLabel.text


def test_missing_index_is_told(widget, weights):
    from CLIPLungLib.similar.index_file import similar_file

    similar_file(weights).unlink()
    widget.similar.ui.similarSection.collapsed = False
    assert "There is no index of similar cases" in widget.similar.ui.similarMessageLabel.text


def test_without_a_selected_answer_no_cases_stay(widget):
    widget.similar.ui.similarSection.collapsed = False
    widget._points.RemoveNthControlPoint(0)
    assert not is_shown(widget, "similarTable")
    assert "Select a nodule" in widget.similar.ui.similarMessageLabel.text


def front(widget):
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    (node_id,) = {composite.GetForegroundVolumeID() for composite in composites}
    return slicer.mrmlScene.GetNodeByID(node_id) if node_id else None


def choose(widget, name):
    widget.explain.combo.setCurrentIndex(widget.explain.combo.findData(name))


def test_other_map_is_computed_once_kept_and_shown_in_front(widget):
    from CLIPLungLib.scene.explanation_node import EXPLAINS

    own = front(widget)
    choose(widget, "spiculation")
    assert front(widget) is None
    assert "Computing" in widget.explain.message.text
    assert widget.worker.wait(60, slicer.app.processEvents)
    found = front(widget)
    assert found.GetAttribute(EXPLAINS) == "spiculation"
    assert "spiculation 'with marked spiculation'" in widget.explain.message.text
    assert found.GetID() in widget.logic.heatMapIDs()
    choose(widget, "suspicion")
    assert front(widget) is own
    assert widget.explain.message.isHidden()
    choose(widget, "spiculation")
    assert not widget.worker.busy
    assert front(widget) is found


def test_map_is_the_classifiers_own(widget):
    import numpy as np

    from CLIPLungLib.scene.volume_node import ct_volume

    choose(widget, "texture")
    assert widget.worker.wait(60, slicer.app.processEvents)
    ct, points = widget._inputs()
    result = widget.logic.result(points, widget.nodules.selectedPointID())
    expected, _ = widget.logic.classifier.explain(ct_volume(ct), result.point_ras, "texture")
    np.testing.assert_allclose(slicer.util.arrayFromVolume(front(widget)), expected, atol=1e-6)


def test_other_maps_go_with_their_answer_and_their_point(widget):
    from CLIPLungLib.scene import explanation_node
    from CLIPLungLib.scene.tagged_nodes import all_tagged

    choose(widget, "margin")
    assert widget.worker.wait(60, slicer.app.processEvents)
    (old,) = all_tagged(slicer.mrmlScene, explanation_node.KIND)
    choose(widget, "suspicion")
    widget.onAnalyzeAgain()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert not slicer.mrmlScene.IsNodePresent(old)
    choose(widget, "margin")
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert len(all_tagged(slicer.mrmlScene, explanation_node.KIND)) == 1
    widget._points.RemoveNthControlPoint(0)
    assert all_tagged(slicer.mrmlScene, explanation_node.KIND) == []


def test_other_maps_come_back_with_a_saved_scene(widget, tmp_path):
    choose(widget, "lobulation")
    assert widget.worker.wait(60, slicer.app.processEvents)
    file = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(file))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(file))
    widget.initializeParameterNode()
    widget.logic.classifier = None
    widget.views.showOverlay()
    assert "lobulation" in widget.explain.message.text
    assert "lobulation" in front(widget).GetName()


@pytest.mark.parametrize(("state", "reason"), [("no model", "needs the model"), ("moved", "has moved since")])
def test_map_that_cannot_be_computed_says_why(widget, state, reason):
    if state == "no model":
        widget.logic.classifier = None
    else:
        widget._points.SetNthControlPointPositionWorld(0, [3.0, 3.0, 3.0])
    choose(widget, "texture")
    assert reason in widget.explain.message.text
    assert front(widget) is None
    assert not widget.worker.busy


def test_scene_closed_while_a_map_is_computed_is_safe(widget):
    choose(widget, "texture")
    slicer.mrmlScene.Clear(0)
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert widget.logic.heatMapIDs() == []
