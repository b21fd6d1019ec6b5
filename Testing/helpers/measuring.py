"""What a piece of work costs: wall-clock time, processor time, memory."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEGABYTE = 1e6


@dataclass
class Cost:
    """Attributes: seconds on the clock; processor seconds of this process, which other programs on the machine change little."""

    wall_s: float = 0.0
    processor_s: float = 0.0


@contextmanager
def cost() -> Iterator[Cost]:
    """What the block takes."""
    found = Cost()
    wall, processor = time.perf_counter(), time.process_time()
    yield found
    found.wall_s, found.processor_s = time.perf_counter() - wall, time.process_time() - processor


def peak_megabytes() -> float:
    """The most memory (resident) this process has had so far."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not from getrusage: there a process begins with the peak of the one that has started it.
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return float(line.split()[1]) * 1024 / MEGABYTE
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def in_new_process(script: str, *arguments: str) -> str:
    """What a script prints when it runs in a process of its own: for peaks of memory, which a process keeps."""
    done = subprocess.run([sys.executable, script, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how busy it was."""
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
