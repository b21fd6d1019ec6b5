"""Where the slices of a series lie: their order, completeness and IJK-to-LPS matrix, from real positions only."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom.header import SliceHeader

ORIENTATION_TOLERANCE = 1e-3
SAME_POSITION_MM = 0.01
# Positions are often rounded to a tenth of a millimetre; more than that, or a twentieth of a step, moves a nodule.
REGULAR_WITHIN_MM = 0.1
REGULAR_WITHIN_STEPS = 0.05
GAP_FROM_STEPS = 1.5
GAP_WHOLE_WITHIN_STEPS = 0.2
LISTED_AT_MOST = 5


def largest_stack(slices: list[SliceHeader]) -> list[SliceHeader]:
    """The most slices that share orientation, size, pixel spacing and frame of reference."""
    stacks: list[list[SliceHeader]] = []
    for header in slices:
        for stack in stacks:
            if _same_grid(stack[0], header):
                stack.append(header)
                break
        else:
            stacks.append([header])
    return max(stacks, key=len, default=[])


def _same_grid(a: SliceHeader, b: SliceHeader) -> bool:
    return (
        a.shape == b.shape
        and a.frame_of_reference_uid == b.frame_of_reference_uid
        and np.allclose(a.orientation_lps, b.orientation_lps, rtol=0, atol=ORIENTATION_TOLERANCE)
        and np.allclose(a.spacing_mm, b.spacing_mm, rtol=ORIENTATION_TOLERANCE, atol=0)
    )


def sort_slices(stack: list[SliceHeader]) -> list[SliceHeader]:
    """The slices of one stack in the order of their positions along the slice normal.

    Raises:
        InputError: positions that occur twice, are missing, or are not evenly spaced.
    """
    normal_lps = stack[0].normal_lps
    ordered = sorted(stack, key=lambda header: (float(header.position_lps @ normal_lps), header.path))
    positions_lps = np.stack([header.position_lps for header in ordered])  # (K, 3)
    along_mm = positions_lps @ normal_lps
    _check_duplicates(ordered, along_mm)
    _check_gaps(along_mm)
    _check_regular(positions_lps, along_mm)
    return ordered


def stack_to_lps(ordered: list[SliceHeader]) -> np.ndarray:
    """(4, 4) IJK-to-LPS matrix of sorted slices; sheared where a tilted gantry shifts each slice within its plane.

    The distance of slices comes from their positions; only a single slice, which has no neighbour, uses its nominal thickness.
    """
    first, last = ordered[0], ordered[-1]
    if len(ordered) > 1:
        step_lps = (last.position_lps - first.position_lps) / (len(ordered) - 1)
    else:
        step_lps = first.normal_lps * (first.thickness_mm or 1.0)
    row_spacing_mm, column_spacing_mm = first.spacing_mm
    matrix = np.eye(4)
    matrix[:3, 0] = first.orientation_lps[0] * column_spacing_mm
    matrix[:3, 1] = first.orientation_lps[1] * row_spacing_mm
    matrix[:3, 2] = step_lps
    matrix[:3, 3] = first.position_lps
    return matrix


def _check_duplicates(ordered: list[SliceHeader], along_mm: np.ndarray) -> None:
    twice = np.flatnonzero(np.diff(along_mm) < SAME_POSITION_MM)
    if twice.size:
        where = _listed(
            f"{along_mm[k]:.2f} mm ('{ordered[k].path.name}' and '{ordered[k + 1].path.name}')" for k in twice
        )
        raise InputError(
            f"{twice.size} position(s) along the slice normal occur more than once: {where}. "
            "Keep one file per position: remove copies, or export a single phase or reconstruction."
        )


def _check_gaps(along_mm: np.ndarray) -> None:
    steps_mm = np.diff(along_mm)
    if steps_mm.size == 0:
        return
    # The lower median: of two unlike steps the longer one is the gap.
    usual_mm = np.sort(steps_mm)[(steps_mm.size - 1) // 2]
    gaps = np.flatnonzero(steps_mm > GAP_FROM_STEPS * usual_mm)
    ratios = steps_mm[gaps] / usual_mm
    whole = np.abs(ratios - np.rint(ratios)) < GAP_WHOLE_WITHIN_STEPS
    if gaps.size and whole.all():
        where = _listed(f"between {along_mm[k]:.2f} and {along_mm[k + 1]:.2f} mm" for k in gaps)
        raise InputError(
            f"{int((np.rint(ratios) - 1).sum())} slice(s) are missing along the slice normal: {where}, "
            f"where slices lie {usual_mm:.2f} mm apart. Copy or export the complete series."
        )


def _check_regular(positions_lps: np.ndarray, along_mm: np.ndarray) -> None:
    even_lps = np.linspace(positions_lps[0], positions_lps[-1], len(positions_lps))
    off_mm = np.linalg.norm(positions_lps - even_lps, axis=1)
    step_mm = float(np.ptp(along_mm)) / max(1, len(along_mm) - 1)
    worst = int(np.argmax(off_mm))
    if off_mm[worst] > _tolerance_mm(step_mm):
        steps_mm = np.diff(along_mm)
        raise InputError(
            f"The slices form no even stack: they lie {steps_mm.min():.2f} to {steps_mm.max():.2f} mm apart, and the slice at "
            f"{along_mm[worst]:.2f} mm along the slice normal is {off_mm[worst]:.2f} mm off its place. "
            "Export a series with even slice spacing, or resample it first."
        )


def _tolerance_mm(step_mm: float) -> float:
    return max(REGULAR_WITHIN_MM, REGULAR_WITHIN_STEPS * step_mm)


def _listed(parts: Iterable[str]) -> str:
    parts = list(parts)
    more = f" and {len(parts) - LISTED_AT_MOST} more" if len(parts) > LISTED_AT_MOST else ""
    return ", ".join(parts[:LISTED_AT_MOST]) + more
