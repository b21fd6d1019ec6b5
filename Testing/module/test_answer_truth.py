"""The panel says whose truth a probability speaks of."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("PySide6")
from helpers.slicer_scene import fake_result

from CLIPLungLib.calibration.truth import LIDC_READERS, OUTCOME, READERS, Truth

BY_OUTCOME = Truth(OUTCOME, 412, 300, 120)


def test_headline_and_notice_change_with_the_truth(application):
    widget = application.open_module()
    ui, panel = widget.ui, widget.answer
    before = ui.disclaimerLabel.text
    panel.showResult("N-1", replace(fake_result(), truth=BY_OUTCOME), isMoved=False)
    assert "likely malignant, by the outcome of 412 local cases" in ui.answerLabel.text
    assert "readers" not in ui.answerLabel.text
    assert "outcome in local cases" in ui.disclaimerLabel.text
    panel.showResult("N-1", replace(fake_result(), truth=Truth(READERS, 50, 40, 20)), isMoved=False)
    assert "suspicious to local readers (50 local cases)" in ui.answerLabel.text
    panel.showResult("N-1", replace(fake_result(), truth=LIDC_READERS), isMoved=False)
    assert "suspicious to the readers of LIDC-IDRI" in ui.answerLabel.text
    assert ui.disclaimerLabel.text == before
