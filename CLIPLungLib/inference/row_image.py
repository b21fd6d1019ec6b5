"""The image of a row: of a DICOM folder with several series the one that the row names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.cohort_table import SERIES_COLUMN, CohortRow

# An image, and the UID of its series or the end of it; empty where the row names none.
RowImage = tuple[Path, str]


def image_of(row: CohortRow) -> RowImage:
    """What is read for a row: rows with the same value share a scan."""
    return row.image, row.series_uid


def read_image_of_row(image: RowImage, read_ct: Callable[..., CTVolume]) -> CTVolume:
    """Read the image of a row; files that know no series are taken for the named one.

    Args:
        image: see `image_of`.
        read_ct: the reader, see `CLIPLungLib.image.read`.

    Raises:
        InputError: it cannot be read, or it is another series.
    """
    path, series_uid = image
    if not series_uid:
        return read_ct(path)
    try:
        return read_ct(path, series_uid)
    except InputError as error:
        refused = error
    found = read_ct(path)
    found_uid = found.source.get("series_uid", "")
    if found_uid and not found_uid.endswith(series_uid):
        raise InputError(
            f"'{path}' gave the series {found_uid}, and the column {SERIES_COLUMN} names {series_uid}. {refused}"
        )
    return found
