"""The smooth three-dimensional shape of a nodule from a reader's outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import interpolate, ndimage

from CLIPLungLib.lidc.annotations import Contour, Reading
from CLIPLungLib.phantom.outline import smooth_max

GRID_MM = 0.4
MARGIN_MM = 4.0
FAR_MM = 6.0
# Removes the steps between slices and keeps the lobes of the outline.
SMOOTHING_MM = (0.6, 0.3, 0.3)
# The last outline of a nodule is often still wide, but no nodule ends in a flat face: its rim is rounded over this share of
# the greatest depth.
END_ROUNDING = 0.9


@dataclass(frozen=True, eq=False)
class NoduleShape:
    """How deep points lie inside a nodule.

    Attributes:
        depth_mm: (K, J, I) float32, positive inside, on a grid of `GRID_MM` in LPS directions (k up, j to the back, i to the left).
        center_index: (3,) continuous k, j, i of the centre of mass.
    """

    depth_mm: np.ndarray
    center_index: np.ndarray

    @property
    def reach_mm(self) -> float:
        """Largest distance of the surface from the centre."""
        inside = np.argwhere(self.depth_mm > 0)
        return float(np.linalg.norm(inside - self.center_index, axis=1).max() * GRID_MM)

    def depth_at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Depth in mm at offsets from the centre in mm LPS (arrays that broadcast together)."""
        offsets = np.stack(np.broadcast_arrays(z, y, x)).reshape(3, -1) / GRID_MM + self.center_index[:, None]
        depth = ndimage.map_coordinates(self.depth_mm, offsets, order=1, mode="constant", cval=-FAR_MM)
        return np.asarray(depth.reshape(np.broadcast_shapes(x.shape, y.shape, z.shape)))


def nodule_shape(reading: Reading) -> NoduleShape:
    """The shape a reader outlined: filled slice by slice, interpolated between slices by distance to the outline, smoothed."""
    outlines = [
        np.column_stack([contour.points_px * reading.pixel_mm, np.full(len(contour.points_px), contour.z_mm)])
        for contour in reading.contours
    ]
    points = np.concatenate(outlines)
    low, high = points.min(axis=0) - MARGIN_MM, points.max(axis=0) + MARGIN_MM
    x, y, z = (np.arange(first, last + GRID_MM, GRID_MM) for first, last in zip(low, high, strict=True))
    flat = _depth(reading, x, y, z)
    to_end_mm = _to_end(reading, z)[:, None, None]
    rounded = -smooth_max(-flat, -to_end_mm, END_ROUNDING * float(np.minimum(flat, to_end_mm).max()))
    depth = ndimage.gaussian_filter(rounded, np.array(SMOOTHING_MM) / GRID_MM)
    # Rounding and smoothing take tissue away; moving the surface outwards gives back the volume that was outlined.
    outlined_share = (np.minimum(flat, to_end_mm) > 0).mean()
    depth = np.clip(depth - np.quantile(depth, 1.0 - outlined_share), -FAR_MM, FAR_MM).astype(np.float32)
    return NoduleShape(depth, np.array(ndimage.center_of_mass(depth > 0)))


def _depth(reading: Reading, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(K, J, I) depth in mm inside the outlines, interpolated between slices; the end slices are continued without end."""
    heights = sorted({contour.z_mm for contour in reading.contours})
    slices = [
        _slice_depth([c for c in reading.contours if c.z_mm == height], reading.pixel_mm, x, y) for height in heights
    ]
    stack = np.stack(slices)
    if len(heights) > 1:
        stack = interpolate.interp1d(heights, stack, axis=0)(np.clip(z, heights[0], heights[-1]))
    return np.broadcast_to(stack, (len(z), len(y), len(x)))


def _to_end(reading: Reading, z: np.ndarray) -> np.ndarray:
    """(K,) mm to the nearer end of the nodule, which lies half a slice beyond the first and the last outline."""
    heights = np.unique([contour.z_mm for contour in reading.contours])
    half_step = float(np.min(np.diff(heights))) / 2 if len(heights) > 1 else reading.pixel_mm / 2
    return np.asarray(np.minimum(z - heights[0], heights[-1] - z) + half_step)


def _slice_depth(contours: Sequence[Contour], pixel_mm: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(J, I) depth in mm inside the outlines of one slice."""
    inside = np.zeros((len(y), len(x)), bool)
    for contour in sorted(contours, key=lambda c: not c.includes):
        filled = _fill(contour.points_px * pixel_mm, x, y)
        inside = inside | filled if contour.includes else inside & ~filled
    depth = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    return np.asarray(np.clip((depth - np.sign(depth) * 0.5) * GRID_MM, -FAR_MM, FAR_MM))


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
