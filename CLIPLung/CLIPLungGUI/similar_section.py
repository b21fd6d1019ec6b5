"""The section of the panel with the cases of the training data most like the selected nodule. Nothing is computed while it is closed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from CLIPLungGUI.similar_plot import drawPlot

if TYPE_CHECKING:
    from CLIPLungLib.inference.result import NoduleResult
    from CLIPLungLib.similar.cases import SimilarCases
    from CLIPLungLib.similar.index import SimilarIndex

NODULE, DIAMETER_COLUMN, MALIGNANCY_COLUMN = range(3)
UNKNOWN = "-"


class SimilarSection:
    """Fills its own part of the panel.

    Args:
        uiFile: path of the section's .ui.
        weightsFile: gives the path of the weights in use; empty for the bundled ones.
        onResized: called when texts or the section's height have changed.

    Attributes:
        widget: to be put into the panel.
    """

    def __init__(self, uiFile: str, weightsFile: Callable[[], str], onResized: Callable[..., None]) -> None:
        self.weightsFile, self.onResized = weightsFile, onResized
        self.widget = slicer.util.loadUI(uiFile)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._result: NoduleResult | None = None
        self._shown: tuple[Any, ...] = ()
        self._found: SimilarCases | None = None
        self._index: tuple[tuple[Any, ...], SimilarIndex] | None = None
        self._makeTable(self.ui.similarTable)
        self.ui.similarSection.connect("contentsCollapsed(bool)", self.onOpened)
        self.ui.similarTable.connect("itemSelectionChanged()", self.onCaseSelected)
        self._showMessage(_("Select a nodule with an answer to see cases like it."))

    def show(self, result: NoduleResult | None) -> None:
        """The cases like an answer; None where no answer is selected. Cheap when called again with the same one."""
        self._result = result
        if not self.ui.similarSection.collapsed:
            self._update()

    def onOpened(self, isCollapsed: bool) -> None:
        """The section was opened or closed."""
        if not isCollapsed:
            self._update()
        self.onResized()

    def onCaseSelected(self) -> None:
        """What readers said of the signs of the selected row."""
        row = self.ui.similarTable.currentRow()
        if self._found is not None and row >= 0:
            self.ui.similarSignsLabel.setText(signsText(self._found, row))
            self.onResized()

    def _update(self) -> None:
        result = self._result
        if result is None:
            self._shown = ()
            self._showMessage(_("Select a nodule with an answer to see cases like it."))
            return
        try:
            index = self._readIndex()
            key = (result.model.get("sha256"), self._index[0] if self._index else (), _spoken(result))
            if key == self._shown:
                return
            from CLIPLungLib.similar.cases import similar_cases

            found = similar_cases(result, index)
        except Exception as error:
            self._shown = ()
            self._showMessage(_("Similar cases are not shown: {reason}").format(reason=_reason(error)))
            return
        self._shown = key
        self._showCases(found)

    def _readIndex(self) -> SimilarIndex:
        """The index beside the weights in use; read again only when the file has changed."""
        from CLIPLungLib.inference.checkpoint import DEFAULT_CHECKPOINT
        from CLIPLungLib.similar.index_file import read_index, similar_file

        file = similar_file(Path(self.weightsFile() or DEFAULT_CHECKPOINT))
        state = (str(file), file.stat().st_mtime_ns if file.is_file() else 0)
        if self._index is None or self._index[0] != state:
            self._index = (state, read_index(file))
        return self._index[1]

    def _showMessage(self, text: str) -> None:
        self._found = None
        self.ui.similarMessageLabel.setText(text)
        self._showContents(False)

    def _showContents(self, isThere: bool) -> None:
        ui = self.ui
        for widget in (ui.similarTable, ui.similarSignsLabel, ui.similarPlotLabel, ui.similarSourceLabel):
            widget.setVisible(isThere)
        self.onResized()

    def _showCases(self, found: SimilarCases) -> None:
        from CLIPLungLib.similar.cases import FAR

        self._found = found
        self.ui.similarMessageLabel.setText(
            FAR if found.is_far else _("What readers said of the nodules most like it:")
        )
        table = self.ui.similarTable
        was = table.blockSignals(True)
        for row, cells in enumerate(tableRows(found)):
            for column, text in enumerate(cells):
                table.item(row, column).setText(text)
        table.setCurrentCell(0, NODULE)
        table.blockSignals(was)
        self.ui.similarPlotLabel.setPixmap(drawPlot(found))
        self.ui.similarPlotLabel.setAccessibleDescription(plotText(found))
        self.ui.similarPlotLabel.setToolTip(plotText(found))
        self.ui.similarSourceLabel.setText(sourceText(found))
        self.onCaseSelected()
        self._showContents(True)

    @staticmethod
    def _makeTable(table: qt.QTableWidget) -> None:
        from CLIPLungLib.similar.index import NEIGHBOURS

        table.setColumnCount(3)
        # The cases, their mean, and this nodule.
        table.setRowCount(NEIGHBOURS + 2)
        table.setHorizontalHeaderLabels([_("Nodule"), _("Diameter"), _("Malignancy")])
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        # The tabulator leaves the table; the arrows go through its rows.
        table.setTabKeyNavigation(False)
        table.verticalHeader().hide()
        table.setVerticalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.horizontalHeader().setSectionResizeMode(NODULE, qt.QHeaderView.Stretch)
        for row in range(NEIGHBOURS + 2):
            for column in (NODULE, DIAMETER_COLUMN, MALIGNANCY_COLUMN):
                item = qt.QTableWidgetItem()
                if column != NODULE:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(row, column, item)
        table.resizeRowsToContents()
        height = table.rowHeight(0)
        table.horizontalHeader().setFixedHeight(height)
        table.setFixedHeight(height * (NEIGHBOURS + 3) + 4)


def tableRows(found: SimilarCases) -> list[tuple[str, str, str]]:
    """Name, diameter and malignancy of the cases, of their mean, and of this nodule."""
    from CLIPLungLib.similar.figures import DIAMETER, MALIGNANCY

    rows = [(case.nodule_id, _mm(case.diameter_mm), _rating(case.malignancy)) for case in found.cases]
    rows.append((_("mean of these"), _mm(found.mean(DIAMETER)), _rating(found.mean(MALIGNANCY))))
    probability = _("{percent:.0f}\u00a0% above 3").format(percent=100 * found.malignancy_probability)
    return [*rows, (_("this nodule"), _mm(found.diameter_mm), probability)]


def signsText(found: SimilarCases, row: int) -> str:
    """What was said of the signs of a row of the table, in one line."""
    from CLIPLungLib.similar.figures import MALIGNANCY, NO_CALCIFICATION, RATED, TITLES

    signs = [name for name in RATED if name != MALIGNANCY]
    if row < len(found.cases):
        case = found.cases[row]
        head, values = _("{name}, {n} readers").format(name=case.nodule_id, n=case.readers), case.ratings
    elif row == len(found.cases):
        head, values = _("Mean of these"), {name: found.mean(name) for name in signs}
    else:
        head, values = _("This nodule, by the network"), dict(found.signs)
    shown = [
        f"{TITLES[name].lower()} {_percent(values[name]) if name == NO_CALCIFICATION else _rating(values[name])}"
        for name in signs
    ]
    return f"{head}: {', '.join(shown)}"


def plotText(found: SimilarCases) -> str:
    """The plot in words."""
    from CLIPLungLib.similar.figures import MALIGNANCY

    return _(
        "Diameter against the readers' malignancy. Dots: the cases. Line: this nodule, {mm:.1f}\u00a0mm. "
        "Diamond: mean malignancy of the cases, {rating}."
    ).format(mm=found.diameter_mm, rating=_rating(found.mean(MALIGNANCY)))


def sourceText(found: SimilarCases) -> str:
    """How far neighbours can be trusted, and what to cite."""
    from CLIPLungLib.similar.figures import MALIGNANCY

    agreement = found.figures[MALIGNANCY]
    measured = _(
        "In {n} nodules of other patients, the mean malignancy of the neighbours follows the readers' with a Spearman correlation of "
        "{neighbours}; the model's own with {network}."
    ).format(n=agreement.neighbours.n, neighbours=agreement.neighbours, network=agreement.network)
    return f"{measured}\n{found.source}"


def _spoken(result: NoduleResult) -> bytes:
    """What the cases depend on, to see whether an answer is another one."""
    from CLIPLungLib.similar.features import features_of_result

    return features_of_result(result).tobytes()


def _mm(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f}\u00a0mm"


def _rating(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.0f}\u00a0%"


def _reason(error: Exception) -> str:
    from CLIPLungGUI.logic import CLIPLungLogic

    return CLIPLungLogic.reason(error)
