"""The right side of the page: probability, classes, size and signs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from CLIPLungLib.calibration.truth import short_phrase
from CLIPLungLib.inference.result import AttributeResult, NoduleResult
from CLIPLungLib.report import palette
from CLIPLungLib.report.wording import class_title, compatible_classes, percent, read_sign
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASS_TITLES, CLASSES, Attribute

if TYPE_CHECKING:
    from CLIPLungLib.report.canvas import Canvas

PADDING = 0.20
SIMILARITY_WIDTH, LEVEL_WIDTH = 0.70, 0.56
SPREAD_OPACITY = 0.25
ATTRIBUTES_HEADER = 0.42
# Small enough for a gap between the classes also where all shares have two digits.
LEGEND_POINTS = 8


def draw_verdict(canvas: Canvas, result: NoduleResult, x: float, y: float, width: float, height: float) -> None:
    """The card with probability, gauge, classes and diameter."""
    canvas.card(x, y, width, height, palette.CARD)
    left, right = x + PADDING, x + width - PADDING
    color = palette.CLASS_COLORS[result.predicted_class]
    class_width = canvas.text(right, y + 0.26, "Class", 9, palette.MUTED, align="right")
    title = f"Malignancy {short_phrase(result.truth)}" if result.truth.is_local else "Malignancy probability"
    canvas.text(left, y + 0.26, title, 9, palette.MUTED, max_width=right - left - class_width - 0.1)
    canvas.text(right, y + 0.48, _compatible_with(result), 8, palette.FAINT, align="right")
    canvas.text(left, y + 0.79, percent(result.malignancy_probability), 36, palette.TEXT, bold=True)
    canvas.text(right, y + 0.79, class_title(result), 15, color, align="right", bold=True)
    _draw_gauge(canvas, result.malignancy_probability, color, left, y + 0.95, right - left)
    _draw_classes(canvas, _shares(result), left, y + 1.46, right - left)
    canvas.line((left, y + 1.97), (right, y + 1.97), palette.TRACK)
    canvas.text(left, y + 2.22, "Diameter" if result.measurement else "Estimated diameter", 9, palette.MUTED)
    canvas.text(right, y + 2.22, diameter_text(result), 10, palette.TEXT, align="right", bold=True)


def diameter_text(result: NoduleResult) -> str:
    """The diameter with its interval and the volume, or the bare estimate."""
    if result.measurement is None:
        return f"{result.diameter_mm:.1f} mm"
    if result.measurement.corrected_by_hand:
        return f"{result.diameter_mm:.1f} mm by hand, {result.measurement.volume_mm3:.0f} mm\u00b3"
    low, high = result.measurement.diameter_interval_mm
    return f"{result.diameter_mm:.1f} mm ({low:.1f} to {high:.1f}), {result.measurement.volume_mm3:.0f} mm\u00b3"


def _compatible_with(result: NoduleResult) -> str:
    others = compatible_classes(result)
    return f"compatible with {others}" if others else ""


def _draw_gauge(canvas: Canvas, probability: float, color: str, x: float, y: float, width: float) -> None:
    height, filled = 0.13, width * float(np.clip(probability, 0.0, 1.0))
    canvas.bar(x, y, width, height, palette.TRACK)
    canvas.bar(x, y, filled, height, color)
    canvas.bar(x + filled - 0.012, y - 0.04, 0.024, height + 0.08, palette.TEXT)
    for share, align in ((0.0, "left"), (0.25, "center"), (0.5, "center"), (0.75, "center"), (1.0, "right")):
        canvas.text(x + share * width, y + height + 0.19, f"{100 * share:.0f}%", 8, palette.FAINT, align=align)


def _shares(result: NoduleResult) -> dict[str, float]:
    """The classes that the truth knows, with their probabilities."""
    shares = dict(zip(CLASSES, result.class_probabilities, strict=True))
    return {name: shares[name] for name in result.truth.classes}


def _draw_classes(canvas: Canvas, probabilities: dict[str, float], x: float, y: float, width: float) -> None:
    """One bar split between the classes, and a legend with their names and shares."""
    height, start = 0.13, x
    shares = np.clip(list(probabilities.values()), 0.0, None)
    for name, share in zip(probabilities, shares / max(shares.sum(), 1e-12), strict=True):
        canvas.bar(start, y, share * width, height, palette.CLASS_COLORS[name])
        start += share * width
    items = [(name, percent(probability)) for name, probability in probabilities.items()]
    widths = [
        0.16 + canvas.width(f"{CLASS_TITLES[name]} ", LEGEND_POINTS) + canvas.width(label, LEGEND_POINTS, bold=True)
        for name, label in items
    ]
    space = (width - sum(widths)) / (len(items) - 1)
    for (name, label), item_width in zip(items, widths, strict=True):
        canvas.bar(x, y + 0.275, 0.10, 0.10, palette.CLASS_COLORS[name])
        canvas.text(x + 0.16, y + 0.37, CLASS_TITLES[name], LEGEND_POINTS, palette.MUTED)
        canvas.text(x + item_width, y + 0.37, label, LEGEND_POINTS, palette.TEXT, align="right", bold=True)
        x += item_width + space


def draw_attributes(canvas: Canvas, result: NoduleResult, x: float, y: float, width: float, height: float) -> None:
    """The card with one row per sign."""
    canvas.card(x, y, width, height, palette.CARD)
    left, right = x + PADDING, x + width - PADDING
    canvas.text(left, y + 0.27, "Radiological signs", 9, palette.MUTED)
    canvas.text(right - SIMILARITY_WIDTH, y + 0.27, "level", 8, palette.FAINT, align="right")
    canvas.text(right, y + 0.27, "similarity", 8, palette.FAINT, align="right")
    attributes = {attribute.name: attribute for attribute in ATTRIBUTES}
    step = (height - ATTRIBUTES_HEADER - 0.06) / len(ATTRIBUTES)
    for row, sign in enumerate(result.attributes):
        _draw_sign(canvas, attributes[sign.name], sign, left, y + ATTRIBUTES_HEADER + row * step, right - left)


def _draw_sign(canvas: Canvas, attribute: Attribute, sign: AttributeResult, x: float, y: float, width: float) -> None:
    """Name and best text, and below them the scale with its poles, the degree and the similarity."""
    right, reading = x + width, read_sign(sign)
    title_width = canvas.text(x, y + 0.12, reading.title, 9, palette.TEXT, bold=True)
    words = sign.text if attribute.ordinal else reading.value
    canvas.text(right, y + 0.12, words, 8.5, palette.MUTED, align="right", max_width=width - title_width - 0.15)
    track = width - SIMILARITY_WIDTH - LEVEL_WIDTH
    if reading.share is not None and reading.spread is not None:
        _draw_degree(canvas, reading.share, reading.spread, len(attribute.levels), x, y + 0.21, track)
        canvas.text(right - SIMILARITY_WIDTH, y + 0.30, reading.value, 9, palette.TEXT, align="right", bold=True)
    else:
        _draw_kinds(canvas, reading.cells, reading.best, x, y + 0.21, track)
    for pole, place, align in ((attribute.poles[0], x, "left"), (attribute.poles[1], x + track, "right")):
        canvas.text(place, y + 0.43, pole, 7.5, palette.FAINT, align=align)
    canvas.text(right, y + 0.30, reading.similarity, 9.5, palette.TEXT, align="right")


def _draw_degree(
    canvas: Canvas, share: float, spread: tuple[float, float], count: int, x: float, y: float, width: float
) -> None:
    """A bar from the lowest code to the degree, with notches at the codes, and the readers' spread as a faint band."""
    height = 0.09
    canvas.bar(x, y, width, height, palette.TRACK)
    canvas.bar(x, y, share * width, height, palette.BAR)
    for code in range(1, count - 1):
        canvas.bar(x + code * width / (count - 1) - 0.006, y, 0.012, height, palette.CARD)
    low, high = spread
    canvas.bar(x + low * width, y - 0.02, (high - low) * width, height + 0.04, palette.TEXT, SPREAD_OPACITY)
    canvas.bar(x + share * width - 0.012, y - 0.03, 0.024, height + 0.06, palette.TEXT)


def _draw_kinds(canvas: Canvas, cells: Sequence[float], best: int, x: float, y: float, width: float) -> None:
    """One cell a kind, the likeliest one filled, the others as faint as they are unlikely: kinds have no order."""
    gap = 0.04
    cell = (width - (len(cells) - 1) * gap) / len(cells)
    for index, probability in enumerate(cells):
        left = x + index * (cell + gap)
        canvas.bar(left, y, cell, 0.09, palette.TRACK)
        opacity = 1.0 if index == best else probability
        canvas.bar(left, y, cell, 0.09, palette.BAR, opacity)
