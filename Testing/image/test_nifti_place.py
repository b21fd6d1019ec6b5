"""A NIfTI says where it lies by its sform, its qform or both: both must name the same place."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.synthetic_dicom import ramp_hu
from scipy.spatial.transform import Rotation

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.nifti import _header, _matrix
from CLIPLungLib.image.read import read_ct

PLACE = np.array([[-0.7, 0, 0, 120.0], [0, -0.8, 0, 90.0], [0, 0, 2.5, -310.0], [0, 0, 0, 1]])


def nifti(
    folder: Path,
    sform: np.ndarray | None = None,
    qform: np.ndarray | None = None,
    codes: tuple[int, int] = (1, 1),
    version: int = 1,
    order: str = "<",
) -> Path:
    """ramp_hu() under these matrices; `codes` are those of the sform and the qform."""
    hu, turned = ramp_hu(), np.eye(4) if qform is None else qform
    rotation = turned[:3, :3] / np.linalg.norm(turned[:3, :3], axis=0)
    spacing = np.linalg.norm((sform if qform is None and sform is not None else turned)[:3, :3], axis=0)
    handed = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    x, y, z, w = Rotation.from_matrix(rotation * [1, 1, handed]).as_quat()
    quaternion = np.array([x, y, z]) * (1 if w >= 0 else -1)
    rows = (np.eye(4) if sform is None else sform)[:3].ravel()
    codes = (codes[1] if qform is not None else 0, codes[0] if sform is not None else 0)
    header, size = bytearray(352 if version == 1 else 544), (3, *hu.shape[::-1], 1, 1, 1, 1)
    # Layout and offset of each field in either version.
    fields = [
        (("i", 0), ("i", 0), (348 if version == 1 else 540,)),
        (("4s", 344), ("8s", 4), (b"n+1\0" if version == 1 else b"n+2\0\r\n\x1a\n",)),
        (("8h", 40), ("8q", 16), size),
        (("2h", 70), ("2h", 12), (4, 16)),
        (("8f", 76), ("8d", 104), (handed, *spacing, 0, 0, 0, 0)),
        (("f", 108), ("q", 168), (len(header),)),
        (("2h", 252), ("2i", 344), codes),
        (("6f", 256), ("6d", 352), (*quaternion, *turned[:3, 3])),
        (("12f", 280), ("12d", 400), rows),
        (("B", 123), ("i", 500), (2,)),
    ]
    for first, second, values in fields:
        layout, offset = first if version == 1 else second
        struct.pack_into(order + layout, header, offset, *values)
    path = folder / "ct.nii"
    path.write_bytes(bytes(header) + hu.astype(f"{order}i2").tobytes())
    return path


def moved(place: np.ndarray, *shift_mm: float) -> np.ndarray:
    result = place.copy()
    result[:3, 3] += shift_mm
    return result


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("forms", ["sform", "qform", "both"])
def test_each_form_alone_and_both_together_give_the_place(tmp_path, version, order, forms):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", [10, -20, 35], degrees=True).as_matrix()
    place = turn @ PLACE
    sform, qform = (None if forms == other else place for other in ("qform", "sform"))
    ct = read_ct(nifti(tmp_path, sform, qform, version=version, order=order))
    assert np.allclose(ct.ijk_to_ras, place, rtol=0, atol=1e-4)
    assert (ct.hu == ramp_hu()).all()
    assert ct.hu.dtype.isnative


def test_the_place_is_the_one_itk_finds(tmp_path):
    path = nifti(tmp_path, PLACE, PLACE)
    image, ct = sitk.ReadImage(str(path)), read_ct(path)
    for index in ((0, 0, 0), (6, 4, 5)):
        assert np.allclose(ct.to_ras(index) * (-1, -1, 1), image.TransformIndexToPhysicalPoint(index), atol=1e-4)


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (1, 2), (4, 1)])
def test_two_places_are_refused_with_both_and_their_distance(tmp_path, codes):
    path = nifti(tmp_path, PLACE, moved(PLACE, 40, 0, 0), codes)
    expected = r"two places.*\(120\.0, 90\.0, -310\.0\) RAS mm by its sform.*\(160\.0, 90\.0, -310\.0\) RAS mm by its qform, 40\.0 mm"
    with pytest.raises(InputError, match=expected):
        read_ct(path)


def tilted(degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The sheared sform and the square qform of a tilted gantry."""
    angle = np.radians(degrees)
    sform = np.eye(4)
    sform[:3, 0], sform[:3, 1], sform[:3, 2] = (-1, 0, 0), (0, -np.cos(angle), -np.sin(angle)), (0, 0, 2)
    qform = sform.copy()
    qform[:3, 2] = np.cross(sform[:3, 0], sform[:3, 1]) * 2
    return sform, qform


