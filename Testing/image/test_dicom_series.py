"""A DICOM folder gives one CT series, in order, in HU, at its true positions. Refused folders are in test_bad_input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.synthetic_dicom import AXIAL, ramp_hu, slice_dataset, write, write_series
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage
from scipy.spatial.transform import Rotation

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.read import read_ct


def assert_each_pixel_lies_where_its_file_says(ct: CTVolume, paths: list) -> None:
    """By DICOM's own equation (PS3.3 C.7.6.2.1.1), pixel by pixel."""
    for path in paths:
        dataset = dcmread(path)
        along_columns, along_rows = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        row_mm, column_mm = (float(value) for value in dataset.PixelSpacing)
        stored = np.frombuffer(dataset.PixelData, np.int16).reshape(dataset.Rows, dataset.Columns)
        row, column = np.indices(stored.shape)
        lps = (
            np.array(dataset.ImagePositionPatient, float)
            + column[..., None] * column_mm * along_columns
            + row[..., None] * row_mm * along_rows
        )
        ijk = ct.to_ijk(lps * (-1, -1, 1))
        i, j, k = np.moveaxis(np.rint(ijk).astype(int), -1, 0)
        assert np.abs(ijk - np.rint(ijk)).max() < 1e-3
        assert (ct.hu[k, j, i] == stored.astype(int) - 1024).all()


def test_slices_are_stacked_by_position_whatever_the_files_are_called(tmp_path):
    names = [f"{name}.dcm" for name in "ecafdb"]
    paths = write_series(tmp_path, ramp_hu(), names=names)
    ct = read_ct(tmp_path)
    assert ct.hu.dtype == np.int16
    assert (ct.hu == ramp_hu()).all()
    assert_each_pixel_lies_where_its_file_says(ct, paths)


def test_positions_that_fall_with_the_file_names_are_turned_round(tmp_path):
    positions_lps = [(0.0, 0.0, 100.0 - 2 * k) for k in range(6)]
    ct = read_ct(write_series(tmp_path, ramp_hu(), positions_lps)[0].parent)
    assert (ct.hu == ramp_hu()[::-1]).all()
    assert ct.to_ras([0, 0, 0]).tolist() == [0, 0, 90]


def test_lps_becomes_ras_by_hand(tmp_path):
    write_series(tmp_path, ramp_hu(), spacing_mm=(0.5, 0.75))
    # Rows 0.5 mm apart to the back, columns 0.75 mm apart to the left, from L -30, P -20.
    assert read_ct(tmp_path).ijk_to_ras.tolist() == [
        [-0.75, 0, 0, 30],
        [0, -0.5, 0, 20],
        [0, 0, 2.5, -50],
        [0, 0, 0, 1],
    ]


def test_slice_distance_comes_from_positions_and_not_from_the_slice_thickness(tmp_path):
    write_series(tmp_path, ramp_hu(), SliceThickness="5", SpacingBetweenSlices="7")
    assert read_ct(tmp_path).spacing_mm[2] == 2.5


@pytest.mark.parametrize("angles", [(0, 0, 0), (180, 0, 0), (0, 90, 0), (12, -25, 40), (100, 10, 200)])
def test_oblique_series_with_oblong_pixels(tmp_path, angles):
    axes = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    positions_lps = [tuple(np.array([5.0, -9.0, 100.0]) + 1.25 * k * axes[:, 2]) for k in range(6)]
    spacing_mm = (0.6, 0.9)
    paths = write_series(tmp_path, ramp_hu(), positions_lps, axes_lps=(axes[:, 0], axes[:, 1]), spacing_mm=spacing_mm)
    ct = read_ct(tmp_path)
    assert np.allclose(ct.spacing_mm, [0.9, 0.6, 1.25], atol=1e-5)
    assert_each_pixel_lies_where_its_file_says(ct, paths)


def test_a_tilted_gantry_gives_a_sheared_matrix(tmp_path):
    shift_mm = 2.5 * np.tan(np.radians(20))
    positions_lps = [(0.0, shift_mm * k, 2.5 * k) for k in range(6)]
    paths = write_series(tmp_path, ramp_hu(), positions_lps)
    ct = read_ct(tmp_path)
    assert np.allclose(ct.ijk_to_ras[:3, 2], [0, -shift_mm, 2.5], atol=1e-6)
    assert_each_pixel_lies_where_its_file_says(ct, paths)


