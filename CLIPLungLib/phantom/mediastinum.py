"""Great vessels, oesophagus, trachea and main bronchi: named tubes between the lungs."""

from __future__ import annotations

import numpy as np

from CLIPLungLib.phantom import outline
from CLIPLungLib.phantom.grid import Grid, paint_tube, smooth_path

BLOOD_HU = 42.0
WALL_HU = 45.0
FAT_HU = -80.0
NODE_HU = 38.0
THYROID_HU = 105.0
AIRWAY_HU = -985.0
AIRWAY_WALL_MM = 1.5
STEP_MM = 1.5

# Knots are x, y, z, radius (mm, LPS). Order matters where tubes meet: later ones win.
SOFT_TUBES: tuple[tuple[str, float, tuple[tuple[float, float, float, float], ...]], ...] = (
    ("oesophagus", WALL_HU, ((2, 13, 300, 6), (4, 22, 272, 6.5), (4, 32, 235, 7), (5, 36, 200, 7.5), (6, 33, 160, 8), (10, 30, 120, 8),
                             (18, 18, 92, 8), (38, 2, 74, 9))),
    ("azygos", BLOOD_HU, ((-5, 38, 20, 3), (-8, 42, 90, 3.5), (-9, 43, 160, 4), (-11, 40, 200, 4.5), (-20, 28, 211, 5), (-27, 0, 208, 5.5),
                          (-27, -14, 202, 5.5))),
    ("inferior vena cava", BLOOD_HU, ((-18, 20, 0, 11), (-20, 18, 40, 12), (-21, 8, 80, 13), (-20, -6, 102, 14))),
    ("left atrium", BLOOD_HU, ((-22, 2, 150, 14), (-8, 2, 151, 19), (14, 6, 151, 20), (30, 8, 150, 14))),
    ("right superior vein", BLOOD_HU, ((-14, -4, 156, 9), (-32, -12, 165, 7.5), (-46, -15, 170, 4.6))),
    ("right inferior vein", BLOOD_HU, ((-14, 8, 146, 9), (-32, 14, 142, 7), (-50, 20, 136, 4.6))),
    ("left superior vein", BLOOD_HU, ((22, -4, 158, 9), (38, -12, 168, 7), (52, -15, 175, 4.6))),
    ("left inferior vein", BLOOD_HU, ((24, 12, 147, 9), (40, 19, 143, 7), (54, 26, 137, 4.6))),
    ("pulmonary trunk", BLOOD_HU, ((15, -52, 150, 14), (18, -44, 170, 14.5), (24, -22, 188, 13.5), (36, 0, 195, 11.5), (48, 12, 188, 9), (54, 17, 174, 5.5))),
    ("right pulmonary artery", BLOOD_HU, ((22, -26, 184, 12), (4, -9, 184, 11), (-20, -4, 182, 10.5), (-38, -3, 178, 9), (-47, 1, 166, 7), (-50, 6, 154, 5.5))),
    ("ascending aorta", BLOOD_HU, ((4, -26, 152, 15), (-6, -30, 172, 16), (-11, -27, 200, 15.5), (-7, -22, 215, 15), (5, -9, 226, 14),
                                   (17, 12, 226, 13.5), (24, 32, 214, 13), (26, 41, 196, 12.8))),
    ("descending aorta", BLOOD_HU, ((26, 41, 198, 12.8), (26, 45, 160, 12.5), (21, 43, 120, 12), (13, 39, 80, 11.5), (6, 34, 40, 11), (3, 30, 0, 10.5))),
    ("superior vena cava", BLOOD_HU, ((-20, -18, 150, 10), (-27, -17, 175, 9.5), (-28, -18, 215, 9), (-27, -20, 240, 8.5), (-34, -24, 262, 7.5),
                                      (-52, -26, 276, 6.5), (-90, -20, 288, 6), (-130, 0, 294, 6))),
    ("left brachiocephalic vein", BLOOD_HU, ((-24, -20, 236, 7), (0, -32, 243, 6.5), (24, -28, 254, 6.5), (42, -26, 270, 6.5), (90, -20, 287, 6),
                                             (130, 0, 293, 6))),
    ("brachiocephalic artery", BLOOD_HU, ((-3, -16, 222, 6.5), (-13, -9, 246, 6), (-22, -2, 268, 5.5), (-46, -4, 284, 4.5), (-90, -8, 292, 4),
                                          (-130, 8, 298, 4))),
    ("right carotid artery", BLOOD_HU, ((-16, -6, 256, 4), (-20, -6, 280, 3.8), (-22, -6, 302, 3.6))),
    ("left carotid artery", BLOOD_HU, ((8, -4, 228, 4), (15, -1, 258, 4), (20, -4, 302, 3.8))),
    ("left subclavian artery", BLOOD_HU, ((19, 16, 230, 5), (26, 14, 260, 4.8), (42, 6, 282, 4.5), (90, -6, 291, 4), (130, 10, 297, 4))),
    ("right thyroid", THYROID_HU, ((-13, -3, 284, 4), (-14, -5, 294, 7), (-13, -6, 304, 7))),
    ("left thyroid", THYROID_HU, ((13, -3, 284, 4), (14, -5, 294, 7), (13, -6, 304, 7))),
)  # fmt: skip
HILA = (
    ((-18, 6, 186, 15), (-34, 6, 176, 13.5), (-45, 6, 164, 10), (-50, 10, 150, 6)),
    ((-18, 4, 158, 13), (-34, 6, 152, 10), (-46, 12, 142, 5)),
    ((20, 8, 188, 15), (42, 12, 182, 13.5), (50, 14, 170, 9), (54, 18, 158, 6)),
    ((24, 6, 160, 13), (40, 10, 154, 9), (50, 20, 142, 5)),
)
# Fat-filled grooves of the heart with their coronary arteries, as directions from its middle.
GROOVES_LPS = (
    ((-8, -48, 44), (-38, -34, 14), (-50, -6, -12)),
    ((8, -48, 40), (30, -44, 8), (48, -38, -16)),
    ((38, 8, 46), (48, 28, 12), (42, 34, -12)),
)
GROOVE_RADIUS_MM = 5.0
CORONARY_RADIUS_MM = 1.5
AIRWAYS = (
    ((0, -4, 304, 8.6), (0, 4, 275, 8.8), (0, 13, 240, 8.8), (-1, 19, 206, 9.0), (-2, 20, 200, 8.0)),
    ((-1, 19, 204, 7.6), (-17, 20, 190, 7.2), (-36, 15, 178, 6.4), (-45, 13, 170, 5.6)),
    ((-1, 19, 204, 7.2), (17, 23, 190, 6.4), (38, 21, 176, 6.0), (50, 20, 170, 5.2)),
)  # fmt: skip


