"""The signs in the panel: a row each with its bar, its degree or kind, and the similarity."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import qt
import slicer
from slicer.i18n import tr as _

from CLIPLungGUI.colors import blankPixmap
from CLIPLungLib.inference.result import AttributeResult
from CLIPLungLib.report.wording import SignReading, read_sign
from CLIPLungLib.vocabulary import ATTRIBUTES

TITLE, BAR, VALUE, SIMILARITY = range(4)
BAR_WIDTH_PX, BAR_HEIGHT_PX = 76, 14
TRACK_HEIGHT_PX, TICK_WIDTH_PX, CELL_GAP_PX = 8, 2, 2
# Of the text's colour, so that it shows in light and dark styles alike.
TRACK_OPACITY, SPREAD_OPACITY = 0.15, 0.35


class SignTable:
    """Fills a QTableWidget.

    Args:
        table: the widget.
    """

    def __init__(self, table: qt.QTableWidget) -> None:
        table.setColumnCount(4)
        table.setRowCount(len(ATTRIBUTES))
        table.setHorizontalHeaderLabels([_("Sign"), _("Low to high"), _("Degree"), _("Similarity")])
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setSelectionMode(qt.QAbstractItemView.NoSelection)
        table.setFocusPolicy(qt.Qt.NoFocus)
        table.verticalHeader().hide()
        table.setVerticalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.horizontalHeader().setSectionResizeMode(VALUE, qt.QHeaderView.Stretch)
        self._bars = [self._makeRow(table, row, attribute.title) for row, attribute in enumerate(ATTRIBUTES)]
        table.resizeColumnToContents(TITLE)
        table.resizeColumnToContents(SIMILARITY)
        table.setColumnWidth(BAR, BAR_WIDTH_PX + 8)
        table.resizeRowsToContents()
        height = table.rowHeight(0)
        table.horizontalHeader().setFixedHeight(height)
        table.setFixedHeight(height * (len(ATTRIBUTES) + 1) + 4)
        self._table = table

    @staticmethod
    def _makeRow(table: qt.QTableWidget, row: int, title: str) -> qt.QLabel:
        for column in (TITLE, VALUE, SIMILARITY):
            table.setItem(row, column, qt.QTableWidgetItem(title if column == TITLE else ""))
        table.item(row, SIMILARITY).setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        label = qt.QLabel()
        label.setAlignment(qt.Qt.AlignCenter)
        table.setCellWidget(row, BAR, label)
        return label

    def show(self, signs: Sequence[AttributeResult]) -> None:
        """The readings of all signs, in the order of the vocabulary."""
        for row, (sign, label) in enumerate(zip(signs, self._bars, strict=True)):
            reading = read_sign(sign)
            self._table.item(row, VALUE).setText(reading.value)
            self._table.item(row, SIMILARITY).setText(reading.similarity)
            label.setPixmap(drawBar(reading))
            text = toolTipOf(reading)
            label.setToolTip(text)
            for column in (TITLE, VALUE, SIMILARITY):
                self._table.item(row, column).setToolTip(text)


def toolTipOf(reading: SignReading) -> str:
    """What there is to know of a sign, in rich text."""
    if reading.share is None:
        first = _("{value}: the likeliest kind ({neighbours}).")
    else:
        first = _("{value}: {neighbours}. The pale band is the spread of the readers' opinions.")
    second = _("Similarity {similarity}: cosine of the image and the text '{text}'.")
    lines = [
        first.format(value=reading.value, neighbours=reading.neighbours),
        second.format(similarity=reading.similarity, text=reading.compared_with),
    ]
    return f"<p><b>{escape(reading.title)}</b><br>{'<br>'.join(escape(line) for line in lines)}</p>"


def drawBar(reading: SignReading) -> qt.QPixmap:
    """A degree as a bar from the lowest to the highest, with the spread and a tick; a kind as the filled one of several cells."""
    pixmap = blankPixmap(BAR_WIDTH_PX, BAR_HEIGHT_PX)
    painter = qt.QPainter()
    painter.begin(pixmap)
    try:
        if reading.share is not None and reading.spread is not None:
            _drawDegree(painter, reading.share, reading.spread)
        else:
            _drawKinds(painter, reading.cells, reading.best)
    finally:
        painter.end()
    return pixmap


def _drawDegree(painter: qt.QPainter, share: float, spread: tuple[float, float]) -> None:
    text, fill = _shade(qt.QPalette.Text), _shade(qt.QPalette.Highlight)
    top = (BAR_HEIGHT_PX - TRACK_HEIGHT_PX) // 2
    tick = round(share * (BAR_WIDTH_PX - TICK_WIDTH_PX))
    low, high = (round(end * BAR_WIDTH_PX) for end in spread)
    painter.fillRect(0, top, BAR_WIDTH_PX, TRACK_HEIGHT_PX, _paler(text, TRACK_OPACITY))
    painter.fillRect(0, top, tick, TRACK_HEIGHT_PX, fill)
    painter.fillRect(low, 1, max(high - low, 1), BAR_HEIGHT_PX - 2, _paler(text, SPREAD_OPACITY))
    painter.fillRect(tick, 0, TICK_WIDTH_PX, BAR_HEIGHT_PX, text)


def _drawKinds(painter: qt.QPainter, cells: Sequence[float], best: int) -> None:
    text, fill = _shade(qt.QPalette.Text), _shade(qt.QPalette.Highlight)
    top = (BAR_HEIGHT_PX - TRACK_HEIGHT_PX) // 2
    width = (BAR_WIDTH_PX + CELL_GAP_PX) // len(cells) - CELL_GAP_PX
    for index, probability in enumerate(cells):
        left = index * (width + CELL_GAP_PX)
        painter.fillRect(left, top, width, TRACK_HEIGHT_PX, _paler(text, TRACK_OPACITY))
        shade = fill if index == best else _paler(text, SPREAD_OPACITY * probability)
        painter.fillRect(left, top, width, TRACK_HEIGHT_PX, shade)


def _shade(role: int) -> qt.QColor:
    return slicer.app.palette().color(role)


def _paler(color: qt.QColor, opacity: float) -> qt.QColor:
    return qt.QColor(color.red(), color.green(), color.blue(), round(255 * opacity))
