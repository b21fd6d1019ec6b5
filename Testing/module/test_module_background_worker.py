"""The background worker of the module: order, cancelling, faults, and an end that waits for the thread."""

from __future__ import annotations

import sys
import threading
import time

import pytest

pytest.importorskip("slicer", reason="needs slicer-core for the module's translations")
from helpers.repository import MODULE

sys.path.append(str(MODULE))
from CLIPLungGUI.background_worker import BackgroundWorker, Cancelled


@pytest.fixture
def worker():
    made = BackgroundWorker()
    yield made
    made.shutdown(5)


class Gate:
    """A job that waits until it is opened, and says that it has begun."""

    def __init__(self) -> None:
        self.begun, self.opened = threading.Event(), threading.Event()

    def __call__(self, cancelled: threading.Event) -> str:
        self.begun.set()
        assert self.opened.wait(5)
        if cancelled.is_set():
            raise Cancelled
        return "gate"


def test_answers_are_delivered_on_the_thread_that_polls(worker):
    seen = []
    worker.submit(
        "a", lambda _c: threading.get_ident(), lambda ident: seen.append((ident, threading.get_ident())), print
    )
    assert worker.wait(5)
    job_thread, delivery_thread = seen[0]
    assert job_thread != delivery_thread == threading.get_ident()


def test_newest_is_answered_first_and_a_key_only_once(worker):
    gate, seen = Gate(), []
    worker.submit("gate", gate, seen.append, print)
    assert gate.begun.wait(5)
    for name in ("old", "twice", "twice", "new"):
        worker.submit(name, lambda _c, n=name: n, seen.append, print)
    assert worker.keys == {"gate", "old", "twice", "new"}
    gate.opened.set()
    assert worker.wait(5)
    assert seen == ["gate", "new", "twice", "old"]


def ended(worker, name, seen):
    """Submit a job, and let it end without delivering its answer."""
    begun, done = threading.Event(), threading.Event()
    worker.submit(name, lambda _c: begun.set() or name, seen.append, seen.append)
    assert begun.wait(5)
    worker.submit("after", lambda _c: done.set(), lambda _answer: None, print)
    assert done.wait(5)


def test_an_answer_counts_as_coming_until_it_is_delivered(worker):
    seen = []
    ended(worker, "a", seen)
    assert "a" in worker.keys
    assert worker.wait(5)
    assert (seen, worker.keys) == (["a"], set())


@pytest.mark.parametrize("again", [True, False])
def test_an_answer_that_ended_before_it_was_cancelled_or_asked_again_is_not_delivered(worker, again):
    seen = []
    ended(worker, "a", seen)
    if again:
        worker.submit("a", lambda _c: "new", seen.append, seen.append)
    else:
        worker.cancel("a")
    assert ("a" in worker.keys) is again
    assert worker.wait(5)
    assert seen == (["new"] if again else [])


def test_what_is_cancelled_is_not_delivered(worker):
    gate, seen = Gate(), []
    worker.submit("gate", gate, seen.append, seen.append)
    assert gate.begun.wait(5)
    worker.submit("waiting", lambda _c: "waiting", seen.append, seen.append)
    worker.submit("kept", lambda _c: "kept", seen.append, seen.append)
    worker.cancel("waiting")
    worker.cancel("gate")
    assert worker.keys == {"kept"}
    gate.opened.set()
    assert worker.wait(5)
    assert seen == ["kept"]


def test_asking_again_for_what_runs_replaces_its_answer(worker):
    gate, seen = Gate(), []
    worker.submit("point", gate, seen.append, seen.append)
    assert gate.begun.wait(5)
    worker.submit("point", lambda _c: "new place", seen.append, seen.append)
    gate.opened.set()
    assert worker.wait(5)
    assert seen == ["new place"]


def test_faults_of_a_job_and_of_a_delivery_stop_nothing(worker, caplog):
    seen = []

    def fail(_cancelled):
        raise ValueError("broken")

    def cannot_show(_answer):
        raise RuntimeError("no room")

    worker.submit("ok", lambda _c: 1, seen.append, print)
    worker.submit("unshown", lambda _c: 1, cannot_show, print)
    worker.submit("fail", fail, print, seen.append)
    assert worker.wait(5)
    # The first may have run before the others came.
    assert {type(answer) for answer in seen} == {ValueError, int}
    assert "could not be shown" in caplog.text


def test_shutdown_waits_for_the_running_job_and_takes_no_more():
    worker, gate, seen = BackgroundWorker(), Gate(), []
    worker.submit("gate", gate, seen.append, print)
    assert gate.begun.wait(5)
    threading.Timer(0.2, gate.opened.set).start()
    started = time.monotonic()
    assert worker.shutdown(5)
    assert time.monotonic() - started > 0.1
    worker.submit("late", lambda _c: seen.append("late"), print, print)
    worker.poll()
    assert seen == []


def test_shutdown_does_not_wait_for_ever():
    worker, gate = BackgroundWorker(), Gate()
    worker.submit("gate", gate, print, print)
    assert gate.begun.wait(5)
    assert not worker.shutdown(0.05)
    gate.opened.set()


def test_timer_runs_only_while_there_is_work():
    class Timer:
        def __init__(self, callback):
            self.callback, self.is_active = callback, False

        def start(self):
            self.is_active = True

        def stop(self):
            self.is_active = False

    made = []
    worker = BackgroundWorker(lambda callback: made.append(Timer(callback)) or made[0])
    timer = made[0]
    assert not timer.is_active
    seen = []
    worker.submit("a", lambda _c: 1, seen.append, print)
    assert timer.is_active
    end = time.monotonic() + 5
    while timer.is_active and time.monotonic() < end:
        timer.callback()
    assert seen == [1]
    assert not timer.is_active
    worker.shutdown(5)
