"""Planes of one value only: refused between others near the point, no part of the scan at its ends, and nothing elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec, extract_patch

SPEC = PatchSpec(shape=(15, 32, 32), spacing_mm=(1.5, 0.75, 0.75))
MIDDLE_RAS = np.array([20.0, 20.0, 20.0])
# The axis of the array along which the patient's axial planes follow each other.
AXES = pytest.mark.parametrize("axis", [0, 1, 2], ids=["axial first", "axial second", "axial last"])
VALUES = pytest.mark.parametrize("value", [0, -1024, -2048, 40])


def chest() -> np.ndarray:
    """(60, 40, 40) HU: lung with a nodule around its plane 20."""
    k, j, i = np.mgrid[:60, :40, :40] - 20.0
    hu = np.where(i > 6, 40.0, -850.0)
    hu[np.sqrt(i**2 + j**2 + k**2) < 4] = 30
    return np.rint(hu + np.random.default_rng(0).normal(0, 25.0, hu.shape)).astype(np.int16)


def blanked(value: int, planes: slice) -> np.ndarray:
    hu = chest()
    hu[planes] = value
    return hu


def turned(hu: np.ndarray, axis: int) -> CTVolume:
    """The volume stored with its axial planes along another axis of the array."""
    order = {0: (0, 1, 2), 1: (1, 0, 2), 2: (1, 2, 0)}[axis]
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3)[:, [2 - order[2 - column] for column in range(3)]]
    return CTVolume(np.ascontiguousarray(hu.transpose(order)), matrix, "chest")


@AXES
def test_a_turned_volume_is_the_same(axis):
    ct = turned(chest(), axis)
    assert ct.upward_axis == 2 - axis
    assert (extract_patch(ct, MIDDLE_RAS, SPEC).hu == extract_patch(turned(chest(), 0), MIDDLE_RAS, SPEC).hu).all()


@AXES
@VALUES
@pytest.mark.parametrize("planes", [slice(19, 20), slice(10, 13), slice(30, 31)])
def test_blank_planes_near_the_point_are_refused(axis, value, planes):
    named = ", ".join(str(k) for k in range(60)[planes])
    with pytest.raises(
        InputError, match=rf"one value only in the plane\(s\) \[{named}\] around the point.*Copy or export the complete"
    ):
        extract_patch(turned(blanked(value, planes), axis), MIDDLE_RAS, SPEC)


@AXES
def test_blank_planes_elsewhere_hinder_nothing(axis):
    patch = extract_patch(turned(blanked(0, slice(40, 45)), axis), MIDDLE_RAS, SPEC)
    assert (patch.hu == extract_patch(turned(chest(), 0), MIDDLE_RAS, SPEC).hu).all()


@AXES
@VALUES
@pytest.mark.parametrize("planes", [slice(25, None), slice(0, 15)], ids=["above", "below"])
def test_blank_planes_at_an_end_are_no_part_of_the_scan(axis, value, planes):
    patch = extract_patch(turned(blanked(value, planes), axis), MIDDLE_RAS, SPEC)
    matrix = np.eye(4)
    matrix[2, 3] = 0 if planes.start else planes.stop
    cut = CTVolume(np.delete(chest(), planes, axis=0), matrix)
    expected = extract_patch(cut, MIDDLE_RAS, SPEC)
    assert patch.exists.tolist() == expected.exists.tolist()
    assert 0 < patch.exists.sum() < len(patch.exists)
    assert np.allclose(patch.hu, expected.hu)
    assert patch.inside_fraction == expected.inside_fraction


def test_doubtful_planes_keep_their_place_when_an_end_is_cut():
    matrix = np.eye(4)
    ct = CTVolume(blanked(-1024, slice(0, 15)), matrix, doubtful_k=(40,))
    assert any("1 slice(s) of the scan are missing" in text for text in extract_patch(ct, MIDDLE_RAS, SPEC).warnings)
    near = CTVolume(blanked(-1024, slice(0, 15)), matrix, doubtful_k=(22,))
    with pytest.raises(InputError, match="lacks slices"):
        extract_patch(near, MIDDLE_RAS, SPEC)


def test_a_made_up_image_without_noise_is_flat_everywhere():
    hu = np.full((60, 40, 40), -850, np.int16)
    hu[18:23, 18:23, 18:23] = 30
    assert extract_patch(CTVolume(hu, np.eye(4)), MIDDLE_RAS, SPEC).exists.all()


def test_a_plane_with_one_other_voxel_is_not_blank():
    hu = blanked(-1024, slice(19, 20))
    hu[19, 39, 39] = 0
    assert extract_patch(CTVolume(hu, np.eye(4)), MIDDLE_RAS, SPEC).exists.all()
