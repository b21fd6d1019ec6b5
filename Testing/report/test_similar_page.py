"""The page of similar cases: what stands on it, whatever is unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("slicer")
pytest.importorskip("matplotlib")
from helpers.similar_index import answer, made_up_index

from CLIPLungLib.errors import InputError
from CLIPLungLib.report import similar_cases as page
from CLIPLungLib.report.canvas import Canvas
from CLIPLungLib.similar.cases import FAR, similar_cases


@pytest.fixture
def written(monkeypatch):
    """Every text that the page draws, in order."""
    texts: list[str] = []
    original = Canvas.text

    def note(self, x, y, string, *rest, **named):
        texts.append(string)
        return original(self, x, y, string, *rest, **named)

    monkeypatch.setattr(Canvas, "text", note)
    return texts


def test_page_tells_cases_mean_and_this_nodule(tmp_path, written):
    found = similar_cases(answer(), made_up_index())
    file = tmp_path / "new" / "similar.png"
    page.save_similar(found, file, "Chest of $5")
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert all(case.nodule_id in written for case in found.cases)
    assert "P(>3) 0.82" in written
    assert page.UNKNOWN in written
    assert f"{found.mean('malignancy'):.2f}" in written
    assert "made up" in written
    assert any("Spearman correlation of 0.50 (0.25 to 0.75)" in text for text in written)
    assert FAR not in written


def test_far_cases_are_marked(tmp_path, written):
    page.save_similar(similar_cases(answer(), made_up_index(usual_distance=1.0)), tmp_path / "far.png")
    assert FAR in written


def test_page_is_drawn_where_nothing_is_known(tmp_path, written):
    found = similar_cases(answer(), made_up_index())
    nothing = tuple(replace(c, diameter_mm=None, ratings=dict.fromkeys(c.ratings)) for c in found.cases)
    page.save_similar(replace(found, cases=nothing), tmp_path / "unknown.png")
    assert not any("diamond" in text for text in written)


def test_unwritable_places_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        page.save_similar(similar_cases(answer(), made_up_index()), tmp_path / "file" / "similar.png")
