"""The outline as a file: read by SimpleITK, by 3D Slicer's own reader, and by the commands that write it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.full_disk import largest_file

from CLIPLungLib.cli import main
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.outline_mask import OutlineMask, on_grid_of
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.result_files import write_ct
from CLIPLungLib.inference.segmentation_file import write_segmentation

POINT = ["10", "-20", "30"]


@pytest.fixture
def outline(ball_ct):
    return on_grid_of(OutlineMask(ball_ct.hu > 0, ball_ct.ijk_to_ras), ball_ct)


def test_file_holds_the_voxels_at_their_place(outline, ball_ct, tmp_path):
    write_segmentation(outline, tmp_path / "n.seg.nrrd", "N-1")
    volume = read_ct(tmp_path / "n.seg.nrrd")
    np.testing.assert_array_equal(volume.hu, outline.inside)
    np.testing.assert_allclose(volume.ijk_to_ras, outline.ijk_to_ras, atol=1e-9)
    # The box is the ball's, not the scan's.
    assert volume.hu.size < 20**3 < ball_ct.hu.size


def test_slicer_reads_it_as_a_segment_on_the_grid_of_the_ct(outline, ball_ct, tmp_path):
    slicer_scene = pytest.importorskip("helpers.slicer_scene")
    slicer, vtk = slicer_scene.slicer, slicer_scene.vtk
    write_segmentation(outline, tmp_path / "n.seg.nrrd", "N-1\nnew")
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "n.seg.nrrd"))
    assert storage.ReadData(node)
    segmentation = node.GetSegmentation()
    assert segmentation.GetSegmentIDs() == ("nodule",)
    segment = segmentation.GetSegment("nodule")
    assert segment.GetName() == "N-1 new"
    image, matrix = segment.GetRepresentation("Binary labelmap"), vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    ijk_to_ras = slicer.util.arrayFromVTKMatrix(matrix)
    np.testing.assert_allclose(ijk_to_ras, ball_ct.ijk_to_ras, atol=1e-6)
    first_kji = np.argwhere(ball_ct.hu > 0).min(axis=0)
    assert image.GetExtent()[::2] == tuple(first_kji[::-1])
    geometry = segmentation.GetConversionParameter("Reference image geometry")
    assert geometry.rstrip(";").split(";")[16:] == ["0", "99", "0", "99", "0", "39"]


def test_wrong_names_empty_outlines_and_full_disks_are_refused(outline, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.seg\.nrrd"):
        write_segmentation(outline, tmp_path / "n.nrrd")
    with pytest.raises(InputError, match="is empty"):
        write_segmentation(replace(outline, inside=outline.inside & False), tmp_path / "n.seg.nrrd")
    with largest_file(100), pytest.raises(InputError, match="cannot be written"):
        write_segmentation(outline, tmp_path / "n.seg.nrrd")
    assert list(tmp_path.iterdir()) == []


def outlines_nothing(monkeypatch):
    """An untrained network may outline anything; here it outlines nothing."""
    from CLIPLungLib.inference import readout

    monkeypatch.setattr(readout, "measure_outline", lambda *_: None)


def outlines_a_ball(monkeypatch):
    from CLIPLungLib.inference import outline_measurement, readout

    def measured(inside, spacing_mm, exists=None):
        grid = (np.indices(inside.shape) - ((np.array(inside.shape) - 1) / 2)[:, None, None, None]).T * spacing_mm
        ball = (np.linalg.norm(grid, axis=-1).T < 6.0).astype(float)
        return outline_measurement.measure_outline(ball, spacing_mm, exists)

    monkeypatch.setattr(readout, "measure_outline", measured)


def test_classify_writes_the_outline_only_when_asked(ball_ct, tmp_path, tiny_checkpoint_file, monkeypatch, capsys):
    write_ct(ball_ct, tmp_path / "ct.nrrd")
    call = ["classify", str(tmp_path / "ct.nrrd"), "--point", *POINT, "--checkpoint", str(tiny_checkpoint_file)]
    output = ["--device", "cpu", "--output", str(tmp_path / "out")]
    outlines_a_ball(monkeypatch)
    assert main([*call, *output]) == 0
    file = tmp_path / "out" / "segmentation.seg.nrrd"
    assert not file.exists()
    assert main([*call, *output, "--segmentation"]) == 0
    assert "segmentation.seg.nrrd" in capsys.readouterr().out
    volume = read_ct(file)
    voxels_ras = volume.to_ras(np.argwhere(volume.hu)[:, ::-1])
    np.testing.assert_allclose(voxels_ras.mean(axis=0), np.array(POINT, float), atol=0.5)
    plain = json.loads((tmp_path / "out" / "result.json").read_text())
    ends = np.array(plain["measurement"]["long_axis_ras"])
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(12.0, abs=1.0)
    # An answer without an outline leaves none of an earlier one behind.
    outlines_nothing(monkeypatch)
    assert main([*call, *output, "--segmentation"]) == 0
    assert not file.exists()
    assert "nothing could be outlined" in capsys.readouterr().out


def test_cohort_writes_outlines_and_resumes_where_one_is_missing(ball_ct, tmp_path, tiny_checkpoint_file, monkeypatch):
    from CLIPLungLib.inference.classifier import NoduleClassifier

    write_ct(ball_ct, tmp_path / "ct.nrrd")
    rows = ["id,image,r,a,s", "a,ct.nrrd,10,-20,30", "b,ct.nrrd,11,-20,30"]
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    call = ["batch", str(tmp_path / "cohort.csv"), "--checkpoint", str(tiny_checkpoint_file), "--device", "cpu"]
    call += ["--output", str(tmp_path / "out"), "--segmentation"]
    outlines_a_ball(monkeypatch)
    assert main(call) == 0
    folder = tmp_path / "out" / "segmentations"
    assert sorted(file.name for file in folder.iterdir()) == ["a.seg.nrrd", "b.seg.nrrd"]
    (folder / "b.seg.nrrd").unlink()
    asked = []
    whole = NoduleClassifier.classify_patches

    def counted(self, patches, *rest, **named):
        asked.append(len(patches))
        return whole(self, patches, *rest, **named)

    monkeypatch.setattr(NoduleClassifier, "classify_patches", counted)
    assert main(call) == 0
    assert asked == [1]
    assert (folder / "b.seg.nrrd").is_file()
    assert main(call) == 0
    assert asked == [1]


def test_cohort_does_not_ask_again_for_what_could_not_be_outlined(ball_ct, tmp_path, tiny_checkpoint_file, monkeypatch):
    from CLIPLungLib.inference.classifier import NoduleClassifier

    write_ct(ball_ct, tmp_path / "ct.nrrd")
    (tmp_path / "cohort.csv").write_text("id,image,r,a,s\na,ct.nrrd,10,-20,30\n")
    call = ["batch", str(tmp_path / "cohort.csv"), "--checkpoint", str(tiny_checkpoint_file), "--device", "cpu"]
    call += ["--output", str(tmp_path / "out"), "--segmentation"]
    outlines_nothing(monkeypatch)
    assert main(call) == 0
    monkeypatch.setattr(NoduleClassifier, "classify_patches", lambda *_, **__: pytest.fail("asked again"))
    assert main(call) == 0
