"""parameterNodeWrapper for the types the module uses: nodes, bool, and float within a range; stored as the real one stores them."""

from __future__ import annotations

import typing

import slicer
from PySide6 import QtCore, QtWidgets

from standins.qt.widgets import ctkSliderWidget, qMRMLNodeComboBox

PROPERTY = "SlicerParameterName"


class WithinRange:
    """Smallest and largest value."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def check(self, value: float) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within {self.minimum} and {self.maximum}")


class Parameter:
    """One typed member of a parameter node."""

    def __init__(self, name: str, hint: object, default: object) -> None:
        self.name, self.default = name, default
        arguments = typing.get_args(hint)
        self.kind = arguments[0] if arguments else hint
        self.range = arguments[1] if arguments else None
        self.is_node = isinstance(self.kind, type) and issubclass(self.kind, slicer.vtkMRMLNode)

    def __get__(self, wrapper, _owner=None):
        node = wrapper.parameterNode
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if text == "":
            return self.default
        return text == "True" if self.kind is bool else self.kind(text)

    def __set__(self, wrapper, value):
        node = wrapper.parameterNode
        if self.is_node:
            if value is not None and not isinstance(value, self.kind):
                raise TypeError(f"{self.name} takes {self.kind.__name__}, not {type(value).__name__}")
            node.SetNodeReferenceID(self.name, value.GetID() if value else None)
            return
        if type(value) is not self.kind:
            raise TypeError(f"{self.name} takes {self.kind.__name__}, not {type(value).__name__}")
        if self.range:
            self.range.check(value)
        node.SetParameter(self.name, str(value))


def parameterNodeWrapper(cls: type) -> type:
    """The decorator."""
    parameters = {
        name: Parameter(name, hint, getattr(cls, name, None))
        for name, hint in typing.get_type_hints(cls, include_extras=True).items()
    }
    members = {**parameters, "parameters": parameters}
    return type(cls.__name__, (_Wrapper,), members)


class _Wrapper:
    parameters: typing.ClassVar[dict[str, Parameter]] = {}

    def __init__(self, node: slicer.vtkMRMLScriptedModuleNode) -> None:
        self.parameterNode = node
        self._connections: dict[object, _Connection] = {}

    def AddObserver(self, *arguments):
        return self.parameterNode.AddObserver(*arguments)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def HasObserver(self, event):
        return self.parameterNode.HasObserver(event)

    def connectGui(self, ui: object) -> object:
        if isinstance(ui, dict):
            raise TypeError("connectGui takes the loadUI variables or a widget, not a dict")
        tag = object()
        self._connections[tag] = _Connection(self, ui)
        return tag

    def disconnectGui(self, tag: object) -> None:
        self._connections.pop(tag).stop()


class _Connection:
    """Widgets and parameters, kept equal while connected."""

    def __init__(self, wrapper: _Wrapper, ui: object) -> None:
        self.wrapper, self.active = wrapper, True
        named = [
            (w, QtCore.QObject.property(w, PROPERTY)) for w in vars(ui).values() if isinstance(w, QtWidgets.QWidget)
        ]
        self.pairs = [(widget, name) for widget, name in named if name]
        for widget, name in self.pairs:
            self._start(widget, wrapper.parameters[name])
        self.tag = wrapper.parameterNode.AddObserver("ModifiedEvent", lambda *_: self.show())
        self.show()

    def _start(self, widget, parameter):
        # The real connectors ask for exactly these classes, no subclasses.
        if parameter.is_node and type(widget) is qMRMLNodeComboBox:
            if not issubclass(parameter.kind, slicer.vtkMRMLNode):
                raise RuntimeError("unfit")
            signal = widget.currentNodeChanged
        elif parameter.kind is bool and type(widget) is QtWidgets.QCheckBox:
            signal = widget.toggled
        elif parameter.kind is float and type(widget) is ctkSliderWidget and parameter.range:
            widget.minimum, widget.maximum, widget.decimals = parameter.range.minimum, parameter.range.maximum, 2
            signal = widget.valueChanged
        else:
            raise RuntimeError(f"Unable to create GUI connector from {parameter.kind} to {type(widget).__name__}")
        signal.connect(lambda value, name=parameter.name: self._take(name, value))

    def _take(self, name, value):
        if self.active and getattr(self.wrapper, name) != value:
            setattr(self.wrapper, name, value)

    def show(self):
        for widget, name in self.pairs if self.active else ():
            value = getattr(self.wrapper, name)
            if isinstance(widget, qMRMLNodeComboBox):
                widget.setCurrentNode(value)
            elif isinstance(widget, QtWidgets.QCheckBox):
                widget.setChecked(value)
            else:
                widget.setValue(value)

    def stop(self):
        self.active = False
        self.wrapper.parameterNode.RemoveObserver(self.tag)
