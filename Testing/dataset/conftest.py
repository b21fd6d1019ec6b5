"""The made-up LIDC folder as a fixture."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.dataset_folder import make_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Not to be changed."""
    root = tmp_path_factory.mktemp("lidc")
    make_folder(root)
    return root