def test_positions_rounded_to_a_tenth_are_still_even(tmp_path):
    positions_lps = [(0.0, 0.0, round(0.625 * k, 1)) for k in range(9)]
    write_series(tmp_path, ramp_hu(9), positions_lps)
    assert read_ct(tmp_path).spacing_mm[2] == pytest.approx(0.625)


def test_each_slice_has_its_own_slope_and_intercept(tmp_path):
    stored = np.arange(-20, 15, dtype=np.int16).reshape(5, 7)
    for k, (slope, intercept) in enumerate([("1", "-1024"), ("2", "-1000"), ("-3", "-917")]):
        tags = {"RescaleSlope": slope, "RescaleIntercept": intercept}
        write(tmp_path / f"{k}.dcm", slice_dataset(stored, (0, 0, 2.0 * k), **tags))
    ct = read_ct(tmp_path)
    assert ct.hu.dtype == np.int16
    assert (ct.hu == [stored - 1024, stored * 2 - 1000, stored * -3 - 917]).all()


@pytest.mark.parametrize(
    "lost", [[20], [0], range(20, 40), range(0, 40, 2)], ids=["one", "the first", "half", "every other"]
)
@pytest.mark.parametrize("tags", [{"RescaleIntercept": "0"}, {"RescaleIntercept": "-2048"}, {"RescaleSlope": "10"}])
def test_a_scale_that_is_lost_in_some_slices_is_refused(tmp_path, lost, tags):
    hu = np.full((40, 40, 40), -850, np.int16)
    hu[:, 5:35, 5:35] = 40
    for k, plane in enumerate(hu):
        dataset = slice_dataset(plane + np.int16(1024), (0, 0, 2.0 * k), **(tags if k in lost else {}))
        write(tmp_path / f"{k:02}.dcm", dataset)
    with pytest.raises(
        InputError, match=r"in no one scale: from the slice '\d\d.dcm' to '\d\d.dcm' its values jump by -?\d+ HU"
    ):
        read_ct(tmp_path)


@pytest.mark.parametrize(
    ("padding", "tagged"), [(32767, 32767), (4095, 4095), (-2000, 63536), (63536, 63536), (63536, -2000)]
)
def test_padding_that_looks_like_metal_is_air_where_the_file_names_it(tmp_path, padding, tagged):
    stored = ramp_hu().astype(np.int32) + 1024
    stored[:, 0] = padding
    dtype = np.uint16 if padding > 32767 else np.int16
    for k, plane in enumerate(stored):
        dataset = slice_dataset(plane.astype(dtype), (0, 0, 2.0 * k))
        dataset.add_new(0x00280120, "SS" if tagged < 0 else "US", tagged)
        write(tmp_path / f"{k}.dcm", dataset)
    ct = read_ct(tmp_path)
    assert ct.hu.dtype == np.int16
    assert (ct.hu[:, 1:] == ramp_hu()[:, 1:]).all()
    # What is low already stays as it is stored.
    assert (ct.hu[:, 0] == (padding - 1024 if padding < 0 else -1024)).all()


def test_a_stated_padding_that_tissue_has_as_well_changes_nothing(tmp_path):
    write_series(tmp_path, ramp_hu(), PixelPaddingValue=1024 - 1000)
    assert (read_ct(tmp_path).hu == ramp_hu()).all()


@pytest.mark.parametrize("is_torn", [False, True])
def test_slices_of_two_patients_are_refused_and_named_nowhere(tmp_path, is_torn):
    for k, plane in enumerate(ramp_hu()):
        uid = f"1.2.3.{k}" if is_torn else "1.2.3"
        dataset = slice_dataset(plane, (0, 0, 2.0 * k), series_uid=uid, PatientID=f"SECRET{k % 2}")
        write(tmp_path / f"{k}.dcm", dataset)
    with pytest.raises(InputError, match=r"6 slices name 2 different patients.*Sort the files by patient") as refused:
        read_ct(tmp_path)
    assert "SECRET" not in str(refused.value)


