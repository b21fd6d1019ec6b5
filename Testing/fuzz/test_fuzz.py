"""A short slice of the fuzz, and that the harness finds what it is there to find."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random

import pytest

from fuzz import worker
from fuzz.planted import PLANTED
from fuzz.readers import READERS
from fuzz.run_fuzz import Findings, Worker, fuzz, main, shares

SLICE, SEED = 13, 20260101
QUICK_S = 2.0
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
# The rest of the faults needs the limits or the file names of one system.
EXPECTED = {
    "planted_raise": ("foreign exception", "KeyError"),
    "planted_crash": ("crash", "the process ended with"),
    "planted_hang": ("hang", "no end after 2 s"),
    "planted_write_outside": ("forbidden", "open for writing"),
    "planted_read_outside": ("forbidden", "reads "),
    "planted_unpickle": ("forbidden", "pickle.find_class"),
    "planted_connect": ("forbidden", "socket."),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of damaged values.
@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_read_or_refused(reader, monkeypatch):
    """In this process; the command gives every reader one of its own."""
    if reader == "scene-record":
        pytest.importorskip("slicer")
    seen = in_this_process(reader, range(SEED, SEED + SLICE), monkeypatch)
    assert set(seen.counts) <= {worker.READ, worker.REFUSED}, seen.seeds
    assert seen.counts.total() == SLICE


def in_this_process(reader, seeds, monkeypatch) -> Findings:
    findings = Findings()
    with tempfile.TemporaryDirectory() as folder:
        cases = READERS[reader].valid()
        monkeypatch.setattr(tempfile, "tempdir", str(Path(folder) / "temporary"))
        for seed in seeds:
            case = READERS[reader].mutated(Random(f"{reader} {seed}"), cases)
            findings.add(seed, *worker.outcome_of(READERS[reader].read, case, Path(folder), None))
    return findings


def test_valid_files_of_every_reader_are_read_by_a_process_under_limits():
    with Worker("nrrd") as process:
        outcomes = {process.outcome(seed)[0] for seed in range(5)}
    assert outcomes <= {worker.READ, worker.REFUSED}
    assert process.starts == 1


@pytest.mark.parametrize("reader", [*EXPECTED, pytest.param("planted_fill_memory", marks=on_linux)])
def test_every_planted_fault_is_found(reader):
    findings = fuzz(reader, 1, 1, QUICK_S)
    ((outcome, where),) = findings.seeds
    wanted = EXPECTED.get(reader, ("foreign exception", "MemoryError"))
    assert outcome == wanted[0]
    assert where.startswith(wanted[1])


def test_every_fault_is_planted():
    assert set(PLANTED) == {*EXPECTED, "planted_fill_memory"}


def test_after_a_crash_the_rest_is_read():
    findings = fuzz("planted_crash", 2, 7, QUICK_S)
    assert list(findings.seeds.values()) == [[7, 8]]


def test_a_finding_is_told_with_its_seed_and_a_status(monkeypatch, capsys):
    findings = Findings()
    findings.add(41, worker.READ, "")
    findings.add(42, "foreign exception", "KeyError at x.py:1 in f", "'planted'")
    monkeypatch.setattr("fuzz.run_fuzz.fuzz", lambda *_: findings)
    assert main(["--reader", "nrrd", "--inputs", "2", "--seed", "41"]) == 1
    told = capsys.readouterr().out
    assert "1 foreign exception, 1 read" in told
    assert "--reader nrrd --inputs 1 --seed 42" in told
    monkeypatch.setattr("fuzz.run_fuzz.fuzz", lambda *_: Findings())
    assert main(["--reader", "nrrd", "--inputs", "2"]) == 0


def test_the_inputs_are_shared_among_all_readers():
    given = dict(shares(list(READERS), 200_000))
    assert set(given) == set(READERS)
    assert sum(given.values()) == pytest.approx(200_000, abs=len(READERS))
    assert min(given.values()) >= 1000


def test_a_seed_repeats_its_input():
    cases = READERS["metaimage"].valid()
    made = [[READERS["metaimage"].mutated(Random(f"metaimage {seed}"), cases) for seed in range(20)] for _ in range(2)]
    assert made[0] == made[1]
    assert len({tuple(case.items()) for case in made[0]}) > 10
    assert READERS["metaimage"].valid() == cases
