"""A page of the cases most like an answer: what their readers said, as a table and a plot. Numbers only, no picture of a patient."""

from __future__ import annotations

from math import cos, pi, sin
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import MissingPackageError
from CLIPLungLib.inference.result import DISCLAIMER
from CLIPLungLib.report import palette
from CLIPLungLib.similar.cases import FAR, SimilarCases
from CLIPLungLib.similar.chart import similar_chart
from CLIPLungLib.similar.figures import DIAMETER, MALIGNANCY, RATED, TITLES
from CLIPLungLib.version import __version__

if TYPE_CHECKING:
    from CLIPLungLib.report.canvas import Canvas

# In inches from the page's top left corner.
WIDTH, HEIGHT, DPI = 14.0, 6.5, 150
MARGIN = 0.36
TABLE_TOP, ROW = 1.42, 0.27
NAME_WIDTH, COLUMN = 1.8, 0.74
TABLE_WIDTH = NAME_WIDTH + COLUMN * (len(RATED) + 1)
PLOT_LEFT, PLOT_TOP, PLOT_SIZE = MARGIN + TABLE_WIDTH + 0.68, 1.32, 3.3
FOOTER_TOP, FOOTER_LINE = 5.5, 0.2
DOT_RADIUS = 0.055
UNKNOWN = "-"
READING = (
    "Every number is the mean of the readers of that nodule (malignancy and signs from 1 to 5, internal structure to 4; no calcification: "
    "share of readers). Levels of this nodule are the network's."
)


def save_similar(found: SimilarCases, path: Path, title: str = "") -> None:
    """Draw table and plot and write them as PNG (14 x 6.5 inches, 150 dpi).

    Args:
        found: the cases.
        path: of the picture; its folder is made when missing.
        title: of the answer; "Lung nodule" when empty.

    Raises:
        InputError: the file cannot be written.
        MissingPackageError: matplotlib is not installed.
    """
    canvas = _new_canvas()
    canvas.text(MARGIN, 0.56, "Cases like this one", 19, palette.TEXT, bold=True)
    subtitle = f"{title or 'Lung nodule'}: the {len(found.cases)} nodules of the training data that the network finds most alike, the nearest first"
    canvas.text(MARGIN, 0.86, subtitle, 10, palette.MUTED, max_width=WIDTH - 2 * MARGIN)
    _draw_table(canvas, found)
    _draw_plot(canvas, found)
    _draw_footer(canvas, found)
    with writing(Path(path)) as temporary:
        canvas.save(
            temporary, {"Title": "Cases like this one", "Software": f"CLIPLung {__version__}", "Comment": found.source}
        )


def _new_canvas() -> Canvas:
    try:
        from CLIPLungLib.report.canvas import Canvas
    except ImportError as error:
        raise MissingPackageError(
            "The picture of similar cases needs matplotlib, which is not installed. Install it with 'pip install matplotlib'; "
            "similar.json does not need it."
        ) from error
    return Canvas(WIDTH, HEIGHT, DPI, palette.BACKGROUND)


def _draw_table(canvas: Canvas, found: SimilarCases) -> None:
    """A row a case, then their mean and this nodule."""
    columns = (DIAMETER, *RATED)
    _draw_header(canvas, columns)
    rows = [(case.nodule_id, {**case.ratings, DIAMETER: case.diameter_mm}) for case in found.cases]
    for number, (name, values) in enumerate(rows):
        _draw_row(canvas, number, name, [_shown(column, values[column]) for column in columns], palette.TEXT)
    canvas.line(
        (MARGIN, TABLE_TOP + len(rows) * ROW + 0.04),
        (MARGIN + TABLE_WIDTH, TABLE_TOP + len(rows) * ROW + 0.04),
        palette.FAINT,
    )
    _draw_row(canvas, len(rows), "mean", [_shown(column, found.mean(column)) for column in columns], palette.TEXT)
    own: dict[str, float | None] = {**found.signs, DIAMETER: found.diameter_mm, MALIGNANCY: None}
    shown = [_shown(column, own[column]) for column in columns]
    shown[columns.index(MALIGNANCY)] = f"P(>3) {found.malignancy_probability:.2f}"
    _draw_row(canvas, len(rows) + 1, "this nodule", shown, palette.CROSS_HAIR)


def _draw_header(canvas: Canvas, columns: tuple[str, ...]) -> None:
    canvas.text(MARGIN + 0.05, TABLE_TOP - 0.10, "Nodule", 8, palette.MUTED, bold=True)
    for number, name in enumerate(columns):
        title = f"{TITLES[name]} (mm)" if name == DIAMETER else TITLES[name]
        lines = canvas.wrapped(title, 7.5, COLUMN - 0.02)
        for line_number, line in enumerate(lines):
            y = TABLE_TOP - 0.10 - 0.13 * (len(lines) - 1 - line_number)
            canvas.text(_right_end(number), y, line, 7.5, palette.MUTED, align="right", bold=name == MALIGNANCY)


