"""How much the panel does: which records it reads and which rows it writes, and in which order nodules are answered."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("PySide6")
from dataclasses import replace

from helpers import slicer_scene

slicer = slicer_scene.slicer
COUNT = 6


@pytest.fixture
def panel(application):
    """The module with COUNT answered nodules, and no model."""
    widget = application.open_module()
    widget.model.prepare = lambda: None
    widget.enter()
    from CLIPLungGUI.selftest import addTestCT

    ct, points = addTestCT(), widget.logic.makePoints()
    for number in range(COUNT):
        ras = (10.0 * number, 5.0, 5.0)
        index = points.AddControlPointWorld(list(ras), f"N-{number + 1}")
        result = replace(
            slicer_scene.fake_result(), point_ras=ras, malignancy_probability=(number * 3 % 7) / 10, warnings=()
        )
        widget.logic.store(ct, points, points.GetNthControlPointID(index), result)
    widget._parameterNode.points = points
    slicer.app.processEvents()
    return widget


@pytest.fixture
def records(monkeypatch):
    """Names of the nodes whose records are read for the list."""
    from CLIPLungLib.scene import result_index

    read, real = [], result_index.read_record
    monkeypatch.setattr(result_index, "read_record", lambda node: read.append(node.GetName()) or real(node))
    return read


@pytest.fixture
def written(panel, monkeypatch):
    """Labels of the rows that are written."""
    labels, real = [], panel.nodules._show
    monkeypatch.setattr(panel.nodules, "_show", lambda index, row: labels.append(row.label) or real(index, row))
    return labels


def test_a_refresh_reads_and_writes_nothing_that_has_not_changed(panel, records, written):
    panel.refresh()
    panel.refresh()
    assert records == []
    assert written == []


def test_an_answer_that_changes_is_the_only_one_read(panel, records, written):
    point_id = panel._points.GetNthControlPointID(2)
    result = replace(panel.logic.result(panel._points, point_id), malignancy_probability=0.99)
    panel.logic.store(panel._parameterNode.ct, panel._points, point_id, result)
    panel.refresh()
    assert len(records) == 1
    assert "N-3" in records[0]
    assert written == ["N-3"]
    assert panel.ui.noduleTable.item(2, 1).text() == "99\u00a0%"


def test_a_move_of_the_mouse_reads_nothing_and_writes_one_row_once(panel, records, written):
    for step in range(5):
        panel._points.SetNthControlPointPositionWorld(1, 30.0 + step, 20.0, 5.0)
    assert records == []
    assert written == ["N-2"]
    assert "moved" in panel.ui.noduleTable.item(1, 1).text()


def test_a_new_label_is_followed_by_one_row_and_by_its_nodes(panel, records, written):
    panel._points.SetNthControlPointLabel(4, "apex")
    assert written == ["apex"]
    assert panel.ui.noduleTable.item(4, 0).text() == "apex"
    assert any("apex" in slicer.mrmlScene.GetNodeByID(i).GetName() for i in panel.logic.heatMapIDs())


def test_a_heat_map_deleted_by_hand_and_one_damaged_later_are_noticed(panel):
    ids = panel.logic.heatMapIDs()
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetNodeByID(ids[0]))
    slicer.mrmlScene.GetNodeByID(ids[1]).SetAttribute("CLIPLung.result", "{}")
    panel.refresh()
    assert [row.state for row in panel._rows()][:3] == ["new", "failed", "done"]
    panel._points.SetNthControlPointLabel(0, "without an answer")
    assert panel.nodules.rowOf(panel._points.GetNthControlPointID(0)).label == "without an answer"


def test_the_most_suspicious_first_and_back_again(panel, application):
    order = lambda: [panel.ui.noduleTable.item(i, 0).text() for i in range(COUNT)]  # noqa: E731
    panel.selectNodule(panel._points.GetNthControlPointID(3))
    panel.onToggleSort()
    assert order() == ["N-3", "N-5", "N-2", "N-4", "N-6", "N-1"]
    assert panel.nodules.selectedPointID() == panel._points.GetNthControlPointID(3)
    panel.onNext()
    assert panel.nodules.selectedPointID() == panel._points.GetNthControlPointID(5)
    assert application.settings.value("CLIPLung/SortByProbability") in (True, "true")
    panel.onToggleSort()
    assert order() == [f"N-{i + 1}" for i in range(COUNT)]


def test_class_and_volume_are_shown_in_words(panel):
    result = replace(slicer_scene.fake_result((20.0, 5.0, 5.0)), class_probabilities=(0.1, 0.8, 0.1))
    panel.logic.store(panel._parameterNode.ct, panel._points, panel._points.GetNthControlPointID(2), result)
    panel.refresh()
    texts = [panel.ui.noduleTable.item(2, column).text() for column in range(5)]
    assert texts == ["N-3", "82\u00a0% \u26a0", "indeterminate", "~14.0\u00a0mm", ""]


def test_the_picture_of_a_nodule_is_made_when_the_mouse_comes_and_kept(panel, monkeypatch):
    from CLIPLungLib.scene import thumbnail

    made, real = [], thumbnail.axial_png
    monkeypatch.setattr(thumbnail, "axial_png", lambda *a: made.append(1) or real(*a))
    item = panel.ui.noduleTable.item(0, 1)
    assert "img" not in item.toolTip()
    for _ in range(3):
        panel.nodules._onEntered(0, 1)
    assert item.toolTip().startswith('<img src="data:image/png;base64,')
    assert made == [1]
    panel._points.SetNthControlPointPositionWorld(0, 1.0, 2.0, 3.0)
    panel.nodules._onEntered(0, 1)
    assert made == [1, 1]


def test_the_views_are_close_at_the_first_selection_and_wide_when_asked(panel):
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    fields = lambda: {round(min(node.GetFieldOfView()[:2]), 3) for node in nodes}  # noqa: E731
    panel.selectNodule(panel._points.GetNthControlPointID(0))
    assert fields() == {60.0}
    for node in nodes:
        node.SetFieldOfView(100.0, 100.0, 1.0)
    panel.selectNodule(panel._points.GetNthControlPointID(1))
    assert fields() == {100.0}, "the reader's zoom is left alone"
    panel.zoom.toggle()
    assert min(fields()) > 250.0
    panel.zoom.toggle()
    assert fields() == {60.0}


# Order of the answers


class Listening:
    """Answers when told to, and keeps the order of the questions."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.go = threading.Event()

    def classify(self, _ct, ras):
        self.asked.append(round(float(ras[0])))
        assert self.go.wait(30)
        return slicer_scene.fake_result(ras)


