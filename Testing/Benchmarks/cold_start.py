"""The first answer of a cold command and the opened module, against `import torch` in a fresh interpreter; and what the module's file
costs Slicer's start.

Each run is a process of its own. Where the first answer is waited for, the process is ended then, and so is that which imports torch: what an
interpreter needs to tidy up is in neither. The files come from the system's cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing"), str(Path(__file__).parent)]

from helpers.made_up_ct import ball_points, write_made_up_cts
from interleaved import Goal, Times, figure, limit_ms, timed_in_turns

SHAPE = (60, 128, 128)
MODULE_LIMIT_MS = 30.0
# Without torch: what it would cost must not be hidden, so its import fails.
MODULE_IMPORT = """
import json, sys, time, tempfile
from pathlib import Path
sys.path[:0] = [{root!r}, {testing!r}, {module!r}]
sys.modules["torch"] = None
from standins.qt.application import Application
application = Application(Path(tempfile.mkdtemp()) / "settings.ini")
for name in [name for name in sys.modules if name.startswith("CLIPLungLib")]:
    del sys.modules[name]
start, processor = time.perf_counter(), time.process_time()
import CLIPLung
print(json.dumps([time.perf_counter() - start, time.process_time() - processor]))
"""
# From the opened module to "Ready.": Slicer itself runs by then.
OPEN_MODULE = """
import json, sys, time, tempfile
from pathlib import Path
sys.path[:0] = [{root!r}, {testing!r}, {module!r}]
from helpers import slicer_scene
from standins.qt.application import Application
application = Application(Path(tempfile.mkdtemp()) / "settings.ini")
start, processor = time.perf_counter(), time.process_time()
widget = application.open_module()
widget.enter()
while widget.ui.statusLabel.text != "Ready.":
    application.qt.processEvents()
    time.sleep(0.005)
    assert time.perf_counter() - start < 60, widget.ui.statusLabel.text
print(json.dumps([time.perf_counter() - start, time.process_time() - processor]))
"""
IMPORT_TORCH = """
import json, time
start, processor = time.perf_counter(), time.process_time()
import torch
print(json.dumps([time.perf_counter() - start, time.process_time() - processor]))
"""


def measured(rounds: int, threads: int) -> list[dict[str, Any]]:
    """First answer, whole command, import of the module's file, and opening it."""
    with tempfile.TemporaryDirectory() as folder:
        (ct,) = write_made_up_cts(Path(folder), 1, SHAPE)
        point = [str(value) for value in ball_points(SHAPE)[5]]
        command = [sys.executable, "-m", "CLIPLungLib", "classify", str(ct), "--point", *point]
        command += ["--output", str(Path(folder) / "out")]
        times = timed_in_turns(
            {
                "torch": lambda: _until_first_line([sys.executable, "-c", "import torch; print('P(', flush=True)"]),
                "answer": lambda: _until_first_line(command),
                "torch to its end": lambda: _run([sys.executable, "-c", "import torch"]),
                "whole": lambda: _run(command),
            },
            rounds,
        )
    baseline = 'python -c "import torch"'
    note = "the report is drawn after the answer was printed"
    return [
        figure(
            "first answer of cliplung classify, cold", baseline, times["answer"], times["torch"], Goal(1.4), threads
        ),
        figure(
            "the whole command, with report", baseline, times["whole"], times["torch to its end"], None, threads, note
        ),
        limit_ms("import of the module's file (stand-ins)", _told(rounds, MODULE_IMPORT)[0], MODULE_LIMIT_MS, threads),
        figure(
            "opening the module to Ready (stand-ins)",
            "import torch",
            *_told(rounds, OPEN_MODULE, IMPORT_TORCH),
            Goal(1.5),
            threads,
        ),
    ]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _until_first_line(command: list[str]) -> None:
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.kill()
    if not line.startswith(b"P("):
        raise SystemExit(f"no answer but {line!r}")


def _told(rounds: int, *scripts: str) -> list[Times]:
    """What scripts, taking turns, print of their own times; the first round only fills the caches."""
    places = {"root": str(ROOT), "testing": str(ROOT / "Testing"), "module": str(ROOT / "CLIPLung")}
    found = [[_times_told(script.format(**places)) for script in scripts] for _ in range(rounds + 1)][1:]
    return [
        Times(tuple(wall for wall, _ in own), tuple(processor for _, processor in own))
        for own in zip(*found, strict=True)
    ]


def _times_told(script: str) -> tuple[float, float]:
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    wall, processor = json.loads(done.stdout.splitlines()[-1])
    return wall, processor
