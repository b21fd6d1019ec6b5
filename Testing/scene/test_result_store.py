"""Results in the scene: stored, shown, replaced, stale, removed. On real MRML nodes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.slicer_scene import (
    NODULE_RAS,
    OTHER_RAS,
    add_transform,
    fake_result,
    keep_hierarchy,
    random_affine,
    slicer,
    synthetic_ct,
    vtk,
)

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.result import CSV_COLUMNS
from CLIPLungLib.scene import result_store, result_table
from CLIPLungLib.scene.chart import chart_nodes, find_chart
from CLIPLungLib.scene.ct_mark import ct_state, require_unchanged
from CLIPLungLib.scene.heatmap_node import find_overlay
from CLIPLungLib.scene.result_index import ResultIndex
from CLIPLungLib.scene.result_table import find_table


def cell(node, row, column):
    return node.GetTable().GetValueByName(row, column)


def columns(node):
    return [node.GetColumnName(index) for index in range(node.GetNumberOfColumns())]


def foreground_ids(app):
    return {logic.GetSliceCompositeNode().GetForegroundVolumeID() for logic in app.slice_logics.values()}


# Table


def test_a_row_holds_the_result(ct_node, points):
    node = result_store.show_result(ct_node, points, "1", fake_result()).table_node
    assert node.GetNumberOfRows() == 1
    assert cell(node, 0, "label").ToString() == "N-1"
    assert cell(node, 0, "point_id").ToString() == "1"
    assert [cell(node, 0, axis).ToDouble() for axis in "ras"] == list(NODULE_RAS)
    assert cell(node, 0, "malignancy_probability").ToDouble() == 0.82
    assert [cell(node, 0, f"p_{name}").ToDouble() for name in ("benign", "unsure", "malignant")] == [0.1, 0.2, 0.7]
    assert cell(node, 0, "predicted_class").ToString() == "malignant"
    assert cell(node, 0, "diameter_mm").ToDouble() == 14.0
    assert cell(node, 0, "calcification_level").ToDouble() == 5.5
    assert cell(node, 0, "spiculation_similarity").ToDouble() == 0.123
    assert cell(node, 0, "ct").ToString() == "CT"
    assert cell(node, 0, "model_version").ToString() == "1.2.3"
    assert cell(node, 0, "model_sha256").ToString() == "ab" * 32


def test_columns_are_typed_titled_locked_and_named_as_in_the_csv_file(ct_node, points):
    node = result_store.show_result(ct_node, points, "1", fake_result()).table_node
    names = columns(node)
    assert {*CSV_COLUMNS} - {"id", "status", "error"} < {*names}
    assert node.GetTable().GetColumnByName("point_id").GetDataType() == vtk.VTK_STRING
    assert node.GetTable().GetColumnByName("diameter_mm").GetDataType() == vtk.VTK_DOUBLE
    assert node.GetUseColumnTitleAsColumnHeader()
    assert node.GetLocked()
    assert node.GetColumnTitle("internalStructure_level") == "Internal structure"
    assert node.GetColumnUnitLabel("diameter_mm") == "mm"
    assert all(node.GetColumnDescription(name) for name in names)
    assert len({node.GetColumnTitle(name) for name in names}) == len(names)


def test_running_again_replaces_the_points_own_row(ct_node, points):
    result_store.store_result(ct_node, points, "1", fake_result())
    result_store.store_result(ct_node, points, "2", fake_result(OTHER_RAS, probability=0.1))
    result_store.store_result(ct_node, points, "1", fake_result(probability=0.33))
    node = find_table(points)
    assert result_table.point_ids(node) == ["1", "2"]
    assert [cell(node, row, "malignancy_probability").ToDouble() for row in (0, 1)] == [0.33, 0.1]


def test_cells_hold_nothing_that_breaks_the_tables_file(ct_node, points):
    points.SetNthControlPointLabel(0, 'left\t"upper"\nlobe')
    node = result_store.show_result(ct_node, points, "1", fake_result()).table_node
    assert cell(node, 0, "label").ToString() == "left 'upper' lobe"
    assert cell(node, 0, "warnings").ToString() == "Thick 'slices': 2.5 mm"


def test_columns_a_user_removed_come_back(ct_node, points):
    result_store.store_result(ct_node, points, "1", fake_result())
    result_store.store_result(ct_node, points, "2", fake_result(OTHER_RAS))
    node = find_table(points)
    count = node.GetNumberOfColumns()
    node.RemoveColumn(columns(node).index("diameter_mm"))
    result_store.store_result(ct_node, points, "2", fake_result(OTHER_RAS))
    assert node.GetNumberOfColumns() == count
    assert np.isnan(cell(node, 0, "diameter_mm").ToDouble())
    assert cell(node, 1, "diameter_mm").ToDouble() == 14.0


# Chart


def test_bars_are_labelled_and_stand_at_the_levels(ct_node, points):
    chart = result_store.show_result(ct_node, points, "1", fake_result()).chart_node
    assert chart.GetNumberOfPlotSeriesNodes() == 1
    series = chart.GetNthPlotSeriesNode(0)
    assert series.GetPlotType() == slicer.vtkMRMLPlotSeriesNode.PlotTypeBar
    node = series.GetTableNode()
    labels = [cell(node, row, series.GetLabelColumnName()).ToString() for row in range(8)]
    heights = [cell(node, row, series.GetYColumnName()).ToDouble() for row in range(8)]
    assert labels[:3] == ["Subtlety", "Internal structure", "Calcification"]
    assert heights == [4.5, 3.5, 5.5, 4.5, 4.5, 4.5, 4.5, 4.5]
    assert chart.GetYAxisRange() == (1.0, 6.0)
    assert chart.GetTitle() == "N-1: 82% suspicious, malignant"
    assert "6 spiculation" in chart.GetXAxisTitle()


def test_the_chart_goes_over_to_the_nodule_shown_last(app, ct_node, points):
    chart = result_store.show_result(ct_node, points, "1", fake_result()).chart_node
    result_store.store_result(ct_node, points, "2", fake_result(OTHER_RAS, probability=0.07))
    count = app.scene.GetNumberOfNodes()
    assert chart.GetTitle().startswith("N-1")
    assert result_store.show_stored(points, "2").chart_node is chart
    assert chart.GetTitle() == "N-2: 7% suspicious, malignant"
    assert chart.GetNumberOfPlotSeriesNodes() == 1
    assert app.scene.GetNumberOfNodes() == count


# Store, show, read back


def test_showing_twice_adds_no_node(app, ct_node, points):
    first = result_store.show_result(ct_node, points, "1", fake_result())
    count = app.scene.GetNumberOfNodes()
    second = result_store.show_result(ct_node, points, "1", fake_result(probability=0.1))
    assert app.scene.GetNumberOfNodes() == count
    assert (second.overlay_node, second.table_node, second.chart_node) == (
        first.overlay_node,
        first.table_node,
        first.chart_node,
    )


def test_storing_leaves_the_views_alone_and_showing_does_not(app, ct_node, points):
    overlay = result_store.store_result(ct_node, points, "1", fake_result())
    assert foreground_ids(app) == {None}
    result_store.show_stored(points, "1", opacity=0.7)
    assert foreground_ids(app) == {overlay.GetID()}
    assert app.slice_logics["Red"].GetSliceCompositeNode().GetForegroundOpacity() == 0.7


def test_a_stored_result_is_read_back_whole(ct_node, points):
    result = fake_result()
    overlay = result_store.store_result(ct_node, points, "1", result)
    stored = result_store.stored_result(points, "1")
    assert stored.ct_node is ct_node
    assert stored.overlay_node is overlay
    assert stored.result.to_dict() == result.to_dict()
    assert stored.result.attributes == result.attributes
    np.testing.assert_array_equal(stored.result.heatmap, result.heatmap)
    np.testing.assert_allclose(stored.result.heatmap_to_ras, result.heatmap_to_ras, atol=1e-9)
    assert overlay.GetAttribute("CLIPLung.modelSHA256") == "ab" * 32
    assert overlay.GetAttribute("CLIPLung.modelVersion") == "1.2.3"


def test_two_lists_with_the_same_point_ids_do_not_mix(app, ct_node, points):
    others = app.add_points("Others", [("N-1", OTHER_RAS)])
    result_store.show_result(ct_node, points, "1", fake_result())
    result_store.show_result(ct_node, others, "1", fake_result(OTHER_RAS, probability=0.05))
    assert result_store.stored_result(points, "1").result.malignancy_probability == 0.82
    assert result_store.stored_result(others, "1").result.malignancy_probability == 0.05
    assert find_table(points) is not find_table(others)
    assert result_store.remove_result(others, "1")
    assert result_store.stored_result(others, "1") is None
    assert result_store.stored_result(points, "1").result.malignancy_probability == 0.82
    assert result_table.point_ids(find_table(points)) == ["1"]
    assert find_chart(points) is not None


def test_a_result_moves_to_the_ct_it_was_computed_on_last(app, ct_node, points):
    result_store.store_result(ct_node, points, "1", fake_result())
    newer = app.add_ct(replace(synthetic_ct(), name="newer"))
    result_store.store_result(newer, points, "1", fake_result())
    assert result_store.stored_result(points, "1").ct_node is newer
    assert cell(find_table(points), 0, "ct").ToString() == "newer"


def test_what_is_gone_is_named(app, ct_node, points):
    with pytest.raises(InputError, match="ID '9'"):
        result_store.store_result(ct_node, points, "9", fake_result())
    with pytest.raises(InputError, match=r"'N-2' has no result.*analyse"):
        result_store.show_stored(points, "2")
    result_store.store_result(ct_node, points, "1", fake_result())
    app.scene.RemoveNode(ct_node)
    with pytest.raises(InputError, match="CT is no longer"):
        result_store.show_stored(points, "1")
    with pytest.raises(InputError, match="CT is no longer"):
        result_store.store_result(ct_node, points, "1", fake_result())
    assert result_store.stored_result(points, "1").ct_node is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ("[1, 2]", "damaged"),
        ('{"format_version": 2, "ct_ijk_to_ras": [[1]], "result": {}}', "damaged"),
        ('{"format_version": 99}', "format 99"),
        (None, "no complete"),
    ],
)
def test_a_damaged_or_newer_result_is_refused_with_a_remedy(ct_node, points, text, message):
    result_store.store_result(ct_node, points, "1", fake_result()).SetAttribute("CLIPLung.result", text)
    with pytest.raises(InputError, match=f"{message}.*Analyse the nodule again"):
        result_store.stored_result(points, "1")
    result_store.store_result(ct_node, points, "1", fake_result())
    assert result_store.stored_result(points, "1") is not None


# Stale


def move(points, index, millimetres):
    r, a, s = points.GetNthControlPointPositionWorld(index)
    points.SetNthControlPointPositionWorld(index, [r + millimetres, a, s])


def test_only_a_point_that_moved_more_than_a_hundredth_of_a_millimetre_is_stale(ct_node, points):
    assert not result_store.is_stale(points, "1")
    result_store.store_result(ct_node, points, "1", fake_result())
    result_store.store_result(ct_node, points, "2", fake_result(OTHER_RAS))
    assert not result_store.is_stale(points, "1")
    move(points, 0, 0.009)
    assert not result_store.is_stale(points, "1")
    move(points, 0, 0.003)
    assert result_store.is_stale(points, "1")
    assert not result_store.is_stale(points, "2")
    result_store.store_result(ct_node, points, "1", fake_result(points.GetNthControlPointPositionWorld(0)))
    assert not result_store.is_stale(points, "1")


@pytest.mark.parametrize("entry", [(0, 3), (2, 2), (1, 0)], ids=["shifted", "stretched", "sheared"])
def test_a_ct_that_moved_is_stale_until_it_is_back(app, ct_node, points, entry):
    above = add_transform(app.scene, np.eye(4))
    ct_node.SetAndObserveTransformNodeID(above.GetID())
    result_store.store_result(ct_node, points, "1", fake_result())
    assert not result_store.is_stale(points, "1")
    for change, stale in ((1e-7, False), (1e-3, True), (0.0, False)):
        matrix = np.eye(4)
        matrix[entry] += change
        above.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        assert result_store.is_stale(points, "1") is stale


def test_hardening_the_cts_transform_moves_nothing(app, ct_node, points):
    ct_node.SetAndObserveTransformNodeID(add_transform(app.scene, random_affine(1)).GetID())
    result_store.store_result(ct_node, points, "1", fake_result())
    ct_node.HardenTransform()
    assert ct_node.GetParentTransformNode() is None
    assert not result_store.is_stale(points, "1")


def test_a_result_without_ct_or_placed_point_is_stale(app, ct_node, points):
    for point_id, ras in (("1", NODULE_RAS), ("2", OTHER_RAS)):
        result_store.store_result(ct_node, points, point_id, fake_result(ras))
    points.UnsetNthControlPointPosition(0)
    assert result_store.is_stale(points, "1")
    assert not result_store.is_stale(points, "2")
    app.scene.RemoveNode(ct_node)
    assert result_store.is_stale(points, "2")


def in_place(ct_node, part, hu):
    slicer.util.arrayFromVolume(ct_node)[part] = hu
    slicer.util.arrayFromVolumeModified(ct_node)


def next_frame(ct_node):
    """What a sequence browser does: the same node shows other voxels in the same place."""
    frame = vtk.vtkImageData()
    frame.DeepCopy(ct_node.GetImageData())
    ct_node.SetAndObserveImageData(frame)
    in_place(ct_node, slice(None), slicer.util.arrayFromVolume(ct_node) + 5)


def cut_off(ct_node, slices):
    hu = slicer.util.arrayFromVolume(ct_node)
    slicer.util.updateVolumeFromArray(ct_node, hu[:slices].copy())


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (lambda ct: in_place(ct, slice(None), -1000), True),
        (next_frame, True),
        (lambda ct: cut_off(ct, 16), True),
        (lambda ct: ct.SetAndObserveImageData(None), True),
        (lambda ct: in_place(ct, (slice(None), slice(None), slice(0, 4)), -1000), False),
        (lambda ct: cut_off(ct, 38), False),
        (lambda ct: slicer.util.updateVolumeFromArray(ct, slicer.util.arrayFromVolume(ct).astype(np.float64)), False),
        (slicer.util.arrayFromVolumeModified, False),
    ],
    ids=["overwritten", "next frame", "cut near it", "emptied", "changed far away", "cut far away", "cast", "touched"],
)
def test_a_ct_that_holds_other_voxels_around_the_nodule_is_stale(ct_node, points, change, stale):
    result_store.store_result(ct_node, points, "1", fake_result())
    change(ct_node)
    assert result_store.is_stale(points, "1") is stale
    (row,) = ResultIndex().results(points).values()
    assert row.is_stale_at(np.array(NODULE_RAS)) is stale


def test_voxels_that_came_back_are_not_stale_and_older_records_do_not_know(ct_node, points):
    overlay = result_store.store_result(ct_node, points, "1", fake_result())
    kept = slicer.util.arrayFromVolume(ct_node).copy()
    in_place(ct_node, slice(None), -1000)
    assert result_store.is_stale(points, "1")
    in_place(ct_node, slice(None), kept)
    assert not result_store.is_stale(points, "1")
    record = json.loads(overlay.GetAttribute("CLIPLung.result"))
    del record["ct_voxels"]
    overlay.SetAttribute("CLIPLung.result", json.dumps(record))
    in_place(ct_node, slice(None), -1000)
    assert not result_store.is_stale(points, "1")


@pytest.mark.parametrize("damage", [[], {"first_ijk": [0, 0], "size_ijk": [1, 1, 1]}, {"first_ijk": [-1, 0, 0]}])
def test_a_mark_of_voxels_that_is_none_is_refused(ct_node, points, damage):
    overlay = result_store.store_result(ct_node, points, "1", fake_result())
    record = json.loads(overlay.GetAttribute("CLIPLung.result")) | {"ct_voxels": damage}
    overlay.SetAttribute("CLIPLung.result", json.dumps(record))
    with pytest.raises(InputError, match="is damaged"):
        result_store.stored_result(points, "1")


def test_a_ct_whose_place_is_no_number_is_stale(ct_node, points):
    result_store.store_result(ct_node, points, "1", fake_result())
    ct_node.SetOrigin(float("nan"), 0.0, 0.0)
    assert result_store.is_stale(points, "1")


@pytest.mark.parametrize("change", ["moved", "written into", "another frame"])
def test_a_ct_that_changes_while_it_is_analyzed_is_noticed(app, ct_node, change):
    before = ct_state(ct_node)
    require_unchanged(ct_node, before)
    if change == "moved":
        shift = np.eye(4)
        shift[0, 3] = 1.0
        ct_node.SetAndObserveTransformNodeID(add_transform(app.scene, shift).GetID())
    elif change == "written into":
        in_place(ct_node, slice(None), -1000)
    else:
        next_frame(ct_node)
    with pytest.raises(InputError, match="while the nodule was analyzed"):
        require_unchanged(ct_node, before)


# Labels


def test_names_follow_the_labels_of_the_points(app, ct_node, points):
    for point_id, ras in (("1", NODULE_RAS), ("2", OTHER_RAS)):
        result_store.show_result(ct_node, points, point_id, fake_result(ras))
    points.SetNthControlPointLabel(0, "apex")
    points.SetNthControlPointLabel(1, 'left "base"')
    result_store.follow_labels(points)
    assert find_overlay(points, "1").GetName() == "CT apex relevance"
    assert find_overlay(points, "2").GetName() == 'CT left "base" relevance'
    assert [cell(find_table(points), row, "label").ToString() for row in (0, 1)] == ["apex", "left 'base'"]
    assert find_chart(points).GetTitle() == 'left "base": 82% suspicious, malignant'


def test_labels_without_a_result_a_ct_or_a_sound_record_stop_nothing(app, ct_node, points):
    result_store.store_result(ct_node, points, "1", fake_result()).SetAttribute("CLIPLung.result", "{")
    result_store.store_result(ct_node, points, "2", fake_result(OTHER_RAS))
    app.scene.RemoveNode(ct_node)
    points.SetNthControlPointLabel(0, "a")
    points.SetNthControlPointLabel(1, "b")
    result_store.follow_labels(points)
    assert [cell(find_table(points), row, "label").ToString() for row in (0, 1)] == ["N-1", "b"]


# Remove


def test_removing_everything_leaves_the_scene_as_before(app, ct_node, points):
    result_store.show_result(ct_node, points, "1", fake_result())
    result_store.remove_result(points, "1")
    before = sorted(node.GetID() for node in app.scene.GetNodes())
    for point_id, ras in (("1", NODULE_RAS), ("2", OTHER_RAS)):
        result_store.show_result(ct_node, points, point_id, fake_result(ras))
    assert app.scene.GetNumberOfNodes() > len(before)
    assert result_store.remove_result(points, "1")
    assert result_store.remove_result(points, "2")
    assert sorted(node.GetID() for node in app.scene.GetNodes()) == before
    assert foreground_ids(app) == {None}
    assert not result_store.remove_result(points, "1")


def test_a_scene_without_application_logics_is_left_clean_too():
    scene = slicer.vtkMRMLScene()
    ct_node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(ct_node, np.zeros((3, 4, 5), np.int16))
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodules")
    points.AddControlPoint(NODULE_RAS, "N-1")
    before = scene.GetNumberOfNodes()
    shown = result_store.show_result(ct_node, points, "1", fake_result())
    for node in (shown.overlay_node, shown.table_node):
        node.AddDefaultStorageNode()
    result_store.remove_result(points, "1")
    kinds = [node.GetAttribute("CLIPLung.kind") for node in scene.GetNodes()]
    assert scene.GetNumberOfNodes() == before + 1
    assert kinds[before:] == ["colors"]


def test_removing_one_leaves_the_other(app, ct_node, points):
    result_store.show_result(ct_node, points, "1", fake_result())
    other = result_store.show_result(ct_node, points, "2", fake_result(OTHER_RAS))
    points.RemoveNthControlPoint(0)
    result_store.remove_result(points, "1")
    assert result_table.point_ids(other.table_node) == ["2"]
    assert foreground_ids(app) == {other.overlay_node.GetID()}
    assert find_chart(points) is other.chart_node
    assert find_overlay(points, "2") is other.overlay_node


def test_orphans_of_deleted_points_and_lists_are_removed_and_nothing_else(app, ct_node, points):
    lost = app.add_points("Lost", [("N-1", OTHER_RAS)])
    result_store.show_result(ct_node, lost, "1", fake_result(OTHER_RAS))
    for point_id, ras in (("1", NODULE_RAS), ("2", OTHER_RAS)):
        result_store.show_result(ct_node, points, point_id, fake_result(ras))
    assert result_store.remove_orphans(app.scene) == 0
    points.RemoveNthControlPoint(0)
    app.scene.RemoveNode(lost)
    assert result_store.remove_orphans(app.scene) == 2
    assert result_store.stored_result(points, "2") is not None
    assert result_table.point_ids(find_table(points)) == ["2"]
    tagged = [node for node in app.scene.GetNodes() if node.GetAttribute("CLIPLung.kind")]
    assert sorted(node.GetAttribute("CLIPLung.kind") for node in tagged) == sorted(
        ["overlay", "table", "chart", "chart series", "chart table", "colors"]
    )


def test_a_row_whose_heat_map_a_user_deleted_goes_with_its_point(app, ct_node, points):
    app.scene.RemoveNode(result_store.store_result(ct_node, points, "1", fake_result()))
    points.RemoveAllControlPoints()
    result_store.remove_orphans(app.scene)
    assert find_table(points) is None


# Subject hierarchy


def test_without_hierarchy_items_no_folder_is_made(app, ct_node, points):
    result_store.show_result(ct_node, points, "1", fake_result())
    assert app.scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode") is None


def test_each_ct_gets_one_folder_that_goes_with_its_last_result(app, ct_node, points):
    hierarchy = keep_hierarchy(app.scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(ct_node), study)
    shown = result_store.show_result(ct_node, points, "1", fake_result())
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(shown.overlay_node))
    assert hierarchy.GetItemName(folder) == "CT CLIPLung"
    assert hierarchy.GetItemParent(folder) == study
    for node in (shown.table_node, *chart_nodes(points)):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder
    hierarchy.SetItemName(folder, "renamed")
    other = result_store.show_result(ct_node, points, "2", fake_result(OTHER_RAS)).overlay_node
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(other)) == folder

    newer = app.add_ct(replace(synthetic_ct(), name="newer"))
    others = app.add_points("Others", [("N-1", NODULE_RAS)])
    newest = result_store.show_result(newer, others, "1", fake_result()).overlay_node
    newer_folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(newest))
    assert newer_folder != folder
    result_store.remove_result(others, "1")
    assert not hierarchy.GetItemByName("newer CLIPLung")
    assert hierarchy.GetItemByName("renamed") == folder


def test_what_a_user_filed_elsewhere_stays_there(app, ct_node, points):
    hierarchy = keep_hierarchy(app.scene)
    overlay = result_store.store_result(ct_node, points, "1", fake_result())
    own_folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "mine")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(overlay), own_folder)
    result_store.store_result(ct_node, points, "1", fake_result())
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(overlay)) == own_folder
