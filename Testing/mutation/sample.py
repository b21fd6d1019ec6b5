"""Mutation tests: change the code in small ways and see whether the tests of its room notice.

    pip install -e ".[dev]"
    python Testing/mutation/sample.py --count 200 --seed 1

Cosmic Ray makes the mutants. All of them would take days, so a seeded sample is drawn: from every file its share of the places
that can be changed, and one change for each place. The work is done in a copy of the repository, without the LIDC-IDRI data.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shlex
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.testing import run_tests
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome
from equivalent import reason_to_leave_out

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("image", "inference", "calibration")
NOT_COPIED = shutil.ignore_patterns(".*", "runs", "__pycache__", "*.egg-info", "demo-output", "Screenshots")
LONGEST_SECONDS = 900.0
NOT_RUN = (
    # Takes longer than all other tests of its room; its faults are found by those too.
    "Testing/inference/test_cohort_resume.py::test_a_process_killed_at_any_moment_loses_nothing",
    # Fails on a busy computer, whatever the change.
    "Testing/image/test_hostile_files.py::test_nrrd_header_is_refused[half a million keys]",
)


def main() -> int:
    """Draw, run, and say what survived."""
    parser = argparse.ArgumentParser(description="Mutation tests on a seeded sample.")
    parser.add_argument("--rooms", nargs="+", default=ROOMS, choices=ROOMS)
    parser.add_argument("--count", type=int, default=200, help="mutants to try (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ |= {"CLIPLUNG_LIDC": os.devnull, "OMP_NUM_THREADS": "1", "QT_QPA_PLATFORM": "offscreen"}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "repository")
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        os.chdir(copy)
        with use_db(str(Path(folder, "mutants.sqlite")), WorkDB.Mode.create) as database:
            files = [file for room in options.rooms for file in sorted(Path("CLIPLungLib", room).rglob("*.py"))]
            init(files, database, {})
            mutants = [mutation for item in database.work_items for mutation in item.mutations]
        require_sound(options.rooms)
        survivors, tried = [], 0
        for mutant in drawn(mutants, options.count, random.Random(options.seed)):
            result = mutate_and_test([mutant], test_command(Path(mutant.module_path)), LONGEST_SECONDS)
            tried += 1
            if result.test_outcome == TestOutcome.SURVIVED:
                survivors.append(result.diff)
            print(f"{tried:4} {result.test_outcome.value:9} {described(mutant)} {killer(result.output)}", flush=True)
    print("\n\n".join(["", *survivors]))
    low, high = wilson(tried - len(survivors), tried)
    print(
        f"\n{tried - len(survivors)} of {tried} mutants killed (95 % interval {low:.0%} to {high:.0%}), seed {options.seed}"
    )
    return 0


def require_sound(rooms: Iterable[str]) -> None:
    """Stop where the tests fail without a change: every mutant would seem to be killed."""
    for room in rooms:
        outcome, output = run_tests(test_command(Path("CLIPLungLib", room, "__init__.py")), LONGEST_SECONDS)
        if outcome != TestOutcome.SURVIVED:
            sys.exit(f"The tests of {room} fail without any change. Mend them first.\n{output[-3000:]}")


def drawn(mutants: Iterable[MutationSpec], count: int, dice: random.Random) -> list[MutationSpec]:
    """About `count` mutants: each file gives its share of places, two at least, and each place one mutant.

    In random order, so that a run that is stopped has seen a fair part of them.
    """
    places: dict[str, dict[tuple[object, ...], list[MutationSpec]]] = defaultdict(lambda: defaultdict(list))
    for mutant in sorted(mutants, key=lambda one: (str(one.module_path), one.operator_name, one.occurrence)):
        if not reason_to_leave_out(mutant):
            kind = mutant.operator_name.rpartition("/")[2].partition("_")[0]
            places[str(mutant.module_path)][(kind, mutant.start_pos)].append(mutant)
    total = sum(map(len, places.values()))
    found = []
    for of_file in places.values():
        share = min(len(of_file), max(2, round(count * len(of_file) / total)))
        found += [dice.choice(of_file[place]) for place in dice.sample(sorted(of_file), share)]
    dice.shuffle(found)
    return found


def test_command(file: Path) -> str:
    """The tests of a file's room, those that name the file's module first, up to the first failure."""
    module = ".".join(file.with_suffix("").parts)
    tests = sorted(Path("Testing", file.parts[1]).glob("test_*.py"))
    tests.sort(key=lambda test: (file.stem not in test.stem, module not in test.read_text(encoding="utf-8")))
    left_out = [part for name in NOT_RUN for part in ("--deselect", name)]
    return shlex.join(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *left_out, *map(str, tests)]
    )


def described(mutant: MutationSpec) -> str:
    """File, line and kind of a mutant."""
    return f"{mutant.module_path}:{mutant.start_pos[0]} {mutant.operator_name.rpartition('/')[2]} {mutant.occurrence}"


def killer(output: str) -> str:
    """The test that failed; empty where none did."""
    lines = (line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR ")))
    return next(lines, "").partition(" - ")[0]


def wilson(killed: int, tried: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z, share = 1.959964, killed / tried
    middle = (share + z**2 / (2 * tried)) / (1 + z**2 / tried)
    half = z / (1 + z**2 / tried) * math.sqrt(share * (1 - share) / tried + z**2 / (4 * tried**2))
    return middle - half, middle + half


if __name__ == "__main__":
    sys.exit(main())
