"""Perturbations of scan and click: off-centre clicks, thick slices, noise, wrong HU, reversed axes.

A condition changes a scan or a click and nothing else, so every difference in the predictions is due to it. Conditions
are pure functions; the scan they are given stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from CLIPLungLib.image.ct_volume import CTVolume

CLICK_SHIFTS_MM = (1.0, 2.0, 3.0, 5.0)
THICKNESSES_MM = (2.5, 5.0)
NOISES_HU = (10.0, 25.0)
HU_SHIFTS = (-20.0, 20.0)
# Slices thicker than this share of the thickness asked for are as good as that thick.
AS_THICK = 0.95

# A scan and a click (3,) RAS mm, changed; the generator is the nodule's own.
Change = Callable[[CTVolume, np.ndarray, np.random.Generator], tuple[CTVolume, np.ndarray]]


def moved_click(ct: CTVolume, point_ras: np.ndarray, distance_mm: float, rng: np.random.Generator) -> np.ndarray:
    """(3,) RAS mm: the click moved in a random direction, by less only where it would leave the scan's voxel centres."""
    direction = rng.normal(size=3)
    target_ijk = ct.to_ijk(np.asarray(point_ras) + distance_mm * direction / np.linalg.norm(direction))
    return ct.to_ras(np.clip(target_ijk, 0.0, ct.size_ijk - 1.0))


def thickened(ct: CTVolume, thickness_mm: float) -> CTVolume:
    """The scan with neighbouring slices averaged to thick ones; the same scan where its slices are that thick already.

    The thick slices divide the scan's length evenly, so that extent and mean HU stay exactly; they come as near to
    `thickness_mm` as that allows, and a scan shorter than that becomes one slice.
    """
    spacing_mm = ct.spacing_mm[2]
    thin = ct.hu.shape[0]
    if spacing_mm >= AS_THICK * thickness_mm or thin == 1:
        return ct
    thick = max(1, round(thin * spacing_mm / thickness_mm))
    ratio = thin / thick
    # Share of each thin slice (columns) in each thick one (rows), both in units of thin slices from the first one's lower face.
    lower, upper = np.arange(thick)[:, None] * ratio, np.arange(1, thick + 1)[:, None] * ratio
    faces = np.arange(thin)[None]
    share = np.clip(np.minimum(upper, faces + 1) - np.maximum(lower, faces), 0.0, None) / ratio
    hu = np.tensordot(share.astype(np.float32), ct.hu, axes=1)
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 2] *= ratio
    matrix[:3, 3] = ct.to_ras(np.array([0.0, 0.0, (ratio - 1) / 2]))
    return replace(ct, hu=hu.astype(np.float32), ijk_to_ras=matrix)


def with_noise(ct: CTVolume, sd_hu: float, rng: np.random.Generator) -> CTVolume:
    """The scan with white noise of this standard deviation on its own voxels."""
    return replace(ct, hu=ct.hu + np.float32(sd_hu) * rng.standard_normal(ct.hu.shape, dtype=np.float32))


def with_hu_shift(ct: CTVolume, shift_hu: float) -> CTVolume:
    """The scan as a scanner calibrated wrongly by `shift_hu` would give it."""
    return replace(ct, hu=ct.hu + np.float32(shift_hu))


def flipped(ct: CTVolume, axes_ijk: Sequence[int]) -> CTVolume:
    """The same scan with some of its axes stored in reverse: another array, every voxel at its old place. Copies nothing."""
    matrix = ct.ijk_to_ras.copy()
    for axis in axes_ijk:
        matrix[:3, 3] += matrix[:3, axis] * (ct.size_ijk[axis] - 1)
        matrix[:3, axis] *= -1
    return replace(ct, hu=np.flip(ct.hu, tuple(2 - axis for axis in axes_ijk)), ijk_to_ras=matrix)


@dataclass(frozen=True, eq=False)
class Condition:
    """A perturbation.

    Attributes:
        key: in JSON.
        label: in tables and plots.
        change: of scan and click.
    """

    key: str
    label: str
    change: Change


def conditions() -> list[Condition]:
    """All conditions, in the order in which they are shown."""
    return [
        *(_click_moved(distance_mm) for distance_mm in CLICK_SHIFTS_MM),
        *(_slices_thickened(thickness_mm) for thickness_mm in THICKNESSES_MM),
        *(_noise_added(sd_hu) for sd_hu in NOISES_HU),
        *(_hu_shifted(shift_hu) for shift_hu in HU_SHIFTS),
        Condition("slices_reversed", "slices in reverse order", lambda ct, p, _rng: (flipped(ct, [2]), p)),
        Condition("rows_columns_reversed", "rows and columns reversed", lambda ct, p, _rng: (flipped(ct, [0, 1]), p)),
    ]


def _click_moved(mm: float) -> Condition:
    return Condition(
        f"click_{mm:g}mm", f"click moved by {mm:g} mm", lambda ct, p, rng: (ct, moved_click(ct, p, mm, rng))
    )


def _slices_thickened(mm: float) -> Condition:
    return Condition(f"slices_{mm:g}mm", f"slices of {mm:g} mm", lambda ct, p, _rng: (thickened(ct, mm), p))


def _noise_added(hu: float) -> Condition:
    return Condition(f"noise_{hu:g}hu", f"noise of {hu:g} HU", lambda ct, p, rng: (with_noise(ct, hu, rng), p))


def _hu_shifted(hu: float) -> Condition:
    return Condition(f"hu_shift_{hu:+g}", f"HU shifted by {hu:+g}", lambda ct, p, _rng: (with_hu_shift(ct, hu), p))
