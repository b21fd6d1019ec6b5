"""Follow-up in cohorts: the columns of `results.csv` about the prior scan of every row that names one."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from CLIPLungLib.errors import InputError
from CLIPLungLib.followup.comparison import Comparison, comparison_of, days_of, require_two_scans
from CLIPLungLib.followup.dates import date_of_scan, mixed_dates
from CLIPLungLib.followup.registration import propose_place
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.cohort import FurtherColumns
from CLIPLungLib.inference.cohort_table import CohortRow, PriorScan, has_priors
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.inference.row_image import RowImage, image_of, read_image_of_row

logger = logging.getLogger(__name__)
COMPARISON_COLUMNS = (
    "comparison_status",
    "comparison_error",
    "comparison_warnings",
    "prior_r",
    "prior_a",
    "prior_s",
    "registration_similarity",
    "days",
    "prior_diameter_mm",
    "prior_volume_mm3",
    "volume_change_percent",
    "volume_doubling_days",
    "change_significant",
    "prior_probability",
)


def comparison_columns(cohort: Path, classifier: NoduleClassifier) -> FurtherColumns | None:
    """What `run_batch` needs to fill the columns of the comparison; None where the table has no column `prior_image`.

    Raises:
        InputError: the cohort cannot be read.
    """
    if not has_priors(cohort):
        return None

    # The rows of an image come together: the two scans of the last row are kept.
    @lru_cache(maxsize=2)
    def read(image: RowImage) -> CTVolume:
        return read_image_of_row(image, read_ct)

    def cells(row: CohortRow, result: NoduleResult) -> dict[str, str]:
        if row.prior is None:
            return dict.fromkeys(COMPARISON_COLUMNS, "")
        try:
            # Before anything is read: without a path any image would do.
            if row.prior.fault or row.prior.image_path is None:
                raise InputError(row.prior.fault)
            prior = read((row.prior.image_path, ""))
            found = _compared(row, row.prior, result, classifier, read(image_of(row)), prior)
            return _cells(found, prior.source.get("note", ""))
        except InputError as error:
            return _failed(str(error))
        except Exception as error:  # every other fault of a row, named with its type
            logger.exception("unexpected fault")
            return _failed(f"{type(error).__name__}: {error}")

    return FurtherColumns(COMPARISON_COLUMNS, cells)


def _compared(
    row: CohortRow,
    asked: PriorScan,
    result: NoduleResult,
    classifier: NoduleClassifier,
    current: CTVolume,
    prior: CTVolume,
) -> Comparison:
    require_two_scans(current, prior)
    dates = (
        date_of_scan(asked.current_date, "the CT", row.image, current),
        date_of_scan(asked.prior_date, "the prior CT", asked.image_path or Path(), prior),
    )
    days_of(dates)
    match = propose_place(current, row.point_ras(), prior) if asked.point_mm is None else None
    before = classifier.classify(prior, asked.point_mm or (match.point_ras if match else ()))
    found = comparison_of(result, before, (current, prior), match, dates)
    mixed = mixed_dates((asked.current_date, asked.prior_date), dates)
    return replace(found, warnings=(*found.warnings, *mixed))


def _failed(error: str) -> dict[str, str]:
    return dict.fromkeys(COMPARISON_COLUMNS, "") | {"comparison_status": "failed", "comparison_error": error}


def _cells(found: Comparison, prior_note: str) -> dict[str, str]:
    r, a, s = (f"{value:.3f}" for value in found.prior.point_ras)
    cells = dict.fromkeys(COMPARISON_COLUMNS, "") | {
        "comparison_status": "ok",
        "comparison_warnings": " ".join([*found.warnings, *([f"Prior CT: {prior_note}"] if prior_note else [])]),
        "prior_r": r,
        "prior_a": a,
        "prior_s": s,
        "registration_similarity": f"{found.match.similarity:.4f}" if found.match else "",
        "prior_diameter_mm": f"{found.prior.diameter_mm:.6f}",
        "prior_probability": f"{found.prior.malignancy_probability:.6f}",
    }
    change = found.growth
    if change is not None:
        cells["prior_volume_mm3"] = f"{change.prior_volume_mm3:.6f}"
        cells["volume_change_percent"] = f"{change.volume_change_percent:.3f}"
        cells["change_significant"] = "yes" if change.is_beyond_repeatability else "no"
        cells["days"] = "" if change.days is None else str(change.days)
        cells["volume_doubling_days"] = "" if change.doubling_days is None else f"{change.doubling_days:.1f}"
    return cells
