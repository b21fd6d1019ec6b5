"""The synthetic chest at two dates: nodules of known size, and the patient lying elsewhere on another scanner."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial.transform import Rotation

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.resample import grid_coordinates, sample_as_stored
from CLIPLungLib.phantom.chest import synthetic_chest

SHAPE, SPACING_MM = (150, 228, 292), (2.0, 1.25, 1.25)
# Free in the lung; in the outer third of it, where vessels are thin; and at the back near the pleura. RAS mm.
PLACES_RAS = {"right": (66.0, 4.0, 222.0), "left": (-80.0, 30.0, 196.0), "low": (72.0, -38.0, 122.0)}
NODULE_HU, EDGE_MM = 35.0, 1.6
CENTER_RAS = np.array([0.0, -12.0, 150.0])
OTHER_SHAPE, OTHER_SPACING_MM = (92, 190, 200), (2.5, 1.4, 1.4)


def empty_chest() -> CTVolume:
    """A chest without nodules, in voxels large enough to be quick."""
    return synthetic_chest(0, SHAPE, SPACING_MM)


def with_balls(chest: CTVolume, diameters_mm: Mapping[str, float]) -> CTVolume:
    """A copy of the chest with a ball of soft tissue at places of PLACES_RAS."""
    hu = chest.hu.astype(np.float32)
    for place, diameter_mm in diameters_mm.items():
        reach = np.full(3, diameter_mm / 2 + 4.0)
        corners = chest.to_ijk(np.array([PLACES_RAS[place] - reach, PLACES_RAS[place] + reach]))
        low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int) + 1
        box = (slice(low[2], high[2]), slice(low[1], high[1]), slice(low[0], high[0]))
        k, j, i = np.mgrid[box]
        away_mm = np.linalg.norm(chest.to_ras(np.stack([i, j, k], axis=-1)) - PLACES_RAS[place], axis=-1)
        cover = np.clip((diameter_mm / 2 - away_mm) / EDGE_MM + 0.5, 0.0, 1.0)
        hu[box] += cover * (np.maximum(NODULE_HU, hu[box]) - hu[box])
    return CTVolume(np.rint(hu).astype(np.int16), chest.ijk_to_ras, chest.name)


def movement(
    degrees: tuple[float, float, float] = (3.0, -2.0, 5.0),
    shift_mm: tuple[float, float, float] = (18.0, -12.0, -45.0),
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """(4, 4) from a place in the first scan to the same place in the second one: turned, shifted, and breathed in by `stretch`."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(stretch)
    matrix[:3, 3] = CENTER_RAS - matrix[:3, :3] @ CENTER_RAS + shift_mm
    return matrix


def moved_place(moved: np.ndarray, place: str) -> np.ndarray:
    """(3,) RAS mm of a place of PLACES_RAS in the second scan."""
    return np.asarray(moved[:3, :3] @ PLACES_RAS[place] + moved[:3, 3])


def scanned_again(
    chest: CTVolume,
    moved: np.ndarray,
    shape: tuple[int, int, int] = OTHER_SHAPE,
    spacing_mm: tuple[float, float, float] = OTHER_SPACING_MM,
    noise_hu: float = 15.0,
    seed: int = 1,
) -> CTVolume:
    """What a scanner with other voxels and another field of view makes of the moved patient, axes along the table."""
    matrix = np.diag([-spacing_mm[2], -spacing_mm[1], spacing_mm[0], 1.0])
    middle = np.array(moved[:3, :3] @ CENTER_RAS + moved[:3, 3])
    matrix[:3, 3] = middle - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    back = np.linalg.inv(moved) @ matrix
    hu = np.empty(shape, np.int16)
    noise = np.random.default_rng(seed)
    for k in range(shape[0]):
        plane = np.eye(4)
        plane[2, 3] = k
        values = sample_as_stored(chest, grid_coordinates(chest, back @ plane, (1, *shape[1:])))[0]
        seen = np.nan_to_num(values, nan=-1000.0) + noise_hu * noise.standard_normal(values.shape)
        hu[k] = np.rint(np.clip(seen, -1024, 3000))
    return CTVolume(hu, matrix, "Earlier chest")
