"""A synthetic chest CT: drawn, not recorded. It shows no patient and may be shared freely."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.phantom.bones import paint_bones
from CLIPLungLib.phantom.grid import Grid, blend, coverage_of
from CLIPLungLib.phantom.mediastinum import paint_hila, paint_mediastinum
from CLIPLungLib.phantom.trunk import paint_trunk
from CLIPLungLib.phantom.vessels import paint_vessels

NAME = "Synthetic chest"
SHAPE = (200, 300, 384)
SPACING_MM = (1.5, 0.95, 0.95)
# Blur of the scanner (standard deviation) and its noise.
PSF_MM = 0.7
NOISE_HU = 22.0
NOISE_GRAIN_VOXELS = 0.65
LOWEST_HU, HIGHEST_HU = -1024, 3071
TABLE_Y = 126.0
TABLE_HALF_WIDTH_MM = 178.0
# Depth below the table's top and thickness in mm, HU: mattress cover, upper shell, foam, lower shell.
TABLE_LAYERS = ((0.0, 1.2, -800.0), (9.0, 1.6, -150.0), (10.6, 13.4, -945.0), (24.0, 1.6, -250.0))


def synthetic_chest(
    seed: int = 0, shape: tuple[int, int, int] = SHAPE, spacing_mm: tuple[float, float, float] = SPACING_MM
) -> CTVolume:
    """A chest CT drawn from geometry and random numbers. The same arguments give the same voxels.

    Args:
        seed: of the outlines' irregularity, the branching of the vessels, the texture and the noise.
        shape: voxels (K, J, I).
        spacing_mm: distance between slices, rows and columns. The middle of the grid stays at the middle of the chest,
            so a coarser or smaller grid shows the same anatomy.

    Returns:
        int16 HU, 46 MB at the default size, lying on the back, head first. RAS (0, -12, 150) is its middle.
    """
    grid = Grid(shape, spacing_mm)
    rng = np.random.default_rng(seed)
    hu, lobes = paint_trunk(grid, rng)
    paint_hila(hu, grid)
    paint_vessels(hu, grid, lobes, rng)
    paint_mediastinum(hu, grid, rng)
    paint_bones(hu, grid, rng)
    _paint_table(hu, grid)
    return CTVolume(_scan(hu, grid, rng), grid.ijk_to_ras(), NAME, {"origin": f"synthetic, seed {seed}"})


def _paint_table(hu: np.ndarray, grid: Grid) -> None:
    """A thin mattress on a curved shell filled with foam, under the patient from head to foot."""
    x, y = grid.x[None, :], grid.y[:, None]
    top = TABLE_Y - 0.00035 * x**2
    for depth_mm, thickness_mm, value_hu in TABLE_LAYERS:
        inside = np.minimum(
            thickness_mm / 2 - np.abs(y - top - depth_mm - thickness_mm / 2), TABLE_HALF_WIDTH_MM - np.abs(x)
        )
        coverage = coverage_of(inside, grid.edge_mm)
        for plane in hu:
            blend(plane, coverage * (plane < -900.0), value_hu)


def scanner_noise(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Grainy noise in HU, float32, of one slice (J, I) or a stack of slices (K, J, I); slices are independent."""
    grain = [0.0] * (len(shape) - 2) + [NOISE_GRAIN_VOXELS] * 2
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), grain, truncate=3.0, mode="wrap")
    # Smoothing white noise with a Gaussian of s voxels leaves about 1 / (4 pi s^2) of its variance.
    return np.asarray(noise * np.float32(NOISE_HU * NOISE_GRAIN_VOXELS * np.sqrt(4.0 * np.pi)))


def _scan(hu: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """int16 HU after the blur and the noise of a scanner. Changes `hu`."""
    for axis, spacing in enumerate(grid.spacing_mm):
        ndimage.gaussian_filter1d(hu, PSF_MM / spacing, axis=axis, output=hu, mode="nearest", truncate=3.0)
    scanned = np.empty(grid.shape, np.int16)
    for k, plane in enumerate(hu):
        scanned[k] = np.rint(np.clip(plane + scanner_noise(grid.shape[1:], rng), LOWEST_HU, HIGHEST_HU))
    return scanned