def paint_hila(hu: np.ndarray, grid: Grid) -> None:
    """Wrap the roots of the lungs in fat, in place; vessels and bronchi are painted over it."""
    for knots in HILA:
        path = smooth_path(np.array(knots), STEP_MM)
        paint_tube(hu, grid, path[:, :3], path[:, 3], FAT_HU)


def paint_mediastinum(hu: np.ndarray, grid: Grid, rng: np.random.Generator) -> None:
    """Add the tubes to (K, J, I) float32 HU, in place."""
    _paint_nodes(hu, grid, rng)
    _paint_grooves(hu, grid)
    for _, value_hu, knots in SOFT_TUBES:
        path = smooth_path(np.array(knots), STEP_MM)
        paint_tube(hu, grid, path[:, :3], path[:, 3], value_hu)
    paths = [smooth_path(np.array(knots), STEP_MM) for knots in AIRWAYS]
    for path in paths:
        paint_tube(hu, grid, path[:, :3], path[:, 3] + AIRWAY_WALL_MM, WALL_HU)
    for path in paths:
        paint_tube(hu, grid, path[:, :3], path[:, 3], AIRWAY_HU)


def _paint_grooves(hu: np.ndarray, grid: Grid) -> None:
    """Coronary arteries in fat, on the surface of the heart."""
    for directions in GROOVES_LPS:
        path = smooth_path(_on_heart(np.array(directions, dtype=np.float64)), STEP_MM)
        paint_tube(hu, grid, path, GROOVE_RADIUS_MM, FAT_HU)
        paint_tube(hu, grid, path, CORONARY_RADIUS_MM, BLOOD_HU)


def _on_heart(directions: np.ndarray) -> np.ndarray:
    """(N, 3) points where rays from the middle of the heart leave it, by bisection."""
    center = np.array(outline.HEART_CENTER_LPS)
    rays = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    low, high = np.zeros(len(rays)), np.full(len(rays), 120.0)
    for _ in range(20):
        middle = (low + high) / 2
        inside = outline.heart(*(center + rays * middle[:, None]).T) < 0.0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.asarray(center + rays * low[:, None])


def _paint_nodes(hu: np.ndarray, grid: Grid, rng: np.random.Generator) -> None:
    """Small lymph nodes in the fat beside the trachea and under the carina."""
    places = (
        (-16, 4, 222),
        (-17, 8, 210),
        (14, -2, 208),
        (3, 14, 186),
        (-4, 16, 180),
        (10, -40, 205),
        (-2, -40, 222),
        (20, -16, 210),
    )
    for place in places:
        start = np.array(place) + rng.uniform(-3.0, 3.0, 3)
        path = smooth_path(np.stack([start, start + rng.uniform(-4.0, 4.0, 3) + 0.5]), STEP_MM)
        paint_tube(hu, grid, path, rng.uniform(1.8, 3.4), NODE_HU)
