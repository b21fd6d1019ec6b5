"""The model of the panel: what it needs, its file, its device, and loading it in the background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from CLIPLungGUI import installer
from CLIPLungGUI.background_worker import BackgroundWorker

DEVICE_SETTING, MODEL_SETTING = "CLIPLung/Device", "CLIPLung/ModelFile"
MODEL_KEY = "model"


class ModelLoader:
    """Loads the classifier once, and again when its file or device is changed.

    Args:
        ui: the loaded .ui, with installButton, deviceCombo and modelPath.
        worker: runs the loading.
        requirementsFile: of the module's resources.
        onLoaded: called with the classifier.
        onChange: called when there is something else to tell.

    Attributes:
        problem: why there is no model; empty while it loads and when it is there.
    """

    def __init__(
        self,
        ui: Any,
        worker: BackgroundWorker,
        requirementsFile: str,
        onLoaded: Callable[[Any], None],
        onChange: Callable[[], None],
    ) -> None:
        self.ui, self.worker, self.requirementsFile = ui, worker, requirementsFile
        self.onLoaded, self.onChange = onLoaded, onChange
        self.problem = ""
        self._isFileMissing = False
        ui.modelPath.nameFilters = ["*.safetensors"]
        ui.modelPath.currentPath = _modelPath()
        ui.deviceCombo.addItem(_("Automatic"), "auto")
        ui.deviceCombo.addItem(_("Processor (CPU)"), "cpu")
        if ui.deviceCombo.findData(_device()) < 0:
            # A graphics card, by its name until torch is there; or one that is gone, which must not be shown as another choice.
            ui.deviceCombo.addItem(_device(), _device())
        ui.deviceCombo.setCurrentIndex(ui.deviceCombo.findData(_device()))
        ui.installButton.connect("clicked(bool)", self.onInstall)
        ui.deviceCombo.connect("currentIndexChanged(int)", self.onSettingChanged)
        ui.modelPath.connect("currentPathChanged(QString)", self.onSettingChanged)
        # Sent alone when the path is emptied.
        ui.modelPath.connect("validInputChanged(bool)", self.onSettingChanged)

    @property
    def isLoading(self) -> bool:
        """Whether the model will be there soon."""
        return MODEL_KEY in self.worker.keys

    def prepare(self) -> None:
        """Load the model, once everything it needs is there."""
        missing = installer.missingPackages()
        self.ui.installButton.visible = bool(missing)
        if not missing:
            self.problem = ""
            path, device = _modelPath(), _device()
            self.worker.submit(MODEL_KEY, lambda _cancelled: loadClassifier(path, device), self._onDone, self._onError)
        else:
            self.problem = _("Missing: {names}. Results in the scene can be seen; new nodules need them.").format(
                names=", ".join(missing)
            )
            if installer.wantsResume() and installer.hasTorchExtension():
                # Once only: what fails now would fail each time the module is opened.
                installer.forgetResume()
                self.onInstall(ask=False)
        self.onChange()

    def onInstall(self, *_arguments: Any, ask: bool = True) -> None:
        """The install button."""
        try:
            installer.install(self.requirementsFile, self._tell, ask)
        except installer.NotInstalledError as error:
            self.problem = str(error)
            self.onChange()
            return
        self.prepare()

    def _tell(self, text: str) -> None:
        self.problem = text
        self.onChange()
        slicer.app.processEvents()

    def onSettingChanged(self, *_arguments: Any) -> None:
        """Another device or file: load again. Answers in the scene stay, and say which model they are from."""
        path, combo = self.ui.modelPath.currentPath, self.ui.deviceCombo
        wasFileMissing, self._isFileMissing = self._isFileMissing, bool(path) and not Path(path).is_file()
        if self._isFileMissing:
            self._refuseFile(path)
            return
        changed = {MODEL_SETTING: path, DEVICE_SETTING: combo.itemData(combo.currentIndex)}
        if changed == {MODEL_SETTING: _modelPath(), DEVICE_SETTING: _device()} and not wasFileMissing:
            return
        for name, value in changed.items():
            slicer.app.userSettings().setValue(name, value)
        self.onLoaded(None)
        self.prepare()

    def _refuseFile(self, path: str) -> None:
        """No other weights in place of those that are named."""
        self.worker.cancel(MODEL_KEY)
        self.problem = _("There is no file '{path}'. Choose weights, or empty the field for the bundled ones.").format(
            path=path
        )
        self.onLoaded(None)
        self.onChange()

    def _onDone(self, classifier: Any) -> None:
        self._fillDevices()
        self.onLoaded(classifier)

    def _onError(self, error: Exception) -> None:
        self.problem = _("The model cannot be used: {reason}").format(reason=error)
        self.onChange()

    def _fillDevices(self) -> None:
        """Graphics cards are known once torch has been imported."""
        combo = self.ui.deviceCombo
        was = combo.blockSignals(True)
        for name, title in graphicsCards():
            index = combo.findData(name)
            if index < 0:
                combo.addItem(title, name)
            else:
                combo.setItemText(index, title)
        combo.setCurrentIndex(max(0, combo.findData(_device())))
        combo.blockSignals(was)


def loadClassifier(path: str, device: str) -> Any:
    """Runs in the thread: importing torch and reading the weights take seconds."""
    from CLIPLungLib.inference.classifier import NoduleClassifier

    return NoduleClassifier.load(path or None, device)


def graphicsCards() -> list[tuple[str, str]]:
    """Name and title of every graphics card torch can use."""
    import torch

    return [(f"cuda:{i}", torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())]


def _device() -> str:
    return slicer.util.settingsValue(DEVICE_SETTING, "auto", converter=str)


def _modelPath() -> str:
    return slicer.util.settingsValue(MODEL_SETTING, "", converter=str)
