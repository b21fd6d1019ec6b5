"""The results table: one row per nodule of a markups node.

Numbers are rounded for the eye; the exact ones are in the stored result. A cell must not hold tabs, line breaks or
double quotes: the table's own file format would tear the row apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import slicer
import vtk

from CLIPLungLib.calibration.truth import truth_phrase
from CLIPLungLib.inference.result import NoduleMeasurement, NoduleResult
from CLIPLungLib.report.wording import class_title
from CLIPLungLib.scene.control_points import DefinedPoint
from CLIPLungLib.scene.tagged_nodes import add_tagged, find_tagged, remove_with_parts
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASS_TITLES, CLASSES

KIND = "table"
POINT_ID_COLUMN = "point_id"


class Column(NamedTuple):
    """A column of the table; `decimals` is None for text."""

    name: str
    title: str
    decimals: int | None = None
    unit: str = ""
    description: str = ""


COLUMNS = (
    Column("label", "Nodule", description="Label of the control point"),
    Column(POINT_ID_COLUMN, "Point", description="ID of the control point in its list"),
    Column("r", "R", 2, "mm", "Patient right, world space"),
    Column("a", "A", 2, "mm", "Patient anterior, world space"),
    Column("s", "S", 2, "mm", "Patient superior, world space"),
    Column(
        "malignancy_probability", "Probability", 3, "1",
        "Calibrated probability of the event in the column Truth: a mean malignancy rating above 3, or a malignant outcome",
    ),
    Column("predicted_class", "Class", description="The most probable class"),
    *(Column(f"p_{name}", f"P({CLASS_TITLES[name]})", 3, "1", f"Probability of the class {CLASS_TITLES[name]}") for name in CLASSES),
    Column("class_set", "Compatible with", description="Classes that hold the true one, by the column Truth, in 90 % of nodules"),
    Column("diameter_mm", "Diameter", 1, "mm", "Longest diameter in the axial plane"),
    Column("diameter_low_mm", "Diameter from", description="The interval holds the readers' diameter in 90 % of nodules, mm"),
    Column("diameter_high_mm", "Diameter to", description="The interval holds the readers' diameter in 90 % of nodules, mm"),
    Column("volume_mm3", "Volume", description="Volume of the outline, mm3"),
    *(
        Column(
            f"{attribute.name}_level", attribute.title, 2, "1",
            f"Expected rating, 1 ({attribute.poles[0]}) to {len(attribute.levels)} ({attribute.poles[1]})",
        )
        for attribute in ATTRIBUTES
    ),
    *(
        Column(
            f"{attribute.name}_similarity", f"{attribute.title} similarity", 3, "1",
            f"Cosine similarity to a nodule {attribute.levels[attribute.sign_level - 1]}",
        )
        for attribute in ATTRIBUTES
    ),
    Column("warnings", "Warnings", description="What to know before trusting the numbers"),
    Column("notes", "Notes", description="What was noticed when the image was read"),
    Column("truth", "Truth", description="The event of the probability: by LIDC-IDRI's readers, or by local readers or outcomes"),
    Column("ct", "CT", description="Name of the volume"),
    Column("model", "Model", description="Name of the model"),
    Column("model_version", "Model version", description="Version of the model"),
    Column("model_sha256", "Model SHA-256", description="Checksum of the weights"),
)  # fmt: skip


def update_table(
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    markups_node: slicer.vtkMRMLMarkupsNode,
    point: DefinedPoint,
    result: NoduleResult,
) -> slicer.vtkMRMLTableNode:
    """Write a nodule's row; the row of the same control point is overwritten, a new one goes to the end."""
    node = find_table(markups_node)
    if node is None:
        name = f"{markups_node.GetName()} CLIPLung results"
        node = add_tagged(markups_node.GetScene(), "vtkMRMLTableNode", name, KIND, markups_node)
    cells = _cells(ct_node, point, result)
    with slicer.util.NodeModify(node):
        _complete_columns(node)
        row = _row_of(node, point.id)
        table = node.GetTable()
        if row is None:
            row = table.InsertNextBlankRow()
        for name, value in cells.items():
            table.SetValueByName(row, name, vtk.vtkVariant(value))
        table.Modified()
    return node


def find_table(markups_node: slicer.vtkMRMLMarkupsNode) -> slicer.vtkMRMLTableNode | None:
    """The results table of a markups node, or None."""
    return find_tagged(KIND, markups_node)


