"""Slice views as pictures, without a window: CT, heat map and points as Slicer's own classes draw them.

Used with `standalone` only. VTK ends the process when no OpenGL is available, so ask `rendering_problem` first.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from CLIPLungLib.demo.slicer_core_host import StandaloneSlicer

PROBE = "from CLIPLungLib.demo.offscreen_views import probe; probe()"
PROBE_TIMEOUT_S = 60


class SliceView:
    """One slice view drawn off screen.

    Args:
        application: whose scene is drawn.
        name: Red (axial), Yellow (sagittal) or Green (coronal).
        size: width and height of the picture in pixels.
    """

    def __init__(self, application: StandaloneSlicer, name: str, size: tuple[int, int] = (640, 640)) -> None:
        _load_triton_first()
        self._logic = application.slice_logics[name]
        self._renderer = vtk.vtkRenderer()
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._window = _window(size)
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._logic.ResizeSliceNode(*size)
        self._add_slice()
        self._add_points(application.application_logic)

    def zoom(self, width_mm: float) -> None:
        """Show this many mm from left to right, around the same centre."""
        node = self._logic.GetSliceNode()
        x, y, z = node.GetFieldOfView()
        node.SetFieldOfView(width_mm, y * width_mm / x, z)

    def to_xy(self, ras: np.ndarray) -> np.ndarray:
        """(2,) column and row, from the top left, where a point (3,) in world RAS mm is drawn."""
        node = self._logic.GetSliceNode()
        xy_to_ras = slicer.util.arrayFromVTKMatrix(node.GetXYToRAS())
        x, y = np.linalg.solve(xy_to_ras, [*ras, 1.0])[:2]
        return np.array([x, node.GetDimensions()[1] - 1 - y])

    def picture(self) -> np.ndarray:
        """(rows, columns, 3) uint8 of the view as it is now."""
        self._mapper.SetInputConnection(self._logic.GetImageDataConnection())
        self._window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self._window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        columns, rows, _ = image.GetDimensions()
        upside_down: np.ndarray = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)
        picture: np.ndarray = upside_down[::-1, :, :3].copy()
        return picture

    def _add_slice(self) -> None:
        """The blended layers, as a picture behind everything else."""
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255.0)
        self._mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self._mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(actor)

    def _add_points(self, application_logic: slicer.vtkSlicerApplicationLogic) -> None:
        """What draws the control points."""
        # Markups offset their lines by it and complain about VTK's default.
        vtk.vtkMapper.SetResolveCoincidentTopologyToPolygonOffset()
        manager = slicer.vtkMRMLMarkupsDisplayableManager()
        manager.SetMRMLApplicationLogic(application_logic)
        self._managers = slicer.vtkMRMLDisplayableManagerGroup()
        self._managers.SetRenderer(self._renderer)
        self._managers.AddDisplayableManager(manager)
        self._managers.SetMRMLDisplayableNode(self._logic.GetSliceNode())


def save_png(picture: np.ndarray, path: Path) -> None:
    """Write a picture (rows, columns, 3) uint8."""
    rows, columns, _ = picture.shape
    image = vtk.vtkImageData()
    image.SetDimensions(columns, rows, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = picture[::-1].reshape(-1, 3)
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.Write()


def rendering_problem() -> str | None:
    """Why no picture can be drawn on this machine; None when all is well. Tried in another process, which may die of it."""
    try:
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"drawing off screen did not end within {PROBE_TIMEOUT_S} s"
    if done.returncode == 0:
        return None
    last_words = done.stderr.decode(errors="replace").strip()[-300:]
    return f"drawing off screen ended with code {done.returncode}; libEGL and a Mesa driver are needed. {last_words}"


def probe() -> None:
    """Draw nothing, off screen. Ends the process where that is impossible."""
    window = _window((8, 8))
    window.AddRenderer(vtk.vtkRenderer())
    window.Render()


def _load_triton_first() -> None:
    """Load triton, which torch loads with the first optimizer, before Mesa draws.

    Each brings an LLVM. Some versions of Mesa lend theirs to every later library, and triton ends the process with it.
    """
    libraries = Path("/proc/self/maps")
    if libraries.exists() and b"libLLVM" in libraries.read_bytes():
        return  # Somebody has drawn before: too late.
    with suppress(ImportError):
        importlib.import_module("triton")


def _window(size: tuple[int, int]) -> vtk.vtkRenderWindow:
    """An off-screen window. On Linux by EGL, which needs no display, unless the environment asks for another kind."""
    chosen = "VTK_DEFAULT_OPENGL_WINDOW" in os.environ or not hasattr(vtk, "vtkEGLRenderWindow")
    window = vtk.vtkRenderWindow() if chosen else vtk.vtkEGLRenderWindow()
    window.SetOffScreenRendering(True)
    window.SetSize(*size)
    window.SetMultiSamples(0)
    return window
