"""A volume node of the scene as CTVolume: shared voxels, world geometry."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.outline_mask import shifted

# Classes derived from the scalar volume whose voxels are no Hounsfield units, and what they are called in the application.
REFUSED_CLASSES = {
    "vtkMRMLLabelMapVolumeNode": "a label map",
    "vtkMRMLTensorVolumeNode": "a vector or colour volume",
    "vtkMRMLDiffusionWeightedVolumeNode": "a diffusion weighted volume",
}
SMALLEST_DETERMINANT = 1e-9
# A transform that changes lengths or volumes by less than this is taken for a rigid one with rounded numbers.
RIGID_TOLERANCE = 0.01


def ct_volume(volume_node: slicer.vtkMRMLScalarVolumeNode) -> CTVolume:
    """The CT of a volume node in world RAS. Shares the node's memory; linear transforms above the node are applied.
    A transform that stretches or mirrors is named in `source["warning"]`.

    The array stays valid for as long as the node keeps its image; make a new CTVolume for every analysis.

    Raises:
        InputError: no node, not a plain scalar volume, no voxels, or a transform that is not linear.
    """
    name = _require_scalar_volume(volume_node)
    image = volume_node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None or 0 in image.GetDimensions():
        raise InputError(f"'{name}' holds no voxels. Load the CT again.")
    if image.GetNumberOfScalarComponents() != 1:
        raise InputError(
            f"'{name}' holds {image.GetNumberOfScalarComponents()} values per voxel; a CT has one. "
            "Choose the CT, or convert the volume to a scalar volume."
        )
    ijk_to_ras = parent_to_world(volume_node) @ _local_ijk_to_ras(volume_node)
    hu, source = slicer.util.arrayFromVolume(volume_node), _source(volume_node)
    return CTVolume(hu, ijk_to_ras, name, source, patient_id=_patient_id(volume_node))


def world_ijk_to_ras(volume_node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """(4, 4) IJK-to-RAS of a volume node in world space.

    Raises:
        InputError: a transform above the node is not linear.
    """
    ijk_to_ras: np.ndarray = parent_to_world(volume_node) @ _local_ijk_to_ras(volume_node)
    return ijk_to_ras


def parent_to_world(node: slicer.vtkMRMLTransformableNode) -> np.ndarray:
    """(4, 4) from a node's own RAS to world RAS: every transform above it in one. Identity when there is none.

    Raises:
        InputError: a transform above the node is not linear, or flattens space.
    """
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise InputError(
            f"'{node.GetName()}' lies under the transform '{transform.GetName()}', which is not linear: the CT's voxels are on no "
            "regular grid in space. Harden the transform (Transforms module, or right-click on the volume in the Data module)."
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    to_world: np.ndarray = slicer.util.arrayFromVTKMatrix(matrix)
    if not np.isfinite(to_world).all() or abs(np.linalg.det(to_world)) < SMALLEST_DETERMINANT:
        raise InputError(
            f"'{node.GetName()}' lies under the transform '{transform.GetName()}', which flattens space: its matrix has no inverse. "
            "Repair the matrix, or take the volume out of the transform."
        )
    return to_world


def _require_scalar_volume(node: slicer.vtkMRMLNode | None) -> str:
    """The node's name, when the node can hold a CT."""
    if node is None:
        raise InputError("No volume is selected. Load a chest CT and choose it.")
    name: str = node.GetName() or node.GetID()
    kind = next((words for cls, words in REFUSED_CLASSES.items() if node.IsA(cls)), None)
    if kind is None and not node.IsA("vtkMRMLScalarVolumeNode"):
        kind = f"a {node.GetNodeTagName()} node"
    if kind is not None:
        raise InputError(
            f"'{name}' is {kind}; Hounsfield units are needed. Choose the CT, which is a plain scalar volume."
        )
    return name


def _local_ijk_to_ras(volume_node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    ijk_to_ras: np.ndarray = slicer.util.arrayFromVTKMatrix(matrix)
    image = volume_node.GetImageData()
    # A part cut out of an image by the toolkit keeps the numbers of its voxels, while arrays begin at 0.
    return ijk_to_ras if image is None else shifted(ijk_to_ras, np.array(image.GetExtent()[::2]))


def _source(volume_node: slicer.vtkMRMLScalarVolumeNode) -> dict[str, str]:
    """Where the volume came from, as far as the scene knows: its series, the transform it lies under, and what that distorts."""
    source = {}
    hierarchy, item = _hierarchy_item(volume_node)
    series_uid = hierarchy.GetItemUID(item, "DICOM") if item else ""
    if series_uid:
        source["series_uid"] = series_uid
    transform = volume_node.GetParentTransformNode()
    if transform is not None:
        source["transform"] = transform.GetName()
        warning = _distortion_warning(volume_node, transform)
        if warning:
            source["warning"] = warning
    return source


def _patient_id(volume_node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """PatientID of the DICOM patient that the volume is filed under; empty without one."""
    hierarchy, item = _hierarchy_item(volume_node)
    if not item:
        return ""
    words = slicer.vtkMRMLSubjectHierarchyConstants
    name, level = words.GetDICOMPatientIDAttributeName(), words.GetDICOMLevelPatient()
    return str(hierarchy.GetAttributeFromItemAncestor(item, name, level) or "")


def _hierarchy_item(volume_node: slicer.vtkMRMLScalarVolumeNode) -> tuple[slicer.vtkMRMLSubjectHierarchyNode, int]:
    """The subject hierarchy and the volume's item in it; 0 without one."""
    scene = volume_node.GetScene()
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode") if scene else None
    return hierarchy, int(hierarchy.GetItemByDataNode(volume_node)) if hierarchy is not None else 0


def _distortion_warning(volume_node: slicer.vtkMRMLScalarVolumeNode, transform: slicer.vtkMRMLTransformNode) -> str:
    """What the transforms above a CT do to sizes and sides; empty when they only turn and shift."""
    linear = parent_to_world(volume_node)[:3, :3]
    stretches = np.linalg.svd(linear, compute_uv=False)
    volume_factor = float(np.linalg.det(linear))
    effects = []
    if volume_factor < 0:
        effects.append("mirrors it: left and right may be exchanged")
    if max(np.abs(stretches - 1.0).max(), abs(abs(volume_factor) - 1.0)) > RIGID_TOLERANCE:
        effects.append(
            f"changes lengths by a factor of {stretches.min():.3g} to {stretches.max():.3g} and volumes by {abs(volume_factor):.3g}: "
            "sizes are not those of the scan"
        )
    if not effects:
        return ""
    return (
        f"The transform '{transform.GetName()}' above '{volume_node.GetName()}' {' and '.join(effects)}. "
        "Take the CT out of the transform, unless this is meant."
    )
