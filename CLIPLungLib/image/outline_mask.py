"""The outline of one nodule as voxels: a small box of a grid, and where it lies in the patient."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.mask_filters import affine_sampled, signed_distance_mm

# In voxels: how far steps and first voxel of one grid may lie from those of another one that is the same but for rounding.
SAME_GRID, OFF_GRID = 1e-3, 1e-2


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxels of a whole scan: (4, 4) IJK-to-RAS in mm, and how many lie along i, j, k."""

    ijk_to_ras: np.ndarray
    size_ijk: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class OutlineMask:
    """What lies inside an outline.

    Attributes:
        inside: (K, J, I) bool.
        ijk_to_ras: (4, 4) from the box's voxels (i, j, k, 1) to RAS mm.
        grid: of the scan whose voxels these are; None where that is not known.
    """

    inside: np.ndarray
    ijk_to_ras: np.ndarray
    grid: Grid | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing lies inside."""
        return not self.inside.any()

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) distance in mm between voxels along i, j, k."""
        return np.asarray(np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0))

    def cropped(self) -> OutlineMask:
        """The smallest box that holds all that is inside; of an empty mask the first voxel."""
        if self.is_empty:
            return self.part(np.zeros(3, int), np.ones(3, int))
        voxels_kji = np.argwhere(self.inside)
        return self.part(voxels_kji.min(axis=0)[::-1], voxels_kji.max(axis=0)[::-1] + 1)

    def part(self, first_ijk: np.ndarray, end_ijk: np.ndarray) -> OutlineMask:
        """The box from a first voxel (3,) up to, and without, an end (3,)."""
        (i, j, k), (i_end, j_end, k_end) = first_ijk, end_ijk
        return OutlineMask(self.inside[k:k_end, j:j_end, i:i_end], shifted(self.ijk_to_ras, first_ijk), self.grid)

    def centroid_ras(self) -> np.ndarray:
        """(3,) RAS mm, mean of the voxels inside."""
        return np.asarray(self._to_ras(np.argwhere(self.inside)[:, ::-1].mean(axis=0)))

    def middle_ras(self) -> np.ndarray:
        """(3,) RAS mm, the voxel inside that lies nearest to the centroid: within the nodule, also when that is hollow or bent."""
        voxels_ras = self._to_ras(np.argwhere(self.inside)[:, ::-1])
        return np.asarray(voxels_ras[np.linalg.norm(voxels_ras - self.centroid_ras(), axis=1).argmin()])

    def _to_ras(self, points_ijk: np.ndarray) -> np.ndarray:
        return np.asarray(points_ijk @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3])


def shifted(ijk_to_ras: np.ndarray, first_ijk: np.ndarray) -> np.ndarray:
    """(4, 4) of a box of a grid that begins at this voxel (3,)."""
    matrix = np.array(ijk_to_ras, dtype=np.float64)
    matrix[:3, 3] += matrix[:3, :3] @ first_ijk
    return matrix


def first_voxel_ijk(mask: OutlineMask, ijk_to_ras: np.ndarray) -> np.ndarray | None:
    """(3,) the voxel of a grid (4, 4) where the mask's box begins; None where the mask lies on another grid."""
    to_grid = np.linalg.solve(ijk_to_ras, mask.ijk_to_ras)
    first_ijk = np.rint(to_grid[:3, 3])
    turned = np.abs(to_grid[:3, :3] - np.eye(3)).max() > SAME_GRID
    if turned or np.abs(to_grid[:3, 3] - first_ijk).max() > OFF_GRID:
        return None
    return np.asarray(first_ijk, dtype=int)


def on_grid_of(mask: OutlineMask, ct: CTVolume) -> OutlineMask | None:
    """The same outline on the grid of a CT, as the smallest box; None where it lies outside.

    From another grid, its rim is put where the distance to it, interpolated between the voxels, is 0. What is too small to hold the
    centre of a voxel becomes the one voxel nearest to it.
    """
    i, j, k = (int(n) for n in ct.size_ijk)
    found = _on_grid(mask, ct)
    return None if found is None else replace(found, grid=Grid(ct.ijk_to_ras, (i, j, k)))


def _on_grid(mask: OutlineMask, ct: CTVolume) -> OutlineMask | None:
    first_ijk = first_voxel_ijk(mask, ct.ijk_to_ras)
    if first_ijk is not None:
        low = np.maximum(-first_ijk, 0)
        high = np.minimum(ct.size_ijk - first_ijk, mask.inside.shape[::-1])
        inside_ct = mask.part(low, np.maximum(low, high))
        return None if inside_ct.is_empty else inside_ct.cropped()
    return None if mask.is_empty else _resampled(mask.cropped(), ct)


def _resampled(mask: OutlineMask, ct: CTVolume) -> OutlineMask | None:
    corners_ijk = np.stack(np.meshgrid(*[(-1.0, n) for n in mask.inside.shape[::-1]], indexing="ij"), -1).reshape(-1, 3)
    reach_ijk = ct.to_ijk(CTVolume(mask.inside.astype(np.uint8), mask.ijk_to_ras).to_ras(corners_ijk))
    low = np.clip(np.floor(reach_ijk.min(axis=0)), 0, ct.size_ijk).astype(int)
    high = np.clip(np.ceil(reach_ijk.max(axis=0)) + 1, 0, ct.size_ijk).astype(int)
    if (high <= low).any():
        return None
    box_to_ras = shifted(ct.ijk_to_ras, low)
    shape = tuple(int(n) for n in (high - low)[::-1])
    inside = sampled_inside(mask, box_to_ras, shape)
    if not inside.any():
        i, j, k = np.rint(ct.to_ijk(mask.centroid_ras())).astype(int) - low
        if not all(0 <= index < size for index, size in zip((k, j, i), shape, strict=True)):
            return None
        inside[k, j, i] = True
    return OutlineMask(inside, box_to_ras).cropped()


def sampled_inside(mask: OutlineMask, grid_to_ras: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(K, J, I) bool: which voxel centres of another grid lie inside the outline."""
    if mask.is_empty:
        return np.zeros(shape, dtype=bool)
    box = mask.cropped()
    # 0 half way between a voxel inside and its neighbour outside.
    distance_mm = signed_distance_mm(np.pad(box.inside, 1), box.spacing_mm[::-1])
    to_padded = np.linalg.solve(box.ijk_to_ras, grid_to_ras)
    to_padded[:3, 3] += 1.0
    return np.asarray(affine_sampled(distance_mm, to_padded, shape, beyond=1.0) < 0)
