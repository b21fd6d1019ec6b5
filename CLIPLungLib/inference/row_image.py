"""The image of a row: of a DICOM folder with several series the one that the row names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.cohort_table import CohortRow

# An image, and the UID of its series or the end of it; empty where the row names none.
RowImage = tuple[Path, str]


def image_of(row: CohortRow) -> RowImage:
    """What is read for a row: rows with the same value share a scan."""
    return row.image, row.series_uid


def read_image_of_row(image: RowImage, read_ct: Callable[..., CTVolume]) -> CTVolume:
    """Read the image of a row: its series, or what is there where that cannot be chosen.

    Args:
        image: see `image_of`.
        read_ct: the reader, see `CLIPLungLib.image.read`.

    Raises:
        InputError: it cannot be read.
    """
    path, series_uid = image
    if not series_uid:
        return read_ct(path)
    try:
        return read_ct(path, series_uid)
    except InputError:
        # A file that knows no series; of another series it is refused by `CohortRow.require_series`.
        return read_ct(path)
