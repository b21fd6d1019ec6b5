"""Either side of every limit of the file formats, and the fields of their headers by hand."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from CLIPLungLib.errors import InputError
from CLIPLungLib.image import regular_file, voxel_data
from CLIPLungLib.image.dicom.codestream import SYNTAX_ROOT, is_believable
from CLIPLungLib.image.dicom.number_format import NumberFormat, number_format, without_other_bits
from CLIPLungLib.image.dicom.rle import decode_rle
from CLIPLungLib.image.header_text import HeaderReader
from CLIPLungLib.image.metaimage import read_metaimage
from CLIPLungLib.image.nifti import read_nifti
from CLIPLungLib.image.nrrd import read_nrrd
from CLIPLungLib.image.regular_file import data_file_beside, is_regular, open_regular, require_believable_size
from CLIPLungLib.image.voxel_data import read_voxels

VOXELS = np.arange(24, dtype="<i2").reshape(2, 3, 4)


def file_of(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# Sizes that are believed.


@pytest.mark.parametrize("size", [(1, 1, 1), (65_535, 1, 1), (1024, 1024, 4096)])
def test_sizes_a_ct_can_have(monkeypatch, size):
    monkeypatch.setattr(regular_file, "free_memory_bytes", lambda: 1e12)
    assert require_believable_size("ct", size, 2) == size[0] * size[1] * size[2] * 2


@pytest.mark.parametrize("size", [(0, 1, 1), (-1, 1, 1), (65_536, 1, 1), (1, 65_536, 1), (1024, 1024, 4097)])
def test_sizes_no_ct_has(monkeypatch, size):
    monkeypatch.setattr(regular_file, "free_memory_bytes", lambda: 1e12)
    with pytest.raises(InputError, match=f"states a size of {size[0]} x {size[1]} x {size[2]} voxels"):
        require_believable_size("ct", size, 2)


def test_memory_must_hold_the_image(monkeypatch):
    monkeypatch.setattr(regular_file, "free_memory_bytes", lambda: 48.0)
    assert require_believable_size("ct", (2, 3, 4), 2) == 48
    monkeypatch.setattr(regular_file, "free_memory_bytes", lambda: 2.0**30)
    with pytest.raises(InputError, match=r"needs 2\.0 GB of memory and 1\.0 GB are free"):
        require_believable_size("ct", (1024, 1024, 1024), 2)


def test_free_memory_is_what_the_system_says():
    assert 1e8 < regular_file.free_memory_bytes() < 1e14


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError, ValueError])
def test_memory_that_the_system_does_not_state_is_no_limit(monkeypatch, error):
    def read_text(_self, **_options):
        raise error

    monkeypatch.setattr(Path, "read_text", read_text)
    assert regular_file.free_memory_bytes() == float("inf")


@pytest.mark.parametrize("name", ["", "LIST", "list 3", "ct%03d.raw", "a\0b"])
def test_lists_of_data_files_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="list or pattern of data files"):
        data_file_beside(tmp_path / "ct.mhd", name)


@pytest.mark.parametrize("name", ["/etc/passwd", "../ct.raw", "a/../../b", "a\\b", "c:x"])
def test_data_files_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="names a data file elsewhere"):
        data_file_beside(tmp_path / "ct.mhd", name)


def test_a_data_file_may_lie_below(tmp_path):
    path = file_of(tmp_path, "deep/ct.raw", b"x")
    assert data_file_beside(tmp_path / "ct.mhd", "deep/ct.raw") == path
    with pytest.raises(InputError, match="lacks the data file"):
        data_file_beside(tmp_path / "ct.mhd", "deep/none.raw")


@pytest.mark.parametrize("name", ["M\u00fcller.raw", "\u80ba CT.raw", "listed.raw", "List.raw"])
def test_a_data_file_may_be_named_in_any_language(tmp_path, name):
    file_of(tmp_path, name, VOXELS.tobytes())
    assert (read_nrrd(nrrd(tmp_path, b"", data_file=name))[0] == VOXELS).all()
    assert (read_metaimage(meta(tmp_path, b"", name))[0] == VOXELS).all()


def test_a_folder_is_no_file(tmp_path):
    assert not is_regular(tmp_path)
    assert not is_regular(tmp_path / "none")
    assert not is_regular(Path("a\0b"))
    with pytest.raises(InputError, match="is no regular file"):
        open_regular(tmp_path)


# Voxels.


def voxels(folder: Path, content: bytes, packing: str, size=(4, 3, 2), dtype="<i2", skipped: int = 0) -> np.ndarray:
    with open_regular(file_of(folder, "data", content)) as stream:
        return read_voxels(Path("ct"), stream, packing, size, np.dtype(dtype), skipped)


PACKERS = {"raw": bytes, "gzip": gzip.compress, "zlib": zlib.compress}


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("skipped", [0, 1, 7, 5000])
def test_voxels_come_after_what_is_skipped(tmp_path, packing, skipped):
    data = PACKERS[packing](b"x" * skipped + VOXELS.tobytes())
    found = voxels(tmp_path, data, packing, skipped=skipped)
    assert (found == VOXELS).all()
    assert found.shape == (2, 3, 4)


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("chunk", [1, 5, 16, 48, 49])
def test_voxels_do_not_depend_on_the_chunks(tmp_path, packing, chunk, monkeypatch):
    monkeypatch.setattr(voxel_data, "CHUNK_BYTES", chunk)
    assert (voxels(tmp_path, PACKERS[packing](b"abc" + VOXELS.tobytes()), packing, skipped=3) == VOXELS).all()


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize(
    ("change", "message"),
    [(1, "damaged: .* bytes are there where its header promises 50"), (-1, "incomplete: 49 of 50 bytes")],
)
def test_one_byte_too_many_or_few_is_found(tmp_path, packing, change, message):
    data = b"xx" + VOXELS.tobytes()
    data = data + b"y" if change > 0 else data[:-1]
    with pytest.raises(InputError, match=message):
        voxels(tmp_path, PACKERS[packing](data), packing, skipped=2)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f8", "u1"])
def test_byte_order_becomes_the_machines(tmp_path, dtype):
    found = voxels(tmp_path, VOXELS.astype(dtype).tobytes(), "raw", dtype=dtype)
    assert (found == VOXELS).all()
    assert found.dtype.isnative


def test_data_begin_where_the_stream_stands(tmp_path):
    with open_regular(file_of(tmp_path, "data", b"head" + VOXELS.tobytes())) as stream:
        stream.seek(4)
        assert (read_voxels(Path("ct"), stream, "raw", (4, 3, 2), VOXELS.dtype) == VOXELS).all()


def test_a_packed_file_is_believed_up_to_deflates_limit(tmp_path, monkeypatch):
    packed = zlib.compress(bytes(48))
    monkeypatch.setattr(voxel_data, "DEFLATE_RATIO_AT_MOST", 48 / len(packed))
    assert (voxels(tmp_path, packed, "zlib") == 0).all()
    monkeypatch.setattr(voxel_data, "DEFLATE_RATIO_AT_MOST", 47 / len(packed))
    with pytest.raises(InputError, match=f"incomplete: {len(packed)} of 48"):
        voxels(tmp_path, packed, "zlib")
    assert (voxels(tmp_path, bytes(48), "raw") == 0).all()


def test_a_large_file_packs_no_better_than_a_ct(tmp_path, monkeypatch):
    packed = gzip.compress(bytes(4800))
    size = (80, 30, 1)
    for large, ratio, is_refused in (
        (4799, 4799 / len(packed), True),
        (4800, 1, False),
        (4799, 4800 / len(packed), False),
    ):
        monkeypatch.setattr(voxel_data, "LARGE_BYTES", large)
        monkeypatch.setattr(voxel_data, "CT_RATIO_AT_MOST", ratio)
        if is_refused:
            with pytest.raises(InputError, match="which no CT does"):
                voxels(tmp_path, packed, "gzip", size)
        else:
            voxels(tmp_path, packed, "gzip", size)
    assert voxels(tmp_path, bytes(4800), "raw", size).size == 2400


def test_what_follows_packed_data_is_not_read(tmp_path):
    assert (voxels(tmp_path, zlib.compress(VOXELS.tobytes()) + b"rest", "zlib") == VOXELS).all()


# Text headers.


def header(text: bytes) -> HeaderReader:
    return HeaderReader(Path("ct.nrrd"), "NRRD", io.BytesIO(text))


def test_lines_without_their_ends():
    reader = header(b" a \r\n\nb")
    assert [reader.line() for _ in range(4)] == ["a", "", "b", None]


def test_lines_and_headers_have_a_length():
    assert header(b"x" * ((1 << 16) - 1) + b"\n").line() is not None
    assert header(b"x" * (1 << 16)).line() is not None
    with pytest.raises(InputError, match="longer than 1048576 bytes, or a line than 65536"):
        header(b"x" * ((1 << 16) + 1)).line()
    lines = b"x" * 1023 + b"\n"
    reader = header(lines * 1024)
    assert all(reader.line() for _ in range(1024))
    reader = header(lines * 1024 + b"y")
    for _ in range(1024):
        reader.line()
    with pytest.raises(InputError, match="its header is longer"):
        reader.line()


@pytest.mark.parametrize(("text", "found"), [("7 -5 +6", [7, -5, 6]), ("1 2 " + "9" * 18, [1, 2, 10**18 - 1])])
def test_whole_numbers(text, found):
    assert header(b"").integers("sizes", text, 3) == found


@pytest.mark.parametrize(
    "text", ["1 2", "1 2 3 4", "1 2 3.0", "1 2 x", "1 2 " + "9" * 19, "1 2 -", "1 2 \u0663", "1 2 --3"]
)
def test_what_are_no_three_whole_numbers(text):
    with pytest.raises(InputError, match=r"'sizes' must be 3 whole number\(s\)"):
        header(b"").integers("sizes", text, 3)


@pytest.mark.parametrize("text", ["1 2", "1 2 3 4", "1 2 x", "1 2 nan", "1 inf 2", ""])
def test_what_are_no_three_numbers(text):
    with pytest.raises(InputError, match=r"'origin' must be 3 finite number\(s\)"):
        header(b"").numbers("origin", text, 3)
    assert header(b"").numbers("origin", "1 -2.5 3e2", 3) == [1, -2.5, 300]


# NRRD.

NRRD = {
    "type": "short", "dimension": "3", "sizes": "4 3 2", "encoding": "raw", "endian": "little", "space": "RAS",
    "space directions": "(2,0,0) (0,3,0) (0,0.5,4)", "space origin": "(10,20,30)",
}  # fmt: skip


def nrrd(folder: Path, data: bytes = VOXELS.tobytes(), magic: str = "NRRD0004", **fields: str | None) -> Path:
    values = NRRD | {name.replace("_", " "): value for name, value in fields.items()}
    lines = [magic, *(f"{name}: {value}" for name, value in values.items() if value is not None), "", ""]
    return file_of(folder, "ct.nrrd", "\n".join(lines).encode() + data)


@pytest.mark.parametrize("version", range(1, 7))
def test_nrrd_by_hand(tmp_path, version):
    stored, matrix = read_nrrd(nrrd(tmp_path, magic=f"NRRD000{version}"))
    assert (stored == VOXELS).all()
    # The directions of i, j, k are the columns.
    assert matrix.tolist() == [[2, 0, 0, 10], [0, 3, 0.5, 20], [0, 0, 4, 30], [0, 0, 0, 1]]


@pytest.mark.parametrize("magic", ["NRRD0000", "NRRD0007", "NRRD00041", "NRRD"])
def test_other_nrrds_are_refused(tmp_path, magic):
    with pytest.raises(InputError, match="does not begin as one"):
        read_nrrd(nrrd(tmp_path, magic=magic))


@pytest.mark.parametrize(
    ("space", "signs"),
    [("LPS", (-1, -1, 1)), ("left-anterior-superior", (-1, 1, 1)), ("LAS", (-1, 1, 1)), ("RAS", (1, 1, 1))],
)
def test_space_of_nrrd_turns_all_axes(tmp_path, space, signs):
    _, matrix = read_nrrd(nrrd(tmp_path, space=space))
    assert (matrix == np.diag([*signs, 1.0]) @ read_nrrd(nrrd(tmp_path))[1]).all()


@pytest.mark.parametrize(
    ("type_name", "code"),
    [
        ("signed char", "i1"),
        ("uchar", "u1"),
        ("unsigned short", "<u2"),
        ("int", "<i4"),
        ("uint32_t", "<u4"),
        ("long long", "<i8"),
        ("uint64", "<u8"),
        ("float", "<f4"),
        ("DOUBLE", "<f8"),
    ],
)
def test_number_types_of_nrrd(tmp_path, type_name, code):
    fields = {"type": type_name, "endian": None if code.endswith("1") else "Little"}
    stored, _ = read_nrrd(nrrd(tmp_path, VOXELS.astype(code).tobytes(), **fields))
    assert stored.dtype == code
    assert (stored == VOXELS).all()


def test_big_endian_nrrd(tmp_path):
    assert (read_nrrd(nrrd(tmp_path, VOXELS.astype(">i2").tobytes(), endian="big"))[0] == VOXELS).all()


@pytest.mark.parametrize(("fields", "message"), [
    ({"dimension": "0", "sizes": ""}, "'dimension' is 0"), ({"dimension": "17"}, "'dimension' is 17"),
    ({"dimension": "16", "sizes": "1 " * 16}, "has 16 axes"), ({"dimension": "1", "sizes": "24"}, "has 1 axes"),
    ({"endian": None}, "its endian is ''"), ({"type": "block"}, "its type is 'block'"), ({"encoding": "bzip2"}, "its encoding is 'bzip2'"),
    ({"space_units": '"cm" "mm" "mm"'}, "space units are cm, mm, not mm"), ({"space_origin": "(1,2)"}, "'space origin' must be"),
    ({"space_origin": "(1,2,3) (4,5,6)"}, "'space origin' must be 1 vector"), ({"space_directions": "(1,0,0) (0,1,0)"}, "must be 3 vector"),
    ({"space_directions": "(1,0,0) none (0,1,0) (0,0,1)"}, "must be 3 vector"), ({"line_skip": "1001"}, "skips 1001 lines"),
    ({"line_skip": "-1"}, "skips -1 lines"), ({"byte_skip": "-2"}, "and -2 bytes"), ({"encoding": "gzip", "byte_skip": "1"}, "and 1 bytes"),
    ({"colour": "red"}, "unknown, doubled or incomplete field 'colour'"), ({"space_units": "cm cm cm"}, "space units are cm, not mm"),
    ({"units": '"mm" "mm" "m"'}, "units are m, mm, not mm"), ({"spacings": "0.7 0.7 1.25"}, "two spacings: 'spacings'"),
    ({"axis_mins": "0 0 0"}, "two spacings: 'axis mins'"), ({"axismaxs": "nan 40 nan"}, "two spacings: 'axismaxs'"),
    ({"old_min": "-1024"}, "no HU: 'old min' is '-1024'"), ({"oldmax": "3071"}, "no HU: 'oldmax'"),
    ({"kinds": "vector domain domain"}, "kinds 'vector domain domain', not all of space"), ({"kinds": "domain domain time"}, "not all of space"),
    ({"kinds": "domain list domain"}, "not all of space"),
])  # fmt: skip
def test_nrrds_that_are_refused(tmp_path, fields, message):
    with pytest.raises(InputError, match=message):
        read_nrrd(nrrd(tmp_path, **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"space_units": '"mm" "mm" "mm"'},
        {"space_units": '"" "millimeter" "mm"'},
        {"content": "a CT"},
        {"encoding": "RAW"},
        {"line_skip": "0", "byte_skip": "0"},
        {"kinds": "space ??? domain"},
        {"spacings": "nan nan NaN", "units": "mm mm mm"},
    ],
)
def test_nrrds_that_are_read(tmp_path, fields):
    assert (read_nrrd(nrrd(tmp_path, **fields))[0] == VOXELS).all()


@pytest.mark.parametrize(
    ("before", "fields"),
    [
        (b"abc", {"byte_skip": "3"}),
        (b"a\nbc\n", {"line_skip": "2"}),
        (b"a\nbc", {"lineskip": "1", "byteskip": "2"}),
        (b"what ever", {"byte_skip": "-1"}),
        (b"a\n" * 1000, {"line_skip": "1000"}),
    ],
)
@pytest.mark.parametrize("is_detached", [False, True])
def test_what_nrrd_skips(tmp_path, before, fields, is_detached):
    data = before + VOXELS.tobytes()
    if is_detached:
        file_of(tmp_path, "ct.raw", data)
        path = nrrd(tmp_path, b"", data_file="ct.raw", **fields)
    else:
        path = nrrd(tmp_path, data, **fields)
    assert (read_nrrd(path)[0] == VOXELS).all()


def test_remarks_and_own_values_of_nrrd_are_passed_over(tmp_path):
    path = nrrd(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"type:", b"# a remark\nmine:=own: value\ntype:"))
    assert (read_nrrd(path)[0] == VOXELS).all()


# MetaImage.

META = {
    "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False", "CompressedData": "False",
    "TransformMatrix": "0 1 0 0 0 1 1 0 0", "Offset": "10 20 30", "ElementSpacing": "2 3 4", "DimSize": "4 3 2", "ElementType": "MET_SHORT",
}  # fmt: skip


def meta(folder: Path, data: bytes = VOXELS.tobytes(), file: str = "LOCAL", **fields: str | None) -> Path:
    values = {**META, **fields}
    lines = [
        *(f"{name} = {value}" for name, value in values.items() if value is not None),
        f"ElementDataFile = {file}",
        "",
    ]
    return file_of(folder, "ct.mha", "\n".join(lines).encode() + data)


def test_metaimage_by_hand(tmp_path):
    stored, matrix = read_metaimage(meta(tmp_path))
    assert (stored == VOXELS).all()
    # i steps 2 mm along the second axis of LPS, j 3 mm along the third, k 4 mm along the first.
    assert matrix.tolist() == [[0, 0, -4, -10], [-2, 0, 0, -20], [0, 3, 0, 30], [0, 0, 0, 1]]


@pytest.mark.parametrize(("fields", "message"), [
    ({"ObjectType": "Tube"}, "ObjectType is 'Tube'"), ({"NDims": "0", "DimSize": ""}, "'NDims' is 0"), ({"NDims": "11"}, "'NDims' is 11"),
    ({"NDims": "10", "DimSize": "1 " * 10}, "has 10 axes"), ({"NDims": "1", "DimSize": "24"}, "has 1 axes"),
    ({"ElementNumberOfChannels": "2"}, "holds 2 values"), ({"ElementNumberOfChannels": "0"}, "holds 0 values"),
    ({"ElementType": "MET_NONE"}, "ElementType is 'MET_NONE'"), ({"ElementToIntensityFunctionSlope": "2"}, "no HU"),
    ({"ElementToIntensityFunctionOffset": "-1024"}, "no HU"), ({"BinaryData": "False"}, "its voxels are text"),
    ({"BinaryData": "Yes"}, "must be True or False"), ({"DistanceUnits": "cm"}, "DistanceUnits are 'cm', not mm"),
    ({"ElementSpacing": "0 1 1"}, "spacing is not above zero"), ({"ElementSpacing": None}, "no 'ElementSpacing'"),
    ({"TransformMatrix": "1 0 0 0 1.011 0 0 0 1"}, "not of length 1"), ({"TransformMatrix": "0.989 0 0 0 1 0 0 0 1"}, "not of length 1"),
    ({"HeaderSize": "1"}, "HeaderSize is 1 although"), ({"HeaderSize": "-1"}, "HeaderSize is -1 although"), ({"Position": "1 2 3"}, "'Position' twice"),
])  # fmt: skip
def test_metaimages_that_are_refused(tmp_path, fields, message):
    with pytest.raises(InputError, match=message):
        read_metaimage(meta(tmp_path, **fields))


@pytest.mark.parametrize("fields", [
    {"ObjectType": None}, {"ElementNumberOfChannels": "1"}, {"ElementToIntensityFunctionSlope": "1.0"}, {"DistanceUnits": "mm"}, {"DistanceUnits": "?"},
    {"BinaryData": None}, {"BinaryData": "1"}, {"CompressedData": None}, {"BinaryDataByteOrderMSB": None}, {"Comment": "mine"},
    {"ElementToIntensityFunctionOffset": "0"}, {"ElementSpacing": None, "ElementSize": "2 3 4"}, {"Offset": None, "Origin": "10 20 30"},
    {"TransformMatrix": "0 1 0 0 0 1 1.009 0 0"}, {"ElementSpacing": "0.5 0.5 0.5"}, {"HeaderSize": "0"},
    {"Position": "10 20 30", "ElementByteOrderMSB": "False", "Rotation": "0 1 0 0 0 1 1 0 0"},
])  # fmt: skip
def test_metaimages_that_are_read(tmp_path, fields):
    assert (read_metaimage(meta(tmp_path, **fields))[0] == VOXELS).all()


def test_metaimage_packed_and_of_the_other_byte_order(tmp_path):
    data = zlib.compress(VOXELS.astype(">i2").tobytes())
    for true in ("True", "1"):
        assert (
            read_metaimage(
                meta(tmp_path, data, CompressedData=true, ElementByteOrderMSB=true, BinaryDataByteOrderMSB=None)
            )[0]
            == VOXELS
        ).all()


@pytest.mark.parametrize(("before", "size"), [(b"", None), (b"abc", "3"), (b"abc", "-1"), (b"", "-1")])
def test_metaimage_skips_the_head_of_its_data_file(tmp_path, before, size):
    file_of(tmp_path, "ct.raw", before + VOXELS.tobytes())
    assert (read_metaimage(meta(tmp_path, b"", "ct.raw", HeaderSize=size))[0] == VOXELS).all()


@pytest.mark.parametrize(("size", "packed"), [("-2", "False"), ("49", "False"), ("3", "True"), ("-1", "True")])
def test_heads_that_cannot_be_skipped(tmp_path, size, packed):
    file_of(tmp_path, "ct.raw", VOXELS.tobytes())
    with pytest.raises(InputError, match=f"its HeaderSize is {size}"):
        read_metaimage(meta(tmp_path, b"", "ct.raw", HeaderSize=size, CompressedData=packed))


# NIfTI-1.


def nifti(folder: Path, data: bytes = VOXELS.tobytes(), **changes: tuple[str, int, tuple]) -> Path:
    fields = {
        "length": ("i", 0, (348,)), "dim": ("8h", 40, (3, 4, 3, 2, 1, 1, 1, 1)), "type": ("2h", 70, (4, 16)),
        "pixdim": ("8f", 76, (1, 2, 3, 4, 0, 0, 0, 0)), "offset": ("f", 108, (352,)), "slope": ("2f", 112, (0, 0)),
        "units": ("B", 123, (2,)), "codes": ("2h", 252, (0, 1)), "quaternion": ("6f", 256, (0, 0, 0, 10, 20, 30)),
        "sform": ("12f", 280, (2, 0, 0, 10, 0, 3, 0, 20, 0, 0, 4, 30)), "magic": ("4s", 344, (b"n+1\0",)),
    }  # fmt: skip
    head = bytearray(352)
    for layout, at, values in (fields | changes).values():
        struct.pack_into("<" + layout, head, at, *values)
    return file_of(folder, "ct.nii", bytes(head) + data)


EXPECTED = [[2, 0, 0, 10], [0, 3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]]


@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (1, 1), (-1, 2), (3, -1)])
def test_nifti_by_hand(tmp_path, codes):
    stored, matrix = read_nifti(nifti(tmp_path, codes=("2h", 252, codes)))
    assert (stored == VOXELS).all()
    assert matrix.tolist() == EXPECTED


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("handed", [1, -1])
def test_quaternion_is_a_rotation(tmp_path, seed, handed):
    rotation = Rotation.random(random_state=seed)
    x, y, z, w = rotation.as_quat()
    if w < 0:
        x, y, z = -x, -y, -z
    path = nifti(
        tmp_path,
        codes=("2h", 252, (1, 0)),
        quaternion=("6f", 256, (x, y, z, 1, 2, 3)),
        pixdim=("8f", 76, (handed, 2, 3, 4, 0, 0, 0, 0)),
    )
    _, matrix = read_nifti(path)
    np.testing.assert_allclose(matrix[:3, :3], rotation.as_matrix() * (2, 3, 4 * handed), atol=2e-3)
    assert matrix[:3, 3].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("b", "is_rotation"), [(1.0, True), (1.0004, True), (1.0006, False), (-1.0004, True)])
def test_quaternion_is_of_length_one_within_a_thousandth(tmp_path, b, is_rotation):
    path = nifti(tmp_path, codes=("2h", 252, (1, 0)), quaternion=("6f", 256, (b, 0, 0, 10, 20, 30)))
    if is_rotation:
        np.testing.assert_allclose(read_nifti(path)[1][:3, :3], np.diag([2, -3, -4]), atol=1e-6)
    else:
        with pytest.raises(InputError, match="its qform is no rotation"):
            read_nifti(path)


@pytest.mark.parametrize(
    ("slope", "intercept", "factor", "offset"),
    [(0, 5, 1, 0), (1, 0, 1, 0), (2, -1024, 2, -1024), (1, -1024, 1, -1024), (0.5, 0, 0.5, 0), (-1, 3, -1, 3)],
)
def test_slope_and_intercept(tmp_path, slope, intercept, factor, offset):
    stored, _ = read_nifti(nifti(tmp_path, slope=("2f", 112, (slope, intercept))))
    assert (stored == VOXELS * factor + offset).all()
    assert stored.dtype == (np.int16 if (factor, offset) == (1, 0) else np.float32)


@pytest.mark.parametrize(
    ("code", "dtype"),
    [
        (2, "u1"),
        (4, "i2"),
        (8, "i4"),
        (16, "f4"),
        (64, "f8"),
        (256, "i1"),
        (512, "u2"),
        (768, "u4"),
        (1024, "i8"),
        (1280, "u8"),
    ],
)
def test_number_types_of_nifti(tmp_path, code, dtype):
    bits = np.dtype(dtype).itemsize * 8
    stored, _ = read_nifti(nifti(tmp_path, VOXELS.astype(f"<{dtype}").tobytes(), type=("2h", 70, (code, bits))))
    assert (stored == VOXELS).all()
    assert stored.dtype == dtype
    with pytest.raises(InputError, match=f"its datatype is {code} with {bits + 1} bits"):
        read_nifti(nifti(tmp_path, type=("2h", 70, (code, bits + 1))))


@pytest.mark.parametrize(("change", "message"), [
    ({"dim": ("8h", 40, (0, 4, 3, 2, 1, 1, 1, 1))}, "no axes, or more than seven"), ({"dim": ("8h", 40, (8, 4, 3, 2, 1, 1, 1, 1))}, "no axes"),
    ({"dim": ("8h", 40, (2, 4, 6, 1, 1, 1, 1, 1))}, "has 2 axes"), ({"dim": ("8h", 40, (4, 4, 3, 1, 2, 1, 1, 1))}, "has 4 axes"),
    ({"dim": ("8h", 40, (5, 4, 3, 1, 1, 2, 1, 1))}, "holds 2 values"), ({"dim": ("8h", 40, (5, 2, 3, 1, 2, 2, 1, 1))}, "has 5 axes"),
    *(({"type": ("2h", 70, (code, 64))}, f"holds {count} values") for code, count in ((32, 2), (1792, 2), (2048, 2), (128, 3), (2304, 4))),
    ({"units": ("B", 123, (1,))}, "code 1, not mm"), ({"units": ("B", 123, (3,))}, "code 3, not mm"), ({"offset": ("f", 108, (347,))}, "begin at byte 347"),
    ({"offset": ("f", 108, (16_777_218,))}, "begin at byte 1.67772e"), ({"codes": ("2h", 252, (0, 0))}, "both its sform and its qform are unset"),
    ({"magic": ("4s", 344, (b"ni1\0",))}, "its voxels are in another file"), ({"length": ("i", 0, (349,))}, "does not begin as one"),
    ({"slope": ("2f", 112, (2, np.nan))}, "its intercept nan"), ({"slope": ("2f", 112, (1, np.inf))}, "its intercept inf"),
    ({"sform": ("12f", 280, (np.nan, 0, 0, 10, 0, 3, 0, 20, 0, 0, 4, 30))}, "its sform is not made of numbers"),
    ({"sform": ("12f", 280, (2, 0, 0, 10, 0, 0, 0, 20, 0, 0, 4, 30))}, "an axis without a length"),
    *(({"codes": ("2h", 252, (1, 0)), "pixdim": ("8f", 76, (1, *spacing, 0, 0, 0, 0))}, "spacing above zero") for spacing in ((0, 3, 4), (2, -3, 4), (2, 3, np.nan))),
])  # fmt: skip
def test_niftis_that_are_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        read_nifti(nifti(tmp_path, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"dim": ("8h", 40, (7, 4, 3, 2, 1, 1, 1, 1))},
        {"slope": ("2f", 112, (np.nan, np.nan))},
        {"slope": ("2f", 112, (np.nan, 0))},
        {"slope": ("2f", 112, (np.inf, 7))},
        {"units": ("B", 123, (0,))},
        {"units": ("B", 123, (0x12,))},
        {"offset": ("f", 108, (0,))},
    ],
)
def test_niftis_that_are_read(tmp_path, change):
    assert (read_nifti(nifti(tmp_path, **change))[0] == VOXELS).all()


def test_voxels_of_nifti_begin_where_it_says(tmp_path):
    assert (read_nifti(nifti(tmp_path, bytes(16) + VOXELS.tobytes(), offset=("f", 108, (368,))))[0] == VOXELS).all()


@pytest.mark.parametrize(("shift", "is_same"), [(0.099, True), (0.101, False), (-0.101, False)])
@pytest.mark.parametrize("axis", range(3))
def test_both_forms_agree_within_a_tenth_of_a_millimetre(tmp_path, shift, is_same, axis):
    origin = [10.0, 20.0, 30.0]
    origin[axis] += shift
    path = nifti(tmp_path, codes=("2h", 252, (1, 1)), quaternion=("6f", 256, (0, 0, 0, *origin)))
    if is_same:
        assert read_nifti(path)[1].tolist() == EXPECTED
    else:
        with pytest.raises(InputError, match=r"names two places"):
            read_nifti(path)


@pytest.mark.parametrize(("axis", "apart"), [(0, 3), (1, 2), (2, 1)])
def test_forms_are_compared_at_the_far_corner(tmp_path, axis, apart):
    """A spacing that differs shows most at the last voxel: 3, 2 or 1 steps from the first."""
    for error_mm, is_same in ((0.099 / apart, True), (0.102 / apart, False)):
        spacing = [2.0, 3.0, 4.0]
        spacing[axis] += error_mm
        path = nifti(tmp_path, codes=("2h", 252, (1, 1)), pixdim=("8f", 76, (1, *spacing, 0, 0, 0, 0)))
        if is_same:
            read_nifti(path)
        else:
            far = [0, 0, 0]
            far[axis] = apart
            # The first of the corners that are furthest apart is named.
            with pytest.raises(
                InputError, match=rf"its voxel \({far[0]}, {far[1]}, {far[2]}\) lies at .* 0\.1 mm apart"
            ):
                read_nifti(path)


@pytest.mark.parametrize(("shear", "is_square"), [(0.00099, True), (0.00101, False), (-0.00101, False)])
def test_axes_of_an_sform_stand_at_right_angles_within_a_thousandth(tmp_path, shear, is_square):
    path = nifti(tmp_path, sform=("12f", 280, (2, 3 * shear, 0, 10, 0, 3, 0, 20, 0, 0, 4, 30)))
    if is_square:
        read_nifti(path)
    else:
        with pytest.raises(InputError, match="axes that lie askew"):
            read_nifti(path)


# Packed pixels of DICOM.


def jpeg(
    marker: int = 0xC3, bits: int = 12, rows: int = 5, columns: int = 7, components: int = 1, before: bytes = b""
) -> bytes:
    frame = struct.pack(">BBHBHHB", 0xFF, marker, 11, bits, rows, columns, components) + b"\1\x11\0"
    return b"\xff\xd8" + before + frame + b"\xff\xda\0\x08" + bytes(20)


@pytest.mark.parametrize(
    ("kind", "markers"),
    [
        ("50", (0xC0,)),
        ("51", (0xC0, 0xC1)),
        ("57", (0xC3,)),
        ("70", (0xC3,)),
        ("80", (0xF7,)),
        ("81", (0xF7,)),
        ("53", (0xC2,)),
    ],
)
def test_jpeg_is_of_the_kind_its_syntax_names(kind, markers):
    for marker in (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xCF, 0xF7):
        assert is_believable(jpeg(marker, 8), SYNTAX_ROOT + kind, (5, 7), 16) is (marker in markers)


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, True), ({"rows": 6}, False), ({"columns": 8}, False), ({"rows": 7, "columns": 5}, False), ({"components": 3}, False),
    ({"bits": 16}, True), ({"bits": 17}, False), ({"bits": 2}, True), ({"bits": 1}, False),
    ({"before": b"\xff\xe0\0\x04ab"}, True), ({"before": b"\xff"}, True), ({"before": b"\xff\xc4\0\x04ab"}, True),
    ({"before": b"\xff\xc8\0\x04ab"}, True), ({"before": b"\xff\xcc\0\x04ab"}, True), ({"before": b"\0"}, False),
    ({"before": jpeg()[2:15]}, False),
])  # fmt: skip
def test_what_a_jpeg_says_of_itself(changes, expected):
    assert is_believable(jpeg(**changes), SYNTAX_ROOT + "57", (5, 7), 16) is expected


def test_bits_of_a_jpeg_are_at_most_those_allocated():
    assert is_believable(jpeg(bits=8), SYNTAX_ROOT + "57", (5, 7), 8)
    assert not is_believable(jpeg(bits=9), SYNTAX_ROOT + "57", (5, 7), 8)
    assert is_believable(jpeg(bits=16), SYNTAX_ROOT + "57", (5, 7), 32)
    assert not is_believable(jpeg(bits=17), SYNTAX_ROOT + "57", (5, 7), 32)


def test_a_jpeg_that_ends_early_is_none():
    assert not is_believable(jpeg()[:15], SYNTAX_ROOT + "57", (5, 7), 16)
    assert not is_believable(b"x" + jpeg(), SYNTAX_ROOT + "57", (5, 7), 16)
    assert not is_believable(jpeg(), SYNTAX_ROOT + "99", (5, 7), 16)
    assert not is_believable(jpeg(), "1.2.3", (5, 7), 16)


def j2k(
    columns: int = 17,
    rows: int = 25,
    left: int = 10,
    top: int = 20,
    components: int = 1,
    bits: int = 12,
    signed: bool = False,
) -> bytes:
    head = b"\xff\x4f\xff\x51" + struct.pack(">HH4I", 41, 0, columns, rows, left, top) + bytes(16)
    return head + struct.pack(">HB", components, (bits - 1) | (0x80 if signed else 0))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"signed": True}, True),
        ({"columns": 18}, False),
        ({"rows": 26}, False),
        ({"left": 11}, False),
        ({"top": 21}, False),
        ({"components": 2}, False),
        ({"bits": 16}, True),
        ({"bits": 17}, False),
        ({"bits": 2}, True),
        ({"bits": 1}, False),
    ],
)
@pytest.mark.parametrize("kind", ["90", "91"])
def test_what_a_jpeg_2000_says_of_itself(changes, expected, kind):
    assert is_believable(j2k(**changes), SYNTAX_ROOT + kind, (5, 7), 16) is expected


def test_a_jpeg_2000_may_begin_behind_a_head():
    assert is_believable(bytes(100) + j2k(), SYNTAX_ROOT + "90", (5, 7), 16)
    assert is_believable(bytes(4092) + j2k(), SYNTAX_ROOT + "90", (5, 7), 16)
    assert not is_believable(bytes(4093) + j2k(), SYNTAX_ROOT + "90", (5, 7), 16)
    assert not is_believable(j2k()[:-1], SYNTAX_ROOT + "90", (5, 7), 16)


def rle(*segments: bytes, count: int | None = None) -> bytes:
    offsets = np.cumsum([64, *(len(segment) for segment in segments)])[:-1].tolist()
    head = [len(segments) if count is None else count, *offsets]
    return struct.pack("<16I", *head, *[0] * (16 - len(head))) + b"".join(segments)


def test_run_lengths_by_hand():
    # Three literal bytes, then four times 9; 128 says nothing.
    low = bytes([2, 1, 2, 3, 128, 253, 9])
    assert decode_rle(rle(low), (1, 7), 8).tolist() == [[1, 2, 3, 9, 9, 9, 9]]
    high = bytes([256 - 6, 1])
    assert decode_rle(rle(high, low), (7, 1), 16).ravel().tolist() == [256 + n for n in (1, 2, 3, 9, 9, 9, 9)]
    assert decode_rle(rle(bytes([127, *range(128)])), (8, 16), 8).ravel().tolist() == list(range(128))
    assert decode_rle(rle(bytes([129, 5])), (8, 16), 8).tolist() == [[5] * 16] * 8
    assert decode_rle(rle(bytes([0, 5, 0])), (1, 1), 8).tolist() == [[5]]


@pytest.mark.parametrize(("packed", "message"), [
    (rle(bytes([0, 5]), count=2), "2 segments are there where 1 are needed"), (rle(bytes([0, 5]))[:63], "head of the run lengths is cut off"),
    (rle(bytes([1, 5, 6])), "unpacks to 2 bytes, not 1"), (rle(bytes([0])), "unpacks to 0 bytes, not 1"), (rle(b""), "unpacks to 0 bytes"),
    (struct.pack("<16I", 1, 63, *[0] * 14) + b"\0\5", "lie outside"), (struct.pack("<16I", 1, 67, *[0] * 14) + b"\0\5", "lie outside"),
])  # fmt: skip
def test_run_lengths_that_are_refused(packed, message):
    with pytest.raises(ValueError, match=message):
        decode_rle(packed, (1, 1), 8)


@pytest.mark.parametrize(("fields", "expected"), [
    ((16, 12, 11, 1), NumberFormat(16, 12, 11, True)), ((16, 12, None, 0), NumberFormat(16, 12, 11, False)), ((16, None, None, None), NumberFormat(16, 16, 15, False)),
    ((8, 8, 7, 0), NumberFormat(8, 8, 7, False)), ((32, 1, 31, 0), NumberFormat(32, 1, 31, False)), ((16, 12, 15, 2), NumberFormat(16, 12, 15, False)),
])  # fmt: skip
def test_number_formats(fields, expected):
    assert number_format(dataset(*fields)) == expected


def dataset(allocated, stored, high, representation):
    from pydicom import Dataset

    found = Dataset()
    for name, value in (
        ("BitsAllocated", allocated),
        ("BitsStored", stored),
        ("HighBit", high),
        ("PixelRepresentation", representation),
    ):
        if value is not None:
            setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    "fields", [(12, 12, 11, 0), (64, 16, 15, 0), (16, 17, 16, 0), (16, 12, 10, 0), (16, 12, 16, 0), (1, 1, 0, 0)]
)
def test_number_formats_that_are_refused(fields):
    with pytest.raises(InputError, match=f"{fields[1]} of {fields[0]} bits up to bit {fields[2]}"):
        number_format(dataset(*fields))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("stored", "high"), [(16, 15), (12, 11), (12, 15), (12, 13), (1, 0)])
def test_other_bits_are_no_part_of_a_number(signed, stored, high):
    raw = np.arange(0, 1 << 16, 37, dtype=np.uint16)
    expected = (raw.astype(np.int64) >> (high + 1 - stored)) & ((1 << stored) - 1)
    if signed:
        expected = np.where(expected >= 1 << (stored - 1), expected - (1 << stored), expected)
    assert (without_other_bits(raw, NumberFormat(16, stored, high, signed)) == expected).all()
