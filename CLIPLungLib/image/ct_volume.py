"""A CT volume: Hounsfield units and where they lie in the patient.

Arrays are indexed [k, j, i]; vectors named `_ijk` are (i, j, k); `_ras` is patient space in mm (right, anterior, superior).
The swap between the two orders happens in this file only.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.believable_grid import grid_problem
from CLIPLungLib.image.filled_in import carries_noise
from CLIPLungLib.image.hounsfield import hounsfield_problem, sparse_sample
from CLIPLungLib.image.plane_order import order_problem

SHEAR_TOLERANCE = 1e-3
# Wider along two axes than a cut around any nodule.
WHOLE_CHEST_FROM_MM = 150.0
# In voxels; what lies on the border is inside, wherever the origin is and however the sum was rounded.
BORDER_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class CTVolume:
    """Voxels in HU and their place in patient space. Shares the array it is given; never copies it.

    Attributes:
        hu: (K, J, I) real numbers in HU.
        ijk_to_ras: (4, 4) float64; maps voxel centres (i, j, k, 1) to RAS mm.
        name: shown in messages.
        source: free text facts about where it came from (series UID, notes of the reader ...).
        doubtful_k: planes that are missing in the scan or lie off their place; no patch is taken across them.
        patient_id: to notice scans of two patients, where the file says it; told and written nowhere.
    """

    hu: np.ndarray
    ijk_to_ras: np.ndarray
    name: str = "CT"
    source: dict[str, str] = field(default_factory=dict)
    doubtful_k: tuple[int, ...] = ()
    patient_id: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        matrix = np.asarray(self.ijk_to_ras, dtype=np.float64)
        object.__setattr__(self, "ijk_to_ras", matrix)
        self._check_array()
        self._check_matrix()

    def _check_array(self) -> None:
        if self.hu.ndim != 3:
            raise InputError(
                f"'{self.name}' has shape {self.hu.shape}; a CT volume has three axes (slice, row, column). "
                "Colour images and time series cannot be used: choose a plain scalar volume."
            )
        if 0 in self.hu.shape:
            raise InputError(f"'{self.name}' holds no voxels (shape {self.hu.shape}). Load the CT again.")
        if self.hu.dtype.kind not in "iuf":
            raise InputError(f"'{self.name}' holds {self.hu.dtype} values; Hounsfield units must be real numbers.")

    def _check_matrix(self) -> None:
        matrix = self.ijk_to_ras
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InputError(
                f"'{self.name}' has no valid position in space: its IJK-to-RAS matrix is {matrix.tolist()}."
            )
        if not np.allclose(matrix[3], [0.0, 0.0, 0.0, 1.0]):
            raise InputError(
                f"'{self.name}' has a perspective IJK-to-RAS matrix; only rotation, scaling and shift are possible."
            )
        spacing = self.spacing_mm
        if (spacing <= 1e-6).any() or abs(
            np.linalg.det(matrix[:3, :3] / np.where(spacing > 0, spacing, 1.0))
        ) < SHEAR_TOLERANCE:
            raise InputError(
                f"'{self.name}' is flat: two of its axes point the same way or a voxel has no size (spacing {spacing.tolist()} mm)."
            )

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) distance in mm between voxel centres along i, j, k."""
        return np.asarray(np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0))

    @property
    def size_ijk(self) -> np.ndarray:
        """(3,) number of voxels along i, j, k."""
        return np.array(self.hu.shape[::-1])

    @property
    def upward_axis(self) -> int:
        """The axis of the voxels (0 for i, 1 for j, 2 for k) that runs most along the patient."""
        return int(np.argmax(np.abs(self.ijk_to_ras[2, :3]) / self.spacing_mm))

    @cached_property
    def ras_to_ijk(self) -> np.ndarray:
        """(4, 4) inverse of `ijk_to_ras`."""
        return np.linalg.inv(self.ijk_to_ras)

    def to_ijk(self, points_ras: np.ndarray) -> np.ndarray:
        """Continuous voxel coordinates (..., 3) in i, j, k order of RAS points (..., 3) in mm."""
        return _transformed(self.ras_to_ijk, points_ras)

    def to_ras(self, points_ijk: np.ndarray) -> np.ndarray:
        """RAS mm (..., 3) of continuous voxel coordinates (..., 3) in i, j, k order."""
        return _transformed(self.ijk_to_ras, points_ijk)

    def contains_ijk(self, points_ijk: np.ndarray) -> np.ndarray:
        """Whether continuous voxel coordinates (..., 3) fall in the volume; a voxel reaches half a step around its centre."""
        points = np.asarray(points_ijk)
        low, high = -0.5 - BORDER_TOLERANCE, self.size_ijk - 0.5 + BORDER_TOLERANCE
        return np.asarray(((points >= low) & (points <= high)).all(axis=-1))

    def bounds_ras(self) -> np.ndarray:
        """(2, 3) smallest and largest RAS mm of the volume's box."""
        corners = np.stack(np.meshgrid(*[(-0.5, n - 0.5) for n in self.size_ijk], indexing="ij"), axis=-1).reshape(
            -1, 3
        )
        ras = self.to_ras(corners)
        return np.stack([ras.min(axis=0), ras.max(axis=0)])

    def require_ct(self) -> None:
        """Refuse images whose values cannot be Hounsfield units of a chest, whose voxels lie as no scanner lays them, or whose planes are
        out of order. Looks at a sparse sample, once.

        Raises:
            InputError: naming the values found and what to do.
        """
        problem = grid_problem(self.size_ijk, self.ijk_to_ras) or self._hounsfield_problem or self._order_problem
        if problem:
            raise InputError(f"'{self.name}' {problem}")

    @cached_property
    def _hounsfield_problem(self) -> str:
        return hounsfield_problem(sparse_sample(self.hu), self._is_whole)

    @cached_property
    def _order_problem(self) -> str:
        if not self._is_whole or not self.carries_noise:
            return ""
        return order_problem(np.moveaxis(self.hu, 2 - self.upward_axis, 0))

    @property
    def _is_whole(self) -> bool:
        return float(np.sort(self.size_ijk * self.spacing_mm)[1]) > WHOLE_CHEST_FROM_MM

    @cached_property
    def carries_noise(self) -> bool:
        """Whether neighbouring voxels differ, as a scanner's do and those of a drawing do not. Looks at a sparse sample, once."""
        return carries_noise(self.hu)

    def moved(self, parent_to_world: np.ndarray) -> CTVolume:
        """The same voxels under a linear transform (4, 4) that maps this volume's RAS to world RAS."""
        return replace(self, ijk_to_ras=np.asarray(parent_to_world, dtype=np.float64) @ self.ijk_to_ras)

    def __repr__(self) -> str:
        size = "x".join(str(n) for n in self.size_ijk)
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing_mm)
        return f"CTVolume('{self.name}', {size} voxels, {spacing} mm, {self.hu.dtype})"


def _transformed(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 3) under a (4, 4) matrix."""
    return np.asarray(np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3])
