"""Pixels that lie plain in a file are read from their place; that gives what the search through the file gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.synthetic_dicom import slice_dataset, write
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom.header import read_headers
from CLIPLungLib.image.dicom.number_format import NumberFormat, without_other_bits
from CLIPLungLib.image.dicom.pixels import read_planes


def hu_both_ways(path):
    (header,) = read_headers(path)
    assert header.plain is not None
    return [next(iter(read_planes([one]))) for one in (header, replace(header, plain=None))]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
@pytest.mark.parametrize("rescale", [("1", "-1024"), ("-2", "20000"), ("0.5", "-1000.25"), ("100000", "0")])
def test_both_ways_give_the_same_hu(tmp_path, dtype, rescale):
    bits, whole = np.dtype(dtype).itemsize * 8, np.iinfo(dtype)
    stored = np.random.default_rng(0).integers(whole.min, whole.max, (5, 7), dtype, endpoint=True)
    stored[0, :2] = whole.min, whole.max
    tags = {"BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1}
    dataset = slice_dataset(stored, RescaleSlope=rescale[0], RescaleIntercept=rescale[1], **tags)
    if bits == 8:
        dataset["PixelData"].VR, dataset.PixelData = "OB", dataset.PixelData + b"\0"
    write(tmp_path / "a.dcm", dataset)
    plain, searched = hu_both_ways(tmp_path / "a.dcm")
    expected = stored.astype(np.float64) * float(rescale[0]) + float(rescale[1])
    np.testing.assert_allclose(plain, expected, rtol=1e-6)
    assert (plain == searched).all()
    assert plain.dtype == searched.dtype


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("allocated", "stored", "high"), [(16, 12, 11), (16, 12, 15), (16, 1, 0), (8, 5, 6), (32, 20, 27)]
)
def test_bits_beside_the_number_are_left_out(allocated, stored, high, signed):
    raw = np.random.default_rng(1).integers(0, 1 << allocated, 200, np.uint64).astype(f"u{allocated // 8}")
    found = without_other_bits(raw, NumberFormat(allocated, stored, high, signed))
    expected = [(int(number) >> (high + 1 - stored)) % (1 << stored) for number in raw]
    if signed:
        expected = [number - (1 << stored) if number >> (stored - 1) else number for number in expected]
    assert found.tolist() == expected


def test_the_place_is_known_without_stated_types_too(tmp_path):
    stored = np.arange(35, dtype=np.int16).reshape(5, 7)
    dataset = slice_dataset(stored)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    write(tmp_path / "a.dcm", dataset)
    plain, searched = hu_both_ways(tmp_path / "a.dcm")
    assert (plain == stored - 1024).all()
    assert (plain == searched).all()


def test_big_endian_numbers_are_looked_for_in_the_old_way(tmp_path):
    stored = np.arange(35, dtype=np.int16).reshape(5, 7)
    dataset = slice_dataset(stored, PixelData=stored.astype(">i2").tobytes())
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    write(tmp_path / "a.dcm", dataset)
    (header,) = read_headers(tmp_path / "a.dcm")
    assert header.plain is None
    assert (next(iter(read_planes([header]))) == stored - 1024).all()


@pytest.mark.parametrize("missing", [1, 35, 60])
def test_a_file_cut_off_within_its_pixels_is_refused(tmp_path, missing):
    write(tmp_path / "a.dcm", slice_dataset(np.arange(35, dtype=np.int16).reshape(5, 7)))
    data = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(data[:-missing])
    headers = read_headers(tmp_path / "a.dcm")
    with pytest.raises(InputError, match="cannot be decoded"):
        list(read_planes(headers))
