"""Slicer's application half on PySide6 and slicer-core, for tests of the module: "Qt stand-in tests", not tests in 3D Slicer.

`install()` puts `qt`, `ctk`, `slicer.app`, `slicer.modules`, `slicer.ScriptedLoadableModule`, `slicer.parameterNodeWrapper` and the
widgets of the .ui file in place; `open_module()` loads CLIPLung.py as the application would. What widgets are called and which
properties and signals they have is read from api.json, an excerpt of what a running Slicer 5.13 told of itself.
"""
