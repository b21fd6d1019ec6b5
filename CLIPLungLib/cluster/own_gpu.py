"""A graphics card for each worker process of a machine."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.run_folder import locked

# Held for as long as the process lives; the system gives a claim back however the process ends.
_CLAIMS = ExitStack()


def own_device(device: str) -> str:
    """The device of this worker: for "auto" and "cuda" a card that no other worker of this user on the machine has taken.

    Where there are more workers than cards, the others share.
    """
    import torch

    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    count = torch.cuda.device_count()
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    # A process may see the cards under other numbers than its neighbours.
    names = visible if len(visible) == count else [str(index) for index in range(count)]
    return f"cuda:{claimed(names, _CLAIMS)}"


def claimed(names: Sequence[str], claims: ExitStack) -> int:
    """The place in `names` of the first that nobody has claimed, claimed until `claims` is closed; some place where all are."""
    shared = os.getpid() % len(names)
    folder = _private_folder()
    if folder is None:
        return shared
    for index, name in enumerate(names):
        try:
            claims.enter_context(locked(folder / f"gpu {name.strip().replace('/', '-')}"))
        except InputError:
            continue
        return index
    return shared


def _private_folder() -> Path | None:
    """A folder for temporary files that only this user can write; None where somebody else was first."""
    user = os.getuid() if hasattr(os, "getuid") else None
    folder = Path(tempfile.gettempdir()) / f"cliplung-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    is_own = user is None or (found.st_uid == user and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    return folder if stat.S_ISDIR(found.st_mode) and is_own else None