def two_patients(folder: Path, slices: int, **tags: object) -> Path:
    write_series(folder / "a", ramp_hu(9), PatientID="SECRET-1")
    write_series(folder / "b", ramp_hu(slices), series_uid="1.2.3.9", **tags)
    return folder


def test_a_folder_of_two_patients_is_refused_unless_a_series_is_named(tmp_path):
    two_patients(tmp_path, 6, PatientID="SECRET-2")
    with pytest.raises(
        InputError, match=r"CT of 2 patients .PatientID.: Series 1.2.3.1 .*Series 1.2.3.9 .*name the series"
    ) as refused:
        read_ct(tmp_path)
    assert "SECRET" not in str(refused.value)
    assert len(read_ct(tmp_path, "1.2.3.9").hu) == len(read_ct(tmp_path / "b" / "000.dcm").hu) == 6


@pytest.mark.parametrize(
    ("slices", "tags"),
    [
        (2, {"PatientID": "SECRET-2"}),
        (6, {"PatientID": "secret-1 "}),
        (6, {"PatientID": None}),
        (6, {"PatientID": "SECRET-2", "Modality": "PT"}),
        (6, {"PatientID": "SECRET-2", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
    ],
    ids=["a stray slice or two", "written otherwise", "removed", "no CT", "localizers"],
)
def test_what_is_no_ct_of_another_patient(tmp_path, slices, tags):
    assert len(read_ct(two_patients(tmp_path, slices, **tags)).hu) == 9


def test_several_studies_of_one_series_are_told(tmp_path):
    for k, plane in enumerate(ramp_hu()):
        write(tmp_path / f"{k}.dcm", slice_dataset(plane, (0, 0, 2.0 * k), StudyInstanceUID=f"1.{k % 2}"))
    assert "2 different StudyInstanceUIDs were ignored" in read_ct(tmp_path).source["note"]


OTHER_GRIDS = {
    "pixel spacing": {"spacing_mm": (0.5, 0.5)},
    "mirrored": {"axes_lps": ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0))},
    "turned": {"axes_lps": ((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0))},
    "size": {},
}


@pytest.mark.parametrize(("kind", "count"), [(kind, 8) for kind in OTHER_GRIDS] + [("size", 3), ("size", 2)])
def test_a_part_of_a_series_on_another_grid_is_not_dropped_in_silence(tmp_path, kind, count):
    hu = ramp_hu(20)
    for k, plane in enumerate(hu):
        is_other = k >= 20 - count
        plane = plane[:-1] if is_other and kind == "size" else plane
        write(
            tmp_path / f"{k:02}.dcm", slice_dataset(plane, (0, 0, 2.0 * k), **(OTHER_GRIDS[kind] if is_other else {}))
        )
    if count > 2:
        with pytest.raises(InputError, match=rf"{count} of its 20 slices go on where the others end"):
            read_ct(tmp_path)
    else:
        assert read_ct(tmp_path).hu.shape[0] == 18


def test_fractional_hu_become_float_for_the_whole_volume(tmp_path):
    stored = np.arange(-20, 15, dtype=np.int16).reshape(5, 7)
    for k, slope in enumerate(["1", "0.5", "1"]):
        write(tmp_path / f"{k}.dcm", slice_dataset(stored, (0, 0, 2.0 * k), RescaleSlope=slope))
    ct = read_ct(tmp_path)
    assert ct.hu.dtype == np.float32
    assert (ct.hu == [stored - 1024.0, stored * 0.5 - 1024.0, stored - 1024.0]).all()


def test_values_beyond_int16_are_not_wrapped(tmp_path):
    stored = np.full((5, 7), 63536, np.uint16)
    write(tmp_path / "0.dcm", slice_dataset(stored))
    assert (read_ct(tmp_path).hu == 63536 - 1024).all()


def test_unsigned_pixels_with_other_bits_above_them(tmp_path):
    stored = np.arange(35, dtype=np.uint16).reshape(5, 7)
    write(tmp_path / "0.dcm", slice_dataset(stored | 0x8000, BitsStored=12, HighBit=11))
    assert (read_ct(tmp_path).hu == stored.astype(int) - 1024).all()


