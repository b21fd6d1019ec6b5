"""Outlines in the scene: segments on the CT's grid, axes, corrections by hand, and what happens to them when things go."""

from __future__ import annotations

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
from vtk.util.numpy_support import vtk_to_numpy

from CLIPLungLib.demo.slicer_core_host import StandaloneSlicer
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.outline_mask import first_voxel_ijk
from CLIPLungLib.inference.mask_measurement import CORRECTED, measure_mask
from CLIPLungLib.inference.result import NoduleMeasurement
from CLIPLungLib.scene import axis_lines, outline_edits, outline_labelmap, outline_node, outline_segments, result_store
from CLIPLungLib.scene.correction_record import CORRECTION, DRAWN_BY_PROGRAM, has_correction
from CLIPLungLib.scene.result_record import RESULT
from CLIPLungLib.scene.result_table import find_table
from CLIPLungLib.scene.tagged_nodes import POINT_ID, SELF_ROLE, find_tagged, nodes_of_class
from CLIPLungLib.scene.volume_node import ct_volume, world_ijk_to_ras

AXES = (((-38.0, 14.0, -120.0), (-26.0, 14.0, -120.0)), ((-32.0, 9.0, -120.0), (-32.0, 19.0, -120.0)))


def outlined(point_ras=NODULE_RAS):
    """A result whose outline is where relevance is high, with both axes."""
    result = fake_result(point_ras)
    shift = np.subtract(point_ras, NODULE_RAS)
    long_ras, short_ras = (tuple(tuple(np.add(end, shift).tolist()) for end in ends) for ends in AXES)
    size = NoduleMeasurement(
        13.96, (11.0, 16.0), 12.5, 1000.0, (700.0, 1500.0), tuple(point_ras), 11.0, long_ras, short_ras
    )
    return replace(result, outline=result.heatmap > 0.5, measurement=size)


def store(ct_node, points, point_id="1", point_ras=NODULE_RAS):
    return result_store.store_result(ct_node, points, point_id, outlined(point_ras))


def draw(segment, change):
    """What the Segment Editor does: other voxels, and the event that tells of them."""
    segmentation = segment.node.GetSegmentation()
    labelmap = segmentation.GetSegment(segment.id).GetRepresentation("Binary labelmap")
    voxels = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(labelmap.GetDimensions()[::-1])
    change(voxels)
    labelmap.Modified()
    segmentation.InvokeEvent(segmentation.SourceRepresentationModified, segment.id)


