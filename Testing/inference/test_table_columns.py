"""Columns of cohort tables: names with units, stated axes, two tables in one file, and decimal commas that move cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.cohort_table import read_cohort, read_point_table

HEADER = "id,image,r,a,s"
POINT = (-56.3, -86.4, -115.9)


def read(folder: Path, text: str):
    file = folder / "cohort.csv"
    file.write_text(text, encoding="utf-8")
    return read_cohort(file)


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        ("l,p,s", "56.3,86.4,-115.9"),
        ("r_mm,a_mm,s_mm", "-56.3,-86.4,-115.9"),
        ("R (mm),A (mm),S (mm)", "-56.3,-86.4,-115.9"),
        ("x [mm],y [mm],z [mm]", "56.3,86.4,-115.9"),
        ("coordX_mm,coordY_mm,coordZ_mm", "56.3,86.4,-115.9"),
        # What stands beside r, a and s is no second point.
        ("r,a,s,l,p", "-56.3,-86.4,-115.9,1,2"),
        ("x,y,z,coordinate_system", "-56.3,-86.4,-115.9,RAS"),
        ("x,y,z,Coordinate System", "56.3,86.4,-115.9,LPS+"),
        ("x,y,z,space", "56.3,-86.4,-115.9,left-anterior-superior"),
        ("x,y,z,space", "56.3,86.4,-115.9,MNI152"),
        ("x,y,z,space", "56.3,86.4,-115.9,"),
        ("x,y,z,space", "56.3,86.4,-115.9,NA"),
        ("r,a,s,frame", "-56.3,-86.4,-115.9,ras (mm)"),
        ("r,a,s,frame", "-56.3,-86.4,-115.9,1.2.840.1"),
        ("r,a,s", "\u201356.3,\ufe6386.4,\u2212115.9"),
        ("r,a,s", "'-56.3,'-86.4,'-115.9"),
    ],
)
def test_the_point_is_on_the_axes_that_the_table_states(tmp_path, columns, cells):
    (row,) = read(tmp_path, f"id,image,{columns}\nn1,ct.nrrd,{cells}\n")
    assert row.fault == ""
    assert tuple(row.point_ras()) == POINT


@pytest.mark.parametrize(
    ("columns", "cell", "fault"),
    [
        ("r,a,s", "LPS", "The columns r, a, s are RAS, and the row says LPS. Correct one of them."),
        ("l,p,s", "RAS", "The columns l, p, s are LPS, and the row says RAS"),
        ("x,y,z", "IJK", "said to be in 'IJK', which are places in the image"),
        ("r,a,s", "voxel", "give it in mm"),
    ],
)
def test_axes_that_contradict_the_columns_fail_their_row(tmp_path, columns, cell, fault):
    bad, good = read(tmp_path, f"id,image,{columns},coordinate_system\nn1,ct.nrrd,1,2,3,{cell}\nn2,ct.nrrd,1,2,3,\n")
    assert fault in bad.fault
    assert good.fault == ""


def test_units_other_than_mm_are_no_names_of_a_point(tmp_path):
    with pytest.raises(InputError, match=r"lacks the column\(s\) r, a, s"):
        read(tmp_path, "id,image,r_cm,a_cm,s_cm\nn1,ct.nrrd,1,2,3\n")


def test_a_first_line_that_comes_again_is_no_row(tmp_path):
    rows = read(tmp_path, f"{HEADER},,\nn1,ct.nrrd,1,2,3\nID, image,R,A,S\nn2,ct.nrrd,4,5,6\n")
    assert [row.row_id for row in rows] == ["n1", "n2"]
    assert not any(row.fault for row in rows)
    with pytest.raises(InputError, match="has no rows"):
        read(tmp_path, f"{HEADER}\n{HEADER}\n")


@pytest.mark.parametrize("second", ["id,image,x,y,z", "id,image,s,a,r", "id,r,a,s,image", f"{HEADER},comment"])
def test_two_tables_in_one_file_are_refused(tmp_path, second):
    with pytest.raises(InputError, match="line 3, names the columns anew and otherwise than the first line"):
        read(tmp_path, f"{HEADER}\nn1,ct.nrrd,1,2,3\n{second}\nn2,ct.nrrd,1,2,3\n")


@pytest.mark.parametrize(
    ("further", "name", "cell"),
    [
        ("prior_image,prior_date,date", "prior_image", "4"),
        ("date,prior_date,prior_image", "date", "4"),
        ("prior_image,prior_r,prior_a,prior_s,prior_date,date", "prior_image", "4"),
        ("comment,patient_id,fold", "patient_id", "-115"),
        ("malignancy,PatientID,fold", "patient_id", "-115"),
    ],
)
def test_decimal_commas_do_not_hide_in_columns_that_they_fill(tmp_path, further, name, cell):
    file = tmp_path / "cohort.csv"
    file.write_text(f"{HEADER},{further}\nn0,ct.nrrd,1,2,3\nn1,ct.nrrd,-56,3,-86,4,-115,9\n", encoding="utf-8")
    good, bad = read_point_table(file, {*further.split(","), "patient_id"} - {"comment"}).rows
    assert good.fault == ""
    assert f"'{cell}' is no {name}: the decimal commas of a point may have moved it there" in bad.fault
    assert bad.point_mm is None


@pytest.mark.parametrize(
    ("further", "cells"),
    [
        ("prior_image,prior_date,date", "prior.nrrd,20230101,20240328"),
        ("prior_image,prior_date,date", "7,2023-01-01,2024-03-28"),
        ("malignancy,patient_id,fold", "4,115,1"),
        ("malignancy,hu,fold", "4,-650,1"),
    ],
)
def test_whole_numbers_behind_a_point_are_what_their_columns_say(tmp_path, further, cells):
    # A folder may be called by a number, and a person may click on whole millimetres.
    (tmp_path / "7").mkdir()
    file = tmp_path / "cohort.csv"
    file.write_text(f"{HEADER},{further}\nn1,ct.nrrd,-56,3,-86,{cells}\n", encoding="utf-8")
    (row,) = read_point_table(file, set(further.split(","))).rows
    assert (row.fault, row.point_mm) == ("", (-56.0, 3.0, -86.0))


@pytest.mark.parametrize("missing", ["", "NA", "None", "."])
def test_a_series_that_is_missing_is_none(tmp_path, missing):
    (row,) = read(tmp_path, f"id,image,seriesuid,r,a,s\nn1,study,{missing},1,2,3\n")
    assert row.series_uid == ""
    row.require_series("1.2.3")


@pytest.mark.parametrize("row_id", ["=1+1", "@SUM(A1)", "-2+3", "+A1", "-n1"])
def test_ids_that_spreadsheets_would_compute_are_refused(tmp_path, row_id):
    with pytest.raises(InputError, match=r"\(line 2\) is a formula to spreadsheets"):
        read(tmp_path, f"{HEADER}\n{row_id},ct.nrrd,1,2,3\n")


def test_numbers_and_signs_within_are_ids(tmp_path):
    rows = read(tmp_path, f"{HEADER}\n-3,ct.nrrd,1,2,3\n+4.5,ct.nrrd,1,2,3\na=b,ct.nrrd,1,2,3\n007,ct.nrrd,1,2,3\n")
    assert [row.row_id for row in rows] == ["-3", "+4.5", "a=b", "007"]