def test_missing_rescale_tags_are_taken_as_one_and_zero_and_told(tmp_path):
    write_series(tmp_path, ramp_hu(), RescaleSlope=None, RescaleIntercept=None)
    ct = read_ct(tmp_path)
    assert (ct.hu == ramp_hu() + 1024).all()
    assert "Rescale tags are missing" in ct.source["note"]
    with pytest.raises(InputError, match="without its rescale intercept"):
        ct.require_ct()


def test_rle_and_implicit_transfer_syntaxes(tmp_path):
    hu = ramp_hu(6, 32, 32)
    for k, plane in enumerate(hu):
        dataset = slice_dataset((plane + 1024).astype(np.int16), (0, 0, 2.0 * k))
        if k % 2:
            dataset.compress(RLELossless)
            write(tmp_path / f"{k}.dcm", dataset)
        else:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            dataset.save_as(tmp_path / f"{k}.dcm", implicit_vr=True, little_endian=True, enforce_file_format=True)
    assert (read_ct(tmp_path).hu == hu).all()


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_jpeg_transfer_syntaxes(tmp_path, compressor):
    hu = ramp_hu(6, 32, 32)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    for k, plane in enumerate(hu):
        image = sitk.GetImageFromArray(plane[None])
        tags = {"0008|0060": "CT", "0020|000e": "1.2.3.1", "0020|000d": "1.2.3", "0020|0052": "1.2.4"}
        tags |= {"0020|0032": f"0\\0\\{2 * k}", "0020|0037": "1\\0\\0\\0\\1\\0", "0028|1052": "-1024", "0028|1053": "1"}
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(tmp_path / f"{k}.dcm"))
        writer.Execute(image)
    assert "JPEG" in dcmread(tmp_path / "0.dcm").file_meta.TransferSyntaxUID.name
    ct = read_ct(tmp_path)
    assert (ct.hu == hu).all()
    assert ct.spacing_mm[2] == 2


def test_the_ct_series_with_most_slices_is_chosen_and_the_others_are_named(tmp_path):
    write_series(tmp_path / "a", ramp_hu(3), series_uid="1.2.3.77", SeriesDescription="Scout views")
    write_series(tmp_path / "b", ramp_hu(6), series_uid="1.2.3.66", SeriesDescription="Thorax 2.5")
    write_series(tmp_path / "c", ramp_hu(9), series_uid="1.2.3.99", SeriesDescription="Thorax MR", Modality="MR")
    ct = read_ct(tmp_path)
    assert ct.source["series_uid"] == "1.2.3.66"
    assert ct.name == "Thorax 2.5"
    note = ct.source["note"]
    assert note.startswith("Series 1.2.3.66 ('Thorax 2.5', CT, 6 slices) was chosen, the CT series with most slices.")
    assert "Series 1.2.3.77 ('Scout views', CT, 3 slices)" in note
    assert "Series 1.2.3.99 ('Thorax MR', MR, 9 slices)" in note


