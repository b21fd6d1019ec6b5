"""The whole way of work in a running application: what CLIPLungTest does. Without torch a made-up model answers."""

from __future__ import annotations

import json
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from CLIPLungGUI import exports
from CLIPLungGUI.sample_data import addBall
from CLIPLungLib.inference.result import AttributeResult, NoduleResult
from CLIPLungLib.vocabulary import ATTRIBUTES

LARGE_RAS, SMALL_RAS, AIR_RAS = (20.0, 10.0, 5.0), (-22.0, -8.0, -6.0), (0.0, 150.0, 0.0)
TIMEOUT_S = 180.0


class MadeUpClassifier:
    """Answers at once, with numbers that follow from the place: for a Slicer without torch."""

    def classify(self, ct: Any, point_ras: np.ndarray) -> NoduleResult:
        """A result with a ball as heat map."""
        from CLIPLungLib.errors import InputError

        ijk = np.round(ct.to_ijk(point_ras)).astype(int)
        if (ijk < 0).any() or (ijk >= ct.size_ijk).any():
            raise InputError("This point lies outside the scan. Place it on a nodule.")
        probability = 0.5 + point_ras[0] / 100
        k, j, i = np.indices((16, 32, 32))
        heat = np.clip(1 - np.sqrt((2 * (k - 7.5)) ** 2 + (j - 15.5) ** 2 + (i - 15.5) ** 2) / 12, 0, 1)
        to_ras = np.diag([1.0, 1.0, 2.0, 1.0])
        to_ras[:3, 3] = np.asarray(point_ras) - (15.5, 15.5, 15.0)
        attributes = tuple(
            AttributeResult(a.name, 0.1, 2.0, tuple(1 / len(a.levels) for _ in a.levels), a.levels[1])
            for a in ATTRIBUTES
        )
        return NoduleResult(
            point_ras=(float(point_ras[0]), float(point_ras[1]), float(point_ras[2])),
            malignancy_probability=float(probability),
            class_probabilities=(1 - probability, 0.0, float(probability)),
            diameter_mm=12.0,
            attributes=attributes,
            heatmap=heat.astype(np.float32),
            heatmap_to_ras=to_ras,
            model={"name": "made up", "version": "0", "sha256": "0"},
        )


def addTestCT(name: str = "Test CT") -> Any:
    """A small chest-like volume with two balls for nodules, at 2 x 2 x 2.5 mm."""
    hu = np.full((60, 130, 150), -1000, dtype=np.int16)
    ijk_to_ras = np.diag([-2.0, -2.0, 2.5, 1.0])
    ijk_to_ras[:3, 3] = (149.0, 129.0, -73.75)
    k, j, i = np.indices(hu.shape, sparse=True)
    body = ((i - 74.5) / 60) ** 2 + ((j - 64.5) / 45) ** 2 + 0 * k < 1
    lungs = ((i - 74.5) / 50) ** 2 + ((j - 64.5) / 36) ** 2 + 0 * k < 1
    hu[np.broadcast_to(body, hu.shape)] = 40
    noise = np.random.default_rng(0).normal(-860, 25, hu.shape)
    hu[np.broadcast_to(lungs, hu.shape)] = noise[np.broadcast_to(lungs, hu.shape)].astype(np.int16)
    addBall(hu, ijk_to_ras, np.array(LARGE_RAS), 10.0)
    addBall(hu, ijk_to_ras, np.array(SMALL_RAS), 5.0)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijk_to_ras))
    slicer.util.updateVolumeFromArray(node, hu)
    node.CreateDefaultDisplayNodes()
    return node


