"""The answer for one nodule in the panel: probability, class, size, warnings, and the signs."""

from __future__ import annotations

from html import escape
from typing import Any

from slicer.i18n import tr as _

from CLIPLungGUI.colors import WARNING_STYLE
from CLIPLungGUI.nodule_rows import FAILED, WARNING_SIGN, NoduleRow, missingAnswerText, percentText
from CLIPLungGUI.sign_table import SignTable
from CLIPLungLib.calibration.truth import OUTCOME, Truth
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.report.wording import class_title, compatible_classes


class AnswerPanel:
    """Fills the widgets of the answer area.

    Args:
        ui: the loaded .ui, with answerLabel, probabilityBar, detailLabel, warningLabel, attributeTable and disclaimerLabel.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        ui.probabilityBar.setRange(0, 100)
        ui.warningLabel.setStyleSheet(WARNING_STYLE)
        self._signs = SignTable(ui.attributeTable)
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

    def showRow(self, row: NoduleRow, result: NoduleResult | None, isModelComing: bool, otherCT: str = "") -> None:
        """The answer of a row, or why there is none to trust.

        Args:
            otherCT: name of the CT that the answer is of, where another one is chosen.
        """
        if result is None or row.state == FAILED:
            self.showMessage(missingAnswerText(row, isModelComing))
        else:
            self.showResult(row.label, result, row.isMoved, otherCT)

    def showResult(self, label: str, result: NoduleResult, isMoved: bool, otherCT: str = "") -> None:
        """An answer, marked when its point has moved since, and when it is of another CT than the chosen one."""
        self.ui.answerLabel.setText(headlineText(label, result))
        self.ui.disclaimerLabel.setText(noticeText(result.truth))
        self.ui.probabilityBar.setValue(round(100 * result.malignancy_probability))
        self.ui.probabilityBar.setFormat(percentText(result.malignancy_probability))
        self.ui.detailLabel.setText(detailText(result))
        warnings = list(result.warnings)
        if isMoved:
            warnings.insert(
                0, _("The point has moved since, or the CT has moved or changed: this answer is for what was there.")
            )
        if otherCT:
            warnings.insert(0, _("This answer is of '{name}', not of the CT chosen above.").format(name=otherCT))
        self.ui.warningLabel.setText("\n".join(f"{WARNING_SIGN} {warning}" for warning in warnings))
        self._signs.show(result.attributes)
        for widget in (self.ui.probabilityBar, self.ui.detailLabel, self.ui.attributeTable):
            widget.setVisible(True)
        self.ui.warningLabel.setVisible(bool(warnings))


def headlineText(label: str, result: NoduleResult) -> str:
    """The probability in rich text, and whose opinion it is."""
    truth = result.truth
    if truth.whose == OUTCOME:
        headline = _(
            "<b>{label}</b>: <big><b>{percent}</b></big> likely malignant, by the outcome of {cases} local cases"
        )
    elif truth.is_local:
        headline = _(
            "<b>{label}</b>: <big><b>{percent}</b></big> likely suspicious to local readers ({cases} local cases)"
        )
    else:
        headline = _("<b>{label}</b>: <big><b>{percent}</b></big> likely suspicious to the readers of LIDC-IDRI")
    percent = escape(percentText(result.malignancy_probability))
    return headline.format(label=escape(label), percent=percent, cases=truth.cases)


def noticeText(truth: Truth) -> str:
    """What must stand below every answer."""
    if truth.whose == OUTCOME:
        return _(
            "Research use only. The probability is of the outcome in local cases; the signs are what readers would say."
        )
    return _("Research use only. The probability is what readers would say, not pathology.")


def detailText(result: NoduleResult) -> str:
    """Class with its uncertainty, and the size with its interval."""
    others = compatible_classes(result)
    looks = _("Looks {name}; compatible with {names}") if others else _("Looks {name}")
    lines = [looks.format(name=class_title(result), names=others)]
    if result.measurement is None:
        lines.append(_("Diameter about {mm:.1f}\u00a0mm (no outline found)").format(mm=result.diameter_mm))
    elif result.measurement.corrected_by_hand:
        lines.append(
            _("Diameter {mm:.1f}\u00a0mm, volume {mm3:.0f}\u00a0mm\u00b3 (outline corrected by hand)").format(
                mm=result.diameter_mm, mm3=result.measurement.volume_mm3
            )
        )
    else:
        low, high = result.measurement.diameter_interval_mm
        lines.append(
            _(
                "Diameter {mm:.1f}\u00a0mm (90\u00a0% interval {low:.1f} to {high:.1f}), volume {mm3:.0f}\u00a0mm\u00b3"
            ).format(mm=result.diameter_mm, low=low, high=high, mm3=result.measurement.volume_mm3)
        )
    return "\n".join(lines)
