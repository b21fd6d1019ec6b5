"""The position of a nodule in a prior CT, by rigid registration of its neighbourhood, coarse to fine.

Three steps: an exhaustive search of all translations of the downsampled scans, which needs no initial guess; a local search of the
neighbourhood around that place, because lungs breathe; a rigid refinement. The inverse registration, from the place found, must lead back to
the click: the distance between both (round trip) measures the inverse consistency.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.followup.blocks import Block, block_around, whole_block
from CLIPLungLib.followup.shift_search import best_shift
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.itk import simple_itk
from CLIPLungLib.image.patch import require_point

COARSE_STEP_MM, MIDDLE_STEP_MM, FINE_STEP_MM = 5.0, 2.5, 1.5
# Of the neighbourhood: to be found again, and to be fitted.
TEMPLATE_MM, NEIGHBOURHOOD_MM = 100.0, 70.0
# How far breathing may carry a part of the lung, and what the coarse steps may leave to the fine one.
SEARCH_MM, FINE_REACH_MM = 45.0, 12.0
# Shifts at which less of the smaller block lies on the other one are no candidates.
COARSE_OVERLAP, TEMPLATE_OVERLAP = 0.35, 0.5
ITERATIONS, FIRST_STEP_MM, LAST_STEP_MM = 80, 2.0, 0.02
LEAST_SAMPLES = 500
# Measured: other patients -0.06 to 0.08 (3 places), the same scan noisier, in 4 mm slices, turned and breathed in 0.82 to 0.90 (3 places).
REFUSED_SIMILARITY, DOUBTFUL_SIMILARITY = 0.30, 0.50
REFUSED_ROUND_TRIP_MM, DOUBTFUL_ROUND_TRIP_MM = 15.0, 4.0

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Match:
    """The place of a nodule in an earlier scan, as the registration proposes it. A reader has to confirm it.

    Attributes:
        point_ras: (3,) RAS mm in the earlier scan.
        similarity: correlation (-1..1) of the two neighbourhoods laid over each other, inside of the lung.
        round_trip_mm: distance between the click and its image under forward and inverse registration.
        shift_mm: distance between click and place in scanner space.
        rotation_degrees: rotation of the neighbourhood.
        warnings: what makes the place doubtful.
    """

    point_ras: tuple[float, float, float]
    similarity: float
    round_trip_mm: float
    shift_mm: float
    rotation_degrees: float
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self)
        return {"point_ras_mm": list(plain.pop("point_ras"))} | plain | {"warnings": list(self.warnings)}


@dataclass(frozen=True, eq=False)
class _Fit:
    """One direction: where a point maps to, and how well its neighbourhood fits there."""

    point_ras: np.ndarray
    similarity: float
    rotation_degrees: float


def propose_place(
    current: CTVolume,
    point_ras: np.ndarray,
    prior: CTVolume,
    threads: int = 1,
    progress: Progress | None = None,
) -> Match:
    """Where the nodule at a point of the current scan lies in the prior one.

    The same scans and point give the same place, with one thread to the last digit.

    Args:
        current: the new scan.
        point_ras: (3,) RAS mm, the click in it.
        prior: the earlier scan of the same patient.
        threads: of the fine step.
        progress: called with the share done (0..1); may raise to stop the search.

    Raises:
        InputError: a point or scan that cannot be used, a place outside of the prior scan, or neighbourhoods that do not match.
        MissingPackageError: SimpleITK is not installed.
    """
    point = require_point(current, point_ras)
    for ct in (current, prior):
        ct.require_ct()
    tell = progress or (lambda _share: None)
    tell(0.0)
    start = point + coarse_shift(current, prior)
    tell(0.4)
    near = _searched(current, point, prior, start)
    _require_inside(prior, near)
    tell(0.55)
    found = _fitted(current, point, prior, near, threads)
    _require_inside(prior, found.point_ras)
    tell(0.8)
    back = _way_back(current, point, prior, found.point_ras, threads)
    tell(1.0)
    round_trip_mm = float(np.linalg.norm(back - point))
    if found.similarity < REFUSED_SIMILARITY or round_trip_mm > REFUSED_ROUND_TRIP_MM:
        # Where the whole scans say so, the neighbourhood was not found because it is not there.
        _require_inside(prior, start)
        raise InputError(
            f"No place in '{prior.name}' matches the neighbourhood of the point (correlation {found.similarity:.2f}, way back off by "
            f"{round_trip_mm:.0f} mm). Check that both CTs are of the same patient, or mark the nodule in the prior CT yourself."
        )
    return _match(point, found, round_trip_mm)


def coarse_shift(current: CTVolume, prior: CTVolume) -> np.ndarray:
    """(3,) RAS mm from a place in the current scan to the same place in the prior one, by the whole scans, downsampled.

    Raises:
        InputError: the scans are too small to be compared.
    """
    fixed, moving = whole_block(current, COARSE_STEP_MM), whole_block(prior, COARSE_STEP_MM)
    return _shift(fixed, moving, COARSE_OVERLAP, prior.name)


def _searched(source: CTVolume, point: np.ndarray, target: CTVolume, start: np.ndarray) -> np.ndarray:
    """(3,) RAS mm: the place near `start` that looks most like the neighbourhood of the point."""
    template = block_around(source, point, TEMPLATE_MM, MIDDLE_STEP_MM)
    region = block_around(target, start, TEMPLATE_MM + 2 * SEARCH_MM, MIDDLE_STEP_MM)
    if not region.is_scan.any():
        raise _outside(target, start)
    return np.asarray(point + _shift(template, region, TEMPLATE_OVERLAP, target.name))


def _shift(fixed: Block, moving: Block, overlap: float, name: str) -> np.ndarray:
    found = best_shift(fixed, moving, overlap) if fixed.is_scan.any() and moving.is_scan.any() else None
    if found is None:
        raise InputError(
            f"'{name}' and the current CT cannot be laid over each other: too little of either is there. Choose whole chest CTs."
        )
    return found


def _fitted(source: CTVolume, point: np.ndarray, target: CTVolume, near: np.ndarray, threads: int) -> _Fit:
    """Rigid refinement of the neighbourhood, from a place that is right to some millimetres."""
    sitk = simple_itk()
    fixed = block_around(source, point, NEIGHBOURHOOD_MM, FINE_STEP_MM)
    moving = block_around(target, near, NEIGHBOURHOOD_MM * 1.3 + 2 * FINE_REACH_MM, FINE_STEP_MM)
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(threads)
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.NONE)
    lung = fixed.lung()
    method.SetMetricFixedMask(fixed.image(lung.astype(np.uint8), point))
    method.SetMetricMovingMask(moving.image(moving.is_scan.astype(np.uint8), near))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(FIRST_STEP_MM, LAST_STEP_MM, ITERATIONS)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([FINE_STEP_MM, 0.5 * FINE_STEP_MM])
    transform = sitk.Euler3DTransform()
    method.SetInitialTransform(transform, inPlace=True)
    images = fixed.image(fixed.grey, point), moving.image(moving.grey, near)
    try:
        method.Execute(*images)
    except RuntimeError as error:
        raise InputError(
            f"The neighbourhood of the point cannot be fitted to '{target.name}': too little of both scans overlaps there. "
            "Mark the nodule in the prior CT yourself."
        ) from error
    parts = [
        sitk.GetArrayFromImage(sitk.Resample(moving.image(values, near), images[0], transform, sitk.sitkLinear, 0.0))
        for values in (moving.grey, moving.is_scan.astype(np.float32))
    ]
    moved = np.array(transform.TransformPoint([0.0, 0.0, 0.0]))
    matrix = np.array(transform.GetMatrix()).reshape(3, 3)
    degrees = float(np.degrees(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1.0, 1.0))))
    return _Fit(near + moved, correlation_of(fixed.grey, parts[0], fixed.inside_lung() & (parts[1] > 0.5)), degrees)


def correlation_of(first: np.ndarray, second: np.ndarray, where: np.ndarray) -> float:
    """Correlation (-1..1) of two arrays where a mask holds; 0 where that is too little, or one of them is flat."""
    a, b = first[where].astype(np.float64), second[where].astype(np.float64)
    if len(a) < LEAST_SAMPLES or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _way_back(current: CTVolume, point: np.ndarray, prior: CTVolume, place: np.ndarray, threads: int) -> np.ndarray:
    """(3,) RAS mm in the current scan that the place found leads back to; the search does not know the click."""
    near = _searched(prior, place, current, point)
    return _fitted(prior, place, current, near, threads).point_ras


def _match(point: np.ndarray, found: _Fit, round_trip_mm: float) -> Match:
    warnings = []
    if found.similarity < DOUBTFUL_SIMILARITY:
        warnings.append(
            f"The neighbourhoods match poorly (correlation {found.similarity:.2f}): check the place in the prior CT."
        )
    if round_trip_mm > DOUBTFUL_ROUND_TRIP_MM:
        warnings.append(
            f"The way back from the proposed place misses the point by {round_trip_mm:.0f} mm: check the place in the prior CT."
        )
    r, a, s = (float(value) for value in found.point_ras)
    shift_mm = float(np.linalg.norm(found.point_ras - point))
    return Match((r, a, s), found.similarity, round_trip_mm, shift_mm, found.rotation_degrees, tuple(warnings))


def _require_inside(prior: CTVolume, place: np.ndarray) -> None:
    if not prior.contains_ijk(prior.to_ijk(place)):
        raise _outside(prior, place)


def _outside(prior: CTVolume, place: np.ndarray) -> InputError:
    words = ", ".join(f"{value:.0f}" for value in place)
    return InputError(
        f"The place of the nodule lies outside of '{prior.name}' (about ({words}) RAS mm): that CT does not show this part of the lung. "
        "Choose another prior CT, or mark the nodule in it yourself."
    )