def halve(voxels):
    voxels[:, :, : voxels.shape[2] // 2] = 0


def keys(edits):
    return [point_id for _, point_id in edits.changed]


def test_segment_is_the_outline_on_a_small_part_of_the_cts_grid(app, ct_node, points):
    store(ct_node, points)
    segment = outline_segments.find_segment(points, "1")
    assert segment.node.GetSegmentation().GetSegment(segment.id).GetName() == "N-1"
    wanted = outlined().outline_in(ct_volume(ct_node))
    found = outline_segments.segment_mask(segment)
    np.testing.assert_array_equal(found.inside, wanted.inside)
    np.testing.assert_allclose(found.ijk_to_ras, wanted.ijk_to_ras, atol=1e-9)
    assert first_voxel_ijk(found, world_ijk_to_ras(ct_node)) is not None
    labelmap = segment.node.GetSegmentation().GetSegment(segment.id).GetRepresentation("Binary labelmap")
    assert labelmap.GetNumberOfPoints() == found.inside.size < synthetic_ct().hu.size / 500


def test_two_nodules_share_the_segmentation_of_their_ct_and_go_one_by_one(app, ct_node, points):
    store(ct_node, points)
    store(ct_node, points, "2", OTHER_RAS)
    (node,) = nodes_of_class(app.scene, "vtkMRMLSegmentationNode")
    assert node.GetSegmentation().GetNumberOfSegments() == 2
    assert len(nodes_of_class(app.scene, "vtkMRMLMarkupsLineNode")) == 4
    points.RemoveNthControlPoint(0)
    result_store.remove_orphans(app.scene)
    assert [segment.point_id for segment in outline_segments.all_segments(app.scene)] == ["2"]
    assert len(nodes_of_class(app.scene, "vtkMRMLMarkupsLineNode")) == 2
    result_store.remove_result(points, "2")
    assert nodes_of_class(app.scene, "vtkMRMLSegmentationNode") == []
    assert nodes_of_class(app.scene, "vtkMRMLMarkupsLineNode") == []
    left = {node.GetClassName() for node in app.scene.GetNodes()}
    assert not {name for name in left if "Segmentation" in name}


def test_everything_goes_with_the_list_of_points(app, ct_node, points):
    store(ct_node, points)
    app.scene.RemoveNode(points)
    result_store.remove_orphans(app.scene)
    assert nodes_of_class(app.scene, "vtkMRMLSegmentationNode") == []
    assert nodes_of_class(app.scene, "vtkMRMLMarkupsLineNode") == []


def test_answer_without_an_outline_takes_the_earlier_one_away(app, ct_node, points):
    store(ct_node, points)
    result_store.store_result(ct_node, points, "1", fake_result())
    assert outline_segments.all_segments(app.scene) == []
    assert find_tagged(axis_lines.LONG, points, "1") is None


def test_segment_and_axes_are_called_as_their_point(app, ct_node, points):
    store(ct_node, points)
    points.SetNthControlPointLabel(0, "apex")
    result_store.follow_labels(points)
    segment = outline_segments.find_segment(points, "1")
    assert segment.node.GetSegmentation().GetSegment(segment.id).GetName() == "apex"
    assert find_tagged(axis_lines.LONG, points, "1").GetName() == "apex long axis"


def test_outline_and_axes_follow_the_transform_of_the_ct(app, ct_node, points):
    turned = random_affine(7)
    ct_node.SetAndObserveTransformNodeID(add_transform(app.scene, turned).GetID())
    point_ras = ct_volume(ct_node).to_ras(synthetic_ct().to_ijk(np.array(NODULE_RAS)))
    store(ct_node, points, "1", point_ras)
    segment, line = outline_segments.find_segment(points, "1"), find_tagged(axis_lines.LONG, points, "1")
    before = outline_segments.segment_mask(segment).centroid_ras()
    np.testing.assert_allclose(before, point_ras, atol=3.0)
    end = np.array(line.GetNthControlPointPositionWorld(0))
    np.testing.assert_allclose(end, np.add(AXES[0][0], point_ras - NODULE_RAS), atol=1e-6)
    shift = np.eye(4)
    shift[:3, 3] = (5.0, -7.0, 11.0)
    ct_node.GetParentTransformNode().SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift @ turned))
    np.testing.assert_allclose(outline_segments.segment_mask(segment).centroid_ras() - before, shift[:3, 3], atol=1e-9)
    np.testing.assert_allclose(np.array(line.GetNthControlPointPositionWorld(0)) - end, shift[:3, 3], atol=1e-6)


@pytest.mark.parametrize("is_hardened", [False, True])
def test_outlines_stay_where_they_are_when_the_next_is_found_under_another_transform(app, ct_node, points, is_hardened):
    """The transform of the CT was changed between two analyses, or hardened."""
    if is_hardened:
        ct_node.SetAndObserveTransformNodeID(add_transform(app.scene, random_affine(7)).GetID())
    place = np.array(NODULE_RAS)
    if is_hardened:
        place = ct_volume(ct_node).to_ras(synthetic_ct().to_ijk(place))
        points.SetNthControlPointPositionWorld(0, *place)
    overlay = store(ct_node, points, "1", place)
    before = outline_node.outline_mask(points, "1")
    if is_hardened:
        ct_node.HardenTransform()
    else:
        ct_node.SetAndObserveTransformNodeID(add_transform(app.scene, random_affine(7)).GetID())
    other = ct_volume(ct_node).to_ras(synthetic_ct().to_ijk(np.array(OTHER_RAS)))
    points.SetNthControlPointPositionWorld(1, *other)
    store(ct_node, points, "2", other)
    np.testing.assert_allclose(outline_node.outline_mask(points, "1").ijk_to_ras, before.ijk_to_ras, atol=1e-9)
    assert outline_edits.take_over_edits(app.scene).changed == []
    assert not has_correction(overlay)
    # A nodule that is analyzed again goes over, and nothing is left behind.
    store(ct_node, points, "1", place)
    assert len(nodes_of_class(app.scene, "vtkMRMLSegmentationNode")) == 1


