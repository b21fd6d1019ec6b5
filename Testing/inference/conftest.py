"""Fixtures of the tests of whole cohorts."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.cohort import write_image


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint_file):
    """A loaded classifier that is small and untrained."""
    from CLIPLungLib.inference.classifier import NoduleClassifier

    return NoduleClassifier.load(tiny_checkpoint_file, "cpu")


@pytest.fixture
def folder(tmp_path, ball_ct) -> Path:
    """Two copies of a CT and an image that is none."""
    write_image(ball_ct, tmp_path / "one.nrrd", tmp_path / "two.nrrd")
    (tmp_path / "broken.nrrd").write_text("not an image")
    return tmp_path
