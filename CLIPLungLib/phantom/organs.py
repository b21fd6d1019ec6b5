"""Heart and abdominal organs, slice by slice, in the fat that holds them."""

from __future__ import annotations

import numpy as np

from CLIPLungLib.phantom import outline
from CLIPLungLib.phantom.grid import blend, coverage_of

AIR_HU = -985.0
FAT_HU = -98.0
MUSCLE_HU = 52.0
BLOOD_HU = 41.0
MYOCARDIUM_HU = 50.0
LIVER_HU = 60.0
SPLEEN_HU = 50.0
STOMACH_HU = 24.0
DIAPHRAGM_MM = 2.5


def paint_organs(
    hu: np.ndarray, x: np.ndarray, y: np.ndarray, z: float, cage: np.ndarray, above: np.ndarray, wobble: np.ndarray, streaks: np.ndarray,
    edge_mm: float,
) -> None:  # fmt: skip
    """Paint one slice, in place.

    Args:
        hu: (J, I) float32.
        x, y: (1, I) and (J, 1) mm LPS.
        z: height in mm.
        cage: (J, I) signed distance to the rib cage.
        above: (J, I) mm above the diaphragm.
        wobble, streaks: (J, I) coarse and fine random fields.
        edge_mm: width of a surface's partial volume.
    """
    inside = coverage_of(-cage - 1.0, edge_mm)
    blend(hu, inside, FAT_HU + 14.0 * np.maximum(streaks, -1.0))
    heart = outline.heart(x, y, z) + 1.2 * wobble
    blend(hu, inside * coverage_of(-heart, edge_mm), MYOCARDIUM_HU)
    blend(hu, inside * coverage_of(-heart - 11.0 - 3.0 * wobble, edge_mm), BLOOD_HU)
    blend(hu, inside * coverage_of(np.minimum(-above, above + DIAPHRAGM_MM), edge_mm), MUSCLE_HU)
    _paint_abdomen(hu, x, y, z, inside * coverage_of(-above - DIAPHRAGM_MM, edge_mm), wobble, streaks, edge_mm)
    column = np.maximum(np.maximum(outline.spine_column(x, y, z) + 3.0, outline.spine_y(z) - y), cage - 4.0)
    blend(hu, coverage_of(-column, edge_mm), MUSCLE_HU)


def _paint_abdomen(
    hu: np.ndarray, x: np.ndarray, y: np.ndarray, z: float, below: np.ndarray, wobble: np.ndarray, streaks: np.ndarray, edge_mm: float
) -> None:  # fmt: skip
    """Liver, spleen, stomach and crura, where `below` (0..1) lies under the diaphragm."""
    if not below.any():
        return
    blend(hu, below, FAT_HU + 10.0 * streaks)
    liver = outline.smooth_min(
        outline.ellipsoid(x + 62.0, y + 4.0, z - 38.0, (66.0, 94.0, 80.0)),
        outline.ellipsoid(x - 2.0, y + 50.0, z - 60.0, (60.0, 40.0, 44.0)),
        24.0,
    )
    blend(hu, below * coverage_of(-liver + 2.0 * wobble, edge_mm), LIVER_HU + 2.0 * streaks)
    stomach = outline.ellipsoid(x - 62.0, y + 18.0 + 0.25 * (z - 40.0), z - 42.0, (40.0, 46.0, 50.0)) + 3.0 * wobble
    blend(hu, below * coverage_of(-stomach, edge_mm), MUSCLE_HU)
    content = np.where(y < -46.0, AIR_HU, STOMACH_HU)  # lying on the back, gas rises to the front
    blend(hu, below * coverage_of(-stomach - 4.0, edge_mm), content)
    spleen = outline.ellipsoid(x - 86.0 - 0.30 * (y - 45.0), y - 45.0, z - 40.0, (27.0, 46.0, 46.0)) + 2.0 * wobble
    blend(hu, below * coverage_of(-spleen, edge_mm), SPLEEN_HU + 2.0 * streaks)
    spine_y = outline.spine_y(z)
    for sign in (-1.0, 1.0):
        crus = outline.superellipse(x - sign * 17.0 - 2.0, y - (spine_y - 14.0) - 0.6 * np.abs(x), 4.5, 16.0, 2.0)
        blend(hu, below * coverage_of(-crus, edge_mm), MUSCLE_HU)
