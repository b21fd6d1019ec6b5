"""The paper's crop: twice the diameter, in patient space, of the nodule's own planes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.tiny_reproduction import PUBLISHED, nodule

from CLIPLungLib.dataset.data_folder import write_crop
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.reproduction.crops import NO_DIAMETER, NO_IMAGE, NO_RATINGS, SINGLE_SLICE, cut_crop, cut_crops

DIAMETER_MM = 12.0


def rotation(degrees: float) -> np.ndarray:
    """About an axis that is none of the patient's."""
    axis = np.array([1.0, 2.0, 3.0]) / np.sqrt(14)
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


GEOMETRIES = {
    "native": np.diag([-0.7, -0.7, 1.25]),
    "flipped": np.diag([0.7, -0.7, -1.25]),
    "turned planes": np.array([[0.0, 0.0, 0.7], [1.25, 0.0, 0.0], [0.0, 0.7, 0.0]]),
    "oblique": rotation(25) @ np.diag([-0.7, -0.7, 1.25]),
}


def ball(directions: np.ndarray) -> CTVolume:
    """A ball of 12 mm at RAS (5, -7, 9), and a bright spot 8 mm to the left, 5 mm to the back and 3 mm above it."""
    center_ras = np.array([5.0, -7.0, 9.0])
    matrix = np.eye(4)
    matrix[:3, :3] = directions
    matrix[:3, 3] = center_ras - directions @ (np.array([70, 72, 44]) - 1) / 2
    volume = CTVolume(np.full((44, 72, 70), -850, np.int16), matrix, "ball")
    k, j, i = np.indices(volume.hu.shape)
    ras = volume.to_ras(np.stack([i, j, k], axis=-1)) - center_ras
    volume.hu[np.linalg.norm(ras, axis=-1) <= DIAMETER_MM / 2] = 40
    volume.hu[np.linalg.norm(ras - (-8.0, -5.0, 3.0), axis=-1) <= 1.6] = 1500
    return volume


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_crop_is_twice_the_diameter_along_the_patients_axes(geometry):
    crop = cut_crop(ball(GEOMETRIES[geometry]), np.array([5.0, -7.0, 9.0]), DIAMETER_MM, PUBLISHED)
    assert crop.hu.shape == (32, 32, 32)
    assert (crop.repeated_planes, crop.repeated_voxels) == (0, 0)
    # Half of each edge, so (pi / 6) / 8 of the cube, around its middle; the spot does not count.
    inside = (crop.hu > -405) & (np.linalg.norm(np.indices((32, 32, 32)) - 15.5, axis=0) < 10)
    assert abs(inside.mean() / (np.pi / 48) - 1) < 0.05
    np.testing.assert_allclose(np.argwhere(inside).mean(axis=0), 15.5, atol=0.1)
    # The spot, in voxels of 0.75 mm from the middle: planes upwards, rows to the back, columns to the left.
    spot = np.argwhere(crop.hu > 600).mean(axis=0) - 15.5
    np.testing.assert_allclose(spot * 0.75, (3.0, 5.0, 8.0), atol=0.5)


def test_what_lies_beyond_the_image_repeats_its_border_and_is_counted():
    hu = np.tile(np.arange(8, dtype=np.int16)[:, None, None] * 10, (1, 60, 60))
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0])
    matrix[:3, 3] = (29.5, 29.5, -3.5)
    crop = cut_crop(CTVolume(hu - 500, matrix, "short"), np.zeros(3), 8.0, PUBLISHED)
    # 16 mm in planes of 0.5 mm, of which the image has 8 mm.
    assert crop.repeated_planes == crop.repeated_voxels == 0.5
    assert (crop.hu[:8] == -500).all()
    assert (crop.hu[-8:] == -430).all()
    np.testing.assert_allclose(np.diff(crop.hu[9:23, 0, 0]), 5.0, atol=1e-3)


def test_every_crop_holds_its_own_scan_only(tmp_path):
    nodules = [nodule(index) for index in range(3)]
    for index, item in enumerate(nodules):
        hu = np.full((4, 20, 20), -900 + 100 * index, np.int16)
        write_crop(tmp_path / item.images["crop"], CTVolume(hu, np.diag([-1.0, -1.0, 1.0, 1.0]), item.nodule_id))
    crops = cut_crops(tmp_path, nodules, PUBLISHED)
    assert [set(np.unique(hu)) for hu in crops.hu] == [{-900}, {-800}, {-700}]


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path):
    nodules = [
        nodule(0),
        nodule(1, images={}, slice_index=0),
        nodule(2, images={}),
        nodule(3, diameter_mm=float("nan")),
        nodule(4, ratings=nodule(4).ratings | {"margin": ()}),
        nodule(5),
    ]
    for index, planes in ((0, 6), (5, 1)):
        hu = np.full((planes, 20, 20), -700, np.int16)
        write_crop(tmp_path / nodules[index].images["crop"], CTVolume(hu, np.diag([-1.0, -1.0, 1.0, 1.0]), "n"))
    crops = cut_crops(tmp_path, nodules, PUBLISHED)
    assert crops.nodule.tolist() == [0]
    assert crops.left_out == {SINGLE_SLICE: 2, NO_IMAGE: 1, NO_DIAMETER: 1, NO_RATINGS: 1}
    with pytest.raises(InputError, match=r"No nodule of .* can be used"):
        cut_crops(tmp_path, nodules[1:5], PUBLISHED)


def test_true_context_is_preferred(tmp_path):
    item = nodule(
        0, images={"volume": "volume.nrrd", "cube": "cube.nrrd", "crop": "crop.nrrd"}, point_ras=(0.0, 0.0, 0.0)
    )
    for place, kind in enumerate(("volume", "cube", "crop")):
        hu = np.full((4, 20, 20), -900 + 100 * place, np.int16)
        write_crop(tmp_path / f"{kind}.nrrd", CTVolume(hu, np.diag([-1.0, -1.0, 1.0, 1.0]), kind))
    crops = cut_crops(tmp_path, [item], PUBLISHED)
    assert crops.kind == ("crop",)
    assert (crops.hu == -700).all()
