"""NIfTI-1 and NIfTI-2 files (.nii, .nii.gz) by their definition, https://nifti.nimh.nih.gov: one plain volume.

A NIfTI can say twice where it lies: by its sform (any matrix) and by its qform (rotation and spacing). Programs differ in the
one they take, so both must name the same place. Some, 3D Slicer among them, take the axes of the sform and the spacing from beside it.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.header_text import several_values, unreadable, without_place, wrong_axes
from CLIPLungLib.image.regular_file import open_regular
from CLIPLungLib.image.voxel_data import damaged, read_voxels

FORMAT = "NIfTI"
GZIP_MAGIC = b"\x1f\x8b"
SIZES = {348: 1, 540: 2}
TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
VALUES_PER_VOXEL = {32: 2, 1792: 2, 2048: 2, 128: 3, 2304: 4}
# Notes and DICOM tags that some programs put before the voxels.
LONGEST_EXTENSION_BYTES = 1 << 24
MILLIMETRES = (0, 2)  # Code of mm, and none given.
SAME_PLACE_MM = 0.1
ASKEW_COSINE = 1e-3
# Four units in the last place of the single precision of NIfTI-1, in which many files of NIfTI-2 were computed as well.
QUATERNION_ROUNDING = 5e-7


@dataclass(frozen=True)
class NiftiHeader:
    """What the header says.

    Attributes:
        length: bytes of the header.
        axes: voxels along every axis.
        datatype, bits: code and size of a stored number.
        order: "<" or ">".
        offset: byte at which the voxels begin.
        slope, intercept: of the stored numbers.
        units: code of the unit of length.
        qform_code, sform_code: zero or less where unset.
        pixdim: (8,) handedness, then the spacing.
        quaternion: (6,) b, c, d and the offset of the qform.
        sform: (3, 4) rows of the sform.
    """

    length: int
    axes: list[int]
    datatype: int
    bits: int
    order: str
    offset: float
    slope: float
    intercept: float
    units: int
    qform_code: int
    sform_code: int
    pixdim: np.ndarray
    quaternion: np.ndarray
    sform: np.ndarray


def read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(K, J, I) numbers with slope and intercept applied, and the (4, 4) IJK-to-RAS matrix in mm.

    Raises:
        InputError: not NIfTI, not a plain volume, no place or two different places in the patient, or damaged.
    """
    with open_regular(path) as stream:
        is_packed = stream.read(2) == GZIP_MAGIC
        stream.seek(0)
        header = _header(path, stream, is_packed)
        size = _size(path, header)
        dtype = _dtype(path, header)
        matrix = _matrix(path, header, size)
        if not header.length <= header.offset <= LONGEST_EXTENSION_BYTES:
            raise unreadable(path, FORMAT, f"its voxels are said to begin at byte {header.offset:g}")
        stream.seek(0)
        stored = read_voxels(path, stream, "gzip" if is_packed else "raw", size, dtype, int(header.offset))
    return _rescaled(path, stored, header), matrix


def _header(path: Path, stream: BinaryIO, is_packed: bool) -> NiftiHeader:
    try:
        data = (gzip.GzipFile(fileobj=stream) if is_packed else stream).read(540)
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(path) from error
    for order in "<>":
        version = SIZES.get(struct.unpack(order + "i", data[:4])[0]) if len(data) >= 348 else None
        if version == 1 and data[344:348] == b"n+1\0":
            return _version_1(data, order)
        if version == 2 and data[4:8] == b"n+2\0" and len(data) == 540:
            return _version_2(data, order)
    raise unreadable(path, FORMAT, "it does not begin as one, or its voxels are in another file")


def _version_1(data: bytes, order: str) -> NiftiHeader:
    def read(layout: str, at: int) -> tuple[float, ...]:
        return struct.unpack_from(order + layout, data, at)

    dim = [int(n) for n in read("8h", 40)]
    datatype, bits = (int(n) for n in read("2h", 70))
    offset, slope, intercept = read("3f", 108)
    qform_code, sform_code = (int(n) for n in read("2h", 252))
    return NiftiHeader(
        348, dim[1 : 1 + dim[0]] if 1 <= dim[0] <= 7 else [], datatype, bits, order, offset or 352.0, slope, intercept,
        data[123] & 7, qform_code, sform_code, np.array(read("8f", 76)), np.array(read("6f", 256)),
        np.array(read("12f", 280)).reshape(3, 4),
    )  # fmt: skip


