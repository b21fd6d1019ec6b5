"""Slices of a scan in patient space, seen as a radiologist sees them: patient's right on the left, front and head up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.resample import sample_as_stored
from CLIPLungLib.inference.result import OUTLINE_RGB
from CLIPLungLib.report.palette import heat_opacity, heat_rgb

LUNG_WINDOW_HU = (-1350.0, 150.0)
# Lighter than air in the lung window, darker than tissue: the scan ends here, which is not the same as air.
OUTSIDE_GREY = 0.13
OUTLINE_PIXELS = 2


@dataclass(frozen=True)
class Plane:
    """A viewing plane.

    Attributes:
        name: what a reader sees.
        right_ras: unit vector along a picture's columns, from left to right.
        down_ras: unit vector along a picture's rows, from top to bottom.
        edges: patient directions at the left, right, top and bottom edge.
    """

    name: str
    right_ras: tuple[float, float, float]
    down_ras: tuple[float, float, float]
    edges: tuple[str, str, str, str]


AXIAL = Plane("Axial", (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), ("R", "L", "A", "P"))
PLANES = (
    AXIAL,
    Plane("Coronal", (-1.0, 0.0, 0.0), (0.0, 0.0, -1.0), ("R", "L", "S", "I")),
    Plane("Sagittal", (0.0, -1.0, 0.0), (0.0, 0.0, -1.0), ("A", "P", "S", "I")),
)


def sample_plane(
    volume: CTVolume, plane: Plane, center_ras: tuple[float, float, float], size_mm: float, pixels: int
) -> np.ndarray:
    """A square slice through a point, trilinear in patient space. Reads only the voxels around the slice.

    Args:
        volume: a scan, or any other scalar volume with its place in space.
        plane: the viewing plane.
        center_ras: (3,) RAS mm in the middle of the picture.
        size_mm: edge length, pixels counted whole.
        pixels: rows and columns.

    Returns:
        (pixels, pixels) float32, [row, column]; NaN outside the volume and where it holds no number.
    """
    offsets_mm = ((np.arange(pixels) + 0.5) / pixels - 0.5) * size_mm
    right, down = np.array(plane.right_ras), np.array(plane.down_ras)
    points_ras = np.asarray(center_ras) + offsets_mm[:, None, None] * down + offsets_mm[None, :, None] * right
    return sample_as_stored(volume, volume.to_ijk(points_ras))


def grey_picture(hu: np.ndarray) -> np.ndarray:
    """Lung window picture (rows, columns, 3) in 0..1 of a slice in HU; NaN becomes OUTSIDE_GREY."""
    low, high = LUNG_WINDOW_HU
    grey = np.clip((hu - low) / (high - low), 0.0, 1.0)
    return np.repeat(np.where(np.isnan(grey), OUTSIDE_GREY, grey)[..., None], 3, axis=-1)


def heat_picture(hu: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """The lung window picture with relevance (0..1; NaN counts as none) laid over it, only where there is a scan."""
    shown = np.where(np.isnan(hu) | np.isnan(relevance), 0.0, relevance)
    opacity = heat_opacity(shown)[..., None]
    return np.asarray(grey_picture(hu) * (1.0 - opacity) + heat_rgb(shown) * opacity)


def draw_outline(picture: np.ndarray, inside: np.ndarray) -> None:
    """Draw the rim of what is inside (rows, columns in 0..1; NaN counts as outside) on a picture (rows, columns, 3), in place."""
    # Not at the top: the first answer of a command does not wait for it.
    from scipy import ndimage

    filled = np.nan_to_num(inside) > 0.5
    rim = filled & ~ndimage.binary_erosion(filled, iterations=OUTLINE_PIXELS)
    picture[rim] = OUTLINE_RGB
