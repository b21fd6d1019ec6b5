"""Files made, or damaged, to do harm are refused at once: before memory is asked for, before a decoder believes them."""

from __future__ import annotations

import gzip
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.synthetic_dicom import ramp_hu, slice_dataset, write, write_series
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from CLIPLungLib.errors import InputError
from CLIPLungLib.image import regular_file
from CLIPLungLib.image.dicom import search
from CLIPLungLib.image.read import read_ct

AT_ONCE_S = 1.0


@pytest.fixture(scope="module", autouse=True)
def decoders_are_loaded(tmp_path_factory):
    """Importing SimpleITK and pydicom takes longer than any refusal."""
    read_ct(write_series(tmp_path_factory.mktemp("first"), ramp_hu())[0].parent)


def assert_refused_at_once(path: Path, message: str) -> None:
    start = time.perf_counter()
    with pytest.raises(InputError, match=message):
        read_ct(path)
    assert time.perf_counter() - start < AT_ONCE_S


def saved(folder: Path, name: str, compressed: bool = False) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(ramp_hu()), str(folder / name), compressed)
    return folder / name


def edited(path: Path, old: str, new: str) -> Path:
    data = path.read_bytes()
    assert old.encode() in data
    path.write_bytes(data.replace(old.encode(), new.encode()))
    return path


META_LINES = {
    "more axes than MetaImage has": ("NDims = 3", "NDims = 2147483647", "'NDims' is 2147483647"),
    "no whole axes": ("NDims = 3", "NDims = 3.5", "'NDims' must be 1 whole number"),
    "too few sizes": ("DimSize = 7 5 6", "DimSize = 7 5", "'DimSize' must be 3 whole number"),
    "negative size": ("DimSize = 7 5 6", "DimSize = 7 -5 6", "states a size of 7 x -5 x 6 voxels"),
    "size of zero": ("DimSize = 7 5 6", "DimSize = 7 0 6", "states a size of 7 x 0 x 6 voxels"),
    "more voxels than any CT": ("DimSize = 7 5 6", "DimSize = 60000 60000 60000", "more than 4294967296 voxels"),
    "longer than any axis": ("DimSize = 7 5 6", "DimSize = 70000 5 6", "or 65535 along one axis"),
    "fewer voxels than are there": ("DimSize = 7 5 6", "DimSize = 7 5 5", "420 bytes are there where.* promises 350"),
    "size that overflows": ("DimSize = 7 5 6", f"DimSize = 7 5 {2**64 + 6}", "'DimSize' must be"),
    "spacing that is no number": (
        "ElementSpacing = 1 1 1",
        "ElementSpacing = 1 nan 1",
        "'ElementSpacing' must be 3 finite",
    ),
    "axis without a length": ("TransformMatrix = 1 0 0", "TransformMatrix = 0 0 0", "not of length 1"),
    "unknown type": ("MET_SHORT", "MET_STRING", "its ElementType is 'MET_STRING'"),
    "colour": ("ElementType", "ElementNumberOfChannels = 3\nElementType", "holds 3 values per voxel"),
    "numbers of another scale": ("ElementType", "ElementToIntensityFunctionSlope = 2\nElementType", "are no HU"),
    "field given twice": ("NDims = 3", "NDims = 3\nNDims = 3", "the field 'NDims' twice"),
    "list of files": ("ElementDataFile = ct.raw", "ElementDataFile = LIST\n/etc/passwd", "list or pattern"),
    "pattern of files": ("ElementDataFile = ct.raw", "ElementDataFile = %s%s%n.raw 1 2 1", "list or pattern"),
    "device": ("ElementDataFile = ct.raw", "ElementDataFile = /dev/zero", "names a data file elsewhere"),
    "file above": ("ElementDataFile = ct.raw", "ElementDataFile = ../ct.raw", "names a data file elsewhere"),
    "no file": ("ElementDataFile = ct.raw", "ElementDataFile =", "list or pattern"),
    "folder": ("ElementDataFile = ct.raw", "ElementDataFile = .", "lacks the data file"),
    "no end": ("ElementDataFile = ct.raw", "", "its header has no end"),
    "line without an end": ("ElementDataFile", "x" * 70_000 + "\nElementDataFile", "header is longer than"),
}


