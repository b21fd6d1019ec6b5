"""Everything that is painted slice by slice: the wall, the organs and the lung tissue."""

from __future__ import annotations

import numpy as np

from CLIPLungLib.phantom import outline
from CLIPLungLib.phantom.grid import Grid, SmoothField
from CLIPLungLib.phantom.lungs import lung_outside, paint_lung
from CLIPLungLib.phantom.organs import paint_organs
from CLIPLungLib.phantom.wall import paint_wall

AIR_HU = -1000.0
# The rib cage and all it holds lie within these x and y (mm LPS), so only that part of a slice is computed for them.
INSIDE_LOW_LPS = (-136.0, -100.0, 0.0)
INSIDE_HIGH_LPS = (136.0, 110.0, 0.0)


def paint_trunk(grid: Grid, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The chest without bones, vessels and airways.

    Returns:
        (K, J, I) float32 HU, and (K, J, I) int8 lobes: 0 no lung, 1..3 right upper, middle, lower, 4 and 5 left upper, lower.
    """
    wobbles, muscles, streaks = (
        SmoothField(grid, 34.0, rng),
        SmoothField(grid, (30.0, 14.0, 14.0), rng),
        SmoothField(grid, 6.0, rng),
    )
    coarse, fine = SmoothField(grid, 14.0, rng), SmoothField(grid, 2.6, rng)
    hu = np.full(grid.shape, AIR_HU, np.float32)
    lobes = np.zeros(grid.shape, np.int8)
    inner = grid.box(INSIDE_LOW_LPS, INSIDE_HIGH_LPS)[1:]
    x, y = grid.x[None, inner[1]], grid.y[inner[0], None]
    diaphragm = outline.diaphragm_height(x, y) + 1.5 * wobbles.slice(0)[inner]
    rise_y, rise_x = np.gradient(diaphragm, *grid.spacing_mm[1:])
    steepness = np.sqrt(1.0 + rise_x**2 + rise_y**2)
    for k, z in enumerate(grid.z.tolist()):
        wobble = wobbles.slice(k)
        cage = outline.cage(grid.x[None, :], grid.y[:, None], z) + 0.8 * wobble
        body = outline.body(grid.x[None, :], grid.y[:, None], z) + 1.5 * wobble
        paint_wall(hu[k], grid.x[None, :], grid.y[:, None], z, cage, body, muscles.slice(k), grid.edge_mm)
        cage, wobble, streak = cage[inner], wobble[inner], streaks.slice(k)[inner]
        above = (z - diaphragm) / steepness
        paint_organs(hu[k][inner], x, y, z, cage, above, wobble, streak, grid.edge_mm)
        outside = lung_outside(x, y, z, cage, above, streak)
        if outside.min() < 0.0:
            textures = (wobble, coarse.slice(k)[inner], fine.slice(k)[inner])
            paint_lung(hu[k][inner], lobes[k][inner], x, y, z, outside, *textures, grid.edge_mm)
    return hu, lobes
