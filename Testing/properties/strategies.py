"""Volumes, matrices and points for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from CLIPLungLib.image.ct_volume import CTVolume

# Of Hypothesis' default profile, by which the tests count their own.
USUAL_EXAMPLES = 100
LARGEST_ORIGIN_MM = 1500.0


def examples(quick: int) -> settings:
    """So many examples in `make test`; more in the profile "deep"."""
    count = max(1, quick * settings().max_examples // USUAL_EXAMPLES)
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )


def _reals(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, width=64)


@st.composite
def signed_permutations(draw) -> np.ndarray:
    """(3, 3) axes swapped and flipped."""
    order, signs = draw(st.permutations(range(3))), draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3))
    return np.eye(3)[list(order)] * np.array(signs)[:, None]


@st.composite
def rotations(draw) -> np.ndarray:
    """(3, 3) turned by any angle around any axis."""
    w, x, y, z = np.array(draw(st.tuples(*[_reals(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)))
    w, x, y, z = np.array((w, x, y, z)) / np.linalg.norm((w, x, y, z))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@st.composite
def ijk_to_ras_matrices(draw, sheared: bool = True) -> np.ndarray:
    """(4, 4) of a scan: flipped, permuted, oblique, or sheared as under a tilted gantry."""
    turn = draw(
        st.one_of(signed_permutations(), rotations(), rotations().map(lambda turn: turn @ np.diag([1, 1, -1.0])))
    )
    spacing_mm = np.array(draw(st.tuples(_reals(0.3, 2.0), _reals(0.3, 2.0), _reals(0.3, 6.0))))
    shear = np.eye(3)
    if sheared and draw(st.booleans()):
        shear[1, 2] = draw(_reals(-0.6, 0.6))
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ shear @ np.diag(spacing_mm)
    matrix[:3, 3] = draw(st.tuples(*[_reals(-LARGEST_ORIGIN_MM, LARGEST_ORIGIN_MM)] * 3))
    return matrix


DTYPES = ("int16", "uint16", ">i2", "int32", "uint8", "float32", "float64")


@st.composite
def arrays_hu(draw, dtypes=DTYPES, most: int = 14) -> np.ndarray:
    """(K, J, I) numbers over the whole range of their type that HU can have; sometimes a view with another order in memory."""
    shape = draw(st.tuples(*[st.integers(1, most)] * 3))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = (
        (-40_000, 40_000) if dtype.kind == "f" or dtype.itemsize > 2 else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    )
    hu = random.uniform(low, high, shape).astype(dtype)
    if draw(st.booleans()):
        hu = np.asfortranarray(hu)[::-1, :, ::-1]
    return hu


@st.composite
def chests(draw, matrices=None, most: int = 24) -> CTVolume:
    """A small block of lung with denser parts, at any place in space."""
    shape = draw(st.tuples(*[st.integers(1, most)] * 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    hu = random.uniform(-900, -500, shape)
    hu[random.random(shape) < 0.3] = 40
    dtype = draw(st.sampled_from(("int16", ">i2", "int32", "float32", "float64")))
    return CTVolume(hu.astype(dtype), draw(matrices if matrices is not None else ijk_to_ras_matrices()))


def points_ijk(ct: CTVolume, beyond: float = 0.0) -> st.SearchStrategy[np.ndarray]:
    """(3,) continuous voxel coordinates in a volume, or up to `beyond` voxels outside of it."""
    return st.tuples(*[_reals(-0.499 - beyond, n - 0.501 + beyond) for n in ct.size_ijk]).map(np.array)


def trilinear(ct: CTVolume, points: np.ndarray) -> np.ndarray:
    """(N,) HU at continuous i, j, k (N, 3), written out from its definition; beyond the border the border's value; padding is air."""
    found = np.zeros(len(points))
    last = ct.size_ijk - 1
    for n, point in enumerate(points):
        at = np.clip(point, 0.0, last)
        low = np.minimum(np.floor(at).astype(int), np.maximum(last - 1, 0))
        share = at - low
        for corner in np.ndindex(2, 2, 2):
            i, j, k = np.minimum(low + corner, last)
            weight = float(np.prod(np.where(corner, share, 1 - share)))
            if weight:
                found[n] += weight * max(-1024.0, float(ct.hu[k, j, i]))
    return found
