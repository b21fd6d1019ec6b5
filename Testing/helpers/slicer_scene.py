"""What the scene tests share: slicer-core, a small synthetic CT, a made-up result.

Importing this file skips the importing test file, with the reason, where slicer-core is not installed.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache

import numpy as np
import pytest

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.inference.result import AttributeResult, NoduleResult
from CLIPLungLib.vocabulary import ATTRIBUTES

NODULE_RAS = (-32.0, 14.0, -120.0)
OTHER_RAS = (30.0, -10.0, -100.0)
NODULE_RADIUS_MM = 7.0
SPEC = PatchSpec(shape=(25, 64, 64), spacing_mm=(2.0, 0.75, 0.75))


def _slicer_core_or_skip():
    if importlib.util.find_spec("slicer") is None:
        pytest.skip("slicer-core is not installed (pip install slicer-core)", allow_module_level=True)
    module = importlib.import_module("slicer")
    if not hasattr(module, "vtkMRMLScene"):
        pytest.skip("the package 'slicer' found is not slicer-core but one that shap brings", allow_module_level=True)
    return module


slicer = _slicer_core_or_skip()
vtk = importlib.import_module("vtk")


def require_rendering() -> None:
    """Skip a whole test file where VTK cannot draw off screen."""
    from CLIPLungLib.demo.offscreen_views import rendering_problem

    problem = rendering_problem()
    if problem:
        pytest.skip(problem, allow_module_level=True)


@cache
def synthetic_ct(name: str = "CT") -> CTVolume:
    """A body with two lungs, some vessels and a nodule at NODULE_RAS; oblique, 1.5 x 1.5 x 2.5 mm, 128 x 96 x 40 voxels."""
    angle = np.radians(8.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag([-1.5, -1.5, 2.5])
    matrix[:3, 3] = np.array([0.0, 0.0, -110.0]) - matrix[:3, :3] @ [63.5, 47.5, 19.5]
    ct = CTVolume(np.full((40, 96, 128), -1000, np.int16), matrix, name)
    k, j, i = np.indices(ct.hu.shape)
    ras = ct.to_ras(np.stack([i, j, k], axis=-1))
    ct.hu[_ellipse(ras, (0, 0), (86, 62))] = 30
    for side in (-1, 1):
        ct.hu[_ellipse(ras, (side * 40, 2), (34, 48))] = -850
        for r, a in ((22, 30), (48, -6), (30, -28)):
            ct.hu[_ellipse(ras, (side * r, a), (3, 3))] = 0
    ct.hu[np.linalg.norm(ras - NODULE_RAS, axis=-1) < NODULE_RADIUS_MM] = 20
    ct.hu[:] += np.random.default_rng(0).normal(0, 15, ct.hu.shape).astype(np.int16)
    return ct


def fake_result(point_ras=NODULE_RAS, probability: float = 0.82, sigma_mm: float = 6.0) -> NoduleResult:
    """A result nobody computed: a gaussian of relevance around the point, on the grid of a patch."""
    heatmap_to_ras = SPEC.grid_to_ras(np.asarray(point_ras))
    k, j, i = np.indices(SPEC.shape)
    grid = CTVolume(np.zeros(SPEC.shape, np.float32), heatmap_to_ras)
    distance_mm = np.linalg.norm(grid.to_ras(np.stack([i, j, k], axis=-1)) - point_ras, axis=-1)
    return NoduleResult(
        point_ras=tuple(float(value) for value in point_ras),
        malignancy_probability=probability,
        class_probabilities=(0.1, 0.2, 0.7),
        diameter_mm=13.96,
        attributes=tuple(_fake_sign(attribute) for attribute in ATTRIBUTES),
        heatmap=np.exp(-((distance_mm / sigma_mm) ** 2) / 2).astype(np.float32),
        heatmap_to_ras=heatmap_to_ras,
        warnings=('Thick "slices":\t2.5 mm',),
        model={"name": "fake", "version": "1.2.3", "sha256": "ab" * 32},
        image={"name": "CT", "note": "t\u00e4st <&;>"},
    )


def keep_hierarchy(scene) -> object:
    """Give every node its subject hierarchy item and take it away, as the application does. Returns the hierarchy node."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def add_item(_scene, _event, node):
        if not node.GetHideFromEditors() and not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def remove_item(_scene, _event, node):
        if hierarchy.GetItemByDataNode(node):
            hierarchy.RemoveItem(hierarchy.GetItemByDataNode(node), False, False)

    for node in list(scene.GetNodes()):
        if node.IsA("vtkMRMLVolumeNode") or node.IsA("vtkMRMLMarkupsNode"):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, add_item)
    scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, remove_item)
    return hierarchy


def random_affine(seed: int) -> np.ndarray:
    """(4, 4): turned, stretched, sheared, sometimes mirrored, shifted by up to 200 mm."""
    random = np.random.default_rng(seed)
    matrix = np.eye(4)
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    matrix[:3, :3] = turn @ np.diag(random.uniform(0.5, 2.0, 3)) + random.uniform(-0.1, 0.1, (3, 3))
    matrix[:3, 3] = random.uniform(-200, 200, 3)
    return matrix


def add_transform(scene, matrix: np.ndarray, parent=None):
    """A linear transform node, under another one when given."""
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "turned")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(parent.GetID() if parent else None)
    return node


def _ellipse(ras: np.ndarray, center: tuple, radii: tuple) -> np.ndarray:
    return (((ras[..., :2] - center) / radii) ** 2).sum(axis=-1) < 1


def _fake_sign(attribute) -> AttributeResult:
    count = len(attribute.levels)
    return AttributeResult(
        attribute.name, 0.123456, count - 0.5, (0.0,) * (count - 2) + (0.5, 0.5), attribute.levels[-1]
    )
