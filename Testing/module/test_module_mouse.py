"""Clicks and drags in a slice view, through Slicer's own displayable manager, into the panel (Qt stand-ins) and back onto the picture."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6")
from helpers import slicer_scene

from CLIPLungLib.demo.offscreen_views import SliceView

slicer_scene.require_rendering()
slicer = slicer_scene.slicer

SIZE = 400
VIEW_MM = 120.0


class Mouse:
    """A mouse over an off-screen slice view; positions in world RAS mm."""

    def __init__(self, view: SliceView) -> None:
        self.view = view
        self._interactor = view._interactor
        # VTK's own style would react, too.
        self._interactor.SetInteractorStyle(slicer_scene.vtk.vtkInteractorStyleUser())
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        self._style.SetSliceLogic(view._logic)
        self._style.SetDisplayableManagers(view._managers)
        self._style.SetInteractor(self._interactor)
        self._interactor.Initialize()

    def move(self, ras: tuple[float, float, float]) -> None:
        column, row = self.view.to_xy(np.array(ras))
        self._interactor.SetEventInformation(round(column), SIZE - 1 - round(row))
        for event in ("EnterEvent", "MouseMoveEvent"):
            self._interactor.InvokeEvent(event)

    def press(self) -> None:
        self._interactor.InvokeEvent("LeftButtonPressEvent")

    def release(self) -> None:
        self._interactor.InvokeEvent("LeftButtonReleaseEvent")

    def click(self, ras: tuple[float, float, float]) -> None:
        self.move(ras)
        self.press()
        self.release()


@pytest.fixture
def desk(tmp_path):
    """The module with the bundled weights, a CT with two nodules, and a mouse over the axial view."""
    from standins.qt.application import Application

    application = Application(tmp_path / "settings.ini")
    widget = application.open_module()
    widget.enter()
    assert widget.worker.wait(60, slicer.app.processEvents)
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    ct = addTestCT()
    logic = application.standalone.slice_logics["Red"]
    logic.GetSliceCompositeNode().SetBackgroundVolumeID(ct.GetID())
    view = SliceView(application.standalone, "Red", (SIZE, SIZE))
    logic.FitSliceToBackground()
    logic.SetSliceOffset(LARGE_RAS[2])
    view.zoom(VIEW_MM)
    view.picture()
    yield widget, Mouse(view), LARGE_RAS
    application.close()


def warmth(picture: np.ndarray, xy: np.ndarray, radius: int = 12) -> float:
    """How much redder than blue the picture is around a place; 0 where it is grey."""
    column, row = np.round(xy).astype(int)
    part = picture[row - radius : row + radius, column - radius : column + radius].astype(int)
    return float(np.abs(part[..., 0] - part[..., 2]).mean())


def test_a_click_places_a_point_and_the_answer_comes_by_itself(desk):
    widget, mouse, nodule_ras = desk
    before = mouse.view.picture()
    assert warmth(before, mouse.view.to_xy(np.array(nodule_ras))) == 0
    widget.ui.placeButton.checked = True
    mouse.click(nodule_ras)
    assert widget.worker.wait(60, slicer.app.processEvents)
    rows = widget._rows()
    assert [row.state for row in rows] == ["done"]
    point = widget._points.GetNthControlPointPositionWorld(0)
    np.testing.assert_allclose(point, nodule_ras, atol=VIEW_MM / SIZE)
    assert rows[0].label in widget.ui.answerLabel.text
    assert f"{100 * rows[0].probability:.0f}\u00a0%" == widget.ui.noduleTable.item(0, 1).text()
    # Placing goes on: the point under the mouse is no nodule.
    assert widget.ui.placeButton.checked
    mouse.move((nodule_ras[0] + 15, nodule_ras[1], nodule_ras[2]))
    assert widget.ui.noduleTable.rowCount == 1
    widget.ui.placeButton.checked = False
    widget._points.GetDisplayNode().SetVisibility(False)
    widget.ui.thresholdSlider.value = 0.0
    after = mouse.view.picture()
    assert warmth(after, mouse.view.to_xy(np.array(nodule_ras))) > 5


def test_clicks_go_on_placing_nodules_after_an_answer(desk):
    widget, mouse, middle = desk
    widget.ui.placeButton.checked = True
    for count, right_mm in enumerate((0.0, 12.0, -12.0), start=1):
        mouse.click((middle[0] + right_mm, middle[1], middle[2]))
        assert widget.worker.wait(120, slicer.app.processEvents)
        assert widget._points.GetNumberOfDefinedControlPoints() == count
    assert slicer.util.getNodesByClass("vtkMRMLMarkupsLineNode"), "no answer with axes, which is what is tested here"
    assert widget.ui.placeButton.checked


def test_dragging_marks_the_answer_until_the_mouse_is_released(desk):
    widget, mouse, nodule_ras = desk
    widget.ui.placeButton.checked = True
    mouse.click(nodule_ras)
    widget.ui.placeButton.checked = False
    assert widget.worker.wait(60, slicer.app.processEvents)
    first = widget.logic.result(widget._points, "1").point_ras
    near = (nodule_ras[0] + 4, nodule_ras[1] - 2, nodule_ras[2])
    mouse.view.picture()
    mouse.move(nodule_ras)
    mouse.press()
    mouse.move(near)
    assert widget._rows()[0].state == "moved"
    assert widget.logic.result(widget._points, "1").point_ras == first
    mouse.release()
    assert widget.worker.wait(60, slicer.app.processEvents)
    assert widget._rows()[0].state == "done"
    np.testing.assert_allclose(widget.logic.result(widget._points, "1").point_ras, near, atol=2 * VIEW_MM / SIZE)
    widget.onUndo()
    assert widget.worker.wait(60, slicer.app.processEvents)
    np.testing.assert_allclose(widget.logic.result(widget._points, "1").point_ras, first)


def test_a_click_outside_place_mode_places_nothing(desk):
    widget, mouse, nodule_ras = desk
    mouse.click(nodule_ras)
    assert widget._points is None
    assert widget.ui.noduleTable.rowCount == 0