@pytest.mark.parametrize(
    "tags",
    [{"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, {"SeriesDescription": "Lung MIP 10/1"}, {"ImageType": None}],
)
def test_of_equally_many_slices_the_original_ones_are_chosen(tmp_path, tags):
    write_series(tmp_path / "a", ramp_hu(), series_uid="1.2.3.1")
    write_series(tmp_path / "b", ramp_hu(), series_uid="1.2.3.2", **tags)
    assert read_ct(tmp_path).source["series_uid"] == "1.2.3.1"
    write_series(tmp_path / "c", ramp_hu(7), series_uid="1.2.3.3", **tags)
    assert read_ct(tmp_path).source["series_uid"] == "1.2.3.3"


TOLD = {
    "compressed with loss": ({"LossyImageCompression": "01"}, "once compressed with loss"),
    "called a MIP": ({"SeriesDescription": "Lung MIP 10/2"}, "'Lung MIP 10/2' names a projection"),
    "called a MinIP": ({"SeriesDescription": "cor minip"}, "names a projection"),
    "gaps between the slices": ({"SliceThickness": "1"}, "are 1 mm thick and lie 2.5 mm apart: what lies between"),
}
NOT_TOLD = {
    "compressed without loss": {"LossyImageCompression": "00"},
    "called otherwise": {"SeriesDescription": "Thorax 1.0 Br40"},
    "half as thick as far apart": {"SliceThickness": "1.25"},
    "of unknown thickness": {"SliceThickness": None},
}


@pytest.mark.parametrize(("tags", "note"), TOLD.values(), ids=TOLD)
def test_what_a_reader_should_know_of_a_series_is_told(tmp_path, tags, note):
    write_series(tmp_path, ramp_hu(), **tags)
    assert note in read_ct(tmp_path).source["note"]


@pytest.mark.parametrize("tags", NOT_TOLD.values(), ids=NOT_TOLD)
def test_an_ordinary_series_needs_no_note(tmp_path, tags):
    write_series(tmp_path, ramp_hu(), **tags)
    assert read_ct(tmp_path).source["note"] == ""


@pytest.mark.parametrize(("sop_class", "is_ct"), [(CTImageStorage, True), (SecondaryCaptureImageStorage, False)])
def test_a_series_that_lost_its_modality_is_ct_by_its_class(tmp_path, sop_class, is_ct):
    write_series(tmp_path, ramp_hu(), Modality=None, SOPClassUID=sop_class)
    if is_ct:
        assert read_ct(tmp_path).source["modality"] == "CT"
    else:
        with pytest.raises(InputError, match="unknown modality"):
            read_ct(tmp_path)


@pytest.mark.parametrize("wanted", ["1.2.3.33", "33", "3.33"])
def test_another_series_is_chosen_by_uid_or_its_end(tmp_path, wanted):
    write_series(tmp_path / "a", ramp_hu(3), series_uid="1.2.3.33")
    write_series(tmp_path / "b", ramp_hu(6), series_uid="1.2.3.66")
    ct = read_ct(tmp_path, wanted)
    assert ct.hu.shape[0] == 3
    assert "as asked for" in ct.source["note"]


def test_an_exact_uid_wins_over_longer_ones_with_the_same_end(tmp_path):
    write_series(tmp_path / "a", ramp_hu(3), series_uid="2.3")
    write_series(tmp_path / "b", ramp_hu(6), series_uid="1.2.3")
    assert read_ct(tmp_path, "2.3").hu.shape[0] == 3


def test_one_file_stands_for_its_series_in_its_folder(tmp_path):
    small = write_series(tmp_path / "both", ramp_hu(3), series_uid="1.2.3.33", names=["x0", "x1", "x2"])
    write_series(tmp_path / "both", ramp_hu(6), series_uid="1.2.3.66")
    assert read_ct(small[1]).hu.shape[0] == 3


def test_source_has_the_uids_and_never_the_patient(tmp_path):
    write_series(tmp_path, ramp_hu())
    ct = read_ct(tmp_path)
    facts = {"series_uid": "1.2.3.1", "study_uid": "1.2.3", "frame_of_reference_uid": "1.2.4", "modality": "CT"}
    assert facts.items() <= ct.source.items()
    assert "Secret" not in f"{ct!r} {ct.name} {ct.source}"


def test_localizers_and_other_orientations_are_left_out_and_told(tmp_path):
    write_series(tmp_path, ramp_hu())
    stored = np.zeros((5, 7), np.int16)
    coronal = (AXIAL[0], (0.0, 0.0, -1.0))
    write(
        tmp_path / "scout.dcm", slice_dataset(stored, axes_lps=coronal, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    )
    write(tmp_path / "coronal.dcm", slice_dataset(stored, axes_lps=coronal))
    write(tmp_path / "large.dcm", slice_dataset(np.zeros((6, 7), np.int16)))
    write(tmp_path / "dose.dcm", slice_dataset(stored, ImagePositionPatient=None))
    ct = read_ct(tmp_path)
    assert (ct.hu == ramp_hu()).all()
    assert "1 localizer" in ct.source["note"]
    assert "1 without position" in ct.source["note"]
    assert "2 of other orientation or size" in ct.source["note"]


def test_files_that_are_no_dicom_are_passed_over(tmp_path):
    write_series(tmp_path / "deep" / "er", ramp_hu())
    (tmp_path / "readings.xml").write_text("<xml/>")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "deep" / "noise.dcm").write_bytes(bytes(range(256)) * 4)
    write(tmp_path / "DICOMDIR", slice_dataset(ramp_hu()[0]))
    assert (read_ct(tmp_path).hu == ramp_hu()).all()


def test_a_file_cut_off_in_its_header_is_named_in_the_note(tmp_path):
    path = write_series(tmp_path, ramp_hu())[5]
    path.write_bytes(path.read_bytes()[:200])
    ct = read_ct(tmp_path)
    assert (ct.hu == ramp_hu()[:5]).all()
    assert "Damaged DICOM files passed over: '005.dcm'" in ct.source["note"]


def test_a_damaged_file_is_named_beside_the_gap_it_leaves(tmp_path):
    path = write_series(tmp_path, ramp_hu())[3]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"missing .* between -45\.00 and -40\.00 mm.*Damaged DICOM files.*'003\.dcm'"):
        read_ct(tmp_path)


def test_every_gap_is_named_with_its_positions_and_the_number_of_slices(tmp_path):
    for path in [path for k, path in enumerate(write_series(tmp_path, ramp_hu(20))) if k in (3, 10, 11)]:
        path.unlink()
    expected = r"^Series 1\.2\.3\.1 .* 3 slice\(s\) are missing .*between -45\.00 and -40\.00 mm, between -27\.50 and -20\.00 mm"
    with pytest.raises(InputError, match=expected):
        read_ct(tmp_path)


def test_of_two_unlike_steps_the_longer_is_the_gap(tmp_path):
    write_series(tmp_path, ramp_hu(3), [(0, 0, 0.0), (0, 0, 2.0), (0, 0, 6.0)])
    with pytest.raises(InputError, match=r"1 slice\(s\) are missing .*between 2\.00 and 6\.00 mm"):
        read_ct(tmp_path)


def test_doubled_positions_are_named_with_their_files(tmp_path):
    write_series(tmp_path, ramp_hu())
    write(tmp_path / "copy.dcm", slice_dataset(ramp_hu()[2], (-30, -20, -45.0)))
    with pytest.raises(InputError, match=r"more than once: -45\.00 mm \('002\.dcm' and 'copy\.dcm'\)"):
        read_ct(tmp_path)


def test_a_long_list_of_positions_is_cut(tmp_path):
    write_series(tmp_path / "a", ramp_hu(9))
    write_series(tmp_path / "b", ramp_hu(9))
    with pytest.raises(InputError, match=r"9 position\(s\) .* and 4 more"):
        read_ct(tmp_path)


def test_a_single_slice_uses_its_thickness_and_says_so(tmp_path):
    write_series(tmp_path, ramp_hu(1), SliceThickness="3")
    ct = read_ct(tmp_path)
    assert ct.spacing_mm.tolist() == [1, 1, 3]
    assert "One slice only; it is taken as 3 mm thick." in ct.source["note"]


def test_an_empty_thickness_does_no_harm(tmp_path):
    write_series(tmp_path, ramp_hu(2), SliceThickness="")
    assert read_ct(tmp_path).spacing_mm[2] == 2.5


@pytest.mark.lidc
def test_a_real_series_agrees_with_simpleitk_and_shows_its_nodule(lidc_folder):
    folder = lidc_folder / "dicom" / "LIDC-IDRI-0001"
    ct = read_ct(folder)
    reader = sitk.ImageSeriesReader()
    series_folder = str(next(folder.rglob("*.dcm")).parent)
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(series_folder, ct.source["series_uid"]))
    image = reader.Execute()
    assert ct.hu.dtype == np.int16
    assert (ct.hu == sitk.GetArrayViewFromImage(image)).all()
    for index in ((0, 0, 0), (511, 511, 132), (100, 200, 33)):
        assert np.allclose(
            ct.to_ras(index) * (-1, -1, 1), image.TransformIndexToPhysicalPoint(index), rtol=0, atol=1e-6
        )
    i, j, k = np.rint(ct.to_ijk([-56.3, -86.4, -115.9])).astype(int)
    assert 0 < ct.hu[k - 1 : k + 2, j - 2 : j + 3, i - 2 : i + 3].mean() < 150
