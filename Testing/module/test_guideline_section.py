"""The guidelines in the panel, on Qt stand-ins with a real MRML scene."""

from __future__ import annotations

import types

import pytest

pytest.importorskip("PySide6")
from dataclasses import replace

from helpers import slicer_scene

from CLIPLungLib.inference.result import NoduleMeasurement

slicer = slicer_scene.slicer
MEASURED = NoduleMeasurement(9.1, (7.0, 11.0), 8.2, 290.0, (200.0, 400.0), (20.0, 10.0, 5.0))


@pytest.fixture
def panel(application):
    """One nodule with a measured size, selected, and the section open."""
    widget = application.open_module()
    widget.model.prepare = lambda: None
    widget.enter()
    from CLIPLungGUI.selftest import LARGE_RAS, addTestCT

    addTestCT()
    points = widget._parameterNode.points = widget.logic.makePoints()
    points.AddControlPointWorld(list(LARGE_RAS), "N-1")
    store(widget, MEASURED)
    widget.selectNodule("1")
    widget.onGuidelines()
    return widget


def store(widget, measurement):
    from CLIPLungGUI.selftest import LARGE_RAS

    result = replace(slicer_scene.fake_result(LARGE_RAS), measurement=measurement, diameter_mm=9.1)
    widget.logic.store(widget._parameterNode.ct, widget._points, "1", result)
    widget.refresh()


def choose(panel, **values):
    for name, value in values.items():
        editor = panel.guidelines._editors[name]
        if hasattr(editor, "findData"):
            assert editor.findData(value) >= 0
            editor.setCurrentIndex(editor.findData(value))
        else:
            editor.setText(value)


def answer(panel):
    return panel.guidelines.ui.guidelineAnswerLabel.text


SCREENED = {"context": "screening", "seen": "baseline", "nodule_type": "solid"}


def test_nothing_is_answered_before_the_reader_confirms(panel):
    assert answer(panel) == ""
    assert "9.1 mm" in panel.guidelines.ui.guidelineHintLabel.text
    assert panel.guidelines._values() == {"nodule_type": "solid", "spiculation": "yes", "nodule_count": "1"}
    choose(panel, **SCREENED)
    panel.onGuidelines()
    assert "Lung-RADS v2022: 4A" in answer(panel)
    assert "Rule: " in answer(panel)
    assert "doi:" in answer(panel)
    choose(panel, nodule_type="ground_glass")
    assert answer(panel) == "", "an answer for other inputs must not stand there"


def test_missing_inputs_are_named_without_options_of_the_command_line(panel):
    panel.onGuidelines()
    assert "how the nodule was found" in answer(panel)
    assert "--" not in answer(panel)


def test_brock_answers_from_what_was_confirmed_and_never_from_the_network(panel):
    from CLIPLungGUI.selftest import LARGE_RAS

    choose(panel, **SCREENED, age="66", sex="female", family_history="no", emphysema="yes", upper_lobe="yes")
    panel.onGuidelines()
    first = answer(panel)
    assert "Brock (PanCan) 2013: " in first
    other = replace(
        slicer_scene.fake_result(LARGE_RAS), measurement=MEASURED, diameter_mm=9.1, malignancy_probability=0.01
    )
    panel.logic.store(panel._parameterNode.ct, panel._points, "1", other)
    panel.refresh()
    assert answer(panel) == first


def test_a_number_that_is_none_is_refused(panel):
    choose(panel, **SCREENED, age="old")
    panel.onGuidelines()
    assert "Age" in panel.guidelines.ui.guidelineHintLabel.text
    assert answer(panel) == ""
    choose(panel, age="66,5")
    panel.onGuidelines()
    assert "Lung-RADS" in answer(panel)


