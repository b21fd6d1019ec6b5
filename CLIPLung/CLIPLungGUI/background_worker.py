"""Long work in one background thread, with the answers delivered on the main thread.

Slicer's event loop keeps Python's global lock while it is idle, so a thread starves unless the main thread sleeps now and
then: the timer that fetches answers does that. Jobs must touch neither MRML nor Qt.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

POLL_MS = 15
YIELD_S = 0.005
# Answers that come together are delivered in turns, so that the window stays awake between them.
DELIVERY_S = 0.01

logger = logging.getLogger(__name__)


class Cancelled(Exception):  # noqa: N818 - no error, a wish of the user
    """Raised by a job that noticed that it shall stop."""


@dataclass(frozen=True, eq=False)
class _Job:
    key: str
    work: Callable[[threading.Event], Any]
    onDone: Callable[[Any], None]
    onError: Callable[[Exception], None]
    cancelled: threading.Event


class BackgroundWorker:
    """Runs jobs one after the other, the newest first; a job replaces a waiting one of the same key.

    Args:
        makeTimer: gives a timer that calls its argument every POLL_MS while it is started; None where no event loop runs,
            and `wait` is called instead.
        onChange: called on the main thread whenever a job has begun to wait, or ended.
    """

    def __init__(
        self, makeTimer: Callable[[Callable[[], None]], Any] | None = None, onChange: Callable[[], None] | None = None
    ) -> None:
        self._condition = threading.Condition()
        self._waiting: list[_Job] = []
        self._running: _Job | None = None
        self._answers: deque[tuple[_Job, Any, Exception | None]] = deque()
        self._later: deque[Callable[[], None]] = deque()
        self._stopped = False
        self._held = False
        self._thread: threading.Thread | None = None
        self._timer = makeTimer(self.poll) if makeTimer else None
        self._onChange = onChange or (lambda: None)

    def submit(
        self,
        key: str,
        work: Callable[[threading.Event], Any],
        onDone: Callable[[Any], None],
        onError: Callable[[Exception], None],
    ) -> None:
        """Run `work(cancelled)` in the thread, then one of the other two on the main thread."""
        job = _Job(key, work, onDone, onError, threading.Event())
        with self._condition:
            if self._stopped:
                return
            self._forget(key)
            self._waiting.append(job)
            self._condition.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="CLIPLung", daemon=True)
            self._thread.start()
        if self._timer:
            self._timer.start()
        self._onChange()

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Nothing new begins to run inside, so that of jobs that are submitted together the newest is the first."""
        with self._condition:
            self._held = True
        try:
            yield
        finally:
            with self._condition:
                self._held = False
                self._condition.notify()

    def later(self, work: Callable[[], None]) -> None:
        """Do something on the main thread before the next answer: what is long there is cut into pieces."""
        self._later.append(work)
        if self._timer:
            self._timer.start()

    def prefer(self, key: str) -> None:
        """Let a job that waits be the next one."""
        with self._condition:
            self._waiting.sort(key=lambda job: job.key == key)

    @property
    def busy(self) -> bool:
        """Whether anything runs, waits, or has not been delivered."""
        with self._condition:
            return bool(self._waiting or self._running or self._later or self._answers)

    @property
    def keys(self) -> set[str]:
        """Keys of what waits, runs or has not been delivered, and has not been cancelled."""
        with self._condition:
            return {job.key for job in [*self._waiting, *self._begun()] if not job.cancelled.is_set()}

    def cancel(self, key: str) -> None:
        """Forget the jobs of a key; what has begun already is not delivered."""
        with self._condition:
            self._forget(key)
        self._onChange()

    def cancelAll(self) -> None:
        """Forget everything."""
        with self._condition:
            self._waiting.clear()
            for job in self._begun():
                job.cancelled.set()
        self._onChange()

    def shutdown(self, timeout_s: float = 10.0) -> bool:
        """Stop the thread and wait for it, since an application that exits while torch computes aborts.

        Returns:
            Whether the thread has ended.
        """
        with self._condition:
            self._stopped = True
            self._waiting.clear()
            if self._running is not None:
                self._running.cancelled.set()
            self._condition.notify()
        if self._timer:
            self._timer.stop()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def wait(self, timeout_s: float, processEvents: Callable[[], None] | None = None) -> bool:
        """Deliver answers until nothing is left to do: for scripts and tests, where no timer fires.

        Returns:
            Whether everything was done in time.
        """
        end = time.monotonic() + timeout_s
        while self.busy:
            if time.monotonic() > end:
                return False
            if processEvents:
                processEvents()
            self.poll()
        return True

    def poll(self) -> None:
        """Deliver what is ready. Sleeps for a moment, which is what lets the thread run."""
        time.sleep(YIELD_S)
        end = time.monotonic() + DELIVERY_S
        while time.monotonic() < end:
            if self._later:
                self._guarded(self._later.popleft())
                continue
            if not self._answers:
                break
            self._deliver(*self._answers.popleft())
        if self._timer and not self.busy:
            self._timer.stop()

    def _begun(self) -> list[_Job]:
        """What runs, and what has ended and not been delivered; call it under the lock."""
        ended = [job for job, _answer, _error in self._answers]
        return ended if self._running is None else [*ended, self._running]

    def _forget(self, key: str) -> None:
        """Of this key nothing starts or is delivered any more; call it under the lock."""
        self._waiting = [job for job in self._waiting if job.key != key]
        for job in self._begun():
            if job.key == key:
                job.cancelled.set()

    def _deliver(self, job: _Job, answer: Any, error: Exception | None) -> None:
        if not job.cancelled.is_set() and not isinstance(error, Cancelled):
            self._guarded(lambda: job.onDone(answer) if error is None else job.onError(error))
        self._onChange()

    @staticmethod
    def _guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            # One answer that cannot be shown must not keep the others from being shown.
            logger.exception("An answer could not be shown")

    def _run(self) -> None:
        while True:
            with self._condition:
                while (self._held or not self._waiting) and not self._stopped:
                    self._condition.wait()
                if self._stopped:
                    return
                job = self._running = self._waiting.pop()
            answer = error = None
            try:
                answer = job.work(job.cancelled)
            except Exception as problem:
                error = problem
            with self._condition:
                # In this order and under the lock, so that `busy` never reads False between the two.
                self._answers.append((job, answer, error))
                self._running = None


def qtTimer(callback: Callable[[], None]) -> Any:
    """The application's timer for `BackgroundWorker`; the worker keeps the reference it needs to live."""
    import qt

    timer = qt.QTimer()
    timer.setInterval(POLL_MS)
    timer.connect("timeout()", callback)
    return timer
