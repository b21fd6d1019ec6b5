"""One nodule in two scans: both answers, how the place was found, and what has changed, as one value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import InputError
from CLIPLungLib.followup.dates import days_between
from CLIPLungLib.followup.density_volume import density_volume_mm3
from CLIPLungLib.followup.growth import Growth, growth
from CLIPLungLib.followup.registration import Match, Progress, propose_place
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.inference.result_files import require_finite

# Slices thicker than the other scan's by more make another volume of the same nodule.
LIKE_SLICES_MM = 1.0
SOLID_TEXTURE = 4.0


@dataclass(frozen=True, eq=False)
class Comparison:
    """A nodule before and after.

    Attributes:
        current, prior: the answers in both scans.
        match: how the place in the prior scan was proposed; None where a reader gave it.
        growth: None where the nodule was not outlined in both scans.
        current_date, prior_date: of the scans, where known.
        warnings: what makes the comparison doubtful, beyond the warnings of both answers.
    """

    current: NoduleResult
    prior: NoduleResult
    match: Match | None
    growth: Growth | None
    current_date: date | None = None
    prior_date: date | None = None
    warnings: tuple[str, ...] = ()

    @property
    def probability_change(self) -> float:
        """Of the malignancy probability, current less prior. Growth has no part in it."""
        return self.current.malignancy_probability - self.prior.malignancy_probability

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "current": self.current.to_dict(),
            "prior": self.prior.to_dict(),
            "current_date": self.current_date.isoformat() if self.current_date else None,
            "prior_date": self.prior_date.isoformat() if self.prior_date else None,
            "registration": self.match.to_dict() if self.match else None,
            "growth": self.growth.to_dict() if self.growth else None,
            "malignancy_probability_change": self.probability_change,
            "warnings": list(self.warnings),
            "notice": self.current.notice,
        }

    def to_json(self) -> str:
        """Indented JSON; refuses numbers JSON does not know (NaN, infinity)."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)


def compare(
    current: CTVolume,
    point_ras: Sequence[float],
    prior: CTVolume,
    classifier: NoduleClassifier,
    prior_point_ras: Sequence[float] | None = None,
    dates: tuple[date | None, date | None] = (None, None),
    progress: Progress | None = None,
) -> Comparison:
    """Compare the nodule at a point of the current scan with itself in the prior one.

    Args:
        current, prior: scans of one patient.
        point_ras: (3,) RAS mm, the click in the current scan.
        classifier: answers for both.
        prior_point_ras: the same nodule in the prior scan; proposed by registration unless given.
        dates: of the current and of the prior scan.
        progress: of the registration.

    Raises:
        InputError: a scan or point that is refused, the same scan twice, dates in the wrong order, or no place that matches.
    """
    require_two_scans(current, prior)
    match = None
    days_of(dates)
    if prior_point_ras is None:
        match = propose_place(current, np.asarray(point_ras), prior, progress=progress)
        prior_point_ras = match.point_ras
    after = classifier.classify(current, point_ras)
    before = classifier.classify(prior, prior_point_ras)
    return comparison_of(after, before, (current, prior), match, dates)


def comparison_of(
    after: NoduleResult,
    before: NoduleResult,
    scans: tuple[CTVolume, CTVolume],
    match: Match | None = None,
    dates: tuple[date | None, date | None] = (None, None),
) -> Comparison:
    """The comparison of two answers that are there already; current scan and date first.

    Raises:
        InputError: an answer that holds no finite numbers, or dates in the wrong order.
    """
    for result in (after, before):
        require_finite(result)
    warnings = [*(match.warnings if match else ()), *_scan_warnings(*scans), *_model_warnings(after, before)]
    days, change = days_of(dates), None
    missing = [name for name, one in (("current", after), ("prior", before)) if one.measurement is None]
    if after.measurement is not None and before.measurement is not None:
        densities_mm3 = _densities_mm3(before, after, scans)
        change = growth(before.measurement, after.measurement, days, densities_mm3=densities_mm3)
        warnings += [*_texture_warnings(after), *_size_warnings(change)]
    else:
        warnings.append(f"No change of size: nothing could be outlined in the {' and the '.join(missing)} CT.")
    if days is None:
        warnings.append("No doubling time: give the dates of both CTs.")
    return Comparison(after, before, match, change, *dates, tuple(warnings))


