"""The module's parameters, saved with the scene beside the results themselves."""

from typing import Annotated

from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from CLIPLungLib.inference.heat_threshold import HEAT_THRESHOLD


@parameterNodeWrapper
class CLIPLungParameterNode:
    """What the panel is set to.

    ct - the chest CT.
    points - one control point per nodule.
    selected - ID of the selected one.
    showOverlay, opacity, threshold, showLegend - how the heat map is drawn.
    """

    ct: vtkMRMLScalarVolumeNode
    points: vtkMRMLMarkupsFiducialNode
    selected: str = ""
    showOverlay: bool = True
    opacity: Annotated[float, WithinRange(0, 1)] = 0.5
    threshold: Annotated[float, WithinRange(0, 1)] = HEAT_THRESHOLD
    showLegend: bool = False
