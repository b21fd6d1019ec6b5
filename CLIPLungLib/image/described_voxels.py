"""Volumes with a text header (NRRD, MetaImage): the voxels that the header describes, behind it or in a file beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from CLIPLungLib.image.header_text import HeaderReader, wrong_axes
from CLIPLungLib.image.regular_file import data_file_beside, open_regular
from CLIPLungLib.image.voxel_data import Packing, read_voxels


@dataclass(frozen=True, eq=False)
class Description:
    """What a header says of its voxels.

    Attributes:
        size_ijk: voxels along i, j, k.
        dtype: of the stored numbers, with their byte order.
        ijk_to_ras: (4, 4), mm.
        packing: how they are packed.
        data_file: where they are; None behind the header.
        go_to_voxels: moves a stream from its first byte, or the end of the header, to the first byte of the packed voxels.
    """

    size_ijk: list[int]
    dtype: np.dtype
    ijk_to_ras: np.ndarray
    packing: Packing
    data_file: str | None
    go_to_voxels: Callable[[BinaryIO], None]

    def go_to_last(self, stream: BinaryIO) -> None:
        """Move to where unpacked voxels begin that end with the file."""
        wanted = int(np.prod(self.size_ijk, dtype=object)) * self.dtype.itemsize
        stored = stream.seek(0, 2)
        stream.seek(max(0, stored - wanted))


def read_described(
    path: Path, file_format: str, describe: Callable[[HeaderReader], Description]
) -> tuple[np.ndarray, np.ndarray]:
    """(K, J, I) stored numbers and the (4, 4) IJK-to-RAS matrix in mm.

    Raises:
        InputError: the header is refused, or the voxels are not those it describes.
    """
    with open_regular(path) as stream:
        found = describe(HeaderReader(path, file_format, stream))
        if found.data_file is None:
            return _voxels(path, stream, found), found.ijk_to_ras
        with open_regular(data_file_beside(path, found.data_file)) as data:
            return _voxels(path, data, found), found.ijk_to_ras


def _voxels(path: Path, stream: BinaryIO, found: Description) -> np.ndarray:
    found.go_to_voxels(stream)
    return read_voxels(path, stream, found.packing, found.size_ijk, found.dtype)


def three_sizes(
    header: HeaderReader, fields: dict[str, str], count_field: str, size_field: str, most_axes: int
) -> list[int]:
    """Voxels along i, j, k, by the fields that tell how many axes there are and how long they are."""
    dimension = header.integers(count_field, fields.get(count_field, ""), 1)[0]
    if not 1 <= dimension <= most_axes:
        raise header.error(f"'{count_field}' is {dimension}")
    size = header.integers(size_field, fields.get(size_field, ""), dimension)
    if dimension != 3:
        raise wrong_axes(header.path.name, size)
    return size
