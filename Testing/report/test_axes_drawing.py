"""Long and short axis over the axial picture: where they are drawn, and what is written beside them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra 'report'")
from CLIPLungLib.inference.result import NoduleMeasurement, NoduleResult
from CLIPLungLib.report.axes_drawing import draw_axes
from CLIPLungLib.report.canvas import Canvas

POINT_RAS = (10.0, 20.0, 30.0)
# To the patient's left, and to the front.
LONG_RAS = ((10.0, 20.0, 30.0), (4.0, 20.0, 30.0))
SHORT_RAS = ((7.0, 20.0, 30.0), (7.0, 23.0, 30.0))


class Recorder(Canvas):
    """A page that remembers what was drawn."""

    def __init__(self) -> None:
        super().__init__(4.0, 4.0, 100, "black")
        self.lines: list[tuple] = []
        self.words: list[str] = []

    def line(self, start, end, *arguments, **named):
        self.lines.append((start, end))
        super().line(start, end, *arguments, **named)

    def text(self, x, y, string, *arguments, **named):
        self.words.append(string)
        return super().text(x, y, string, *arguments, **named)


def drawn(height_mm=0.0, **changes) -> Recorder:
    long_ras, short_ras = (tuple((r, a, s + height_mm) for r, a, s in ends) for ends in (LONG_RAS, SHORT_RAS))
    size = NoduleMeasurement(
        6.4,
        (5.0, 8.0),
        4.8,
        90.0,
        (50.0, 150.0),
        POINT_RAS,
        **({"short_diameter_mm": 3.2, "long_axis_ras": long_ras, "short_axis_ras": short_ras} | changes),
    )
    result = NoduleResult(
        POINT_RAS, 0.5, (0.3, 0.4, 0.3), 6.4, (), np.zeros((1, 1, 1), np.float32), np.eye(4), measurement=size
    )
    canvas = Recorder()
    # A picture of 3 inches that shows 48 mm: 16 mm an inch, the click in its middle at (2, 2.5).
    draw_axes(canvas, result, 0.5, 1.0, 3.0, 48.0)
    return canvas


def test_left_of_the_patient_is_right_in_the_picture_and_front_is_up():
    (long_start, long_end), (short_start, short_end) = drawn().lines
    np.testing.assert_allclose([long_start, long_end], [(2.0, 2.5), (2.0 + 6 / 16, 2.5)])
    np.testing.assert_allclose([short_start, short_end], [(2.0 + 3 / 16, 2.5), (2.0 + 3 / 16, 2.5 - 3 / 16)])


def test_lengths_are_the_answers_and_another_plane_is_named():
    assert drawn().words == ["6.4 x 3.2 mm"]
    assert drawn(height_mm=-4.0).words == ["6.4 x 3.2 mm", "4 mm below"]
    assert drawn(height_mm=3.0).words == ["6.4 x 3.2 mm", "3 mm above"]


def test_nothing_is_drawn_without_axes_and_long_ones_stay_in_the_picture():
    assert drawn(long_axis_ras=None).lines == []
    (start, end), _ = drawn(long_axis_ras=((110.0, 20.0, 30.0), (-90.0, 20.0, 30.0))).lines
    np.testing.assert_allclose([start, end], [(0.5, 2.5), (3.5, 2.5)])
