"""Ratios to a baseline of the same run: actions are timed in turns (A B A B ...), so that a change of the machine's load meets all of them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Action = Callable[[], object]


@dataclass(frozen=True)
class Times:
    """Seconds of one action, one of every round.

    Attributes:
        wall_s: on the clock.
        processor_s: of this process and the processes it waited for, all threads together.
    """

    wall_s: tuple[float, ...]
    processor_s: tuple[float, ...]


@dataclass(frozen=True)
class Goal:
    """A limit for the median ratio: at most `limit`, or at least where `is_least`."""

    limit: float
    is_least: bool = False

    def is_met(self, ratio: float) -> bool:
        """Whether the ratio keeps to the limit."""
        return ratio >= self.limit if self.is_least else ratio <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.is_least else '<='} {self.limit:g}"


def timed_in_turns(actions: Mapping[str, Action], rounds: int) -> dict[str, Times]:
    """Times of all actions; one round before them is not counted."""
    wall: dict[str, list[float]] = {name: [] for name in actions}
    processor: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            start_s, start_processor_s = time.perf_counter(), _processor_s()
            action()
            if number:
                wall[name].append(time.perf_counter() - start_s)
                processor[name].append(_processor_s() - start_processor_s)
    return {name: Times(tuple(wall[name]), tuple(processor[name])) for name in actions}


def _processor_s() -> float:
    of_children = os.times()
    return time.process_time() + of_children.children_user + of_children.children_system


def ratios(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of the ratios of the rounds."""
    of_rounds = [a / b for a, b in zip(above, below, strict=True)]
    return {"median": statistics.median(of_rounds), "low": min(of_rounds), "high": max(of_rounds)}


def figure(
    what: str, baseline: str, above: Times, below: Times, goal: Goal | None, threads: int, note: str = ""
) -> dict[str, Any]:
    """One line of the table: the ratio of an action to its baseline, as plain values."""
    ratio = ratios(above.wall_s, below.wall_s)
    processor_s = [max(value, 1e-9) for value in below.processor_s]
    return {
        "what": what,
        "baseline": baseline,
        "ratio": ratio,
        "processor_ratio": ratios(above.processor_s, processor_s),
        "median_s": statistics.median(above.wall_s),
        "baseline_s": statistics.median(below.wall_s),
        "rounds": len(above.wall_s),
        "threads": threads,
        "goal": str(goal) if goal else "",
        "is_met": goal.is_met(ratio["median"]) if goal else None,
        "note": note,
    }


def limit_ms(what: str, times: Times, limit: float, threads: int, note: str = "") -> dict[str, Any]:
    """One line of the table whose baseline is a number of milliseconds."""
    fixed = Times((limit / 1e3,) * len(times.wall_s), (limit / 1e3,) * len(times.wall_s))
    return figure(what, f"{limit:g} ms", times, fixed, Goal(1.0), threads, note)
