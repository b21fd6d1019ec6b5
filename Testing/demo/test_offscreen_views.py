"""Slice views as pictures: real slice logics and markups drawn off screen."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from helpers.repository import ROOT
from helpers.slicer_scene import NODULE_RAS, fake_result, require_rendering, synthetic_ct

from CLIPLungLib.demo.offscreen_views import SliceView, save_png
from CLIPLungLib.demo.slicer_core_host import SLICE_VIEWS, StandaloneSlicer
from CLIPLungLib.scene import result_store, slice_layers

require_rendering()

SIZE = 320
WIDTH_MM = 100.0
MM_PER_PIXEL = WIDTH_MM / SIZE
# exp(-d^2 / (2 * 6^2)) falls to the threshold of 0.25 at d = 9.99 mm.
HEAT_RADIUS_MM = 9.99


def draw(view_name, *, heat: bool, point: bool) -> tuple[np.ndarray, np.ndarray]:
    """Picture (rows, columns, 3) of a view around the nodule, and the nodule's column and row in it."""
    with StandaloneSlicer() as app:
        ct_node = app.add_ct(synthetic_ct())
        points = app.add_points("Nodules", [("N-1", np.array(NODULE_RAS))])
        if heat:
            result_store.show_result(ct_node, points, "1", fake_result())
        points.GetDisplayNode().SetVisibility(point)
        slice_layers.jump_slices(app.scene, NODULE_RAS)
        view = SliceView(app, view_name, (SIZE, SIZE))
        view.zoom(WIDTH_MM)
        return view.picture().astype(int), view.to_xy(np.array(NODULE_RAS))


def distance_mm(picture, xy) -> np.ndarray:
    rows, columns = np.indices(picture.shape[:2])
    return np.hypot(columns - xy[0], rows - xy[1]) * MM_PER_PIXEL


@pytest.mark.parametrize("name", [name for name, _ in SLICE_VIEWS])
def test_heat_is_drawn_on_the_nodule_and_nowhere_else(name):
    picture, xy = draw(name, heat=True, point=False)
    away_mm = distance_mm(picture, xy)
    redder = picture[..., 0] - picture[..., 2]
    assert (redder[away_mm < HEAT_RADIUS_MM - 1.5] > 30).mean() > 0.99
    assert np.ptp(picture[away_mm > HEAT_RADIUS_MM + 1.5], axis=-1).max() == 0


def test_without_a_result_everything_is_grey():
    picture, xy = draw("Red", heat=False, point=False)
    assert np.ptp(picture, axis=-1).max() == 0
    nodule = distance_mm(picture, xy) < 4
    # 20 HU and -850 HU in the lung window of -1350..150 HU.
    assert picture[nodule].mean() == pytest.approx(255 * (20 + 1350) / 1500, abs=12)
    lung = (np.abs(distance_mm(picture, xy) - 13) < 2) & (np.indices(picture.shape[:2])[0] > xy[1])
    assert np.median(picture[lung]) == pytest.approx(255 * (-850 + 1350) / 1500, abs=12)


def test_the_point_is_seen_and_leaves_most_of_the_nodule_free():
    bare, xy = draw("Red", heat=True, point=False)
    marked, _ = draw("Red", heat=True, point=True)
    changed = (np.abs(marked - bare).max(axis=-1) > 40) & (distance_mm(bare, xy) < 5)
    area = np.pi * (5 / MM_PER_PIXEL) ** 2
    assert 0.01 < changed.sum() / area < 0.25
    blue = marked[..., 2] - marked[..., 0]
    assert blue[changed].max() > 60


VIEW_DRAWS = """
from CLIPLungLib.demo.offscreen_views import SliceView, probe
from CLIPLungLib.demo.slicer_core_host import StandaloneSlicer
def draw():
    with StandaloneSlicer() as app:
        SliceView(app, "Red", (8, 8)).picture()
"""


@pytest.mark.parametrize("then", ["draw(); import triton", "probe(); draw()"], ids=["triton after", "others before"])
def test_drawing_and_triton_share_a_process(then):
    if importlib.util.find_spec("triton") is None:
        pytest.skip("this torch comes without triton")
    done = subprocess.run([sys.executable, "-c", VIEW_DRAWS + then], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_pictures_are_written_as_png(tmp_path):
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0, 2] = (10, 20, 30)
    save_png(picture, tmp_path / "view.png")
    image = pytest.importorskip("PIL.Image").open(tmp_path / "view.png")
    assert image.size == (3, 2)
    assert image.getpixel((2, 0)) == (10, 20, 30)
