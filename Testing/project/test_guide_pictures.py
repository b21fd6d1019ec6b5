"""The pictures of README and user guide: one script draws them all, and every one is shown."""

from __future__ import annotations

import re

import pytest
from helpers.repository import ROOT

pytest.importorskip("matplotlib")
from guide_pictures import PICTURES

FOLDER = ROOT / "Resources" / "Screenshots"
PAGES = (ROOT / "README.md", ROOT / "Resources" / "Documentation" / "user_guide.md")
LARGEST_KB = 400


def test_script_draws_the_pictures_that_are_there_and_shown():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = set(re.findall(r"!\[[^\]]+\]\([^)]*Screenshots/([^)]+)\)", pages))
    assert shown == set(PICTURES)
    assert {file.name for file in FOLDER.iterdir()} == set(PICTURES)


def test_pictures_load_quickly():
    large = [file.name for file in FOLDER.iterdir() if file.stat().st_size > LARGEST_KB * 1000]
    assert large == []
