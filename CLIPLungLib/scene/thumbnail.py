"""A small axial picture of a nodule, as PNG: for a list of nodules, so made of numpy alone and within a few milliseconds."""

from __future__ import annotations

import itertools
import struct
import zlib

import numpy as np

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.scene.slice_layers import LUNG_LEVEL_HU, LUNG_WINDOW_HU

PIXELS = 120
SIZE_MM = 40.0
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY_8_BIT = (8, 0, 0, 0, 0)


def axial_png(ct: CTVolume, center_ras: np.ndarray, size_mm: float = SIZE_MM, pixels: int = PIXELS) -> bytes:
    """The lung window around a point, patient's right on the left, as a square grey PNG.

    Args:
        ct: only the voxels around the picture are read.
        center_ras: (3,) RAS mm in the middle of the picture.
        size_mm: edge length.
        pixels: rows and columns.
    """
    offsets_mm = ((np.arange(pixels) + 0.5) / pixels - 0.5) * size_mm
    points = np.empty((pixels, pixels, 3))
    points[..., 0] = center_ras[0] - offsets_mm[None, :]
    points[..., 1] = center_ras[1] - offsets_mm[:, None]
    points[..., 2] = center_ras[2]
    low_hu = LUNG_LEVEL_HU - LUNG_WINDOW_HU / 2
    shares = (_sampled(ct, points, outside=low_hu) - low_hu) / LUNG_WINDOW_HU
    return grey_png(np.round(255 * np.clip(shares, 0.0, 1.0)).astype(np.uint8))


def grey_png(picture: np.ndarray) -> bytes:
    """(rows, columns) uint8 as the bytes of a PNG file."""
    rows, columns = picture.shape
    # Every row begins with the number of its filter; 0 is none.
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), picture], axis=1).tobytes()
    header = struct.pack(">II5B", columns, rows, *GREY_8_BIT)
    return PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")


def _sampled(ct: CTVolume, points_ras: np.ndarray, outside: float) -> np.ndarray:
    """HU (rows, columns) at points (rows, columns, 3) in RAS mm, trilinear; `outside` where there is no scan."""
    ijk = ct.to_ijk(points_ras)
    size = np.array(ct.hu.shape[::-1])
    is_inside = np.asarray(np.all((ijk >= -0.5) & (ijk <= size - 0.5), axis=-1))
    near = np.clip(np.where(is_inside[..., None], ijk, 0.0), 0, size - 1)
    first = np.minimum(near.astype(int), np.maximum(size - 2, 0))
    share = near - first
    hu = np.zeros(points_ras.shape[:-1])
    for corner in itertools.product((0, 1), repeat=3):
        index = np.minimum(first + corner, size - 1)
        weight = np.prod(np.where(corner, share, 1 - share), axis=-1)
        hu += weight * ct.hu[index[..., 2], index[..., 1], index[..., 0]]
    return np.where(is_inside & np.isfinite(hu), hu, outside)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
