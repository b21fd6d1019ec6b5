"""The wall of the chest, slice by slice: skin, fat and muscles around the rib cage."""

from __future__ import annotations

import numpy as np

from CLIPLungLib.phantom import outline
from CLIPLungLib.phantom.grid import blend, coverage_of

SKIN_HU = 20.0
FAT_HU = -103.0
MUSCLE_HU = 52.0
SKIN_MM = 1.8
LEAST_FAT_MM = 5.0
# Muscles lie in layers about this thick, with sheets of fat between them.
LAYER_MM = 13.0
SHEET_MM = 1.1

# Outer limit of the muscles in mm outside the rib cage: one row per height, columns are angles from the back to the front.
MUSCLE_ANGLES_DEG = (0, 12, 25, 45, 65, 85, 105, 130, 160, 180)
MUSCLE_Z = (0, 120, 180, 230, 265, 300)
MUSCLE_MM = (
    (30, 34, 26, 13, 12, 13, 13, 12, 14, 8),
    (28, 33, 24, 14, 15, 17, 13, 11, 10, 5),
    (24, 28, 28, 31, 35, 30, 17, 18, 14, 4),
    (22, 28, 36, 46, 56, 48, 27, 36, 22, 4),
    (26, 34, 44, 58, 78, 82, 52, 46, 30, 8),
    (30, 40, 50, 62, 82, 90, 70, 48, 34, 10),
)


def paint_wall(
    hu: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    z: float,
    cage: np.ndarray,
    body: np.ndarray,
    wobble: np.ndarray,
    edge_mm: float,
) -> None:
    """Paint one slice, in place.

    Args:
        hu: (J, I) float32.
        x, y: (1, I) and (J, 1) mm LPS.
        z: height in mm.
        cage, body: (J, I) signed distances to the rib cage and the skin.
        wobble: (J, I) random field.
        edge_mm: width of a surface's partial volume.
    """
    blend(hu, coverage_of(-body, edge_mm), SKIN_HU)
    blend(hu, coverage_of(-body - SKIN_MM, edge_mm), FAT_HU + 6.0 * wobble)
    muscle = np.minimum(_muscle_limit(x, y, z) - cage + 2.0 * wobble, -body - LEAST_FAT_MM)
    layer = (cage - 10.0 + 5.0 * wobble) / LAYER_MM
    from_sheet_mm = np.abs(layer - np.rint(layer)) * LAYER_MM
    # Between muscles of one layer, fat lies where the random field crosses zero.
    between_mm = np.abs(wobble) * 14.0
    fat = np.clip(SHEET_MM + 0.5 - np.minimum(from_sheet_mm, between_mm), 0.0, 1.0) * (
        0.40 + 0.30 * np.clip(wobble, -1.0, 1.0)
    )
    fat *= np.clip((cage - 9.0) / 3.0, 0.0, 1.0)
    blend(hu, coverage_of(muscle, edge_mm) * (1.0 - fat), MUSCLE_HU)


def _muscle_limit(x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
    """Outer limit of the muscles in mm outside the rib cage, by direction."""
    at_z = [outline.at_height(MUSCLE_Z, column, z) for column in zip(*MUSCLE_MM, strict=True)]
    back = y - outline.at_height(outline.Z_KNOTS, outline.CAGE_CENTER_Y, z)
    angle_deg = np.degrees(np.arctan2(np.abs(x), back))
    return np.asarray(np.interp(angle_deg, MUSCLE_ANGLES_DEG, at_z).astype(np.float32))
