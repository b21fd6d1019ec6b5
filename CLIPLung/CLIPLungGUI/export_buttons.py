"""The export buttons of the panel: a file name, a package if one is missing, and the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CLIPLungGUI import exports
from CLIPLungGUI.installer import ensureExportPackage
from CLIPLungGUI.logic import CLIPLungLogic


class ExportButtons:
    """Connects and enables them.

    Args:
        ui: the loaded .ui, with csvButton, jsonButton, reportButton, dicomButton and statusLabel.
        logic: whose answers are written.
        selection: gives the list of points and the ID of the selected one.
    """

    def __init__(self, ui: Any, logic: CLIPLungLogic, selection: Callable[[], tuple[Any, str]]) -> None:
        self.ui, self.logic, self.selection = ui, logic, selection
        ui.csvButton.connect("clicked(bool)", self.onCSV)
        ui.jsonButton.connect("clicked(bool)", self.onJSON)
        ui.reportButton.connect("clicked(bool)", self.onReport)
        ui.dicomButton.connect("clicked(bool)", self.onDICOM)

    def enable(self, hasAnswers: bool, hasSelected: bool) -> None:
        """All answers can be written, or the selected one."""
        self.ui.csvButton.enabled = self.ui.dicomButton.enabled = hasAnswers
        self.ui.jsonButton.enabled = self.ui.reportButton.enabled = hasSelected

    def onCSV(self, *_arguments: Any) -> None:
        """All answers as a table."""
        self._export(_("Table of all nodules"), "nodules.csv", "CSV (*.csv)", exports.writeCSV)

    def onJSON(self, *_arguments: Any) -> None:
        """The selected answer with every number."""
        self._export(_("Numbers of the nodule"), "nodule.json", "JSON (*.json)", exports.writeJSON, ofSelected=True)

    def onReport(self, *_arguments: Any) -> None:
        """The selected answer as a picture."""
        self._export(_("Report"), "nodule.png", "PNG (*.png)", exports.writeReport, "matplotlib", ofSelected=True)

    def onDICOM(self, *_arguments: Any) -> None:
        """All answers as a structured report."""
        self._export(_("Structured report"), "nodules.dcm", "DICOM (*.dcm)", exports.writeDICOM, "highdicom")

    def _export(
        self,
        title: str,
        name: str,
        kinds: str,
        write: Callable[..., str | None],
        package: str = "",
        ofSelected: bool = False,
    ) -> None:
        points, pointID = self.selection()
        which = (points, pointID) if ofSelected else (points,)
        try:
            # Before a file name or a package is asked for in vain.
            exports.currentAnswers(self.logic, *which)
            path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, kinds)
            path = self._withSuffix(path, Path(name).suffix, title)
            if not path:
                return
            if package:
                ensureExportPackage(package, title)
            with slicer.util.WaitCursor():
                leftOut = write(self.logic, *which, Path(path))
        except Exception as error:
            # What was written before is no longer what was asked for last.
            self.ui.statusLabel.text = _("{title}: nothing was written.").format(title=title)
            slicer.util.errorDisplay(self.logic.reason(error), windowTitle=title)
            return
        written = _("Written: {path}").format(path=path)
        self.ui.statusLabel.text = f"{written}\n{leftOut}" if leftOut else written
        if leftOut:
            slicer.util.warningDisplay(f"{written}\n\n{leftOut}", windowTitle=title)

    @staticmethod
    def _withSuffix(path: str, suffix: str, title: str) -> str:
        """A chosen file name with the suffix of its kind; empty where a file of that name shall not be replaced."""
        if not path or Path(path).suffix.lower() == suffix:
            return path
        whole = path + suffix
        # The dialog has asked for the name without the suffix only.
        question = _("There is a file '{path}' already. Replace it?").format(path=whole)
        if Path(whole).exists() and not slicer.util.confirmOkCancelDisplay(question, windowTitle=title):
            return ""
        return whole
