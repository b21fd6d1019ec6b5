"""The nodule table: what it gives, and how other tables are refused."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from CLIPLungLib.dataset.data_folder import write_nodules
from CLIPLungLib.dataset.nodule_table import (
    COLUMNS,
    OPTIONAL_COLUMNS,
    OUTCOME,
    READERS,
    fewest_readers,
    is_trusted,
    read_nodules,
)
from CLIPLungLib.errors import InputError
from CLIPLungLib.vocabulary import malignancy_class


def test_table_gives_ratings_and_labels(folder):
    first, second = read_nodules(folder)[:2]
    assert (first.label, second.label) == (0, 2)
    assert first.point_ras == (-30.0, -36.0, -28.0)
    assert second.point_ras is None
    assert first.mean_rating("margin") == 3.5


def test_code_outside_the_scale_does_not_count(folder):
    shares = read_nodules(folder)[0].level_shares()
    np.testing.assert_allclose(shares[:5], [0, 0, 0.5, 0.5, 0])
    np.testing.assert_allclose(shares[5:9], [1, 0, 0, 0])  # internal structure, codes 1 and 5 of 1..4


def test_votes_are_counted_and_a_mean_alone_stands_for_its_neighbours(folder):
    voted = replace(read_nodules(folder)[0], malignancy_ratings=(5, 4, 4, 1))
    np.testing.assert_allclose(voted.vote_shares(), [0.75, 0.75, 0.75, 0.25])
    mean_only = replace(voted, malignancy_ratings=(), malignancy=3.25)
    np.testing.assert_allclose(mean_only.vote_shares(), [1, 1, 0.25, 0])
    outcome = replace(voted, truth=OUTCOME, malignancy=5.0)
    np.testing.assert_allclose(outcome.vote_shares(), [1, 1, 1, 1])


@pytest.mark.parametrize(("rating", "expected"), [(2.49, 0), (2.5, 1), (3.5, 1), (3.51, 2)])
def test_classes_follow_the_papers_rule(rating, expected):
    assert malignancy_class(rating) == expected


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "nodules.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_table(folder: Path, rows: list[dict[str, str]], encoding: str = "utf-8", delimiter: str = ",") -> None:
    with (folder / "nodules.csv").open("w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def test_missing_table_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match=r"No nodules\.csv in .* Give a data folder"):
            read_nodules(folder)


def test_table_of_cases_given_as_data_folder_is_told_what_to_do(tmp_path):
    (tmp_path / "cases.csv").write_text("id,image,r,a,s\n1,ct.nrrd,1,2,3\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"make one with 'cliplung prepare .*cases\.csv --output DATA'"):
        read_nodules(tmp_path / "cases.csv")


@pytest.mark.parametrize(
    "missing",
    [["fold"], ["spiculation", "margin"], ["slice_index"], [name for name in COLUMNS if name not in OPTIONAL_COLUMNS]],
)
def test_missing_columns_are_named_with_the_file_and_the_remedy(folder, tmp_path, missing):
    rows = [{k: v for k, v in row.items() if k not in missing} | {"note": ""} for row in rows_of(folder)]
    write_table(tmp_path, rows)
    with pytest.raises(InputError) as error:
        read_nodules(tmp_path)
    assert str(tmp_path / "nodules.csv") in str(error.value)
    assert all(name in str(error.value).split("lacks")[1].split(". ")[0] for name in missing)
    assert "cliplung prepare" in str(error.value)


def test_a_hospitals_table_is_refused(tmp_path):
    (tmp_path / "nodules.csv").write_text("id,image,r,a,s\n1,ct.nrrd,1,2,3\n", encoding="utf-8")
    with pytest.raises(InputError, match="no table of a data folder: it lacks the columns nodule_id, patient_id, fold"):
        read_nodules(tmp_path)


def test_table_saved_by_a_spreadsheet_program_is_read(folder, tmp_path):
    write_table(tmp_path, rows_of(folder), encoding="utf-8-sig")
    assert read_nodules(tmp_path)[0].nodule_id == "n0"


def test_table_with_semicolons_is_refused(folder, tmp_path):
    write_table(tmp_path, rows_of(folder), delimiter=";")
    with pytest.raises(InputError, match="lacks the columns nodule_id"):
        read_nodules(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"\xff\xfe\x00\x01", b"PK\x03\x04\x00\x00\x00", b"\x89PNG\r\n\x1a\n\x00"]
)
def test_file_that_is_no_table_is_refused(tmp_path, content):
    (tmp_path / "nodules.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"nodules\.csv"):
        read_nodules(tmp_path)


def test_table_without_rows_is_refused(tmp_path):
    (tmp_path / "nodules.csv").write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds no nodule"):
        read_nodules(tmp_path)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("nodule_id", " "),
        ("patient_id", ""),
        ("fold", "not-a-fold"),
        ("fold", "-1"),
        ("fold", "1.5"),
        ("n_readers", "0"),
        ("n_readers", "-1"),
        ("n_readers", ""),
        ("diameter_mm", "nan"),
        ("diameter_mm", "0"),
        ("diameter_mm", "8,5"),
        ("diameter_mm", "0.6"),
        ("diameter_mm", "301"),
        ("volume_mm3", "-3"),
        ("volume_mm3", "0.1131"),
        ("volume_mm3", "1e9"),
        ("volume_mm3", "1"),
        ("volume_mm3", "inf"),
        ("malignancy_mean", "0"),
        ("malignancy_mean", "5.5"),
        ("margin", "3 x"),
        ("margin", "-3"),
        ("margin", "3000000000"),
        ("margin", "3.5"),
        ("point_ras", "1 2"),
        ("point_ras", "1 2 nan"),
        ("slice_index", "-1"),
        ("slice_pixel_mm", "0"),
        ("slice_pixel_mm", ""),
    ],
)
def test_bad_cell_is_named_with_its_line(folder, tmp_path, column, value):
    rows = rows_of(folder)
    rows[2] |= {column: value}
    write_table(tmp_path, rows)
    with pytest.raises(InputError, match=rf"nodules\.csv, line 4: {column} "):
        read_nodules(tmp_path)


@pytest.mark.parametrize("change", [{"truth": "biopsy"}, {"truth": "outcome", "malignancy_mean": "3"}])
def test_truth_that_is_none_is_refused(folder, tmp_path, change):
    rows = [row | {"truth": ""} for row in rows_of(folder)]
    rows[2] |= change
    write_table(tmp_path, rows)
    with pytest.raises(InputError, match=r"nodules\.csv, line 4: (truth|malignancy_mean) must be"):
        read_nodules(tmp_path)


def test_empty_cells_are_values_that_nobody_knows(folder, tmp_path):
    rows = [row | {"truth": ""} for row in rows_of(folder)]
    rows[2] |= dict.fromkeys(("diameter_mm", "volume_mm3", "malignancy_mean", "margin"), "") | {"n_readers": "1"}
    rows[3] |= {"truth": "outcome", "malignancy_mean": "5", "n_readers": "0"}
    write_table(tmp_path, rows)
    known, unknown, outcome = read_nodules(tmp_path)[1:4]
    assert known.truth == READERS
    assert np.isnan([unknown.diameter_mm, unknown.volume_mm3, unknown.malignancy, unknown.mean_rating("margin")]).all()
    assert unknown.ratings["margin"] == ()
    assert not unknown.has_malignancy
    assert (outcome.truth, outcome.label, outcome.n_readers) == (OUTCOME, 2, 0)


def test_what_is_written_is_read_again(folder, tmp_path):
    read = read_nodules(folder)
    read[1] = replace(
        read[1], malignancy=float("nan"), diameter_mm=float("nan"), ratings=dict.fromkeys(read[1].ratings, ())
    )
    read[2] = replace(read[2], malignancy=1.0, truth=OUTCOME, n_readers=0)
    write_nodules(tmp_path, read)
    for before, after in zip(read, read_nodules(tmp_path), strict=True):
        assert repr(before) == repr(after)


def test_few_readers_count_only_where_no_nodule_has_three(folder):
    three = read_nodules(folder)
    one = [replace(nodule, n_readers=1) for nodule in three]
    outcome = replace(one[0], truth=OUTCOME, n_readers=0, malignancy=5.0)
    unknown = replace(one[0], malignancy=float("nan"))
    assert (fewest_readers(three), fewest_readers(one), fewest_readers([one[0], three[0]])) == (3, 1, 3)
    assert fewest_readers([outcome]) == 1
    assert [is_trusted(nodule, 3) for nodule in (three[0], one[0], outcome, unknown)] == [True, False, True, False]
    assert [is_trusted(nodule, 1) for nodule in (three[0], one[0], outcome, unknown)] == [True, True, True, False]


def test_volume_without_a_click_is_refused(folder, tmp_path):
    rows = rows_of(folder)
    rows[0] |= {"point_ras": ""}
    write_table(tmp_path, rows)
    with pytest.raises(InputError, match="line 2: there is a volume, but no point_ras"):
        read_nodules(tmp_path)


@pytest.mark.parametrize("change", [lambda line: line + ",extra", lambda line: line.rsplit(",", 2)[0]])
def test_row_of_another_length_is_refused(folder, tmp_path, change):
    lines = (folder / "nodules.csv").read_text(encoding="utf-8").splitlines()
    lines[3] = change(lines[3])
    (tmp_path / "nodules.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match="line 4: it has more or fewer cells"):
        read_nodules(tmp_path)


def test_patient_in_two_folds_is_refused(folder, tmp_path):
    rows = rows_of(folder)
    rows[1] |= {"fold": "4"}
    write_table(tmp_path, rows)
    with pytest.raises(InputError, match="patient p0 is in two folds"):
        read_nodules(tmp_path)


@pytest.mark.parametrize("other", ["P0", "p00", " p0", "p0 "])
def test_patient_in_two_folds_under_two_spellings_is_refused(folder, tmp_path, other):
    rows = rows_of(folder)
    rows[2] |= {"patient_id": other}
    write_table(tmp_path, rows)
    with pytest.raises(InputError, match=rf"patient {other} is in two folds, once as 'p0'"):
        read_nodules(tmp_path)


def test_column_that_is_there_twice_is_refused(folder, tmp_path):
    rows = rows_of(folder)
    write_table(tmp_path, rows)
    text = (tmp_path / "nodules.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "nodules.csv").write_text(
        "".join(f"{line},{'diameter_mm' if index == 0 else '3'}\n" for index, line in enumerate(text)), encoding="utf-8"
    )
    with pytest.raises(InputError, match="has the column diameter_mm twice"):
        read_nodules(tmp_path)


def test_nodule_in_two_rows_is_refused(folder, tmp_path):
    rows = rows_of(folder)
    write_table(tmp_path, [*rows, rows[0]])
    with pytest.raises(InputError, match=f"nodule {rows[0]['nodule_id']} stands in two rows"):
        read_nodules(tmp_path)


@pytest.mark.parametrize("column", ["fold", "n_readers", "diameter_mm"])
def test_underscores_are_no_part_of_a_number(folder, tmp_path, column):
    rows = rows_of(folder)
    rows[0] |= {column: "1_0"}
    write_table(tmp_path, rows)
    with pytest.raises(InputError, match=f"{column} must be .*not '1_0'"):
        read_nodules(tmp_path)


@pytest.mark.lidc
def test_real_table_keeps_patients_within_their_fold(lidc_folder):
    nodules = read_nodules(lidc_folder)
    assert len(nodules) == 2183
    folds_of_patient: dict[str, set[int]] = {}
    for nodule in nodules:
        folds_of_patient.setdefault(nodule.patient_id, set()).add(nodule.fold)
    assert all(len(folds) == 1 for folds in folds_of_patient.values())


@pytest.mark.lidc
def test_size_floor_of_fold_4_is_the_known_one(lidc_folder):
    chosen = [
        n
        for n in read_nodules(lidc_folder)
        if n.fold == 4 and n.n_readers >= 3 and "volume" in n.images and n.malignancy != 3
    ]
    assert len(chosen) == 123
    positive = np.array([n.malignancy > 3 for n in chosen])
    diameter_mm = np.array([n.diameter_mm for n in chosen])
    # The area under the curve is the share of pairs in the right order (Mann and Whitney's U).
    pairs = mannwhitneyu(diameter_mm[positive], diameter_mm[~positive]).statistic
    assert pairs / (positive.sum() * (~positive).sum()) == pytest.approx(0.886, abs=0.001)
