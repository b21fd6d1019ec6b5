"""Which list of points clicks go to: it stays the same when this package makes lines and points of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import slicer


@contextmanager
def active_list_kept(scene: slicer.vtkMRMLScene) -> Iterator[None]:
    """Inside, markups nodes can be added: the Markups logic makes each new one the active list, and the next click would go there."""
    nodes = [node for node in scene.GetNodes() if node.IsA("vtkMRMLSelectionNode")]
    before = [(node, node.GetActivePlaceNodeClassName(), node.GetActivePlaceNodeID()) for node in nodes]
    try:
        yield
    finally:
        for node, class_name, node_id in before:
            if node.GetActivePlaceNodeID() != node_id:
                node.SetReferenceActivePlaceNodeClassName(class_name)
                node.SetActivePlaceNodeID(node_id)