@pytest.mark.parametrize(("old", "new", "message"), META_LINES.values(), ids=META_LINES)
def test_metaimage_header_is_refused(tmp_path, old, new, message):
    assert_refused_at_once(edited(saved(tmp_path, "ct.mhd"), old, new), message)


NRRD_LINES = {
    "more axes than NRRD has": ("dimension: 3", "dimension: 99999999", "'dimension' is 99999999"),
    "time series": ("dimension: 3\nspace", "dimension: 4\nspace", "'sizes' must be 4 whole number"),
    "negative size": ("sizes: 7 5 6", "sizes: 7 -5 6", "states a size of 7 x -5 x 6"),
    "more voxels than any CT": ("sizes: 7 5 6", "sizes: 60000 60000 60000", "more than 4294967296 voxels"),
    "fewer voxels than are there": ("sizes: 7 5 6", "sizes: 7 5 5", "420 bytes are there where.* promises 350"),
    "unknown field": ("dimension", "colour: red\ndimension", "unknown, doubled or incomplete field 'colour'"),
    "field given twice": ("encoding: raw", "encoding: raw\nencoding: raw", "unknown, doubled or incomplete"),
    "unknown encoding": ("encoding: raw", "encoding: bzip2", "encoding is 'bzip2'; raw and gzip"),
    "unknown type": ("type: short", "type: block", "its type is 'block'"),
    "no byte order": ("endian: little\n", "", "its endian is ''"),
    "two directions": ("(1,0,0) (0,1,0) (0,0,1)", "(1,0,0) (0,1,0)", "'space directions' must be 3 vector"),
    "direction that is no number": ("(1,0,0) (0,1,0)", "(1,0,0) (0,inf,0)", "3 finite number"),
    "no direction": ("(1,0,0) (0,1,0) (0,0,1)", "none (0,1,0) (0,0,1)", "'space directions' must be 3 vector"),
    "metres": ("encoding: raw", 'space units: "m" "m" "m"\nencoding: raw', "its space units are m, not mm"),
    "list of files": ("data file: ct.raw", "data file: LIST\n/etc/passwd", "list or pattern|unknown"),
    "pattern of files": ("data file: ct.raw", "data file: ct%03d.raw 1 9 1", "list or pattern"),
    "device": ("data file: ct.raw", "data file: /dev/zero", "names a data file elsewhere"),
    "skips more than is there": ("encoding: raw", "byte skip: 9999999999\nencoding: raw", "is incomplete"),
    "skips lines without end": ("encoding: raw", "line skip: 999999999\nencoding: raw", "skips 999999999 lines"),
    "half a million keys": ("encoding: raw", "\n".join(f"key{n}:=x" for n in range(500_000)), "header is longer than"),
}


@pytest.mark.parametrize(("old", "new", "message"), NRRD_LINES.values(), ids=NRRD_LINES)
def test_nrrd_header_is_refused(tmp_path, old, new, message):
    assert_refused_at_once(edited(saved(tmp_path, "ct.nhdr"), old, new), message)


def nifti(folder: Path, layout: str, offset: int, *values: float) -> Path:
    path = saved(folder, "ct.nii")
    data = bytearray(path.read_bytes())
    struct.pack_into("<" + layout, data, offset, *values)
    path.write_bytes(data)
    return path


NIFTI_FIELDS = {
    "eight axes": (("h", 40, 8), "states no axes, or more than seven"),
    "no axes": (("h", 40, 0), "states no axes, or more than seven"),
    "negative size": (("h", 44, -5), "states a size of 7 x -5 x 6"),
    "more voxels than are there": (
        ("3h", 42, 30000, 30000, 30000),
        "more than 4294967296|needs .* of memory|incomplete",
    ),
    "fewer voxels than are there": (("h", 46, 5), "772 bytes are there where.* promises 702"),
    "colour": (("2h", 70, 128, 24), "holds 3 values per voxel"),
    "complex numbers": (("2h", 70, 32, 64), "holds 2 values per voxel"),
    "type and bits that disagree": (("2h", 70, 4, 32), "datatype is 4 with 32 bits"),
    "voxels far behind the header": (("f", 108, 3e9), "voxels are said to begin at byte 3e\\+09"),
    "voxels at no number": (("f", 108, np.nan), "voxels are said to begin at byte nan"),
    "voxels in the header": (("f", 108, 12.0), "voxels are said to begin at byte 12"),
    "intercept that is no number": (("2f", 112, 2, np.nan), "its intercept nan"),
    "metres": (("B", 123, 1), "unit of length has code 1"),
    "voxels in another file": (("4s", 344, b"ni1\0"), "its voxels are in another file"),
}


