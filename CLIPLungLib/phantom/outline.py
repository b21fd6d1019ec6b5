"""Where the large surfaces of the chest lie: skin, rib cage, spine, apices, mediastinum, diaphragm.

Surfaces are signed distances in mm, negative inside. Lengths were set by hand to the proportions of an adult chest;
none is taken from a patient.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import interpolate

Z_KNOTS = (0, 40, 80, 120, 160, 200, 230, 255, 275, 300)
CAGE_HALF_WIDTH = (119, 125, 128, 126, 122, 114, 101, 84, 66, 52)
CAGE_HALF_DEPTH = (88, 91, 93, 93, 90, 83, 73, 61, 50, 42)
CAGE_CENTER_Y = (0, 0, 0, 0, 2, 6, 12, 18, 22, 24)
BODY_HALF_WIDTH = (155, 157, 158, 158, 160, 164, 167, 169, 168, 160)
BODY_HALF_DEPTH = (113, 116, 118, 118, 116, 110, 102, 92, 81, 70)
BODY_CENTER_Y = (4, 4, 4, 4, 5, 8, 13, 18, 21, 22)
SPINE_Y = (47, 52, 56, 58, 58, 54, 47, 39, 33, 26)

MEDIASTINUM_Z = (140, 165, 185, 205, 225, 245, 262, 280, 300)
MEDIASTINUM_Y = (-18, -16, -15, -13, -9, -3, 4, 10, 10)
MEDIASTINUM_HALF_WIDTH = (24, 28, 27, 25, 25, 27, 30, 36, 45)
MEDIASTINUM_HALF_DEPTH = (34, 40, 42, 42, 40, 38, 40, 44, 50)

# Height of the highest lung tissue and the level below which the apical dome no longer narrows the lung.
APEX_Z = {"right": 276.0, "left": 279.0}
APEX_BASE_Z = 185.0

HEART_CENTER_LPS = (18.0, -42.0, 120.0)
HEART_FLOOR_Z = 106.0
HEART_FLATNESS = 0.75
HEART_AXIS_LPS = (0.74, -0.44, -0.51)
HEART_HALF_AXES_MM = (63.0, 47.0)
RIGHT_ATRIUM_CENTER_LPS = (-19.0, -28.0, 124.0)
RIGHT_ATRIUM_HALF_AXES_MM = (30.0, 34.0, 42.0)

# Domes of the diaphragm: x and y of the top, its height, and reach to the right, left, front and back.
RIGHT_DOME = (-54.0, -12.0, 103.0, (72.0, 105.0), (92.0, 98.0))
LEFT_DOME = (60.0, -6.0, 90.0, (110.0, 66.0), (84.0, 92.0))
DOME_DROP_MM = 66.0


@cache
def _curve(z_knots: tuple[float, ...], values: tuple[float, ...]) -> interpolate.PchipInterpolator:
    return interpolate.PchipInterpolator(z_knots, values)


def along_z(z_knots: tuple[float, ...], values: tuple[float, ...], z: np.ndarray) -> np.ndarray:
    """Smooth table values at heights z; constant beyond the table's ends."""
    return np.asarray(_curve(z_knots, values)(np.clip(z, z_knots[0], z_knots[-1])))


def at_height(z_knots: tuple[float, ...], values: tuple[float, ...], z: float) -> float:
    """`along_z` for one height, as a plain number (which keeps float32 arithmetic in float32)."""
    return float(along_z(z_knots, values, np.array(z)))


def superellipse(x: np.ndarray, y: np.ndarray, half_x: float, half_y: float, power: float = 2.4) -> np.ndarray:
    """Approximate signed distance to a rounded box centred at 0."""
    level = (np.abs(x / half_x) ** power + np.abs(y / half_y) ** power) ** (1.0 / power)
    return np.asarray((level - 1.0) * np.hypot(x, y) / np.maximum(level, 1e-3))


def ellipsoid(x: np.ndarray, y: np.ndarray, z: np.ndarray | float, half_axes: tuple[float, float, float]) -> np.ndarray:
    """Approximate signed distance to an ellipsoid centred at 0."""
    a, b, c = half_axes
    level = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
    slope = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2 + (z / c**2) ** 2)
    return level * (level - 1.0) / np.maximum(slope, 1e-4)


def smooth_max(a: np.ndarray, b: np.ndarray, round_mm: np.ndarray | float) -> np.ndarray:
    """The larger of two distances (intersection of two shapes), with corners rounded over `round_mm`."""
    blend = np.maximum(round_mm - np.abs(a - b), 0.0) / round_mm
    return np.asarray(np.maximum(a, b) + blend * blend * (round_mm * 0.25))


def smooth_min(a: np.ndarray, b: np.ndarray, round_mm: np.ndarray | float) -> np.ndarray:
    """The smaller of two distances (union of two shapes), with creases filled over `round_mm`."""
    return -smooth_max(-a, -b, round_mm)


