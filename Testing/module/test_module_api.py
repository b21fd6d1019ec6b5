"""No invented names: the panel's file, the module's sources and the stand-ins against what a running Slicer 5.13 told of its classes."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("PySide6")
from helpers import slicer_scene  # noqa: F401 - skips this file without slicer-core
from standins.qt.pythonqt import API
from standins.qt.widgets import WIDGETS

MODULE = Path(__file__).resolve().parents[2] / "CLIPLung"
PANELS = {file.stem: ElementTree.parse(file).getroot() for file in (MODULE / "Resources" / "UI").glob("*.ui")}
UI = PANELS["CLIPLung"]
ALL_WIDGETS = [widget for root in PANELS.values() for widget in root.iter("widget")]
SOURCES = [MODULE / "CLIPLung.py", *sorted((MODULE / "CLIPLungGUI").glob("*.py"))]
# Which class a receiver is of, where it is no widget of the .ui.
RECEIVERS = {
    "table": "qt.QTableWidget",
    "timer": "qt.QTimer",
    "_timer": "qt.QTimer",
    "_panel": "qt.QWidget",
    "shortcut": "qt.QShortcut",
    "combo": "qt.QComboBox",
    "bar": "qt.QProgressBar",
    "button": "qt.QPushButton",
    "item": "qt.QTableWidgetItem",
    "label": "qt.QLabel",
    "edit": "qt.QLineEdit",
}


def known(class_name: str, *kinds: str) -> set[str]:
    """Names of a class and of QWidget, which every widget is."""
    found = {name for kind in kinds for name in API[class_name][kind]}
    if class_name not in ("qt.QTimer", "qt.QShortcut", "qt.QTableWidgetItem"):
        found |= {name for kind in kinds for name in API["qt.QWidget"][kind]}
    return found


def api_name(plain: str) -> str:
    """QLabel -> qt.QLabel."""
    found = [prefix + plain for prefix in ("qt.", "ctk.", "slicer.") if prefix + plain in API]
    assert found, f"nothing is known of {plain}"
    return found[0]


WIDGET_CLASS = {w.get("name"): api_name(w.get("class")) for w in ALL_WIDGETS}


@pytest.mark.parametrize("widget", ALL_WIDGETS, ids=lambda widget: widget.get("name"))
def test_properties_in_the_panels_file_exist(widget):
    own = WIDGET_CLASS[widget.get("name")]
    for entry in widget.findall("property"):
        # A label's buddy is no property, but a name that Qt's reader of such files passes to setBuddy.
        if entry.get("stdset") != "0" and entry.get("name") != "buddy":
            assert entry.get("name") in known(own, "properties"), f"{own}.{entry.get('name')}"


def test_connections_in_the_panels_file_exist():
    connections = list(UI.iter("connection"))
    assert len(connections) == sum(w.get("class") == "qMRMLNodeComboBox" for w in UI.iter("widget"))
    for connection in connections:
        sender, receiver = (WIDGET_CLASS[connection.findtext(end)] for end in ("sender", "receiver"))
        assert connection.findtext("signal") in API[sender]["signals"]
        assert connection.findtext("slot").partition("(")[0] in known(receiver, "names", "properties")


def test_no_two_widgets_have_the_same_name():
    assert len({widget.get("name") for widget in ALL_WIDGETS}) == len(ALL_WIDGETS)


@pytest.mark.parametrize("root", PANELS.values(), ids=PANELS)
def test_every_custom_class_is_declared(root):
    declared = {entry.findtext("class") for entry in root.iter("customwidget")}
    used = {w.get("class") for w in root.iter("widget")}
    assert declared == {name for name in used if not name.startswith("Q")}


def uses(file: Path) -> list[tuple[int, str, str]]:
    """Line, class and attribute of every use of a widget of the panel, or of a receiver whose class is known."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute):
            continue
        base = node.value
        if isinstance(base, ast.Attribute) and re.search(r"(^|\.)ui$", ast.unparse(base.value)):
            assert base.attr in WIDGET_CLASS, f"{file.name}:{node.lineno}: no widget {base.attr} in the panel"
            found.append((node.lineno, WIDGET_CLASS[base.attr], node.attr))
        name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
        if name in RECEIVERS and "node" not in ast.unparse(base).lower():
            found.append((node.lineno, RECEIVERS[name], node.attr))
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.name)
def test_what_the_module_uses_exists(file):
    for line, own, attribute in uses(file):
        allowed = known(own, "names", "properties") | {"connect", "blockSignals", "setParent", "start", "stop"}
        assert attribute in allowed, f"{file.name}:{line}: {own} has no {attribute}"


def test_the_walk_over_the_sources_finds_uses():
    assert len([use for file in SOURCES for use in uses(file)]) > 60


def test_signals_that_are_connected_exist():
    count = 0
    for file in SOURCES:
        for widget, signal in re.findall(r'ui\.(\w+)\.connect\("([^"]+)"', file.read_text(encoding="utf-8")):
            assert signal in API[WIDGET_CLASS[widget]]["signals"], f"{file.name}: {widget} {signal}"
            count += 1
    assert count > 12


def test_functions_of_slicer_util_exist():
    scene = sorted((MODULE.parent / "CLIPLungLib" / "scene").glob("*.py"))
    used = {
        n for file in [*SOURCES, *scene] for n in re.findall(r"slicer\.util\.(\w+)", file.read_text(encoding="utf-8"))
    }
    assert len(used) > 15
    assert used <= set(API["slicer.util"]["names"])


@pytest.mark.parametrize("kind", WIDGETS, ids=lambda kind: kind.__name__)
def test_stand_ins_offer_nothing_the_real_classes_lack(kind):
    own = api_name(kind.__name__)
    signals = {signal.partition("(")[0] for signal in API[own]["signals"]}
    public = {name for name in vars(kind) if not name.startswith("_")} - {"staticMetaObject"}
    # The combo box's own way to take a node list again is the stand-in's inside.
    assert public - {"refresh", "nodes"} <= known(own, "names", "properties") | signals


def test_an_invented_method_fails(tmp_path):
    source = tmp_path / "invented.py"
    source.write_text("def f(ui):\n    ui.noduleTable.selectNodule(3)\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="has no selectNodule"):
        test_what_the_module_uses_exists(source)
