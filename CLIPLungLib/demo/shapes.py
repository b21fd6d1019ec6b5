"""Smooth three-dimensional nodule shapes from readers' outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import interpolate, ndimage

from CLIPLungLib.demo.annotations import Contour, Reading

GRID_MM = 0.4
MARGIN_MM = 4.0
# Beyond this a distance says no more; it keeps one reader's outlier from bending the mean of all.
FAR_MM = 6.0


@dataclass(frozen=True, eq=False)
class NoduleShape:
    """How deep points lie inside a nodule.

    Attributes:
        depth_mm: (K, J, I) float32, positive inside, on a grid of `GRID_MM` in LPS directions (k up, j to the back, i to the left).
        center_index: (3,) continuous k, j, i of the centre of mass.
        diameter_mm: mean over the readers of the longest diameter in a slice.
        ratings: mean over the readers per rating.
    """

    depth_mm: np.ndarray
    center_index: np.ndarray
    diameter_mm: float
    ratings: dict[str, float]

    @property
    def reach_mm(self) -> float:
        """Largest distance of the surface from the centre."""
        inside = np.argwhere(self.depth_mm > 0)
        return float(np.linalg.norm(inside - self.center_index, axis=1).max() * GRID_MM)

    def depth_at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Depth in mm at offsets from the centre in mm LPS (arrays that broadcast together)."""
        offsets = np.stack(np.broadcast_arrays(z, y, x)).reshape(3, -1) / GRID_MM + self.center_index[:, None]
        depth = ndimage.map_coordinates(self.depth_mm, offsets, order=1, mode="constant", cval=-FAR_MM)
        return depth.reshape(np.broadcast_shapes(x.shape, y.shape, z.shape))


def consensus_shape(readings: Sequence[Reading]) -> NoduleShape:
    """The mean of several readers' shapes of one nodule (of one scan)."""
    pixel_mm = readings[0].pixel_mm
    low, high = _bounds(readings)
    axes = [np.arange(a, b + GRID_MM, GRID_MM) for a, b in zip(low, high, strict=True)]  # x, y, z in mm
    depth = np.mean([_reader_depth(reading, *axes) for reading in readings], axis=0)
    # Outlines run along the first pixels outside, so the surface lies half a pixel inside them.
    depth = ndimage.gaussian_filter(depth - pixel_mm / 2, 1.0).astype(np.float32)
    center = np.array(ndimage.center_of_mass(depth > 0))
    names = readings[0].ratings
    ratings = {name: float(np.mean([reading.ratings[name] for reading in readings])) for name in names}
    return NoduleShape(depth, center, float(np.mean([reading.diameter_mm for reading in readings])), ratings)


def _bounds(readings: Sequence[Reading]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest x, y, z in mm of all outlines, with a margin."""
    points = [
        np.column_stack([c.points_px * r.pixel_mm, np.full(len(c.points_px), c.z_mm)]) for r in readings for c in r.contours
    ]
    every = np.concatenate(points)
    return every.min(axis=0) - MARGIN_MM, every.max(axis=0) + MARGIN_MM


def _reader_depth(reading: Reading, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(K, J, I) depth inside one reader's outlines: exact in the outlined slices, interpolated between them."""
    heights = sorted({contour.z_mm for contour in reading.contours})
    slices = [_slice_depth([c for c in reading.contours if c.z_mm == height], reading.pixel_mm, x, y) for height in heights]
    step = float(np.min(np.diff(heights))) if len(heights) > 1 else float(reading.pixel_mm)
    # Above and below, the outline shrinks to nothing half a slice further on.
    caps = [np.clip(edge - 2.0 * max(float(edge.max()), 0.1), -FAR_MM, FAR_MM) for edge in (slices[0], slices[-1])]
    stack = np.stack([caps[0], *slices, caps[1]])
    levels = [heights[0] - step, *heights, heights[-1] + step]
    inside_levels = np.clip(z, levels[0], levels[-1])
    depth = interpolate.interp1d(levels, stack, axis=0)(inside_levels)
    beyond = np.abs(z - inside_levels)
    return np.maximum(depth - beyond[:, None, None], -FAR_MM)


def _slice_depth(contours: Sequence[Contour], pixel_mm: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(J, I) depth in mm inside the outlines of one slice."""
    inside = np.zeros((len(y), len(x)), bool)
    for contour in sorted(contours, key=lambda c: not c.includes):
        filled = _fill(contour.points_px * pixel_mm, x, y)
        inside = inside | filled if contour.includes else inside & ~filled
    depth = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    return np.clip((depth - np.sign(depth) * 0.5) * GRID_MM, -FAR_MM, FAR_MM)


def _fill(points_mm: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(J, I) which grid points lie in a polygon (N, 2), by the even-odd rule."""
    inside = np.zeros((len(y), len(x)), bool)
    for (x0, y0), (x1, y1) in zip(points_mm, np.roll(points_mm, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        rows = (y0 > y) != (y1 > y)
        crossing_x = x0 + (y[rows] - y0) * (x1 - x0) / (y1 - y0)
        inside[rows] ^= x[None, :] < crossing_x[:, None]
    return inside