def body(x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
    """Skin."""
    from_center = y - at_height(Z_KNOTS, BODY_CENTER_Y, z)
    furrow_mm = 5.0 * np.exp(-((x / 14.0) ** 2)) * (from_center > 0)
    half_x, half_y = at_height(Z_KNOTS, BODY_HALF_WIDTH, z), at_height(Z_KNOTS, BODY_HALF_DEPTH, z)
    return superellipse(x, from_center, half_x, half_y, 2.35) + furrow_mm


def cage(x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
    """Inner surface of the rib cage."""
    half_x, half_y = at_height(Z_KNOTS, CAGE_HALF_WIDTH, z), at_height(Z_KNOTS, CAGE_HALF_DEPTH, z)
    return superellipse(x, y - at_height(Z_KNOTS, CAGE_CENTER_Y, z), half_x, half_y)


def cage_point(angle: np.ndarray, z: np.ndarray, offset_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """x, y outside the rib cage by `offset_mm`; angle 0 is the back, pi / 2 the patient's left, pi the front."""
    half_x, half_y = along_z(Z_KNOTS, CAGE_HALF_WIDTH, z), along_z(Z_KNOTS, CAGE_HALF_DEPTH, z)
    sine, cosine = np.sin(angle), np.cos(angle)
    radius = (np.abs(sine / half_x) ** 2.4 + np.abs(cosine / half_y) ** 2.4) ** (-1 / 2.4) + offset_mm
    return radius * sine, radius * cosine + along_z(Z_KNOTS, CAGE_CENTER_Y, z)


def spine_y(z: float) -> float:
    """y of the middle of the vertebral bodies."""
    return at_height(Z_KNOTS, SPINE_Y, z)


def spine_column(x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
    """Vertebrae with the tissue around them, which no lung enters."""
    return superellipse(x, y - (spine_y(z) + 33.0), 40.0, 48.0, 2.0)


def heart(x: np.ndarray, y: np.ndarray, z: np.ndarray | float, fat_mm: float = 0.0) -> np.ndarray:
    """Ventricles and right atrium; `fat_mm` adds the pericardial fat."""
    # Lying on the diaphragm, the lower half tapers only a little.
    z = z + HEART_FLATNESS * np.maximum(HEART_FLOOR_Z - z, 0.0)
    dx, dy, dz = (c - m for c, m in zip((x, y, z), HEART_CENTER_LPS, strict=True))
    axis = HEART_AXIS_LPS
    along = dx * axis[0] + dy * axis[1] + dz * axis[2]
    across = np.sqrt(np.maximum(dx * dx + dy * dy + dz * dz - along * along, 0.0))
    # Blunt at the base, pointed at the apex.
    narrowing = 1.0 + 0.12 * np.clip(along / HEART_HALF_AXES_MM[0], -1.0, 1.2)
    ventricles = ellipsoid(along, across * narrowing, 0.0, (*HEART_HALF_AXES_MM, 1.0))
    ax, ay, az = (c - m for c, m in zip((x, y, z), RIGHT_ATRIUM_CENTER_LPS, strict=True))
    atrium = ellipsoid(ax, ay, az, RIGHT_ATRIUM_HALF_AXES_MM)
    return smooth_min(ventricles, atrium, 8.0) - fat_mm


def mediastinum(x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
    """Everything between the lungs."""
    vessels = superellipse(
        x - 2.0,
        y - at_height(MEDIASTINUM_Z, MEDIASTINUM_Y, z),
        at_height(MEDIASTINUM_Z, MEDIASTINUM_HALF_WIDTH, z),
        at_height(MEDIASTINUM_Z, MEDIASTINUM_HALF_DEPTH, z),
        2.2,
    ) + max(0.0, 150.0 - z)
    posterior = superellipse(x - 7.0, y - (spine_y(z) - 24.0), 21.0, 26.0, 2.0)
    # Behind the sternum the lungs almost touch; further down, the fat over the heart lies between them.
    septum_mm = 2.0 + 0.10 * max(0.0, 120.0 - z) + 0.5 * max(0.0, z - 215.0)
    septum = np.where(y < 20.0, np.abs(x - 4.0 - 0.06 * (y + 60.0)) - septum_mm, 60.0)
    middle = smooth_min(smooth_min(vessels, posterior, 10.0), heart(x, y, z, 4.0), 14.0)
    return smooth_min(smooth_min(middle, septum, 12.0), spine_column(x, y, z), 10.0)


def apex(x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
    """Rounded tops of the lungs; far inside below `APEX_BASE_Z`."""
    if z < APEX_BASE_Z:
        return np.full(np.broadcast_shapes(x.shape, y.shape), -50.0, np.float32)
    tops = []
    for side, sign in (("right", -1.0), ("left", 1.0)):
        height_mm = APEX_Z[side] - APEX_BASE_Z
        rise = (z - APEX_BASE_Z) / height_mm
        # The cone leans inwards and backwards.
        dx, dy = x - sign * (52.0 - 12.0 * rise), y - (4.0 + 27.0 * rise)
        tops.append(ellipsoid(dx, dy, z - APEX_BASE_Z, (70.0, 90.0, height_mm)))
    return np.asarray(np.minimum(tops[0], tops[1]))


def diaphragm_height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height z of the diaphragm's upper surface over (J, I)."""
    domes = []
    for center_x, center_y, top, reach_x, reach_y in (RIGHT_DOME, LEFT_DOME):
        across = (x - center_x) / np.where(x < center_x, reach_x[0], reach_x[1])
        along = (y - center_y) / np.where(y < center_y, reach_y[0], reach_y[1])
        domes.append(top - DOME_DROP_MM * np.hypot(across, along) ** 2.7)
    return smooth_max(domes[0], domes[1], 16.0)
