"""The module's logic without a panel: no Qt, one threshold, warnings that the scene gives rise to."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

pytest.importorskip("PySide6")
from helpers import slicer_scene

from CLIPLungLib.inference.heat_threshold import HEAT_THRESHOLD

slicer = slicer_scene.slicer


@pytest.fixture
def logic(application):
    application.open_module()
    return application.widget.logic


def test_logic_and_exports_import_no_qt(application, monkeypatch):
    application.open_module()
    for name in [name for name in sys.modules if name.partition(".")[0] == "CLIPLungGUI"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("qt", "ctk"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError):
        importlib.import_module("CLIPLungGUI.nodule_list")
    for name in ("logic", "exports", "nodule_rows", "installer"):
        importlib.import_module(f"CLIPLungGUI.{name}")


def test_what_is_drawn_and_what_is_called_empty_have_one_threshold(logic):
    assert logic.getParameterNode().threshold == HEAT_THRESHOLD


def test_a_ct_under_a_stretching_transform_gives_an_answer_that_says_so(logic):
    from CLIPLungGUI.selftest import LARGE_RAS, MadeUpClassifier, addTestCT

    logic.classifier = MadeUpClassifier()
    ct, points = addTestCT(), logic.makePoints()
    points.AddControlPointWorld(list(LARGE_RAS), "one")
    assert answer_warnings(logic, ct, points) == ()
    ct.SetAndObserveTransformNodeID(
        slicer_scene.add_transform(slicer.mrmlScene, np.diag([-1.0, 1.0, 1.5, 1.0])).GetID()
    )
    (warning,) = answer_warnings(logic, ct, points)
    for said in ("'turned'", "factor of 1 to 1.5", "left and right"):
        assert said in warning
    assert logic.rows(points, set())[0].reason == warning


def answer_warnings(logic, ct, points) -> tuple[str, ...]:
    """Of an answer that was stored in the scene and read back."""
    import threading

    logic.store(ct, points, "1", logic.job(ct, points, "1")(threading.Event()))
    return logic.result(points, "1").warnings


def test_an_answer_that_says_it_already_says_it_once(logic):
    from CLIPLungGUI.logic import _withSceneWarning

    result = slicer_scene.fake_result()
    assert _withSceneWarning(result, "") is result
    once = _withSceneWarning(result, "stretched")
    assert once.warnings == ("stretched", *result.warnings)
    assert _withSceneWarning(once, "stretched") is once


def test_failures_of_points_that_are_gone_are_forgotten(logic):
    points = logic.makePoints()
    for label in ("a", "b"):
        points.AddControlPointWorld([1.0, 2.0, 3.0], label)
    kept, gone = logic.key(points, "1"), logic.key(points, "2")
    logic.failures.update({kept: "no", gone: "no", "vtkMRMLMarkupsFiducialNode99/1": "no"})
    points.RemoveNthControlPoint(1)
    logic.removeOrphans()
    assert set(logic.failures) == {kept}
    # The next point of an emptied list has the first one's ID.
    points.RemoveAllControlPoints()
    logic.removeOrphans()
    points.AddControlPointWorld([1.0, 2.0, 3.0], "new")
    assert points.GetNthControlPointID(0) == "1"
    assert logic.rows(points, set())[0].state == "new"
