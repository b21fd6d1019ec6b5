"""The skeleton of the chest: vertebrae, ribs with their cartilage, sternum, scapulae, clavicles."""

from __future__ import annotations

import numpy as np

from CLIPLungLib.phantom import outline
from CLIPLungLib.phantom.grid import Grid, blend, coverage_of, smooth_path, tube_depth

CORTEX_HU = 900.0
MARROW_HU = 150.0
CARTILAGE_HU = 105.0
DISC_HU = 85.0
CORD_HU = 38.0
CORTEX_MM = 1.1
STEP_MM = 1.5

# Middle of the vertebral bodies T1 .. L1.
VERTEBRA_Z = (286.0, 266.5, 246.0, 225.5, 204.0, 182.0, 160.0, 137.0, 114.0, 90.0, 64.5, 38.0, 10.0)
RIB_DROP_MM = (24.0, 40.0, 52.0, 60.0, 66.0, 70.0, 74.0, 72.0, 66.0, 56.0, 40.0, 28.0)
RIB_END_DEG = (142.0, 150.0, 152.0, 152.0, 150.0, 148.0, 144.0, 132.0, 120.0, 106.0, 82.0, 56.0)
RIBS_REACHING_STERNUM = 7
# Sternum: height, half-width and half-thickness in mm, from the notch to the tip.
STERNUM = ((258.0, 26.0, 6.5), (250.0, 29.0, 7.0), (236.0, 23.0, 6.0), (222.0, 17.0, 5.5), (205.0, 16.0, 5.0),
           (150.0, 19.0, 5.0), (122.0, 17.0, 4.5), (110.0, 9.0, 3.5), (96.0, 5.0, 2.5))  # fmt: skip


def paint_bones(hu: np.ndarray, grid: Grid, rng: np.random.Generator) -> None:
    """Add the skeleton to (K, J, I) float32 HU, in place."""
    for sign in (-1.0, 1.0):
        for number in range(len(RIB_DROP_MM)):
            _paint_rib(hu, grid, number, sign, rng)
        _paint_scapula(hu, grid, sign)
        _paint_clavicle(hu, grid, sign)
    _paint_sternum(hu, grid)
    for number in range(len(VERTEBRA_Z)):
        _paint_vertebra(hu, grid, number, rng)


def _bone(
    hu: np.ndarray, grid: Grid, box: tuple[slice, slice, slice], depth: np.ndarray, rng: np.random.Generator | None = None,
    cortex_mm: float = CORTEX_MM,
) -> None:  # fmt: skip
    """Fill a shape with marrow inside a shell of cortex."""
    inner = np.clip((depth - cortex_mm) / grid.edge_mm + 0.5, 0.0, 1.0)
    marrow = MARROW_HU if rng is None else MARROW_HU + 45.0 * rng.standard_normal(depth.shape, dtype=np.float32)
    blend(hu[box], coverage_of(depth, grid.edge_mm), CORTEX_HU + inner * (marrow - CORTEX_HU))


def _rib_path(number: int, sign: float) -> np.ndarray:
    """(N, 3) from the vertebra to the cartilage."""
    z_head = VERTEBRA_Z[number] + 6.0
    angle = np.radians(np.linspace(19.0, RIB_END_DEG[number], 40))
    run = np.clip((angle - angle[0]) / np.radians(130.0), 0.0, None)
    reach = np.radians(RIB_END_DEG[number] - 19.0) / np.radians(130.0)
    z = z_head - 4.0 - RIB_DROP_MM[number] * (run / reach) ** 1.15
    x, y = outline.cage_point(angle, z, 5.6)
    spine = outline.spine_y(z_head)
    head = np.array([[19.0, spine + 8.0, z_head], [26.0, spine + 19.0, z_head - 1.0]])
    around = np.stack([x, y, z], axis=1)
    path = np.concatenate([head, around]) * (sign, 1.0, 1.0)
    return smooth_path(path, STEP_MM)


def _paint_rib(hu: np.ndarray, grid: Grid, number: int, sign: float, rng: np.random.Generator) -> None:
    path = _rib_path(number, sign)
    tangent = np.gradient(path, axis=0)
    outward = path - np.stack(
        [np.zeros(len(path)), outline.along_z(outline.Z_KNOTS, outline.CAGE_CENTER_Y, path[:, 2]), path[:, 2]], 1
    )
    height = np.cross(tangent, outward)  # along the rib's height, in the chest wall
    height /= np.linalg.norm(height, axis=1, keepdims=True)
    run = np.linspace(0.0, 1.0, len(path))
    thickness = 4.2 + 0.8 * np.exp(-(((run - 0.12) / 0.15) ** 2)) - (0.6 if number >= 10 else 0.0)
    ratio = (1.55 if number else 1.9) + 0.35 * run
    box, depth = tube_depth(grid, path, thickness, height, ratio)
    _bone(hu, grid, box, depth, rng)
    if number < RIBS_REACHING_STERNUM:
        _paint_cartilage(hu, grid, path[-1], number, sign)


