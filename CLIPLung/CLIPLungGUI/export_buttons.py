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
        self._export(_("Table of all nodules"), "nodules.csv", "CSV (*.csv)", self._ofAll(exports.writeCSV))

    def onJSON(self, *_arguments: Any) -> None:
        """The selected answer with every number."""
        self._export(_("Numbers of the nodule"), "nodule.json", "JSON (*.json)", self._ofSelected(exports.writeJSON))

    def onReport(self, *_arguments: Any) -> None:
        """The selected answer as a picture."""
        write = self._ofSelected(exports.writeReport)
        self._export(_("Report"), "nodule.png", "PNG (*.png)", write, package="matplotlib")

    def onDICOM(self, *_arguments: Any) -> None:
        """All answers as a structured report."""
        write = self._ofAll(exports.writeDICOM)
        self._export(_("Structured report"), "nodules.dcm", "DICOM (*.dcm)", write, package="highdicom")

    def _ofAll(self, write: Callable[..., None]) -> Callable[[Path], None]:
        return lambda path: write(self.logic, self.selection()[0], path)

    def _ofSelected(self, write: Callable[..., None]) -> Callable[[Path], None]:
        return lambda path: write(self.logic, *self.selection(), path)

    def _export(self, title: str, name: str, kinds: str, write: Callable[[Path], None], package: str = "") -> None:
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, kinds)
        if not path:
            return
        try:
            if package:
                ensureExportPackage(package, title)
            with slicer.util.WaitCursor():
                write(Path(path))
        except Exception as error:
            slicer.util.errorDisplay(self.logic.reason(error), windowTitle=title)
            return
        self.ui.statusLabel.text = _("Written: {path}").format(path=path)
