"""Either side of every limit by which a volume or a point is accepted: what lies just within is read, what lies just beyond is not."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.hounsfield import _constant_values, _is_too_low, hounsfield_problem, sparse_sample
from CLIPLungLib.image.patch import PatchSpec, extract_patch, require_point
from CLIPLungLib.image.resample import sample_hu

LUNG = np.full((4, 5, 6), -850, np.int16)
SPEC = PatchSpec(shape=(5, 9, 9), spacing_mm=(1.0, 1.0, 1.0))


# The matrix of a volume.


def skewed(sine: float) -> np.ndarray:
    """Axes i and j of 2 mm and 3 mm that are nearly parallel: the volume of a unit cell is the sine between them."""
    matrix = np.eye(4)
    matrix[:2, 0] = 2.0, 0.0
    matrix[:2, 1] = 3 * np.sqrt(1 - sine**2), 3 * sine
    return matrix


@pytest.mark.parametrize("sine", [0.00101, -0.00101, 0.5])
def test_axes_that_differ_by_a_thousandth_are_axes(sine):
    CTVolume(LUNG, skewed(sine))


@pytest.mark.parametrize("sine", [0.00099, -0.00099, 0.0])
def test_axes_that_differ_by_less_are_flat(sine):
    with pytest.raises(InputError, match="is flat"):
        CTVolume(LUNG, skewed(sine))


@pytest.mark.parametrize("axis", range(3))
def test_voxels_need_a_size_along_every_axis(axis):
    diagonal = np.ones(4)
    diagonal[axis] = 1.01e-6
    CTVolume(LUNG, np.diag(diagonal))
    for size in (0.99e-6, 0.0):
        diagonal[axis] = size
        with pytest.raises(InputError, match="is flat"):
            CTVolume(LUNG, np.diag(diagonal))


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize(
    ("spacing_mm", "is_ct"), [(0.05, True), (0.049, False), (30.0, True), (30.1, False), (0.001, False), (1000, False)]
)
def test_voxels_of_another_unit_are_refused(axis, spacing_mm, is_ct):
    matrix = np.eye(4)
    matrix[axis, axis] = spacing_mm
    ct = CTVolume(np.full((4, 5, 6), -850, np.int16), matrix)
    if is_ct:
        ct.require_ct()
    else:
        with pytest.raises(InputError, match=r"which no CT of a chest has.*another unit than mm"):
            ct.require_ct()


@pytest.mark.parametrize("shape", [(0, 5, 6), (4, 0, 6), (4, 5, 0)])
def test_no_axis_may_be_empty(shape):
    with pytest.raises(InputError, match="holds no voxels"):
        CTVolume(np.zeros(shape, np.int16), np.eye(4))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i1", "i8", "f2", "f4"])
def test_all_real_numbers_are_taken(dtype):
    assert CTVolume(np.zeros((1, 1, 1), dtype), np.eye(4)).hu.dtype == dtype


def test_a_volume_without_a_name_or_source_has_usual_ones_of_its_own():
    first, second = CTVolume(LUNG, np.eye(4)), CTVolume(LUNG, np.eye(4))
    assert (first.name, first.source, first.doubtful_k) == ("CT", {}, ())
    assert first.source is not second.source


def test_a_matrix_of_whole_numbers_is_read_as_fractions():
    assert CTVolume(LUNG, np.eye(4, dtype=int)).ijk_to_ras.dtype == np.float64


# Hounsfield units. Samples of 10 000 voxels in which no value is common enough to pass for padding.

BONE = np.arange(200, 1200)


def sample(*parts: tuple[float | np.ndarray, int]) -> np.ndarray:
    """Of each value, or of each range of values in turn, so many; filled up with bone to 10 000."""
    values = np.concatenate([np.resize(value, count) for value, count in parts])
    return np.concatenate([values, np.resize(BONE, 10_000 - len(values))]).astype(np.float64)


LUNG_VALUES = np.arange(-899, -300)


@pytest.mark.parametrize(("count", "is_ct"), [(300, True), (299, False)])
def test_three_voxels_in_a_hundred_of_lung_make_a_ct(count, is_ct):
    assert (hounsfield_problem(sample((LUNG_VALUES, count))) == "") is is_ct


@pytest.mark.parametrize(("value", "is_lung"), [(-201, True), (-200, False)])
def test_lung_ends_at_minus_200(value, is_lung):
    assert (hounsfield_problem(sample((value, 300))) == "") is is_lung


@pytest.mark.parametrize(("lowest", "is_lung"), [(-1150, True), (-1151, False)])
def test_lung_begins_at_minus_1150(lowest, is_lung):
    assert (hounsfield_problem(sample((np.arange(lowest, lowest + 10), 300))) == "") is is_lung


@pytest.mark.parametrize(("highest", "is_ct"), [(40_000, True), (40_001, False)])
def test_metal_reaches_40_000(highest, is_ct):
    found = hounsfield_problem(sample((LUNG_VALUES, 9000), (highest, 1)))
    assert ("cannot be Hounsfield units" not in found) is is_ct


@pytest.mark.parametrize(("median", "what"), [(-9999, "applied twice"), (-10_001, "cannot be Hounsfield units")])
def test_a_median_below_minus_10_000_is_another_scale(median, what):
    assert what in hounsfield_problem(np.full(1000, median))


@pytest.mark.parametrize(("count", "is_ct"), [(199, True), (200, False)])
def test_two_in_a_hundred_far_below_air_are_an_intercept_applied_twice(count, is_ct):
    found = sample((np.arange(-1500, -1300), count), (np.arange(-1000, -801), 9800 - count))[:9800]
    found = np.concatenate([found, np.resize(np.arange(-1000, -801), 200)])
    assert ("applied twice" not in hounsfield_problem(found)) is is_ct


@pytest.mark.parametrize(("value", "is_too_low"), [(-1301, True), (-1300, False)])
def test_far_below_air_is_below_minus_1300(value, is_too_low):
    assert _is_too_low(np.repeat([float(value), -900.0], [20, 980])) is is_too_low


@pytest.mark.parametrize(("dense", "is_ct"), [(299, False), (300, True)])
def test_as_many_dense_voxels_as_streaks_are_metal_and_no_wrong_scale(dense, is_ct):
    low, air = np.resize(np.arange(-1500, -1300), 300), np.resize(np.arange(-1000, -801), 9400)
    for value, others in ((-800, is_ct), (-801, False)):
        found = np.concatenate([low, air, np.full(dense, value), np.full(300 - dense, -820)])
        assert ("applied twice" not in hounsfield_problem(found)) is others


@pytest.mark.parametrize(("count", "is_ct"), [(8000, True), (7999, False)])
def test_four_fifths_of_soft_tissue_are_a_block_without_lung(count, is_ct):
    assert (hounsfield_problem(sample((np.arange(-150, 150), count))) == "") is is_ct


@pytest.mark.parametrize(("low", "high", "is_ct"), [(-150, 149, True), (-151, 149, False), (-150, 150, False)])
def test_soft_tissue_lies_from_minus_150_to_150(low, high, is_ct):
    assert (hounsfield_problem(np.repeat([float(low), float(high), 500.0], [400, 400, 200])) == "") is is_ct


@pytest.mark.parametrize(("low", "is_ct"), [(-31, True), (-30, False)])
def test_soft_tissue_without_padding_needs_fat(low, is_ct):
    assert (hounsfield_problem(np.repeat([float(low), 40.0], 500)) == "") is is_ct


@pytest.mark.parametrize(("spread", "is_ct"), [(21, True), (20, False)])
def test_soft_tissue_has_a_spread(spread, is_ct):
    for low, padding in ((-50.0, []), (30.0, [-2048.0] * 300)):
        values = np.concatenate([np.repeat([low, low + spread], 500), padding])
        assert (hounsfield_problem(values) == "") is is_ct


@pytest.mark.parametrize(("value", "is_ct"), [(21, True), (-21, True), (20, False), (-20, False), (0, False)])
def test_one_value_within_padding_is_tissue_when_it_is_no_label(value, is_ct):
    values = np.repeat([-2048.0, float(value)], [300, 1000])
    assert (hounsfield_problem(values) == "") is is_ct


@pytest.mark.parametrize(("count", "is_padding"), [(100, True), (99, False)])
def test_one_voxel_in_a_hundred_is_padding(count, is_padding):
    values = np.concatenate([np.full(count, -1024.0), np.resize(np.arange(0.0, 140.0), 10_000 - count)])
    assert _constant_values(values) == ([-1024.0] if is_padding else [])


@pytest.mark.parametrize(("value", "is_padding"), [(-900, True), (-899, False)])
def test_padding_lies_at_minus_900_or_below(value, is_padding):
    values = np.concatenate([np.full(200, float(value)), np.resize(np.arange(0.0, 140.0), 9800)])
    assert _constant_values(values) == ([float(value)] if is_padding else [])


@pytest.mark.parametrize(("beside", "is_padding"), [(49, True), (50, False)])
@pytest.mark.parametrize("away", [1, -1, 3, -3])
def test_padding_is_four_times_as_common_as_any_value_within_three(beside, away, is_padding):
    rest = np.resize(np.arange(0.0, 140.0), 9800 - beside)
    near = np.concatenate([np.full(200, -1024.0), np.full(beside, -1024.0 + away), rest])
    assert _constant_values(near) == ([-1024.0] if is_padding else [])
    far = np.concatenate([np.full(200, -1024.0), np.full(beside, -1024.0 + away * 4 / abs(away)), rest])
    assert _constant_values(far) == [-1024.0]


@pytest.mark.parametrize(
    ("paddings", "is_padding"), [((-3000.0, -2000.0, -1200.0), True), ((-3000.0, -2000.0, -1200.0, -1100.0), False)]
)
def test_more_than_three_values_are_coarse_steps_and_no_padding(paddings, is_padding):
    values = np.concatenate([np.repeat(paddings, 200), np.resize(np.arange(0.0, 140.0), 5000)])
    assert _constant_values(values) == (list(paddings) if is_padding else [])


def test_what_resampling_fills_in_is_not_counted_among_values_far_too_low():
    """Zeros are no tissue: 300 of 700 values lie too low, whatever their share of all."""
    low, air = np.resize(np.arange(-1900, -1300), 300), np.resize(np.arange(-1000, -801), 400)
    assert "applied twice" in hounsfield_problem(np.concatenate([low, air, np.zeros(9300)]))


def test_message_names_the_middle_nine_tenths():
    assert "between 240 and 1157" not in hounsfield_problem(np.arange(-899.0, -300.0))
    assert "most of its values lie between 50 and 950," in hounsfield_problem(np.linspace(0, 1000, 1001))


@pytest.mark.parametrize(("count", "step"), [(1, 1), (48, 1), (95, 1), (96, 2), (143, 2), (144, 3), (480, 10)])
@pytest.mark.parametrize("axis", range(3))
def test_every_nth_voxel_is_sampled(count, step, axis):
    shape = [2, 2, 2]
    shape[axis] = count
    hu = np.arange(np.prod(shape)).reshape(shape)
    steps = [slice(None)] * 3
    steps[axis] = slice(None, None, step)
    assert sparse_sample(hu).tolist() == hu[tuple(steps)].ravel().tolist()


def test_values_that_are_not_numbers_are_left_out_of_the_sample():
    hu = np.array([[[1.0, np.nan, np.inf, -np.inf, 5.0]]])
    assert sparse_sample(hu).tolist() == [1, 5]


# A point and its patch.


def air_with(dense: int, beyond_mm: float = -1.0, value: int = -500) -> CTVolume:
    """Air of -1000 HU in 1 mm voxels, with so many denser ones around RAS (20, 20, 20), from a distance on."""
    hu = np.full((41, 41, 41), -1000, np.int16)
    distance_mm = np.linalg.norm(np.indices(hu.shape) - 20.0 * np.ones((3, 1, 1, 1)), axis=0)
    order = np.argsort(np.where(distance_mm > beyond_mm, distance_mm, np.inf), axis=None, kind="stable")
    hu.ravel()[order[:dense]] = value
    hu[0] = -850  # Lung elsewhere: a CT.
    return CTVolume(hu, np.eye(4))


MIDDLE = np.array([20.0, 20.0, 20.0])


@pytest.mark.parametrize(("dense", "is_tissue"), [(52, True), (51, False)])
def test_a_tenth_of_the_ball_of_515_voxels_makes_tissue(dense, is_tissue):
    # The 90th percentile lies between the 463rd and the 464th of 515 values.
    if is_tissue:
        extract_patch(air_with(dense), MIDDLE, SPEC)
    else:
        with pytest.raises(InputError, match="lies in air: almost nothing within 5 mm is denser than -1000 HU"):
            extract_patch(air_with(dense), MIDDLE, SPEC)


@pytest.mark.parametrize(("beyond_mm", "is_tissue"), [(4.2, True), (5.0, False)])
def test_tissue_counts_within_five_millimetres(beyond_mm, is_tissue):
    ct = air_with(8000, beyond_mm)
    if is_tissue:
        extract_patch(ct, MIDDLE, SPEC)
    else:
        with pytest.raises(InputError, match="lies in air"):
            extract_patch(ct, MIDDLE, SPEC)


@pytest.mark.parametrize(("value", "is_tissue"), [(-925, True), (-926, False)])
def test_emphysematous_lung_of_minus_925_is_tissue(value, is_tissue):
    ct = CTVolume(np.full((21, 21, 21), value, np.int16), np.eye(4))
    point = np.full(3, 10.0)
    if is_tissue:
        extract_patch(ct, point, SPEC)
    else:
        with pytest.raises(InputError, match=r"lies in air.*-926 HU"):
            extract_patch(ct, point, SPEC)


def test_tissue_outside_the_scan_is_not_invented():
    """At a corner only what exists counts: a thin dense border is not multiplied by repeating it."""
    hu = np.full((21, 21, 21), -1000, np.int16)
    hu[:, :, 0] = -500
    hu[15:] = -850
    ct = CTVolume(hu, np.eye(4))
    # In the half of the ball that lies in the scan, 81 of 298 voxels.
    assert extract_patch(ct, np.array([0.0, 10.0, 8.0]), SPEC).hu.shape == SPEC.shape
    with pytest.raises(InputError, match="lies in air"):
        extract_patch(ct, np.array([4.9, 10.0, 8.0]), SPEC)


@pytest.mark.parametrize("doubtful", [3, 4])
def test_planes_beside_a_patch_may_be_doubtful_and_its_own_may_not(doubtful):
    # The patch reaches from plane 8 to plane 12.
    ct = CTVolume(np.full((21, 21, 21), -850, np.int16), np.eye(4), doubtful_k=(7, 13))
    found = extract_patch(ct, np.full(3, 10.0), SPEC)
    assert found.warnings == ("2 slice(s) of the scan are missing or off their place, none of them within the patch.",)
    for k in (8, 10, 12):
        with pytest.raises(InputError, match=rf"within the 1 plane\(s\) \[{k}\]"):
            extract_patch(CTVolume(ct.hu, np.eye(4), doubtful_k=(k,)), np.full(3, 10.0), SPEC)


@pytest.mark.parametrize("k", [7, 12])
def test_planes_between_which_a_patch_is_interpolated_count_as_its_own(k):
    ct = CTVolume(np.full((21, 21, 21), -850, np.int16), np.eye(4), doubtful_k=(k,))
    with pytest.raises(InputError, match=rf"\[{k}\]"):
        extract_patch(ct, np.array([10.0, 10.0, 9.6]), SPEC)
    extract_patch(CTVolume(ct.hu, np.eye(4), doubtful_k=(6, 13)), np.array([10.0, 10.0, 9.6]), SPEC)


@pytest.mark.parametrize(("step_mm", "is_thick"), [(3.0, False), (3.01, True)])
@pytest.mark.parametrize("axis", range(3))
def test_slices_above_three_millimetres_are_thick(step_mm, is_thick, axis):
    diagonal = np.ones(4)
    diagonal[axis] = step_mm
    ct = CTVolume(np.full((21, 21, 21), -850, np.int16), np.diag(diagonal))
    found = extract_patch(ct, ct.to_ras([10, 10, 10]), SPEC).warnings
    assert found == (
        (f"Thick slices ({step_mm:.1f} mm): small nodules and fine spicules may be blurred.",) if is_thick else ()
    )


@pytest.mark.parametrize(("planes", "is_little"), [(3, False), (2, True), (1, True)])
def test_fewer_than_three_planes_are_little(planes, is_little):
    ct = CTVolume(np.full((planes, 21, 21), -850, np.int16), np.eye(4))
    found = extract_patch(ct, np.array([10.0, 10.0, planes // 2]), SPEC)
    expected = f"Only {planes} plane(s) of the scan around the point: the answer rests on little."
    assert found.warnings == ((expected,) if is_little else ())
    assert found.exists.sum() == planes


@pytest.mark.parametrize("point", [(-0.5, 0, 0), (5.5, 4.5, 3.5), (0, -0.5, 0)])
def test_a_point_on_the_rim_of_the_scan_lies_in_it(point):
    ct = CTVolume(LUNG, np.eye(4))
    assert require_point(ct, np.array(point)).tolist() == list(point)
    outside = np.where(np.array(point) > 0, np.array(point) + 0.01, np.array(point) - 0.01)
    with pytest.raises(InputError, match=r"spans R -0..6, A -0..4, S -0..4 mm"):
        require_point(ct, outside)


@pytest.mark.parametrize("point", ["abc", None, (1.0, "x", 2.0), {}, ()])
def test_words_are_no_point(point):
    with pytest.raises(InputError, match="three finite coordinates"):
        require_point(CTVolume(LUNG, np.eye(4)), point)


def test_a_patch_of_the_usual_size():
    spec = PatchSpec()
    assert (spec.shape, spec.spacing_mm, spec.window_hu) == ((25, 64, 64), (2.0, 0.75, 0.75), (-1000.0, 400.0))
    assert spec.size_mm == (50.0, 48.0, 48.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shape", (4, 4, 0)),
        ("shape", (4, 4, 4, 4)),
        ("spacing_mm", (1.0, 0.0, 1.0)),
        ("spacing_mm", (1.0, 1.0)),
        ("window_hu", (400.0, 400.0)),
    ],
)
def test_a_spec_at_its_limits_is_refused(field, value):
    with pytest.raises(ValueError, match=field):
        PatchSpec(**{field: value})


def test_a_spec_just_within_its_limits_is_taken():
    PatchSpec(shape=(1, 1, 1), spacing_mm=(0.01, 0.5, 0.9), window_hu=(399.0, 400.0))


def test_inside_fraction_counts_voxels_of_the_scan():
    ct = CTVolume(np.full((21, 21, 21), -850, np.int16), np.eye(4))
    assert extract_patch(ct, np.full(3, 10.0), SPEC).inside_fraction == 1
    # Of five planes 0 .. 2 exist, of nine rows six.
    found = extract_patch(ct, np.array([10.0, 19.0, 0.0]), SPEC)
    assert found.inside_fraction == pytest.approx(3 / 5 * 6 / 9)


# Interpolation.


def test_values_between_voxels_by_hand():
    hu = np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 900
    ct = CTVolume(hu, np.eye(4))
    points = np.array(
        [[0, 0, 0], [3, 2, 1], [1.5, 0, 0], [0, 0.25, 0], [0, 0, 0.75], [0.5, 0.5, 0.5], [-3, 9, 0], [9, 9, 9]]
    )
    # A step along i adds 1, along j 4, along k 12.
    expected = [-900, -877, -898.5, -899, -891, -891.5, -892, -877]
    np.testing.assert_allclose(sample_hu(ct, points), expected)


@pytest.mark.parametrize("place", [(1, 1, 0), (1, 1, 3), (1, 0, 1), (1, 3, 1), (0, 1, 1), (3, 1, 1)])
def test_only_the_voxels_of_the_neighbourhood_must_be_numbers(place):
    hu = np.full((6, 6, 6), -850.0)
    hu[np.add(place, 1)[0], np.add(place, 1)[1], np.add(place, 1)[2]] = np.nan
    ct = CTVolume(hu, np.eye(4))
    assert sample_hu(ct, np.array([[2.0, 2.0, 2.0], [3.0, 3.0, 3.0]])).tolist() == [-850, -850]
    with pytest.raises(InputError, match="not numbers"):
        sample_hu(ct, np.add(place, 1)[None, ::-1].astype(float))


def test_padding_is_read_as_air_and_nothing_above_it_is_changed():
    hu = np.array([[[-2048, -1025, -1024, -1023, 3000]]], np.int16)
    points = np.array([[i, 0, 0] for i in range(5)])
    assert sample_hu(CTVolume(hu, np.eye(4)), points).tolist() == [-1024, -1024, -1024, -1023, 3000]
