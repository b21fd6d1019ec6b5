"""From measurements to what readers would measure."""

from __future__ import annotations

import json

import numpy as np
import pytest

from CLIPLungLib.calibration.measurement import MeasurementCalibration, fit_measurement_calibration
from CLIPLungLib.calibration.ordinal import fit_calibration
from CLIPLungLib.errors import InputError


def drawn_nodules(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Measured diameters, and readers' that follow 1.3 * measured ** 0.9 up to 10 %."""
    measured = rng.uniform(3, 30, count)
    return measured, 1.3 * measured**0.9 * np.exp(rng.normal(0, 0.1, count))


def test_power_law_that_made_the_data_is_recovered():
    found = fit_measurement_calibration(*drawn_nodules(np.random.default_rng(0), 20_000))
    assert found.scale == pytest.approx(1.3, rel=0.02)
    assert found.power == pytest.approx(0.9, abs=0.01)
    # 90 % of a normal distribution lie within 1.645 standard deviations.
    assert found.log_half_width == pytest.approx(0.1645, rel=0.03)


def test_interval_holds_nine_of_ten_new_nodules():
    rng = np.random.default_rng(1)
    found = fit_measurement_calibration(*drawn_nodules(rng, 400))
    measured, readers = drawn_nodules(rng, 4000)
    low, high = np.array([found.interval(value) for value in measured]).T
    assert np.mean((low <= readers) & (readers <= high)) == pytest.approx(0.9, abs=0.03)


def test_value_and_interval_match_hand_computed_numbers():
    calibration = MeasurementCalibration(scale=2.0, power=0.5, log_half_width=float(np.log(1.25)))
    assert calibration.value(9.0) == pytest.approx(6.0)
    assert calibration.interval(9.0) == pytest.approx((4.8, 7.5))


def test_round_trip_through_json():
    calibration = MeasurementCalibration(1.1, 0.95, 0.2)
    assert MeasurementCalibration(**json.loads(json.dumps(calibration.to_dict()))) == calibration


@pytest.mark.parametrize(
    "values", [(0.0, 1.0, 0.1), (1.0, -1.0, 0.1), (1.0, 1.0, -0.1), (np.nan, 1.0, 0.1), (1.0, 1.0, np.inf)]
)
def test_senseless_calibration_is_refused(values):
    with pytest.raises(ValueError, match="positive scale"):
        MeasurementCalibration(*values)


def test_sizes_that_cannot_calibrate_are_refused():
    sizes = np.linspace(3, 30, 50)
    for bad in (0.0, np.nan, np.inf):
        with pytest.raises(InputError, match="positive numbers"):
            fit_measurement_calibration(np.append(sizes, bad), np.append(sizes, 5.0))
    with pytest.raises(InputError, match="of one size"):
        fit_measurement_calibration(np.full(50, 5.0), sizes)
    with pytest.raises(InputError, match="do not rise"):
        fit_measurement_calibration(sizes, sizes[::-1])
    with pytest.raises(InputError, match="5 cases are too few"):
        fit_measurement_calibration(sizes[:5], sizes[:5])


def test_a_score_that_errs_nowhere_has_a_steep_curve_of_finite_numbers():
    score, rating = np.array([-2.0, -1.5, -1.0, 1.0, 1.5, 2.0]), np.array([1.0, 1.0, 1.0, 5.0, 5.0, 5.0])
    fitted = fit_calibration(score, rating)
    assert np.isfinite([fitted.slope, *fitted.offsets]).all()
    assert fitted.malignancy_probability(score) == pytest.approx((rating > 3).astype(float), abs=1e-3)
