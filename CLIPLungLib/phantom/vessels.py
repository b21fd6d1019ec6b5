"""Arteries, veins and bronchi inside the lungs, grown so that they fill each lobe.

Every lobe gets points spread evenly through it. A vessel that has to reach a set of points runs part of the way to their
middle, splits the set in two, and its two branches do the same. Calibre follows the number of points served (Murray's law).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from CLIPLungLib.phantom.grid import Grid, splat_spheres

BLOOD_HU = 42.0
LUNG_HU = -872.0
BRONCHUS_HU = -960.0
BRONCHUS_WALL_HU = -60.0
TERMINAL_RADIUS_MM = 0.50
MURRAY_POWER = 3.0
# One end point per so much lung: about the size of a secondary lobule.
VOLUME_PER_END_MM3 = 1300.0
# Ends stay away from the pleura and the fissures, so these remain clear, as in life.
CLEARANCE_MM = 3.5
BRONCHUS_LEAST_ARTERY_MM = 1.9
# Radius of a bronchus as a share of its artery's, and thickness of its wall.
BRONCHUS_SHARE = 0.68
BRONCHUS_WALL_MM = 0.6
# Bronchi run above and in front of their arteries.
BRONCHUS_SIDE_LPS = np.array([0.35, -0.55, 0.76])

# Where the vessels of lobes 1..5 (right upper, middle, lower, left upper, lower) enter, mm LPS.
ARTERY_ROOTS = ((-40, -3, 180), (-47, 0, 166), (-50, 6, 155), (46, 8, 190), (54, 17, 175))
VEIN_ROOTS = ((-45, -14, 170), (-44, -15, 167), (-49, 19, 137), (51, -15, 175), (53, 25, 137))
BRONCHUS_ROOTS = ((-36, 15, 178), (-45, 13, 170), (-45, 13, 169), (48, 20, 172), (50, 20, 169))


@dataclass(frozen=True, eq=False)
class Branch:
    """One curved piece of vessel: a quadratic Bezier curve with radii at its ends, in mm LPS."""

    start: np.ndarray
    control: np.ndarray
    end: np.ndarray
    start_radius_mm: float
    end_radius_mm: float

    def sample(self) -> np.ndarray:
        """(N, 4) x, y, z, radius along the curve, closer together than the radius."""
        length = float(np.linalg.norm(self.control - self.start) + np.linalg.norm(self.end - self.control))
        count = max(2, int(length / max(0.35, 0.5 * min(self.start_radius_mm, self.end_radius_mm))))
        t = np.linspace(0.0, 1.0, count)[:, None]
        points = (1 - t) ** 2 * self.start + 2 * t * (1 - t) * self.control + t**2 * self.end
        return np.hstack([points, (1 - t) * self.start_radius_mm + t * self.end_radius_mm])


def paint_vessels(hu: np.ndarray, grid: Grid, lobes: np.ndarray, rng: np.random.Generator) -> None:
    """Add the vessels and bronchi of all lobes to (K, J, I) float32 HU, in place.

    Args:
        hu: the chest.
        grid: its voxels.
        lobes: (K, J, I) int8; 1..5 inside the lobes.
        rng: draws the end points and the irregularity of the branches.
    """
    walls, lumens = [], []
    for lobe in range(1, 6):
        for kind, roots in (("artery", ARTERY_ROOTS), ("vein", VEIN_ROOTS)):
            root = np.array(roots[lobe - 1], dtype=np.float64)
            branches = list(grow(root, _end_points(grid, lobes == lobe, rng), rng))
            tubes = np.concatenate([branch.sample() for branch in branches])
            splat_spheres(hu, grid, tubes[:, :3], tubes[:, 3], BLOOD_HU, LUNG_HU)
            if kind == "artery":
                bronchi = _bronchi(branches, np.array(BRONCHUS_ROOTS[lobe - 1], dtype=np.float64))
                walls.append(bronchi + (0.0, 0.0, 0.0, BRONCHUS_WALL_MM))
                lumens.append(bronchi)
    wall, lumen = np.concatenate(walls), np.concatenate(lumens)
    splat_spheres(hu, grid, wall[:, :3], wall[:, 3], BRONCHUS_WALL_HU, LUNG_HU)
    splat_spheres(hu, grid, lumen[:, :3], lumen[:, 3], BRONCHUS_HU, BRONCHUS_WALL_HU)


def _end_points(grid: Grid, lobe: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, 3) points spread through a lobe, clear of its surface."""
    found = np.flatnonzero(lobe)
    if not len(found):
        return np.zeros((0, 3))
    count = max(8, int(len(found) * np.prod(grid.spacing_mm) / VOLUME_PER_END_MM3))
    # Many more than needed, because some lie too close to the surface and some too close together.
    drawn = rng.choice(found, 6 * count)
    clear = _is_clear(grid, lobe, drawn)
    k, j, i = np.unravel_index(drawn[clear], grid.shape)
    points = np.stack([grid.x[i], grid.y[j], grid.z[k]], axis=1).astype(np.float64)
    return _spread(points, count)


