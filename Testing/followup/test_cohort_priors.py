"""Cohorts with earlier scans: further columns where the table asks for them, and the old contract where it does not."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from helpers.cohort import write_image
from helpers.synthetic_dicom import write_series

from CLIPLungLib.errors import InputError
from CLIPLungLib.followup.cohort import COMPARISON_COLUMNS, comparison_columns
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.cohort import run_batch
from CLIPLungLib.inference.cohort_table import read_cohort
from CLIPLungLib.inference.result import CSV_COLUMNS

HEADER = "id,image,r,a,s,prior_image,prior_r,prior_a,prior_s,prior_date,date"
POINT = "10,-20,30"


@pytest.fixture
def folder(tmp_path, ball_ct):
    """A scan, the same one again, and one of air alone."""
    write_image(ball_ct, tmp_path / "now.nrrd", tmp_path / "then.nrrd")
    air = CTVolume(np.full((40, 100, 100), -850, np.int16), ball_ct.ijk_to_ras, "air")
    write_image(air, tmp_path / "lung.nrrd")
    return tmp_path


def table(folder, *lines, header=HEADER):
    file = folder / "cohort.csv"
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file


def run(file, output, tiny, asked=None):
    further = comparison_columns(file, tiny)
    failures = run_batch(file, output, tiny, progress=asked, further=further)
    with (output / "results.csv").open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        return failures, tuple(reader.fieldnames), {row["id"]: row for row in reader}


def test_columns_come_at_the_end_and_a_bad_prior_leaves_the_answer(folder, tiny):
    file = table(
        folder,
        f"given,now.nrrd,{POINT},then.nrrd,{POINT},2024-01-01,2024-07-01",
        f"none,now.nrrd,{POINT},,,,,,",
        f"missing,now.nrrd,{POINT},nowhere.nrrd,{POINT},,",
        f"words,now.nrrd,{POINT},then.nrrd,ten,0,0,,",
        f"reversed,now.nrrd,{POINT},then.nrrd,{POINT},2024-07-01,2024-01-01",
        f"unlike,now.nrrd,{POINT},lung.nrrd,,,,,",
        f"outside,now.nrrd,900,0,0,then.nrrd,{POINT},,",
    )
    failures, columns, rows = run(file, folder / "out", tiny)
    assert columns == CSV_COLUMNS + COMPARISON_COLUMNS
    assert failures == 1
    assert rows["given"]["comparison_status"] == "ok"
    assert (rows["given"]["prior_r"], rows["given"]["registration_similarity"]) == ("10.000", "")
    assert rows["given"]["prior_probability"] == rows["given"]["malignancy_probability"]
    assert rows["none"]["status"] == "ok"
    assert {rows["none"][name] for name in COMPARISON_COLUMNS} == {""}
    for name, words in (
        ("missing", "nowhere.nrrd"),
        ("words", "must be numbers"),
        ("reversed", "Exchange the two CTs"),
        ("unlike", "lung.nrrd"),
    ):
        assert (rows[name]["status"], rows[name]["comparison_status"]) == ("ok", "failed")
        assert words in rows[name]["comparison_error"]
    assert rows["outside"]["status"] == "failed"
    assert {rows["outside"][name] for name in COMPARISON_COLUMNS} == {""}


def test_a_point_without_its_prior_is_no_row_without_one(folder, tiny):
    for dates in ("5,6,7,,", ",,,2024-01-01,"):
        _, _, rows = run(table(folder, f"a,now.nrrd,{POINT},,{dates}"), folder / dates[0], tiny)
        assert (rows["a"]["status"], rows["a"]["comparison_status"]) == ("ok", "failed")
        assert "prior_image) is empty" in rows["a"]["comparison_error"]


@pytest.mark.parametrize("name", ["prior_x", "prior image", "Prior", "prior_seriesuid"])
def test_unknown_columns_of_a_prior_are_refused(folder, name):
    with pytest.raises(InputError, match=f"unknown column '{name.lower()}'.*prior_image, prior_r, prior_a, prior_s"):
        read_cohort(table(folder, f"a,now.nrrd,{POINT},then.nrrd,1", header=f"id,image,r,a,s,prior_image,{name}"))


def test_what_the_reader_says_of_a_prior_is_kept(folder, ball_ct, tiny):
    hu = ball_ct.hu.astype(np.int16)
    for uid in ("1.2.3.1", "1.2.3.2"):
        left, back, origin = -ball_ct.ijk_to_ras[0, 3], -ball_ct.ijk_to_ras[1, 3], ball_ct.ijk_to_ras[2, 3]
        places = [(left, back, origin + k * ball_ct.spacing_mm[2]) for k in range(len(hu))]
        write_series(folder / "study" / uid, hu, places, series_uid=uid, spacing_mm=tuple(ball_ct.spacing_mm[:2]))
    _, _, rows = run(table(folder, f"a,now.nrrd,{POINT},study,{POINT},,"), folder / "out", tiny)
    assert "Prior CT: Series 1.2.3.2" in rows["a"]["comparison_warnings"], rows["a"]["comparison_error"]
    assert "was chosen" in rows["a"]["comparison_warnings"]


def test_the_named_series_is_the_one_that_is_compared(folder, ball_ct, tiny):
    hu = ball_ct.hu.astype(np.int16)
    left, back, origin = -ball_ct.ijk_to_ras[0, 3], -ball_ct.ijk_to_ras[1, 3], ball_ct.ijk_to_ras[2, 3]
    places = [(left, back, origin + k * ball_ct.spacing_mm[2]) for k in range(len(hu))]
    for uid in ("1.2.3.1", "1.2.3.2"):
        write_series(
            folder / "study" / uid,
            hu,
            places,
            series_uid=uid,
            spacing_mm=tuple(ball_ct.spacing_mm[:2]),
            StudyDate="20240101",
        )
    header = "id,image,seriesuid,r,a,s,prior_image,prior_r,prior_a,prior_s"
    lines = [
        f"{name},study,{uid},{POINT},study/1.2.3.1,{POINT},2099-01-01"
        for name, uid in (("same", "1.2.3.1"), ("other", "1.2.3.2"))
    ]
    _, _, rows = run(table(folder, *lines, header=f"{header},date"), folder / "out", tiny)
    assert "given as current and as prior CT" in rows["same"]["comparison_error"]
    assert rows["other"]["comparison_status"] == "ok", rows["other"]["comparison_error"]
    assert "The date of the prior CT is that of its DICOM header" in rows["other"]["comparison_warnings"]


def test_resume_keeps_rows_whose_prior_is_the_same_and_asks_again_for_others(folder, tiny):
    lines = [f"{name},now.nrrd,{POINT},then.nrrd,{POINT},2024-01-01,2024-07-01" for name in ("a", "b")]
    run(table(folder, *lines), folder / "out", tiny)
    asked = []
    run(table(folder, *lines), folder / "out", tiny, lambda done, total, name: asked.append(name))
    assert asked == []
    lines[1] = lines[1].replace("2024-01-01", "2023-01-01")
    _, _, rows = run(table(folder, *lines), folder / "out", tiny, lambda done, total, name: asked.append(name))
    assert asked == ["b"]
    assert set(rows) == {"a", "b"}


def test_cohort_without_the_columns_is_as_before(folder, tiny):
    file = table(folder, f"a,now.nrrd,{POINT}", header="id,image,r,a,s")
    assert comparison_columns(file, tiny) is None
    _, columns, rows = run(file, folder / "out", tiny)
    assert columns == CSV_COLUMNS
    assert rows["a"]["status"] == "ok"
    assert read_cohort(file)[0].prior is None
    later = table(folder, f"a,now.nrrd,{POINT},then.nrrd,{POINT},,")
    with pytest.raises(InputError, match="does not name the columns"):
        run(later, folder / "out", tiny)
