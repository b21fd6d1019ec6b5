"""The heat map's colours as a colour table node: dark red to warm white, the same as in the report."""

from __future__ import annotations

import numpy as np
import slicer

from CLIPLungLib.report.palette import heat_rgb
from CLIPLungLib.scene.tagged_nodes import add_tagged, all_tagged

NAME = "CLIPLung relevance"
KIND = "colors"
NUMBER_OF_COLORS = 256


def relevance_colors(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """The scene's colour table for relevance 0..1; made when there is none, filled again when it was emptied.

    All colours are opaque: slice views ignore a colour table's alpha, only the display node's threshold hides low values.
    """
    nodes = all_tagged(scene, KIND)
    if nodes and nodes[0].GetNumberOfColors() == NUMBER_OF_COLORS:
        return nodes[0]
    node = nodes[0] if nodes else add_tagged(scene, "vtkMRMLColorTableNode", NAME, KIND)
    node.SetAttribute("Category", "CLIPLung")
    with slicer.util.NodeModify(node):
        node.SetTypeToUser()
        node.SetNumberOfColors(NUMBER_OF_COLORS)
        relevance = np.linspace(0.0, 1.0, NUMBER_OF_COLORS)
        for index, (value, rgb) in enumerate(zip(relevance, heat_rgb(relevance), strict=True)):
            node.SetColor(index, f"{value:.3f}", *rgb, 1.0)
    return node
