"""The right side of the page: how suspicious the nodule looks, and its signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from CLIPLungLib.calibration.truth import short_phrase
from CLIPLungLib.inference.result import AttributeResult, NoduleResult
from CLIPLungLib.report import palette
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASSES, Attribute

if TYPE_CHECKING:
    from CLIPLungLib.report.canvas import Canvas

PADDING = 0.20
SIMILARITY_WIDTH, LEVEL_WIDTH = 0.70, 0.56
ATTRIBUTES_HEADER = 0.42


def draw_verdict(canvas: Canvas, result: NoduleResult, x: float, y: float, width: float, height: float) -> None:
    """The card with probability, gauge, classes and diameter."""
    canvas.card(x, y, width, height, palette.CARD)
    left, right = x + PADDING, x + width - PADDING
    color = palette.CLASS_COLORS[result.predicted_class]
    class_width = canvas.text(right, y + 0.26, "Class", 9, palette.MUTED, align="right")
    title = f"Malignancy {short_phrase(result.truth)}" if result.truth.is_local else "Malignancy probability"
    canvas.text(left, y + 0.26, title, 9, palette.MUTED, max_width=right - left - class_width - 0.1)
    canvas.text(right, y + 0.48, _not_excluded(result), 8, palette.FAINT, align="right")
    canvas.text(left, y + 0.79, percent(result.malignancy_probability), 36, palette.TEXT, bold=True)
    canvas.text(right, y + 0.79, result.predicted_class, 15, color, align="right", bold=True)
    _draw_gauge(canvas, result.malignancy_probability, color, left, y + 0.95, right - left)
    _draw_classes(canvas, _shares(result), left, y + 1.46, right - left)
    canvas.line((left, y + 1.97), (right, y + 1.97), palette.TRACK)
    canvas.text(left, y + 2.22, "Diameter" if result.measurement else "Estimated diameter", 9, palette.MUTED)
    canvas.text(right, y + 2.22, diameter_text(result), 10, palette.TEXT, align="right", bold=True)


def diameter_text(result: NoduleResult) -> str:
    """The diameter with its interval and the volume, or the bare estimate."""
    if result.measurement is None:
        return f"{result.diameter_mm:.1f} mm"
    low, high = result.measurement.diameter_interval_mm
    return f"{result.diameter_mm:.1f} mm ({low:.1f} to {high:.1f}), {result.measurement.volume_mm3:.0f} mm\u00b3"


def _not_excluded(result: NoduleResult) -> str:
    others = [name for name in result.class_set if name != result.predicted_class]
    return f"not excluded: {', '.join(others)}" if others else ""


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
    widths = [0.16 + canvas.width(f"{name} ", 9) + canvas.width(label, 9, bold=True) for name, label in items]
    space = (width - sum(widths)) / (len(items) - 1)
    for (name, label), item_width in zip(items, widths, strict=True):
        canvas.bar(x, y + 0.275, 0.10, 0.10, palette.CLASS_COLORS[name])
        canvas.text(x + 0.16, y + 0.37, name, 9, palette.MUTED)
        canvas.text(x + item_width, y + 0.37, label, 9, palette.TEXT, align="right", bold=True)
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
    """Name and best text, and below them the scale with its poles, the level and the similarity."""
    right = x + width
    title_width = canvas.text(x, y + 0.12, attribute.title, 9, palette.TEXT, bold=True)
    canvas.text(right, y + 0.12, sign.text, 8.5, palette.MUTED, align="right", max_width=width - title_width - 0.15)
    track = width - SIMILARITY_WIDTH - LEVEL_WIDTH
    if attribute.ordinal:
        _draw_degree(canvas, sign.level, len(attribute.levels), x, y + 0.21, track)
    else:
        _draw_kinds(canvas, sign.code, len(attribute.levels), x, y + 0.21, track)
    for pole, place, align in ((attribute.poles[0], x, "left"), (attribute.poles[1], x + track, "right")):
        canvas.text(place, y + 0.43, pole, 7.5, palette.FAINT, align=align)
    level = f"{sign.level:.1f}" if attribute.ordinal else f"{sign.code}"
    place = right - SIMILARITY_WIDTH
    place -= canvas.text(place, y + 0.30, f"/{len(attribute.levels)}", 8, palette.FAINT, align="right")
    canvas.text(place, y + 0.30, level, 9.5, palette.TEXT, align="right", bold=True)
    canvas.text(right, y + 0.30, f"{sign.similarity:.2f}", 9.5, palette.TEXT, align="right")


def _draw_degree(canvas: Canvas, level: float, count: int, x: float, y: float, width: float) -> None:
    """A bar from the lowest code to the level, with notches at the codes."""
    height, share = 0.09, float(np.clip((level - 1) / (count - 1), 0.0, 1.0))
    canvas.bar(x, y, width, height, palette.TRACK)
    canvas.bar(x, y, share * width, height, palette.BAR)
    for code in range(1, count - 1):
        canvas.bar(x + code * width / (count - 1) - 0.006, y, 0.012, height, palette.CARD)
    canvas.bar(x + share * width - 0.012, y - 0.03, 0.024, height + 0.06, palette.TEXT)


def _draw_kinds(canvas: Canvas, best_code: int, count: int, x: float, y: float, width: float) -> None:
    """One cell a kind, the best one filled: kinds have no order that a bar could show."""
    gap = 0.04
    cell = (width - (count - 1) * gap) / count
    for code in range(1, count + 1):
        color = palette.BAR if code == best_code else palette.TRACK
        canvas.bar(x + (code - 1) * (cell + gap), y, cell, 0.09, color)


def percent(probability: float) -> str:
    """A share for a reader: whole percent, never the certainty of 0% or 100%."""
    if probability < 0.005:
        return "<1%"
    return ">99%" if probability >= 0.995 else f"{100 * probability:.0f}%"
