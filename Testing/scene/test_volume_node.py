"""Volume nodes as CTVolume, and control points, on real MRML nodes."""

import numpy as np
import pytest
from helpers.slicer_scene import NODULE_RAS, add_transform, random_affine, slicer, synthetic_ct, vtk

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.patch import PatchSpec, extract_patch
from CLIPLungLib.scene.control_points import defined_point, defined_points, has_point, point_world_ras
from CLIPLungLib.scene.volume_node import ct_volume, world_ijk_to_ras


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


def volume_node(scene, array, class_name="vtkMRMLScalarVolumeNode"):
    node = scene.AddNewNodeByClass(class_name, "CT")
    slicer.util.updateVolumeFromArray(node, array)
    return node


def test_the_ct_shares_memory_with_the_node(scene):
    node = volume_node(scene, np.zeros((3, 4, 5), np.int16))
    ct = ct_volume(node)
    assert ct.hu.shape == (3, 4, 5)
    assert ct.hu.dtype == np.int16
    ct.hu[2, 1, 4] = -777
    assert node.GetImageData().GetScalarComponentAsDouble(4, 1, 2, 0) == -777.0
    node.GetImageData().SetScalarComponentFromDouble(0, 0, 0, 0, 55.0)
    assert ct.hu[0, 0, 0] == 55


def test_the_ct_lies_where_the_node_says(scene):
    node = volume_node(scene, np.zeros((3, 4, 5), np.int16))
    node.SetSpacing(0.7, 0.8, 2.5)
    node.SetOrigin(10.0, -20.0, 30.0)
    node.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    np.testing.assert_allclose(ct_volume(node).to_ras(np.array([1, 2, 2])), [9.3, -21.6, 35.0], atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_transforms_above_the_node_are_composed(scene, seed):
    node = volume_node(scene, np.zeros((3, 4, 5), np.int16))
    local, inner, outer = (random_affine(10 * seed + n) for n in range(3))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(local))
    above = add_transform(scene, inner, parent=add_transform(scene, outer))
    node.SetAndObserveTransformNodeID(above.GetID())
    np.testing.assert_allclose(ct_volume(node).ijk_to_ras, outer @ inner @ local, atol=1e-9)
    assert ct_volume(node).source["transform"] == "turned"


def test_a_patch_around_a_point_is_the_same_with_and_without_transforms(scene):
    ct = synthetic_ct()
    node = volume_node(scene, ct.hu)
    shift = np.eye(4)
    shift[:3, 3] = (12.0, -7.0, 40.0)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.linalg.inv(shift) @ ct.ijk_to_ras))
    node.SetAndObserveTransformNodeID(add_transform(scene, shift).GetID())
    spec = PatchSpec(shape=(5, 8, 8))
    expected = extract_patch(ct, np.array(NODULE_RAS), spec)
    np.testing.assert_allclose(extract_patch(ct_volume(node), np.array(NODULE_RAS), spec).hu, expected.hu, atol=1e-3)


@pytest.mark.parametrize("above", ["vtkMRMLBSplineTransformNode", "linear under vtkMRMLGridTransformNode"])
def test_a_transform_that_is_not_linear_is_refused_with_a_remedy(scene, above):
    node = volume_node(scene, np.zeros((3, 4, 5), np.int16))
    transform = scene.AddNewNodeByClass(above.split()[-1], "bent")
    if above.startswith("linear"):
        transform = add_transform(scene, np.eye(4), parent=transform)
    node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match=r"'CT'.*not linear.*[Hh]arden"):
        ct_volume(node)


def test_a_transform_that_flattens_space_is_refused(scene):
    node = volume_node(scene, np.zeros((3, 4, 5), np.int16))
    node.SetAndObserveTransformNodeID(add_transform(scene, np.diag([1.0, 1.0, 0.0, 1.0])).GetID())
    with pytest.raises(InputError, match="flattens space"):
        ct_volume(node)


def test_what_cannot_be_a_ct_is_refused(scene):
    array = np.zeros((3, 4, 5), np.uint8)
    with pytest.raises(InputError, match="label map"):
        ct_volume(volume_node(scene, array, "vtkMRMLLabelMapVolumeNode"))
    with pytest.raises(InputError, match="colour"):
        ct_volume(volume_node(scene, np.zeros((3, 4, 5, 3), np.uint8), "vtkMRMLVectorVolumeNode"))
    photograph = volume_node(scene, array)
    photograph.GetImageData().AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    with pytest.raises(InputError, match="3 values per voxel"):
        ct_volume(photograph)
    with pytest.raises(InputError, match="holds no voxels"):
        ct_volume(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT"))
    with pytest.raises(InputError, match="Model"):
        ct_volume(scene.AddNewNodeByClass("vtkMRMLModelNode", "lung"))
    with pytest.raises(InputError, match="No volume is selected"):
        ct_volume(None)


def test_the_series_uid_of_the_subject_hierarchy_is_kept(scene):
    node = volume_node(scene, np.zeros((3, 4, 5), np.int16))
    assert "series_uid" not in ct_volume(node).source
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.SetItemUID(hierarchy.CreateItem(hierarchy.GetSceneItemID(), node), "DICOM", "1.2.3")
    assert ct_volume(node).source["series_uid"] == "1.2.3"


def test_the_patient_of_the_subject_hierarchy_is_known_and_told_nowhere(scene):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    node = volume_node(scene, np.zeros((3, 4, 5), np.int16))
    assert ct_volume(node).patient_id == ""
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "somebody")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientID", "P-17")
    hierarchy.CreateItem(hierarchy.CreateStudyItem(patient, "study"), node)
    assert ct_volume(node).patient_id == "P-17"
    assert "P-17" not in str(ct_volume(node).source)


