"""Bars of the eight attributes of one nodule as plot nodes. Each markups node has one chart; it shows one nodule at a time."""

from __future__ import annotations

import slicer
import vtk

from CLIPLungLib.calibration.truth import OUTCOME
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.scene.control_points import DefinedPoint
from CLIPLungLib.scene.tagged_nodes import POINT_ID, add_tagged, find_tagged, remove_with_parts
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASS_TITLES

KINDS = CHART, SERIES, TABLE = "chart", "chart series", "chart table"
BAR_COLOR = (0.85, 0.35, 0.13)
LOWEST_CODE = 1
HIGHEST_CODE = max(len(attribute.levels) for attribute in ATTRIBUTES)
NAMES_PER_LINE = 4
AXIS_TITLE_FONT_SIZE = 11
LABEL_FONT_SIZE = 12
TITLE_FONT_SIZE = 14


def update_chart(
    markups_node: slicer.vtkMRMLMarkupsNode, point: DefinedPoint, result: NoduleResult
) -> slicer.vtkMRMLPlotChartNode:
    """Show the attribute levels of a nodule in the markups node's chart, which is made when there is none.

    Bars stand at their expected rating: 1 to 5, internal structure to 4, calcification to 6.
    """
    table_node = _tagged(markups_node, "vtkMRMLTableNode", TABLE, "CLIPLung attribute levels")
    series_node = _tagged(markups_node, "vtkMRMLPlotSeriesNode", SERIES, "Level")
    chart_node = _tagged(markups_node, "vtkMRMLPlotChartNode", CHART, f"{markups_node.GetName()} CLIPLung attributes")
    _fill_table(table_node, result)
    _set_series(series_node, table_node)
    _set_chart(chart_node, series_node)
    chart_node.SetTitle(_title(point, result))
    chart_node.SetAttribute(POINT_ID, point.id)
    return chart_node


def update_title(markups_node: slicer.vtkMRMLMarkupsNode, point: DefinedPoint, result: NoduleResult) -> None:
    """Follow the label of the control point whose bars are shown; nothing happens when they are another's."""
    chart_node = find_tagged(CHART, markups_node, point.id)
    if chart_node is not None:
        chart_node.SetTitle(_title(point, result))


def _title(point: DefinedPoint, result: NoduleResult) -> str:
    by_outcome = result.truth.whose == OUTCOME
    looks = "malignant by outcome" if by_outcome else "suspicious"
    return f"{point.label}: {result.malignancy_probability:.0%} {looks}, {CLASS_TITLES[result.predicted_class]}"


def find_chart(markups_node: slicer.vtkMRMLMarkupsNode) -> slicer.vtkMRMLPlotChartNode | None:
    """The chart of a markups node, or None; its attribute `tagged_nodes.POINT_ID` says which nodule it shows."""
    return find_tagged(CHART, markups_node)


def chart_nodes(markups_node: slicer.vtkMRMLMarkupsNode) -> list[slicer.vtkMRMLNode]:
    """The chart of a markups node, its series and its table, as far as they exist."""
    nodes = [find_tagged(kind, markups_node) for kind in KINDS]
    return [node for node in nodes if node is not None]


def remove_chart(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> None:
    """Take the chart away when it shows this control point; otherwise nothing happens."""
    if find_tagged(CHART, markups_node, point_id) is None:
        return
    for node in chart_nodes(markups_node):
        remove_with_parts(node)


def _tagged(markups_node: slicer.vtkMRMLMarkupsNode, class_name: str, kind: str, name: str) -> slicer.vtkMRMLNode:
    node = find_tagged(kind, markups_node)
    return node or add_tagged(markups_node.GetScene(), class_name, name, kind, markups_node)


def _fill_table(node: slicer.vtkMRMLTableNode, result: NoduleResult) -> None:
    names, levels = vtk.vtkStringArray(), vtk.vtkDoubleArray()
    names.SetName("attribute")
    levels.SetName("level")
    titles = {attribute.name: attribute.title for attribute in ATTRIBUTES}
    for sign in result.attributes:
        names.InsertNextValue(titles[sign.name])
        levels.InsertNextValue(round(sign.level, 2))
    table = vtk.vtkTable()
    table.AddColumn(names)
    table.AddColumn(levels)
    with slicer.util.NodeModify(node):
        node.SetAndObserveTable(table)
        node.SetColumnTitle("attribute", "Attribute")
        node.SetColumnTitle("level", "Level")
        node.SetUseColumnTitleAsColumnHeader(True)
        node.SetLocked(True)


def _set_series(node: slicer.vtkMRMLPlotSeriesNode, table_node: slicer.vtkMRMLTableNode) -> None:
    with slicer.util.NodeModify(node):
        node.SetAndObserveTableNodeID(table_node.GetID())
        node.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeBar)
        node.SetYColumnName("level")
        node.SetLabelColumnName("attribute")
        node.SetColor(*BAR_COLOR)


def _set_chart(node: slicer.vtkMRMLPlotChartNode, series_node: slicer.vtkMRMLPlotSeriesNode) -> None:
    with slicer.util.NodeModify(node):
        if not node.HasPlotSeriesNodeID(series_node.GetID()):
            node.AddAndObservePlotSeriesNodeID(series_node.GetID())
        node.SetXAxisTitle(_names_by_number())
        node.SetYAxisTitle("Expected rating")
        node.SetXAxisRangeAuto(False)
        node.SetXAxisRange(-0.5, len(ATTRIBUTES) - 0.5)
        node.SetYAxisRangeAuto(False)
        node.SetYAxisRange(LOWEST_CODE, HIGHEST_CODE)
        node.SetLegendVisibility(False)
        node.SetTitleFontSize(TITLE_FONT_SIZE)
        node.SetAxisTitleFontSize(AXIS_TITLE_FONT_SIZE)
        node.SetAxisLabelFontSize(LABEL_FONT_SIZE)


def _names_by_number() -> str:
    """Which bar is which. Slicer writes bars' numbers, not their labels, on the axis, so its title names them."""
    names = [f"{index} {attribute.title.lower()}" for index, attribute in enumerate(ATTRIBUTES)]
    lines = [names[start : start + NAMES_PER_LINE] for start in range(0, len(names), NAMES_PER_LINE)]
    return "\n".join(",  ".join(line) for line in lines)
