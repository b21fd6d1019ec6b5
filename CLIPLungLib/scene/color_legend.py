"""What the heat map's colours mean, as a legend in the slice views."""

from __future__ import annotations

import slicer

TITLE = "Relevance"
# 0.00 0.25 0.50 0.75 1.00
NUMBER_OF_LABELS, LABEL_FORMAT = 5, "%.2f"
# Share of the view's width and height.
SIZE = (0.06, 0.35)
LABEL_FONT_SIZE, TITLE_FONT_SIZE = 11, 12


def show_legend(heatmap_node: slicer.vtkMRMLScalarVolumeNode, is_visible: bool) -> None:
    """Show or hide the legend of a heat map; made when it is first shown, and then left as a user sets it."""
    logic = slicer.vtkSlicerColorLogic
    legend = logic.GetColorLegendDisplayNode(heatmap_node)
    if legend is None and is_visible:
        legend = logic.AddDefaultColorLegendDisplayNode(heatmap_node)
        with slicer.util.NodeModify(legend):
            legend.SetTitleText(TITLE)
            legend.SetLabelFormat(LABEL_FORMAT)
            legend.SetNumberOfLabels(NUMBER_OF_LABELS)
            legend.SetSize(*SIZE)
            legend.GetLabelTextProperty().SetFontSize(LABEL_FONT_SIZE)
            legend.GetTitleTextProperty().SetFontSize(TITLE_FONT_SIZE)
    if legend is not None:
        legend.SetVisibility(is_visible)