@pytest.mark.parametrize(("change", "message"), NIFTI_FIELDS.values(), ids=NIFTI_FIELDS)
def test_nifti_header_is_refused(tmp_path, change, message):
    assert_refused_at_once(nifti(tmp_path, *change), message)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("name", ["ct.nrrd", "ct.nii.gz", "ct.mha", "ct.dcm"])
def test_pipes_and_devices_are_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert_refused_at_once(tmp_path / name, "is no regular file")
    (tmp_path / f"link-{name}").symlink_to("/dev/zero")
    assert_refused_at_once(tmp_path / f"link-{name}", "is no regular file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_pipes_devices_and_loops_in_a_folder_are_passed_over(tmp_path):
    paths = write_series(tmp_path / "a", ramp_hu())
    os.mkfifo(tmp_path / "a" / "pipe.dcm")
    (tmp_path / "a" / "zero.dcm").symlink_to("/dev/zero")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "lost.dcm").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path, paths[2]):
        assert (read_ct(path).hu == ramp_hu()).all()


def bomb(size_mb: int) -> bytes:
    return bytes(size_mb << 20)


def test_what_unpacks_to_more_than_its_header_promises_is_refused(tmp_path):
    head = gzip.decompress(saved(tmp_path, "ct.nii.gz", True).read_bytes())
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(head + bomb(100), 1))
    assert_refused_at_once(tmp_path / "ct.nii.gz", "more bytes are there where its header promises 772")
    nrrd = saved(tmp_path, "ct.nrrd", True)
    nrrd.write_bytes(nrrd.read_bytes().split(b"\n\n")[0] + b"\n\n" + gzip.compress(bomb(100), 1))
    assert_refused_at_once(nrrd, "more bytes are there where its header promises 420")
    meta = saved(tmp_path, "ct.mhd", True)
    (tmp_path / "ct.zraw").write_bytes(zlib.compress(bomb(100), 1))
    assert_refused_at_once(meta, "more bytes are there where its header promises 420")


def test_a_size_its_packed_data_cannot_hold_is_refused_before_they_are_unpacked(tmp_path):
    path = edited(saved(tmp_path, "ct.mha", True), "DimSize = 7 5 6", "DimSize = 2000 2000 100")
    assert_refused_at_once(path, "is incomplete")


def test_a_large_size_packed_more_tightly_than_any_ct_is_refused_before_it_is_unpacked(tmp_path):
    path = edited(saved(tmp_path, "ct.mhd", True), "DimSize = 7 5 6", "DimSize = 1024 1024 200")
    (tmp_path / "ct.zraw").write_bytes(zlib.compress(bomb(400), 1))
    assert_refused_at_once(path, "packs 400 MB into 1.* MB, which no CT does")


def test_more_voxels_than_memory_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(regular_file, "free_memory_bytes", lambda: 400.0)
    assert_refused_at_once(saved(tmp_path, "ct.nrrd"), "needs .* GB of memory and .* are free")


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.nii.gz", "ct.mha"])
def test_a_single_flipped_bit_of_packed_voxels_is_found(tmp_path, name):
    hu = np.random.default_rng(0).integers(-1000, 1000, (9, 30, 30)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(hu), str(tmp_path / name), True)
    whole = (tmp_path / name).read_bytes()
    assert (read_ct(tmp_path / name).hu == hu).all()
    for at in range(len(whole) - 6000, len(whole), 97):
        data = bytearray(whole)
        data[at] ^= 16
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=r"is damaged|is incomplete"):
            read_ct(tmp_path / name)


def compressed_slice(folder: Path, **tags: object) -> Path:
    dataset = slice_dataset(ramp_hu(1, 32, 32)[0])
    dataset.compress(RLELossless)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return write(folder / "0.dcm", dataset)


