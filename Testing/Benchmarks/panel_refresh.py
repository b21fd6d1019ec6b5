"""How long the panel keeps the window busy: python Testing/Benchmarks/panel_refresh.py [NODULES]

On Qt stand-ins (PySide6) with a real MRML scene on slicer-core, and a classifier that answers at once. Times are milliseconds of the
processor for the window's thread, which other programs disturb little, and come beside what reading the record of every nodule once
takes on this computer at this moment.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

import numpy as np
from helpers import slicer_scene
from standins.qt.application import Application

slicer = slicer_scene.slicer
REPEATS = 5
TICK_MS = 5
CLICKS = 10


@dataclass(frozen=True)
class Timings:
    """Milliseconds, the median of REPEATS.

    Attributes:
        parse_all_ms: the baseline, every stored record read once from its text.
        ratio: refresh by baseline.
        longest_gap_ms: the longest time without the window's timer while CLICKS nodules were placed and answered, by the clock.
        longest_busy_ms: likewise, what the window's thread computed between two ticks.
        answered_order: IDs of the points that were placed, as they were answered.
    """

    nodules: int
    parse_all_ms: float
    refresh_ms: float
    move_ms: float
    select_ms: float
    ratio: float
    longest_gap_ms: float
    longest_busy_ms: float
    answered_order: tuple[str, ...]


def panel_timings(nodules: int = 200) -> Timings:
    """Measure a panel with this many answered nodules, and a burst of CLICKS more."""
    with tempfile.TemporaryDirectory() as folder:
        application = Application(Path(folder) / "settings.ini")
        try:
            return _measured(application, nodules)
        finally:
            application.close()


def _measured(application: Application, nodules: int) -> Timings:
    widget = application.open_module()
    widget.model.prepare = lambda: None
    widget.enter()
    points = _add_nodules(widget, nodules)
    moved = np.random.default_rng(1)

    def move() -> None:
        points.SetNthControlPointPositionWorld(nodules // 2, *moved.uniform(-60, 60, 3))

    parse_all = _median_ms(lambda: _parse_all(widget, points))
    refresh = _median_ms(widget.refresh)
    selected = iter(range(1, nodules))
    return Timings(
        nodules=nodules,
        parse_all_ms=parse_all,
        refresh_ms=refresh,
        move_ms=_median_ms(move),
        select_ms=_median_ms(lambda: widget.selectNodule(points.GetNthControlPointID(next(selected)))),
        ratio=refresh / parse_all,
        **_burst(widget, points),
    )


def _add_nodules(widget: Any, nodules: int) -> Any:
    """A CT and a list of answered points, as a loaded scene brings them."""
    from CLIPLungGUI.selftest import addTestCT

    ct, points = addTestCT(), widget.logic.makePoints()
    random, made_up = np.random.default_rng(0), slicer_scene.fake_result()
    for number in range(nodules):
        ras = tuple(float(value) for value in random.uniform(-60, 60, 3))
        index = points.AddControlPointWorld(list(ras), f"N-{number + 1}")
        result = replace(made_up, point_ras=ras, malignancy_probability=number / nodules)
        widget.logic.store(ct, points, points.GetNthControlPointID(index), result)
    widget._parameterNode.points = points
    slicer.app.processEvents()
    return points


def _parse_all(widget: Any, points: Any) -> None:
    from CLIPLungLib.scene import result_record

    result_record._parsed.cache_clear()
    for node_id in widget.logic.heatMapIDs():
        result_record.read_record(slicer.mrmlScene.GetNodeByID(node_id))


def _burst(widget: Any, points: Any) -> dict[str, Any]:
    """Clicks while no model is there, then the model: the longest gap of a timer, and the order of the answers."""
    from CLIPLungGUI.selftest import MadeUpClassifier
    from PySide6 import QtCore

    ticks, busy, order = [time.perf_counter()], [time.thread_time()], []

    def tick() -> None:
        ticks.append(time.perf_counter())
        busy.append(time.thread_time())

    stored = widget.analyses.onStored
    widget.analyses.onStored = lambda of, point_id: (order.append(point_id), stored(of, point_id))
    timer = QtCore.QTimer()
    timer.setInterval(TICK_MS)
    timer.timeout.connect(tick)
    timer.start()
    for _ in range(CLICKS):
        points.AddControlPointWorld([20.0, 10.0, 5.0])
        slicer.app.processEvents()
    widget._onModel(MadeUpClassifier())
    while widget.worker.busy:
        slicer.app.processEvents()
    timer.stop()
    return {
        "longest_gap_ms": 1e3 * float(np.diff(ticks).max()),
        "longest_busy_ms": 1e3 * float(np.diff(busy).max()),
        "answered_order": tuple(order),
    }


def _median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.thread_time()
        work()
        times.append(1e3 * (time.thread_time() - start))
    return statistics.median(times)


if __name__ == "__main__":
    print(json.dumps(vars(panel_timings(int(sys.argv[1]) if len(sys.argv) > 1 else 200)), indent=2))
