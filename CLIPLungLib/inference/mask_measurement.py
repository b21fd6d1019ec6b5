"""Size of an outline given as voxels, such as one that a person has drawn: the same rules as for the program's own, on its own grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.mask_filters import connected_parts
from CLIPLungLib.image.outline_mask import OutlineMask, sampled_inside
from CLIPLungLib.inference.outline_measurement import CUT_OFF, OUTLINE_IN_DOUBT, plane_axes, rim_points
from CLIPLungLib.inference.result import Ends, NoduleMeasurement, NoduleResult

# What is larger than this along an axis is no nodule, and would take long to measure.
LARGEST_EXTENT_MM = 250.0
CORRECTED = (
    "The outline was corrected by hand: size and volume are those of the corrected outline; probability, signs and heat map are the "
    "program's."
)
PARTS_LEFT_OUT = (
    "The corrected outline has {count} more part(s) that lie apart from the largest one: they are not measured."
)


@dataclass(frozen=True, eq=False)
class MaskMeasurement:
    """Size of the largest part of a mask.

    Attributes:
        size: diameters in the plane of the grid that is nearest to axial and holds the largest area; the intervals are the sizes
            themselves.
        parts_left_out: how many parts lie apart from it.
    """

    size: NoduleMeasurement
    parts_left_out: int


def measure_mask(mask: OutlineMask) -> MaskMeasurement:
    """Measure what a person has outlined.

    Raises:
        InputError: nothing lies inside, or far more than a nodule.
    """
    if mask.is_empty:
        raise InputError("The outline is empty, so nothing can be measured. Draw the nodule, or undo.")
    box = mask.cropped()
    if (np.array(box.inside.shape[::-1]) * box.spacing_mm).max() > LARGEST_EXTENT_MM:
        raise InputError(
            f"The outline is longer than {LARGEST_EXTENT_MM:.0f} mm, which is no nodule. Draw the nodule alone, or undo."
        )
    parts = connected_parts(box.inside)
    count = int(parts.max())
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
    box = replace(box, inside=parts == largest).cropped()
    volume_mm3 = float(np.count_nonzero(box.inside) * abs(np.linalg.det(box.ijk_to_ras[:3, :3])))
    long_ras, short_ras = _axes_ras(box)
    long_mm, short_mm = _length_mm(long_ras), _length_mm(short_ras)
    right, anterior, superior = box.centroid_ras().tolist()
    size = NoduleMeasurement(
        diameter_mm=long_mm,
        diameter_interval_mm=(long_mm, long_mm),
        mean_diameter_mm=(long_mm + short_mm) / 2,
        volume_mm3=volume_mm3,
        volume_interval_mm3=(volume_mm3, volume_mm3),
        center_ras=(right, anterior, superior),
        short_diameter_mm=short_mm,
        long_axis_ras=long_ras,
        short_axis_ras=short_ras,
        corrected_by_hand=True,
    )
    return MaskMeasurement(size, count - 1)


def corrected_result(result: NoduleResult, drawn: OutlineMask) -> NoduleResult:
    """The same answer with the size of an outline that a person has corrected; it says so.

    Raises:
        InputError: as `measure_mask`.
    """
    on_heatmap = sampled_inside(drawn, result.heatmap_to_ras, result.heatmap.shape)
    return with_drawn_outline(result, measure_mask(drawn), drawn.cropped(), on_heatmap)


def with_drawn_outline(
    result: NoduleResult, found: MaskMeasurement, drawn: OutlineMask, on_heatmap: np.ndarray
) -> NoduleResult:
    """As `corrected_result`, of an outline that is measured already; `on_heatmap` (Z, Y, X) bool lies on the heat map's grid."""
    warnings = [text for text in result.warnings if text not in (CUT_OFF, OUTLINE_IN_DOUBT)]
    if found.parts_left_out:
        warnings.insert(0, PARTS_LEFT_OUT.format(count=found.parts_left_out))
    return replace(
        result,
        diameter_mm=found.size.diameter_mm,
        measurement=found.size,
        outline=on_heatmap,
        outline_on_ct=drawn,
        warnings=(CORRECTED, *warnings),
    )


def _axes_ras(box: OutlineMask) -> tuple[Ends, Ends]:
    """Ends of the long and of the short axis in RAS mm."""
    steps_mm = box.ijk_to_ras[:3, :3]
    normal = int(np.abs(steps_mm[2] / box.spacing_mm).argmax())
    planes = np.moveaxis(box.inside, 2 - normal, 0)
    plane = int(planes.sum(axis=(1, 2)).argmax())
    # Rows and columns of the plane, as axes of i, j, k.
    row, column = (axis for axis in (2, 1, 0) if axis != normal)
    base = np.linalg.qr(steps_mm[:, [row, column]])[0]  # (3, 2)
    points = rim_points(planes[plane].astype(float))
    axes = plane_axes(points @ (base.T @ steps_mm[:, [row, column]]).T)
    start_ras = box.ijk_to_ras[:3, 3] + plane * steps_mm[:, normal]
    return _ends(start_ras + axes.long_mm @ base.T), _ends(start_ras + axes.short_mm @ base.T)


def _ends(points_ras: np.ndarray) -> Ends:
    (r0, a0, s0), (r1, a1, s1) = points_ras.tolist()
    return (r0, a0, s0), (r1, a1, s1)


def _length_mm(ends: Ends) -> float:
    return float(np.linalg.norm(np.subtract(*ends)))