def test_clicks_while_the_model_loads_are_answered_selected_first_then_newest(panel):
    points = panel._parameterNode.points = panel.logic.makePoints()
    for number in range(1, 6):
        points.AddControlPointWorld([float(number), 5.0, 5.0])
    panel.selectNodule(points.GetNthControlPointID(1))
    classifier = Listening()
    classifier.go.set()
    panel._onModel(classifier)
    assert panel.worker.wait(60, slicer.app.processEvents)
    assert classifier.asked == [2, 5, 4, 3, 1]
    assert panel.nodules.selectedPointID() == points.GetNthControlPointID(1)


def test_ten_clicks_in_a_row_are_answered_newest_first_and_a_row_that_is_looked_at_before_them(panel):
    points = panel._parameterNode.points = panel.logic.makePoints()
    panel.logic.classifier = classifier = Listening()
    points.AddControlPointWorld([1.0, 5.0, 5.0])
    while not classifier.asked:
        slicer.app.processEvents()
    for number in range(2, 11):
        points.AddControlPointWorld([float(number), 5.0, 5.0])
    panel.selectNodule(points.GetNthControlPointID(3))
    classifier.go.set()
    assert panel.worker.wait(60, slicer.app.processEvents)
    assert classifier.asked == [1, 4, 10, 9, 8, 7, 6, 5, 3, 2]
