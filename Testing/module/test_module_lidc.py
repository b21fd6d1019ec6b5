"""The whole way of work on a real series (LIDC-IDRI-0001): answer, saved scene opened again without computing, structured report."""

from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6")
from helpers import slicer_scene

from CLIPLungLib.dataset.nodule_table import read_nodules
from CLIPLungLib.image.read import read_ct

slicer = slicer_scene.slicer
pytestmark = pytest.mark.lidc
PATIENT = "LIDC-IDRI-0001"


@pytest.fixture(scope="module")
def series(lidc_folder) -> Path:
    folder = lidc_folder / "dicom" / PATIENT
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.fixture
def nodule(lidc_folder):
    return next(n for n in read_nodules(lidc_folder) if n.patient_id == PATIENT)


def open_application(tmp_path: Path):
    from standins.qt.application import Application

    return Application(tmp_path / "settings.ini")


def test_answer_saved_scene_and_report(series, nodule, tmp_path, monkeypatch):
    application = open_application(tmp_path)
    widget = application.open_module()
    widget.enter()
    assert widget.worker.wait(120, slicer.app.processEvents)
    ct = application.standalone.add_ct(read_ct(series))
    assert widget._parameterNode.ct is ct
    points = widget._parameterNode.points = widget.logic.makePoints()
    points.AddControlPointWorld([float(value) for value in nodule.point_ras], "N-1")
    assert widget.worker.wait(120, slicer.app.processEvents)
    row = widget._rows()[0]
    # A nodule of 33 mm whose readers' mean is 4.75 of 5.
    assert row.state == "done", row.reason
    assert row.probability > 0.9
    result = widget.logic.result(points, row.pointID)
    assert result.diameter_mm == pytest.approx(nodule.diameter_mm, rel=0.25)

    pydicom = pytest.importorskip("pydicom")
    hd = pytest.importorskip("highdicom")
    by_uid = {
        str(pydicom.dcmread(f, specific_tags=["SOPInstanceUID"]).SOPInstanceUID): str(f) for f in series.rglob("*.dcm")
    }
    # Of Slicer's DICOM database only this is asked.
    monkeypatch.setattr(slicer, "dicomDatabase", types.SimpleNamespace(fileForInstance=by_uid.get), raising=False)
    ct.SetAttribute("DICOM.instanceUIDs", " ".join(by_uid))
    application.save_as = str(tmp_path / "nodules.dcm")
    widget.exports.onDICOM()
    assert application.dialogs == []
    # Far outside of the scan: refused, and told rather than left out in silence.
    points.AddControlPointWorld([0.0, 0.0, 5000.0], "N-2")
    assert widget.worker.wait(120, slicer.app.processEvents)
    widget.exports.onDICOM()
    (told,) = application.dialogs
    assert told.startswith(f"Written: {tmp_path / 'nodules.dcm'}")
    assert "Not in the report, for there is no answer:\nN-2: " in told
    assert "lies outside" in told
    assert told.splitlines()[-1] in widget.ui.statusLabel.text
    points.RemoveNthControlPoint(1)
    report = hd.sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(tmp_path / "nodules.dcm"))
    # The nodule has an outline, so its group is that of a segment, and the click stands beside it.
    (group,) = report.content.get_volumetric_roi_measurement_groups()
    (click,) = (item for item in group[0].ContentSequence if item.ValueType == "SCOORD3D")
    r, a, s = nodule.point_ras
    np.testing.assert_allclose(click.GraphicData, [-r, -a, s], atol=1e-3)
    assert (
        len(report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence)
        == 133
    )

    saved, text = tmp_path / "scene.mrb", result.to_json()
    application.standalone.save(saved)
    application.close()

    application = open_application(tmp_path)
    application.standalone.load(saved)
    widget = application.open_module()
    monkeypatch.setattr(widget.model, "prepare", lambda: None)
    widget.enter()
    again = widget._rows()[0]
    assert widget.logic.classifier is None
    assert (again.label, again.state, again.probability) == (row.label, "done", row.probability)
    widget.selectNodule(again.pointID)
    assert "N-1" in widget.ui.answerLabel.text
    assert widget.logic.result(widget._points, again.pointID).to_json() == text
    assert slicer.mrmlScene.GetNodeByID(widget.logic.heatMapIDs()[0]).GetImageData() is not None
    application.close()