@pytest.mark.parametrize("is_corrected", [False, True])
@pytest.mark.parametrize("whose", ["CT", "heat map", "outlines", "all"])
def test_hardening_a_transform_is_no_correction(app, ct_node, points, whose, is_corrected):
    turned = np.eye(4)
    turned[:3, 3] = (5.0, -7.0, 11.0)
    ct_node.SetAndObserveTransformNodeID(add_transform(app.scene, turned).GetID())
    place = np.add(NODULE_RAS, turned[:3, 3])
    overlay = store(ct_node, points, "1", place)
    segment = outline_segments.find_segment(points, "1")
    if is_corrected:
        draw(segment, halve)
        outline_edits.take_over_edits(app.scene)
    before = result_store.stored_result(points, "1").result
    for name, node in (("CT", ct_node), ("heat map", overlay), ("outlines", segment.node)):
        if whose in (name, "all"):
            node.HardenTransform()
    assert outline_edits.take_over_edits(app.scene).changed == []
    after = result_store.stored_result(points, "1").result
    assert after.measurement == before.measurement or is_corrected
    assert after.diameter_mm == pytest.approx(before.diameter_mm)
    np.testing.assert_allclose(after.heatmap_to_ras, before.heatmap_to_ras, atol=1e-9)
    if is_corrected:
        np.testing.assert_allclose(after.outline_on_ct.ijk_to_ras, before.outline_on_ct.ijk_to_ras, atol=1e-6)


def test_places_that_older_scenes_keep_in_the_heat_maps_own_space_are_read(app, ct_node, points):
    shift = np.eye(4)
    shift[:3, 3] = (5.0, -7.0, 11.0)
    ct_node.SetAndObserveTransformNodeID(add_transform(app.scene, shift).GetID())
    overlay = store(ct_node, points, "1", np.add(NODULE_RAS, shift[:3, 3]))
    segment = outline_segments.find_segment(points, "1")
    box = outline_segments.segment_mask(segment)
    program = json.loads(overlay.GetAttribute(DRAWN_BY_PROGRAM))
    del program["origin_in_map"]
    program["origin_mm"] = (box.ijk_to_ras[:3, 3] - shift[:3, 3]).tolist()
    overlay.SetAttribute(DRAWN_BY_PROGRAM, json.dumps(program))
    assert outline_edits.take_over_edits(app.scene).changed == []
    draw(segment, halve)
    outline_edits.take_over_edits(app.scene)
    kept = json.loads(overlay.GetAttribute(CORRECTION))
    map_to_local = np.linalg.solve(shift, world_ijk_to_ras(overlay))
    kept["ijk_to_local"] = (map_to_local @ np.array(kept.pop("ijk_to_map"))).tolist()
    overlay.SetAttribute(CORRECTION, json.dumps(kept))
    assert outline_edits.take_over_edits(app.scene).changed == []
    drawn = result_store.stored_result(points, "1").result.outline_on_ct
    np.testing.assert_allclose(drawn.ijk_to_ras, outline_segments.segment_mask(segment).ijk_to_ras, atol=1e-6)


def test_outline_and_axes_lie_in_the_folder_of_the_ct(app, ct_node, points):
    hierarchy = keep_hierarchy(app.scene)
    overlay = store(ct_node, points)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(overlay))
    nodes = [outline_segments.find_segment(points, "1").node]
    nodes += [find_tagged(kind, points, "1") for kind in axis_lines.KINDS]
    assert {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in nodes} == {folder}


def test_untouched_outline_is_not_measured_again(app, ct_node, points):
    overlay = store(ct_node, points)
    edits = outline_edits.take_over_edits(app.scene)
    assert edits.changed == edits.problems == []
    assert not has_correction(overlay)
    assert result_store.stored_result(points, "1").result.diameter_mm == 13.96


