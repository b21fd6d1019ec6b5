"""The table of nodules in the panel: one row per point, kept by the point's ID."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
from slicer.i18n import tr as _

from CLIPLungGUI.colors import ICON_PX, classIcons
from CLIPLungGUI.nodule_rows import NoduleRow, answerText, classText, diameterText, toolTipText, volumeText

LABEL, ANSWER, CLASS, DIAMETER, VOLUME = range(5)
# Longer labels are cut; the tool tip has them whole.
MOST_OF_LABEL = "M" * 10


class NoduleList:
    """Fills a QTableWidget and knows which point is selected. Cells whose row stays as it is are not touched.

    Args:
        table: the widget.
        picture: gives a picture of a point's nodule as HTML by the point's ID; empty where there is none.
    """

    def __init__(self, table: qt.QTableWidget, picture: Callable[[str], str]) -> None:
        self.table, self._picture = table, picture
        self._shown: list[NoduleRow] = []
        self._measured: list[set[str]] = [set() for _column in range(VOLUME + 1)]
        self._isTooNarrow = True
        self._byProbability = False
        self._icons = classIcons()
        table.setColumnCount(5)
        table.setHorizontalHeaderLabels([_("Nodule"), _("Prob."), _("Class"), _("Diameter"), _("Volume")])
        table.horizontalHeaderItem(ANSWER).setToolTip(_("Probability, and why there is none"))
        table.horizontalHeader().setHighlightSections(False)
        table.setIconSize(qt.QSize(ICON_PX, ICON_PX))
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        table.setWordWrap(False)
        # The tabulator leaves the table; the arrows go through its rows.
        table.setTabKeyNavigation(False)
        table.verticalHeader().hide()
        table.horizontalHeader().setStretchLastSection(True)
        table.setMouseTracking(True)
        table.connect("cellEntered(int,int)", self._onEntered)
        self._widestLabel = self._measuredLabel()
        self._widen()

    def _measuredLabel(self) -> int:
        """Width of the longest label that is shown whole, in the table's font."""
        header, text = self.table.horizontalHeaderItem(LABEL), self.table.horizontalHeaderItem(LABEL).text()
        header.setText(MOST_OF_LABEL)
        self.table.resizeColumnToContents(LABEL)
        header.setText(text)
        return int(self.table.columnWidth(LABEL))

    def sortByProbability(self, isSorted: bool) -> None:
        """Put the most suspicious first, or go back to the order of the points, with the next `fill`."""
        self._byProbability = isSorted

    def fill(self, rows: Sequence[NoduleRow]) -> None:
        """Show these rows; the selected point stays selected, without a signal."""
        ordered = _byProbability(rows) if self._byProbability else list(rows)
        if ordered == self._shown:
            return
        selected, old, self._shown = self.selectedPointID(), self._shown, ordered
        isSameOrder = [row.pointID for row in ordered] == [row.pointID for row in old]
        was = self.table.blockSignals(True)
        try:
            if not isSameOrder:
                self.table.setRowCount(len(ordered))
            for index, row in enumerate(ordered):
                if index >= len(old) or row != old[index]:
                    self._show(index, row)
            self._widen()
            if not isSameOrder:
                self._select(selected)
        finally:
            self.table.blockSignals(was)

    def update(self, row: NoduleRow) -> bool:
        """Show one row anew, if it looks otherwise now. An order by probability is left to the next `fill`.

        Returns:
            Whether anything has changed; None of the rows may be this point's yet.
        """
        for index, shown in enumerate(self._shown):
            if shown.pointID == row.pointID:
                if shown != row:
                    self._shown[index] = row
                    self._show(index, row)
                    self._widen()
                return shown != row
        return False

    def rowOf(self, pointID: str) -> NoduleRow | None:
        """The row that is shown for a point."""
        return next((row for row in self._shown if row.pointID == pointID), None)

    def selectedPointID(self) -> str:
        """ID of the selected row's point; empty without one."""
        index = self.table.currentRow()
        return self._shown[index].pointID if 0 <= index < len(self._shown) else ""

    def select(self, pointID: str) -> None:
        """Select a point's row, without a signal."""
        was = self.table.blockSignals(True)
        try:
            self._select(pointID)
        finally:
            self.table.blockSignals(was)

    def neighbour(self, step: int) -> str:
        """ID of the point `step` rows further, around the end; empty without rows."""
        count = len(self._shown)
        if count == 0:
            return ""
        current = self.table.currentRow()
        index = (current + step) % count if current >= 0 else (0 if step > 0 else count - 1)
        return self._shown[index].pointID

    def _select(self, pointID: str) -> None:
        for index, row in enumerate(self._shown):
            if pointID and row.pointID == pointID:
                self.table.selectRow(index)
                self.table.setCurrentCell(index, LABEL)
                return
        self.table.clearSelection()
        self.table.setCurrentCell(-1, -1)

    def _show(self, index: int, row: NoduleRow) -> None:
        for column, text in enumerate(_cellTexts(row)):
            item = self.table.item(index, column)
            if item is None:
                item = qt.QTableWidgetItem()
                self.table.setItem(index, column, item)
            item.setText(text)
            self._isTooNarrow |= self._mayBeWider(text, column)
            item.setToolTip(toolTipText(row, isCut=self._isCut(row)))
            if column == CLASS:
                item.setIcon(self._icons[row.className])
            if column == LABEL:
                item.setData(qt.Qt.UserRole, row.pointID)

    def _mayBeWider(self, text: str, column: int) -> bool:
        """Whether a text may need more than the column was made for."""
        measured = self._measured[column]
        return text not in measured and len(text) >= max(map(len, measured), default=1)

    def _widen(self) -> None:
        """Columns have the width of their longest text; measuring them is too slow for each change."""
        if self._isTooNarrow:
            self._isTooNarrow = False
            texts = [_cellTexts(row) for row in self._shown]
            for column in range(VOLUME + 1):
                self.table.resizeColumnToContents(column)
                self._measured[column] = {cells[column] for cells in texts}
            self.table.setColumnWidth(LABEL, min(self.table.columnWidth(LABEL), self._widestLabel))

    def _onEntered(self, index: int, column: int) -> None:
        """The mouse is over a row: its picture is made only now."""
        if 0 <= index < len(self._shown):
            row = self._shown[index]
            text = toolTipText(row, isCut=self._isCut(row))
            self.table.item(index, column).setToolTip(self._picture(row.pointID) + text)

    def _isCut(self, row: NoduleRow) -> bool:
        return len(row.label) > len(MOST_OF_LABEL)


def _cellTexts(row: NoduleRow) -> tuple[str, ...]:
    return row.label, answerText(row), classText(row), diameterText(row), volumeText(row)


def _byProbability(rows: Sequence[NoduleRow]) -> list[NoduleRow]:
    """The most suspicious first, those without an answer last, alike ones in the order of the points."""
    return sorted(rows, key=lambda row: -1.0 if row.probability is None else row.probability, reverse=True)
