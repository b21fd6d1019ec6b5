"""Where the slices of a series lie: their order, completeness and IJK-to-LPS matrix, from real positions only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom.header import SliceHeader

SAME_POSITION_MM = 0.01
# Positions are often rounded to a tenth of a millimetre; more than that, or a twentieth of a step, moves a nodule.
REGULAR_WITHIN_MM = 0.1
REGULAR_WITHIN_STEPS = 0.05
GAP_FROM_STEPS = 1.5
GAP_WHOLE_WITHIN_STEPS = 0.2
# So many planes may be missing or off their place; answers are refused near them only.
DOUBTFUL_SHARE = 0.1
SLAB_FROM_STEPS = 3
SLAB_SHARE = 0.8
LISTED_AT_MOST = 5


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in the order of their positions along the slice normal, and the even planes they stand on.

    Attributes:
        slices: sorted.
        planes: (N,) the plane of each slice, rising from 0; planes without a slice are missing.
        ijk_to_lps: (4, 4) mm; sheared where a tilted gantry shifts each slice within its plane.
        doubtful_k: planes that are missing, or whose slice lies off its place.
        notes: what a reader should know about them.
    """

    slices: list[SliceHeader]
    planes: np.ndarray
    ijk_to_lps: np.ndarray
    doubtful_k: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def place_slices(slices: list[SliceHeader]) -> Stack:
    """Put slices that share orientation, size and pixel spacing on even planes.

    Raises:
        InputError: positions that occur twice, a change of spacing, too many slices missing or off their place.
    """
    normal_lps = slices[0].normal_lps
    ordered = sorted(slices, key=lambda header: (float(header.position_lps @ normal_lps), header.path, header.frame))
    positions_lps = np.stack([header.position_lps for header in ordered])  # (N, 3)
    along_mm = positions_lps @ normal_lps
    _check_duplicates(ordered, along_mm)
    if len(ordered) == 1:
        step_lps = normal_lps * (ordered[0].thickness_mm or 1.0)  # No neighbour tells more.
        return Stack(ordered, np.zeros(1, int), _matrix(ordered[0], ordered[0].position_lps, step_lps))
    _check_one_spacing(along_mm)
    planes = _planes(along_mm)
    missing = sorted(set(range(planes[-1] + 1)) - set(planes.tolist()))
    off, origin_lps, step_lps = _even_places(positions_lps, planes, float(np.ptp(along_mm)) / planes[-1])
    doubtful = sorted({*missing, *planes[off].tolist()})
    if len(doubtful) > DOUBTFUL_SHARE * (planes[-1] + 1):
        _refuse(positions_lps, along_mm, planes)
    notes = _notes(missing, planes[off].tolist(), float(origin_lps @ normal_lps), float(step_lps @ normal_lps))
    return Stack(ordered, planes, _matrix(ordered[0], origin_lps, step_lps), tuple(doubtful), notes)


def _matrix(header: SliceHeader, origin_lps: np.ndarray, step_lps: np.ndarray) -> np.ndarray:
    row_spacing_mm, column_spacing_mm = header.spacing_mm
    matrix = np.eye(4)
    matrix[:3, 0] = header.orientation_lps[0] * column_spacing_mm
    matrix[:3, 1] = header.orientation_lps[1] * row_spacing_mm
    matrix[:3, 2] = step_lps
    matrix[:3, 3] = origin_lps
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


def _check_one_spacing(along_mm: np.ndarray) -> None:
    """Refuse slabs of different spacing, which are complete and yet no even stack."""
    steps_mm = np.diff(along_mm)
    starts = [0]
    for k in range(1, steps_mm.size):
        if abs(steps_mm[k] - steps_mm[starts[-1]]) > _tolerance_mm(steps_mm[starts[-1]]) + 1e-6:
            starts.append(k)
    lengths = np.diff([*starts, steps_mm.size])
    # A shorter run is a gap or a joint between slabs.
    slabs = [start for start, length in zip(starts, lengths, strict=True) if length >= SLAB_FROM_STEPS]
    changes = [
        (before, after)
        for before, after in pairwise(slabs)
        if abs(steps_mm[before] - steps_mm[after]) > _tolerance_mm(min(steps_mm[before], steps_mm[after])) + 1e-6
    ]
    if changes and sum(n for n in lengths if n >= SLAB_FROM_STEPS) >= SLAB_SHARE * steps_mm.size:
        where = _listed(
            f"from {steps_mm[before]:.2f} to {steps_mm[after]:.2f} mm at {along_mm[after]:.2f} mm"
            for before, after in changes
        )
        raise InputError(
            f"The slice spacing changes {where} along the slice normal; nothing is missing. "
            "Resample the series to one spacing, or export the part that shows the nodule as a series of its own."
        )


