"""The synthetic chest, once for all tests of this folder."""

from __future__ import annotations

import pytest
from helpers.two_scans import empty_chest

from CLIPLungLib.image.ct_volume import CTVolume


@pytest.fixture(scope="session")
def chest() -> CTVolume:
    return empty_chest()


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint_file):
    """A loaded classifier that is small and untrained."""
    from CLIPLungLib.inference.classifier import NoduleClassifier

    return NoduleClassifier.load(tiny_checkpoint_file, "cpu")
