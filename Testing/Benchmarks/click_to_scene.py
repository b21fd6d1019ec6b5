"""A click on a nodule until it stands in the scene, against one bare forward and backward pass of the same network on the same patch.

Warm: model, CT and scene are there. The scene is MRML on slicer-core; no window draws it.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing"), str(Path(__file__).parent)]

import numpy as np
from helpers.made_up_ct import ball_points, made_up_ct
from interleaved import Goal, figure, limit_ms, timed_in_turns

SHAPE = (200, 512, 512)
PATCH_LIMIT_MS = 5.0


def measured(rounds: int, threads: int) -> list[dict[str, Any]]:
    """The click, the cut of its patch, and that cut point by point."""
    from CLIPLungLib.image.patch import extract_patch
    from CLIPLungLib.image.resample import grid_coordinates, sample_hu
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.readout import network_inputs

    classifier = NoduleClassifier.load(None, "cpu")
    ct, point = made_up_ct(SHAPE), np.array(ball_points(SHAPE)[5])
    spec = classifier.checkpoint.patch
    planes, exists = network_inputs([extract_patch(ct, point, spec)], classifier.checkpoint, classifier.device)
    network = copy.deepcopy(classifier.checkpoint.network).requires_grad_(True)

    def bare() -> None:
        network.zero_grad()
        network(planes, exists).malignancy_score.sum().backward()

    def point_by_point() -> None:
        places = grid_coordinates(ct, spec.grid_to_ras(point), spec.shape)
        sample_hu(ct, places)
        ct.contains_ijk(places)

    actions = {
        "bare": bare,
        "click": click_in_scene(ct, point, classifier),
        "classify": lambda: classifier.classify(ct, point),
        "patch": lambda: extract_patch(ct, point, spec),
        "points": point_by_point,
    }
    times = timed_in_turns(actions, rounds)
    bare_pass = "forward and backward pass of the bare network, with the gradients of all weights"
    return [
        figure("click to scene, warm", bare_pass, times["click"], times["bare"], Goal(1.2), threads),
        figure("of it, the answer alone", bare_pass, times["classify"], times["bare"], None, threads),
        limit_ms("cutting the patch", times["patch"], PATCH_LIMIT_MS, threads),
        figure("cutting the patch", "the same patch, point by point", times["patch"], times["points"], None, threads),
    ]


def click_in_scene(ct: Any, point: np.ndarray, classifier: Any) -> Any:
    """What happens from a control point to nodes in the scene."""
    from helpers.slicer_scene import slicer

    from CLIPLungLib.demo.slicer_core_host import StandaloneSlicer
    from CLIPLungLib.scene.result_store import store_result
    from CLIPLungLib.scene.volume_node import ct_volume

    host = StandaloneSlicer()
    slicer.mrmlScene = host.scene
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(node, ct.hu)
    matrix = slicer.util.vtkMatrixFromArray(ct.ijk_to_ras)
    node.SetIJKToRASMatrix(matrix)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodules")
    points.AddControlPointWorld([float(value) for value in point])
    point_id = points.GetNthControlPointID(0)

    def click(_keep: Any = host) -> None:
        store_result(node, points, point_id, classifier.classify(ct_volume(node), point))

    return click
