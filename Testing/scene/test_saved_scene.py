"""A saved scene shows its results again without computing: .mrb written and read by real MRML."""

import re
import zipfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from helpers.slicer_scene import (
    NODULE_RAS,
    OTHER_RAS,
    add_transform,
    fake_result,
    random_affine,
    slicer,
    synthetic_ct,
    vtk,
)

from CLIPLungLib.demo.slicer_core_host import StandaloneSlicer
from CLIPLungLib.errors import InputError
from CLIPLungLib.report.palette import heat_rgb
from CLIPLungLib.scene import result_store, result_table
from CLIPLungLib.scene.chart import find_chart
from CLIPLungLib.scene.heatmap_node import find_overlay
from CLIPLungLib.scene.result_table import find_table
from CLIPLungLib.scene.tagged_nodes import nodes_of_class
from CLIPLungLib.scene.volume_node import world_ijk_to_ras

TRANSFORM = random_affine(7)


def outlined_result():
    """The result of the first point; its outline is where the relevance is high."""
    result = fake_result()
    return replace(result, outline=result.heatmap > 0.5)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A scene with two nodules of one list and one of another, under a CT with an oblique, sheared transform."""
    path = tmp_path_factory.mktemp("scene") / "nodules.mrb"
    with StandaloneSlicer() as app:
        ct_node = app.add_ct(synthetic_ct())
        ct_node.SetAndObserveTransformNodeID(add_transform(app.scene, TRANSFORM).GetID())
        points = app.add_points("Nodules", [("N-1", NODULE_RAS), ("N-2", OTHER_RAS)])
        others = app.add_points("Others", [("N-1", OTHER_RAS)])
        result_store.store_result(ct_node, points, "2", fake_result(OTHER_RAS, probability=0.4))
        result_store.store_result(ct_node, others, "1", fake_result(OTHER_RAS, probability=0.05))
        shown = result_store.show_result(ct_node, points, "1", outlined_result(), opacity=0.45)
        shown.overlay_node.GetScalarVolumeDisplayNode().SetLowerThreshold(0.375)
        return app.save(path)


@pytest.fixture
def app(saved):
    with StandaloneSlicer() as application:
        application.load(saved)
        yield application


def lists(app, name):
    return [node for node in nodes_of_class(app.scene, "vtkMRMLMarkupsFiducialNode") if node.GetName() == name]


@pytest.fixture
def points(app):
    (node,) = lists(app, "Nodules")
    return node


def test_every_result_comes_back_with_its_own_nodes(app, points):
    (others,) = lists(app, "Others")
    stored = result_store.stored_result(points, "1")
    expected = fake_result()
    assert stored.result.to_dict() == expected.to_dict()
    np.testing.assert_array_equal(stored.result.heatmap, expected.heatmap)
    np.testing.assert_array_equal(stored.result.outline, outlined_result().outline)
    assert result_store.stored_result(points, "2").result.outline is None
    assert stored.ct_node.GetName() == "CT"
    assert result_store.stored_result(points, "2").result.malignancy_probability == 0.4
    assert result_store.stored_result(others, "1").result.malignancy_probability == 0.05
    assert not any(result_store.is_stale(points, point_id) for point_id in "12")


def test_the_heat_map_lies_where_it_lay(points):
    overlay = find_overlay(points, "1")
    np.testing.assert_allclose(world_ijk_to_ras(overlay), fake_result().heatmap_to_ras, atol=1e-6)


def test_a_point_moved_after_loading_is_stale(points):
    points.SetNthControlPointPositionWorld(0, [NODULE_RAS[0], NODULE_RAS[1], NODULE_RAS[2] + 0.02])
    assert result_store.is_stale(points, "1")


def test_display_and_colours_come_back(points):
    display = find_overlay(points, "1").GetScalarVolumeDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 1.0)
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == 0.375
    assert display.GetUpperThreshold() > 1e6
    assert display.GetInterpolate()
    colors = display.GetColorNode()
    assert colors.GetName() == "CLIPLung relevance"
    assert colors.GetNumberOfColors() == 256
    for index in (0, 100, 255):
        np.testing.assert_allclose(colors.GetLookupTable().GetTableValue(index)[:3], heat_rgb(index / 255), atol=0.005)


def test_layers_come_back(app, points):
    for logic in app.slice_logics.values():
        composite = logic.GetSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == result_store.stored_result(points, "1").ct_node.GetID()
        assert composite.GetForegroundVolumeID() == find_overlay(points, "1").GetID()
        assert composite.GetForegroundOpacity() == 0.45


def test_the_table_comes_back_with_types_titles_and_units(points):
    node = find_table(points)
    assert result_table.point_ids(node) == ["2", "1"]
    assert node.GetTable().GetColumnByName("point_id").GetDataType() == vtk.VTK_STRING
    assert node.GetTable().GetValueByName(1, "malignancy_probability").ToDouble() == 0.82
    assert node.GetTable().GetValueByName(1, "warnings").ToString() == "Thick 'slices': 2.5 mm"
    assert node.GetTable().GetValueByName(1, "model_sha256").ToString() == "ab" * 32
    assert node.GetColumnTitle("malignancy_probability") == "Probability"
    assert node.GetColumnUnitLabel("diameter_mm") == "mm"
    for column in result_table.COLUMNS:
        assert node.GetColumnDescription(column.name) == column.description
    assert node.GetUseColumnTitleAsColumnHeader()
    assert node.GetLocked()


def test_the_chart_comes_back(points):
    chart = find_chart(points)
    series = chart.GetNthPlotSeriesNode(0)
    assert chart.GetTitle() == "N-1: 82% suspicious, malignant"
    assert chart.GetYAxisRange() == (1.0, 6.0)
    levels = series.GetTableNode().GetTable()
    assert levels.GetValueByName(2, series.GetLabelColumnName()).ToString() == "Calcification"
    assert levels.GetValueByName(2, series.GetYColumnName()).ToDouble() == 5.5


def test_analysing_again_after_loading_replaces_in_place(app, points):
    result_store.show_stored(points, "1")
    count = app.scene.GetNumberOfNodes()
    overlay, ct_node = find_overlay(points, "1"), result_store.stored_result(points, "1").ct_node
    shown = result_store.show_result(ct_node, points, "1", fake_result(probability=0.6))
    assert shown.overlay_node is overlay
    assert app.scene.GetNumberOfNodes() == count
    assert result_table.point_ids(shown.table_node) == ["2", "1"]
    assert shown.table_node.GetTable().GetValueByName(1, "malignancy_probability").ToDouble() == 0.6


def test_a_loaded_scene_saved_again_is_still_whole(app, points, tmp_path):
    result_store.store_result(
        result_store.stored_result(points, "1").ct_node, points, "1", fake_result(probability=0.6)
    )
    path = app.save(tmp_path / "again.mrb")
    with StandaloneSlicer() as other:
        other.load(path)
        (loaded,) = lists(other, "Nodules")
        assert result_store.stored_result(loaded, "1").result.malignancy_probability == 0.6
        assert find_table(loaded).GetTable().GetValueByName(1, "malignancy_probability").ToDouble() == 0.6


def test_a_scene_imported_beside_another_keeps_its_results_apart(app, saved):
    (first,) = lists(app, "Nodules")
    assert app.scene.ReadFromMRB(str(saved), False)
    second = next(node for node in lists(app, "Nodules") if node is not first)
    mine, theirs = (result_store.stored_result(node, "1") for node in (first, second))
    assert mine.overlay_node is not theirs.overlay_node
    assert mine.ct_node is not theirs.ct_node
    assert theirs.result.to_dict() == fake_result().to_dict()
    assert find_table(first) is not find_table(second)
    assert theirs.overlay_node.GetScalarVolumeDisplayNode().GetColorNode().GetNumberOfColors() == 256
    result_store.remove_result(second, "1")
    assert result_store.stored_result(first, "1") is not None
    assert result_store.stored_result(second, "2") is not None


def test_the_file_holds_everything_and_names_a_version_slicer_knows(saved):
    with zipfile.ZipFile(saved) as bundle:
        names = [name.rsplit("/", 1)[-1] for name in bundle.namelist()]
        header = bundle.read(next(name for name in bundle.namelist() if name.endswith(".mrml")))[:400].decode()
    wanted = ["CT.nrrd", "CT N-1 relevance.nrrd", "CT N-1 relevance_1.nrrd", "CT N-2 relevance.nrrd"]
    wanted += ["CLIPLung relevance.csv", "Nodules.mrk.json", "Others.mrk.json", "Nodules CLIPLung results.tsv"]
    assert set(wanted) <= set(names)
    major, minor = metadata.version("slicer-core").split(".")[:2]
    assert re.search(rf'version="Slicer {major}\.{minor}\.0 \d+"', header)


def test_files_that_cannot_be_are_refused(tmp_path):
    with StandaloneSlicer() as app:
        with pytest.raises(InputError, match=r"\.mrb"):
            app.save(tmp_path / "scene.nrrd")
        with pytest.raises(InputError, match="does not exist"):
            app.load(tmp_path / "missing.mrb")
        (tmp_path / "text.mrb").write_text("no scene")
        with pytest.raises(InputError, match="no scene bundle"):
            app.load(tmp_path / "text.mrb")
        with zipfile.ZipFile(tmp_path / "empty.mrb", "w") as bundle:
            bundle.writestr("empty/readme.txt", "no scene")
        here = Path.cwd()
        with pytest.raises(InputError, match="no readable scene"):
            app.load(tmp_path / "empty.mrb")
        assert Path.cwd() == here


def test_a_hidden_detail_of_mrml_stays_true(points):
    """A copy carries attributes and references of the original; `tagged_nodes` relies on it."""
    overlay = find_overlay(points, "1")
    copy = slicer.vtkSlicerVolumesLogic.CloneVolume(overlay.GetScene(), overlay, "copy")
    assert copy.GetNodeReference("CLIPLung.self") is overlay
