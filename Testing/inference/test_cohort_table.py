"""Cohort tables as people and spreadsheets write them: the point that is meant, or a refusal with the reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.cohort import read_cohort

ROW = "n1,ct.nrrd,-56.3,-86.4,-115.9\n"
TABLE = f"id,image,r,a,s\n{ROW}"
POINT = (-56.3, -86.4, -115.9)


def read(folder: Path, text: str, encoding: str = "utf-8"):
    file = folder / "cohort.csv"
    file.write_bytes(text.encode(encoding))
    return read_cohort(file)


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        TABLE.rstrip(),
        TABLE + ",,,,\n\n  \n ,,, ,\n",
        "\n,,,,\n" + TABLE,
        "id,image,r,a,s,,,\nn1,ct.nrrd,-56.3,-86.4,-115.9,,,\n,,,,,,,\n",
        "id,image,r,a,s\nn1,ct.nrrd,-56.3,-86.4,-115.9,,,\n",
        TABLE.replace(",", ";"),
        "id;image;r;a;s\nn1;ct.nrrd;-56,3;-86,4;-115,9\n;;;;\n",
        "id\timage\tr\ta\ts\nn1\tct.nrrd\t-56,3\t-86,4\t-115,9\n\t\t\t\t\n",
        TABLE.replace(",", "\t"),
        f"sep=,\n{TABLE}",
        f"SEP=;\r\n{TABLE.replace(',', ';')}",
        f'"sep=;"\r\n{TABLE.replace(",", ";")}',
        f"sep=;;;;;\r\n{TABLE.replace(',', ';')}",
        f"sep=\t\n{TABLE.replace(',', chr(9))}",
        f"sep=|\n{TABLE.replace(',', '|')}",
        f"ID,Image,R,A,S\n{ROW}",
        f" Id , IMAGE,r ,a, S\n{ROW}",
        TABLE.replace(",", ", "),
        TABLE.replace(",", " , "),
        '"id","image","r","a","s"\n"n1","ct.nrrd","-56,3","-86,4","-115,9"\n',
        'id,image,r,a,s\nn1,ct.nrrd,"-56,3","-86,4","-115,9"\n',
        "id,image,r,a,s\nn1,ct.nrrd,-5.63e+01,-864e-1,\u2212115.90\n",
        "comment,s,a,r,image,id\nfirst,-115.9,-86.4,-56.3,ct.nrrd,n1\n",
        'id,image,r,a,s,comment\nn1,ct.nrrd,-56.3,-86.4,-115.9,"two\nlines, 5"" wide"\n',
        "id,image,r,a,s,comment\nn1,ct.nrrd,-56.3,-86.4,-115.9\n",
        "id,image,x,y,z\nn1,ct.nrrd,56.3,86.4,-115.9\n",
        "id;image;X;Y;Z\nn1;ct.nrrd;56,3;86,4;-115,9\n",
        "id,image,coordX,coordY,coordZ\nn1,ct.nrrd,56.3,86.4,-115.9\n",
    ],
)
def test_what_spreadsheets_save_is_read(tmp_path, text):
    (row,) = read(tmp_path, text)
    assert (row.row_id, row.fault) == ("n1", "")
    assert row.image == tmp_path / "ct.nrrd"
    assert tuple(row.point_ras()) == POINT


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_of_spreadsheets_are_read(tmp_path, encoding):
    (row,) = read(tmp_path, TABLE.replace("n1", "n\u00e9 1").replace(",", "\t"), encoding)
    assert row.row_id == "n\u00e9 1"
    assert tuple(row.point_ras()) == POINT


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("n1,ct.nrrd,-56,3,-86,4,-115,9", "8 cells for 5 columns: write numbers with a point, or quote them"),
        ("n1,ct.nrrd,-56,3,-86,-115", "6 cells for 5 columns"),
        ("n1,ct.nrrd", "2 cells for 5 columns: r, a, s missing"),
        ("n1,ct.nrrd,1,2", "4 cells for 5 columns: s missing"),
        ("n1", "1 cell for 5 columns: image, r, a, s missing"),
        ("n1;ct.nrrd;1;2;3", "1 cell for 5 columns"),
        ("n1,ct.nrrd,ten,2,3", "r, a, s must be numbers (RAS mm), not 'ten', '2', '3'"),
        ("n1,ct.nrrd,1_0,2,3", "must be numbers"),
        ("n1,ct.nrrd,,2,3", "must be numbers"),
        ('n1,ct.nrrd,"1.234,5",2,3', "must be numbers"),
        ('n1,ct.nrrd,"1,2,3",2,3', "must be numbers"),
        ('n1,ct.nrrd,-56.3,-86.4,"-1,234"', "must be numbers"),
        ("n1,,1,2,3", "The path of the CT is empty"),
        ('n1,"  ",1,2,3', "The path of the CT is empty"),
    ],
)
def test_row_that_cannot_be_used_fails_alone(tmp_path, line, fault):
    good, bad = read(tmp_path, f"id,image,r,a,s\nn0,ct.nrrd,1,2,3\n{line}\n")
    assert good.fault == ""
    assert fault in bad.fault
    assert bad.row_id.startswith("n1") or bad.row_id == "line 3"


def test_miscounted_row_is_no_reason_to_refuse_the_table(tmp_path):
    # The id stands last, where decimal commas have pushed a number.
    first, second = read(tmp_path, "image,r,a,s,id\nct.nrrd,-56,3,-86,4,-115,9,n1\nct.nrrd,-56,4,-86,4,-115,9,n2\n")
    assert first.row_id != second.row_id
    assert "8 cells for 5 columns" in first.fault


def test_extra_nameless_cells_are_no_columns(tmp_path):
    (row,) = read(tmp_path, "id,image,r,a,s,,,\nn1,ct.nrrd,-56,3,-86,4,-115,9\n")
    assert "8 cells for 5 columns" in row.fault


@pytest.mark.parametrize(
    "line", ["n1,ct.nrrd,-56,3,-86,4,-115,9,,,", "n1,ct.nrrd,-56,3,-86,-115,,,", "n1,ct.nrrd,-56,-86,4,-115,,,"]
)
def test_decimal_commas_do_not_hide_in_empty_columns_behind_the_point(tmp_path, line):
    header = "id,image,r,a,s,prior_image,prior_date,date"
    good, bad = read(tmp_path, f"{header}\nn0,ct.nrrd,-56.3,-86,-115,,,,,\n{line}\n")
    assert good.fault == ""
    assert "cells for 8 columns: write numbers with a point, or quote them" in bad.fault
    # Where nothing follows, or other cells separate, surplus empty cells are no sign of it.
    for text in ("id,image,r,a,s\nn1,ct.nrrd,1,2,3,,,\n", f"{header}\nn1,ct.nrrd,1,2,3,,,,,\n".replace(",", ";")):
        assert read(tmp_path, text)[0].fault == ""


def test_a_series_beside_the_image_must_be_that_of_the_image(tmp_path):
    first, second = read(tmp_path, "id,image,seriesuid,r,a,s\nn1,study,3.7,1,2,3\nn2,study,,1,2,3\n")
    assert first.image == tmp_path / "study"
    for found_uid in ("1.3.7", "3.7", ""):
        first.require_series(found_uid)
    with pytest.raises(InputError, match=r"gave the series 1\.3\.8, and the column seriesuid names 3\.7"):
        first.require_series("1.3.8")
    second.require_series("1.3.8")


@pytest.mark.parametrize("name", ["SeriesInstanceUID", "series_uid", "Series Instance UID"])
def test_a_series_goes_by_its_names_in_dicom(tmp_path, name):
    (row,) = read(tmp_path, f"id,image,{name},r,a,s\nn1,study,1.3.7,1,2,3\n")
    assert row.series_uid == "1.3.7"
    with pytest.raises(InputError, match="more than one column 'seriesuid'"):
        read(tmp_path, f"id,image,{name},seriesuid,r,a,s\nn1,study,1.3.7,1.3.7,1,2,3\n")


@pytest.mark.parametrize(
    ("cell", "place"),
    [
        ("~/ct.nrrd", "HOME/ct.nrrd"),
        ("~", "HOME"),
        ("~ct.nrrd", "TABLE/~ct.nrrd"),
        ("sub\\ct.nrrd", "TABLE/sub/ct.nrrd"),
        ("sub\\absent.nrrd", "TABLE/sub\\absent.nrrd"),
        (r"""""/data/a b.nrrd""" "", "/data/a b.nrrd"),
        ("file:///data/a%20b.nrrd", "/data/a b.nrrd"),
        ("file://localhost/data/ct.nrrd", "/data/ct.nrrd"),
        ("a%20b.nrrd", "TABLE/a%20b.nrrd"),
        ("file:ct.nrrd", "TABLE/file:ct.nrrd"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows writes all of these in another way")
def test_paths_are_read_as_people_write_them(tmp_path, monkeypatch, cell, place):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "ct.nrrd").touch()
    text = f'id,image,r,a,s,prior_image\nn1,"{cell}",1,2,3,"{cell}"\n'
    (row,) = read(tmp_path, text)
    expected = Path(place.replace("HOME", str(tmp_path / "home")).replace("TABLE", str(tmp_path)))
    assert row.image == row.prior.image_path == expected


def test_quotation_marks_around_nothing_name_no_image(tmp_path):
    (row,) = read(tmp_path, f"id,image,r,a,s\nn1,{chr(34) * 6},1,2,3\n")
    assert "The path of the CT is empty" in row.fault


@pytest.mark.parametrize("missing", ["NA", "n/a", "#N/A", "NULL", "."])
def test_missing_values_of_statistics_programs_are_empty_cells(tmp_path, missing):
    header = "id,image,r,a,s,prior_image,prior_r,prior_a,prior_s,prior_date"
    (row,) = read(tmp_path, f"{header}\nn1,ct.nrrd,1,2,3,{','.join([missing] * 5)}\n")
    assert (row.fault, row.prior) == ("", None)
    (row,) = read(tmp_path, f"id,image,r,a,s\nn1,ct.nrrd,{missing},2,3\n")
    assert "must be numbers" in row.fault


def test_empty_image_never_stands_for_the_tables_folder(tmp_path):
    (row,) = read(tmp_path, "id,image,r,a,s\nn1,,1,2,3\n")
    with pytest.raises(InputError, match="The path of the CT is empty"):
        read_ct(row.image)
    (named,) = read(tmp_path, "id,image,r,a,s\nn1,.,1,2,3\n")
    assert named.image == tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        (",,,,\n", "has no rows"),
        ("id,image,r,a,s\n", "has no rows"),
        ("id,image,r,a\nx,one.nrrd,1,2\n", r"lacks the column\(s\) s"),
        ("id,image,x,y\nx,one.nrrd,1,2\n", r"lacks the column\(s\) z"),
        ("image,r,a,s\none.nrrd,1,2,3\n", r"lacks the column\(s\) id"),
        (TABLE.replace(",", "|"), "separated by bars"),
        (TABLE.replace(",", " "), "separated by blanks"),
        (TABLE.replace(",", ":"), "separated by colons"),
        ("id,image,r,a,s,x,y,z\nn,ct,1,2,3,-1,-2,3\n", "ambiguous.*r, a, s and x, y, z"),
        ("id,image,x,y,z,coordX,coordY,coordZ\nn,ct,1,2,3,1,2,3\n", "ambiguous"),
        ("id,image,r,a,s,R\nn,ct,1,2,3,4\n", "more than one column 'r'"),
        ("id,id,image,r,a,s\nn,m,ct,1,2,3\n", "more than one column 'id'"),
        ("id,id,image,r,r,a,s\nn,m,ct,1,1,2,3\n", "more than one column 'id'"),
        ("id,image,r,a,s\nx,one.nrrd,1,2,3\nX,one.nrrd,1,2,3\n", "occurs more than once.*lines 2 and 3"),
        ("id,image,r,a,s\n\u00e9,one.nrrd,1,2,3\ne\u0301,one.nrrd,1,2,3\n", "occurs more than once"),
        ("id,image,r,a,s\n../x,one.nrrd,1,2,3\n", "cannot be a file name"),
        ("id,image,r,a,s\n,one.nrrd,1,2,3\n", "cannot be a file name"),
        ("id,image,r,a,s\nCON,one.nrrd,1,2,3\n", "cannot be a file name"),
        (f"id,image,r,a,s\n{chr(0x5C71) * 100},one.nrrd,1,2,3\n", "cannot be a file name"),
        ('id,image,r,a,s\nn1,"ct.nrrd,1,2,3\nn2,ct.nrrd,1,2,3\n', "quotation mark is opened and not closed"),
        ('id,image,r,a,s\nn1,"ct.nrrd,1,2,3\nn2,"ct.nrrd,1,2,3\n', "quotation mark is opened and not closed"),
        ("id,image,r,a,s\nn1,ct\0.nrrd,1,2,3\n", "zero bytes"),
        ("PK\x03\x04 and so on", "is a spreadsheet"),
    ],
)
def test_unusable_tables_are_refused_whole(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_table_in_another_encoding_or_missing_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_cohort(tmp_path / "cohort.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_cohort(tmp_path)
    with pytest.raises(InputError, match="UTF-8"):
        read(tmp_path, TABLE.replace("n1", "\xe9"), "latin-1")


def test_tables_of_luna16_name_their_images_by_series(tmp_path):
    (tmp_path / "1.2.mhd").touch()
    (tmp_path / "subset3").mkdir()
    (tmp_path / "subset3" / "1.3.mhd").touch()
    (tmp_path / "1.4.nii.gz").touch()
    (tmp_path / "1.5").mkdir()
    text = "seriesuid,coordX,coordY,coordZ,diameter_mm\n" + "".join(
        f"{uid},56.3,86.4,-115.9,4.2\n" for uid in ("1.2", "1.2", "1.3", "1.4", "1.5", "1.6", "")
    )
    found = read(tmp_path, text)
    assert [row.row_id for row in found[:6]] == ["1.2_1", "1.2_2", "1.3_1", "1.4_1", "1.5_1", "1.6_1"]
    places = ["1.2.mhd", "1.2.mhd", "subset3/1.3.mhd", "1.4.nii.gz", "1.5"]
    assert [row.image for row in found[:5]] == [tmp_path / place for place in places]
    assert all(tuple(row.point_ras()) == POINT for row in found[:5])
    assert "no image of the series '1.6'" in found[5].fault
    assert "path of the CT is empty" in found[6].fault


def test_series_table_with_ids_keeps_them(tmp_path):
    (tmp_path / "1.2.mhd").touch()
    (row,) = read(tmp_path, "seriesuid,coordX,coordY,coordZ,id\n1.2,1,2,3,mine\n")
    assert (row.row_id, tuple(row.point_ras())) == ("mine", (-1.0, -2.0, 3.0))
