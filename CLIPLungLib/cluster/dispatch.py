"""Rows out to the workers and answers back, a few images at a time, whatever happens to single workers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from CLIPLungLib.cluster.worker import ImageAnswers, WorkerModel, answer_rows, fault_of_worker
from CLIPLungLib.errors import CLIPLungError, InputError
from CLIPLungLib.inference.cohort import Answer, by_image
from CLIPLungLib.inference.cohort_table import CohortRow

if TYPE_CHECKING:
    from distributed import Client, Future

# A multiple of the patches that go through the network together, so that the batches are those of a single machine.
ROWS_PER_TASK = 64
# Under way for each thread of the workers: one that is computed and one that waits there.
TASKS_PER_THREAD = 2
# An image that is missing on so many machines is missing.
MACHINES_TRIED_AT_MOST = 3
# A machine whose workers have been away for so long is not waited for.
MACHINE_GONE_S = 60.0
CHECK_S = 2.0
FIRST_WORKER_S = 60.0
NO_WORKER_S = 300.0
GOES_ON = "Finished rows are kept; the same command goes on."
KILLED = (
    "The worker process died each time it had this row, most likely because memory ran out. "
    "Check the size of its image, or give each worker more memory."
)


@dataclass(frozen=True)
class Task:
    """Rows of one image.

    Attributes:
        rows: at least one.
        tried: machines that have nothing at the image's path.
        wanted: machines that shall look for it; any if empty.
    """

    rows: tuple[CohortRow, ...]
    tried: frozenset[str] = frozenset()
    wanted: frozenset[str] = frozenset()


def image_tasks(rows: Sequence[CohortRow]) -> list[Task]:
    """The rows without a fault in tasks; those of an image together, up to `ROWS_PER_TASK`."""
    return [
        Task(tuple(group[start : start + ROWS_PER_TASK]))
        for group in by_image(rows)
        for start in range(0, len(group), ROWS_PER_TASK)
    ]


class Dispatcher:
    """Gives tasks to the workers of a scheduler and takes their answers.

    Few tasks are under way at a time, so memory here and on the scheduler does not grow with the cohort.
    """

    def __init__(self, client: Client, model: WorkerModel, heatmaps: bool) -> None:
        self._client, self._model, self._heatmaps = client, model, heatmaps
        self._address = str(client.scheduler.address)
        # Workers of a cluster of our own are on this machine, where everybody knows to look.
        self._is_elsewhere = client.cluster is None
        self._under_way: dict[str, tuple[Future, Task]] = {}
        self._finished: SimpleQueue[Future] = SimpleQueue()
        self._threads: dict[str, int] = {}
        self._looked_s = self._seen_s = time.monotonic()
        self._machine_seen_s: dict[str, float] = {}

    def require_workers(self) -> None:
        """Wait for the first worker, and have every worker that is there load the model.

        Raises:
            InputError: there is none, one cannot use the model, or the scheduler is gone.
        """
        try:
            self._client.wait_for_workers(1, timeout=FIRST_WORKER_S)
            faults = self._client.run(fault_of_worker, self._model, on_error="return")
            self._look()
        except asyncio.TimeoutError as error:
            raise InputError(
                f"The scheduler {self._address} has no workers. Start some with 'dask worker {self._address}'. {GOES_ON}"
            ) from error
        except (OSError, CancelledError) as error:
            raise self._lost() from error
        for worker, fault in faults.items():
            if fault:
                text = f"{type(fault).__name__}: {fault}." if isinstance(fault, BaseException) else fault
                raise InputError(f"Worker {worker} cannot answer: {text} {GOES_ON}")

    def answers(self, rows: Sequence[CohortRow]) -> Generator[Answer, None, None]:
        """Every row without a fault once, with its answer.

        Raises:
            InputError: the scheduler or all workers are gone.
            CLIPLungError: a worker that came later cannot use the model.
        """
        suspects: list[CohortRow] = []
        yield from self._answers(image_tasks(rows), suspects)
        # Workers died while they had these. Alone, with nothing else under way, the one at fault shows itself.
        for row in suspects:
            killers: list[CohortRow] = []
            yield from self._answers([Task((row,))], killers)
            yield from ((killer, KILLED) for killer in killers)

    def _answers(self, tasks: Iterable[Task], suspects: list[CohortRow]) -> Generator[Answer, None, None]:
        """The answers for tasks; rows whose workers died again and again are added to `suspects` instead."""
        todo = deque(tasks)
        while todo or self._under_way:
            while todo and len(self._under_way) < TASKS_PER_THREAD * max(1, sum(self._threads.values())):
                self._submit(todo.popleft())
            task, outcome = self._next()
            if outcome is None:
                suspects += task.rows
            elif isinstance(outcome, str):
                yield from ((row, outcome) for row in task.rows)
            elif outcome.saw_image:
                yield from outcome.answers
            elif again := self._elsewhere(task, machine_of(outcome.worker)):
                todo.appendleft(again)
            else:
                yield from self._missing(outcome, task)

    def _submit(self, task: Task) -> None:
        try:
            future = self._client.submit(
                answer_rows,
                self._model,
                task.rows,
                self._heatmaps,
                pure=False,
                workers=sorted(task.wanted) or None,
            )
        except (OSError, CancelledError, RuntimeError) as error:
            raise self._lost() from error
        self._under_way[future.key] = future, task
        future.add_done_callback(self._finished.put)

    def _next(self) -> tuple[Task, ImageAnswers | str | None]:
        """A task that is done, with its answers, the reason why there are none, or None where its workers died."""
        while True:
            if time.monotonic() - self._looked_s > CHECK_S:
                self._require_life()
                if stranded := self._stranded():
                    return stranded
            try:
                key = self._finished.get(timeout=CHECK_S).key
            except Empty:
                continue
            # Not those that were stranded and given up.
            if key in self._under_way:
                future, task = self._under_way.pop(key)
                return task, self._outcome(future)

    def _outcome(self, future: Future) -> ImageAnswers | str | None:
        from distributed import KilledWorker

        try:
            found: ImageAnswers = future.result(timeout=NO_WORKER_S)
        except KilledWorker:
            return None
        except CLIPLungError:
            raise
        except (asyncio.TimeoutError, CancelledError, OSError) as error:
            raise self._lost() from error
        except Exception as error:  # whatever else a task can end with, named with its type
            return f"{type(error).__name__}: {error}"
        return found

    def _elsewhere(self, task: Task, machine: str) -> Task | None:
        """The same task for a machine that has not looked for its image yet; None where all have, or enough."""
        tried = task.tried | {machine}
        untried = {machine_of(worker) for worker in self._threads} - tried
        if not untried or len(tried) >= MACHINES_TRIED_AT_MOST:
            return None
        return Task(task.rows, tried, frozenset(untried))

    def _stranded(self) -> tuple[Task, str] | None:
        """A task whose machines have gone, with the reason why there is no answer."""
        oldest_s = time.monotonic() - MACHINE_GONE_S
        for key, (_, task) in self._under_way.items():
            if task.wanted and all(self._machine_seen_s.get(machine, 0.0) < oldest_s for machine in task.wanted):
                del self._under_way[key]
                where = ", ".join(sorted(task.tried))
                return task, f"The image is not on {where}, and the other machines have gone. {GOES_ON}"
        return None

    def _missing(self, outcome: ImageAnswers, task: Task) -> Generator[Answer, None, None]:
        where = ", ".join(sorted(task.tried | {machine_of(outcome.worker)}))
        for row, answer in outcome.answers:
            is_told = isinstance(answer, str) and self._is_elsewhere
            yield row, f"{answer} Looked for on {where}." if is_told else answer

    def _look(self) -> None:
        """Note which workers there are, and how many threads each has."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        self._threads = {address: int(worker["nthreads"]) for address, worker in workers.items()}
        self._looked_s = time.monotonic()
        self._machine_seen_s |= dict.fromkeys(map(machine_of, self._threads), self._looked_s)
        if self._threads:
            self._seen_s = self._looked_s

    def _require_life(self) -> None:
        try:
            self._look()
        except (OSError, CancelledError, RuntimeError) as error:
            raise self._lost() from error
        if time.monotonic() - self._seen_s > NO_WORKER_S:
            raise InputError(
                f"The scheduler {self._address} has had no worker for {NO_WORKER_S / 60:.0f} minutes. Start some again. {GOES_ON}"
            )

    def _lost(self) -> InputError:
        return InputError(f"The scheduler {self._address} is gone. Start it and its workers again. {GOES_ON}")


def machine_of(worker: str) -> str:
    """The host of an address such as tcp://10.0.0.5:34567."""
    return worker.partition("://")[2].rpartition(":")[0]
