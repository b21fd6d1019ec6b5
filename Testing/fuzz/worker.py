"""The process that reads damaged files, under limits of its own. What ends it, ends nothing else."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

# A small file needs no more beside what Python and the libraries hold.
MEMORY_BYTES = 1 << 30
READ, REFUSED = "read", "refused"
FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "pickle.find_class",
    "urllib.",
    "ftplib.",
    "smtplib.",
)
CHANGES = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.utime",
)
DECOYS = ("/dev/", "/etc/passwd")
SECRET = "secret.raw"


class Watch:
    """Notes what a reader does that it must not: writing outside its folder, reading decoys, network, other programs, pickle."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._secret = f"{folder}{os.sep}", str(folder.parent / SECRET)
        self.is_on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event.startswith(FORBIDDEN):
            self.seen.append(f"{event}{arguments!r:.100}")
        elif event == "open":
            self._open(*arguments)
        elif event in CHANGES:
            if isinstance(arguments[-1], int) and arguments[-1] >= 0 and event in ("os.remove", "os.rmdir"):
                return  # Named within an open folder, as rmtree does; that folder goes by its own name at the end.
            for path in arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
                self._change(event, path)

    def _open(self, path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(path, (str, bytes)):
            return
        name = _absolute(path)
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
            self._change("open for writing", path)
        elif name == self._secret or name.startswith(DECOYS):
            self.seen.append(f"reads {name}")

    def _change(self, event: str, path: Any) -> None:
        if isinstance(path, (str, bytes)) and not _absolute(path).startswith(self._folder):
            self.seen.append(f"{event} {os.fsdecode(path)[:200]!r}, outside its folder")


def _absolute(path: str | bytes) -> str:
    # Links are not followed: that would open other files within the hook.
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100


def serve(connection: Connection, reader_name: str, root: str) -> None:
    """Answer seeds until None comes: (what happened, details). The first answer says whether the valid files are read."""
    from fuzz.planted import PLANTED
    from fuzz.readers import READERS

    sys.dont_write_bytecode = True
    with Path(os.devnull).open("w") as nowhere:  # Decoders write there what they think of damaged files.
        os.dup2(nowhere.fileno(), 2)
        os.dup2(nowhere.fileno(), 1)
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", category=RuntimeWarning, module="CLIPLungLib")
    reader, folder = {**READERS, **PLANTED}[reader_name], Path(root).resolve() / "inputs"
    (Path(root) / SECRET).write_bytes(b"\0" * 4096)
    folder.mkdir(exist_ok=True)
    cases = reader.valid()
    tempfile.tempdir = str(folder / "temporary")
    watch = Watch(folder)
    # At first everything is imported, which may do what reading must not.
    outcome_of(reader.read, cases[0], folder, None)
    for case in cases:
        outcome = outcome_of(reader.read, case, folder, watch)
        if outcome[0] != READ:
            connection.send(("invalid", f"a valid file is not read: {outcome}"))
            return
    _limit_memory()
    connection.send((READ, ""))
    while (seed := connection.recv()) is not None:
        connection.send(outcome_of(reader.read, reader.mutated(Random(f"{reader_name} {seed}"), cases), folder, watch))


def outcome_of(read: Any, case: dict[str, bytes], folder: Path, watch: Watch | None) -> tuple[str, ...]:
    """What happens to an input: the outcome, where, and what was said. `watch` notes what is forbidden."""
    from CLIPLungLib.errors import CLIPLungError

    place = folder / "input"
    place.mkdir(exist_ok=True)
    Path(str(tempfile.tempdir)).mkdir(exist_ok=True)
    for path in place.iterdir():  # Making the folder anew takes longer than most reading.
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, content in case.items():
        (place / name).write_bytes(content)
    if watch:
        watch.seen.clear()
        watch.is_on = True
    try:
        read(place)
        outcome = READ, ""
    except CLIPLungError as error:
        outcome = (REFUSED, "") if str(error).strip() else ("empty message", _where(error))
    except BaseException as error:
        outcome = "foreign exception", f"{type(error).__name__} {_where(error)}", repr(str(error)[:120])
    finally:
        if watch:
            watch.is_on = False
    if watch and watch.seen:
        return "forbidden", watch.seen[0]
    left = [*Path(str(tempfile.tempdir)).iterdir(), *place.glob(".cliplung-*")]
    return outcome if not left else ("leftover", left[0].name)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "CLIPLungLib" in frame.filename] or frames
    return f"at {Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name}"


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit.
        return
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):
        return
