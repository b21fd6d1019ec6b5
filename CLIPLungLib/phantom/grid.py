"""The voxel grid of the synthetic chest and the two ways of painting on it: tubes and smooth random fields.

Anatomy is described in `_lps` mm: x to the patient's left, y to the back, z upwards; x = 0 is the midline, z = 0 the first slice
of a default chest. RAS is (-x, -y, z).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import interpolate

# Where the middle of every grid lies, so that coarser or smaller grids show the same chest.
CENTER_LPS = (0.0, 12.0, 150.0)
ArrayLike3 = np.ndarray | tuple[float, float, float]
SPLAT_CHUNK = 4_000_000
THIN_MM = 0.65


@dataclass(frozen=True)
class Grid:
    """Voxel centres of a chest.

    Attributes:
        shape: (K, J, I).
        spacing_mm: distance between slices, rows and columns.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def _axis(self, axis: int, center_mm: float) -> np.ndarray:
        count = self.shape[axis]
        return (center_mm + (np.arange(count) - (count - 1) / 2) * self.spacing_mm[axis]).astype(np.float32)

    @cached_property
    def x(self) -> np.ndarray:
        """(I,) mm to the left of the midline."""
        return self._axis(2, CENTER_LPS[0])

    @cached_property
    def y(self) -> np.ndarray:
        """(J,) mm to the back."""
        return self._axis(1, CENTER_LPS[1])

    @cached_property
    def z(self) -> np.ndarray:
        """(K,) mm upwards."""
        return self._axis(0, CENTER_LPS[2])

    @property
    def edge_mm(self) -> float:
        """Width over which a surface's coverage goes from 0 to 1: one in-plane voxel."""
        return float(self.spacing_mm[2])

    def to_ras(self, point_lps: np.ndarray) -> tuple[float, float, float]:
        """RAS mm of a point in LPS mm."""
        return -float(point_lps[0]), -float(point_lps[1]), float(point_lps[2])

    def ijk_to_ras(self) -> np.ndarray:
        """(4, 4) IJK-to-RAS matrix."""
        matrix = np.diag([-self.spacing_mm[2], -self.spacing_mm[1], self.spacing_mm[0], 1.0])
        matrix[:3, 3] = (-float(self.x[0]), -float(self.y[0]), float(self.z[0]))
        return matrix

    def box(self, low_lps: ArrayLike3, high_lps: ArrayLike3) -> tuple[slice, slice, slice]:
        """Slices (k, j, i) of the voxels between two corners; may be empty."""
        slices = []
        for axis, coordinate in enumerate((2, 1, 0)):
            positions = (self.z, self.y, self.x)[axis]
            first = int(np.searchsorted(positions, low_lps[coordinate]))
            slices.append(slice(first, max(first, int(np.searchsorted(positions, high_lps[coordinate], side="right")))))
        return slices[0], slices[1], slices[2]

    def coordinates(self, box: tuple[slice, slice, slice]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y, z in mm of a box's voxels, shaped to broadcast to (K, J, I)."""
        return self.x[box[2]][None, None, :], self.y[box[1]][None, :, None], self.z[box[0]][:, None, None]


def smooth_path(knots_lps: np.ndarray, step_mm: float) -> np.ndarray:
    """(N, C) points about `step_mm` apart on a smooth curve through (M, C) knots; columns beyond three are interpolated along it."""
    knots = np.asarray(knots_lps, dtype=np.float64)
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots[:, :3], axis=0), axis=1))])
    samples = np.linspace(0.0, arc[-1], max(2, int(np.ceil(arc[-1] / step_mm)) + 1))
    return np.asarray(interpolate.PchipInterpolator(arc, knots)(samples))


def tube_depth(
    grid: Grid,
    points_lps: np.ndarray,
    radius_mm: np.ndarray,
    wide_axis: np.ndarray | None = None,
    wide_ratio: np.ndarray | float = 1.0,
) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """How deep voxels lie inside a tube, as the union of ellipsoids along a path.

    Args:
        grid: the voxels.
        points_lps: (N, 3) path, closer together than the radius.
        radius_mm: (N,) radius.
        wide_axis: (N, 3) unit vectors along which the cross-section is wider than `radius_mm`.
        wide_ratio: how many times wider.

    Returns:
        The box that holds the tube and (K, J, I) float32 depth in mm there: positive inside, limited to -3 outside.
    """
    points = np.asarray(points_lps, dtype=np.float64)
    radii = np.broadcast_to(np.asarray(radius_mm, dtype=np.float64), len(points))
    ratios = np.broadcast_to(np.asarray(wide_ratio, dtype=np.float64), len(points))
    margins = (radii * ratios + 2.0)[:, None]
    box = grid.box((points - margins).min(axis=0), (points + margins).max(axis=0))
    depth = np.full([s.stop - s.start for s in box], -3.0, np.float32)
    for n, (point, radius) in enumerate(zip(points, radii, strict=True)):
        local = grid.box(point - margins[n], point + margins[n])
        x, y, z = (c - p for c, p in zip(grid.coordinates(local), point, strict=True))
        squared = x * x + y * y + z * z
        if wide_axis is not None:
            along = x * wide_axis[n, 0] + y * wide_axis[n, 1] + z * wide_axis[n, 2]
            squared = np.maximum(squared - along * along * (1.0 - 1.0 / ratios[n] ** 2), 0.0)
        view = depth[tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(local, box, strict=True))]
        np.maximum(view, radius - np.sqrt(squared), out=view)
    return box, depth


