"""The module on Qt stand-ins, for all tests of its panel."""

from __future__ import annotations

import pytest


@pytest.fixture
def opened_module(application, tiny_checkpoint_file):
    """The module, entered, with a small untrained model already loaded."""
    from CLIPLungLib.inference.classifier import NoduleClassifier

    opened = application.open_module()
    opened.logic.classifier = NoduleClassifier.load(tiny_checkpoint_file, "cpu")
    opened.enter()
    return opened
