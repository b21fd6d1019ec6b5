"""What a reader is told, by hand-computed numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from CLIPLungLib.calibration.calibrations import Calibrations, OutlineCalibrations
from CLIPLungLib.calibration.measurement import MeasurementCalibration
from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.out_of_distribution import OutOfDistributionLimits
from CLIPLungLib.calibration.sphericity import SphericityCalibration
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import Patch, PatchSpec
from CLIPLungLib.inference.calibrated_result import (
    CUT_OFF,
    EMPTY_MAP,
    calibrated_measurement,
    nodule_result,
    offset_ras,
    reading_warnings,
    sign_level,
)
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.inference.heat_threshold import HEAT_THRESHOLD
from CLIPLungLib.inference.outline_measurement import OUTLINE_IN_DOUBT, Measurement
from CLIPLungLib.inference.readout import Reading, level_probabilities
from CLIPLungLib.inference.result import CSV_COLUMNS, AttributeResult, NoduleMeasurement, failed_row
from CLIPLungLib.inference.result_files import checked_heatmap, require_finite, write_heatmap
from CLIPLungLib.model.second_outputs import SECOND_OUTPUTS
from CLIPLungLib.version import __version__
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASSES, LEVEL_COUNT, best_code, level_columns

SPEC = PatchSpec(shape=(5, 9, 9), spacing_mm=(2.0, 1.0, 0.5))
CENTER = np.array([10.0, 20.0, 30.0])
PATCH = Patch(CENTER, np.zeros(SPEC.shape), np.ones(5, bool), SPEC.grid_to_ras(CENTER), 1.0, ("of the patch",))
OUTLINE = OutlineCalibrations(
    MeasurementCalibration(2.0, 0.5, float(np.log(1.25))),
    MeasurementCalibration(3.0, 0.5, float(np.log(2.0))),
    SphericityCalibration(1.0, 0.2, 1.5, 0.5),
    OutOfDistributionLimits(9.0, 0.1),
)
CALIBRATIONS = Calibrations(Calibration(2.0, (-1.0, 0.5, 1.5)), 0.7, OUTLINE)
FOUND = Measurement(16.0, 8.0, 400.0, np.array([1.0, 2.0, -3.0]), np.ones(SPEC.shape, bool), False)
CT = CTVolume(np.zeros((1, 1, 1), np.int16), np.eye(4), "Thorax", {"note": "as read"})


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint_file):
    return replace(load_checkpoint(tiny_checkpoint_file), calibrations=CALIBRATIONS)


def reading(measurement: Measurement | None = FOUND, **changes: object) -> Reading:
    cosines = np.zeros(LEVEL_COUNT)
    values = {
        "patch": PATCH, "malignancy_score": 0.25, "level_cosines": cosines, "level_probabilities": level_probabilities(cosines, 1.0),
        "estimated_diameter_mm": 7.0, "feature": np.zeros(4), "measurement": measurement, "presence": 0.9, "distance": 1.0,
    }  # fmt: skip
    return Reading(**values | changes)


def second_reading(**values: float) -> np.ndarray:
    return np.array([values.get(name, np.nan) for name in SECOND_OUTPUTS])


def result(checkpoint, heat: np.ndarray | None = None, **changes: object):
    heat = np.ones(SPEC.shape) if heat is None else heat
    return nodule_result(reading(**changes), heat, CT, np.array([1.0, 2.0, 3.0]), checkpoint)


def test_distances_on_the_patch_become_places_in_the_patient():
    # 1 mm up, 2 mm to the back, 3 mm to the right.
    np.testing.assert_allclose(offset_ras(PATCH, FOUND.center_offset_mm), [13.0, 18.0, 31.0])
    np.testing.assert_allclose(offset_ras(PATCH, np.zeros(3)), CENTER)


def test_sizes_by_hand():
    found = calibrated_measurement(reading(), FOUND, CALIBRATIONS)
    assert found.diameter_mm == pytest.approx(8.0)
    assert found.diameter_interval_mm == pytest.approx((6.4, 10.0))
    # The mean of 16 and 8 mm is three quarters of the longest, before and after calibration.
    assert found.mean_diameter_mm == pytest.approx(6.0)
    assert found.volume_mm3 == pytest.approx(60.0)
    assert found.volume_interval_mm3 == pytest.approx((30.0, 120.0))
    assert found.center_ras == pytest.approx((13.0, 18.0, 31.0))
    assert calibrated_measurement(reading(), FOUND, replace(CALIBRATIONS, outline=None)) is None


def test_the_second_reader_has_a_say_in_the_diameters_and_none_in_the_volume():
    alone = calibrated_measurement(reading(), FOUND, CALIBRATIONS)
    # The outline is 16 mm long, the two estimates are 2 and 8 mm (their mean is 4): the nodule counts as one of (16 * 2 * 8)^(1/3).
    second = second_reading(log_diameter=np.log(2.0))
    both = calibrated_measurement(reading(second=second, estimated_diameter_mm=4.0), FOUND, CALIBRATIONS)
    assert both.diameter_mm == pytest.approx(CALIBRATIONS.outline.diameter.value(256.0 ** (1 / 3)))
    assert both.mean_diameter_mm / both.diameter_mm == pytest.approx(alone.mean_diameter_mm / alone.diameter_mm)
    assert both.volume_mm3 == alone.volume_mm3
    assert both.center_ras == alone.center_ras


@pytest.mark.parametrize(
    ("looks_mm", "is_doubtful"), [(16.0, False), (10.1, False), (9.9, True), (25.5, False), (25.7, True)]
)
def test_an_outline_that_does_not_fit_the_look_is_called_doubtful(looks_mm, is_doubtful):
    # The outline is 16 mm long.
    second = second_reading(log_diameter=np.log(looks_mm))
    assert (OUTLINE_IN_DOUBT in reading_warnings(reading(second=second), CALIBRATIONS)) == is_doubtful
    assert OUTLINE_IN_DOUBT not in reading_warnings(reading(None, second=second), CALIBRATIONS)


def test_sphericity_is_corrected_by_the_measured_shape_alone():
    ball_mm = np.cbrt(6 * 400.0 / np.pi)
    expected = 1 + 0.2 * 3 + 1.5 * 8 / 16 + 0.5 * ball_mm / 16
    assert sign_level("sphericity", reading(), CALIBRATIONS) == pytest.approx(expected)
    for name in ("texture", "lobulation"):
        assert sign_level(name, reading(), CALIBRATIONS) == pytest.approx(3.0)
    assert sign_level("sphericity", reading(None), CALIBRATIONS) == pytest.approx(3.0)
    assert sign_level("sphericity", reading(), replace(CALIBRATIONS, outline=None)) == pytest.approx(3.0)


def test_result_by_hand(checkpoint):
    found = result(checkpoint)
    not_benign, event, malignant = (1 / (1 + np.exp(offset - 0.5)) for offset in (-1.0, 0.5, 1.5))
    assert found.point_ras == (1.0, 2.0, 3.0)
    assert found.malignancy_probability == pytest.approx(event)
    assert found.class_probabilities == pytest.approx((1 - not_benign, not_benign - malignant, malignant))
    assert found.predicted_class == "unsure"
    assert found.class_set == ("unsure",)
    assert found.diameter_mm == pytest.approx(8.0)
    assert found.outline is FOUND.mask
    assert found.heatmap.dtype == np.float32
    assert (found.heatmap_to_ras == PATCH.ijk_to_ras).all()
    assert found.model == {"name": "CLIP-Lung", "version": __version__, "sha256": checkpoint.sha256}
    assert found.image == {"name": "Thorax", "note": "as read"}
    assert found.warnings == ("of the patch",)


def test_without_an_outline_the_networks_own_estimate_stands(checkpoint):
    found = result(checkpoint, measurement=None)
    assert (found.diameter_mm, found.measurement, found.outline) == (7.0, None, None)


@pytest.mark.parametrize(("highest", "is_empty"), [(0.25, False), (0.2499, True), (1.0, False), (0.0, True)])
def test_a_map_is_empty_below_what_is_drawn(checkpoint, highest, is_empty):
    assert HEAT_THRESHOLD == 0.25
    heat = np.zeros(SPEC.shape)
    heat[2, 4, 4] = highest
    assert (EMPTY_MAP in result(checkpoint, heat).warnings) is is_empty


def test_warnings_come_in_the_order_of_the_way(checkpoint):
    cut = replace(FOUND, is_cut=True)
    warnings = result(checkpoint, np.zeros(SPEC.shape), measurement=cut, distance=9.01).warnings
    assert warnings[0] == "of the patch"
    assert "unlike the nodules" in warnings[1]
    assert warnings[2:] == (CUT_OFF, EMPTY_MAP)
    assert result(checkpoint, measurement=FOUND, distance=9.0, presence=0.1).warnings == ("of the patch",)


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda one: one.name)
def test_similarity_is_that_of_the_sign_at_its_clearest(checkpoint, attribute):
    cosines = np.linspace(-0.9, 0.9, LEVEL_COUNT)
    found = {one.name: one for one in result(checkpoint, level_cosines=cosines).attributes}[attribute.name]
    assert found.similarity == pytest.approx(cosines[level_columns(attribute.name)][attribute.sign_level - 1])


@pytest.mark.parametrize(
    ("level", "code"), [(0.2, 1), (1.0, 1), (1.49, 1), (1.5, 2), (4.49, 4), (4.5, 5), (5.0, 5), (5.6, 5)]
)
def test_degree_is_the_nearest_and_stays_on_the_scale(level, code):
    margin = next(one for one in ATTRIBUTES if one.name == "margin")
    assert best_code(margin, (0.9, 0.0, 0.0, 0.0, 0.1), level) == code
    assert AttributeResult("margin", 0.1, level, (0.9, 0.0, 0.0, 0.0, 0.1), "").code == code


def test_temperature_sharpens_the_texts():
    cosines = np.zeros(LEVEL_COUNT)
    cosines[level_columns("texture")][1] = 0.5
    for scale in (1.0, 4.0):
        expected = np.exp(0.5 * scale) / (np.exp(0.5 * scale) + 4)
        assert level_probabilities(cosines, scale)[level_columns("texture")][1] == pytest.approx(expected)


# The forms of a result.


def test_json_holds_all_numbers(checkpoint):
    found = result(checkpoint)
    plain = json.loads(found.to_json())
    assert plain["point_ras_mm"] == [1, 2, 3]
    assert plain["class_probabilities"] == dict(zip(CLASSES, found.class_probabilities, strict=True))
    assert plain["class_set"] == ["unsure"]
    assert plain["measurement"]["volume_mm3"] == pytest.approx(60.0)
    assert plain["measurement"]["center_ras"] == pytest.approx([13, 18, 31])
    assert plain["attributes"].keys() == {one.name for one in ATTRIBUTES}
    assert plain["attributes"]["sphericity"]["level_probabilities"] == pytest.approx([0.2] * 5)
    assert plain["warnings"] == ["of the patch"]
    assert "Research use only" in plain["notice"]
    assert json.loads(replace(found, measurement=None).to_json())["measurement"] is None


def test_measurement_comes_back_from_json(checkpoint):
    found = result(checkpoint).measurement
    assert NoduleMeasurement.from_dict(json.loads(json.dumps(asdict(found)))) == found


def test_row_of_the_table_by_hand(checkpoint):
    row = result(checkpoint).to_row("n 1")
    assert tuple(row) == CSV_COLUMNS
    assert (row["id"], row["status"], row["error"], row["predicted_class"]) == ("n 1", "ok", "", "unsure")
    assert (row["diameter_mm"], row["diameter_low_mm"], row["diameter_high_mm"]) == (
        "8.000000",
        "6.400000",
        "10.000000",
    )
    assert (row["volume_mm3"], row["class_set"]) == ("60.000000", "unsure")
    assert (row["warnings"], row["notes"]) == ("of the patch", "as read")
    assert row["texture_level"] == "3.000000"
    bare = replace(result(checkpoint), measurement=None, image={}, class_set=CLASSES).to_row("n")
    assert (bare["diameter_low_mm"], bare["volume_mm3"], bare["notes"]) == ("", "", "")
    assert bare["class_set"] == "benign unsure malignant"


def test_row_of_a_failure():
    row = failed_row("n1", "why")
    assert tuple(row) == CSV_COLUMNS
    assert {name: value for name, value in row.items() if value} == {"id": "n1", "status": "failed", "error": "why"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_every_number_must_be_one(checkpoint, value):
    found = result(checkpoint)
    require_finite(found)
    require_finite(replace(found, measurement=None))
    size, sign = found.measurement, found.attributes[3]
    damaged = [
        replace(found, point_ras=(0.0, value, 0.0)),
        replace(found, malignancy_probability=value),
        replace(found, diameter_mm=value),
        replace(found, class_probabilities=(0.5, value, 0.5)),
        *(
            replace(found, attributes=(*found.attributes[:3], replace(sign, **change)))
            for change in ({"level": value}, {"similarity": value}, {"level_probabilities": (0.5, value)})
        ),
        *(
            replace(found, measurement=replace(size, **{name: (1.0, value) if "interval" in name else value}))
            for name in ("diameter_mm", "diameter_interval_mm", "volume_mm3", "volume_interval_mm3")
        ),
    ]
    for one in damaged:
        with pytest.raises(InputError, match="NaN or infinite"):
            require_finite(one)


@pytest.mark.parametrize(
    ("value", "is_right"),
    [
        (-0.9e-5, True),
        (-1.1e-5, False),
        (1 + 0.9e-5, True),
        (1 + 1.2e-5, False),
        (np.nan, False),
        (0.0, True),
        (1.0, True),
    ],
)
def test_a_heat_map_lies_between_nothing_and_one(checkpoint, value, is_right):
    heat = np.full((2, 3, 4), 0.5)
    heat[1, 2, 3] = value
    found = replace(result(checkpoint), heatmap=heat)
    if is_right:
        assert checked_heatmap(found)[1, 2, 3] == np.clip(np.float32(value), 0, 1)
    else:
        with pytest.raises(InputError, match=r"3-D array of numbers within 0\.\.1"):
            checked_heatmap(found)


@pytest.mark.parametrize("shape", [(3, 4), (0, 3, 4), (1, 2, 3, 4)])
def test_a_heat_map_has_three_axes(checkpoint, shape):
    with pytest.raises(InputError, match="3-D array"):
        checked_heatmap(replace(result(checkpoint), heatmap=np.zeros(shape)))


def test_a_written_heat_map_lies_where_the_patch_lay(checkpoint, tmp_path):
    import SimpleITK as sitk

    found = result(checkpoint, np.random.default_rng(0).random(SPEC.shape))
    write_heatmap(found, tmp_path / "a.NRRD")
    image = sitk.ReadImage(str(tmp_path / "a.NRRD"))
    assert (sitk.GetArrayFromImage(image) == found.heatmap).all()
    assert image.GetSpacing() == pytest.approx((0.5, 1.0, 2.0))
    for ijk in ((0, 0, 0), (8, 3, 1)):
        right, anterior, superior, _ = found.heatmap_to_ras @ [*ijk, 1.0]
        assert image.TransformIndexToPhysicalPoint(ijk) == pytest.approx((-right, -anterior, superior))
    with pytest.raises(InputError, match=r"Choose a name that ends in \.nrrd"):
        write_heatmap(found, tmp_path / "a.nii")