def _usual_step_mm(along_mm: np.ndarray) -> float:
    # The lower median: of two unlike steps the longer one is the gap.
    steps_mm = np.sort(np.diff(along_mm))
    return float(steps_mm[(steps_mm.size - 1) // 2])


def _planes(along_mm: np.ndarray) -> np.ndarray:
    """(N,) plane of each slice: a step that is a whole number of usual steps passes over missing slices."""
    ratios = np.diff(along_mm) / _usual_step_mm(along_mm)
    whole = np.abs(ratios - np.rint(ratios)) < GAP_WHOLE_WITHIN_STEPS
    is_gap = (ratios > GAP_FROM_STEPS) & whole & (ratios < len(along_mm) + 1)
    return np.concatenate([[0], np.cumsum(np.where(is_gap, np.rint(ratios), 1).astype(int))])


def _even_places(
    positions_lps: np.ndarray, planes: np.ndarray, step_mm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which slices (N,) lie off the even places; and the origin and step (3,) in mm that the others agree on."""
    off = np.zeros(len(planes), bool)
    tolerance_mm = _tolerance_mm(step_mm)
    while True:
        first, last = np.flatnonzero(~off)[[0, -1]]
        step_lps = (positions_lps[last] - positions_lps[first]) / (planes[last] - planes[first])
        origin_lps = positions_lps[first] - planes[first] * step_lps
        off_mm = np.linalg.norm(positions_lps - (origin_lps + planes[:, None] * step_lps), axis=1)
        if off_mm[~off].max() <= tolerance_mm:
            return off_mm > tolerance_mm, origin_lps, step_lps
        # A slice at the end that is off its place tilts the line through all others.
        fit = np.polynomial.polynomial.polyfit(planes[~off], positions_lps[~off], 1)
        residual_mm = np.linalg.norm(positions_lps - (fit[0] + planes[:, None] * fit[1]), axis=1)
        off[np.argmax(np.where(off, -1.0, residual_mm))] = True
        if off.sum() > max(1.0, DOUBTFUL_SHARE * len(planes)) or (~off).sum() < 2:
            return np.ones(len(planes), bool), origin_lps, step_lps


def _refuse(positions_lps: np.ndarray, along_mm: np.ndarray, planes: np.ndarray) -> None:
    steps_mm, usual_mm = np.diff(along_mm), _usual_step_mm(along_mm)
    gaps = np.flatnonzero(np.diff(planes) > 1)
    even_mm = np.linspace(along_mm[0], along_mm[-1], planes[-1] + 1)[planes]
    if gaps.size and np.abs(along_mm - even_mm).max() <= GAP_WHOLE_WITHIN_STEPS * usual_mm:
        where = _listed(f"between {along_mm[k]:.2f} and {along_mm[k + 1]:.2f} mm" for k in gaps)
        raise InputError(
            f"{planes[-1] + 1 - len(planes)} slice(s) are missing along the slice normal: {where}, "
            f"where slices lie {usual_mm:.2f} mm apart. Copy or export the complete series."
        )
    even_lps = np.linspace(positions_lps[0], positions_lps[-1], len(positions_lps))
    off_mm = np.linalg.norm(positions_lps - even_lps, axis=1)
    worst = int(np.argmax(off_mm))
    raise InputError(
        f"The slices form no even stack: they lie {steps_mm.min():.2f} to {steps_mm.max():.2f} mm apart, and the slice at "
        f"{along_mm[worst]:.2f} mm along the slice normal is {off_mm[worst]:.2f} mm off its place. "
        "Export a series with even slice spacing, or resample it first."
    )


def _notes(missing: list[int], off: list[int], origin_mm: float, step_mm: float) -> tuple[str, ...]:
    notes = []
    for planes, what in ((missing, "missing"), (off, "off their place")):
        if planes:
            where = _listed(f"{origin_mm + k * step_mm:.2f} mm" for k in planes)
            notes.append(
                f"{len(planes)} slice(s) are {what} along the slice normal: at {where}. No nodule is answered for whose patch reaches there."
            )
    return tuple(notes)


def _tolerance_mm(step_mm: float) -> float:
    return max(REGULAR_WITHIN_MM, REGULAR_WITHIN_STEPS * step_mm)


def _listed(parts: Iterable[str]) -> str:
    parts = list(parts)
    more = f" and {len(parts) - LISTED_AT_MOST} more" if len(parts) > LISTED_AT_MOST else ""
    return ", ".join(parts[:LISTED_AT_MOST]) + more
