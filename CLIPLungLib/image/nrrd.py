"""NRRD files (.nrrd, .nhdr) by their definition, https://teem.sourceforge.net/nrrd/format.html: one plain volume, raw or gzip."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from CLIPLungLib.image.described_voxels import Description, read_described, three_sizes
from CLIPLungLib.image.header_text import HeaderReader, without_place
from CLIPLungLib.image.voxel_data import Packing

FORMAT = "NRRD"
FIELDS = {
    "axis maxs", "axis mins", "axismaxs", "axismins", "block size", "blocksize", "byte skip", "byteskip", "centerings",
    "centers", "content", "data file", "datafile", "dimension", "encoding", "endian", "kinds", "labels", "line skip",
    "lineskip", "max", "measurement frame", "min", "number", "old max", "old min", "oldmax", "oldmin", "sample units",
    "sampleunits", "sizes", "space", "space dimension", "space directions", "space origin", "space units", "spacings",
    "thicknesses", "type", "units",
}  # fmt: skip
_NAMES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}
TYPES = {name: code for code, names in _NAMES.items() for name in names.split("|")}
# To RAS, axis by axis.
SPACES = {
    "ras": (1, 1, 1), "right-anterior-superior": (1, 1, 1),
    "las": (-1, 1, 1), "left-anterior-superior": (-1, 1, 1),
    "lps": (-1, -1, 1), "left-posterior-superior": (-1, -1, 1),
}  # fmt: skip
# Axes of any other kind are no places in the patient: a list of values, or time.
SPATIAL_KINDS = {"domain", "space", "???", "none"}
# Say a second time how far the voxels are apart.
OTHER_PLACES = ("spacings", "axis mins", "axismins", "axis maxs", "axismaxs")
# Say that the numbers stand for others.
OTHER_NUMBERS = ("old min", "oldmin", "old max", "oldmax")
MILLIMETRES = {"mm", "millimeter", "millimetre", "???", ""}
PACKINGS: dict[str, Packing] = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
VECTOR = re.compile(r"\(([^()]*)\)")
UNIT = re.compile(r'"([^"]*)"|([^\s"]+)')


def read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(K, J, I) stored numbers and the (4, 4) IJK-to-RAS matrix in mm.

    Raises:
        InputError: not NRRD, not a plain volume, no place in the patient, or damaged.
    """
    return read_described(path, FORMAT, _description)


def _description(header: HeaderReader) -> Description:
    fields = _fields(header)
    _require_one_meaning(header, fields)
    size, dtype, matrix = (
        three_sizes(header, fields, "dimension", "sizes", 16),
        _dtype(header, fields),
        _matrix(header, fields),
    )
    packing = PACKINGS.get(fields.get("encoding", "").lower())
    if packing is None:
        raise header.error(f"its encoding is '{fields.get('encoding', '')[:80]}'; raw and gzip are read")

    def go_to_voxels(stream: BinaryIO) -> None:
        lines = header.integers("line skip", fields.get("line skip", fields.get("lineskip", "0")), 1)[0]
        count = header.integers("byte skip", fields.get("byte skip", fields.get("byteskip", "0")), 1)[0]
        if not 0 <= lines <= 1000 or count < -1 or (packing == "gzip" and count):
            raise header.error(f"it skips {lines} lines and {count} bytes")
        for _ in range(lines):
            stream.readline(1 << 16)
        if count < 0:
            found.go_to_last(stream)
        else:
            stream.seek(count, 1)

    data_file = fields.get("data file", fields.get("datafile"))
    found = Description(size, dtype, matrix, packing, data_file, go_to_voxels)
    return found


def _fields(header: HeaderReader) -> dict[str, str]:
    magic = header.line() or ""
    if not re.fullmatch(r"NRRD000[1-6]", magic):
        raise header.error("it does not begin as one")
    fields: dict[str, str] = {}
    while line := header.line():
        key, found, value = line.partition(":")
        if line.startswith("#") or value.startswith("="):
            continue  # A remark, or a value of the user's own.
        key = key.strip().lower()
        if not found or key not in FIELDS or key in fields:
            raise header.error(f"its header has the unknown, doubled or incomplete field '{key[:80]}'")
        fields[key] = value.strip()
    return fields


def _require_one_meaning(header: HeaderReader, fields: dict[str, str]) -> None:
    """Refuse axes that are not of space, what the format forbids beside 'space directions', and numbers that were quantized."""
    kinds = set(fields.get("kinds", "").lower().split()) - SPATIAL_KINDS
    if kinds and len(VECTOR.findall(fields.get("space directions", ""))) == 3:
        raise header.error(f"its axes are of the kinds '{fields['kinds'][:80]}', not all of space")
    for name, reason in (
        *((name, "its voxels have two spacings") for name in OTHER_PLACES),
        *((name, "its numbers are no HU") for name in OTHER_NUMBERS),
    ):
        if set(fields.get(name, "").lower().split()) - {"nan"}:
            raise header.error(f"{reason}: '{name}' is '{fields[name][:80]}'")


def _dtype(header: HeaderReader, fields: dict[str, str]) -> np.dtype:
    code = TYPES.get(fields.get("type", "").lower())
    if code is None:
        raise header.error(f"its type is '{fields.get('type', '')[:80]}'")
    endian = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if endian is None and not code.endswith("1"):
        raise header.error(f"its endian is '{fields.get('endian', '')[:80]}'")
    return np.dtype((endian or "") + code)


def _matrix(header: HeaderReader, fields: dict[str, str]) -> np.ndarray:
    for name in ("space", "space directions", "space origin"):
        if name not in fields:
            raise without_place(header.path, f"its header has no '{name}'")
    space = fields["space"].lower()
    if space not in SPACES:
        raise without_place(header.path, f"its space is '{space[:80]}'")
    for name in ("space units", "units"):
        units = {one.strip().lower() for pair in UNIT.findall(fields.get(name, "")) for one in pair}
        if units - MILLIMETRES:
            raise without_place(header.path, f"its {name} are {', '.join(sorted(units - {''}))[:80]}, not mm")
    matrix = np.eye(4)
    directions = _vectors(header, "space directions", fields["space directions"], 3)
    matrix[:3] = np.column_stack([*directions, *_vectors(header, "space origin", fields["space origin"], 1)])
    return np.diag([*SPACES[space], 1.0]) @ matrix


def _vectors(header: HeaderReader, field: str, text: str, count: int) -> list[list[float]]:
    found = VECTOR.findall(text)
    if len(found) != count or VECTOR.sub("", text).strip():
        raise header.error(f"'{field}' must be {count} vector(s), not '{text[:80]}'")
    return [header.numbers(field, vector.replace(",", " "), 3) for vector in found]