def _paint_cartilage(hu: np.ndarray, grid: Grid, rib_end: np.ndarray, number: int, sign: float) -> None:
    """From a rib's front end to the edge of the sternum."""
    z = (248.0, 224.0, 203.0, 178.0, 155.0, 134.0, 118.0)[number]
    target = np.array([sign * (_sternum_half_width(z) + 1.0), _sternum_y(z), z])
    middle_z = min(rib_end[2], z) * 0.7 + z * 0.3
    x, y = outline.cage_point(np.radians(163.0), np.array(middle_z), 6.0)
    path = smooth_path(np.array([rib_end, [sign * float(x), float(y), middle_z], target]), STEP_MM)
    radius = np.full(len(path), 4.6)
    box, depth = tube_depth(grid, path, radius)
    blend(hu[box], coverage_of(depth, grid.edge_mm), CARTILAGE_HU)


def _sternum_y(z: float) -> float:
    _, y = outline.cage_point(np.array(np.pi), np.array(z), 7.5)
    return float(y)


def _sternum_half_width(z: float) -> float:
    rows = np.array(STERNUM)[::-1]
    return float(np.interp(z, rows[:, 0], rows[:, 1]))


def _paint_sternum(hu: np.ndarray, grid: Grid) -> None:
    rows = np.array([[0.0, _sternum_y(z), z, half_width, thick] for z, half_width, thick in STERNUM])
    path = smooth_path(rows, STEP_MM)
    wide = np.tile([1.0, 0.0, 0.0], (len(path), 1))
    box, depth = tube_depth(grid, path[:, :3], path[:, 4], wide, path[:, 3] / path[:, 4])
    _bone(hu, grid, box, depth, cortex_mm=0.9)


def _paint_clavicle(hu: np.ndarray, grid: Grid, sign: float) -> None:
    """A flat S from the sternal notch to the shoulder."""
    knots = np.array(
        [[20, -36, 262, 8.5], [38, -46, 266, 6.5], [66, -44, 274, 5.5], [100, -20, 284, 5.5], [132, 6, 290, 5.5]]
    )
    path = smooth_path(knots * (sign, 1.0, 1.0, 1.0), STEP_MM)
    _bone(hu, grid, *tube_depth(grid, path[:, :3], path[:, 3]), cortex_mm=1.8)


def _paint_scapula(hu: np.ndarray, grid: Grid, sign: float) -> None:
    """A thin triangular plate behind the ribs with a thick outer border, its spine, and the joint with the arm."""
    points = []
    for z in np.arange(150.0, 262.0, 2.0):
        rise = (z - 150.0) / 112.0
        first, last = 46.0 - 10.0 * rise, 52.0 + 38.0 * min(1.0, 1.5 * rise)
        angle = np.radians(np.arange(first, last, 1.0))
        across = np.linspace(0.0, 1.0, len(angle))
        x, y = outline.cage_point(angle, np.full(len(angle), z), 21.0 + 8.0 * rise)
        radius = 1.7 + 0.8 * (across < 0.08) + 3.2 * np.clip((across - 0.82) / 0.18, 0.0, 1.0)
        points.append(np.stack([sign * x, y - 3.0 * np.sin(np.pi * across), np.full(len(angle), z), radius], axis=1))
    plate = np.concatenate(points)
    _bone(hu, grid, *tube_depth(grid, plate[:, :3], plate[:, 3]), cortex_mm=1.2)
    ridge = np.array(
        [[84, 100, 236, 3.0], [104, 98, 248, 4.0], [126, 84, 262, 5.0], [142, 62, 272, 6.0], [148, 42, 278, 6.0]]
    )
    neck = np.array([[112, 62, 252, 6.0], [124, 46, 260, 9.0], [128, 40, 262, 12.0]])
    for knots in (ridge, neck):
        path = smooth_path(knots * (sign, 1.0, 1.0, 1.0), STEP_MM)
        _bone(hu, grid, *tube_depth(grid, path[:, :3], path[:, 3]), cortex_mm=1.5)


