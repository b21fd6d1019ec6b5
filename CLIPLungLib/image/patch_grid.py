"""A patch's grid as it lies in a scan, and the scan's values on it.

Where the axes of both run along each other, as in nearly every CT, the values are interpolated axis by axis. That gives what
`sample_hu` gives, at a small part of the cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from CLIPLungLib.image.ct_volume import BORDER_TOLERANCE, CTVolume
from CLIPLungLib.image.resample import grid_coordinates, hu_box, sample_hu


@dataclass(frozen=True, eq=False)
class AxisLine:
    """Where the voxels of a patch lie along one axis of a scan.

    Attributes:
        patch_axis: the axis of the patch that runs along it: 0 for columns (i), 1 for rows (j), 2 for planes (k).
        positions: continuous voxel coordinates along the scan's axis, one for every voxel of that axis of the patch.
    """

    patch_axis: int
    positions: np.ndarray


@dataclass(frozen=True, eq=False)
class PatchGrid:
    """The voxels of a patch in a scan.

    Attributes:
        ct: the scan.
        patch_to_ras: (4, 4) IJK-to-RAS of the patch.
        shape: (planes, rows, columns) of the patch.
    """

    ct: CTVolume
    patch_to_ras: np.ndarray
    shape: tuple[int, int, int]

    @cached_property
    def lines(self) -> tuple[AxisLine, AxisLine, AxisLine] | None:
        """One for each axis i, j, k of the scan; None where an axis of the patch runs aslant."""
        patch_to_ijk = self.ct.ras_to_ijk @ self.patch_to_ras
        steps, counts = patch_to_ijk[:3, :3], np.array(self.shape[::-1])
        axes = np.abs(steps).argmax(axis=1)
        is_along = np.arange(3) == axes[:, None]  # (scan axis, patch axis)
        aside = (np.abs(steps) * (counts - 1) * ~is_along).sum(axis=1)
        if sorted(axes) != [0, 1, 2] or (aside > BORDER_TOLERANCE).any():
            return None
        i, j, k = (
            AxisLine(int(axis), steps[row, axis] * np.arange(counts[axis]) + patch_to_ijk[row, 3])
            for row, axis in enumerate(axes)
        )
        return i, j, k

    @cached_property
    def _coordinates_ijk(self) -> np.ndarray:
        return grid_coordinates(self.ct, self.patch_to_ras, self.shape)

    def range_along(self, axis: int) -> tuple[float, float]:
        """The lowest and highest continuous voxel that the patch reaches along an axis of the scan (0 for i, 1 for j, 2 for k)."""
        positions = self._coordinates_ijk[..., axis] if self.lines is None else self.lines[axis].positions
        return float(positions.min()), float(positions.max())

    def inside_fraction(self) -> float:
        """Share of the patch's voxels that lie in the scan."""
        if self.lines is None:
            return float(self.ct.contains_ijk(self._coordinates_ijk).mean())
        middle_ijk = (self.ct.size_ijk - 1) / 2
        shares = []
        for axis, line in enumerate(self.lines):
            points = np.tile(middle_ijk, (len(line.positions), 1))
            points[:, axis] = line.positions
            shares.append(self.ct.contains_ijk(points).mean())
        return float(np.prod(shares))

    def hu(self) -> np.ndarray:
        """Trilinear HU (float32) of the patch, by the rules of `sample_hu`.

        Raises:
            InputError: voxels that are not numbers among those needed.
        """
        if self.lines is None:
            return sample_hu(self.ct, self._coordinates_ijk)
        return _interpolated_by_axes(self.ct, self.lines)


def _interpolated_by_axes(ct: CTVolume, lines: tuple[AxisLine, AxisLine, AxisLine]) -> np.ndarray:
    clamped = [np.clip(line.positions, 0.0, size - 1.0) for line, size in zip(lines, ct.size_ijk, strict=True)]
    low_ijk = np.floor([line.min() for line in clamped]).astype(int)
    values = hu_box(ct, low_ijk, np.ceil([line.max() for line in clamped]).astype(int))
    # Planes first: that leaves the fewest values for the axes that are slower to gather along.
    for axis in (2, 1, 0):
        values = _between_neighbours(values, clamped[axis] - low_ijk[axis], 2 - axis)
    # From the order of the scan's axes to planes, rows and columns of the patch.
    scan_axis_of = {line.patch_axis: axis for axis, line in enumerate(lines)}
    turned = values.transpose([2 - scan_axis_of[patch_axis] for patch_axis in (2, 1, 0)])
    return np.ascontiguousarray(turned, dtype=np.float32)


def _between_neighbours(values: np.ndarray, positions: np.ndarray, axis: int) -> np.ndarray:
    """Linear values (float64) at continuous positions along one axis of an array."""
    before = np.floor(positions).astype(int)
    after = np.minimum(before + 1, values.shape[axis] - 1)
    weight = np.expand_dims(positions - before, tuple({0, 1, 2} - {axis}))
    low, high = (values.take(at, axis).astype(np.float64, copy=False) for at in (before, after))
    high -= low
    high *= weight
    high += low
    return np.asarray(high)
