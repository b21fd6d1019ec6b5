"""Only regular files of a believable size are opened: no pipe that never ends, no header that asks for all the memory."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from CLIPLungLib.errors import InputError

# A stated limit: a chest CT has at most 1024 x 1024 pixels and some thousand slices.
MOST_VOXELS = 1024 * 1024 * 4096
LONGEST_AXIS = 65_535


def is_regular(path: Path) -> bool:
    """Whether a path, its links followed, is a plain file."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def open_regular(path: Path) -> BinaryIO:
    """A plain file opened for reading.

    Raises:
        InputError: a folder, pipe or device, or a file that may not be read.
    """
    if not is_regular(path):
        raise InputError(f"'{path.name}' is no regular file. Give a file of a CT, not a pipe or a device.")
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"'{path}' cannot be opened ({error.strerror}). Check its permissions.") from error


def data_file_beside(header: Path, name: str) -> Path:
    """The file of voxels that a header names, which must be one plain file in the header's folder or below it.

    Raises:
        InputError: a list or pattern of files, a path that leads elsewhere, or no such file.
    """
    if name.upper().split()[:1] in ([], ["LIST"]) or "%" in name or "\0" in name:
        raise InputError(
            f"'{header.name}' names a list or pattern of data files ('{name[:80]}'); one file is read. Save the CT as one file."
        )
    relative = Path(name)
    if relative.is_absolute() or ".." in relative.parts or "\\" in name or ":" in name:
        raise InputError(
            f"'{header.name}' names a data file elsewhere ('{name[:80]}'). Put it beside the header and name it there."
        )
    path = header.parent / relative
    if not is_regular(path):
        raise InputError(
            f"'{header.name}' cannot be read: it lacks the data file that belongs to it ('{name[:80]}'). Copy both files."
        )
    return path


def require_believable_size(name: str, size: Sequence[int], voxel_bytes: int) -> int:
    """The bytes of an image of this size, which memory must hold.

    Raises:
        InputError: no voxels, more than a CT has, or more than the free memory.
    """
    if min(size) < 1:
        raise InputError(f"'{name}' states a size of {_times(size)} voxels. Copy or export it again.")
    if max(size) > LONGEST_AXIS or math.prod(size) > MOST_VOXELS:
        raise InputError(
            f"'{name}' states a size of {_times(size)} voxels; more than {MOST_VOXELS} voxels, or {LONGEST_AXIS} along one axis, "
            "are not read. If that is true, cut the CT to the chest; else copy or export it again."
        )
    wanted, free = math.prod(size) * voxel_bytes, free_memory_bytes()
    if wanted > free:
        raise InputError(
            f"'{name}' needs {wanted / 2**30:.1f} GB of memory and {free / 2**30:.1f} GB are free. "
            "Close other programs, or cut the CT to the chest."
        )
    return wanted


def free_memory_bytes() -> float:
    """What the system can still give; infinite where it does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return math.inf


def _times(size: Sequence[int]) -> str:
    return " x ".join(str(n) for n in size)
