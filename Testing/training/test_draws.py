"""What an epoch shows of each nodule: which nodules, which planes, and empty planes of which scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.tiny_training import CONFIG, NODULES, tiny_patches

from CLIPLungLib.dataset.nodule_images import PATCH_KINDS
from CLIPLungLib.training.training_set import BACKGROUND_PLANES, INSERTED, TrainingSet

CONFIG_OF_ALL = replace(CONFIG, validation_share=0.0, train_folds=(0, 1, 2, 3, 4))


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return TrainingSet(tiny_patches(), NODULES, CONFIG_OF_ALL)


def test_a_share_of_the_slices_is_shown_and_another_one_in_every_epoch():
    half = TrainingSet(tiny_patches(), NODULES, replace(CONFIG_OF_ALL, slice_share=0.5))
    # Twelve nodules have a cube, of twenty-eight there is only a slice.
    assert (len(half.more_than_slices), len(half.only_slices)) == (12, 28)
    assert half.steps() == (12 + 14) // CONFIG.batch_size
    assert TrainingSet(tiny_patches(), NODULES, CONFIG_OF_ALL).steps() == 40 // CONFIG.batch_size
    first, again, second = (half.nodules_of_epoch(epoch).tolist() for epoch in (0, 0, 1))
    assert first == again
    assert len(first) == len(set(first)) == 26
    assert set(half.more_than_slices) <= set(first) & set(second)
    assert set(first) != set(second)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_inserted_patches_are_drawn_as_often_as_asked_for(share):
    patches = tiny_patches()
    cubes = np.flatnonzero(patches.kind == PATCH_KINDS.index("cube"))
    kind = patches.kind.copy()
    # The cube of nodule 0 stands for that nodule in other lung; its slice stays.
    kind[cubes[0]] = INSERTED
    data = TrainingSet(replace(patches, kind=kind), NODULES, replace(CONFIG_OF_ALL, inserted_share=share))
    drawn = [kind[data._draw(0, np.random.default_rng(seed))[0]] == INSERTED for seed in range(400)]
    assert np.mean(drawn) == pytest.approx(share, abs=0.08 if share else 0)
    assert (cubes[0] in data.patches_of_nodule[0]) == (share > 0)


def test_planes_with_the_nodule_come_before_the_others(data):
    cube = int(np.flatnonzero(data.patches.kind == PATCH_KINDS.index("cube"))[0])
    planes, slots = data._draw_planes(cube, np.random.default_rng(0))
    # The disc lies in the middle plane of five.
    assert slots.tolist() == [2]
    assert data.shows_nodule[planes].all()


def test_empty_planes_of_a_scan_that_goes_on_are_its_own(data):
    cube = int(np.flatnonzero(data.patches.kind == PATCH_KINDS.index("cube"))[0])
    own = np.arange(data.patches.planes(cube).start, data.patches.planes(cube).stop)
    seen = set()
    for seed in range(30):
        planes, slots = data._draw_empty(cube, np.array([2]), np.random.default_rng(seed))
        assert np.isin(planes, own).all()
        assert not data.shows_nodule[planes].any()
        assert len(planes) <= CONFIG.empty_planes
        np.testing.assert_array_equal(slots, planes - own[0])
        seen.add(len(planes))
    assert seen == {0, 1, 2, 3}


def test_empty_planes_of_a_slice_come_from_other_scans_at_free_places(data):
    single = int(np.flatnonzero(data.patches.kind == PATCH_KINDS.index("slice"))[-1])
    for seed in range(30):
        planes, slots = data._draw_empty(single, np.array([2]), np.random.default_rng(seed))
        assert np.isin(planes, data.empty_planes).all()
        assert len(set(slots.tolist())) == len(slots)
        assert 2 not in slots


def test_background_shows_some_planes_of_its_scan(data):
    _, planes, _ = data._draw(-1, np.random.default_rng(0))
    assert 1 <= len(planes) <= BACKGROUND_PLANES
    assert not data.shows_nodule[planes].any()
