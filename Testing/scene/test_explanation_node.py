"""Further heat maps of a nodule as nodes: where they lie, which is found, and when they go."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import slicer_scene

from CLIPLungLib.errors import InputError
from CLIPLungLib.scene import explanation_node
from CLIPLungLib.scene.control_points import defined_points
from CLIPLungLib.scene.result_store import remove_orphans, store_result
from CLIPLungLib.scene.tagged_nodes import all_tagged
from CLIPLungLib.scene.volume_node import world_ijk_to_ras

slicer = slicer_scene.slicer


def add(ct_node, points, name, value=0.5):
    result, point = slicer_scene.fake_result(), defined_points(points)[0]
    heat = np.full_like(result.heatmap, value)
    return explanation_node.update_explanation(ct_node, points, point, name, heat, result.heatmap_to_ras)


def test_map_lies_where_the_answers_map_lies_under_the_cts_transform(ct_node, points):
    transform = ct_node.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = (5.0, -7.0, 11.0)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    ct_node.SetAndObserveTransformNodeID(transform.GetID())
    node = add(ct_node, points, "texture")
    np.testing.assert_allclose(world_ijk_to_ras(node), slicer_scene.fake_result().heatmap_to_ras, atol=1e-6)
    assert slicer.util.arrayFromVolume(node).max() == 0.5
    assert node.GetDisplayNode().GetLowerThreshold() == 0.25


def test_a_name_has_one_map_and_names_do_not_share_one(ct_node, points):
    first, second = add(ct_node, points, "texture", 0.2), add(ct_node, points, "margin", 0.3)
    assert add(ct_node, points, "texture", 0.8) is first
    point_id = defined_points(points)[0].id
    assert explanation_node.find_explanation(points, point_id, "texture") is first
    assert explanation_node.find_explanation(points, point_id, "margin") is second
    assert explanation_node.find_explanation(points, point_id, "lobulation") is None
    assert explanation_node.find_explanation(points, defined_points(points)[1].id, "texture") is None
    assert slicer.util.arrayFromVolume(first).max() == pytest.approx(0.8)


def test_new_answer_takes_the_maps_of_the_old_one_away(ct_node, points):
    scene, point_id = ct_node.GetScene(), defined_points(points)[0].id
    store_result(ct_node, points, point_id, slicer_scene.fake_result())
    add(ct_node, points, "texture")
    store_result(ct_node, points, point_id, slicer_scene.fake_result())
    assert all_tagged(scene, explanation_node.KIND) == []


@pytest.mark.parametrize("what", ["point", "list"])
def test_maps_of_what_is_gone_go_too(ct_node, points, what):
    scene = ct_node.GetScene()
    add(ct_node, points, "texture")
    points.RemoveNthControlPoint(0) if what == "point" else scene.RemoveNode(points)
    remove_orphans(scene)
    assert all_tagged(scene, explanation_node.KIND) == []


def test_transform_that_is_not_linear_is_refused_and_leaves_nothing(ct_node, points):
    scene = ct_node.GetScene()
    ct_node.SetAndObserveTransformNodeID(scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode").GetID())
    warp = ct_node.GetParentTransformNode()
    import vtk

    spline = vtk.vtkThinPlateSplineTransform()
    warp.SetAndObserveTransformToParent(spline)
    with pytest.raises(InputError, match="not linear"):
        add(ct_node, points, "texture")
    assert all_tagged(scene, explanation_node.KIND) == []