def _paint_vertebra(hu: np.ndarray, grid: Grid, number: int, rng: np.random.Generator) -> None:
    """Body with discs, arch with canal, transverse processes and spinous process."""
    z_middle = VERTEBRA_Z[number]
    y_middle = outline.spine_y(z_middle)
    growth = number / (len(VERTEBRA_Z) - 1)
    half_x, half_y, half_z = 14.5 + 6.5 * growth, 10.0 + 5.0 * growth, 8.2 + 4.6 * growth
    box = grid.box(
        np.array([-45.0, y_middle - 20.0, z_middle - 36.0]), np.array([45.0, y_middle + 75.0, z_middle + 18.0])
    )
    x, y, z = grid.coordinates(box)
    # Each level follows the curve of the spine.
    dx, dy, dz = x, y - outline.along_z(outline.Z_KNOTS, outline.SPINE_Y, z).astype(np.float32), z - z_middle
    waist = 1.6 * (1.0 - (dz / half_z) ** 2).clip(0.0, 1.0)
    hollow = 2.2 * np.exp(-((dx / 7.0) ** 2)) * (dy > 0)
    depth_xy = -outline.superellipse(dx, dy, half_x, half_y, 2.5) - waist - hollow
    _paint_disc(hu[box], grid, depth_xy - 0.8, dz, half_z)
    body = np.minimum(depth_xy, half_z - np.abs(dz))
    arch = _arch_depth(dx, dy, dz, half_x, half_y, growth)
    _bone(hu, grid, box, body, rng, cortex_mm=0.9)
    _bone(hu, grid, box, arch, rng)
    canal = 8.6 - np.hypot(dx * 0.92, dy - half_y - 7.4)
    inside = np.minimum(canal, half_z + 3.5 - np.abs(dz))
    blend(hu[box], coverage_of(inside, grid.edge_mm), -40.0)
    cord = np.minimum(4.6 - np.hypot(dx * 0.85, dy - half_y - 7.4), half_z + 3.5 - np.abs(dz))
    blend(hu[box], coverage_of(cord + 1.6, grid.edge_mm), CORD_HU)


def _paint_disc(hu: np.ndarray, grid: Grid, depth_xy: np.ndarray, dz: np.ndarray, half_z: float) -> None:
    """The disc below a vertebral body."""
    depth = np.minimum(depth_xy, np.minimum(-dz - half_z + 0.5, dz + half_z + 6.0))
    blend(hu, coverage_of(depth, grid.edge_mm), DISC_HU)


def _arch_depth(
    dx: np.ndarray, dy: np.ndarray, dz: np.ndarray, half_x: float, half_y: float, growth: float
) -> np.ndarray:
    """Depth inside pedicles, laminae and processes of one vertebra."""
    side = np.abs(dx)
    droop = 20.0 * np.sin(np.pi * np.clip(growth * 1.1, 0.0, 1.0)) + 4.0
    parts = (
        ((half_x * 0.62, half_y - 4.0, 2.0), (11.5, half_y + 9.0, 2.0), 3.6),  # pedicle
        ((11.5, half_y + 10.0, 0.0), (1.0, half_y + 18.5, -5.0), 3.2),  # lamina
        ((12.0, half_y + 10.0, 1.0), (31.0 - 7.0 * growth, half_y + 20.0, 0.0), 3.8),  # transverse process
        ((12.0, half_y + 11.0, 8.0), (11.0, half_y + 13.0, -12.0), 3.4),  # joint with the next vertebra
        ((0.0, half_y + 19.0, -4.0), (0.0, half_y + 37.0, -6.0 - droop), 3.0),  # spinous process
    )
    depth = np.full(np.broadcast_shapes(dx.shape, dy.shape, dz.shape), -3.0, np.float32)
    for start, end, radius in parts:
        np.maximum(depth, radius - _segment_distance(side, dy, dz, start, end), out=depth)
    return depth


def _segment_distance(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, start: tuple[float, float, float], end: tuple[float, float, float]
) -> np.ndarray:
    """Distance in mm to a straight segment."""
    sx, sy, sz = start
    ex, ey, ez = (e - s for e, s in zip(end, start, strict=True))
    along = ((x - sx) * ex + (y - sy) * ey + (z - sz) * ez) / (ex * ex + ey * ey + ez * ez)
    along = np.clip(along, 0.0, 1.0)
    return np.sqrt((x - sx - along * ex) ** 2 + (y - sy - along * ey) ** 2 + (z - sz - along * ez) ** 2)
