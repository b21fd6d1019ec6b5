"""Sample data and the history of points."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

pytest.importorskip("PySide6")
from helpers import slicer_scene

slicer = slicer_scene.slicer


def test_sample_is_registered_with_a_thumbnail_and_draws_a_chest_with_nodules(application, monkeypatch):
    from pathlib import Path

    application.open_module()
    import CLIPLungGUI.sample_data as sample

    sources = []

    def register(**source):
        # The application raises at its start for anything else than lists of one length.
        assert len({len(source[name]) for name in ("uris", "fileNames", "nodeNames")}) == 1
        sources.append(source)

    module = types.ModuleType("SampleData")
    module.SampleDataLogic = types.SimpleNamespace(registerCustomSampleDataSource=register)
    monkeypatch.setitem(sys.modules, "SampleData", module)
    sample.registerSampleData()
    source = sources[0]
    assert source["sampleName"] == "Synthetic chest (CLIP-Lung)"
    assert Path(source["thumbnailFileName"]).is_file()
    assert source["uris"] == []  # nothing is downloaded
    from PySide6.QtCore import QTimer

    beats, told = [], []
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(1))
    timer.start(20)
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, *_: told.append(text))
    node = source["customDownloader"](source)[0]
    timer.stop()
    assert len(beats) > 20, "the window stays alive"
    assert not any(told[-1:]), "nothing is left in the status bar"
    assert node.GetName() == sample.NODE_NAME
    for center_ras, radius_mm in sample.NODULES:
        ras_to_ijk = np.linalg.inv(ijk_to_ras(node))
        i, j, k = np.round(ras_to_ijk @ [*center_ras, 1.0])[:3].astype(int)
        hu = slicer.util.arrayFromVolume(node)
        assert hu[k, j, i] == sample.NODULE_HU
        steps = int(radius_mm / node.GetSpacing()[0]) + 4
        assert hu[k, j, i + steps] < -500, "lung around it"


def test_a_fault_while_drawing_reaches_the_user_and_the_dialog_is_gone(application, monkeypatch):
    from PySide6.QtWidgets import QApplication, QProgressDialog

    application.open_module()
    import CLIPLungGUI.sample_data as sample

    monkeypatch.setattr(sample, "drawChest", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sample.addSyntheticChest()
    assert not [w for w in QApplication.topLevelWidgets() if isinstance(w, QProgressDialog) and w.isVisible()]


def ijk_to_ras(node) -> np.ndarray:
    matrix = slicer_scene.vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


@pytest.fixture
def points(application):
    application.open_module()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodules")
    node.AddControlPointWorld([1.0, 2.0, 3.0], "first")
    return node


@pytest.fixture
def history(points):
    from CLIPLungGUI.point_history import PointHistory

    made = PointHistory()
    made.restart(points)
    markups = slicer.vtkMRMLMarkupsNode
    for event in (markups.PointPositionDefinedEvent, markups.PointRemovedEvent):
        points.AddObserver(event, lambda *_: made.note(points))
    return made


def places(points) -> dict[str, tuple[float, ...]]:
    return {
        points.GetNthControlPointLabel(i): tuple(points.GetNthControlPointPositionWorld(i))
        for i in range(points.GetNumberOfControlPoints())
    }


def test_nothing_to_take_back_at_first(points, history):
    assert not history
    assert history.undo(points) == ""


def test_steps_are_taken_back_in_reverse_order(points, history):
    before = places(points)
    points.AddControlPointWorld([4.0, 5.0, 6.0], "second")
    points.SetNthControlPointPositionWorld(0, 7.0, 8.0, 9.0)
    history.note(points)
    points.RemoveNthControlPoint(0)
    assert places(points) == {"second": (4.0, 5.0, 6.0)}
    restored = history.undo(points)
    assert restored
    assert places(points)["first"] == (7.0, 8.0, 9.0)
    # The restored point has a new ID, and the step before it still finds it.
    assert history.undo(points) == restored
    assert places(points)["first"] == (1.0, 2.0, 3.0)
    assert history.undo(points) == ""
    assert places(points) == before
    assert not history


def test_a_transform_above_the_list_is_no_step(points, history):
    points.AddControlPointWorld([4.0, 5.0, 6.0], "second")
    points.RemoveNthControlPoint(0)
    shift = slicer.vtkMRMLLinearTransformNode()
    matrix = slicer_scene.vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 100.0)
    shift.SetMatrixTransformToParent(matrix)
    points.GetScene().AddNode(shift)
    points.SetAndObserveTransformNodeID(shift.GetID())
    history.note(points)
    assert history.undo(points)
    assert places(points) == {"first": (101.0, 2.0, 3.0), "second": (104.0, 5.0, 6.0)}
    history.undo(points)
    assert list(places(points)) == ["first"]


def test_another_list_starts_afresh(points, history):
    points.AddControlPointWorld([4.0, 5.0, 6.0], "second")
    assert history
    history.restart(points)
    assert not history
    history.restart(None)
    assert not history