def _draw_row(canvas: Canvas, number: int, name: str, cells: list[str], color: str) -> None:
    y = TABLE_TOP + number * ROW
    if number % 2 == 0:
        canvas.bar(MARGIN, y, TABLE_WIDTH, ROW, palette.CARD)
    canvas.text(MARGIN + 0.05, y + ROW / 2, name, 9, color, vertical="center", max_width=NAME_WIDTH - 0.15)
    for column, cell in enumerate(cells):
        size = 9 if len(cell) < 7 else 6.8
        canvas.text(_right_end(column), y + ROW / 2, cell, size, color, align="right", vertical="center")


def _right_end(column: int) -> float:
    return MARGIN + NAME_WIDTH + COLUMN * (column + 1) - 0.06


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" if name == DIAMETER else f"{value:.2f}"


def _draw_plot(canvas: Canvas, found: SimilarCases) -> None:
    """Diameter against malignancy: a dot a case; this nodule is a line, as what readers would say of it is not known."""
    chart = similar_chart(found)
    bottom = PLOT_TOP + PLOT_SIZE
    canvas.card(PLOT_LEFT, PLOT_TOP, PLOT_SIZE, PLOT_SIZE, palette.CARD)
    for y, rating in chart.rating_ticks:
        height = bottom - _inset(y)
        canvas.line((PLOT_LEFT, height), (PLOT_LEFT + PLOT_SIZE, height), palette.TRACK)
        canvas.text(PLOT_LEFT - 0.08, height, str(rating), 8, palette.MUTED, align="right", vertical="center")
    for x, mm in chart.diameter_ticks:
        canvas.text(PLOT_LEFT + _inset(x), bottom + 0.18, str(mm), 8, palette.MUTED, align="center")
    canvas.text(PLOT_LEFT + PLOT_SIZE / 2, bottom + 0.40, "diameter (mm)", 8.5, palette.MUTED, align="center")
    canvas.text(PLOT_LEFT - 0.2, PLOT_TOP - 0.12, "readers' malignancy", 8.5, palette.MUTED)
    this = PLOT_LEFT + _inset(chart.this_x)
    canvas.line((this, PLOT_TOP + 0.05), (this, bottom - 0.05), palette.CROSS_HAIR, 1.2)
    canvas.text(PLOT_LEFT + PLOT_SIZE, PLOT_TOP - 0.12, "| this nodule", 8.5, palette.CROSS_HAIR, align="right")
    for dot in chart.dots:
        _draw_dot(canvas, PLOT_LEFT + _inset(dot.x), bottom - _inset(dot.y))
    if chart.mean_y is not None:
        y = bottom - _inset(chart.mean_y)
        corners = [(this - 0.09, y), (this, y - 0.09), (this + 0.09, y), (this, y + 0.09)]
        canvas.polygon(corners, palette.CROSS_HAIR)
        canvas.text(
            PLOT_LEFT + PLOT_SIZE,
            bottom + 0.62,
            "diamond: mean of their malignancy",
            8,
            palette.CROSS_HAIR,
            align="right",
        )


def _inset(share: float) -> float:
    """Dots at an end of an axis lie within the card."""
    return 0.12 + share * (PLOT_SIZE - 0.24)


def _draw_dot(canvas: Canvas, x: float, y: float) -> None:
    angles = [2 * pi * step / 24 for step in range(24)]
    for radius, color in ((DOT_RADIUS + 0.012, palette.CARD), (DOT_RADIUS, palette.CLASS_COLORS["malignant"])):
        canvas.polygon([(x + radius * cos(angle), y + radius * sin(angle)) for angle in angles], color)


def _draw_footer(canvas: Canvas, found: SimilarCases) -> None:
    malignancy, width = found.figures[MALIGNANCY], WIDTH - 2 * MARGIN
    measured = (
        f"Out of fold, in {malignancy.neighbours.n} nodules: the mean malignancy of the neighbours follows the readers' with a Spearman "
        f"correlation of {malignancy.neighbours}, the model's own with {malignancy.network}."
    )
    if found.is_far:
        canvas.text(MARGIN, FOOTER_TOP - 0.28, FAR, 9, palette.WARNING, bold=True)
    lines = [
        (READING, palette.MUTED),
        (measured, palette.MUTED),
        (f"Compared by {found.metric}. {DISCLAIMER}", palette.MUTED),
        (found.source, palette.FAINT),
    ]
    for number, (line, color) in enumerate(lines):
        canvas.text(MARGIN, FOOTER_TOP + FOOTER_LINE * number, line, 8, color, max_width=width)