def test_a_confirmation_is_saved_with_the_scene_and_the_patient_is_known_for_the_next_nodule(panel, tmp_path):
    choose(panel, **SCREENED, age="66")
    panel.onGuidelines()
    before = answer(panel)
    file = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(file))
    slicer.mrmlScene.Clear(0)
    assert answer(panel) == ""
    slicer.util.loadScene(str(file))
    panel.initializeParameterNode()
    assert answer(panel) == before != ""
    panel._points.AddControlPointWorld([-22.0, -8.0, -6.0], "N-2")
    other = replace(slicer_scene.fake_result((-22.0, -8.0, -6.0)), measurement=MEASURED)
    panel.logic.store(panel._parameterNode.ct, panel._points, panel._points.GetNthControlPointID(1), other)
    panel.selectNodule(panel._points.GetNthControlPointID(1))
    assert answer(panel) == ""
    assert panel.guidelines._values()["age"] == "66"


def test_another_size_must_be_confirmed_again(panel):
    choose(panel, **SCREENED)
    panel.onGuidelines()
    assert answer(panel) != ""
    store(panel, replace(MEASURED, diameter_mm=14.0, mean_diameter_mm=13.0))
    assert answer(panel) == ""
    assert "has changed" in panel.guidelines.ui.guidelineHintLabel.text
    assert panel.guidelines._values()["context"] == "screening"


def test_without_a_size_nothing_is_asked(panel):
    store(panel, None)
    assert not panel.guidelines.ui.guidelineButton.enabled
    panel.onGuidelines()
    assert answer(panel) == ""


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"age": "1e999", "sex": 3, "size": []}', '{"context": "<b>"}', "[" * 9000]
)
def test_what_a_foreign_scene_holds_is_checked(panel, text):
    node = panel.logic.heatMap(panel._points, "1")
    node.SetAttribute("CLIPLung.guidelines", text)
    panel._parameterNode.ct.SetAttribute("CLIPLung.guidelinePatient", text)
    panel.refresh()
    assert set(panel.guidelines._values()) <= {"nodule_type", "spiculation", "nodule_count"}
    assert answer(panel) == ""


def test_what_is_said_of_one_patient_is_not_proposed_for_the_next(panel, monkeypatch):
    """One list of points goes on from the CT of one patient to that of another."""
    from CLIPLungGUI.selftest import addTestCT

    sexes = {"1": "M", "2": "F"}
    database = types.SimpleNamespace(instanceValue=lambda uid, tag: sexes[uid] if tag == "0010,0040" else "")
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    first, second = panel._parameterNode.ct, addTestCT("second")
    first.SetAttribute("DICOM.instanceUIDs", "1")
    second.SetAttribute("DICOM.instanceUIDs", "2")
    choose(panel, **SCREENED, age="66", sex="male", smoking="current")
    panel.onGuidelines()
    panel._points.AddControlPointWorld([-22.0, -8.0, -6.0], "N-2")
    point_id = panel._points.GetNthControlPointID(1)
    other = replace(slicer_scene.fake_result((-22.0, -8.0, -6.0)), measurement=MEASURED)
    panel.logic.store(second, panel._points, point_id, other)
    # The first CT is still the chosen one.
    panel.selectNodule(point_id)
    values = panel.guidelines._values()
    assert values["sex"] == "female"
    assert not {"age", "smoking", "context"} & values.keys()
    panel.logic.store(first, panel._points, point_id, other)
    panel.guidelines.onOpened(False)
    assert panel.guidelines._values()["smoking"] == "current"


def test_age_and_sex_come_from_the_header(panel, monkeypatch):
    header = {"0010,0040": "F ", "0010,0030": "19500630", "0008,0020": "20160629"}
    database = types.SimpleNamespace(instanceValue=lambda uid, tag: header.get(tag, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    panel._parameterNode.ct.SetAttribute("DICOM.instanceUIDs", "1.2 1.3")
    panel.guidelines.onOpened(False)
    assert panel.guidelines._values()["sex"] == "female"
    assert panel.guidelines._values()["age"] == "65"


@pytest.mark.parametrize(
    ("age", "sex", "expected"),
    [("063Y", "M", {"age": "63", "sex": "male"}), ("011M", "O", {}), ("", "", {}), ("junkY", "x", {})],
)
def test_headers_in_odd_states(panel, age, sex, expected):
    from CLIPLungGUI.guideline_inputs import ofDICOM

    assert ofDICOM(lambda tag: {"0010,1010": age, "0010,0040": sex}.get(tag, "")) == expected