def update_label(markups_node: slicer.vtkMRMLMarkupsNode, point: DefinedPoint) -> None:
    """Write a control point's label into its row, when there is one and it differs."""
    node = find_table(markups_node)
    row = _row_of(node, point.id) if node is not None else None
    label = _plain_text(point.label)
    if node is None or row is None:
        return
    if node.GetTable().GetValueByName(row, "label").ToString() != label:
        node.GetTable().SetValueByName(row, "label", vtk.vtkVariant(label))
        node.GetTable().Modified()


def other_labels(markups_node: slicer.vtkMRMLMarkupsNode, labels: Mapping[str, str]) -> set[str]:
    """IDs of the control points that have another label in the table, or no row.

    Args:
        labels: control point ID -> label.
    """
    node = find_table(markups_node)
    if node is None:
        return set(labels)
    table = node.GetTable()
    written = {point_id: table.GetValueByName(row, "label").ToString() for row, point_id in enumerate(point_ids(node))}
    return {point_id for point_id, label in labels.items() if written.get(point_id) != _plain_text(label)}


def point_ids(node: slicer.vtkMRMLTableNode) -> list[str]:
    """IDs of the control points that have a row, in the order of the rows."""
    table = node.GetTable()
    if table.GetColumnByName(POINT_ID_COLUMN) is None:
        return []
    return [table.GetValueByName(row, POINT_ID_COLUMN).ToString() for row in range(table.GetNumberOfRows())]


def remove_row(markups_node: slicer.vtkMRMLMarkupsNode, point_id: str) -> None:
    """Drop a control point's row; a table without rows goes away. Nothing happens when there is no such row."""
    node = find_table(markups_node)
    row = _row_of(node, point_id) if node is not None else None
    if node is None or row is None:
        return
    if node.GetNumberOfRows() == 1:
        remove_with_parts(node)
    else:
        node.GetTable().RemoveRow(row)
        node.GetTable().Modified()


def _cells(
    ct_node: slicer.vtkMRMLScalarVolumeNode, point: DefinedPoint, result: NoduleResult
) -> dict[str, str | float]:
    """A row by column name."""
    values = {
        "label": point.label,
        POINT_ID_COLUMN: point.id,
        **dict(zip("ras", result.point_ras, strict=True)),
        "malignancy_probability": result.malignancy_probability,
        "predicted_class": class_title(result),
        **{f"p_{name}": p for name, p in zip(CLASSES, result.class_probabilities, strict=True)},
        "class_set": ", ".join(CLASS_TITLES[name] for name in result.class_set),
        "diameter_mm": result.diameter_mm,
        **_measured_cells(result.measurement),
        **{f"{sign.name}_level": sign.level for sign in result.attributes},
        **{f"{sign.name}_similarity": sign.similarity for sign in result.attributes},
        "warnings": " ".join(result.warnings),
        "notes": result.image.get("note", ""),
        "truth": truth_phrase(result.truth),
        "ct": ct_node.GetName(),
        "model": result.model.get("name", ""),
        "model_version": result.model.get("version", ""),
        "model_sha256": result.model.get("sha256", ""),
    }
    return {
        column.name: _plain_text(values[column.name])
        if column.decimals is None
        else round(float(values[column.name]), column.decimals)
        for column in COLUMNS
    }


def _measured_cells(measurement: NoduleMeasurement | None) -> dict[str, str]:
    """Empty where nothing could be outlined: a number would be an invention."""
    if measurement is None:
        return dict.fromkeys(("diameter_low_mm", "diameter_high_mm", "volume_mm3"), "")
    low, high = measurement.diameter_interval_mm
    return {
        "diameter_low_mm": f"{low:.1f}",
        "diameter_high_mm": f"{high:.1f}",
        "volume_mm3": f"{measurement.volume_mm3:.0f}",
    }


def _plain_text(text: str) -> str:
    return " ".join(text.replace('"', "'").split())


def _row_of(node: slicer.vtkMRMLTableNode, point_id: str) -> int | None:
    ids = point_ids(node)
    return ids.index(point_id) if point_id in ids else None


def _complete_columns(node: slicer.vtkMRMLTableNode) -> None:
    """Add the columns that are not there: all in a new table, the removed ones in a table that a user has edited."""
    for column in COLUMNS:
        if node.GetTable().GetColumnByName(column.name) is None:
            _add_column(node, column)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)


def _add_column(node: slicer.vtkMRMLTableNode, column: Column) -> None:
    array = vtk.vtkStringArray() if column.decimals is None else vtk.vtkDoubleArray()
    array.SetName(column.name)
    for _ in range(node.GetNumberOfRows()):
        array.InsertNextValue("" if column.decimals is None else float("nan"))
    node.AddColumn(array)
    node.SetColumnTitle(column.name, column.title)
    node.SetColumnUnitLabel(column.name, column.unit)
    node.SetColumnDescription(column.name, column.description)