def patched(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    at = data.find(old[:8])
    assert at > 0
    path.write_bytes(data[:at] + new + data[at + len(new) :])
    return path


def jpeg_slice(folder: Path, compressor: str, old: bytes, new: bytes) -> Path:
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    image = sitk.GetImageFromArray(ramp_hu(1, 32, 32))
    tags = {"0008|0060": "CT", "0020|000e": "1.2.3.1", "0020|0032": "0\\0\\1", "0020|0037": "1\\0\\0\\0\\1\\0"}
    for tag, value in tags.items():
        image.SetMetaData(tag, value)
    path = folder / "0.dcm"
    writer.SetFileName(str(path))
    writer.Execute(image)
    data = path.read_bytes()
    at = data.find(b"\xff\xd8" if compressor == "JPEG" else b"\xff\x4f\xff\x51")
    changed = data[at:].replace(old, new, 1)
    assert changed != data[at:]
    path.write_bytes(data[:at] + changed)
    return path


BAD_PIXELS = {
    "more rows than any CT": (lambda d: compressed_slice(d, Rows=65535, Columns=65535), "states 65535 x 65535 pixels"),
    "more frames than any CT": (
        lambda d: compressed_slice(d, NumberOfFrames=2**31 - 1),
        "holds only damaged DICOM files",
    ),
    "run lengths that cannot fill it": (
        lambda d: compressed_slice(d, Rows=4000, Columns=4000),
        "a segment unpacks to 1024 bytes, not 16000000",
    ),
    "run lengths of another depth": (lambda d: compressed_slice(d, BitsAllocated=32), "2 segments are there where 4"),
    "run lengths outside the data": (
        lambda d: patched(compressed_slice(d), struct.pack("<3I", 2, 64, 66), struct.pack("<3I", 2, 64, 2**31)),
        "segments lie outside the data",
    ),
    "JPEG of another size": (
        lambda d: jpeg_slice(d, "JPEG", b"\x10\x00\x20\x00\x20\x01", b"\x10\xff\xff\xff\xff\x01"),
        "of another size",
    ),
    # Ended the program in the decoder.
    "JPEG of more bits": (
        lambda d: jpeg_slice(d, "JPEG", b"\x10\x00\x20\x00\x20\x01", b"\x13\x00\x20\x00\x20\x01"),
        "of another size or kind",
    ),
    "JPEG 2000 of another size": (
        lambda d: jpeg_slice(d, "JPEG2000", b"\x00\x00\x00\x20\x00\x00\x00\x20", b"\x7f\xff\xff\xff\x7f\xff\xff\xff"),
        "of another size",
    ),
    "fewer pixels than stated": (
        lambda d: write(d / "0.dcm", slice_dataset(ramp_hu()[0], Rows=512, Columns=512)),
        "70 bytes of pixels are there where 524288 are stated",
    ),
    "more pixels than stated": (
        lambda d: write(d / "0.dcm", slice_dataset(ramp_hu()[0], Rows=4)),
        "70 bytes of pixels are there where 56 are stated",
    ),
    "impossible bits": (lambda d: write(d / "0.dcm", slice_dataset(ramp_hu()[0], BitsStored=17)), "17 of 16 bits"),
}


@pytest.mark.parametrize(("make", "message"), BAD_PIXELS.values(), ids=BAD_PIXELS)
def test_dicom_pixels_are_refused(tmp_path, make, message):
    assert_refused_at_once(make(tmp_path).parent, message)


def test_a_deflated_dicom_is_read_and_one_that_never_ends_is_refused(tmp_path):
    dataset = slice_dataset((ramp_hu(1, 32, 32)[0] + 1024).astype(np.int16))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = write(tmp_path / "0.dcm", dataset)
    assert (read_ct(tmp_path).hu == ramp_hu(1, 32, 32)).all()
    dataset.add_new(0x00091001, "OB", bomb(50))
    dataset.add_new(0x00090010, "LO", "x")
    write(path, dataset)
    assert_refused_at_once(path, "unpacks to more than 100 times its size")


def test_a_folder_with_more_files_than_any_study_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "MOST_FILES_OF_STUDY", 5)
    write_series(tmp_path, ramp_hu())
    assert_refused_at_once(tmp_path, "holds more than 5 files. Give the folder of the CT series")
