"""MetaImage files (.mha, .mhd) as ITK writes them: one plain binary volume, raw or zlib."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from CLIPLungLib.image.described_voxels import Description, read_described, three_sizes
from CLIPLungLib.image.header_text import HeaderReader, several_values, without_place
from CLIPLungLib.image.voxel_data import Packing

FORMAT = "MetaImage"
# MetaImage has several names for the same field. All others are the writer's own remarks.
NAMES = {
    "ObjectType": ("ObjectType",),
    "NDims": ("NDims",),
    "DimSize": ("DimSize",),
    "ElementSpacing": ("ElementSpacing",),
    "ElementSize": ("ElementSize",),
    "Offset": ("Offset", "Position", "Origin"),
    "TransformMatrix": ("TransformMatrix", "Rotation", "Orientation"),
    "ElementType": ("ElementType",),
    "ElementNumberOfChannels": ("ElementNumberOfChannels",),
    "ElementToIntensityFunctionSlope": ("ElementToIntensityFunctionSlope",),
    "ElementToIntensityFunctionOffset": ("ElementToIntensityFunctionOffset",),
    "BinaryData": ("BinaryData",),
    "ByteOrderMSB": ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"),
    "CompressedData": ("CompressedData",),
    "HeaderSize": ("HeaderSize",),
    "DistanceUnits": ("DistanceUnits",),
    "ElementDataFile": ("ElementDataFile",),
}
FIELD = {alias: field for field, aliases in NAMES.items() for alias in aliases}
TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
UNIT_TOLERANCE = 1e-2
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_metaimage(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(K, J, I) stored numbers and the (4, 4) IJK-to-RAS matrix in mm.

    Raises:
        InputError: not MetaImage, not a plain volume, no place in the patient, or damaged.
    """
    return read_described(path, FORMAT, _description)


def _description(header: HeaderReader) -> Description:
    fields = _fields(header)
    size, dtype, matrix = _size(header, fields), _dtype(header, fields), _matrix(header, fields)
    packing: Packing = "zlib" if _flag(header, fields, "CompressedData", False) else "raw"
    start = header.integers("HeaderSize", fields.get("HeaderSize", "0"), 1)[0]
    is_local = fields["ElementDataFile"].upper() == "LOCAL"
    if is_local and start != 0:
        raise header.error(f"its HeaderSize is {start} although its voxels follow the header")

    def go_to_voxels(stream: BinaryIO) -> None:
        if is_local:
            return
        stored = stream.seek(0, 2)
        if start < -1 or start > stored or (packing == "zlib" and start):
            raise header.error(f"its HeaderSize is {start}")
        if start < 0:
            found.go_to_last(stream)
        else:
            stream.seek(start)

    found = Description(size, dtype, matrix, packing, None if is_local else fields["ElementDataFile"], go_to_voxels)
    return found


def _fields(header: HeaderReader) -> dict[str, str]:
    fields: dict[str, str] = {}
    keys: set[str] = set()
    while (line := header.line()) is not None:
        key, found, value = (part.strip() for part in line.partition("="))
        field = FIELD.get(key)
        if field in fields and (key in keys or fields[field] != value):
            raise header.error(f"its header has the field '{key}' twice")
        if field and not found:
            raise header.error(f"its field '{key}' has no value")
        if field:
            fields[field] = value
            keys.add(key)
        if field == "ElementDataFile":
            return fields
    raise header.error("it does not begin as one, or its header has no end")


def _size(header: HeaderReader, fields: dict[str, str]) -> list[int]:
    if fields.get("ObjectType", "Image") != "Image":
        raise header.error(f"its ObjectType is '{fields['ObjectType'][:80]}', not Image")
    return three_sizes(header, fields, "NDims", "DimSize", 10)


def _dtype(header: HeaderReader, fields: dict[str, str]) -> np.dtype:
    channels = header.integers("ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"), 1)[0]
    if channels != 1:
        raise several_values(header.path.name, channels)
    name = fields.get("ElementType", "")
    if name not in TYPES:
        raise header.error(f"its ElementType is '{name[:80]}'")
    for field, usual in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if header.numbers(field, fields.get(field, str(usual)), 1)[0] != usual:
            raise header.error(f"its numbers are no HU: '{field}' is {fields[field][:80]}")
    if not _flag(header, fields, "BinaryData", True):
        raise header.error("its voxels are text; binary ones are read")
    return np.dtype((">" if _flag(header, fields, "ByteOrderMSB", False) else "<") + TYPES[name])


def _matrix(header: HeaderReader, fields: dict[str, str]) -> np.ndarray:
    spacing_field = "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"
    for field in (spacing_field, "Offset", "TransformMatrix"):
        if field not in fields:
            raise without_place(
                header.path, f"its header has no '{'ElementSpacing' if field == 'ElementSize' else field}'"
            )
    if fields.get("DistanceUnits", "mm") not in ("mm", "?", ""):
        raise without_place(header.path, f"its DistanceUnits are '{fields['DistanceUnits'][:80]}', not mm")
    spacing_mm = np.array(header.numbers(spacing_field, fields[spacing_field], 3))
    # The direction of i, then of j, then of k.
    axes_lps = np.array(header.numbers("TransformMatrix", fields["TransformMatrix"], 9)).reshape(3, 3)
    if (spacing_mm <= 0).any() or np.abs(np.linalg.norm(axes_lps, axis=1) - 1).max() > UNIT_TOLERANCE:
        raise header.error("its spacing is not above zero, or the axes of its TransformMatrix are not of length 1")
    ijk_to_lps = np.eye(4)
    ijk_to_lps[:3, :3] = (axes_lps * spacing_mm[:, None]).T
    ijk_to_lps[:3, 3] = header.numbers("Offset", fields["Offset"], 3)
    return LPS_TO_RAS @ ijk_to_lps


def _flag(header: HeaderReader, fields: dict[str, str], field: str, usual: bool) -> bool:
    text = fields.get(field, str(usual)).lower()
    if text not in ("true", "false", "1", "0"):
        raise header.error(f"'{field}' must be True or False, not '{text[:80]}'")
    return text in ("true", "1")