def test_edited_outline_is_measured_and_the_answer_says_so(app, ct_node, points):
    store(ct_node, points)
    store(ct_node, points, "2", OTHER_RAS)
    segment = outline_segments.find_segment(points, "1")
    draw(segment, halve)
    assert keys(outline_edits.take_over_edits(app.scene)) == ["1"]
    wanted = measure_mask(outline_segments.segment_mask(segment)).size
    result = result_store.stored_result(points, "1").result
    assert result.measurement.volume_mm3 == pytest.approx(wanted.volume_mm3)
    assert result.diameter_mm == pytest.approx(wanted.diameter_mm)
    assert result.measurement.corrected_by_hand
    assert CORRECTED in result.warnings
    assert not result_store.stored_result(points, "2").result.measurement.corrected_by_hand
    # The table says it, and the axes lie where they were measured.
    table = find_table(points).GetTable()
    assert table.GetValueByName(0, "diameter_mm").ToDouble() == pytest.approx(wanted.diameter_mm, abs=0.06)
    assert CORRECTED in table.GetValueByName(0, "warnings").ToString()
    line = find_tagged(axis_lines.LONG, points, "1")
    np.testing.assert_allclose(line.GetNthControlPointPositionWorld(1), wanted.long_axis_ras[1], atol=1e-6)
    # Exports draw and write the corrected voxels.
    drawn = result.outline_in(ct_volume(ct_node))
    np.testing.assert_array_equal(drawn.inside, outline_segments.segment_mask(segment).inside)
    assert outline_edits.take_over_edits(app.scene).changed == []


def test_undone_edit_brings_the_programs_size_back(app, ct_node, points):
    store(ct_node, points)
    segment, kept = outline_segments.find_segment(points, "1"), []

    def erase(voxels):
        kept.append(voxels.copy())
        halve(voxels)

    draw(segment, erase)
    outline_edits.take_over_edits(app.scene)
    draw(segment, lambda voxels: np.copyto(voxels, kept[0]))
    assert keys(outline_edits.take_over_edits(app.scene)) == ["1"]
    result = result_store.stored_result(points, "1").result
    assert result.diameter_mm == 13.96
    assert CORRECTED not in result.warnings


@pytest.mark.parametrize("what", ["segment", "node", "all voxels"])
def test_deleted_outline_brings_the_programs_size_back_and_can_be_restored(app, ct_node, points, what):
    overlay = store(ct_node, points)
    segment = outline_segments.find_segment(points, "1")
    draw(segment, halve)
    outline_edits.take_over_edits(app.scene)
    if what == "segment":
        segment.node.GetSegmentation().RemoveSegment(segment.id)
    elif what == "node":
        app.scene.RemoveNode(segment.node)
    else:
        draw(segment, lambda voxels: voxels.fill(0))
    assert keys(outline_edits.take_over_edits(app.scene)) == ["1"]
    assert not has_correction(overlay)
    assert result_store.stored_result(points, "1").result.diameter_mm == 13.96
    outline_edits.restore_outline(points, "1")
    wanted = outlined().outline_in(ct_volume(ct_node))
    np.testing.assert_array_equal(outline_node.outline_mask(points, "1").inside, wanted.inside)
    assert outline_edits.take_over_edits(app.scene).changed == []


def test_corrected_outline_stays_when_the_nodule_is_analyzed_again_where_it_was(app, ct_node, points):
    store(ct_node, points)
    segment = outline_segments.find_segment(points, "1")
    draw(segment, halve)
    outline_edits.take_over_edits(app.scene)
    drawn = outline_segments.segment_mask(segment).inside
    result_store.store_result(ct_node, points, "1", replace(outlined(), malignancy_probability=0.2))
    result = result_store.stored_result(points, "1").result
    assert (result.malignancy_probability, result.measurement.corrected_by_hand) == (0.2, True)
    np.testing.assert_array_equal(outline_node.outline_mask(points, "1").inside, drawn)
    # Elsewhere it is another nodule.
    points.SetNthControlPointPositionWorld(0, *OTHER_RAS)
    store(ct_node, points, "1", OTHER_RAS)
    assert not result_store.stored_result(points, "1").result.measurement.corrected_by_hand
    np.testing.assert_allclose(outline_node.outline_mask(points, "1").centroid_ras(), OTHER_RAS, atol=2.0)


def test_far_too_large_outline_is_refused_and_the_answer_stays(app, ct_node, points, monkeypatch):
    from CLIPLungLib.inference import mask_measurement

    store(ct_node, points)
    monkeypatch.setattr(mask_measurement, "LARGEST_EXTENT_MM", 5.0)
    draw(outline_segments.find_segment(points, "1"), halve)
    edits = outline_edits.take_over_edits(app.scene)
    assert edits.changed == []
    assert "is no nodule" in edits.problems[0]
    assert result_store.stored_result(points, "1").result.diameter_mm == 13.96


