"""The answer for one nodule in the panel: probability, class, size, warnings, and the signs as bars."""

from __future__ import annotations

from html import escape
from typing import Any

import qt
from slicer.i18n import tr as _

from CLIPLungGUI.nodule_rows import FAILED, NoduleRow, missingAnswerText, percentText
from CLIPLungLib.calibration.truth import OUTCOME, Truth
from CLIPLungLib.inference.result import AttributeResult, NoduleResult
from CLIPLungLib.vocabulary import ATTRIBUTES

BAR_STEPS = 100
# Wide enough for its number; the words beside it need the rest.
BAR_WIDTH_PX = 72
# Signs whose codes are kinds, not degrees: calcification is absent, the inside is soft tissue.
USUAL_CODE = {"calcification": 6, "internalStructure": 1}


class AnswerPanel:
    """Fills the widgets of the answer area.

    Args:
        ui: the loaded .ui, with answerLabel, probabilityBar, detailLabel, warningLabel, attributeTable and disclaimerLabel.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        ui.probabilityBar.setRange(0, 100)
        ui.probabilityBar.setFormat("%p\u00a0%")
        self._bars = _makeBars(ui.attributeTable)
        self.showMessage(_("Place a point on a nodule to see the answer."))

    def showMessage(self, text: str) -> None:
        """A text instead of an answer."""
        # Tags around it, or Qt would take the text for plain and show the escapes.
        self.ui.answerLabel.setText(f"<p>{escape(text)}</p>")
        for widget in (self.ui.probabilityBar, self.ui.detailLabel, self.ui.warningLabel, self.ui.attributeTable):
            widget.setVisible(False)

    def showHint(self, hasCT: bool) -> None:
        """What to do when no nodule is selected."""
        if hasCT:
            self.showMessage(_("Press 'Place nodules' and click on a nodule in a slice view."))
        else:
            self.showMessage(_("Load a chest CT and choose it above."))

    def showRow(self, row: NoduleRow, result: NoduleResult | None, isModelComing: bool) -> None:
        """The answer of a row, or why there is none to trust."""
        if result is None or row.state == FAILED:
            self.showMessage(missingAnswerText(row, isModelComing))
        else:
            self.showResult(row.label, result, row.isMoved)

    def showResult(self, label: str, result: NoduleResult, isMoved: bool) -> None:
        """An answer, marked when its point has moved since."""
        self.ui.answerLabel.setText(headlineText(label, result))
        self.ui.disclaimerLabel.setText(noticeText(result.truth))
        self.ui.probabilityBar.setValue(round(100 * result.malignancy_probability))
        self.ui.detailLabel.setText(detailText(result))
        warnings = list(result.warnings)
        if isMoved:
            warnings.insert(0, _("The point has moved since: this answer is for where it was."))
        self.ui.warningLabel.setText("\n".join(warnings))
        for attribute, (bar, degree) in zip(result.attributes, self._bars, strict=True):
            bar.setValue(round(BAR_STEPS * barShare(attribute)))
            bar.setFormat(f"{attribute.similarity:+.2f}")
            bar.setToolTip(
                _(
                    "Bar: how marked the sign is. Number: similarity ({value:+.3f}) of the image to the text of the sign."
                ).format(value=attribute.similarity)
            )
            degree.setText(attribute.text)
            degree.setToolTip(attribute.text)
        for widget in (self.ui.probabilityBar, self.ui.detailLabel, self.ui.attributeTable):
            widget.setVisible(True)
        self.ui.warningLabel.setVisible(bool(warnings))


def barShare(attribute: AttributeResult) -> float:
    """How full a sign's bar is, 0..1: its degree; where the codes are kinds, the probability of anything but the usual kind."""
    usual = USUAL_CODE.get(attribute.name)
    if usual is not None:
        return 1 - attribute.level_probabilities[usual - 1]
    return (attribute.level - 1) / (len(attribute.level_probabilities) - 1)


def headlineText(label: str, result: NoduleResult) -> str:
    """The probability in rich text, and by whose word."""
    if result.truth.whose == OUTCOME:
        headline = _(
            "<b>{label}</b>: probability that it is malignant, by the outcome of {cases} local cases <big><b>{percent}</b></big>"
        )
    elif result.truth.is_local:
        headline = _(
            "<b>{label}</b>: probability that readers call it suspicious, by {cases} local cases <big><b>{percent}</b></big>"
        )
    else:
        headline = _("<b>{label}</b>: probability that readers call it suspicious <big><b>{percent}</b></big>")
    percent = percentText(result.malignancy_probability)
    return headline.format(label=escape(label), percent=percent, cases=result.truth.cases)


def noticeText(truth: Truth) -> str:
    """What must stand below every answer."""
    if truth.whose == OUTCOME:
        return _(
            "Research use only. The probability is of the outcome in local cases; the signs are what readers would say."
        )
    return _("Research use only. The probability is what readers would say, not pathology.")


def detailText(result: NoduleResult) -> str:
    """Class with its uncertainty, and the size with its interval."""
    others = [name for name in result.class_set if name != result.predicted_class]
    looks = _("Looks {name}; not excluded: {names}") if others else _("Looks {name}")
    lines = [looks.format(name=result.predicted_class, names=", ".join(others))]
    if result.measurement is None:
        lines.append(_("Diameter about {mm:.1f}\u00a0mm (no outline found)").format(mm=result.diameter_mm))
    else:
        low, high = result.measurement.diameter_interval_mm
        lines.append(
            _(
                "Diameter {mm:.1f}\u00a0mm (90\u00a0% interval {low:.1f} to {high:.1f}), volume {mm3:.0f}\u00a0mm3"
            ).format(mm=result.diameter_mm, low=low, high=high, mm3=result.measurement.volume_mm3)
        )
    return "\n".join(lines)


def _makeBars(table: qt.QTableWidget) -> list[tuple[qt.QProgressBar, qt.QTableWidgetItem]]:
    """A row per attribute: name, bar, and the degree in words."""
    table.setColumnCount(3)
    table.setRowCount(len(ATTRIBUTES))
    table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
    table.setSelectionMode(qt.QAbstractItemView.NoSelection)
    table.setFocusPolicy(qt.Qt.NoFocus)
    table.horizontalHeader().hide()
    table.verticalHeader().hide()
    table.horizontalHeader().setStretchLastSection(True)
    bars = []
    for row, attribute in enumerate(ATTRIBUTES):
        bar, degree = qt.QProgressBar(), qt.QTableWidgetItem()
        bar.setRange(0, BAR_STEPS)
        bar.setFormat("")
        table.setItem(row, 0, qt.QTableWidgetItem(attribute.title))
        table.setCellWidget(row, 1, bar)
        table.setItem(row, 2, degree)
        bars.append((bar, degree))
    table.resizeColumnToContents(0)
    table.setColumnWidth(1, BAR_WIDTH_PX)
    table.resizeRowsToContents()
    table.setVerticalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
    table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
    rowHeight = table.rowHeight(0)
    table.setFixedHeight(rowHeight * len(ATTRIBUTES) + 4)
    return bars