def _version_2(data: bytes, order: str) -> NiftiHeader:
    def read(layout: str, at: int) -> tuple[float, ...]:
        return struct.unpack_from(order + layout, data, at)

    dim = [int(n) for n in read("8q", 16)]
    datatype, bits = (int(n) for n in read("2h", 12))
    slope, intercept = read("2d", 176)
    qform_code, sform_code = (int(n) for n in read("2i", 344))
    return NiftiHeader(
        540, dim[1 : 1 + dim[0]] if 1 <= dim[0] <= 7 else [], datatype, bits, order, float(read("q", 168)[0]), slope, intercept,
        int(read("i", 500)[0]) & 7, qform_code, sform_code, np.array(read("8d", 104)), np.array(read("6d", 352)),
        np.array(read("12d", 400)).reshape(3, 4),
    )  # fmt: skip


def _size(path: Path, header: NiftiHeader) -> list[int]:
    size = list(header.axes)
    if not 1 <= len(size) <= 7:
        raise unreadable(path, FORMAT, "it states no axes, or more than seven")
    while len(size) > 3 and size[-1] == 1:
        size.pop()
    if len(size) == 5 and size[3] == 1:
        raise several_values(path.name, size[4])
    if len(size) != 3:
        raise wrong_axes(path.name, size)
    return size


def _dtype(path: Path, header: NiftiHeader) -> np.dtype:
    if header.datatype in VALUES_PER_VOXEL:
        raise several_values(path.name, VALUES_PER_VOXEL[header.datatype])
    code = TYPES.get(header.datatype)
    if code is None or int(code[1]) * 8 != header.bits:
        raise unreadable(path, FORMAT, f"its datatype is {header.datatype} with {header.bits} bits")
    return np.dtype(header.order + code)


def _rescaled(path: Path, stored: np.ndarray, header: NiftiHeader) -> np.ndarray:
    # Programs that know of no slope write none, or no number.
    if header.slope == 0 or not np.isfinite(header.slope) or (header.slope, header.intercept) == (1, 0):
        return stored
    if not np.isfinite(header.intercept):
        raise unreadable(path, FORMAT, f"its slope is {header.slope:g} and its intercept {header.intercept:g}")
    values = stored.astype(np.float32)
    values *= np.float32(header.slope)
    values += np.float32(header.intercept)
    return values


def _matrix(path: Path, header: NiftiHeader, size: list[int]) -> np.ndarray:
    """(4, 4) IJK-to-RAS, by the sform or the qform; by both, where both are set."""
    if header.units not in MILLIMETRES:
        raise without_place(path, f"its unit of length has code {header.units}, not mm")
    sform = _sform(path, header) if header.sform_code > 0 else None
    qform = _qform(path, header, sform) if header.qform_code > 0 else None
    if sform is not None and qform is not None:
        _require_same_place(path, sform, qform, size)
    if sform is not None:
        _require_right_angles(path, sform)
        _require_same_spacing(path, sform, header.pixdim[1:4], size)
        return sform
    if qform is None:
        raise without_place(path, "both its sform and its qform are unset")
    return qform


def _sform(path: Path, header: NiftiHeader) -> np.ndarray:
    if not np.isfinite(header.sform).all():
        raise without_place(path, "its sform is not made of numbers")
    return np.vstack([header.sform, [0.0, 0.0, 0.0, 1.0]])


