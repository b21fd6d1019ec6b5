"""The heat map over the CT: place, colours, layers. On real MRML nodes; the blended layers need no OpenGL."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.slicer_scene import NODULE_RAS, OTHER_RAS, add_transform, fake_result, random_affine, slicer, vtk
from vtk.util.numpy_support import vtk_to_numpy

from CLIPLungLib.errors import InputError
from CLIPLungLib.scene import color_legend, slice_layers
from CLIPLungLib.scene.colors import relevance_colors
from CLIPLungLib.scene.control_points import defined_point
from CLIPLungLib.scene.heatmap_node import find_overlay, update_overlay


def voxel_world_ras(node, ijk) -> np.ndarray:
    """Where Slicer itself puts a voxel centre: by the node's matrix and then its transforms, point by point."""
    transform, local = vtk.vtkGeneralTransform(), vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, transform)
    node.GetIJKToRASMatrix(local)
    return np.array(transform.TransformPoint(local.MultiplyPoint([*map(float, ijk), 1.0])[:3]))


@pytest.mark.parametrize("seed", range(8))
def test_every_voxel_lies_where_the_heat_map_says_whatever_transforms_the_ct_is_under(app, ct_node, points, seed):
    above = add_transform(app.scene, random_affine(seed), parent=add_transform(app.scene, random_affine(seed + 100)))
    ct_node.SetAndObserveTransformNodeID(above.GetID())
    heatmap_to_ras = random_affine(seed + 200)
    result = replace(fake_result(), heatmap_to_ras=heatmap_to_ras)
    node = update_overlay(ct_node, points, defined_point(points, "1"), result)
    assert node.GetTransformNodeID() == above.GetID()
    for ijk in [(0, 0, 0), (63, 63, 24), (63, 0, 24), (31, 17, 5)]:
        np.testing.assert_allclose(voxel_world_ras(node, ijk), (heatmap_to_ras @ [*ijk, 1])[:3], atol=1e-6)


def test_the_heat_map_keeps_its_values_and_is_independent_of_the_result(ct_node, points):
    result = fake_result()
    expected = result.heatmap.copy()
    node = update_overlay(ct_node, points, defined_point(points, "1"), result)
    result.heatmap[:] = 0
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), expected)
    assert slicer.util.arrayFromVolume(node).dtype == np.float32


def test_display_is_fixed_to_relevance_with_low_values_transparent(ct_node, points):
    node = update_overlay(ct_node, points, defined_point(points, "1"), fake_result())
    display = node.GetScalarVolumeDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 1.0)
    assert not display.GetAutoWindowLevel()
    assert display.GetApplyThreshold()
    assert not display.GetAutoThreshold()
    assert display.GetLowerThreshold() == 0.25
    assert display.GetUpperThreshold() > 1e6
    assert display.GetInterpolate()
    assert display.GetColorNode() is relevance_colors(node.GetScene())
    assert node.GetName() == "CT N-1 relevance"


def test_running_again_updates_the_points_own_volume_and_keeps_the_users_display(app, ct_node, points):
    first, second = defined_point(points, "1"), defined_point(points, "2")
    node = update_overlay(ct_node, points, first, fake_result())
    other = update_overlay(ct_node, points, second, fake_result(OTHER_RAS))
    node.GetScalarVolumeDisplayNode().SetLowerThreshold(0.6)
    count = app.scene.GetNumberOfNodes()
    again = update_overlay(ct_node, points, first, replace(fake_result(), heatmap=np.full((4, 5, 6), 0.3)))
    assert again is node
    assert app.scene.GetNumberOfNodes() == count
    assert slicer.util.arrayFromVolume(node).shape == (4, 5, 6)
    assert slicer.util.arrayFromVolume(other).shape == fake_result().heatmap.shape
    assert node.GetScalarVolumeDisplayNode().GetLowerThreshold() == 0.6


def test_the_name_follows_the_label_and_stays_unique(app, ct_node, points):
    node = update_overlay(ct_node, points, defined_point(points, "1"), fake_result())
    twins = app.add_points("Twins", [("N-1", NODULE_RAS)])
    twin = update_overlay(ct_node, twins, defined_point(twins, "1"), fake_result())
    assert twin is not node
    assert twin.GetName() == "CT N-1 relevance_1"
    update_overlay(ct_node, twins, defined_point(twins, "1"), fake_result())
    assert twin.GetName() == "CT N-1 relevance_1"
    twins.SetNthControlPointLabel(0, "big one")
    update_overlay(ct_node, twins, defined_point(twins, "1"), fake_result())
    assert twin.GetName() == "CT big one relevance"


def test_a_users_copy_of_a_heat_map_is_theirs(app, ct_node, points):
    node = update_overlay(ct_node, points, defined_point(points, "1"), fake_result())
    copy = slicer.vtkSlicerVolumesLogic.CloneVolume(app.scene, node, "kept")
    app.scene.RemoveNode(node)
    assert find_overlay(points, "1") is None
    assert update_overlay(ct_node, points, defined_point(points, "1"), fake_result()) is not copy


def test_a_bent_ct_leaves_the_scene_as_it_was(app, ct_node, points):
    ct_node.SetAndObserveTransformNodeID(app.scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode").GetID())
    count = app.scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="not linear"):
        update_overlay(ct_node, points, defined_point(points, "1"), fake_result())
    assert app.scene.GetNumberOfNodes() == count


