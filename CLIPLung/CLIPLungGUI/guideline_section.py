"""The section of the panel in which a reader confirms what the guidelines need to know, and reads what they say."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CLIPLungGUI import guideline_inputs as gi
from CLIPLungGUI.guideline_text import answersText
from CLIPLungGUI.nodule_rows import NoduleRow

SIZE = "size"


class GuidelineSection:
    """Asks, and answers once the reader has confirmed. Every confirmation is kept with its nodule in the scene.

    Args:
        file: the .ui of the section.
        selection: gives the list of points and the ID of the selected one.
        heatMap: gives the node that holds a point's answer, or None.
        currentCT: gives the CT that the selected nodule's answer is of, or None.
        fit: called when the section needs another height.
    """

    def __init__(
        self,
        file: str,
        selection: Callable[[], tuple[Any, str]],
        heatMap: Callable[[Any, str], Any],
        currentCT: Callable[[], Any],
        fit: Callable[..., None],
    ) -> None:
        self.widget = slicer.util.loadUI(file)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._selection, self._heatMap, self._currentCT, self._fit = selection, heatMap, currentCT, fit
        self._editors: dict[str, Any] = {}
        self._result: Any = None
        self._count = 0
        self._isFilling = False
        self._shown: tuple[Any, ...] = ()
        # Called when the questions have been made.
        self.onEditors: Callable[[], None] = lambda: None
        self.ui.guidelineButton.connect("clicked(bool)", self.onConfirm)
        self.ui.guidelineSection.connect("contentsCollapsed(bool)", self.onOpened)

    def show(self, row: NoduleRow | None, result: Any, noduleCount: int) -> None:
        """The selected nodule; None without one, or without an answer for where it lies."""
        self._result, self._count = (None if row is None or row.isMoved else result), noduleCount
        if not self.ui.guidelineSection.collapsed:
            self._showNow()

    def onOpened(self, isCollapsed: bool) -> None:
        """Nothing is made before the section is opened for the first time."""
        if not isCollapsed:
            self._makeEditors()
            self._shown = ()
            self._showNow()
        self._fit()

    def onConfirm(self, *_arguments: Any) -> None:
        """What stands in the section is the reader's word now."""
        points, pointID = self._selection()
        node = self._heatMap(points, pointID) if points is not None and pointID else None
        if node is None or self._result is None or self.ui.guidelineSection.collapsed:
            return
        values = self._values()
        wrong = [q for q in gi.inputs() if q.name in values and q.name not in gi.checked(values)]
        if wrong:
            self._say(gi.wrongText(wrong[0]), "")
            return
        ofPatient = {question.name for question in gi.inputs() if question.isOfPatient}
        nodule = {name: text for name, text in values.items() if name not in ofPatient}
        # The patient's are kept with the nodule too: what was confirmed for it stays with it.
        gi.writeValues(node, gi.NODULE_ATTRIBUTE, {**values, SIZE: gi.sizeText(self._result)})
        ct = self._currentCT()
        if ct is not None:
            # With the CT, not with the list of points, which may go on to the next patient.
            gi.writeValues(ct, gi.PATIENT_ATTRIBUTE, {n: v for n, v in values.items() if n not in nodule})
        self._shown = ()
        self._showNow()

    def _showNow(self) -> None:
        points, pointID = self._selection()
        node = self._heatMap(points, pointID) if points is not None and pointID else None
        result = self._result if node is not None else None
        hasSize = result is not None and result.measurement is not None
        version = (node.GetID(), node.GetMTime(), self._count) if node is not None and hasSize else (hasSize,)
        if version == self._shown:
            return
        self._shown = version
        self.ui.guidelineInputs.setVisible(hasSize)
        self.ui.guidelineButton.enabled = hasSize
        if result is None or not hasSize:
            self._say(_("Select a nodule with a measured size: the guidelines go by it."), "")
            return
        kept = gi.readValues(node, gi.NODULE_ATTRIBUTE)
        isConfirmed = kept.get(SIZE) == gi.sizeText(result)
        if kept:
            self._fill(gi.checked(kept))
        else:
            patient = {**self._header(), **gi.checked(gi.readValues(self._currentCT(), gi.PATIENT_ATTRIBUTE))}
            self._fill({**gi.proposed(result, self._count), **patient})
        if isConfirmed:
            self._say(self._hint(_("Confirmed.")), self._answers())
        elif kept:
            self._say(self._hint(_("The size has changed since you confirmed. Confirm again.")), "")
        else:
            self._say(self._hint(_("Proposed from signs, list and header. Check, correct and confirm.")), "")

    def _hint(self, words: str) -> str:
        measured = self._result.measurement
        return _(
            "Measured: longest diameter {long:.1f} mm, mean {mean:.1f} mm, volume {volume:.0f} mm\u00b3. {words}"
        ).format(long=measured.diameter_mm, mean=measured.mean_diameter_mm, volume=measured.volume_mm3, words=words)

    def _answers(self) -> str:
        from CLIPLungLib.errors import CLIPLungError
        from CLIPLungLib.guidelines.registry import ask_all

        try:
            return answersText(*ask_all(gi.caseOf(self._values(), self._result)))
        except CLIPLungError as error:
            return f"<p>{escape(str(error))}</p>"

    def _say(self, hint: str, answer: str) -> None:
        self.ui.guidelineHintLabel.setText(f"<p>{escape(hint)}</p>")
        self.ui.guidelineAnswerLabel.setText(answer)
        self._fit()

    def _onEdited(self, *_arguments: Any) -> None:
        """An answer for other inputs than those that are shown must not stand below them."""
        if not self._isFilling and self._result is not None and self._result.measurement is not None:
            self._say(self._hint(_("Not confirmed yet.")), "")

    def _header(self) -> gi.Values:
        """What the DICOM header says of the patient, where the CT comes from the database."""
        ct = self._currentCT()
        uids = ((ct.GetAttribute("DICOM.instanceUIDs") if ct is not None else None) or "").split()
        if not uids or not hasattr(slicer, "dicomDatabase"):
            return {}
        return gi.checked(gi.ofDICOM(lambda tag: slicer.dicomDatabase.instanceValue(uids[0], tag) or ""))

    def _makeEditors(self) -> None:
        if self._editors:
            return
        form = self.ui.guidelineInputs.layout()
        for question in gi.inputs():
            editor = _choice(question) if question.choices else _number()
            signal = "currentIndexChanged(int)" if question.choices else "textChanged(QString)"
            editor.connect(signal, self._onEdited)
            form.addRow(f"{question.title}:", editor)
            self._editors[question.name] = editor
        self.onEditors()

    def _fill(self, values: gi.Values) -> None:
        self._isFilling = True
        try:
            for question in gi.inputs():
                editor, text = self._editors[question.name], values.get(question.name, "")
                if question.choices:
                    editor.setCurrentIndex(max(0, editor.findData(text)))
                else:
                    editor.setText(text)
        finally:
            self._isFilling = False

    def _values(self) -> gi.Values:
        """What stands in the section, without what is not said."""
        found = {}
        for question in gi.inputs():
            editor = self._editors[question.name]
            text = editor.itemData(editor.currentIndex) if question.choices else editor.text.strip().replace(",", ".")
            if text:
                found[question.name] = text
        return found


def _choice(question: gi.Input) -> qt.QComboBox:
    combo = qt.QComboBox()
    combo.addItem(_("not said"), "")
    for value, title in question.choices.items():
        combo.addItem(title, value)
    return combo


def _number() -> qt.QLineEdit:
    edit = qt.QLineEdit()
    edit.setPlaceholderText(_("not said"))
    return edit
