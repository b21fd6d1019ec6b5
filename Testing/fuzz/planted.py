"""Readers with a known fault each, by which the tests see that the harness finds it. Not part of a run."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

from fuzz.readers import Reader


def _ends_badly(folder: Path, fault) -> None:
    """A sound reader of "good", and a fault for all else."""
    if (folder / "file").read_bytes() != b"good":
        fault(folder)


def _raise(folder: Path) -> None:
    raise KeyError("planted")


def _crash(folder: Path) -> None:
    ctypes.string_at(0)


def _hang(folder: Path) -> None:
    while True:
        time.sleep(0)


def _fill_memory(folder: Path) -> None:
    bytearray(8 << 30)


def _write_outside(folder: Path) -> None:
    (folder.parent.parent / "outside").write_text("planted")


def _read_outside(folder: Path) -> None:
    (folder.parent.parent / "secret.raw").read_bytes()


def _unpickle(folder: Path) -> None:
    import pickle

    pickle.loads(b"cbuiltins\nlen\n.")


def _connect(folder: Path) -> None:
    import socket

    with socket.socket() as own:
        own.connect_ex(("127.0.0.1", 9))


FAULTS = (_raise, _crash, _hang, _fill_memory, _write_outside, _read_outside, _unpickle, _connect)


def _reader(fault) -> Reader:
    def read(folder: Path) -> None:
        _ends_badly(folder, fault)

    return Reader(lambda: [{"file": b"good"}], read, {"": lambda random, data, others: b"bad"})


PLANTED = {f"planted{fault.__name__}": _reader(fault) for fault in FAULTS}
