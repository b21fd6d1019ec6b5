"""What a cohort keeps of an earlier run, to the row; and which ids can name a file."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.cohort import cohort, rows

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference import cohort as batch
from CLIPLungLib.inference.cohort import run_batch
from CLIPLungLib.inference.cohort_table import CohortRow, is_usable_id, read_cohort
from CLIPLungLib.inference.result import CSV_COLUMNS
from CLIPLungLib.inference.run_folder import NUMBERS, ResultTable, heatmap_file, locked, take_over, what_is_asked
from CLIPLungLib.vocabulary import CLASSES

MODEL = "a" * 64


def row(name: str, r: float = 1.0, image: str = "ct.nrrd") -> CohortRow:
    return CohortRow(name, Path("/data") / image, (r, 2.0, 3.0))


def line(name: str, **changes: str) -> dict[str, str]:
    """A row of the results with an answer."""
    cells = dict.fromkeys(CSV_COLUMNS, "") | dict.fromkeys(NUMBERS, "0.5")
    return cells | {"id": name, "status": "ok", "predicted_class": CLASSES[1]} | changes


def finished(folder: Path, asked: list[CohortRow], *lines: dict[str, str]) -> Path:
    """A folder in which these rows were asked and these lines written."""
    take_over(folder, asked, MODEL, heatmaps=False)
    with ResultTable(folder / "results.csv") as table:
        for one in lines:
            table.add(one)
    return folder


def kept(folder: Path, asked: list[CohortRow], heatmaps: bool = False) -> list[str]:
    return sorted(take_over(folder, asked, MODEL, heatmaps))


def test_rows_of_the_table_as_it_is_now_are_kept(tmp_path):
    asked = [row("a"), row("b"), row("c")]
    folder = finished(tmp_path, asked, *(line(name) for name in "abc"))
    assert kept(folder, asked) == ["a", "b", "c"]
    assert kept(folder, [row("a"), row("b", r=1.5), row("c", image="other.nrrd"), row("d")]) == ["a"]
    # What was dropped once is gone from the file, too.
    assert list(rows(folder)) == ["a"]
    assert kept(folder, asked) == ["a"]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "failed"},
        {"status": ""},
        {"predicted_class": "cancer"},
        {"predicted_class": ""},
        {"malignancy_probability": ""},
        {"p_unsure": "high"},
        {"spiculation_level": ""},
        {"diameter_mm": "7,5"},
        {"id": ""},
    ],
)
def test_a_line_without_an_answer_is_not_finished(tmp_path, changes):
    asked = [row("a"), row("b")]
    assert kept(finished(tmp_path, asked, line("a") | changes, line("b")), asked) == ["b"]


def test_optional_cells_may_be_empty(tmp_path):
    bare = dict.fromkeys(("diameter_low_mm", "volume_mm3", "class_set", "warnings", "notes", "error"), "")
    assert kept(finished(tmp_path, [row("a")], line("a") | bare), [row("a")]) == ["a"]


@pytest.mark.parametrize("cells", [-1, 1])
def test_a_line_of_too_many_or_few_cells_is_not_finished(tmp_path, cells):
    folder = finished(tmp_path, [row("a"), row("b")], line("a"), line("b"))
    head, first, second = (folder / "results.csv").read_text(encoding="utf-8").splitlines()
    changed = first + ",x" if cells > 0 else first.rpartition(",")[0]
    (folder / "results.csv").write_text(f"{head}\n{changed}\n{second}\n", encoding="utf-8")
    assert kept(folder, [row("a"), row("b")]) == ["b"]


def test_of_two_lines_with_one_id_the_later_one_stands(tmp_path):
    folder = finished(tmp_path, [row("a")], line("a", diameter_mm="1.0"), line("a", diameter_mm="2.0"))
    found = take_over(folder, [row("a")], MODEL, heatmaps=False)
    assert found["a"][CSV_COLUMNS.index("diameter_mm")] == "2.0"


def test_each_row_is_on_the_disk_before_the_next_one_is_begun(folder, tiny):
    """A kill between two rows loses neither."""
    output, seen = folder / "out", []

    def look(done: int, total: int, name: str) -> None:
        seen.append((done, total, name, list(rows(output)), (output / "heatmaps" / f"{name}.nrrd").is_file()))

    lines = [f"n{k},one.nrrd,{10 + k / 20},-20,30" for k in range(3)]
    run_batch(cohort(folder, *lines, "bad,one.nrrd,999,0,0"), output, tiny, heatmaps=True, progress=look)
    names = [name for _, _, name, *_ in seen]
    assert sorted(names) == ["bad", "n0", "n1", "n2"]
    for done, (count, total, name, on_disk, has_heat) in enumerate(seen, start=1):
        assert (count, total, on_disk) == (done, 4, names[:done])
        assert has_heat is (name != "bad")
    seen.clear()
    run_batch(cohort(folder, *lines, "bad,one.nrrd,999,0,0"), output, tiny, heatmaps=True, progress=look)
    assert [(count, total, name) for count, total, name, *_ in seen] == [(4, 4, "bad")]


def test_failures_are_counted_and_no_heat_map_is_written_unless_asked_for(folder, tiny):
    lines = ["a,one.nrrd,10,-20,30", "b,one.nrrd,999,0,0", "c,broken.nrrd,1,2,3", "d,one.nrrd,x,0,0"]
    assert run_batch(cohort(folder, *lines), folder / "out", tiny) == 3
    assert not (folder / "out" / "heatmaps").exists()


def test_lines_of_the_record_say_model_image_and_point(tmp_path):
    finished(tmp_path, [row("a"), CohortRow("b", None, None, "no image")])
    record = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert record["model_sha256"] == MODEL
    assert record["rows"] == {
        "a": {"image": os.path.normpath(Path("/data/ct.nrrd").absolute()), "point_ras_mm": [1.0, 2.0, 3.0]},
        "b": {"image": None, "point_ras_mm": None},
    }


@pytest.mark.parametrize("point", [(math.nan, 0.0, 0.0), (0.0, math.inf, 0.0), None])
def test_a_point_that_is_none_is_recorded_as_none(point):
    assert what_is_asked(replace(row("a"), point_mm=point))["point_ras_mm"] is None


def test_an_image_is_known_by_its_size_and_time(tmp_path):
    file = tmp_path / "ct.nrrd"
    file.write_bytes(b"12345")
    os.utime(file, ns=(5, 7_000_000_000))
    asked = what_is_asked(CohortRow("a", tmp_path / "x" / ".." / "ct.nrrd", (0.0, 0.0, 0.0)))
    assert asked["image"] == str(file)
    # Without the folder x there is no file by that way.
    (tmp_path / "x").mkdir()
    asked = what_is_asked(CohortRow("a", tmp_path / "x" / ".." / "ct.nrrd", (0.0, 0.0, 0.0)))
    assert (asked["image_bytes"], asked["image_modified_ns"]) == (5, 7_000_000_000)
    assert "image_bytes" not in what_is_asked(CohortRow("a", tmp_path, (0.0, 0.0, 0.0)))


def test_a_row_in_common_makes_it_the_same_cohort(tmp_path):
    """Also when its image was replaced meanwhile; without one nothing is touched."""
    file = tmp_path / "ct.nrrd"
    file.write_bytes(b"12345")
    one, other = CohortRow("a", file, (1.0, 2.0, 3.0)), row("b")
    folder = finished(tmp_path / "out", [one, other], line("a"), line("b"))
    file.write_bytes(b"123456")
    assert kept(folder, [one, row("b", r=9.0)]) == []
    finished(tmp_path / "new", [one, other], line("a"), line("b"))
    with pytest.raises(InputError, match=r"another cohort or model \(none of its 2 finished row\(s\)"):
        kept(tmp_path / "new", [replace(one, point_mm=(1.0, 2.0, 3.1)), row("b", r=9.0)])
    assert list(rows(tmp_path / "new")) == ["a", "b"]


def test_another_model_is_refused_by_its_hash_whether_rows_are_finished_or_not(tmp_path):
    for folder, lines in ((tmp_path / "some", [line("a")]), (tmp_path / "none", [])):
        finished(folder, [row("a")], *lines)
        before = (folder / "results.csv").read_bytes()
        with pytest.raises(InputError, match=f"the model {'a' * 12}, now {'b' * 12}"):
            take_over(folder, [row("a")], "b" * 64, heatmaps=False)
        assert (folder / "results.csv").read_bytes() == before


def test_results_without_their_record_are_refused_and_a_record_without_results_is_not(tmp_path):
    folder = finished(tmp_path, [row("a")], line("a"))
    (folder / "run.json").rename(folder / "away")
    with pytest.raises(InputError, match=r"has no run\.json beside it"):
        kept(folder, [row("a")])
    (folder / "away").rename(folder / "run.json")
    (folder / "results.csv").unlink()
    assert kept(folder, [row("a")]) == []


@pytest.mark.parametrize("rows_text", ['{"a": 1}', '["a"]', "null", '{"a": {}, "b": []}'])
def test_a_record_of_another_make_is_refused(tmp_path, rows_text):
    finished(tmp_path, [row("a")], line("a"))
    (tmp_path / "run.json").write_text(f'{{"model_sha256": "{MODEL}", "rows": {rows_text}}}', encoding="utf-8")
    with pytest.raises(InputError, match=r"run\.json cannot be read"):
        kept(tmp_path, [row("a")])


def test_an_answer_names_files_of_no_encoding(tmp_path):
    folder = finished(tmp_path, [row("a")], line("a", notes="Damaged: 'x\udcff.dcm'"))
    assert rows(folder)["a"]["notes"] == r"Damaged: 'x\udcff.dcm'"
    assert kept(folder, [row("a")]) == ["a"]


def test_a_folder_whose_files_have_changed_is_another_image(tmp_path):
    study, output = tmp_path / "study", tmp_path / "out"
    study.mkdir()
    output.mkdir()
    asked = [CohortRow("a", study, (1.0, 2.0, 3.0)), CohortRow("b", output, (1.0, 2.0, 3.0))]
    finished(output, asked, line("a"), line("b"))
    # The results themselves come and go in the folder they are written to.
    assert kept(output, asked) == ["a", "b"]
    (study / "late.dcm").touch()
    os.utime(study, ns=(0, 10**18))
    assert kept(output, asked) == ["b"]


def test_heat_maps_go_with_the_lines_they_belong_to(tmp_path):
    asked = [row(name) for name in "abc"]
    folder = finished(tmp_path, asked, *(line(name) for name in "abc"))
    (folder / "heatmaps").mkdir()
    for name in ("a", "b", "mine"):
        heatmap_file(folder, name).write_text("heat")
    # Asked for heat maps, c has none; b was moved.
    assert kept(folder, [row("a"), row("b", r=5.0), row("c")], heatmaps=True) == ["a"]
    assert sorted(file.name for file in (folder / "heatmaps").iterdir()) == ["a.nrrd", "mine.nrrd"]


def test_rows_wait_for_a_batch_of_their_image(folder, tiny, monkeypatch):
    """Eight at a time, what is left at the end, and never two images together."""
    seen = []
    whole = type(tiny).classify_patches

    def spy(self, patches, volumes, heatmaps=True):
        seen.append((len(patches), {ct.name for ct in volumes}))
        return whole(self, patches, volumes, heatmaps)

    monkeypatch.setattr(type(tiny), "classify_patches", spy)
    counts = {"one": 9, "two": 8}
    lines = [f"{name}{k},{name}.nrrd,{10 + k / 50},-20,30" for k in range(9) for name in counts if k < counts[name]]
    assert run_batch(cohort(folder, *lines), folder / "out", tiny) == 0
    assert seen == [(8, {"one.nrrd"}), (1, {"one.nrrd"}), (8, {"two.nrrd"})]


def test_an_image_is_read_once_and_a_broken_one_fails_each_of_its_rows(folder, tiny, monkeypatch):
    seen = []
    reader = batch.read_ct
    monkeypatch.setattr(batch, "read_ct", lambda path: seen.append(path.name) or reader(path))
    lines = ["a,one.nrrd,10,-20,30", "x,broken.nrrd,1,2,3", "b,one.nrrd,11,-20,30", "y,broken.nrrd,1,2,3"]
    assert run_batch(cohort(folder, *lines), folder / "out", tiny) == 2
    assert sorted(seen) == ["broken.nrrd", "one.nrrd"]


def test_a_lock_names_its_owner_and_leaves_nothing(tmp_path):
    with locked(tmp_path / "deep" / "out"):
        text = (tmp_path / "deep" / "out" / "run.lock").read_text(encoding="utf-8")
        assert text.startswith(f"process {os.getpid()} on ")
        with (
            pytest.raises(InputError, match=rf"Another run \(process {os.getpid()} on .*\) is writing"),
            locked(tmp_path / "deep" / "out"),
        ):
            pass
    assert list((tmp_path / "deep" / "out").iterdir()) == []
    with locked(tmp_path / "deep" / "out"):
        pass


def test_cells_with_line_breaks_stay_on_one_line(tmp_path):
    finished(tmp_path, [row("a")], line("a", warnings="two\nlines  of text", notes="two  blanks"))
    found = rows(tmp_path)["a"]
    assert (found["warnings"], found["notes"]) == ("two lines of text", "two  blanks")


@pytest.mark.parametrize(
    ("row_id", "is_usable"),
    [
        ("a", True),
        ("n" * 120, True),
        ("n" * 121, False),
        ("\u00e9" * 100, True),
        ("\u00e9" * 101, False),
        ("", False),
        (".", False),
        ("..", False),
        (" . ", False),
        (".a", True),
        ("a.b-c_d e", True),
        ("con", False),
        ("CON.txt", False),
        ("console", True),
        ("com1", False),
        ("com", True),
        ("lpt9.x", False),
        ("lpt10", True),
        ("nul", False),
        *((f"a{sign}b", False) for sign in '<>:"/\\|?*\0\x1f\n'),
        ("a b", True),
    ],
)
def test_an_id_is_a_file_name_everywhere(row_id, is_usable):
    assert is_usable_id(row_id) is is_usable


def table(folder: Path, text: str) -> Path:
    file = folder / "cohort.csv"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("first", "second"), [("a", "A"), ("a", "a"), ("\u00e9", "e\u0301"), ("stra\u00dfe", "STRASSE")]
)
def test_ids_that_some_file_system_confuses_are_refused(tmp_path, first, second):
    with pytest.raises(InputError, match=r"occurs more than once \(lines 2 and 3\)"):
        read_cohort(table(tmp_path, f"id,image,r,a,s\n{first},x,1,2,3\n{second},x,1,2,3\n"))


def test_lps_becomes_ras_and_ras_stays(tmp_path):
    for names, expected in (
        ("r,a,s", (1.0, 2.0, 3.0)),
        ("x,y,z", (-1.0, -2.0, 3.0)),
        ("coordX,coordY,coordZ", (-1.0, -2.0, 3.0)),
    ):
        (found,) = read_cohort(table(tmp_path, f"id,image,{names}\nn,ct.nrrd,1,2,3\n"))
        assert found.point_mm == expected
        (wrong,) = read_cohort(table(tmp_path, f"id,image,{names}\nn,ct.nrrd,one,2,3\n"))
        assert f"({'RAS' if names == 'r,a,s' else 'LPS'} mm), not 'one', '2', '3'" in wrong.fault


def test_a_series_names_its_file_and_its_rows(tmp_path):
    (tmp_path / "subset3").mkdir()
    (tmp_path / "subset3" / "1.2.3.mhd").touch()
    (tmp_path / "1.2.4.nii").touch()
    text = "seriesuid,coordX,coordY,coordZ\n1.2.3,1,2,3\n1.2.3,4,5,6\n1.2.4,1,2,3\n1.2.5,1,2,3\n"
    found = read_cohort(table(tmp_path, text))
    assert [one.row_id for one in found] == ["1.2.3_1", "1.2.3_2", "1.2.4_1", "1.2.5_1"]
    assert [one.image_path and one.image_path.name for one in found] == ["1.2.3.mhd", "1.2.3.mhd", "1.2.4.nii", None]
    assert "There is no image of the series '1.2.5'" in found[3].fault
    with pytest.raises(InputError, match=r"There is no image of the series '1\.2\.5'"):
        _ = found[3].image


def test_a_point_that_is_none_is_refused_by_its_fault():
    with pytest.raises(InputError, match="no numbers"):
        CohortRow("a", None, None, "no numbers").point_ras()


@pytest.mark.parametrize(("header", "message"), [
    ("id,image,r,a,s,x,y,z", "ambiguous"), ("id,image,r,a", r"lacks the column\(s\) s;"), ("image,r,a,s", r"lacks the column\(s\) id;"),
    ("id,r,a,s", r"lacks the column\(s\) image;"), ("id,image,x,y", r"lacks the column\(s\) z;"), ("id,id,image,r,a,s", "more than one column 'id'"),
])  # fmt: skip
def test_columns_must_be_named_once(tmp_path, header, message):
    with pytest.raises(InputError, match=message):
        read_cohort(table(tmp_path, f"{header}\n{','.join('1' * (header.count(',') + 1))}\n"))


def test_a_table_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(InputError, match=r"results\.csv' cannot be written"):
        ResultTable(tmp_path / "absent" / "results.csv")