def test_a_part_that_the_toolkit_cut_out_lies_where_it_was(scene):
    node, part = volume_node(scene, np.arange(60, dtype=np.int16).reshape(3, 4, 5)), vtk.vtkExtractVOI()
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(random_affine(3)))
    part.SetInputData(node.GetImageData())
    part.SetVOI(2, 3, 1, 2, 1, 2)
    part.Update()
    cut = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "part")
    cut.CopyOrientation(node)
    cut.SetAndObserveImageData(part.GetOutput())
    whole, found = ct_volume(node), ct_volume(cut)
    np.testing.assert_allclose(found.to_ras(np.zeros(3)), whole.to_ras(np.array([2, 1, 1])))
    np.testing.assert_array_equal(found.hu, whole.hu[1:3, 1:3, 2:4])
    np.testing.assert_allclose(world_ijk_to_ras(cut), found.ijk_to_ras)


def test_only_placed_points_count(scene):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodules")
    for label in ("a", "b", "c", "d"):
        node.AddControlPoint([1.0, 2.0, 3.0], label)
    node.SetNthControlPointPosition(1, 4.0, 5.0, 6.0, slicer.vtkMRMLMarkupsNode.PositionPreview)
    node.UnsetNthControlPointPosition(2)
    assert [(point.id, point.label) for point in defined_points(node)] == [("1", "a"), ("4", "d")]
    with pytest.raises(InputError, match=r"'b'.*no position yet"):
        defined_point(node, "2")
    assert has_point(node, "3")


def test_points_are_known_by_id_after_one_was_removed(scene):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodules")
    for number in range(3):
        node.AddControlPoint([float(number), 0.0, 0.0], f"N-{number}")
    node.RemoveNthControlPoint(0)
    np.testing.assert_array_equal(point_world_ras(node, "3"), [2.0, 0.0, 0.0])
    assert not has_point(node, "1")
    with pytest.raises(InputError, match="no control point with the ID '1'"):
        point_world_ras(node, "1")


def test_points_come_in_world_space(scene):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodules")
    node.AddControlPoint([1.0, 2.0, 3.0], "a")
    matrix = random_affine(3)
    node.SetAndObserveTransformNodeID(add_transform(scene, matrix).GetID())
    np.testing.assert_allclose(point_world_ras(node, "1"), (matrix @ [1, 2, 3, 1])[:3], atol=1e-9)


def affine(*, scale=(1.0, 1.0, 1.0), angle=0.0) -> np.ndarray:
    """(4, 4): stretched, turned about the long axis, shifted."""
    matrix = np.eye(4)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix[:3, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]]) @ np.diag(scale)
    matrix[:3, 3] = (5.0, -6.0, 7.0)
    return matrix


def warning_under(scene, *matrices) -> str:
    """What is said of a CT under these transforms, the outermost first."""
    above = None
    for matrix in matrices:
        above = add_transform(scene, matrix, parent=above)
    node = volume_node(scene, np.zeros((3, 4, 5), np.int16))
    node.SetAndObserveTransformNodeID(above.GetID() if above else None)
    return ct_volume(node).source.get("warning", "")


@pytest.mark.parametrize(
    "matrices",
    [
        (),
        (affine(),),
        (affine(angle=0.7),),
        (affine(scale=(1.003, 0.997, 1.002), angle=0.1),),
        (affine(scale=(2, 2, 2)), affine(scale=(0.5, 0.5, 0.5), angle=1.0)),
        (affine(scale=(-1, 1, 1)), affine(scale=(-1, 1, 1))),
    ],
    ids=["none", "shifted", "turned", "rounded", "stretched and back", "mirrored and back"],
)
def test_a_transform_that_only_turns_and_shifts_is_no_matter(scene, matrices):
    assert warning_under(scene, *matrices) == ""


@pytest.mark.parametrize(
    ("matrices", "said"),
    [
        ((affine(scale=(1.1, 1.1, 1.1)),), ("factor of 1.1 to 1.1", "volumes by 1.33", "sizes")),
        ((affine(scale=(0.1, 0.1, 0.1), angle=0.3),), ("factor of 0.1 to 0.1", "0.001")),
        ((affine(scale=(2, 0.5, 1)),), ("factor of 0.5 to 2", "volumes by 1:")),
        ((affine(scale=(1.008, 1.008, 1.008)),), ("volumes by 1.02",)),
        ((affine(scale=(-1, 1, 1)),), ("mirrors", "left and right")),
        ((affine(scale=(-1, 1, 1.5), angle=2.0),), ("mirrors", "factor of 1 to 1.5")),
        ((affine(scale=(1.5, 1, 1)), affine()), ("factor of 1 to 1.5",)),
    ],
    ids=["grown", "centimetres", "squeezed", "a little each way", "mirrored", "both", "from further above"],
)
def test_a_transform_that_stretches_or_mirrors_is_named_with_its_factor(scene, matrices, said):
    warning = warning_under(scene, *matrices)
    assert "'turned'" in warning
    for part in said:
        assert part in warning
    assert ("mirrors" in warning) == ("mirrors" in said)


def test_a_left_handed_ct_without_transform_is_no_matter(scene):
    node = volume_node(scene, np.zeros((3, 4, 5), np.int16))
    node.SetIJKToRASDirections(-1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert "warning" not in ct_volume(node).source
