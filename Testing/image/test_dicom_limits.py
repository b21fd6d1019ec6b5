"""Either side of every limit by which DICOM slices are taken for one volume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.synthetic_dicom import ramp_hu, slice_dataset, write, write_series
from scipy.spatial.transform import Rotation

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom.field_values import numbers
from CLIPLungLib.image.dicom.frames import frame_count
from CLIPLungLib.image.dicom.geometry import Stack, place_slices
from CLIPLungLib.image.dicom.grouping import is_even_stack, largest_stack, require_whole, torn_series, without_copies
from CLIPLungLib.image.dicom.header import SliceHeader, is_dicom, read_headers, scan_files
from CLIPLungLib.image.dicom.notes import choice_notes, file_names, label, left_out_notes, listed_labels, slice_notes
from CLIPLungLib.image.dicom.search import _children, _holds, _identity
from CLIPLungLib.image.read import read_ct

AXIAL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def header(z_mm: float = 0.0, **changes: object) -> SliceHeader:
    """An axial slice at a height."""
    values = {
        "path": Path(f"{z_mm:g}.dcm"), "frame": 0, "instance_number": None, "series_uid": "1.2", "study_uid": "1", "modality": "CT",
        "frame_of_reference_uid": "1.4", "description": "", "transfer_syntax": "plain", "obstacle": "", "shape": (4, 5),
        "position_lps": np.array([0.0, 0.0, z_mm]), "orientation_lps": AXIAL, "spacing_mm": np.array([0.5, 0.75]),
        "thickness_mm": 2.0, "slope": 1.0, "intercept": -1024.0, "is_inverted": False,
    }  # fmt: skip
    return SliceHeader(**values | changes)


def stack(*heights_mm: float) -> Stack:
    return place_slices([header(z) for z in heights_mm])


def turned(degrees: float) -> np.ndarray:
    """Axes turned about z."""
    return Rotation.from_euler("z", degrees, degrees=True).as_matrix()[:, :2].T


# Places along the normal.


def test_matrix_by_hand():
    found = stack(30.0, 10.0, 20.0)
    assert [one.position_lps[2] for one in found.slices] == [10, 20, 30]
    assert found.planes.tolist() == [0, 1, 2]
    assert found.ijk_to_lps.tolist() == [[0.75, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 10, 10], [0, 0, 0, 1]]


def test_a_single_slice_is_as_thick_as_it_says_or_one_millimetre():
    assert stack(7.0).ijk_to_lps[:3, 2].tolist() == [0, 0, 2]
    assert place_slices([header(thickness_mm=None)]).ijk_to_lps[:3, 2].tolist() == [0, 0, 1]
    assert stack(7.0).ijk_to_lps[2, 3] == 7


@pytest.mark.parametrize("step_mm", [0.0, 0.0099])
def test_slices_nearer_than_a_hundredth_of_a_millimetre_are_doubled(step_mm):
    with pytest.raises(InputError, match=r"1 position\(s\) along the slice normal occur more than once"):
        stack(0.0, 2.0, 2.0 + step_mm, 4.0)


def test_slices_a_hundredth_of_a_millimetre_apart_are_two():
    assert stack(0.0, 0.0101, 0.0202).doubtful_k == ()


# The tolerance is a tenth of a millimetre, or a twentieth of a step above 2 mm.
@pytest.mark.parametrize(("step_mm", "tolerance_mm"), [(0.8, 0.1), (2.0, 0.1), (4.0, 0.2), (10.0, 0.5)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_slice_off_its_place_by_more_than_the_tolerance_is_doubtful(step_mm, tolerance_mm, sign):
    for off_mm, doubtful in ((0.98 * tolerance_mm, ()), (1.06 * tolerance_mm, (7,))):
        heights_mm = step_mm * np.arange(20.0)
        heights_mm[7] += sign * off_mm
        assert stack(*heights_mm).doubtful_k == doubtful


@pytest.mark.parametrize("axis", [0, 1])
def test_a_slice_moved_within_its_plane_is_off_its_place(axis):
    slices = [header(2.0 * k) for k in range(20)]
    for off_mm, doubtful in ((0.098, ()), (0.102, (7,))):
        place = np.array([0.0, 0.0, 14.0])
        place[axis] = off_mm
        moved = [*slices[:7], header(14.0, position_lps=place), *slices[8:]]
        assert place_slices(moved).doubtful_k == doubtful


@pytest.mark.parametrize(("count", "missing"), [(20, 2), (21, 2), (30, 3), (10, 1)])
def test_a_tenth_of_the_planes_may_be_missing(count, missing):
    gone = [3 + 5 * k for k in range(missing + 1)]
    heights_mm = [2.0 * k for k in range(count) if k not in gone[:-1]]
    found = stack(*heights_mm)
    assert found.doubtful_k == tuple(gone[:-1])
    assert found.planes.tolist() == [k for k in range(count) if k not in gone[:-1]]
    assert found.ijk_to_lps[2, 2] == pytest.approx(2.0)
    heights_mm.remove(2.0 * gone[-1])
    with pytest.raises(InputError, match=rf"{missing + 1} slice\(s\) are missing.*slices lie 2\.00 mm apart"):
        stack(*heights_mm)


@pytest.mark.parametrize(
    ("ratio", "names"), [(1.85, "missing"), (1.75, "no even stack"), (2.15, "missing"), (2.25, "no even stack")]
)
def test_a_fifth_of_a_step_decides_between_a_gap_and_a_shift(ratio, names):
    heights_mm = np.concatenate([2.0 * np.arange(3), 4.0 + 2.0 * ratio + 2.0 * np.arange(3)])
    with pytest.raises(InputError, match=names):
        stack(*heights_mm)


def test_a_step_beyond_all_slices_is_no_gap_to_be_filled():
    with pytest.raises(InputError, match="no even stack"):
        stack(0.0, 2.0, 4.0, 1000.0)


@pytest.mark.parametrize(("steps", "is_change"), [(3, True), (2, False)])
def test_three_steps_make_a_slab(steps, is_change):
    heights_mm = np.cumsum([0.0, *[2.0] * 4, *[3.0] * steps])
    with pytest.raises(
        InputError,
        match="slice spacing changes from 2.00 to 3.00 mm at 8.00 mm" if is_change else "no even stack|missing",
    ):
        stack(*heights_mm)


@pytest.mark.parametrize(("odd", "is_change"), [(2, True), (3, False)])
def test_slabs_are_four_fifths_of_a_series_whose_spacing_changes(odd, is_change):
    """8 steps in slabs, and some between that fit to neither."""
    between = [2.5, 3.4, 2.6][:odd]
    heights_mm = np.cumsum([0.0, *[2.0] * 4, *between, *[3.0] * 4])
    with pytest.raises(InputError, match="slice spacing changes" if is_change else "no even stack"):
        stack(*heights_mm)


@pytest.mark.parametrize(("step_mm", "is_change"), [(2.099, False), (2.102, True)])
def test_slabs_differ_by_more_than_a_tenth_of_a_millimetre(step_mm, is_change):
    heights_mm = np.cumsum([0.0, *[2.0] * 10, *[step_mm] * 10])
    with pytest.raises(InputError, match="slice spacing changes" if is_change else "no even stack"):
        stack(*heights_mm)


def test_five_places_are_listed_and_the_others_counted():
    doubled = [header(2.0 * (k // 2), path=Path(f"{k}.dcm")) for k in range(12)]
    with pytest.raises(InputError, match=r"6 position.*8\.00 mm \('8\.dcm' and '9\.dcm'\) and 1 more\."):
        place_slices(doubled)
    with pytest.raises(InputError, match=r"5 position.*8\.00 mm \('8\.dcm' and '9\.dcm'\)\. Keep"):
        place_slices(doubled[:10])


def test_refusal_names_the_worst_slice():
    with pytest.raises(
        InputError, match=r"they lie 1\.00 to 3\.00 mm apart, and the slice at 5\.00 mm .* is 1\.00 mm off"
    ):
        stack(0.0, 2.0, 5.0, 6.0, 8.0)


# Slices that belong together.


@pytest.mark.parametrize(("degrees", "count"), [(0.0, 2), (0.099, 2), (-0.099, 2), (0.101, 1)])
def test_slices_are_parallel_within_a_tenth_of_a_degree(degrees, count):
    assert len(largest_stack([header(), header(2.0, orientation_lps=turned(degrees))])) == count


@pytest.mark.parametrize(("degrees", "is_refused"), [(9.99, True), (-9.99, True), (10.01, False), (90.0, False)])
def test_a_tilt_up_to_ten_degrees_is_the_same_view(degrees, is_refused):
    usable = [header(), header(2.0), header(4.0, orientation_lps=turned(degrees))]
    if is_refused:
        with pytest.raises(InputError, match=rf"1 of its 3 slices are tilted by {abs(degrees):.2f} degrees"):
            require_whole(usable[:2], usable)
    else:
        assert require_whole(usable[:2], usable) == []


@pytest.mark.parametrize(("degrees", "is_told"), [(0.0011, True), (0.0009, False)])
def test_a_tilt_is_told_from_a_thousandth_of_a_degree(degrees, is_told):
    both = [header(), header(2.0, orientation_lps=turned(degrees))]
    assert bool(require_whole(both, both)) is is_told


@pytest.mark.parametrize(("factor", "count"), [(1.0009, 2), (0.9991, 2), (1.0011, 1), (0.9989, 1)])
@pytest.mark.parametrize("axis", [0, 1])
def test_pixel_spacing_is_the_same_within_a_thousandth(factor, count, axis):
    spacing_mm = np.array([0.5, 0.75])
    spacing_mm[axis] *= factor
    assert len(largest_stack([header(), header(2.0, spacing_mm=spacing_mm)])) == count


def test_slices_of_another_size_are_another_stack():
    assert len(largest_stack([header(shape=(4, 4)), header(2.0), header(4.0)])) == 2
    assert largest_stack([]) == []


def test_another_size_is_no_tilt():
    usable = [header(), header(2.0), header(4.0, shape=(9, 9), orientation_lps=turned(1.0))]
    assert require_whole(usable[:2], usable) == []


@pytest.mark.parametrize(
    ("heights_mm", "is_even"), [((0, 2), False), ((0, 2, 4), True), ((0, 2, 4.3), False), ((0, 2, 2), False)]
)
def test_three_slices_make_an_even_stack(heights_mm, is_even):
    assert is_even_stack([header(z) for z in heights_mm]) is is_even


def test_an_even_stack_lacks_none():
    assert not is_even_stack([header(2.0 * k) for k in range(20) if k != 9])
    assert is_even_stack([header(2.0 * k) for k in range(20)])


def test_frames_of_reference_that_differ_need_an_even_stack():
    even = [header(2.0 * k, frame_of_reference_uid=f"1.{k % 2}") for k in range(4)]
    assert require_whole(even, even) == [
        "2 different FrameOfReferenceUIDs were ignored: by their positions the 4 slices form one even stack."
    ]
    for uneven in (even[:2], [*even, header(20.0)]):
        with pytest.raises(InputError, match="frames of reference and form no even stack"):
            require_whole(uneven, uneven)
    same = [header(0.0), header(2.0)]
    assert require_whole(same, same) == []


def test_torn_series_are_single_usable_ct_slices():
    lone = {f"1.{k}": [header(2.0 * k)] for k in range(3)}
    others = {"2": [header(9.0), header(11.0)], "3": [header(13.0, modality="MR")], "4": [header(15.0, obstacle="x")]}
    assert [one.position_lps[2] for one in torn_series(lone | others)] == [0, 2, 4]


def test_copies_are_the_same_bytes_at_the_same_place(tmp_path):
    paths = write_series(tmp_path, ramp_hu(3))
    first = read_headers(paths[0])[0]
    for name, content in (("copy", paths[0].read_bytes()), ("again", paths[0].read_bytes())):
        (tmp_path / name).write_bytes(content)
    changed = bytearray(paths[0].read_bytes())
    changed[-1] ^= 1
    (tmp_path / "changed").write_bytes(changed)
    slices = [first, *(replace(first, path=tmp_path / name) for name in ("copy", "changed", "again"))]
    kept, copies = without_copies([*slices, read_headers(paths[1])[0]])
    assert [one.path.name for one in kept] == ["000.dcm", "changed", "001.dcm"]
    assert copies == 2


# What a header must say.


def read_one(folder: Path, **tags: object) -> SliceHeader:
    return read_headers(write(folder / "one.dcm", slice_dataset(ramp_hu()[0], **tags)))[0]


def test_header_says_what_the_file_says(tmp_path):
    found = read_one(
        tmp_path,
        spacing_mm=(0.5, 0.75),
        position_lps=(1.0, 2.0, 3.0),
        InstanceNumber=7,
        SliceThickness="2.5",
        SeriesDescription=" Thorax ",
    )
    assert (found.instance_number, found.thickness_mm, found.slope, found.intercept) == (7, 2.5, 1.0, -1024.0)
    assert (found.series_uid, found.study_uid, found.frame_of_reference_uid) == ("1.2.3.1", "1.2.3", "1.2.4")
    assert (found.modality, found.description, found.frame, found.shape) == ("CT", "Thorax", 0, (5, 7))
    assert found.position_lps.tolist() == [1, 2, 3]
    assert found.spacing_mm.tolist() == [0.5, 0.75]
    assert found.transfer_syntax == "Explicit VR Little Endian"
    assert (found.obstacle, found.is_inverted, found.has_rescale) == ("", False, True)
    assert found.normal_lps.tolist() == [0, 0, 1]
    longer = replace(found, orientation_lps=2 * found.orientation_lps)
    assert longer.normal_lps.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("thickness", "expected"), [("0", None), ("-1", None), ("0.5", 0.5), ("", None), (None, None)])
def test_a_thickness_is_above_zero_or_none(tmp_path, thickness, expected):
    assert read_one(tmp_path, SliceThickness=thickness).thickness_mm == expected


@pytest.mark.parametrize(("length", "is_axis"), [(1.0049, True), (1.0051, False), (0.9951, True), (0.9949, False)])
@pytest.mark.parametrize("which", [0, 1])
def test_axes_have_a_length_of_one_within_half_a_hundredth(tmp_path, length, is_axis, which):
    axes = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
    axes[which] = tuple(length * value for value in axes[which])
    found = read_one(tmp_path, axes_lps=tuple(axes))
    assert (found.obstacle == "") is is_axis
    assert found.orientation_lps == pytest.approx(AXIAL)


@pytest.mark.parametrize(("cosine", "is_axis"), [(0.0099, True), (0.0101, False), (-0.0101, False)])
def test_axes_stand_at_right_angles_within_a_hundredth(tmp_path, cosine, is_axis):
    axes = ((1.0, 0.0, 0.0), (cosine, float(np.sqrt(1 - cosine**2)), 0.0))
    assert (read_one(tmp_path, axes_lps=axes).obstacle == "") is is_axis


@pytest.mark.parametrize("spacing_mm", [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_pixels_have_a_size(tmp_path, spacing_mm):
    assert "pixel spacing" in read_one(tmp_path, spacing_mm=spacing_mm).obstacle
    assert read_one(tmp_path, spacing_mm=(0.1, 0.9)).obstacle == ""


@pytest.mark.parametrize(
    ("tags", "obstacle"),
    [
        ({"RescaleSlope": "1000000"}, ""),
        ({"RescaleSlope": "1000001"}, "Hounsfield"),
        ({"RescaleIntercept": "-1000000"}, ""),
        ({"RescaleIntercept": "-1000001"}, "Hounsfield"),
        ({"RescaleSlope": "-2"}, ""),
        ({"RescaleSlope": None}, ""),
        ({"RescaleType": "hu"}, ""),
        ({"RescaleType": "US"}, ""),
        ({"RescaleType": "HU_MOD"}, ""),
        ({"RescaleType": "ED"}, "Hounsfield"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, ""),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"SamplesPerPixel": None}, ""),
        ({"NumberOfFrames": "1"}, ""),
        ({"NumberOfFrames": "2"}, "multi-frame"),
        ({"Rows": None}, "without an image"),
        ({"Columns": None}, "without an image"),
        ({"ImagePositionPatient": [1, 2]}, "position"),
        ({"ImageType": ["DERIVED", "SECONDARY", "LOCALIZER"]}, "localizer"),
        ({"ImageType": None}, ""),
        ({"ImageType": "LOCALIZER"}, "localizer"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]}, "projection"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "LUNG_MIN_IP 10"]}, "projection"),
        ({"ImageType": ["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"]}, "projection"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "MINIPIG"]}, ""),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "too few greys"),
        ({"BitsStored": 8, "HighBit": 7, "RescaleSlope": "3.9"}, "too few greys"),
        ({"BitsStored": 8, "HighBit": 7, "RescaleSlope": "-5.5"}, ""),
        ({"BitsStored": 10, "HighBit": 9}, ""),
        ({"BitsStored": None, "HighBit": None}, ""),
    ],
)
def test_what_makes_a_slice_usable(tmp_path, tags, obstacle):
    found = read_one(tmp_path, **tags).obstacle
    assert obstacle in found
    assert bool(found) is bool(obstacle)


@pytest.mark.parametrize(("count", "expected"), [(None, 1), ("", 1), (0, 1), (1, 1), (65_535, 65_535)])
def test_number_of_frames(count, expected):
    assert frame_count({"NumberOfFrames": count}) == expected


@pytest.mark.parametrize("count", [-1, 65_536])
def test_numbers_of_frames_no_ct_has(count):
    with pytest.raises(InputError, match="1 to 65535 are read"):
        frame_count({"NumberOfFrames": count})


def beginning(group: int = 8, element: int = 5, kind: bytes = b"CS\x0a\x00", length: int = 128) -> bytes:
    return (group.to_bytes(2, "little") + element.to_bytes(2, "little") + kind).ljust(length, b"\0")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (beginning(), True),
        (beginning(2), True),
        (beginning(1), False),
        (beginning(3), False),
        (beginning(9), False),
        (beginning(element=0x60), True),
        (beginning(element=0x61), False),
        (beginning(kind=(128).to_bytes(4, "little")), True),
        (beginning(kind=(129).to_bytes(4, "little")), False),
        (beginning(length=127), False),
        (b"\xff" * 128 + b"DICM", True),
        (b"\xff" * 127 + b"DICM", False),
        (b"\xff" * 128 + b"DICN", False),
    ],
)
def test_how_dicom_begins(tmp_path, head, expected):
    (tmp_path / "file").write_bytes(head)
    assert is_dicom(tmp_path / "file") is expected


def test_files_that_only_look_damaged_without_the_mark_are_no_dicom(tmp_path):
    good = write_series(tmp_path, ramp_hu(1))[0]
    (tmp_path / "cut.dcm").write_bytes(good.read_bytes()[:180])
    (tmp_path / "noise").write_bytes(beginning() + b"\xff" * 100)
    headers, damaged = scan_files(sorted(tmp_path.iterdir()))
    assert [one.path.name for one in headers] == ["000.dcm"]
    assert [path.name for path in damaged] == ["cut.dcm"]


# Notes.


def test_names_are_listed_up_to_five():
    paths = [Path(f"{k}") for k in range(6)]
    assert file_names(paths[:5]) == "'0', '1', '2', '3', '4'"
    assert file_names(paths) == "'0', '1', '2', '3', '4' and 1 more"


def test_series_are_listed_up_to_eight():
    series = [[header(series_uid=str(k))] for k in range(9)]
    assert listed_labels(series[:8]).endswith("Series 7 (CT, 1 slices)")
    assert listed_labels(series).endswith("Series 7 (CT, 1 slices); and 1 more")
    assert label([header(modality="", description="Scout")] * 2) == "Series 1.2 ('Scout', unknown modality, 2 slices)"


def test_the_choice_is_told_where_there_is_one():
    one, two = [header()], [header(series_uid="2")]
    assert choice_notes(one, {"1.2": one}, None) == []
    assert choice_notes(one, {"1.2": one, "2": two}, "1.2") == [
        "Series 1.2 (CT, 1 slices) was chosen, as asked for. Others found: Series 2 (CT, 1 slices)."
    ]


def test_what_is_left_out_is_counted():
    good, other, scout = header(), header(shape=(9, 9)), header(obstacle="localizer")
    assert left_out_notes([good], [good]) == []
    assert left_out_notes([good, other, other], [good]) == ["Left out of it: 2 of other orientation or size."]
    assert left_out_notes([good, scout], [good]) == ["Left out of it: 1 localizer."]


@pytest.mark.parametrize(("numbers", "is_told"), [((1, 2), False), ((2, 3), True), ((0, 1), False), ((5, None), False)])
def test_instance_numbers_that_begin_late_are_told(numbers, is_told):
    ordered = [header(2.0 * k, instance_number=number) for k, number in enumerate(numbers)]
    assert bool(slice_notes(ordered)) is is_told


def test_slices_say_what_they_lack():
    assert slice_notes([header(), header(2.0)]) == []
    assert slice_notes([header(thickness_mm=None)]) == ["One slice only; it is taken as 1 mm thick."]
    assert "Rescale tags" in slice_notes([header(), header(2.0, slope=None)])[0]
    assert "MONOCHROME1" in slice_notes([header(), header(2.0, is_inverted=True)])[0]
    assert not header(intercept=None).has_rescale


def test_a_series_named_by_the_end_of_two_uids_is_refused(tmp_path):
    write_series(tmp_path / "a", ramp_hu(3), series_uid="1.2.3.33")
    write_series(tmp_path / "b", ramp_hu(6), series_uid="1.2.4.33")
    with pytest.raises(InputError, match=r"2 series end with '33'\. Give more"):
        read_ct(tmp_path, "33")
    with pytest.raises(InputError, match="No series has the UID '44' or ends so"):
        read_ct(tmp_path, "44")


def test_what_vanishes_during_a_search_is_passed_over(tmp_path):
    gone = tmp_path / "gone"
    assert _children(gone) == []
    assert _holds(gone, b"1.2.3") is False
    assert _identity(gone) == str(gone)


@pytest.mark.parametrize(("before", "is_found"), [(0, True), ((1 << 16) - 5, True), ((1 << 16) - 4, False)])
def test_a_uid_is_looked_for_at_the_beginning_of_a_file(tmp_path, before, is_found):
    (tmp_path / "file").write_bytes(bytes(before) + b"1.2.3" + bytes(100))
    assert _holds(tmp_path / "file", b"1.2.3") is is_found


@pytest.mark.parametrize(
    "value", ["words", object(), [1.0, "x"], [1.0, [2.0]], [1.0, float("inf")], [1.0], [1.0, 2.0, 3.0], None]
)
def test_what_are_no_two_numbers(value):
    assert numbers({"PixelSpacing": value}, "PixelSpacing", 2) is None
    assert numbers({"PixelSpacing": [1, "2.5"]}, "PixelSpacing", 2).tolist() == [1, 2.5]