@pytest.mark.parametrize("is_turned", [False, True])
def test_saved_scene_brings_outlines_corrections_and_axes_back(tmp_path, is_turned):
    with StandaloneSlicer() as app:
        ct_node = app.add_ct(synthetic_ct())
        if is_turned:
            ct_node.SetAndObserveTransformNodeID(add_transform(app.scene, random_affine(7)).GetID())
        places = [ct_volume(ct_node).to_ras(synthetic_ct().to_ijk(np.array(p))) for p in (NODULE_RAS, OTHER_RAS)]
        points = app.add_points("Nodules", [("N-1", places[0]), ("N-2", places[1])])
        for point_id, place in zip("12", places, strict=True):
            store(ct_node, points, point_id, place)
        draw(outline_segments.find_segment(points, "1"), halve)
        outline_edits.take_over_edits(app.scene)
        before = [outline_node.outline_mask(points, point_id) for point_id in "12"]
        size = result_store.stored_result(points, "1").result.measurement
        file = app.save(tmp_path / "scene.mrb")
    with StandaloneSlicer() as app:
        app.load(file)
        (points,) = nodes_of_class(app.scene, "vtkMRMLMarkupsFiducialNode")
        assert outline_edits.take_over_edits(app.scene).changed == []
        result = result_store.stored_result(points, "1").result
        assert result.measurement.corrected_by_hand
        assert result.measurement.volume_mm3 == pytest.approx(size.volume_mm3)
        assert not result_store.stored_result(points, "2").result.measurement.corrected_by_hand
        assert find_tagged(axis_lines.SHORT, points, "2").GetNumberOfControlPoints() == 2
        for point_id, wanted in zip("12", before, strict=True):
            found = outline_node.outline_mask(points, point_id)
            np.testing.assert_array_equal(found.inside, wanted.inside)
            np.testing.assert_allclose(found.ijk_to_ras, wanted.ijk_to_ras, atol=1e-6)


def test_loaded_segments_get_boxes_of_their_own_again(app, ct_node, points, tmp_path, monkeypatch):
    store(ct_node, points)
    store(ct_node, points, "2", OTHER_RAS)
    app.load(app.save(tmp_path / "scene.mrb"))
    monkeypatch.setattr(outline_segments, "SMALLEST_BOX_VOXELS", 100)
    segments = outline_segments.all_segments(app.scene)
    before = [outline_segments.segment_mask(segment).inside for segment in segments]
    outline_segments.keep_local(app.scene)
    for segment, inside in zip(segments, before, strict=True):
        labelmap = segment.node.GetSegmentation().GetSegment(segment.id).GetRepresentation("Binary labelmap")
        assert labelmap.GetNumberOfPoints() == inside.size
        np.testing.assert_array_equal(outline_segments.segment_mask(segment).inside, inside)
    assert outline_edits.take_over_edits(app.scene).changed == []


def test_closed_scene_leaves_nothing_to_measure(app, ct_node, points):
    store(ct_node, points)
    app.scene.Clear(False)
    edits = outline_edits.take_over_edits(app.scene)
    assert (edits.changed, edits.problems) == ([], [])


def test_copy_that_a_user_made_is_theirs(app, ct_node, points):
    store(ct_node, points)
    segment = outline_segments.find_segment(points, "1")
    segmentation = segment.node.GetSegmentation()
    copy = slicer.vtkSegment()
    copy.SetTag(POINT_ID, "1")
    copy.SetTag(SELF_ROLE, segment.id)
    copy.AddRepresentation(
        "Binary labelmap", segmentation.GetSegment(segment.id).GetRepresentation("Binary labelmap").NewInstance()
    )
    segmentation.AddSegment(copy, "mine")
    assert [s.id for s in outline_segments.all_segments(app.scene)] == [segment.id]
    result_store.remove_result(points, "1")
    assert segmentation.GetSegmentIDs() == ("mine",)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"shape": [9, 9], "bits": "", "ijk_to_local": []}', '{"shape": [99999, 99999, 99999]}']
)
def test_damaged_correction_is_refused_not_believed(app, ct_node, points, text):
    overlay = store(ct_node, points)
    overlay.SetAttribute(CORRECTION, text)
    if not text:
        assert not result_store.stored_result(points, "1").result.measurement.corrected_by_hand
        return
    with pytest.raises(InputError, match="is damaged"):
        result_store.stored_result(points, "1")


