"""Geometry for any volume: where a point lies, what is sampled there, and nothing but refusals for what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec, extract_patch, require_point
from CLIPLungLib.image.resample import sample_hu
from properties.strategies import (
    arrays_hu,
    chests,
    examples,
    ijk_to_ras_matrices,
    points_ijk,
    rotations,
    signed_permutations,
    trilinear,
)

SPEC = PatchSpec(shape=(5, 6, 6), spacing_mm=(2.0, 1.25, 1.0))
ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.complex_numbers(),
        st.binary(max_size=4),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner, inner),
        st.dictionaries(st.text(max_size=2), inner, max_size=2),
    ),
    max_leaves=8,
)


@examples(60)
@given(st.data())
def test_voxels_and_patient_space_are_inverse(data):
    ct = CTVolume(data.draw(arrays_hu()), data.draw(ijk_to_ras_matrices()))
    ijk = data.draw(points_ijk(ct, beyond=500.0))
    np.testing.assert_allclose(ct.to_ijk(ct.to_ras(ijk)), ijk, atol=1e-8)
    ras = ct.to_ras(ijk)
    np.testing.assert_allclose(ct.to_ras(ct.to_ijk(ras)), ras, atol=1e-8)
    np.testing.assert_allclose(ct.to_ras(np.stack([ijk, ijk])), np.stack([ras, ras]), rtol=0, atol=1e-9)


@examples(60)
@given(st.data())
def test_a_volume_reaches_half_a_voxel_around_its_outer_centres(data):
    ct = CTVolume(data.draw(arrays_hu()), data.draw(ijk_to_ras_matrices()))
    ijk = data.draw(points_ijk(ct))
    assert ct.contains_ijk(ct.to_ijk(ct.to_ras(ijk)))
    low, high = ct.bounds_ras()
    assert (low - 1e-6 <= ct.to_ras(ijk)).all()
    assert (ct.to_ras(ijk) <= high + 1e-6).all()
    axis, step = data.draw(st.integers(0, 2)), data.draw(st.floats(1e-5, 1e6))
    for outside in (-0.5 - step, ct.size_ijk[axis] - 0.5 + step):
        beyond = ijk.copy()
        beyond[axis] = outside
        assert not ct.contains_ijk(beyond)


@examples(60)
@given(st.data())
def test_what_lies_on_the_border_is_inside_wherever_the_origin_is(data):
    """The sum of origin and steps is rounded; a plane on the border came and went with the origin."""
    ct = CTVolume(data.draw(arrays_hu()), data.draw(ijk_to_ras_matrices()))
    corner = np.array([data.draw(st.sampled_from((-0.5, n - 0.5))) for n in ct.size_ijk])
    assert ct.contains_ijk(ct.to_ijk(ct.to_ras(corner)))


@examples(60)
@given(st.data())
def test_samples_are_trilinear_for_every_kind_of_number(data):
    ct = CTVolume(data.draw(arrays_hu()), data.draw(ijk_to_ras_matrices()))
    points = np.stack(data.draw(st.lists(points_ijk(ct, beyond=3.0), min_size=1, max_size=6)))
    np.testing.assert_allclose(sample_hu(ct, points), trilinear(ct, points), rtol=0, atol=0.01)


@examples(40)
@given(st.data())
def test_a_patch_holds_the_trilinear_values_of_its_places_in_the_patient(data):
    ct = data.draw(chests())
    point_ras = ct.to_ras(data.draw(points_ijk(ct)))
    try:
        patch = extract_patch(ct, point_ras, SPEC)
    except InputError as refusal:
        # By chance too little of the block is lung, or only lung is near.
        if not any(words in str(refusal) for words in ("lies in air", "does not look like a chest CT")):
            raise
        return
    k, j, i = (axis.ravel() for axis in np.indices(SPEC.shape))
    ras = (patch.ijk_to_ras @ np.stack([i, j, k, np.ones_like(i)]))[:3].T
    np.testing.assert_allclose(patch.hu.ravel(), trilinear(ct, ct.to_ijk(ras)), rtol=0, atol=0.01)
    np.testing.assert_allclose(ras.mean(axis=0), point_ras, atol=1e-6)
    assert patch.inside_fraction == pytest.approx(ct.contains_ijk(ct.to_ijk(ras)).mean(), abs=0.02)
    assert patch.exists[SPEC.shape[0] // 2]


@examples(40)
@given(st.data())
def test_what_is_no_number_counts_only_where_it_is_needed(data):
    """A patch never takes up a NaN, and a NaN beyond the patch changes nothing."""
    ct = data.draw(chests(most=16))
    assume(ct.hu.dtype.kind == "f")
    point_ras = ct.to_ras(data.draw(points_ijk(ct)))
    place = tuple(data.draw(st.integers(0, n - 1)) for n in ct.hu.shape)
    damaged = ct.hu.copy()
    damaged[place] = data.draw(st.sampled_from((np.nan, np.inf, -np.inf)))
    try:
        expected = extract_patch(ct, point_ras, SPEC)
    except InputError:
        return
    try:
        found = extract_patch(CTVolume(damaged, ct.ijk_to_ras), point_ras, SPEC)
    except InputError as refusal:
        if not any(words in str(refusal) for words in ("not numbers", "does not look like a chest CT")):
            raise
        return
    np.testing.assert_array_equal(found.hu, expected.hu)


@examples(60)
@given(st.data())
def test_points_outside_are_refused(data):
    ct = data.draw(chests())
    ijk = data.draw(points_ijk(ct))
    axis = data.draw(st.integers(0, 2))
    ijk[axis] += data.draw(st.sampled_from((-1, 1))) * (ct.size_ijk[axis] + data.draw(st.floats(0.01, 1e9)))
    with pytest.raises(InputError, match="lies outside"):
        extract_patch(ct, ct.to_ras(ijk), SPEC)


@examples(50)
@given(chests(most=3), ANYTHING)
def test_whatever_is_given_as_point_ends_in_a_point_or_a_refusal(ct, anything):
    try:
        point = require_point(ct, anything)
    except InputError as refusal:
        if not any(words in str(refusal) for words in ("lies outside", "three finite coordinates")):
            raise
        return
    assert point.shape == (3,)
    assert ct.contains_ijk(ct.to_ijk(point))


ODD_REALS = st.one_of(
    st.floats(-3, 3),
    st.floats(),
    st.sampled_from((0.0, 1.0, -1.0, 1e-7, 1e-300, 1e300, 1e-30, float("nan"), float("inf"))),
)


@examples(150)
@given(st.data())
def test_any_matrix_is_refused_or_usable(data):
    matrix = np.array(data.draw(st.lists(ODD_REALS, min_size=16, max_size=16))).reshape(4, 4)
    if data.draw(st.booleans()):
        matrix[3] = (0, 0, 0, 1)
    hu = np.full((4, 4, 4), -700, np.int16)
    hu[2] = 30
    try:
        ct = CTVolume(hu, matrix)
        patch = extract_patch(ct, ct.to_ras(np.array([1.0, 2.0, 2.0])), SPEC)
    except InputError:
        return
    assert np.isfinite(patch.hu).all()


@examples(40)
@given(st.data())
def test_flat_volumes_are_refused_and_sheared_ones_are_read_as_they_lie(data):
    turn = data.draw(st.one_of(rotations(), signed_permutations()))
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 2] = matrix[:3, 0] * data.draw(st.floats(-2, 2)) + matrix[:3, 1] * data.draw(st.floats(-2, 2))
    with pytest.raises(InputError, match="is flat"):
        CTVolume(np.zeros((2, 2, 2), np.int16), matrix)
    matrix[:3, 2] += turn[:, 2] * data.draw(st.floats(0.5, 5))
    ct = CTVolume(np.arange(27, dtype=np.int16).reshape(3, 3, 3), matrix)
    for k, j, i in np.ndindex(3, 3, 3):
        ras = matrix[:3, :3] @ (i, j, k)
        assert sample_hu(ct, ct.to_ijk(ras)[None])[0] == pytest.approx(ct.hu[k, j, i], abs=1e-4)


@examples(40)
@given(st.data())
def test_a_volume_under_a_transform_is_sampled_at_the_moved_point(data):
    ct, transform = data.draw(chests()), data.draw(ijk_to_ras_matrices())
    points = ct.to_ras(np.stack([data.draw(points_ijk(ct)) for _ in range(3)]))
    moved = ct.moved(transform)
    moved_points = points @ transform[:3, :3].T + transform[:3, 3]
    np.testing.assert_allclose(
        sample_hu(moved, moved.to_ijk(moved_points)), sample_hu(ct, ct.to_ijk(points)), rtol=0, atol=0.01
    )
