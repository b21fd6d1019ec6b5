"""Growth: exact arithmetic on sizes and dates."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.followup.dates import days_between, mixed_dates, read_date
from CLIPLungLib.followup.growth import bts_words, doubling_time, growth
from CLIPLungLib.followup.repeatability import (
    NORMAL_95,
    PUBLISHED,
    Repeatability,
    log_sd_of_interval,
    log_sd_of_pairs,
    repeatability_at,
)
from CLIPLungLib.inference.result import NoduleMeasurement

NOISE = Repeatability(0.1, "a test")


def measured(volume_mm3: float, factor: float = 1.5) -> NoduleMeasurement:
    """A ball of that volume; the readers' lies within `factor`."""
    diameter_mm = 2 * (volume_mm3 * 3 / 4 / np.pi) ** (1 / 3)
    interval = (volume_mm3 / factor, volume_mm3 * factor)
    return NoduleMeasurement(diameter_mm, (1.0, 9.0), diameter_mm, volume_mm3, interval, (0.0, 0.0, 0.0))


@pytest.mark.parametrize("days", [30, 100, 400])
def test_volume_that_doubles_has_a_doubling_time_of_the_days_between(days):
    found = growth(measured(200.0), measured(400.0), days, NOISE)
    assert found.doubling_days == pytest.approx(days)
    assert found.volume_change_percent == pytest.approx(100.0)
    assert found.is_beyond_repeatability
    low, high = found.doubling_interval_days
    reach = NORMAL_95 * 0.1
    assert low == pytest.approx(days * np.log(2) / (np.log(2) + reach))
    assert high == pytest.approx(days * np.log(2) / (np.log(2) - reach))
    assert found.diameter_change_mm == pytest.approx(found.prior_diameter_mm * (2 ** (1 / 3) - 1))


def test_change_within_the_noise_is_no_significant_change_and_has_no_upper_doubling_time():
    found = growth(measured(200.0), measured(220.0), 100, NOISE)
    assert not found.is_beyond_repeatability
    assert found.doubling_interval_days[1] is None
    assert found.bts is None
    low, high = found.volume_change_interval_percent
    assert low < 0 < high


def test_limit_of_the_noise_is_where_significance_begins():
    limit = float(np.exp(NORMAL_95 * NOISE.log_sd))
    for factor, expected in (
        (limit * 1.001, True),
        (limit / 1.001, False),
        (1.001 / limit, False),
        (0.999 / limit, True),
    ):
        assert growth(measured(100.0), measured(100.0 * factor), 90, NOISE).is_beyond_repeatability is expected


@pytest.mark.parametrize("volume_mm3", [50.0, 200.0])
def test_nodule_that_does_not_grow_has_no_doubling_time(volume_mm3):
    found = growth(measured(200.0), measured(volume_mm3), 100, NOISE)
    assert found.doubling_days is None
    assert found.doubling_interval_days is None


def test_without_days_the_change_alone_is_told():
    found = growth(measured(200.0), measured(400.0), None, NOISE)
    assert found.is_beyond_repeatability
    assert (found.days, found.doubling_days, found.bts) == (None, None, None)
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_sizes_that_are_none_are_refused(bad):
    wrong = replace(measured(100.0), volume_mm3=bad)
    for pair in ((wrong, measured(100.0)), (measured(100.0), wrong)):
        with pytest.raises(InputError, match="positive numbers"):
            growth(*pair, 100)


@pytest.mark.parametrize("days", [0, -5])
def test_days_that_are_none_are_refused(days):
    with pytest.raises(InputError, match="one or more"):
        doubling_time(0.5, 0.1, days)


@pytest.mark.parametrize(
    ("days", "words"),
    [(399, "400 days or less"), (400, "400 days or less"), (500, "400 to 600"), (601, "more than 600")],
)
def test_words_of_the_guideline(days, words):
    assert words in bts_words(100.0, float(days))
    assert "less than 25 %" in bts_words(24.9, float(days))


def test_noise_that_is_reckoned_with_is_never_below_the_published_one():
    noises = [repeatability_at(diameter_mm).log_sd for diameter_mm in (3.0, 5.99, 6.0, 14.9, 15.0, 80.0)]
    assert min(noises) >= PUBLISHED.log_sd
    assert noises == sorted(noises, reverse=True)
    assert noises[0] > noises[2] > noises[4]
    small = growth(measured(60.0), measured(5000.0), None)
    assert small.repeatability == repeatability_at(small.prior_diameter_mm)
    assert PUBLISHED.limits_percent == pytest.approx((-20.0, 25.0))


def test_noise_of_pairs_is_found_again():
    rng = np.random.default_rng(0)
    first = rng.uniform(50, 500, 20000)
    assert log_sd_of_pairs(first, first * np.exp(rng.normal(0, 0.2, 20000))) == pytest.approx(0.2, rel=0.03)
    with pytest.raises(InputError, match="positive sizes"):
        log_sd_of_pairs(np.array([1.0, np.nan]), np.array([1.0, 2.0]))


def test_interval_of_an_outline_gives_its_noise():
    assert log_sd_of_interval((100 / np.exp(1.6448536), 100 * np.exp(1.6448536))) == pytest.approx(1.0, rel=1e-6)
    assert growth(measured(100.0, 1.0), measured(150.0, 1.0), 9).outline_log_sd == 0.0
    with pytest.raises(InputError, match="no interval"):
        log_sd_of_interval((2.0, 1.0))


def test_dates_in_both_notations_and_their_distance():
    assert read_date("2024-02-28", "a CT") == read_date("20240228", "a CT") == date(2024, 2, 28)
    assert days_between(date(2024, 2, 28), date(2024, 3, 1)) == 2


@pytest.mark.parametrize(
    "text",
    ["2024-02-28 00:00:00", "2024-02-28T23:30:05.123-05:00", "2024-02-28T09:30Z", "20240228 09:30", "2024/02/28", "2024/2/28"],
)  # fmt: skip
def test_dates_as_spreadsheets_and_programs_write_them(text):
    assert read_date(text, "a CT") == date(2024, 2, 28)


@pytest.mark.parametrize(
    "text",
    ["", "2024-02-30", "28.2.2024", "1900-01-01", "today", "2024-2-3"]
    + ["03/04/2024", "45350", "202402281230", "2024-02-28 noon", "20240228.0", "24/02/28"],
)
def test_date_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="no date of the prior CT"):
        read_date(text, "the prior CT")


@pytest.mark.parametrize(
    ("given", "told"),
    [(("2024-07-01", None), "prior"), ((None, "2024-01-01"), "current"), (("2024-07-01", "2024-01-01"), ""), ((None, ""), "")],
)  # fmt: skip
def test_a_date_given_beside_one_of_a_header_is_told(given, told):
    dates = (date(2024, 7, 1), date(2024, 1, 1))
    warnings = mixed_dates(given, dates)
    assert len(warnings) == bool(told)
    assert f"The date of the {told} CT is that of its DICOM header" in "".join(warnings) or not told
    assert mixed_dates(given, (dates[0], None)) == ()


def test_same_day_and_reversed_order_are_refused():
    day = date(2024, 2, 28)
    with pytest.raises(InputError, match="nothing grows in no time"):
        days_between(day, day)
    with pytest.raises(InputError, match="Exchange the two CTs"):
        days_between(date(2024, 3, 1), day)