def test_without_segmentations_a_label_map_shows_the_outline(app, ct_node, points, monkeypatch, caplog):
    monkeypatch.setattr(outline_segments, "can_segment", lambda: False)
    outline_node._say_once.cache_clear()
    store(ct_node, points)
    store(ct_node, points, "2", OTHER_RAS)
    assert [r.message for r in caplog.records].count(outline_node.NO_SEGMENTATIONS) == 1
    node = outline_labelmap.find_labelmap(points, "1")
    assert node.GetClassName() == "vtkMRMLLabelMapVolumeNode"
    wanted = outlined().outline_in(ct_volume(ct_node))
    np.testing.assert_array_equal(outline_node.outline_mask(points, "1").inside, wanted.inside)
    slicer.util.arrayFromVolume(node)[:, :, :3] = 0
    slicer.util.arrayFromVolumeModified(node)
    assert keys(outline_edits.take_over_edits(app.scene)) == ["1"]
    points.SetNthControlPointLabel(0, "apex")
    result_store.follow_labels(points)
    assert node.GetName() == "CT apex outline"
    points.RemoveAllControlPoints()
    result_store.remove_orphans(app.scene)
    assert nodes_of_class(app.scene, "vtkMRMLLabelMapVolumeNode") == []


def test_drawn_segment_stands_for_a_click(app, ct_node):
    node = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    image = slicer.vtkOrientedImageData()
    image.SetExtent(0, 20, 0, 20, 0, 0)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    j, i = np.indices((21, 21)) - 10
    ring = (np.hypot(i, j) < 9) & (np.hypot(i, j) > 5)
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = ring.ravel()
    part = slicer.vtkSegment()
    part.AddRepresentation("Binary labelmap", image)
    node.GetSegmentation().AddSegment(part, "ring")
    shift = np.eye(4)
    shift[:3, 3] = (100.0, 0.0, 0.0)
    node.SetAndObserveTransformNodeID(add_transform(app.scene, shift).GetID())
    right, anterior, _ = outline_edits.segment_click_ras(node, "ring")
    assert 5 < np.hypot(right - 110, anterior - 10) < 9
    with pytest.raises(InputError, match="No segment is selected"):
        outline_edits.segment_click_ras(node, "none")
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = 0
    with pytest.raises(InputError, match="is empty"):
        outline_edits.segment_click_ras(node, "ring")


def test_axes_are_kept_in_the_record_and_records_without_them_are_read(app, ct_node, points):
    overlay = store(ct_node, points)
    assert result_store.stored_result(points, "1").result.measurement == outlined().measurement
    record = json.loads(overlay.GetAttribute(RESULT))
    for name in ("short_diameter_mm", "long_axis_ras", "short_axis_ras", "corrected_by_hand"):
        del record["result"]["measurement"][name]
    overlay.SetAttribute(RESULT, json.dumps(record))
    size = result_store.stored_result(points, "1").result.measurement
    assert (size.diameter_mm, size.long_axis_ras, size.corrected_by_hand) == (13.96, None, False)
    record["result"]["measurement"]["long_axis_ras"] = [[0, 0, 0], [0, 0]]
    overlay.SetAttribute(RESULT, json.dumps(record))
    with pytest.raises(InputError, match="is damaged"):
        result_store.stored_result(points, "1")


def test_surface_follows_the_outline_where_the_application_can_make_one(app, ct_node, points):
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    rule = slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule()
    factory.RegisterConverterRule(rule)
    try:
        store(ct_node, points)
        for point_ras in (NODULE_RAS, OTHER_RAS):
            points.SetNthControlPointPositionWorld(0, *point_ras)
            store(ct_node, points, "1", point_ras)
            segment = outline_segments.find_segment(points, "1")
            surface = segment.node.GetSegmentation().GetSegment(segment.id).GetRepresentation("Closed surface")
            np.testing.assert_allclose(surface.GetCenter(), point_ras, atol=2.5)
    finally:
        factory.UnregisterConverterRule(rule)
