"""Writing a file at once: under its final name it is always complete, and what cannot be written is refused with a reason."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from CLIPLungLib.errors import InputError

TEMPORARY = ".cliplung-*"
REMEDIES = {
    errno.ENOSPC: "Free some space on the disk, or choose another folder.",
    errno.EDQUOT: "Free some of your space on the disk, or choose another folder.",
    errno.EROFS: "Choose a folder on a disk that can be written.",
    # Windows says so of a file that a spreadsheet has open.
    errno.EACCES: "Close it in other programs, or choose a folder you may write to.",
    errno.EPERM: "Choose a folder you may write to.",
    errno.EEXIST: "A file has the name of the folder: choose another folder.",
    errno.ENOTDIR: "A part of the path is a file: choose another folder.",
    errno.EISDIR: "A folder has the name of the file: choose another name.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder; becomes `path` when the block ends well and vanishes when it does not.

    Makes the folder when it is missing. The temporary name keeps the suffix, by which writers choose the format. A process that is
    killed leaves it behind, see `remove_leftovers`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".cliplung-{_tag(path)}-{uuid4().hex}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """`atomic_write` for users.

    Raises:
        InputError: the file cannot be written, with the reason.
    """
    try:
        with atomic_write(path) as temporary:
            yield temporary
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> InputError:
    """What to tell a user when writing failed: the file, the reason and the remedy."""
    remedy = REMEDIES.get(error.errno or 0, "Check the disk, or choose another folder.")
    return InputError(f"'{path}' cannot be written ({error.strerror or error}). {remedy}")


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes began to write: in a folder everything, of a file its own halves alone.

    Nobody else may be writing there.
    """
    path = Path(path)
    folder, pattern = (path, TEMPORARY) if path.is_dir() else (path.parent, f".cliplung-{_tag(path)}-*")
    for file in folder.glob(pattern):
        # What cannot be removed does no harm.
        with suppress(OSError):
            file.unlink()


def _tag(path: Path) -> str:
    """Tells the halves of a file from those of its neighbours; names may be too long to be part of another name."""
    return hashlib.sha256(path.name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
