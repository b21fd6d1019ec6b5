"""What the scene package may import and touch. Runs without Slicer."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import CLIPLungLib.scene

FOLDER = Path(CLIPLungLib.scene.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))
# Absent on slicer-core, or the module's own business.
FORBIDDEN_ATTRIBUTES = {"app", "modules", "mrmlScene", "qMRMLWidget", "qSlicerWidget"}
# These look into the application's scene, whatever they are given.
FORBIDDEN_FUNCTIONS = {"getNode", "getNodes", "getNodesByClass", "setSliceViewerLayers", "addVolumeFromArray", "plot"}
FORBIDDEN_PACKAGES = {"qt", "ctk", "torch", "matplotlib", "SimpleITK", "pydicom"}


def test_importing_the_package_imports_neither_vtk_nor_slicer():
    code = "import sys, CLIPLungLib.scene; print({'vtk', 'slicer', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_qt_no_application_no_global_scene(path):
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="ascii"))))
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    imported = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {(node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not attributes & (FORBIDDEN_ATTRIBUTES | FORBIDDEN_FUNCTIONS)
    assert not imported & FORBIDDEN_PACKAGES
