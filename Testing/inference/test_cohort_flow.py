"""How a cohort flows: the next image is read meanwhile, few are in memory, and nobody draws maps that nobody asked for."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref

import pytest
from helpers.cohort import cohort, rows

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference import cohort as batch
from CLIPLungLib.inference.calibrated_result import EMPTY_MAP
from CLIPLungLib.inference.cohort import answers, read_cohort, run_batch

IMAGES = 5


@pytest.fixture
def file(folder):
    """A point in each of five images."""
    for index in range(IMAGES):
        shutil.copy(folder / "one.nrrd", folder / f"ct{index}.nrrd")
    return cohort(folder, *[f"n{index},ct{index}.nrrd,10,-20,30" for index in range(IMAGES)])


def test_the_next_image_is_read_while_the_answer_to_one_is_waited_for(file, tiny, monkeypatch):
    reads, begun = [], threading.Semaphore(0)

    def read(path):
        reads.append(path.name)
        begun.release()
        return read_ct(path)

    monkeypatch.setattr(batch, "read_ct", read)
    answered = answers(read_cohort(file), tiny)
    next(answered)
    for _ in range(2):
        assert begun.acquire(timeout=60)
    assert reads == ["ct0.nrrd", "ct1.nrrd"]
    assert not begun.acquire(timeout=0.2), "a third image is read although the second is not used yet"
    assert len(list(answered)) == IMAGES - 1
    assert reads == [f"ct{index}.nrrd" for index in range(IMAGES)]


def test_two_images_at_most_are_in_memory(file, tiny, monkeypatch):
    alive, most = weakref.WeakSet(), []

    def read(path):
        ct = read_ct(path)
        alive.add(ct)
        gc.collect()
        most.append(len(alive))
        return ct

    monkeypatch.setattr(batch, "read_ct", read)
    assert [row.row_id for row, _ in answers(read_cohort(file), tiny)] == [f"n{index}" for index in range(IMAGES)]
    assert max(most) == 2


def test_an_image_there_was_no_memory_for_beside_another_is_read_again(folder, file, tiny, monkeypatch):
    fails = {"ct2.nrrd"}

    def read(path):
        if path.name in fails and threading.current_thread() is not threading.main_thread():
            raise InputError("needs 1.0 GB of memory and 0.5 GB are free")
        return read_ct(path)

    monkeypatch.setattr(batch, "read_ct", read)
    assert run_batch(file, folder / "out", tiny) == 0


def test_maps_are_computed_only_where_they_are_asked_for(folder, file, tiny, monkeypatch):
    assert run_batch(file, folder / "with", tiny, heatmaps=True) == 0

    def never(self, patches):
        raise AssertionError("a heat map that nobody asked for")

    monkeypatch.setattr(type(tiny), "_read_with_heat", never)
    assert run_batch(file, folder / "without", tiny) == 0
    with_maps, without = rows(folder / "with"), rows(folder / "without")
    for found in (*with_maps.values(), *without.values()):
        found["warnings"] = found["warnings"].replace(EMPTY_MAP, "").strip()
    assert without == with_maps
    assert not (folder / "without" / "heatmaps").exists()


def test_a_run_that_is_left_waits_for_no_further_image(file, tiny, monkeypatch):
    reads = []
    monkeypatch.setattr(batch, "read_ct", lambda path: reads.append(path.name) or read_ct(path))
    answered = answers(read_cohort(file), tiny)
    next(answered)
    answered.close()
    assert len(reads) <= 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("next image")]
