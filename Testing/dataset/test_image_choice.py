"""Which image stands for a nodule."""

from __future__ import annotations

import numpy as np

from CLIPLungLib.dataset.image_choice import AS_CLICKED, one_image_per_nodule
from CLIPLungLib.dataset.nodule_images import PATCH_KINDS


def chosen(images: list[tuple[int, str]], refused: tuple[int, ...] = ()) -> list[tuple[int, str]]:
    nodule = np.array([index for index, _ in images])
    kind = np.array([PATCH_KINDS.index(name) for _, name in images])
    usable = np.isin(np.arange(len(images)), refused, invert=True)
    return [images[place] for place in np.flatnonzero(one_image_per_nodule(nodule, kind, usable))]


def test_with_volumes_it_is_the_volume_or_the_slice():
    images = [(0, "slice"), (0, "volume"), (0, "crop"), (1, "slice"), (1, "cube"), (2, "crop"), (3, "background")]
    assert chosen(images) == [(0, "volume"), (1, "slice")]
    # A refused volume leaves the slice, and the table stays one with volumes.
    assert chosen(images, refused=(1,)) == [(0, "slice"), (1, "slice")]


def test_without_volumes_it_is_what_shows_most():
    images = [(0, "slice"), (0, "cube"), (0, "crop"), (1, "slice"), (1, "cube"), (2, "slice"), (3, "background")]
    assert chosen(images) == [(0, "crop"), (1, "cube"), (2, "slice")]
    assert chosen(images, refused=(2, 4)) == [(0, "cube"), (1, "slice"), (2, "slice")]


def test_no_image_gives_none():
    assert chosen([]) == []


def test_calibration_takes_what_a_click_meets_first():
    images = [(0, "volume"), (0, "inserted"), (1, "volume"), (1, "cube"), (1, "inserted"), (2, "slice"), (3, "volume")]
    nodule = np.array([index for index, _ in images])
    kind = np.array([PATCH_KINDS.index(name) for _, name in images])
    found = np.flatnonzero(one_image_per_nodule(nodule, kind, np.ones(len(images), dtype=bool), AS_CLICKED))
    assert [images[place] for place in found] == [(0, "inserted"), (1, "cube"), (2, "slice"), (3, "volume")]