def _qform(path: Path, header: NiftiHeader, sform: np.ndarray | None) -> np.ndarray:
    b, c, d = header.quaternion[:3]
    spacing_mm = header.pixdim[1:4]
    rest = 1.0 - (b * b + c * c + d * d)
    if not np.isfinite([*header.quaternion, *header.pixdim[:4]]).all() or (spacing_mm <= 0).any() or rest < -1e-3:
        raise without_place(path, "its qform is no rotation with a spacing above zero")
    handed = np.array([1.0, 1.0, -1.0 if header.pixdim[0] < 0 else 1.0])
    a = np.sqrt(max(rest, 0.0)) if sform is None else _scalar_part(header.quaternion[:3], rest, sform * [*handed, 1.0])
    length = np.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = a / length, b / length, c / length, d / length
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * spacing_mm * handed
    matrix[:3, 3] = header.quaternion[3:]
    return matrix


def _scalar_part(vector: np.ndarray, rest: float, sform: np.ndarray) -> float:
    """The first number of a quaternion, which a file leaves out, by the other three and the sform.

    Near half a turn, where nearly every CT lies, the rounding of the three leaves it open within 7e-4, half a millimetre across a chest.
    What the sform says is taken from within these bounds.
    """
    lowest, highest = np.sqrt(max(rest - QUATERNION_ROUNDING, 0.0)), np.sqrt(max(rest, 0.0) + QUATERNION_ROUNDING)
    lengths = np.linalg.norm(sform[:3, :3], axis=0)
    axes = sform[:3, :3] / np.where(lengths > 0, lengths, 1.0)
    skew = np.array([axes[2, 1] - axes[1, 2], axes[0, 2] - axes[2, 0], axes[1, 0] - axes[0, 1]])
    if vector @ vector < 0.5:
        return float(np.sqrt(max(rest, 0.0)))  # The other three are small, and so is their rounding.
    return float(np.clip(skew @ vector / (4.0 * (vector @ vector)), lowest, highest))


def _require_same_place(path: Path, sform: np.ndarray, qform: np.ndarray, size: list[int]) -> None:
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in size], [1], indexing="ij"), axis=-1).reshape(-1, 4)
    by_sform, by_qform = (corners @ matrix.T for matrix in (sform, qform))
    apart_mm = np.linalg.norm(by_sform - by_qform, axis=1)
    worst = int(np.argmax(apart_mm))
    if apart_mm[worst] > SAME_PLACE_MM:
        raise InputError(
            f"'{path.name}' names two places in the patient: its voxel {tuple(corners[worst, :3].tolist())} lies at "
            f"{_ras(by_sform[worst])} by its sform and at {_ras(by_qform[worst])} by its qform, {apart_mm[worst]:.1f} mm apart "
            "(a tilted gantry, or a program that moved only one of them). Load the CT from DICOM, or set both to the true place."
        )


def _require_right_angles(path: Path, sform: np.ndarray) -> None:
    lengths = np.linalg.norm(sform[:3, :3], axis=0)
    if (lengths <= 0).any():
        raise without_place(path, "its sform has an axis without a length")
    axes = sform[:3, :3] / lengths
    if np.abs(axes.T @ axes - np.eye(3)).max() > ASKEW_COSINE:
        raise InputError(
            f"'{path.name}' has axes that lie askew or point the same way, which cannot be read from {FORMAT}. "
            "Load the CT from DICOM, or resample it to axes at right angles."
        )


def _require_same_spacing(path: Path, sform: np.ndarray, stated_mm: np.ndarray, size: list[int]) -> None:
    lengths_mm = np.linalg.norm(sform[:3, :3], axis=0)
    apart_mm = np.abs(lengths_mm - stated_mm) * (np.array(size) - 1)
    # Written so that NaN fails it too.
    if not (apart_mm <= SAME_PLACE_MM).all():
        raise InputError(
            f"'{path.name}' states two spacings: {_times(lengths_mm)} mm by its sform and {_times(stated_mm)} mm as pixdim, so programs put "
            "its voxels at different places. Load the CT from DICOM, or set both to the true spacing."
        )


def _times(lengths_mm: np.ndarray) -> str:
    return " x ".join(f"{length:g}" for length in lengths_mm.round(3))


def _ras(point: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.1f}" for value in point[:3]) + ") RAS mm"
