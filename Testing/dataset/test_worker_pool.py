"""Work over several processes: order, refusals, and a process that is ended from outside."""

from __future__ import annotations

import os
import signal

import pytest

from CLIPLungLib.dataset.worker_pool import core_count, each_result
from CLIPLungLib.errors import InputError


def process_of(task: int) -> tuple[int, int]:
    return task, os.getpid()


def refuse(task: int) -> int:
    raise InputError(f"task {task} is refused")


def end_itself(task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return task


def test_results_come_in_the_order_of_tasks_from_other_processes():
    found = list(each_result(process_of, range(20), 2))
    assert [task for task, _ in found] == list(range(20))
    assert os.getpid() not in {process for _, process in found}


def test_one_job_is_done_in_this_process():
    assert list(each_result(process_of, [3], 1)) == [(3, os.getpid())]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_refusal_reaches_the_caller(jobs):
    with pytest.raises(InputError, match="task 0 is refused"):
        list(each_result(refuse, range(9), jobs))


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_process_is_named_with_its_remedy():
    with pytest.raises(InputError, match="fewer --jobs"):
        list(each_result(end_itself, range(3), 2))


def test_there_is_a_core():
    assert core_count() >= 1
