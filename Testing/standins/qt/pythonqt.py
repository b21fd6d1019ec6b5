"""PySide6 made to behave like PythonQt: properties without a call, connect() with a signature, no invented names."""

from __future__ import annotations

import inspect
import json
import types
from pathlib import Path

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

API = json.loads(Path(__file__).with_name("api.json").read_text(encoding="utf-8"))
MODULES = (QtCore, QtGui, QtWidgets)
# Those the module reads or sets; hiding more methods of PySide6 behind properties would break PySide6 itself.
PROPERTIES = {"checked", "currentIndex", "enabled", "focusPolicy", "rowCount", "text", "visible"}


def dress_up() -> None:
    """Change PySide6's classes for the whole process; twice is once."""
    if getattr(QtCore.QObject, "_is_pythonqt", False):
        return
    QtCore.QObject._is_pythonqt = True
    for kind in qt_classes():
        for name in own_properties(kind):
            setattr(kind, name, property(_getter(name), _setter(name)))
    original = QtCore.QObject.__getattribute__

    def find(self: QtCore.QObject, name: str) -> object:
        if name == "connect":
            return types.MethodType(connect, self)
        return original(self, name)

    QtCore.QObject.__getattribute__ = find


def qt_classes() -> list[type]:
    """Every QObject class of the three modules."""
    found = []
    for module in MODULES:
        for name in dir(module):
            value = getattr(module, name)
            if isinstance(value, type) and issubclass(value, QtCore.QObject):
                found.append(value)
    return found


def own_properties(kind: type) -> list[str]:
    """Names of the properties a class declares itself."""
    meta = kind.staticMetaObject
    names = [meta.property(i).name() for i in range(meta.propertyOffset(), meta.propertyCount())]
    # QProgressBar.text is virtual: a Python attribute of that name is taken for an override of it.
    return [name for name in names if name in PROPERTIES and kind is not QtWidgets.QProgressBar]


def _getter(name: str):
    def get(self):
        value = QtCore.QObject.property(self, name)
        return value.value if type(value).__module__ == "enum" else value

    return get


def _setter(name: str):
    def set_(self, value):
        if not QtCore.QObject.setProperty(self, name, value):
            raise AttributeError(f"property '{name}' of {type(self).__name__} does not take {value!r}")

    return set_


def connect(sender: QtCore.QObject, signature: str, slot: object) -> bool:
    """As in PythonQt; a signal that the running Slicer does not have raises here, where it would only be printed there."""
    own = sender.__dict__.get("_slicer_class") or _slicer_class(type(sender))
    known = API.get(own, {}).get("signals")
    plain = signature.replace(" ", "")
    if known is not None and plain not in known:
        raise AttributeError(f"{own} has no signal {signature}")
    signal = getattr(sender, plain.partition("(")[0])
    argument = plain.partition("(")[2].rstrip(")")
    if argument in ("int", "bool") and sender.metaObject().indexOfSignal(plain) >= 0:
        signal = signal[{"int": int, "bool": bool}[argument]]
    count = len([part for part in argument.split(",") if part])
    signal.connect(_fitting(slot, count))
    return True


def _slicer_class(kind: type) -> str:
    for base in kind.__mro__:
        for prefix in ("qt.", "ctk.", "slicer."):
            if prefix + base.__name__ in API:
                return prefix + base.__name__
    return ""


def _fitting(slot: object, count: int):
    """PythonQt calls a slot with as many arguments as it takes."""
    parameters = inspect.signature(slot).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes = count if any(p.kind == p.VAR_POSITIONAL for p in parameters) else min(count, len(positional))
    return lambda *values: slot(*values[:takes])


def is_alive(thing: QtCore.QObject) -> bool:
    """Whether the C++ object still exists."""
    return shiboken6.isValid(thing)