def _is_clear(grid: Grid, lobe: np.ndarray, flat_index: np.ndarray) -> np.ndarray:
    """Whether voxels lie at least `CLEARANCE_MM` from the lobe's surface (looked at along the six axes)."""
    position = np.stack(np.unravel_index(flat_index, grid.shape), axis=1)
    clear = np.ones(len(flat_index), bool)
    for axis, spacing in enumerate(grid.spacing_mm):
        step = np.zeros(3, int)
        step[axis] = max(1, round(CLEARANCE_MM / spacing))
        for moved in (position - step, position + step):
            within = ((moved >= 0) & (moved < grid.shape)).all(axis=1)
            clear &= within & lobe[tuple(np.clip(moved, 0, np.array(grid.shape) - 1).T)]
    return clear


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """About `count` of the points, one per cube of a lattice, which keeps them evenly spaced."""
    if len(points) <= count:
        return points
    cell_mm = VOLUME_PER_END_MM3 ** (1 / 3)
    _, first = np.unique(np.floor(points / cell_mm).astype(int), axis=0, return_index=True)
    return points[np.sort(first)]


def grow(root_lps: np.ndarray, ends_lps: np.ndarray, rng: np.random.Generator) -> Iterator[Branch]:
    """The branches of a tree from a root to every end point (N, 3), largest first."""
    if not len(ends_lps):
        return
    to_lobe = ends_lps.mean(axis=0) - root_lps
    waiting = [(root_lps, to_lobe / np.linalg.norm(to_lobe), ends_lps, _radius(len(ends_lps)))]
    while waiting:
        start, direction, ends, parent_radius = waiting.pop(0)
        middle = ends.mean(axis=0)
        last = len(ends) == 1
        way = (middle - start) * (1.0 if last else rng.uniform(0.26, 0.40))
        length = float(np.linalg.norm(way))
        end = start + way + (0.0 if last else 0.035) * length * rng.standard_normal(3)
        radius = _radius(len(ends))
        begin_radius = min(parent_radius, 1.25 * radius)
        yield Branch(start, start + 0.35 * length * direction, end, begin_radius, radius * (0.75 if last else 1.0))
        if not last:
            onward = end - (start + 0.35 * length * direction)
            onward /= max(float(np.linalg.norm(onward)), 1e-6)
            waiting.extend((end, onward, part, radius) for part in _split(ends, middle - start, rng))


def _radius(ends_served: int) -> float:
    return float(TERMINAL_RADIUS_MM * ends_served ** (1.0 / MURRAY_POWER))


def _split(ends: np.ndarray, heading: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two unequal halves of a set of points, divided across its longest extent."""
    offsets = ends - ends.mean(axis=0)
    # Split across, not along: that gives forks, not beads on a string.
    heading = heading / max(float(np.linalg.norm(heading)), 1e-6)
    sideways = offsets - 0.6 * (offsets @ heading)[:, None] * heading
    _, axes = np.linalg.eigh(sideways.T @ sideways)
    order = np.argsort(sideways @ axes[:, -1], kind="stable")
    # One branch carries on, the other leaves it.
    smaller = int(np.clip(round(len(ends) * rng.uniform(0.2, 0.45)), 1, len(ends) - 1))
    cut = smaller if rng.random() < 0.5 else len(ends) - smaller
    return ends[order[:cut]], ends[order[cut:]]


def _bronchi(arteries: list[Branch], root_lps: np.ndarray) -> np.ndarray:
    """(N, 4) samples of the airways beside the larger arteries, joined to their main bronchus."""
    side = BRONCHUS_SIDE_LPS
    followed = [branch for branch in arteries if branch.end_radius_mm >= BRONCHUS_LEAST_ARTERY_MM]
    parts = []
    for branch in followed:
        path = branch.sample()
        lumen = BRONCHUS_SHARE * path[:, 3]
        parts.append(np.column_stack([path[:, :3] + side * (path[:, 3] + lumen + BRONCHUS_WALL_MM)[:, None], lumen]))
    if parts:
        first = parts[0][0]
        parts.append(Branch(root_lps, (root_lps + first[:3]) / 2, first[:3], first[3] + 0.5, first[3]).sample())
    return np.concatenate(parts) if parts else np.zeros((0, 4))