def test_colors_rise_in_lightness_from_dark_red_to_warm_white(app):
    colors = relevance_colors(app.scene)
    rgb = np.array([colors.GetLookupTable().GetTableValue(index) for index in range(256)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear[:, :3] @ [0.2126, 0.7152, 0.0722]
    lightness = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)
    # Eight bits a channel make single steps equal.
    assert (np.diff(lightness) >= 0).all()
    assert (lightness[2:] > lightness[:-2]).all()
    assert lightness[0] < 20
    assert lightness[-1] > 90
    assert (rgb[:, 3] == 1).all()
    red, green, blue = rgb[64, :3]
    assert red > 5 * max(green, blue)


def test_colors_are_made_once_found_under_any_name_and_filled_again(app):
    colors = relevance_colors(app.scene)
    colors.SetName("something else")
    assert relevance_colors(app.scene) is colors
    colors.SetNumberOfColors(3)
    assert relevance_colors(app.scene) is colors
    assert colors.GetNumberOfColors() == 256


def test_every_slice_view_gets_both_layers_and_keeps_its_linking(app, ct_node, points):
    node = update_overlay(ct_node, points, defined_point(points, "1"), fake_result())
    composites = [logic.GetSliceCompositeNode() for logic in app.slice_logics.values()]
    composites[0].SetLinkedControl(1)
    composites[1].SetLinkedControl(0)
    slice_layers.show_overlay(app.scene, ct_node, node, 0.35)
    assert len(composites) == 3
    for composite in composites:
        assert composite.GetBackgroundVolumeID() == ct_node.GetID()
        assert composite.GetForegroundVolumeID() == node.GetID()
        assert composite.GetForegroundOpacity() == 0.35
    assert [composite.GetLinkedControl() for composite in composites[:2]] == [1, 0]
    slice_layers.show_overlay(app.scene, ct_node, None)
    assert not any(composite.GetForegroundVolumeID() for composite in composites)


def test_legends_are_told_of_a_change_of_layers(app, ct_node, points):
    node = update_overlay(ct_node, points, defined_point(points, "1"), fake_result())
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    before = legend.GetMTime()
    slice_layers.show_overlay(app.scene, ct_node, node)
    assert legend.GetMTime() > before


def test_jumping_centres_every_slice_view_on_the_point(app, ct_node):
    slice_layers.jump_slices(app.scene, np.array([11.0, -22.0, -133.0]))
    for logic in app.slice_logics.values():
        slice_to_ras = slicer.util.arrayFromVTKMatrix(logic.GetSliceNode().GetSliceToRAS())
        np.testing.assert_allclose(slice_to_ras[:3, 3], [11.0, -22.0, -133.0], atol=1e-9)


def test_one_slice_view_can_be_centred_alone(app, ct_node):
    slice_layers.jump_slices(app.scene, np.array([1.0, 2.0, 3.0]))
    red, *others = app.slice_logics.values()
    slice_layers.jump_slice(red.GetSliceNode(), np.array([11.0, -22.0, -133.0]))
    assert [red.GetSliceNode().GetSliceToRAS().GetElement(row, 3) for row in range(3)] == [11.0, -22.0, -133.0]
    for logic in others:
        assert [logic.GetSliceNode().GetSliceToRAS().GetElement(row, 3) for row in range(3)] == [1.0, 2.0, 3.0]


def test_the_legend_is_small_and_tells_quarters_apart(ct_node, points):
    node = update_overlay(ct_node, points, defined_point(points, "1"), fake_result())
    logic = slicer.vtkSlicerColorLogic
    color_legend.show_legend(node, False)
    assert logic.GetColorLegendDisplayNode(node) is None
    color_legend.show_legend(node, True)
    legend = logic.GetColorLegendDisplayNode(node)
    values = np.linspace(0, 1, legend.GetNumberOfLabels())
    assert [legend.GetLabelFormat() % value for value in values] == ["0.00", "0.25", "0.50", "0.75", "1.00"]
    assert max(legend.GetSize()) < 0.5
    assert max(p.GetFontSize() for p in (legend.GetLabelTextProperty(), legend.GetTitleTextProperty())) <= 12
    assert legend.GetVisibility()
    legend.SetSize(0.2, 0.2)
    color_legend.show_legend(node, False)
    assert not legend.GetVisibility()
    color_legend.show_legend(node, True)
    assert logic.GetColorLegendDisplayNode(node) is legend
    assert legend.GetSize() == (0.2, 0.2)


def test_blended_layers_are_coloured_at_the_nodule_and_grey_elsewhere(app, ct_node, points):
    node = update_overlay(ct_node, points, defined_point(points, "1"), fake_result())
    slice_layers.show_overlay(app.scene, ct_node, node)
    slice_layers.jump_slices(app.scene, NODULE_RAS)
    for logic in app.slice_logics.values():
        logic.ResizeSliceNode(300, 300)
        producer = logic.GetImageDataConnection().GetProducer()
        producer.Update()
        image = producer.GetOutputDataObject(0)
        rgb = vtk_to_numpy(image.GetPointData().GetScalars())
        rgb = rgb.reshape(300, 300, -1)[..., :3].astype(int)
        ras_to_xy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(logic.GetSliceNode().GetXYToRAS()))
        x, y = np.rint((ras_to_xy @ [*NODULE_RAS, 1])[:2]).astype(int)
        assert rgb[y, x, 0] - rgb[y, x, 2] > 30
        colored = np.argwhere(np.ptp(rgb, axis=-1) > 10)
        mm_per_pixel = np.linalg.norm(np.linalg.inv(ras_to_xy)[:3, 0])
        # exp(-d^2 / (2 * 6^2)) falls to the threshold of 0.25 at d = 9.99 mm.
        reach_mm = np.linalg.norm(colored - [y, x], axis=1).max() * mm_per_pixel
        assert 8.5 < reach_mm < 11.5
