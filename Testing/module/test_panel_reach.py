"""The panel for those who use keys or a screen reader, for long names, and beside other versions of Slicer."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("PySide6")
from helpers import slicer_scene
from PySide6 import QtCore, QtWidgets

slicer = slicer_scene.slicer
LONG = "upper_lobe_of_the_right_lung_apical_segment_probably_a_granuloma"


@pytest.fixture
def widget(opened_module):
    """The module with a CT."""
    from CLIPLungGUI.selftest import addTestCT

    addTestCT()
    return opened_module


def place(widget, ras, label):
    if widget._parameterNode.points is None:
        widget._parameterNode.points = widget.logic.makePoints()
    widget._points.AddControlPointWorld(list(ras), label)
    assert widget.worker.wait(60, slicer.app.processEvents)


def tab_order(widget):
    """Names of the widgets that the tabulator reaches, in its order."""
    first = current = widget.ui.ctSelector
    names = []
    while True:
        if current.objectName() and current.focusPolicy:
            names.append(current.objectName())
        current = current.nextInFocusChain()
        if current is first:
            return names


def test_tabulator_goes_from_top_to_bottom(widget):
    widget.guidelines.ui.guidelineSection.collapsed = False
    for name, editor in widget.guidelines._editors.items():
        editor.setObjectName(name)
    widget.explain.combo.setObjectName("explain")
    expected = [
        "ctSelector", "pointsSelector", "placeButton", "noduleTable", "zoomButton", "sortButton", "analyzeButton", "undoButton",
        "deleteButton", "similarTable", "overlayCheck", "explain", "legendCheck", "editOutlineButton", "restoreOutlineButton",
        "segmentPointButton", *widget.guidelines._editors, "guidelineButton", "priorSelector", "proposeButton",
        "followupCancelButton", "dateEdit", "priorDateEdit", "compareButton", "sideBySideButton", "backButton", "csvButton",
        "jsonButton", "reportButton", "dicomButton", "deviceCombo",
    ]  # fmt: skip
    assert [name for name in tab_order(widget) if name in expected] == expected


def test_tabulator_leaves_every_table(widget):
    widget.followup.ui.followupSection.collapsed = False
    tables = widget.fitted.findChildren(QtWidgets.QTableWidget)
    assert len(tables) == 3
    for table in tables:
        assert not table.tabKeyNavigation() or not table.focusPolicy, table.objectName()


def test_everything_that_takes_input_has_a_name_for_screen_readers(widget):
    """Its own text, or that of a label that belongs to it, or one that is only read out."""
    widget.guidelines.ui.guidelineSection.collapsed = False
    labelled = {label.buddy() for label in widget.fitted.findChildren(QtWidgets.QLabel)}
    kinds = (QtWidgets.QComboBox, QtWidgets.QLineEdit, QtWidgets.QTableWidget, QtWidgets.QProgressBar)
    nameless = []
    for kind in kinds:
        for found in widget.fitted.findChildren(kind):
            parts = [found, *(up for up in above(found) if up in labelled)]
            if found.objectName().startswith("qt_") or isinstance(found.parent(), QtWidgets.QAbstractSpinBox):
                continue
            if not any(part.accessibleName() or part in labelled for part in parts):
                nameless.append(f"{kind.__name__} {found.objectName()}")
    assert nameless == []


def above(found):
    while (found := found.parentWidget()) is not None:
        yield found


def test_long_label_leaves_the_answer_in_sight(widget):
    from CLIPLungGUI.selftest import LARGE_RAS

    place(widget, LARGE_RAS, LONG)
    table = widget.ui.noduleTable
    assert table.columnWidth(0) <= 160
    assert table.item(0, 0).text() == LONG
    assert LONG in table.item(0, 1).toolTip()
    widget._points.SetNthControlPointLabel(0, "N-1")
    assert "N-1" not in table.item(0, 1).toolTip()


def test_table_needs_no_scroll_bar_at_the_width_of_the_panel(widget):
    from CLIPLungGUI.selftest import LARGE_RAS

    table = widget.ui.noduleTable
    widget.parent.resize(440, 900)
    widget.parent.show()
    for _ in range(3):
        slicer.app.processEvents()
    assert table.horizontalScrollBar().maximum() == 0, "empty"
    place(widget, LARGE_RAS, "N-1")
    for _ in range(3):
        slicer.app.processEvents()
    assert table.horizontalScrollBar().maximum() == 0
    assert table.columnWidth(4) >= table.fontMetrics().horizontalAdvance(table.item(0, 4).text())


def test_no_answer_is_cut_whatever_was_shown_before(widget):
    from CLIPLungGUI.selftest import AIR_RAS, LARGE_RAS, SMALL_RAS

    table = widget.ui.noduleTable

    def cut():
        cells = [table.item(row, column) for row in range(table.rowCount) for column in (1, 2, 3)]
        wide = table.fontMetrics().horizontalAdvance
        return [cell.text() for cell in cells if wide(cell.text()) + 4 > table.columnWidth(cell.column())]

    place(widget, LARGE_RAS, "N-1")
    place(widget, AIR_RAS, "N-2")
    assert table.item(1, 1).text() == "refused"
    assert cut() == []
    widget._points.SetNthControlPointPositionWorld(0, *SMALL_RAS)
    assert "moved" in table.item(0, 1).text()
    assert cut() == []


def test_marks_in_prior_cts_are_no_list_of_nodules(widget, tmp_path):
    from types import SimpleNamespace

    from CLIPLungGUI.selftest import LARGE_RAS

    place(widget, LARGE_RAS, "N-1")
    point_id = widget._points.GetNthControlPointID(0)
    match = SimpleNamespace(point_ras=LARGE_RAS, similarity=0.9, warnings=())
    ids = (widget._points.GetID(), point_id, widget._parameterNode.ct.GetID())
    widget.followup._onProposed(*ids, match, LARGE_RAS)
    assert widget.logic.priorMarkIDs()
    assert [node.GetName() for node in widget.ui.pointsSelector.nodes()] == ["Nodules"]
    file = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(file)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(file)
    widget.initializeParameterNode()
    assert [node.GetName() for node in widget.ui.pointsSelector.nodes()] == ["Nodules"]


@pytest.mark.parametrize("kind", ["suspicion", "texture"])
def test_heat_map_whose_display_was_deleted_is_shown_again(widget, kind):
    from CLIPLungGUI.selftest import LARGE_RAS

    place(widget, LARGE_RAS, "N-1")
    widget.selectNodule(widget._points.GetNthControlPointID(0))
    widget.explain.combo.setCurrentIndex(widget.explain.combo.findData(kind))
    assert widget.worker.wait(60, slicer.app.processEvents)
    for node_id in widget.logic.heatMapIDs():
        node = slicer.mrmlScene.GetNodeByID(node_id)
        slicer.mrmlScene.RemoveNode(node.GetDisplayNode())
    widget._parameterNode.threshold = 0.4
    shown = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0].GetForegroundVolumeID()
    assert slicer.mrmlScene.GetNodeByID(shown).GetDisplayNode().GetLowerThreshold() == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("typed", "is_there", "agrees", "written"),
    [
        ("a.csv", False, True, "a.csv"),
        ("a.CSV", False, True, "a.CSV"),
        ("a", False, True, "a.csv"),
        ("study 1.2.840", False, True, "study 1.2.840.csv"),
        ("a", True, True, "a.csv"),
        ("a", True, False, None),
    ],
)
def test_exported_file_has_the_suffix_of_its_kind(widget, application, tmp_path, typed, is_there, agrees, written):
    from CLIPLungGUI.selftest import LARGE_RAS

    place(widget, LARGE_RAS, "N-1")
    if is_there:
        (tmp_path / "a.csv").write_text("precious", encoding="utf-8")
    application.save_as, application.agrees = str(tmp_path / typed), agrees
    widget.exports.onCSV()
    assert len(application.dialogs) == is_there
    files = {
        file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir() if file.suffix.lower() == ".csv"
    }
    if written is None:
        assert files == {"a.csv": "precious"}
    else:
        assert list(files) == [written]
        assert "N-1" in files[written]


def test_bars_have_the_pixels_of_a_dense_screen(widget):
    from CLIPLungGUI.colors import blankPixmap

    slicer.app.devicePixelRatio = lambda: 2.0
    pixmap = blankPixmap(76, 14)
    assert (pixmap.width(), pixmap.height(), pixmap.devicePixelRatio()) == (152, 28, 2.0)
    assert pixmap.deviceIndependentSize() == QtCore.QSizeF(76, 14)


def test_an_old_slicer_is_told_what_it_takes(application, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 10))
    with pytest.raises(ImportError, match=r"3D Slicer 5\.10 or later"):
        application.open_module()
