"""CTK's and Slicer's widgets of the panel, on PySide6: as much as the panel uses, under their real names."""

from __future__ import annotations

import slicer
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal


class ctkCollapsibleButton(QtWidgets.QGroupBox):
    """A titled group."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._collapsed = False

    def _text(self):
        return QtWidgets.QGroupBox.property(self, "title")

    def _set_text(self, value):
        QtWidgets.QGroupBox.setProperty(self, "title", value)

    text = Property(str, _text, _set_text)

    def _is_collapsed(self):
        return self._collapsed

    def _collapse(self, value):
        self._collapsed = bool(value)
        self._hide_contents()
        # While the panel is being read from its file, the contents are not there yet.
        QtCore.QTimer.singleShot(0, self._hide_contents)
        self.contentsCollapsed.emit(self._collapsed)

    def _hide_contents(self):
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            child.setVisible(not self._collapsed)

    collapsed = Property(bool, _is_collapsed, _collapse)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a number beside it."""

    valueChanged = Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._value, self._minimum, self._maximum, self._step, self._decimals = 0.0, 0.0, 100.0, 1.0, 2
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider, self._box = QtWidgets.QSlider(QtCore.Qt.Horizontal), QtWidgets.QDoubleSpinBox()
        self._slider.setRange(0, 1000)
        row.addWidget(self._slider)
        row.addWidget(self._box)

    def _get(self):
        return self._value

    def setValue(self, value):
        value = min(max(float(value), self._minimum), self._maximum)
        if value != self._value:
            self._value = value
            self._slider.setValue(round(1000 * (value - self._minimum) / (self._maximum - self._minimum or 1)))
            self._box.setValue(value)
            self.valueChanged.emit(value)

    value = Property(float, _get, setValue)
    minimum = Property(float, lambda s: s._minimum, lambda s, v: setattr(s, "_minimum", v))
    maximum = Property(float, lambda s: s._maximum, lambda s, v: setattr(s, "_maximum", v))
    singleStep = Property(float, lambda s: s._step, lambda s, v: setattr(s, "_step", v))
    decimals = Property(int, lambda s: s._decimals, lambda s, v: setattr(s, "_decimals", v))


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path with a browse button."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._path, self._filters = "", []
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._edit = QtWidgets.QLineEdit()
        row.addWidget(self._edit)
        row.addWidget(QtWidgets.QPushButton("..."))

    def setCurrentPath(self, path):
        if path != self._path:
            self._path = path
            self._edit.setText(path)
            # For "" only this is sent, as by the real one.
            self.validInputChanged.emit(bool(path))
            if path:
                self.currentPathChanged.emit(path)

    currentPath = Property(str, lambda s: s._path, setCurrentPath)
    nameFilters = Property("QStringList", lambda s: s._filters, lambda s, v: setattr(s, "_filters", v))


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that knows the scene and passes it on."""

    mrmlSceneChanged = Signal(object)

    def setMRMLScene(self, scene):
        for child in self.findChildren(qMRMLNodeComboBox):
            child.setMRMLScene(scene)


class SortFilterProxyModel:
    """Which nodes a combo box leaves out."""

    def __init__(self, combo):
        object.__setattr__(self, "combo", combo)
        object.__setattr__(self, "hiddenNodeIDs", [])

    def __setattr__(self, name, value):
        if name != "hiddenNodeIDs":
            raise AttributeError(f"qMRMLSortFilterProxyModel has no property {name}")
        object.__setattr__(self, name, value)
        self.combo.refresh()


class qMRMLNodeComboBox(QtWidgets.QComboBox):
    """Chooses a node of the scene."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._node, self._tags = None, None, []
        self._options = {"nodeTypes": [], "noneEnabled": False, "noneDisplay": "None", "showChildNodeTypes": True}
        self._model = SortFilterProxyModel(self)
        self.activated.connect(lambda index: self.setCurrentNode(self.itemData(index) or None))

    def sortFilterProxyModel(self):
        return self._model

    def setMRMLScene(self, scene):
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene = scene
        events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent)
        self._tags = [scene.AddObserver(event, lambda *_: self.refresh()) for event in events]
        self.refresh()

    def nodes(self):
        types_, hidden = self._options["nodeTypes"], set(self._model.hiddenNodeIDs)
        found = []
        for name in types_ if self._scene else ():
            collection = self._scene.GetNodesByClass(name)
            collection.UnRegister(None)
            found += [n for n in collection if self._options["showChildNodeTypes"] or n.GetClassName() == name]
        return [node for node in found if node.GetID() not in hidden and not node.GetHideFromEditors()]

    def nodeCount(self):
        return len(self.nodes())

    def refresh(self):
        nodes = self.nodes()
        blocked = self.blockSignals(True)
        self.clear()
        if self._options["noneEnabled"]:
            self.addItem(self._options["noneDisplay"], "")
        for node in nodes:
            self.addItem(node.GetName(), node.GetID())
        self.blockSignals(blocked)
        current = self._node if self._node in nodes else None
        if current is None and not self._options["noneEnabled"] and nodes:
            current = nodes[0]
        self._set(current)

    def currentNode(self):
        return self._node

    def setCurrentNode(self, node):
        self._set(self._scene.GetNodeByID(node) if isinstance(node, str) else node)

    def _set(self, node):
        blocked = self.blockSignals(True)
        self.setCurrentIndex(max(0, self.findData(node.GetID() if node else "")))
        self.blockSignals(blocked)
        if node is not self._node:
            self._node = node
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(node.GetID() if node else "")


def _option(kind, name):
    def get(self):
        return self._options.get(name)

    def put(self, value):
        self._options[name] = value

    setattr(qMRMLNodeComboBox, name, property(get, put))


OPTIONS = {
    "nodeTypes": list,
    "noneEnabled": bool,
    "noneDisplay": str,
    "showChildNodeTypes": bool,
    "addEnabled": bool,
    "removeEnabled": bool,
    "renameEnabled": bool,
    "baseName": str,
}
for _name, _kind in OPTIONS.items():
    _option(_kind, _name)

WIDGETS = (ctkCollapsibleButton, ctkSliderWidget, ctkPathLineEdit, qMRMLWidget, qMRMLNodeComboBox)
SLICER_NODE = slicer.vtkMRMLNode