def blend(hu: np.ndarray, coverage: np.ndarray, value_hu: np.ndarray | float) -> None:
    """Replace a share `coverage` (0..1) of the tissue in every voxel, in place."""
    hu += coverage * (value_hu - hu)


def coverage_of(depth_mm: np.ndarray, edge_mm: float) -> np.ndarray:
    """Share of a voxel (0..1) that lies inside a surface, from the depth of its centre."""
    return np.clip(depth_mm / edge_mm + 0.5, 0.0, 1.0)


def paint_tube(
    hu: np.ndarray, grid: Grid, path_lps: np.ndarray, radius_mm: np.ndarray | float, value_hu: float
) -> None:
    """Fill a tube of one density."""
    radius = np.broadcast_to(np.asarray(radius_mm, dtype=np.float64), len(path_lps))
    box, depth = tube_depth(grid, path_lps, radius)
    blend(hu[box], coverage_of(depth, grid.edge_mm), value_hu)


def splat_spheres(
    hu: np.ndarray, grid: Grid, centers_lps: np.ndarray, radius_mm: np.ndarray, inside_hu: float, outside_hu: float
) -> None:
    """Paint very many small spheres at once. Where they meet what is there, the more extreme density stays: the higher one
    for spheres denser than their surroundings, the lower one for lighter spheres.

    Args:
        hu: (K, J, I) float32, C-contiguous, changed in place.
        grid: its voxels.
        centers_lps: (N, 3).
        radius_mm: (N,).
        inside_hu: density of the spheres.
        outside_hu: density of what surrounds them, for the voxels they fill in part.
    """
    flat = hu.reshape(-1)
    combine = np.maximum if inside_hu > outside_hu else np.minimum
    spacing = np.array(grid.spacing_mm)
    origin = np.array([grid.z[0], grid.y[0], grid.x[0]])
    shape = np.array(grid.shape)
    classes = np.ceil(radius_mm).astype(int)
    for size in np.unique(classes):
        reach = [np.arange(-n, n + 1) for n in np.ceil((size + 0.5) / spacing).astype(int)]
        offsets = np.stack(np.meshgrid(*reach, indexing="ij"), axis=-1).reshape(-1, 3)
        members = np.flatnonzero(classes == size)
        for part in np.array_split(members, len(members) * len(offsets) // SPLAT_CHUNK + 1):
            center = (centers_lps[part][:, ::-1] - origin) / spacing  # (n, 3) in k, j, i
            index = np.rint(center).astype(int)[:, None, :] + offsets
            away_mm = np.linalg.norm((index - center[:, None, :]) * spacing, axis=-1)
            # A tube thinner than a voxel never fills one.
            cover = coverage_of(radius_mm[part, None] - away_mm, grid.edge_mm) * np.minimum(
                1.0, radius_mm[part, None] / THIN_MM
            )
            used = (cover > 0) & ((index >= 0) & (index < shape)).all(axis=-1)
            values = (outside_hu + cover[used] * (inside_hu - outside_hu)).astype(np.float32)
            combine.at(flat, np.ravel_multi_index(tuple(index[used].T), grid.shape), values)


class SmoothField:
    """A random field of mean 0 and about unit spread that varies over `scale_mm`; read slice by slice."""

    def __init__(self, grid: Grid, scale_mm: float | tuple[float, float, float], rng: np.random.Generator) -> None:
        scales = np.broadcast_to(np.asarray(scale_mm, dtype=np.float64), 3)
        self._weights = [_spline_weights(axis, s) for axis, s in zip((grid.z, grid.y, grid.x), scales, strict=True)]
        self._coarse = rng.standard_normal([w.shape[1] for w in self._weights], dtype=np.float32)
        # A cubic B-spline keeps about 0.48 of the variance of its coefficients along each axis.
        self._coarse /= np.float32(0.48**1.5)

    def slice(self, k: int) -> np.ndarray:
        """(J, I) float32."""
        plane = np.tensordot(self._weights[0][k], self._coarse, axes=1)
        return np.asarray(self._weights[1] @ plane @ self._weights[2].T)


def _spline_weights(positions_mm: np.ndarray, scale_mm: float) -> np.ndarray:
    """(N, M) cubic B-spline weights of M coefficients `scale_mm` apart at N positions."""
    where = (positions_mm - positions_mm[0]) / scale_mm
    count = int(np.ceil(where[-1])) + 4
    away = np.abs(where[:, None] - (np.arange(count) - 1.0)[None, :])
    near = 2.0 / 3.0 - away**2 + away**3 / 2.0
    far = np.maximum(2.0 - away, 0.0) ** 3 / 6.0
    return np.asarray(np.where(away < 1.0, near, far).astype(np.float32))
