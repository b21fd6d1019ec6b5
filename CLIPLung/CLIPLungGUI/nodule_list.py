"""The table of nodules in the panel: one row per point, kept by the point's ID."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import qt
from slicer.i18n import tr as _

LABEL, ANSWER, SIZE = range(3)
DONE, WAITING, MOVED, FAILED, NEW = "done", "waiting", "moved", "failed", "new"


@dataclass(frozen=True)
class NoduleRow:
    """What a row shows.

    Attributes:
        pointID, label: of the control point.
        state: DONE, WAITING, MOVED (since the answer), FAILED or NEW (not asked for).
        probability: of suspicion; None without an answer.
        size: diameter as text.
        reason: why it failed, or why the answer is doubtful.
    """

    pointID: str
    label: str
    state: str
    probability: float | None = None
    size: str = ""
    reason: str = ""


class NoduleList:
    """Fills a QTableWidget and knows which point is selected.

    Args:
        table: the widget.
    """

    def __init__(self, table: qt.QTableWidget) -> None:
        self.table = table
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Nodule"), _("Probability"), _("Diameter")])
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        table.verticalHeader().hide()
        table.horizontalHeader().setStretchLastSection(True)

    def fill(self, rows: Sequence[NoduleRow]) -> None:
        """Show these rows; the selected point stays selected, without a signal."""
        selected = self.selectedPointID()
        was = self.table.blockSignals(True)
        try:
            self.table.setRowCount(len(rows))
            for index, row in enumerate(rows):
                for column, text in enumerate((row.label, answerText(row), row.size)):
                    self._setText(index, column, text, row)
            self._select(selected)
        finally:
            self.table.blockSignals(was)

    def selectedPointID(self) -> str:
        """ID of the selected row's point; empty without one."""
        index = self.table.currentRow()
        item = self.table.item(index, LABEL) if index >= 0 else None
        return item.data(qt.Qt.UserRole) if item is not None else ""

    def select(self, pointID: str) -> None:
        """Select a point's row, without a signal."""
        was = self.table.blockSignals(True)
        try:
            self._select(pointID)
        finally:
            self.table.blockSignals(was)

    def neighbour(self, step: int) -> str:
        """ID of the point `step` rows further, around the end; empty without rows."""
        count = self.table.rowCount
        if count == 0:
            return ""
        current = self.table.currentRow()
        index = (current + step) % count if current >= 0 else (0 if step > 0 else count - 1)
        return self.table.item(index, LABEL).data(qt.Qt.UserRole)

    def _select(self, pointID: str) -> None:
        for index in range(self.table.rowCount):
            if pointID and self.table.item(index, LABEL).data(qt.Qt.UserRole) == pointID:
                self.table.selectRow(index)
                self.table.setCurrentCell(index, LABEL)
                return
        self.table.clearSelection()
        self.table.setCurrentCell(-1, -1)

    def _setText(self, index: int, column: int, text: str, row: NoduleRow) -> None:
        item = self.table.item(index, column)
        if item is None:
            item = qt.QTableWidgetItem()
            self.table.setItem(index, column, item)
        item.setText(text)
        item.setToolTip(row.reason)
        if column == LABEL:
            item.setData(qt.Qt.UserRole, row.pointID)


def answerText(row: NoduleRow) -> str:
    """The second column: the probability, or why there is none to trust."""
    if row.state == WAITING:
        return _("analyzing...")
    if row.state == FAILED:
        return _("refused")
    if row.probability is None:
        return _("not analyzed")
    text = f"{row.probability:.0%}"
    if row.state == MOVED:
        return _("{probability} (moved)").format(probability=text)
    # The warnings themselves are in the tooltip, and in the answer of the selected row.
    return f"{text} (!)" if row.reason else text