@pytest.mark.parametrize("degrees", [-25, 3, 20])
def test_a_tilted_gantry_of_dcm2niix_is_refused(tmp_path, degrees):
    sform, qform = tilted(degrees)
    with pytest.raises(InputError, match=r"two places.*tilted gantry.*Load the CT from DICOM"):
        read_ct(nifti(tmp_path, sform, qform))
    with pytest.raises(InputError, match="axes that lie askew"):
        read_ct(nifti(tmp_path, sform))


@pytest.mark.parametrize("change", ["flipped", "other spacing", "turned"])
def test_other_disagreements_are_refused(tmp_path, change):
    other = PLACE.copy()
    if change == "flipped":
        other[0] *= -1
    elif change == "other spacing":
        other[2, 2] = 2.6
    else:
        other[:3, :3] = Rotation.from_euler("z", 5, degrees=True).as_matrix() @ other[:3, :3]
    with pytest.raises(InputError, match="names two places"):
        read_ct(nifti(tmp_path, PLACE, other))


@pytest.mark.parametrize("spacing_mm", [(0.7, 0.8, 1.25), (1, 1, 1), (0, 0, 0), (-0.7, -0.8, -2.5), (np.nan, 0.8, 2.5)])
def test_a_spacing_beside_the_sform_that_is_not_its_own_is_refused(tmp_path, spacing_mm):
    path = nifti(tmp_path, PLACE)
    data = bytearray(path.read_bytes())
    struct.pack_into("<3f", data, 80, *spacing_mm)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"two spacings: 0\.7 x 0\.8 x 2\.5 mm by its sform and .*as pixdim"):
        read_ct(path)


def test_a_difference_of_rounding_is_none(tmp_path):
    ct = read_ct(nifti(tmp_path, PLACE, moved(PLACE, 0.04, 0.04, 0.04)))
    assert np.allclose(ct.ijk_to_ras, PLACE, atol=1e-4)


@pytest.mark.parametrize("degrees", [0.0, 0.3, -0.95, 3.62, -6.16, -7.35])
@pytest.mark.parametrize("axis", ["x", "y", "xy"])
def test_slices_turned_a_little_are_read_however_their_quaternion_was_rounded(tmp_path, degrees, axis):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler(axis, [degrees] * len(axis), degrees=True).as_matrix()
    path = nifti(tmp_path, turn @ PLACE, turn @ PLACE)
    # As large as a CT, with no voxels: both forms are compared at the far corners.
    with path.open("rb") as stream:
        header = _header(path, stream, False)
    assert np.allclose(_matrix(path, header, [512, 512, 400]), turn @ PLACE, rtol=0, atol=1e-4)
    with pytest.raises(InputError, match="names two places"):
        _matrix(path, replace(header, quaternion=header.quaternion + [0, 0, 0, 0.11, 0, 0]), [512, 512, 400])
    with pytest.raises(InputError, match="names two places"):
        _matrix(
            path,
            replace(header, quaternion=header.quaternion * [0.9999, 1, 1, 1, 1, 1] + [1e-3, 0, 0, 0, 0, 0]),
            [512, 512, 400],
        )


def test_an_unset_form_may_hold_anything(tmp_path):
    assert np.allclose(read_ct(nifti(tmp_path, PLACE, moved(PLACE, 40, 0, 0), (1, 0))).ijk_to_ras, PLACE, atol=1e-4)
