"""A stand-in for the application on slicer-core: scene, logics and slice views without Qt.

For tests and demonstrations only. Inside 3D Slicer the application does all this itself, and nothing here is used.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import numpy as np
import slicer
import vtk

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.scene.slice_layers import set_lung_window

# Name and class. "Data" removes display and storage nodes with their volume, "Colors" makes the grey scale of CTs.
LOGICS = (
    ("Colors", "vtkSlicerColorLogic"),
    ("Data", "vtkSlicerDataModuleLogic"),
    ("Volumes", "vtkSlicerVolumesLogic"),
    ("Markups", "vtkSlicerMarkupsLogic"),
    ("Tables", "vtkSlicerTablesLogic"),
    ("Plots", "vtkSlicerPlotsLogic"),
    ("Transforms", "vtkSlicerTransformLogic"),
)
SLICE_VIEWS = (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal"))
# Blue stands out from grey tissue and from every colour of the heat map.
POINT_COLOR = (0.0, 0.55, 1.0)
POINT_GLYPH_SCALE = 4.0
POINT_TEXT_SCALE = 4.5


class StandaloneSlicer:
    """A scene with what the application would put around it. Use as a context manager, or call `close`.

    Attributes:
        scene: the vtkMRMLScene.
        application_logic: the vtkSlicerApplicationLogic.
        slice_logics: vtkMRMLSliceLogic by view name: Red (axial), Yellow (sagittal), Green (coronal).
    """

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="cliplung_scene_")
        self.scene = slicer.vtkMRMLScene()
        self.application_logic = self._make_application_logic()
        self._files = self._make_file_access()
        self._logics = [self._make_logic(name, class_name) for name, class_name in LOGICS]
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self._add_crosshair()
        self.slice_logics = {name: self._make_slice_logic(name, orientation) for name, orientation in SLICE_VIEWS}

    def __enter__(self) -> StandaloneSlicer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Empty the scene, let go of it and remove temporary files."""
        self.scene.Clear(False)
        self._files.RemoveDataIOFromScene()
        # Nodes that somebody still holds must not reach logics that are gone.
        for logic in (*self.slice_logics.values(), *self._logics, self._files, self.application_logic):
            logic.SetMRMLScene(None)
        self._temporary.cleanup()

    def add_ct(self, ct: CTVolume) -> slicer.vtkMRMLScalarVolumeNode:
        """A volume node with a copy of a CT, in the lung window, behind in every slice view."""
        node = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", ct.name)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ct.ijk_to_ras))
        slicer.util.updateVolumeFromArray(node, ct.hu)
        node.CreateDefaultDisplayNodes()
        set_lung_window(node)
        for logic in self.slice_logics.values():
            logic.GetSliceCompositeNode().SetBackgroundVolumeID(node.GetID())
            logic.FitSliceToBackground()
        return node

    def add_points(self, name: str, points: Iterable[tuple[str, np.ndarray]]) -> slicer.vtkMRMLMarkupsFiducialNode:
        """A markups node with (label, world RAS mm) points, drawn as small open marks that leave the nodule visible."""
        node = self.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        node.CreateDefaultDisplayNodes()
        for label, ras in points:
            node.AddControlPointWorld([float(value) for value in ras], label)
        display = node.GetDisplayNode()
        display.SetGlyphTypeFromString("Cross2D")
        display.SetSelectedColor(*POINT_COLOR)
        display.SetGlyphScale(POINT_GLYPH_SCALE)
        display.SetTextScale(POINT_TEXT_SCALE)
        return node

    def save(self, path: Path) -> Path:
        """Write the scene with all its data as .mrb, for this class or 3D Slicer to open.

        Raises:
            InputError: the file cannot be written.
        """
        path = Path(path).resolve()
        if path.suffix != ".mrb" or not path.parent.is_dir():
            raise InputError(f"'{path}' cannot be written: name a .mrb file in a folder that exists.")
        # The application reads its own name and version in the header; with another name it distrusts coordinates.
        self.scene.SetVersion(f"Slicer {_slicer_version()}")
        messages = slicer.vtkMRMLMessageCollection()
        if not self.scene.WriteToMRB(str(path), None, messages):
            raise InputError(
                f"'{path}' was not written: {messages.GetAllMessagesAsString()} Check free space and rights."
            )
        return path

    def load(self, path: Path) -> None:
        """Replace the scene's content by that of a .mrb file.

        Raises:
            InputError: the file is missing or no scene.
        """
        path = Path(path).resolve()
        # Checked here, because MRML leaves the process in another working directory after a bundle it cannot unpack.
        if not zipfile.is_zipfile(path):
            raise InputError(f"'{path}' does not exist or is no scene bundle. Name a whole .mrb file.")
        messages = slicer.vtkMRMLMessageCollection()
        if not self.scene.ReadFromMRB(str(path), True, messages):
            raise InputError(
                f"'{path}' is no readable scene: {messages.GetAllMessagesAsString()} Save the scene again."
            )

    def _make_application_logic(self) -> slicer.vtkSlicerApplicationLogic:
        logic = slicer.vtkSlicerApplicationLogic()
        logic.SetMRMLScene(self.scene)
        logic.SetTemporaryPath(self._temporary.name)
        # Nothing is there; unset, the logics complain about it.
        (Path(self._temporary.name) / "share" / "ColorFiles").mkdir(parents=True)
        logic.SetHomeDirectory(self._temporary.name)
        logic.SetShareDirectory("share")
        logic.SetSliceLogics(vtk.vtkCollection())
        logic.SetViewLogics(vtk.vtkCollection())
        return logic

    def _make_file_access(self) -> slicer.vtkMRMLRemoteIOLogic:
        """Reading a .mrb unpacks it into the cache folder of this logic."""
        cache = Path(self._temporary.name) / "cache"
        cache.mkdir()
        logic = slicer.vtkMRMLRemoteIOLogic()
        logic.GetCacheManager().SetRemoteCacheDirectory(str(cache))
        logic.SetMRMLApplicationLogic(self.application_logic)
        logic.SetMRMLScene(self.scene)
        logic.AddDataIOToScene()
        return logic

    def _make_logic(self, name: str, class_name: str) -> slicer.vtkMRMLAbstractLogic:
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(self.application_logic)
        self.application_logic.SetModuleLogic(name, logic)
        logic.SetMRMLScene(self.scene)
        return logic

    def _add_crosshair(self) -> None:
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)

    def _make_slice_logic(self, name: str, orientation: str) -> slicer.vtkMRMLSliceLogic:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self.application_logic)
        logic.SetMRMLScene(self.scene)
        logic.AddSliceNode(name).SetOrientation(orientation)
        self.application_logic.GetSliceLogics().AddItem(logic)
        return logic


def _slicer_version() -> str:
    """Version of slicer-core as a scene's header has it: "5.13.0 31053"."""
    major, minor, revision = metadata.version("slicer-core").split(".")[:3]
    return f"{major}.{minor}.0 {revision}"
