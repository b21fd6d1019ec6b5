"""The small picture of a nodule."""

from __future__ import annotations

import io

import numpy as np
import pytest
from helpers import slicer_scene  # noqa: F401 - skips this file without slicer-core

from CLIPLungLib.scene.thumbnail import axial_png, grey_png

image = pytest.importorskip("PIL.Image")


def picture(png: bytes) -> np.ndarray:
    return np.array(image.open(io.BytesIO(png)))


def test_bytes_are_a_png_of_the_picture():
    grey = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    assert (picture(grey_png(grey)) == grey).all()


def test_the_nodule_is_in_the_middle_and_right_is_left(ball_ct):
    seen = picture(axial_png(ball_ct, np.array([10.0, -20.0, 30.0]), size_mm=40.0, pixels=80))
    bright = np.argwhere(seen > 200)
    assert bright.mean(axis=0) == pytest.approx([39.5, 39.5], abs=1.0)
    # 12 mm of 40 mm.
    assert np.ptp(bright, axis=0) == pytest.approx([24, 24], abs=4)
    aside = picture(axial_png(ball_ct, np.array([4.0, -20.0, 30.0]), size_mm=40.0, pixels=80))
    assert np.argwhere(aside > 200)[:, 1].mean() < 30, "the patient's right is on the left"


def test_outside_the_scan_it_is_black_and_nothing_fails(ball_ct):
    assert not picture(axial_png(ball_ct, np.array([900.0, 0.0, 0.0]))).any()
