"""What a worker process of this machine does when it starts; Dask calls `dask_setup`."""

from __future__ import annotations

import signal
import threading


def dask_setup(_worker: object) -> None:
    """Leave Ctrl-C, which a terminal sends to all processes, to the one that ends the others."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
