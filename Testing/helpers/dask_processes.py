"""A scheduler and workers of Dask as processes of their own, on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from helpers.repository import ROOT

PATIENCE_S = 240
QUIET = {"DASK_LOGGING__DISTRIBUTED": "critical", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
# An image of this name kills whoever reads it, as the system kills a process that takes too much memory.
DEADLY = "deadly.nrrd"
PRELOAD = f"""
import os, signal
from CLIPLungLib.image.read import read_ct as read
from CLIPLungLib.inference import cohort
cohort.read_ct = lambda path: os.kill(os.getpid(), signal.SIGKILL) if path.name == "{DEADLY}" else read(path)
"""


@dataclass
class DaskProcesses:
    """What was started: the scheduler's address, and the processes."""

    folder: Path
    security: tuple[str, ...] = ()
    address: str = ""
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def scheduler(self) -> subprocess.Popen:
        return self.processes[0]

    def start_scheduler(self) -> None:
        file = self.folder / "scheduler.json"
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show", "--scheduler-file", str(file))
        wait_until(lambda: file.is_file() and file.read_text().strip().endswith("}"))
        self.address = json.loads(file.read_text())["address"]

    def start_worker(self, host: str = "127.0.0.1", folder: Path | None = None) -> None:
        """A worker process of one thread under its nanny, working in `folder`."""
        preload = self.folder / "preload.py"
        preload.write_text(PRELOAD)
        options = ["--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--host", host]
        options += ["--local-directory", str(self.folder), "--preload", str(preload)]
        self._start("worker", self.address, *options, folder=folder)

    def _start(self, *words: str, folder: Path | None = None) -> None:
        env = os.environ | QUIET | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "dask", *words, *self.security]
        output = (self.folder / f"{words[0]}.log").open("ab")
        with output:
            self.processes.append(
                subprocess.Popen(
                    command, cwd=folder or self.folder, env=env, stdout=output, stderr=output, start_new_session=True
                )
            )


def wait_until(is_so) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@contextmanager
def dask_processes(folder: Path, security: tuple[str, ...] = ()) -> Iterator[DaskProcesses]:
    """A scheduler, and the workers that the block starts; all end with the block."""
    started = DaskProcesses(folder, security)
    try:
        started.start_scheduler()
        yield started
    finally:
        for process in started.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