def checkWayOfWork(test: unittest.TestCase) -> None:
    """Place, answer, move, rename, refuse, export, save, load, delete; each step as a user would do it."""
    slicer.modules.cliplung.widgetRepresentation()  # makes the widget, unless it is there
    widget = slicer.modules.CLIPLungWidget
    ct = addTestCT()
    widget.enter()
    wasSorted, widget.ui.sortButton.checked = widget.ui.sortButton.checked, False
    try:
        _useMadeUpModelWithoutTorch(widget)
        _checkPlacing(test, widget, ct)
        _checkOrder(test, widget)
        _checkGuidelines(test, widget)
        _checkMoving(test, widget)
        _checkRefusal(test, widget)
        _checkExport(test, widget)
        _checkSavedScene(test, widget)
        _checkDeleting(test, widget)
    finally:
        widget.ui.sortButton.checked = wasSorted
        _leave(widget)


def _leave(widget: Any) -> None:
    """As a user would find it: no made-up model may answer for real nodules."""
    widget.exit()
    if isinstance(widget.logic.classifier, MadeUpClassifier):
        widget.logic.classifier = None
    if widget.parent.isEntered:
        widget.enter()


def _useMadeUpModelWithoutTorch(widget: Any) -> None:
    from CLIPLungGUI.installer import missingPackages

    if missingPackages():
        widget.logic.classifier = MadeUpClassifier()
    _wait(widget, lambda: widget.logic.classifier is not None, "the model to load")


def _checkPlacing(test: unittest.TestCase, widget: Any, ct: Any) -> None:
    test.assertIs(widget._parameterNode.ct, ct, "the only CT is chosen")
    widget.ui.placeButton.checked = True
    points = widget._parameterNode.points
    test.assertIsNotNone(points, "a list of points was made")
    widget.ui.placeButton.checked = False
    points.AddControlPointWorld(list(LARGE_RAS), "large")
    points.AddControlPointWorld(list(SMALL_RAS), "small")
    _wait(widget, lambda: [row.state for row in _rows(widget)] == ["done", "done"], "two answers")
    test.assertEqual(widget.ui.noduleTable.rowCount, 2)
    test.assertIn("%", widget.ui.noduleTable.item(0, 1).text())
    test.assertEqual(len(widget.logic.heatMapIDs()), 2)
    for row in _rows(widget):
        widget.selectNodule(row.pointID)
        test.assertEqual(widget.nodules.selectedPointID(), row.pointID)
        shown = {c.GetForegroundVolumeID() for c in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
        if shown:
            test.assertEqual(len(shown), 1, "one heat map in all views")
            test.assertIn(shown.pop(), widget.logic.heatMapIDs())
        test.assertIn(row.label, widget.ui.answerLabel.text)
    widget.onNext()
    test.assertEqual(widget.nodules.selectedPointID(), _rows(widget)[0].pointID, "around the end")


def _checkOrder(test: unittest.TestCase, widget: Any) -> None:
    labels = [row.label for row in sorted(_rows(widget), key=lambda row: -row.probability)]
    widget.onToggleSort()
    table = widget.ui.noduleTable
    test.assertEqual([table.item(index, 0).text() for index in range(table.rowCount)], labels)
    widget.onToggleSort()
    test.assertEqual(table.item(0, 0).text(), _rows(widget)[0].label)
    widget.nodules._onEntered(0, 0)
    test.assertIn("data:image/png", table.item(0, 0).toolTip())


def _checkGuidelines(test: unittest.TestCase, widget: Any) -> None:
    section = widget.guidelines.ui
    section.guidelineSection.collapsed = False
    widget.selectNodule(_rows(widget)[0].pointID)
    test.assertEqual(section.guidelineAnswerLabel.text, "", "nothing is answered before it is confirmed")
    widget.onGuidelines()
    hasSize = widget.logic.result(*widget._selection()).measurement is not None
    test.assertEqual("Lung-RADS" in section.guidelineAnswerLabel.text, hasSize)
    section.guidelineSection.collapsed = True


def _checkMoving(test: unittest.TestCase, widget: Any) -> None:
    points, first = widget._parameterNode.points, _rows(widget)[0]
    points.SetNthControlPointPositionWorld(0, LARGE_RAS[0] + 3, LARGE_RAS[1], LARGE_RAS[2])
    test.assertEqual(_rows(widget)[0].state, "moved")
    test.assertIn("moved", widget.ui.noduleTable.item(0, 1).text())
    points.InvokeEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)
    _wait(widget, lambda: _rows(widget)[0].state == "done", "the answer for the new place")
    test.assertAlmostEqual(widget.logic.result(points, first.pointID).point_ras[0], LARGE_RAS[0] + 3, 3)
    widget.onUndo()
    _wait(widget, lambda: _rows(widget)[0].state == "done", "the answer for the old place")
    test.assertAlmostEqual(widget.logic.result(points, first.pointID).point_ras[0], LARGE_RAS[0], 3)
    points.SetNthControlPointLabel(0, "renamed")
    test.assertEqual(widget.ui.noduleTable.item(0, 0).text(), "renamed")


