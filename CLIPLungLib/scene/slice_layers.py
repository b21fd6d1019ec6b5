"""What the slice views show: CT behind, heat map in front, and where they stand."""

from __future__ import annotations

import numpy as np
import slicer

from CLIPLungLib.scene.tagged_nodes import nodes_of_class

DEFAULT_OPACITY = 0.5
LUNG_WINDOW_HU = 1500.0
LUNG_LEVEL_HU = -600.0
NODULE_FIELD_MM = 60.0
# Views whose names begin so show a prior CT: they keep their layers, and stand and zoom by themselves.
PRIOR_VIEW = "CLIPLungBefore"


def show_overlay(
    scene: slicer.vtkMRMLScene,
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    overlay_node: slicer.vtkMRMLScalarVolumeNode | None,
    opacity: float = DEFAULT_OPACITY,
) -> None:
    """Put a CT behind and a heat map in front in every slice view the scene has; None takes the heat map away.

    Linking of the views and label layers stay as they are, and so do views of a prior CT. Views that a layout makes later start
    without layers and elsewhere: call this again for them, and `jump_slice`.
    """
    for composite in _of_current_ct(scene, "vtkMRMLSliceCompositeNode"):
        with slicer.util.NodeModify(composite):
            composite.SetBackgroundVolumeID(ct_node.GetID())
            composite.SetForegroundVolumeID(overlay_node.GetID() if overlay_node else None)
            composite.SetForegroundOpacity(opacity)
    refresh_legends(scene)


def refresh_legends(scene: slicer.vtkMRMLScene) -> None:
    """Make colour legends follow a change of layers, which they do not notice themselves."""
    for legend in nodes_of_class(scene, "vtkMRMLColorLegendDisplayNode"):
        legend.Modified()


def jump_slice(slice_node: slicer.vtkMRMLSliceNode, ras: np.ndarray) -> None:
    """Centre one slice view on a point (3,) in world RAS mm."""
    slice_node.JumpSliceByCentering(*(float(value) for value in ras))


def jump_slices(scene: slicer.vtkMRMLScene, ras: np.ndarray) -> None:
    """Centre every slice view on a point (3,) in world RAS mm."""
    for slice_node in _of_current_ct(scene, "vtkMRMLSliceNode"):
        jump_slice(slice_node, ras)


def zoom_slice(slice_node: slicer.vtkMRMLSliceNode, field_mm: float) -> None:
    """Show this much of space along a view's shorter side; its middle and its shape stay."""
    width_mm, height_mm, depth_mm = slice_node.GetFieldOfView()
    factor = field_mm / min(width_mm, height_mm)
    slice_node.SetFieldOfView(width_mm * factor, height_mm * factor, depth_mm)


def zoom_slices(scene: slicer.vtkMRMLScene, field_mm: float) -> None:
    """As `zoom_slice`, in every slice view."""
    for slice_node in _of_current_ct(scene, "vtkMRMLSliceNode"):
        zoom_slice(slice_node, field_mm)


def shows_prior(node: slicer.vtkMRMLSliceNode | slicer.vtkMRMLSliceCompositeNode) -> bool:
    """Whether a view is for a prior CT."""
    return (node.GetLayoutName() or "").startswith(PRIOR_VIEW)


def _of_current_ct(scene: slicer.vtkMRMLScene, class_name: str) -> list[slicer.vtkMRMLNode]:
    return [node for node in nodes_of_class(scene, class_name) if not shows_prior(node)]


def whole_field_mm(ct_node: slicer.vtkMRMLScalarVolumeNode) -> float:
    """The field in which a CT is seen whole, from whatever side."""
    bounds = [0.0] * 6
    ct_node.GetRASBounds(bounds)
    return max(high - low for low, high in zip(bounds[::2], bounds[1::2], strict=True))


def set_lung_window(ct_node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show a CT in the lung window (width 1500, level -600 HU)."""
    display = ct_node.GetScalarVolumeDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(LUNG_WINDOW_HU, LUNG_LEVEL_HU)
