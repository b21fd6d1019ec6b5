"""Text headers (NRRD, MetaImage): bounded in length, read as numbers of a stated count, refused with the field's name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO

from CLIPLungLib.errors import InputError

LONGEST_HEADER_BYTES = 1 << 20
LONGEST_LINE_BYTES = 1 << 16


class HeaderReader:
    """The lines of a file's head, one after the other.

    Attributes:
        path, file_format: named in messages.
    """

    def __init__(self, path: Path, file_format: str, stream: BinaryIO) -> None:
        self.path, self.file_format, self._stream = path, file_format, stream

    def line(self) -> str | None:
        """The next line without its end; None at the end of the file.

        Raises:
            InputError: a header or a line that is too long.
        """
        raw = self._stream.readline(LONGEST_LINE_BYTES + 1)
        if len(raw) > LONGEST_LINE_BYTES or self._stream.tell() > LONGEST_HEADER_BYTES:
            raise self.error(
                f"its header is longer than {LONGEST_HEADER_BYTES} bytes, or a line than {LONGEST_LINE_BYTES}"
            )
        return _decoded(raw).strip() if raw else None

    def error(self, reason: str) -> InputError:
        """A refusal that names the file and the reason."""
        return unreadable(self.path, self.file_format, reason)

    def integers(self, field: str, text: str, count: int) -> list[int]:
        """`count` whole numbers written in a field."""
        parts = text.split()
        if len(parts) != count or not all(_is_whole(part) for part in parts):
            raise self.error(f"'{field}' must be {count} whole number(s), not '{text[:80]}'")
        return [int(part) for part in parts]

    def numbers(self, field: str, text: str, count: int) -> list[float]:
        """`count` finite numbers written in a field."""
        try:
            values = [float(part) for part in text.split()]
        except ValueError:
            values = []
        if len(values) != count or not all(math.isfinite(value) for value in values):
            raise self.error(f"'{field}' must be {count} finite number(s), not '{text[:80]}'")
        return values


def unreadable(path: Path, file_format: str, reason: str) -> InputError:
    """The refusal of a file that is not what its name says."""
    return InputError(f"'{path.name}' cannot be read as {file_format}: {reason}. Copy or export it again.")


def without_place(path: Path, reason: str) -> InputError:
    """The refusal of a file that would be put at the origin."""
    return InputError(
        f"'{path.name}' does not say where it lies in the patient ({reason}), so no point can be found in it. "
        "Export the CT again with its position and orientation, or load it from DICOM."
    )


def wrong_axes(name: str, size: list[int]) -> InputError:
    """The refusal of a picture or a time series."""
    return InputError(
        f"'{name}' has {len(size)} axes ({' x '.join(str(n) for n in size)} voxels); a CT volume has three. "
        "Save one time point, or the whole stack of slices, as a volume."
    )


def several_values(name: str, count: int) -> InputError:
    """The refusal of a colour image."""
    return InputError(
        f"'{name}' holds {count} values per voxel (a colour image or a time series); a CT has one. Save the plain CT volume."
    )


def _decoded(raw: bytes) -> str:
    """Names of files and of people are in UTF-8 today and were in Latin-1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _is_whole(text: str) -> bool:
    digits = text[1:] if text[:1] in "+-" else text
    return digits.isascii() and digits.isdigit() and len(digits) <= 18