def _checkRefusal(test: unittest.TestCase, widget: Any) -> None:
    points = widget._parameterNode.points
    index = points.AddControlPointWorld(list(AIR_RAS), "outside")
    _wait(widget, lambda: _rows(widget)[index].state == "failed", "the refusal")
    widget.selectNodule(_rows(widget)[index].pointID)
    test.assertTrue(_rows(widget)[index].reason)
    test.assertTrue(widget.ui.answerLabel.text)
    widget.onDelete()
    test.assertEqual(len(_rows(widget)), 2)
    widget.onUndo()
    test.assertEqual([row.label for row in _rows(widget)][-1], "outside")
    widget.selectNodule(_rows(widget)[-1].pointID)
    widget.onDelete()


def _checkExport(test: unittest.TestCase, widget: Any) -> None:
    points, first = widget._parameterNode.points, _rows(widget)[0]
    with tempfile.TemporaryDirectory() as folder:
        csvFile, jsonFile = Path(folder, "nodules.csv"), Path(folder, "nodule.json")
        exports.writeCSV(widget.logic, points, csvFile)
        exports.writeJSON(widget.logic, points, first.pointID, jsonFile)
        test.assertEqual(len(csvFile.read_text(encoding="utf-8").splitlines()), 3)
        test.assertIn("malignancy_probability", json.loads(jsonFile.read_text(encoding="utf-8")))


def _checkSavedScene(test: unittest.TestCase, widget: Any) -> None:
    before = [(row.label, row.probability) for row in _rows(widget)]
    widget.selectNodule(_rows(widget)[0].pointID)
    classifier = widget.logic.classifier
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "scene.mrb"))
        test.assertTrue(slicer.util.saveScene(file))
        slicer.mrmlScene.Clear(0)
        test.assertEqual(widget.ui.noduleTable.rowCount, 0)
        # Nothing may be computed to show what was saved.
        widget.logic.classifier = None
        slicer.util.loadScene(file)
        widget.initializeParameterNode()
        test.assertEqual([(row.label, row.probability) for row in _rows(widget)], before)
        test.assertTrue(all(row.state == "done" for row in _rows(widget)))
        test.assertIn(before[0][0], widget.ui.answerLabel.text)
    widget.logic.classifier = classifier


def _checkDeleting(test: unittest.TestCase, widget: Any) -> None:
    points = widget._parameterNode.points
    points.RemoveNthControlPoint(0)
    test.assertEqual(widget.ui.noduleTable.rowCount, 1)
    test.assertEqual(len(widget.logic.heatMapIDs()), 1)
    slicer.mrmlScene.RemoveNode(points)
    test.assertEqual(widget.ui.noduleTable.rowCount, 0)
    test.assertEqual(widget.logic.heatMapIDs(), [])


def _rows(widget: Any) -> list[Any]:
    points = widget._parameterNode.points
    return widget.logic.rows(points, widget.worker.keys) if points is not None else []


def _wait(widget: Any, isDone: Callable[[], bool], what: str) -> None:
    widget.worker.wait(TIMEOUT_S, slicer.app.processEvents)
    if not isDone():
        raise AssertionError(f"Waited in vain for {what}; the panel says: {widget.ui.statusLabel.text}")
