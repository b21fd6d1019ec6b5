"""Dates of two scans, and the days between them."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.dicom.acquisition_date import acquisition_date

# DICOM of before 1993 has dots, and spreadsheets of East Asia have slashes; a time of day may follow.
WRITTEN = re.compile(
    r"(\d{4})(?:[-.]?(\d{2})[-.]?(\d{2})|/(\d{1,2})/(\d{1,2}))"
    r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?(?:Z|[-+]\d{2}:?\d{2}))?)?"
)
# CT did not exist before.
FIRST_YEAR = 1972


def read_date(text: str, whose: str) -> date:
    """A date as YYYY-MM-DD, as YYYY/M/D, or as DICOM writes it, YYYYMMDD; a time of day behind it does not count.

    Raises:
        InputError: no such date, or one no CT can have; `whose` names it.
    """
    found = WRITTEN.fullmatch(text.strip())
    try:
        day = date(*(int(part) for part in found.groups() if part)) if found else None
    except ValueError:
        day = None
    if day is None or day.year < FIRST_YEAR:
        raise InputError(f"'{text}' is no date of {whose}. Write it as YYYY-MM-DD, such as 2024-03-28.")
    return day


def date_of_scan(given: str | None, whose: str, path: Path, ct: CTVolume) -> date | None:
    """The date given, or that of the DICOM series; None where neither is there, or the DICOM's is none (anonymised).

    Raises:
        InputError: the date given is none.
    """
    if given:
        return read_date(given, whose)
    if ct.source.get("format") != "DICOM":
        return None
    try:
        return read_date(acquisition_date(path, ct.source.get("series_uid", "")), whose)
    except InputError:
        return None


def days_between(prior: date, current: date) -> int:
    """Days from the prior scan to the current one.

    Raises:
        InputError: the same day, or the wrong way round.
    """
    days = (current - prior).days
    if days == 0:
        raise InputError(
            f"Both CTs are of {current}: nothing grows in no time. Check the dates; give the true ones where anonymisation has replaced them."
        )
    if days < 0:
        raise InputError(f"The prior CT ({prior}) is later than the current one ({current}). Exchange the two CTs.")
    return days


def mixed_dates(given: tuple[str | None, str | None], dates: tuple[date | None, date | None]) -> tuple[str, ...]:
    """A warning where one date was given and the other comes from a DICOM header; current scan first."""
    if None in dates or bool(given[0]) == bool(given[1]):
        return ()
    whose = "prior" if given[0] else "current"
    return (
        f"The date of the {whose} CT is that of its DICOM header, and the other one was given: where anonymisation has shifted dates, "
        "the days between the CTs are wrong. Give both.",
    )
