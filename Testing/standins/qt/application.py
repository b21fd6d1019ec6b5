"""What the application puts around a scripted module: slicer.app, slicer.modules, slicer.util's dialogs, and the module base classes."""

from __future__ import annotations

import importlib
import os
import sys
import types
import unittest
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from CLIPLungLib.demo.slicer_core_host import StandaloneSlicer
from standins.qt import parameters, pythonqt
from standins.qt.widgets import OPTIONS, WIDGETS, qMRMLNodeComboBox

MODULE_FOLDER = Path(__file__).resolve().parents[3] / "CLIPLung"


class Application:
    """A running application with one scene; `dialogs` keeps what was shown, `agrees` answers questions."""

    def __init__(self, settings_file: Path) -> None:
        self.qt = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
        self.qt.setStyle("Fusion")
        pythonqt.dress_up()
        self.standalone = StandaloneSlicer()
        self.settings = QtCore.QSettings(str(settings_file), QtCore.QSettings.IniFormat)
        self.window = QtWidgets.QMainWindow()
        self.dialogs: list[str] = []
        self.agrees = True
        self.save_as = ""
        self.widget = None
        logic = self.standalone.application_logic
        for name in ("Selection", "Interaction"):
            if getattr(logic, f"Get{name}Node")() is None:
                node = self.standalone.scene.AddNewNodeByClass(f"vtkMRML{name}Node")
                getattr(logic, f"Set{name}Node")(node)
        self._install()

    def close(self) -> None:
        """What the application does at its end."""
        if self.widget is not None:
            slicer.modules.CLIPLungWidget.cleanup()
            self.widget.parent.setParent(None)
        self.standalone.close()

    def open_module(self):
        """The module's widget, set up but not entered."""
        for name in [n for n in sys.modules if n == "CLIPLung" or n.startswith("CLIPLungGUI")]:
            del sys.modules[name]
        if str(MODULE_FOLDER) not in sys.path:
            sys.path.append(str(MODULE_FOLDER))
        module = importlib.import_module("CLIPLung")
        parent = ModuleParent()
        path = str(MODULE_FOLDER / "CLIPLung.py")
        slicer.modules.cliplung = types.SimpleNamespace(path=path, widgetRepresentation=lambda: parent)
        self.widget = slicer.modules.CLIPLungWidget = module.CLIPLungWidget(parent)
        self.widget.setup()
        return self.widget

    def _install(self) -> None:
        app = types.SimpleNamespace(
            applicationLogic=lambda: self.standalone.application_logic,
            processEvents=self.qt.processEvents,
            palette=self.qt.palette,
            devicePixelRatio=self.qt.devicePixelRatio,
            userSettings=lambda: self.settings,
            connect=lambda *_: True,
            layoutManager=lambda: None,
        )
        slicer.mrmlScene, slicer.app = self.standalone.scene, app
        colors = next(logic for logic in self.standalone._logics if logic.IsA("vtkSlicerColorLogic"))
        slicer.modules = types.SimpleNamespace(colors=types.SimpleNamespace(logic=lambda: colors))
        sys.modules.update(
            {
                "qt": _qt(self),
                "ctk": types.ModuleType("ctk"),
                "slicer.i18n": _module("slicer.i18n", tr=lambda text: text, translate=lambda _c, text: text),
                "slicer.parameterNodeWrapper": _module(
                    "slicer.parameterNodeWrapper",
                    parameterNodeWrapper=parameters.parameterNodeWrapper,
                    WithinRange=parameters.WithinRange,
                ),
                "slicer.ScriptedLoadableModule": _module("slicer.ScriptedLoadableModule", **BASES),
            }
        )
        for name in ("i18n", "parameterNodeWrapper", "ScriptedLoadableModule"):
            setattr(slicer, name, sys.modules[f"slicer.{name}"])
        util = slicer.util
        util.loadUI, util.childWidgetVariables = load_ui, child_widget_variables
        util.mainWindow = lambda: self.window
        util.settingsValue = self._setting
        util.toBool = lambda value: str(value).lower() == "true"
        util.errorDisplay = lambda text, **_: self.dialogs.append(text)
        util.warningDisplay = lambda text, **_: self.dialogs.append(text)
        util.confirmOkCancelDisplay = self._ask
        util.saveScene = lambda file: bool(self.standalone.save(Path(file)))
        util.loadScene = lambda file: self.standalone.load(Path(file))
        util.showStatusMessage = lambda *_: None

    def _setting(self, key, default, converter=None):
        value = self.settings.value(key)
        if value is None:
            return default
        return converter(value) if converter else value

    def _ask(self, text, **_):
        self.dialogs.append(text)
        return self.agrees


class ModuleParent(QtWidgets.QWidget):
    """The widget the application gives to a module's widget."""

    def __init__(self) -> None:
        super().__init__()
        QtWidgets.QVBoxLayout(self)
        self.isEntered = False

    def reload(self) -> None:
        """A new widget from the module as it is imported now; the old one has been cleaned up."""
        slicer.modules.CLIPLungWidget = sys.modules["CLIPLung"].CLIPLungWidget(self)
        slicer.modules.CLIPLungWidget.setup()


class ScriptedLoadableModule:
    """Holds the module's description."""

    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    """Holds the parent's layout."""

    def __init__(self, parent=None):
        self.parent = parent
        self.layout = parent.layout()

    def setup(self):
        """Nothing here: the real one adds the developer's buttons."""

    def onReload(self):
        """By slicer.util, which is the real one."""
        slicer.util.reloadScriptedModule("CLIPLung")

    def resourcePath(self, name):
        return str(MODULE_FOLDER / "Resources" / name)


class ScriptedLoadableModuleLogic:
    """Gives the parameter node of the scene."""

    def __init__(self, _parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetModuleName(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Needs no test method of its own to be made."""

    def __init__(self, method="runTest"):
        super().__init__(method)

    def delayDisplay(self, *_):
        slicer.app.processEvents()


BASES = {
    kind.__name__: kind
    for kind in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
}


def load_ui(path: str) -> QtWidgets.QWidget:
    """A .ui file as widgets."""
    loader = QtUiTools.QUiLoader()
    for kind in WIDGETS:
        loader.registerCustomWidget(kind)
    panel = loader.load(path)
    for combo in panel.findChildren(qMRMLNodeComboBox):
        for name, kind in OPTIONS.items():
            value = QtCore.QObject.property(combo, name)
            if value is not None:
                setattr(combo, name, kind(value))
    return panel


def child_widget_variables(panel: QtWidgets.QWidget) -> types.SimpleNamespace:
    """Every named widget as an attribute."""
    return types.SimpleNamespace(**{w.objectName(): w for w in panel.findChildren(QtWidgets.QWidget) if w.objectName()})


def _qt(application: Application) -> types.ModuleType:
    module = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets):
        for name in dir(source):
            if name.startswith("Q"):
                setattr(module, name, getattr(source, name))
    module.QFileDialog = types.SimpleNamespace(getSaveFileName=lambda *_: application.save_as)
    return module


def _module(name: str, **members) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(members)
    return module
