"""A noisy block of lung with balls in it: as large to read as a CT of a patient, and drawn in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.write import write_volume

BALL_MM = 5.0
Point = tuple[float, float, float]


def made_up_ct(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] = (1.25, 0.7, 0.7)) -> CTVolume:
    """A volume (K, J, I) of -850 HU with the noise of a scanner, its middle at RAS (0, 0, 0); at every `ball_points` a ball."""
    steps = np.array(spacing_mm[::-1]) * (-1.0, -1.0, 1.0)
    matrix = np.diag([*steps, 1.0])
    matrix[:3, 3] = -steps * (np.array(shape[::-1]) - 1) / 2
    rng = np.random.default_rng(0)
    hu = rng.integers(-900, -800, shape, dtype=np.int16)
    volume = CTVolume(hu, matrix, "made up")
    for point in ball_points(shape, spacing_mm):
        _put_ball(volume, np.array(point))
    return volume


def ball_points(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] = (1.25, 0.7, 0.7)) -> list[Point]:
    """Up to 32 places in the middle plane, RAS mm, 20 mm apart."""
    half_r, half_a = (shape[2] * spacing_mm[2] / 2 - 2 * BALL_MM, shape[1] * spacing_mm[1] / 2 - 2 * BALL_MM)
    across, along = (np.arange(-half // 20 * 20 + 20, half, 20.0) for half in (half_r, half_a))
    return [(float(r), float(a), 0.0) for a in along for r in across][:32]


def _put_ball(volume: CTVolume, point_ras: np.ndarray) -> None:
    middle = np.rint((np.linalg.inv(volume.ijk_to_ras) @ [*point_ras, 1.0])[:3]).astype(int)[::-1]
    reach = np.ceil(BALL_MM / volume.spacing_mm[::-1]).astype(int)
    box = tuple(slice(max(0, m - n), m + n + 1) for m, n in zip(middle, reach, strict=True))
    offset = np.indices(volume.hu[box].shape).T - (middle - [part.start for part in box])
    distance_mm = np.linalg.norm(offset * volume.spacing_mm[::-1], axis=-1).T
    volume.hu[box][distance_mm <= BALL_MM] = 40


def write_made_up_cts(folder: Path, count: int, shape: tuple[int, int, int]) -> list[Path]:
    """The same volume as so many files (packed NRRD)."""
    files = [folder / f"ct{index}.nrrd" for index in range(count)]
    volume = made_up_ct(shape)
    write_volume(volume.hu, volume.ijk_to_ras, files[0])
    for file in files[1:]:
        file.write_bytes(files[0].read_bytes())
    return files
