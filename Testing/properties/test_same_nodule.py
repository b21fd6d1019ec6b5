"""The same nodule told in another way has the same answer: axes flipped and swapped, the origin elsewhere, finer voxels."""

from __future__ import annotations

import numpy as np
import pytest
from fuzz.worker import Watch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.classifier import NoduleClassifier
from properties.strategies import examples, signed_permutations

POINT_RAS = (10.3, -20.2, 30.4)
SAME, FINER = 1e-6, 0.03


@pytest.fixture(scope="module")
def classifier():
    """The bundled model."""
    return NoduleClassifier.load(device="cpu")


def chest(spacing_mm: tuple[float, float, float] = (0.8, 0.8, 1.5)) -> CTVolume:
    """Lung of 80 x 80 x 60 mm with a ragged ball of 12 mm, a vessel that touches it, and noise."""
    shape = tuple(round(extent / step) for extent, step in zip((60, 80, 80), spacing_mm[::-1], strict=True))
    matrix = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    matrix[:3, 3] = (50.0, 20.0, 0.0)
    ct = CTVolume(np.full(shape, -850, np.int16), matrix, "chest")
    k, j, i = np.indices(shape)
    ras = ct.to_ras(np.stack([i, j, k], axis=-1))
    distance_mm = np.linalg.norm(ras - (10.0, -20.0, 30.0), axis=-1)
    ragged = 0.6 * np.sin(ras[..., 0] * 1.7) * np.cos(ras[..., 1] * 1.3)
    ct.hu[distance_mm + ragged <= 6.0] = 40
    ct.hu[np.linalg.norm(ras[..., :2] - (16.0, -24.0), axis=-1) <= 2.0] = 30
    ct.hu[:] += np.random.default_rng(0).normal(0, 12, shape).astype(np.int16)
    return ct


@pytest.fixture(scope="module")
def answer(classifier):
    """Of the chest as it is."""
    return classifier.classify(chest(), POINT_RAS)


def in_other_axes(ct: CTVolume, axes: np.ndarray) -> CTVolume:
    """The same voxels at the same places, stored along other axes."""
    order = [int(np.flatnonzero(row)[0]) for row in axes]  # New axis -> old axis, in i, j, k.
    signs = [axes[new, old] for new, old in enumerate(order)]
    hu = ct.hu.transpose([2 - order[2 - axis] for axis in range(3)])  # Arrays count k, j, i.
    hu = hu[tuple(slice(None, None, int(signs[2 - axis])) for axis in range(3))]
    old_of_new = np.eye(4)
    old_of_new[:3, :3] = axes.T
    for new, old in enumerate(order):
        if signs[new] < 0:
            old_of_new[old, 3] = ct.size_ijk[old] - 1
    return CTVolume(hu, ct.ijk_to_ras @ old_of_new, ct.name)


@examples(30)
@given(signed_permutations())
def test_other_axes_hold_the_same_voxels_at_the_same_places(axes):
    ct = CTVolume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), chest((8, 8, 15)).ijk_to_ras)
    other = in_other_axes(ct, axes)
    for k, j, i in np.ndindex(*ct.hu.shape):
        a, b, c = np.rint(other.to_ijk(ct.to_ras([i, j, k]))).astype(int)
        assert other.hu[c, b, a] == ct.hu[k, j, i]


@examples(6)
@given(signed_permutations())
def test_flipped_and_swapped_axes_change_nothing(classifier, answer, axes):
    found = classifier.classify(in_other_axes(chest(), axes), POINT_RAS)
    assert abs(found.malignancy_probability - answer.malignancy_probability) < SAME
    assert found.diameter_mm == pytest.approx(answer.diameter_mm, abs=1e-4)
    np.testing.assert_allclose(found.heatmap, answer.heatmap, atol=1e-3)
    np.testing.assert_allclose(found.heatmap_to_ras, answer.heatmap_to_ras, atol=1e-6)


@examples(5)
@given(st.tuples(*[st.floats(-3000, 3000)] * 3))
def test_the_origin_changes_nothing(classifier, answer, shift_mm):
    ct = chest()
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 3] += shift_mm
    found = classifier.classify(CTVolume(ct.hu, matrix), np.array(POINT_RAS) + shift_mm)
    assert abs(found.malignancy_probability - answer.malignancy_probability) < SAME
    np.testing.assert_allclose(
        np.array(found.heatmap_to_ras)[:3, 3] - shift_mm, answer.heatmap_to_ras[:3, 3], atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["int32", ">i2", "float32", "float64"])
def test_the_type_of_the_numbers_changes_nothing(classifier, answer, dtype):
    ct = chest()
    found = classifier.classify(CTVolume(ct.hu.astype(dtype), ct.ijk_to_ras), POINT_RAS)
    assert found.malignancy_probability == answer.malignancy_probability


@pytest.mark.parametrize("axis", [0, 1, 2, None], ids=["k", "j", "i", "all"])
def test_half_the_spacing_changes_little(classifier, answer, axis):
    """The same field of linear interpolation, sampled twice as densely."""
    ct = chest()
    chosen = [axis is None or axis == each for each in range(3)]
    shape = [2 * n - 1 if is_finer else n for n, is_finer in zip(ct.hu.shape, chosen, strict=True)]
    places = np.stack(
        np.meshgrid(*[np.linspace(0, n - 1, m) for n, m in zip(ct.hu.shape, shape, strict=True)], indexing="ij")
    )
    finer = ndimage.map_coordinates(ct.hu.astype(np.float32), places, order=1, output=np.float32)
    step_ijk = [0.5 if is_finer else 1.0 for is_finer in chosen[::-1]]
    found = classifier.classify(CTVolume(finer, ct.ijk_to_ras @ np.diag([*step_ijk, 1.0])), POINT_RAS)
    assert abs(found.malignancy_probability - answer.malignancy_probability) < FINER


def test_an_answer_uses_no_network_no_other_program_no_pickle_and_no_file(classifier, answer, tmp_path):
    watch = Watch(tmp_path)
    ct = chest()
    watch.is_on = True
    try:
        classifier.classify(ct, POINT_RAS)
    finally:
        watch.is_on = False
    assert watch.seen == []