def days_of(dates: tuple[date | None, date | None]) -> int | None:
    """Days from the prior (second) to the current (first) date; None where one is missing.

    Raises:
        InputError: the same day, or the wrong way round.
    """
    current, prior = dates
    return None if current is None or prior is None else days_between(prior, current)


def require_two_scans(current: CTVolume, prior: CTVolume) -> None:
    """Refuse to compare a series with itself.

    Raises:
        InputError: both scans are the same.
    """
    uids = [ct.source.get("series_uid", "") for ct in (current, prior)]
    if current.hu is prior.hu or (uids[0] and uids[0] == uids[1]):
        raise InputError(f"'{current.name}' is given as current and as prior CT. Choose an earlier CT of the patient.")


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write a comparison as JSON.

    Raises:
        InputError: the file cannot be written.
    """
    text = comparison.to_json()
    with writing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _same_voxels(first: np.ndarray, second: np.ndarray) -> bool:
    if first.shape != second.shape:
        return False
    # A few voxels tell most scans apart.
    some = tuple(slice(None, None, max(1, n // 8)) for n in first.shape)
    return bool(np.array_equal(first[some], second[some]) and np.array_equal(first, second))


def _scan_warnings(current: CTVolume, prior: CTVolume) -> list[str]:
    if _same_voxels(current.hu, prior.hu):
        return [
            "Both CTs hold the same voxels: one scan was given twice, and nothing can be said of growth. Choose the prior CT."
        ]
    warnings = []
    if current.patient_id and prior.patient_id and current.patient_id != prior.patient_id:
        warnings.append("The two CTs name different patients (PatientID): make sure that they are of one.")
    thickest = [float(ct.spacing_mm.max()) for ct in (current, prior)]
    if abs(thickest[0] - thickest[1]) > LIKE_SLICES_MM:
        warnings.append(
            f"The slices differ ({thickest[0]:.1f} mm now, {thickest[1]:.1f} mm before): the change of volume is less sure than stated."
        )
    return warnings


def _model_warnings(after: NoduleResult, before: NoduleResult) -> list[str]:
    if after.model.get("sha256") == before.model.get("sha256"):
        return []
    return [
        "The two answers are of different models: their probabilities and sizes cannot be compared. Analyze both again."
    ]


def _size_warnings(change: Growth) -> list[str]:
    if not change.is_beyond_repeatability or change.diameter_change_mm * change.volume_change_percent >= 0:
        return []
    return ["Diameter and volume changed in opposite ways: look at both outlines, one may hold a vessel."]


def _densities_mm3(
    before: NoduleResult, after: NoduleResult, scans: tuple[CTVolume, CTVolume]
) -> tuple[float, float] | None:
    """Earlier and later volume by density; None where the nodule is not solid in both, or a person drew an outline."""
    volumes_mm3 = []
    for result, ct in ((before, scans[1]), (after, scans[0])):
        by_hand = result.measurement is None or result.measurement.corrected_by_hand
        if by_hand or result.outline_on_ct is None or not _is_solid(result):
            return None
        volumes_mm3.append(density_volume_mm3(ct, result.outline_on_ct))
    earlier, later = volumes_mm3
    return (earlier, later) if earlier and later else None


def _is_solid(result: NoduleResult) -> bool:
    return next((sign.level for sign in result.attributes if sign.name == "texture"), SOLID_TEXTURE) >= SOLID_TEXTURE


def _texture_warnings(after: NoduleResult) -> list[str]:
    if _is_solid(after):
        return []
    return [
        "The nodule does not look solid: volumes and doubling times of sub-solid nodules are less sure than stated."
    ]
