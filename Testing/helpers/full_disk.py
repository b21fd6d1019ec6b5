"""A disk without space, without filling one."""

from __future__ import annotations

import resource
import signal
from contextlib import contextmanager


@contextmanager
def largest_file(size: int):
    """No file grows beyond this size: what a full disk does to a program, without filling one."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
