"""The filters on masks against scipy's of the same meaning."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from CLIPLungLib.image.mask_filters import (
    affine_sampled,
    connected_parts,
    dilated,
    signed_distance_mm,
    smoothed_in_plane,
)

WHOLE_NEIGHBOURHOOD = np.ones((3, 3, 3))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5, 1.0])
def test_as_scipy(share: float) -> None:
    values = np.random.default_rng(1).random((7, 12, 9))
    mask = values < share
    np.testing.assert_array_equal(connected_parts(mask), ndimage.label(mask, structure=WHOLE_NEIGHBOURHOOD)[0])
    np.testing.assert_array_equal(dilated(mask), ndimage.binary_dilation(mask, structure=WHOLE_NEIGHBOURHOOD))
    expected = ndimage.uniform_filter(values, (1, 3, 3), mode="nearest")
    np.testing.assert_allclose(smoothed_in_plane(values), expected, atol=1e-12)


def test_distances_as_scipy() -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(2).random((9, 20, 18)), 1.5) > 0.5
    spacing_mm = np.array([2.0, 0.75, 0.6])
    outside, inside = (ndimage.distance_transform_edt(side, sampling=spacing_mm) for side in (~mask, mask))
    np.testing.assert_allclose(signed_distance_mm(mask, spacing_mm), outside - inside, atol=1e-4)


def test_another_grid_as_scipy() -> None:
    rng = np.random.default_rng(3)
    values = rng.random((6, 9, 8)).astype(np.float32)
    to_values = np.eye(4)
    to_values[:3, :3] += 0.2 * rng.standard_normal((3, 3))
    to_values[:3, 3] = (1.5, 0.25, -0.5)
    sampled = affine_sampled(values, to_values, (7, 8, 9), beyond=5.0)
    turned, shift = to_values[:3, :3][::-1, ::-1], to_values[:3, 3][::-1]
    expected = ndimage.affine_transform(values, turned, shift, (7, 8, 9), order=1, mode="constant", cval=5.0)
    k, j, i = np.indices(sampled.shape)
    x, y, z = np.einsum("ab,b...->a...", to_values[:3, :3], [i, j, k]) + to_values[:3, 3, None, None, None]
    within = (x > 0) & (y > 0) & (z > 0) & (x < 7) & (y < 8) & (z < 5)
    assert within.sum() > 50
    np.testing.assert_allclose(sampled[within], expected[within], atol=1e-5)
    assert sampled[(x < -1) | (x > 8)].min() == 5.0


def test_single_planes_and_voxels() -> None:
    one = np.ones((1, 1, 1), dtype=bool)
    assert connected_parts(one).tolist() == [[[1]]]
    assert dilated(one).all()
    assert smoothed_in_plane(np.full((1, 1, 1), 0.25, np.float32)).item() == 0.25
    # Two voxels that touch by a corner are one part.
    assert connected_parts(np.eye(2, dtype=bool)[None]).max() == 1


def test_an_answer_needs_no_scipy() -> None:
    script = """
import sys
import numpy as np
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.classifier import NoduleClassifier
z, y, x = np.mgrid[:40, :80, :80]
hu = np.where((z - 20) ** 2 + (y - 40) ** 2 + (x - 40) ** 2 < 25, 30, -850).astype(np.int16)
result = NoduleClassifier.load(device="cpu").classify(CTVolume(hu, np.eye(4), "ct"), (40.0, 40.0, 20.0))
assert result.measurement is not None
sys.exit("scipy" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
