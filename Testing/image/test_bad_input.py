"""Every kind of bad input is refused with a message that names the thing, the reason and the remedy; never with a number.

One row of a table is one kind: how to make it, and what the message has to say.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.synthetic_dicom import ramp_hu, slice_dataset, write, write_series
from pydicom.uid import JPEGLSLossless

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec, extract_patch
from CLIPLungLib.image.read import read_ct

LUNG = np.full((8, 9, 10), -850, np.int16)
SPEC = PatchSpec(shape=(3, 5, 5))
RAW_NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 7 5 6\nencoding: raw\nendian: little\n"
PLACED_NRRD = "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"


def matrix(**changes: float) -> np.ndarray:
    """Identity with some elements changed: m23=4 sets row 2, column 3."""
    result = np.eye(4)
    for place, value in changes.items():
        result[int(place[1]), int(place[2])] = value
    return result


BAD_VOLUMES = {
    "time series": (np.zeros((2, 8, 9, 10), np.int16), matrix(), "three axes.*time series"),
    "single picture": (LUNG[0], matrix(), "three axes.*choose a plain scalar volume"),
    "no voxels": (LUNG[:0], matrix(), r"holds no voxels \(shape \(0, 9, 10\)\)\. Load the CT again"),
    "complex numbers": (LUNG.astype(complex), matrix(), "complex128 values; Hounsfield units must be real"),
    "true and false": (LUNG > 0, matrix(), "holds bool values"),
    "two axes that point the same way": (LUNG, matrix(m11=0, m01=1), "is flat: two of its axes point the same way"),
    "voxels without a size": (LUNG, matrix(m22=0), "is flat.*a voxel has no size"),
    "voxels of nearly no size": (LUNG, matrix(m22=1e-9), "is flat.*a voxel has no size"),
    "perspective": (LUNG, matrix(m32=0.1), "perspective IJK-to-RAS matrix"),
    "position that is not a number": (LUNG, matrix(m03=np.nan), "no valid position in space"),
    "matrix of the wrong size": (LUNG, np.eye(3), "no valid position in space"),
}


@pytest.mark.parametrize(("hu", "ijk_to_ras", "message"), BAD_VOLUMES.values(), ids=BAD_VOLUMES)
def test_volume_is_refused(hu, ijk_to_ras, message):
    with pytest.raises(InputError, match=f"'Thorax'.*{message}"):
        CTVolume(hu, ijk_to_ras, "Thorax")


NOISE = np.random.default_rng(0).integers(0, 1200, LUNG.shape).astype(np.int16)
NO_CT = {
    "MR": (
        NOISE,
        "does not look like a chest CT.*values lie between 58 and 1153.*If it is MR, PET or a label map, choose the CT",
    ),
    "label map": ((NOISE > 900).astype(np.uint8), "does not look like a chest CT"),
    "CT without its rescale intercept": ((LUNG + 1024).astype(np.uint16), "174.*stored without its rescale intercept"),
    "normalised to 0..1": ((NOISE / 1200).astype(np.float32), "does not look like a chest CT"),
    "values no tissue has": (LUNG * np.int32(100), "holds values from -85000.*cannot be Hounsfield units"),
    "no numbers at all": (np.full(LUNG.shape, np.nan, np.float32), "holds no finite values.*Load the CT again"),
}


@pytest.mark.parametrize(("hu", "message"), NO_CT.values(), ids=NO_CT)
def test_image_that_is_no_ct_is_refused(hu, message):
    with pytest.raises(InputError, match=message):
        extract_patch(CTVolume(hu, np.eye(4)), np.array([5.0, 4.0, 4.0]), SPEC)


def lung_beside_air() -> np.ndarray:
    hu = np.full((20, 20, 40), -850, np.int16)
    hu[..., 20:] = -1000
    return hu


def lung_with_nan() -> np.ndarray:
    hu = np.full((20, 20, 40), -850, np.float32)
    hu[10, 10, 12] = np.nan
    return hu


BAD_POINTS = {
    "outside the scan": (lung_beside_air(), (5, 5, 19.6), r"\(5\.0, 5\.0, 19\.6\) RAS mm lies outside.*S -0..20 mm"),
    "LPS given for RAS": (lung_beside_air(), (-5, -5, 5), "check that its coordinates are RAS, not LPS"),
    "air outside the body": (
        lung_beside_air(),
        (32, 10, 10),
        "lies in air.*denser than -1000 HU. Place it on the nodule",
    ),
    "not a number": (lung_beside_air(), (5, np.nan, 5), "three finite coordinates"),
    "infinite": (lung_beside_air(), (5, np.inf, 5), "three finite coordinates"),
    "two coordinates": (lung_beside_air(), (5, 5), r"three finite coordinates \(R, A, S in mm\), not \[5, 5\]"),
    "several points": (lung_beside_air(), ((5, 5, 5), (6, 6, 6)), "three finite coordinates"),
    "voxels that are not numbers": (lung_with_nan(), (11, 10, 10), "not numbers within the patch. Repair or reload"),
}


@pytest.mark.parametrize(("hu", "point_ras", "message"), BAD_POINTS.values(), ids=BAD_POINTS)
def test_point_is_refused(hu, point_ras, message):
    with pytest.raises(InputError, match=message):
        extract_patch(CTVolume(hu, np.eye(4)), np.array(point_ras), SPEC)


def saved(folder: Path, name: str, compressed: bool = False, image: sitk.Image | None = None) -> Path:
    path = folder / name
    sitk.WriteImage(sitk.GetImageFromArray(ramp_hu()) if image is None else image, str(path), compressed)
    return path


def text_file(folder: Path, name: str, text: str = "no image") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def cut(path: Path, lost_bytes: int = 200) -> Path:
    path.write_bytes(path.read_bytes()[:-lost_bytes])
    return path


def patched(path: Path, layout: str, offset: int, *values: float) -> Path:
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, offset % len(data), *values)
    path.write_bytes(data)
    return path


def without(path: Path, line_start: str) -> Path:
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(line for line in lines if not line.startswith(line_start.encode())))
    return path


def overstated(path: Path) -> Path:
    path.write_bytes(path.read_bytes().replace(b"DimSize = 7 5 6", b"DimSize = 7 5 9"))
    return path


def lone_header(folder: Path, name: str, data_name: str) -> Path:
    path = saved(folder, name)
    (folder / data_name).unlink()
    return path


def hand_written_nrrd(folder: Path, placement: str) -> Path:
    path = folder / "ct.nrrd"
    path.write_bytes(f"{RAW_NRRD}{placement}\n".encode() + ramp_hu().tobytes())
    return path


def sheared_nifti(folder: Path) -> Path:
    path = patched(saved(folder, "ct.nii"), "<hh", 252, 0, 1)
    return patched(path, "<12f", 280, 1, 0, 0, 0, 0, 1, 0.5, 0, 0, 0, 1, 0)


COLOUR = sitk.Compose([sitk.GetImageFromArray(ramp_hu())] * 3)
SERIES_4D = sitk.JoinSeries([sitk.GetImageFromArray(ramp_hu())] * 2)
# Large enough that the header can be read before the damage is met.
LARGE = sitk.GetImageFromArray(np.random.default_rng(0).integers(-1000, 1500, (20, 100, 100)).astype(np.int16))
PICTURE = sitk.GetImageFromArray(ramp_hu()[0])
BAD_FILES = {
    "nothing there": (lambda d: d / "none.nrrd", "There is no file or folder.*none.nrrd'. Check the path"),
    "empty path": (lambda d: " ", "path of the CT is empty"),
    "impossible name": (lambda d: "a" * 5000, "There is no file or folder"),
    "format that is not read": (
        lambda d: text_file(d, "ct.stl"),
        "'ct.stl' is of no format.*one of .nrrd, .nhdr, .nii",
    ),
    "archive": (lambda d: text_file(d, "ct.zip"), "unpack archives first"),
    "text named NRRD": (lambda d: text_file(d, "ct.nrrd"), "'ct.nrrd' cannot be read as NRRD.*export it again"),
    "NIfTI named NRRD": (lambda d: saved(d, "ct.nii").rename(d / "ct.nrrd"), "cannot be read as NRRD"),
    "empty file": (lambda d: text_file(d, "ct.nii.gz", ""), "'ct.nii.gz' cannot be read as NIfTI"),
    "cut NRRD": (lambda d: cut(saved(d, "ct.nrrd")), "'ct.nrrd' is incomplete: 220 of 420 bytes are there. Copy"),
    "cut packed NRRD": (lambda d: cut(saved(d, "ct.nrrd", True), 50), "'ct.nrrd' is damaged"),
    "NRRD without its data": (
        lambda d: lone_header(d, "ct.nhdr", "ct.raw"),
        "'ct.nhdr' cannot be read.*lacks the data file",
    ),
    "cut NIfTI": (lambda d: cut(saved(d, "ct.nii")), "'ct.nii' is incomplete: 572 of 772 bytes are there. Copy"),
    "cut packed NIfTI": (
        lambda d: cut(saved(d, "ct.nii.gz", True), 50),
        "'ct.nii.gz' is damaged.*Copy or export it again",
    ),
    "NIfTI packed after a cut": (lambda d: cut(saved(d, "ct.nii"), 9).rename(d / "ct.nii.gz"), "763 of 772 bytes"),
    "garbled packed NIfTI": (
        lambda d: patched(saved(d, "ct.nii.gz", True, LARGE), "<I", -8, 0),
        "'ct.nii.gz' is damaged",
    ),
    "cut MetaImage": (lambda d: cut(saved(d, "ct.mha")), "'ct.mha' is incomplete: 220 of 420 bytes"),
    "garbled packed MetaImage": (lambda d: patched(saved(d, "ct.mha", True), "<Q", -90, 0), "'ct.mha' is damaged"),
    "garbled packed MetaImage data": (
        lambda d: patched(saved(d, "ct.mhd", True).with_suffix(".zraw"), "<I", -4, 0).with_suffix(".mhd"),
        "'ct.mhd' is damaged: its compressed voxels cannot be unpacked",
    ),
    "packed MetaImage with fewer slices than stated": (
        lambda d: overstated(saved(d, "ct.mha", True)),
        "'ct.mha' is incomplete: 420 of 630 bytes",
    ),
    "MetaImage without its data": (
        lambda d: lone_header(d, "ct.mhd", "ct.raw"),
        "'ct.mhd' cannot be read.*lacks the data file",
    ),
    "time series file": (
        lambda d: saved(d, "ct.nii", image=SERIES_4D),
        r"has 4 axes \(7 x 5 x 6 x 2 voxels\).*one time point",
    ),
    "picture file": (lambda d: saved(d, "ct.nrrd", image=PICTURE), r"has 2 axes \(7 x 5 voxels\)"),
    "colour file": (
        lambda d: saved(d, "ct.mha", image=COLOUR),
        "holds 3 values per voxel.*colour image or a time series",
    ),
    "NIfTI without orientation": (
        lambda d: patched(saved(d, "ct.nii"), "<hh", 252, 0, 0),
        "does not say where it lies in the patient.*both its sform and its qform are unset.*load it from DICOM",
    ),
    "sheared NIfTI": (sheared_nifti, "'ct.nii' has axes that lie askew.*Load the CT from DICOM"),
    "NRRD without a space": (lambda d: hand_written_nrrd(d, ""), "does not say where it lies.*header has no 'space'"),
    "NRRD without an origin": (
        lambda d: hand_written_nrrd(d, "space: RAS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"),
        "header has no 'space origin'",
    ),
    "NRRD in the scanner's space": (
        lambda d: hand_written_nrrd(d, f"space: scanner-xyz\n{PLACED_NRRD}"),
        "its space is 'scanner-xyz'",
    ),
    "MetaImage without an origin": (lambda d: without(saved(d, "ct.mha"), "Offset"), "header has no 'Offset'"),
    "MetaImage without orientation": (
        lambda d: without(saved(d, "ct.mha"), "Transform"),
        "header has no 'TransformMatrix'",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_file_is_refused(tmp_path, make, message):
    with pytest.raises(InputError, match=message):
        read_ct(make(tmp_path))


def series(folder: Path, positions_lps: list[tuple[float, float, float]] | None = None, **tags: object) -> Path:
    """A folder with one series of six slices, or of the positions given."""
    return write_series(folder, ramp_hu(len(positions_lps or range(6))), positions_lps, **tags)[0].parent


def series_without(folder: Path, *numbers: int) -> Path:
    series(folder)
    for number in numbers:
        (folder / f"{number:03}.dcm").unlink()
    return folder


def doubled(folder: Path) -> Path:
    write(series(folder) / "again.dcm", slice_dataset(ramp_hu()[0], (-30, -20, -47.5)))
    return folder


def cut_slice(folder: Path, kept_bytes: int, number: int = 2) -> Path:
    path = series(folder) / f"{number:03}.dcm"
    path.write_bytes(path.read_bytes()[:kept_bytes])
    return path


def only_damaged(folder: Path) -> Path:
    cut(write(folder / "0.dcm", slice_dataset(ramp_hu()[0])), 500)
    return folder


def wrong_compression(folder: Path) -> Path:
    dataset = slice_dataset(ramp_hu()[0])
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = (
        b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x08\x00\x00\x00nonsense\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    )
    dataset["PixelData"].is_undefined_length = True
    write(folder / "0.dcm", dataset)
    return folder


def half_rescaled(folder: Path) -> Path:
    write(series(folder) / "more.dcm", slice_dataset(ramp_hu()[0], (-30, -20, -52.5), RescaleIntercept=None))
    return folder


def table_of_contents(folder: Path) -> Path:
    return write(folder / "DICOMDIR", slice_dataset(ramp_hu()[0], SeriesInstanceUID=None))


def jumping(folder: Path) -> Path:
    return series(folder, [(3.0 * (k == 2), 0, 2.0 * k) for k in range(6)])


def report(folder: Path) -> Path:
    image_tags = ("Rows", "Columns", "PixelData", "ImagePositionPatient", "ImageOrientationPatient", "BitsAllocated")
    return write(folder / "sr.dcm", slice_dataset(ramp_hu()[0], Modality="SR", **dict.fromkeys(image_tags))).parent


BAD_DICOM = {
    "empty folder": (lambda d: d, "holds no DICOM files. Give the folder of a CT series"),
    "folder without DICOM": (lambda d: text_file(d, "notes.txt").parent, "holds no DICOM files"),
    "MR series": (
        lambda d: series(d, Modality="MR"),
        r"hold MR \(1 series\) and no CT. Give the folder of a CT series",
    ),
    "PET series": (lambda d: series(d, Modality="PT"), r"hold PT \(1 series\) and no CT"),
    "structured report": (report, r"hold SR \(1 series\) and no CT"),
    "one file of an MR series": (
        lambda d: series(d, Modality="MR") / "002.dcm",
        "has modality MR; only CT can be read",
    ),
    "localizers only": (lambda d: series(d, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "no slice.*: 6 localizer"),
    "multi-frame": (lambda d: series(d, NumberOfFrames="2"), "no slice.*multi-frame .*save the volume as NRRD"),
    "no positions": (lambda d: series(d, ImagePositionPatient=None), "no slice.*6 without position, orientation or"),
    "skewed orientation": (lambda d: series(d, axes_lps=((1, 0, 0), (0.5, 0.8, 0))), "6 without position, orientation"),
    "no pixel spacing": (lambda d: series(d, PixelSpacing=None), "6 without position, orientation or pixel spacing"),
    "colour": (lambda d: series(d, PhotometricInterpretation="RGB"), "6 with colour"),
    "iodine map": (lambda d: series(d, RescaleType="MGML"), "6 not in Hounsfield units"),
    "slope of zero": (lambda d: series(d, RescaleSlope="0"), "6 not in Hounsfield units"),
    "rescale in some slices only": (
        half_rescaled,
        "rescale slope and intercept in 6 of 7 slices only.*Export the series",
    ),
    "missing slice": (
        lambda d: series_without(d, 3),
        r"1 slice\(s\) are missing.*between -45.00 and -40.00 mm.*complete",
    ),
    "missing slices": (lambda d: series_without(d, 2, 3), r"2 slice\(s\) are missing.*between -47.50 and -40.00 mm"),
    "doubled position": (
        doubled,
        r"more than once: -47.50 mm \('001.dcm' and 'again.dcm'\). Keep one file per position",
    ),
    "uneven spacing": (
        lambda d: series(d, [(0, 0, z) for z in (0, 2, 4, 6.6, 8.6)]),
        "no even stack: they lie 2.00 to 2.60 mm apart",
    ),
    "slice shifted sideways": (jumping, "at 4.00 mm along the slice normal is 3.00 mm off its place"),
    "slice cut off in its pixels": (lambda d: cut_slice(d, -20).parent, "'002.dcm' cannot be decoded.*copy it again"),
    "slice cut off in its header": (
        lambda d: cut_slice(d, 300).parent,
        r"1 slice\(s\) are missing.*Damaged.*'002.dcm'",
    ),
    "one file cut off in its header": (
        lambda d: cut_slice(d, 300),
        "'002.dcm' is DICOM but belongs to no series: it is cut",
    ),
    "only damaged files": (only_damaged, "holds only damaged DICOM files .'0.dcm'."),
    "unreadable compression": (
        wrong_compression,
        "cannot be decoded .transfer syntax JPEG-LS.*export the series uncompressed",
    ),
    "table of contents": (table_of_contents, "'DICOMDIR' is DICOM but belongs to no series.*Give the folder"),
}


@pytest.mark.parametrize(("make", "message"), BAD_DICOM.values(), ids=BAD_DICOM)
def test_dicom_is_refused(tmp_path, make, message):
    with pytest.raises(InputError, match=message):
        read_ct(make(tmp_path))


def two_ct_and_an_mr(folder: Path) -> Path:
    series(folder / "a", series_uid="1.2.3.71")
    series(folder / "b", series_uid="1.2.4.71")
    series(folder / "c", series_uid="1.2.5.9", Modality="MR")
    return folder


BAD_SERIES = {
    "no such series": (two_ct_and_an_mr, "1.9", "No series has the UID '1.9' or ends so. CT found: Series 1.2.3.71"),
    "end that two series share": (two_ct_and_an_mr, ".71", "2 series end with '.71'. Give more of the UID"),
    "empty UID": (two_ct_and_an_mr, "", "No series has the UID ''"),
    "series that is no CT": (two_ct_and_an_mr, "5.9", r"Series 1.2.5.9 \(MR, 6 slices\) has modality MR; only CT"),
    "series of a plain file": (lambda d: saved(d, "ct.nrrd"), "1.2", "'ct.nrrd' is no DICOM; a series UID .'1.2'."),
}


@pytest.mark.parametrize(("make", "series_uid", "message"), BAD_SERIES.values(), ids=BAD_SERIES)
def test_choice_of_series_is_refused(tmp_path, make, series_uid, message):
    with pytest.raises(InputError, match=message):
        read_ct(make(tmp_path), series_uid)
