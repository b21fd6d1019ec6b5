"""The table of nodules in the panel: one row per point, kept by the point's ID."""

from __future__ import annotations

from collections.abc import Sequence

import qt
from slicer.i18n import tr as _

from CLIPLungGUI.nodule_rows import NoduleRow, answerText

LABEL, ANSWER, SIZE = range(3)


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
