"""Read damaged files of every kind that comes from outside: each must be read or refused by a CLIPLungError.

    python Testing/fuzz/run_fuzz.py --inputs 200000 --seed 1
    python Testing/fuzz/run_fuzz.py --reader nrrd --inputs 1 --seed 4711     repeats one input

A crash, a hang, a foreign exception, too much memory, a file written outside the folder, a connection, another program or a pickle is a
finding. Exits 1 when there is one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from fuzz.readers import READERS  # noqa: E402
from fuzz.worker import READ, REFUSED, serve  # noqa: E402

# Of the processor where the system tells, so that a busy machine makes no finding; by the clock so many times that.
SECONDS_PER_INPUT, CLOCK_FACTOR = 5.0, 12
SECONDS_TO_START = 300.0
# A reader that ends its process so often has one fault, found often enough.
MOST_RESTARTS = 30


@dataclass
class Findings:
    """What came of the inputs of one reader.

    Attributes:
        counts: outcome -> inputs.
        seeds: (outcome, where) -> the seeds that repeat it.
        examples: (outcome, where) -> what the first one said.
    """

    counts: Counter[str] = field(default_factory=Counter)
    seeds: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, seed: int, outcome: str, where: str, message: str = "") -> None:
        """Note one input."""
        self.counts[outcome] += 1
        if outcome not in (READ, REFUSED):
            self.seeds.setdefault((outcome, where), []).append(seed)
            self.examples.setdefault((outcome, where), message)


class Worker:
    """A process that reads the inputs of one reader; started again when it has ended."""

    def __init__(self, reader: str, seconds: float = SECONDS_PER_INPUT) -> None:
        self._reader, self._seconds = reader, seconds
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="cliplung-fuzz-")
        self.starts = 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._folder.cleanup()

    def outcome(self, seed: int) -> tuple[str, ...]:
        """What happens to the input of a seed."""
        if self._process is None:
            self._start()
        self._connection.send(seed)
        return self._answer(self._seconds)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, self._reader, self._folder.name), daemon=True)
        self._process.start()
        other.close()
        self.starts += 1
        outcome, *details = self._answer(SECONDS_TO_START)
        if outcome != READ:
            raise RuntimeError(f"{self._reader} cannot start: {outcome} {details}")

    def _answer(self, seconds: float) -> tuple[str, ...]:
        end, used = time.monotonic() + CLOCK_FACTOR * seconds, self._processor_seconds()
        try:
            while not self._connection.poll(min(seconds, 1.0)):
                if self._processor_seconds() - used >= seconds or time.monotonic() >= end:
                    break
            else:
                return self._connection.recv()
            outcome = "hang", f"no end after {seconds:g} s"
        except (EOFError, ConnectionError):
            self._process.join(10)
            outcome = "crash", f"the process ended with {self._process.exitcode}"
        self._end()
        return outcome

    def _processor_seconds(self) -> float:
        """Of the process; the clock's where the system does not tell."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, LookupError, ValueError, AttributeError):
            return time.monotonic()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = None


def fuzz(reader: str, inputs: int, seed: int, seconds: float = SECONDS_PER_INPUT) -> Findings:
    """Read `inputs` damaged files; those of seed, seed + 1 ..."""
    findings = Findings()
    with Worker(reader, seconds) as worker:
        for one in range(seed, seed + inputs):
            findings.add(one, *worker.outcome(one))
            if worker.starts > MOST_RESTARTS:
                break
    return findings


def shares(names: list[str], inputs: int) -> Iterator[tuple[str, int]]:
    """How many of all inputs each reader gets; one at least."""
    total = sum(READERS[name].share for name in names)
    for name in names:
        yield name, max(1, round(inputs * READERS[name].share / total))


def main(arguments: list[str] | None = None) -> int:
    """Run; 1 when there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=200_000, help="of all readers together (default 200000)")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first input of each reader; the next have the next (default 1)"
    )
    parser.add_argument("--reader", choices=list(READERS), action="append", help="this reader only; may be given again")
    options = parser.parse_args(arguments)
    found, total = 0, Counter()
    for reader, inputs in shares(options.reader or list(READERS), options.inputs):
        start = time.perf_counter()
        findings = fuzz(reader, inputs, options.seed)
        total += findings.counts
        words = ", ".join(f"{findings.counts[outcome]} {outcome}" for outcome in sorted(findings.counts))
        print(
            f"{reader:18} {sum(findings.counts.values()):7} inputs: {words} ({time.perf_counter() - start:.0f} s)",
            flush=True,
        )
        for (outcome, where), seeds in findings.seeds.items():
            found += 1
            print(f"  {outcome}, {len(seeds)} times: {where} {findings.examples[outcome, where]}")
            print(f"    repeat: --reader {reader} --inputs 1 --seed {seeds[0]}", flush=True)
    print(f"{total.total()} inputs: {total[READ]} read, {total[REFUSED]} refused, {found} finding(s)")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
