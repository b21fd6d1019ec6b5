"""Image files give the HU and the RAS positions their format states. Files that are refused are in test_bad_input."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.synthetic_dicom import ramp_hu, write_series
from scipy.spatial.transform import Rotation

from CLIPLungLib.image.read import read_ct

NAMES = ("ct.nrrd", "ct.nhdr", "ct.nii", "ct.nii.gz", "ct.mha", "ct.mhd")
RAW_NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 7 5 6\nencoding: raw\nendian: little\n"


def oblique_image() -> sitk.Image:
    image = sitk.GetImageFromArray(ramp_hu())
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-120.0, 33.0, -410.0))
    image.SetDirection(Rotation.from_euler("xyz", [10, -20, 35], degrees=True).as_matrix().ravel().tolist())
    return image


def nifti_bytes(folder: Path) -> bytearray:
    """A NIfTI of ramp_hu at identity; its header is then changed byte by byte."""
    path = folder / "made.nii"
    sitk.WriteImage(sitk.GetImageFromArray(ramp_hu()), str(path))
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("compressed", [False, True])
def test_every_format_keeps_values_and_patient_positions(tmp_path, name, compressed):
    image = oblique_image()
    sitk.WriteImage(image, str(tmp_path / name), compressed)
    ct = read_ct(tmp_path / name)
    assert ct.hu.dtype == np.int16
    assert (ct.hu == ramp_hu()).all()
    for index in ((0, 0, 0), (6, 4, 5), (1, 3, 2)):
        left, posterior, superior = image.TransformIndexToPhysicalPoint(index)
        # NIfTI stores single precision.
        assert np.allclose(ct.to_ras(index), [-left, -posterior, superior], rtol=0, atol=1e-4)


def test_name_and_format_are_told(tmp_path):
    sitk.WriteImage(oblique_image(), str(tmp_path / "Thorax.NII.GZ".lower()))
    ct = read_ct(str(tmp_path / "thorax.nii.gz"))
    assert ct.name == "thorax.nii.gz"
    assert ct.source == {"file": "thorax.nii.gz", "format": "NIfTI"}


def test_the_suffix_may_be_in_capitals(tmp_path):
    sitk.WriteImage(oblique_image(), str(tmp_path / "ct.nrrd"))
    (tmp_path / "ct.nrrd").rename(tmp_path / "CT.NRRD")
    assert (read_ct(tmp_path / "CT.NRRD").hu == ramp_hu()).all()


@pytest.mark.parametrize("pixel_type", [sitk.sitkInt32, sitk.sitkFloat32])
def test_the_stored_number_type_is_kept(tmp_path, pixel_type):
    image = sitk.Cast(oblique_image(), pixel_type)
    sitk.WriteImage(image, str(tmp_path / "ct.nrrd"))
    ct = read_ct(tmp_path / "ct.nrrd")
    assert ct.hu.dtype == sitk.GetArrayViewFromImage(image).dtype
    assert (ct.hu == ramp_hu()).all()


def test_the_voxels_outlive_the_reader(tmp_path):
    sitk.WriteImage(oblique_image(), str(tmp_path / "ct.nrrd"))
    volumes = [read_ct(tmp_path / "ct.nrrd") for _ in range(20)]
    assert all((ct.hu == ramp_hu()).all() for ct in volumes)


@pytest.mark.parametrize(
    ("space", "first_voxel_ras"),
    [
        ("left-posterior-superior", [-1, -2, 3]),
        ("right-anterior-superior", [1, 2, 3]),
        ("left-anterior-superior", [-1, 2, 3]),
    ],
)
def test_nrrd_is_read_in_the_space_it_states(tmp_path, space, first_voxel_ras):
    header = f"{RAW_NRRD}space: {space}\nspace directions: (2,0,0) (0,3,0) (0,0,4)\nspace origin: (1,2,3)\n\n"
    (tmp_path / "ct.nrrd").write_bytes(header.encode() + ramp_hu().tobytes())
    ct = read_ct(tmp_path / "ct.nrrd")
    assert ct.to_ras([0, 0, 0]).tolist() == first_voxel_ras
    assert ct.spacing_mm.tolist() == [2, 3, 4]


def test_a_sheared_nrrd_keeps_its_shear(tmp_path):
    header = f"{RAW_NRRD}space: RAS\nspace directions: (2,0,0) (0,3,0) (0,1.5,4)\nspace origin: (0,0,0)\n\n"
    (tmp_path / "ct.nrrd").write_bytes(header.encode() + ramp_hu().tobytes())
    assert np.allclose(read_ct(tmp_path / "ct.nrrd").to_ras([0, 0, 2]), [0, 3, 8])


@pytest.mark.parametrize(("qform_code", "sform_code"), [(1, 0), (0, 1)])
def test_nifti_needs_only_one_of_its_two_orientations(tmp_path, qform_code, sform_code):
    data = nifti_bytes(tmp_path)
    struct.pack_into("<hh", data, 252, qform_code, sform_code)
    (tmp_path / "ct.nii").write_bytes(data)
    assert np.allclose(read_ct(tmp_path / "ct.nii").to_ras([1, 2, 3]), [-1, -2, 3])


def test_nifti_slope_and_intercept_are_applied(tmp_path):
    data = nifti_bytes(tmp_path)
    struct.pack_into("<ff", data, 112, 2.0, -24.0)
    (tmp_path / "ct.nii").write_bytes(data)
    assert (read_ct(tmp_path / "ct.nii").hu == ramp_hu() * 2.0 - 24).all()


def test_a_nifti_may_be_packed_in_several_gzip_members(tmp_path):
    data = nifti_bytes(tmp_path)
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:]))
    assert (read_ct(tmp_path / "ct.nii.gz").hu == ramp_hu()).all()


def test_a_time_axis_of_one_is_no_time_series(tmp_path):
    sitk.WriteImage(sitk.JoinSeries([oblique_image()]), str(tmp_path / "ct.nii"))
    assert read_ct(tmp_path / "ct.nii").hu.shape == ramp_hu().shape


def test_a_dicom_file_without_extension_is_recognised(tmp_path):
    paths = write_series(tmp_path / "series", ramp_hu(), names=[f"IM{k}" for k in range(6)])
    assert (read_ct(paths[3]).hu == ramp_hu()).all()


def test_reading_is_not_imported_before_it_is_needed():
    code = (
        "import sys, CLIPLungLib.image.read; print([m for m in ('SimpleITK', 'pydicom', 'torch') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
