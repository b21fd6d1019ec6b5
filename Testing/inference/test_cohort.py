"""Cohorts: one row out per row in, whatever happens."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference import cohort as batch
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.cohort import read_cohort, run_batch
from CLIPLungLib.inference.result import CSV_COLUMNS

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint_file) -> NoduleClassifier:
    return NoduleClassifier.load(tiny_checkpoint_file, "cpu")


@pytest.fixture
def folder(tmp_path, ball_ct) -> Path:
    """Two copies of a CT and an image that is none."""
    image = sitk.GetImageFromArray(ball_ct.hu)
    matrix = RAS_TO_LPS @ ball_ct.ijk_to_ras
    image.SetSpacing(ball_ct.spacing_mm.tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetDirection((matrix[:3, :3] / ball_ct.spacing_mm).ravel().tolist())
    for name in ("one.nrrd", "two.nrrd"):
        sitk.WriteImage(image, str(tmp_path / name))
    (tmp_path / "broken.nrrd").write_text("not an image")
    return tmp_path


def cohort(folder: Path, *lines: str) -> Path:
    file = folder / "cohort.csv"
    file.write_text("\n".join(["id,image,r,a,s", *lines]) + "\n", encoding="utf-8")
    return file


def rows(output: Path) -> dict[str, dict[str, str]]:
    with (output / "results.csv").open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        assert tuple(reader.fieldnames) == CSV_COLUMNS
        found = list(reader)
    assert len({row["id"] for row in found}) == len(found)
    return {row["id"]: row for row in found}


def test_every_row_is_answered_and_bad_ones_say_why(folder, tiny):
    file = cohort(
        folder,
        "good,one.nrrd,10,-20,30",
        "other,two.nrrd,10,-20,30",
        "outside,one.nrrd,1000,0,0",
        "words,one.nrrd,ten,0,0",
        "nan,one.nrrd,nan,0,0",
        "missing,nowhere.nrrd,10,-20,30",
        "broken,broken.nrrd,10,-20,30",
        "short,one.nrrd",
    )
    assert run_batch(file, folder / "out", tiny) == 6
    found = rows(folder / "out")
    assert [found[name]["status"] for name in ("good", "other")] == ["ok", "ok"]
    assert "lies outside" in found["outside"]["error"]
    assert "must be numbers" in found["words"]["error"]
    assert "three finite coordinates" in found["nan"]["error"]
    assert "nowhere.nrrd" in found["missing"]["error"]
    assert "broken.nrrd" in found["broken"]["error"]
    assert "must be numbers" in found["short"]["error"]
    result = tiny.classify(read_ct(folder / "one.nrrd"), (10, -20, 30))
    assert float(found["good"]["malignancy_probability"]) == pytest.approx(result.malignancy_probability, abs=1e-5)
    assert found["good"]["predicted_class"] == result.predicted_class
    assert float(found["good"]["spiculation_level"]) == pytest.approx(result.attributes[6].level, abs=1e-4)


def test_more_rows_than_a_batch_and_several_images(folder, tiny):
    lines = [
        f"n{index},{'one' if index % 2 else 'two'}.nrrd,{10 + index / 10},-20,30"
        for index in range(2 * batch.PATCHES_PER_BATCH + 3)
    ]
    assert run_batch(cohort(folder, *lines), folder / "out", tiny) == 0
    found = rows(folder / "out")
    assert len(found) == len(lines)
    for index in (0, 1, len(lines) - 1):
        expected = tiny.classify(read_ct(folder / "one.nrrd"), (10 + index / 10, -20, 30)).malignancy_probability
        assert float(found[f"n{index}"]["malignancy_probability"]) == pytest.approx(expected, abs=1e-5)


def test_heat_maps_are_written_beside(folder, tiny):
    run_batch(cohort(folder, "a b,one.nrrd,10,-20,30"), folder / "out", tiny, heatmaps=True)
    heat = sitk.ReadImage(str(folder / "out" / "heatmaps" / "a b.nrrd"))
    assert heat.GetSize() == (32, 32, 9)


def test_a_killed_run_resumes_without_repeating(folder, tiny, monkeypatch):
    file = cohort(folder, *[f"n{index},one.nrrd,10,-20,30" for index in range(20)])

    def stop_at(done, total, name):
        if done == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(file, folder / "out", tiny, progress=stop_at)
    table = folder / "out" / "results.csv"
    kept = rows(folder / "out")
    assert len(kept) == 11
    # A kill while a line is being written leaves half of it.
    table.write_text(table.read_text(encoding="utf-8") + "n19,ok,,0.5", encoding="utf-8")
    seen = []
    assert run_batch(file, folder / "out", tiny, progress=lambda done, total, name: seen.append(name)) == 0
    assert len(seen) == 9
    found = rows(folder / "out")
    assert len(found) == 20
    assert all(row["status"] == "ok" and row["texture_level"] for row in found.values())


def test_failed_rows_are_tried_again(folder, tiny):
    file = cohort(folder, "late,late.nrrd,10,-20,30")
    assert run_batch(file, folder / "out", tiny) == 1
    (folder / "late.nrrd").write_bytes((folder / "one.nrrd").read_bytes())
    assert run_batch(file, folder / "out", tiny) == 0
    assert rows(folder / "out")["late"]["status"] == "ok"


def test_results_of_another_cohort_are_not_mixed_in(folder, tiny):
    run_batch(cohort(folder, "a,one.nrrd,10,-20,30"), folder / "out", tiny)
    with pytest.raises(InputError, match="holds results of another cohort or model"):
        run_batch(cohort(folder, "a,one.nrrd,12,-20,30"), folder / "out", tiny)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,image,r,a\nx,one.nrrd,1,2\n", "lacks the column"),
        ("id,image,r,a,s\n", "has no rows"),
        ("id,image,r,a,s\nx,one.nrrd,1,2,3\nX,one.nrrd,1,2,3\n", "occurs more than once"),
        ("id,image,r,a,s\n../x,one.nrrd,1,2,3\n", "cannot be a file name"),
        ("id,image,r,a,s\n,one.nrrd,1,2,3\n", "cannot be a file name"),
    ],
)
def test_unusable_cohorts_are_refused_whole(tmp_path, content, message):
    file = tmp_path / "cohort.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_cohort(file)


def test_cohort_in_another_encoding_or_missing_is_refused(tmp_path):
    file = tmp_path / "cohort.csv"
    with pytest.raises(InputError, match="cannot be read"):
        read_cohort(file)
    file.write_bytes("id,image,r,a,s\n\xe9,one.nrrd,1,2,3\n".encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        read_cohort(file)


def test_cohort_saved_by_a_spreadsheet_with_a_byte_order_mark_is_read(tmp_path):
    file = tmp_path / "cohort.csv"
    file.write_text("id,image,r,a,s\r\nx,one.nrrd,1,2,3\r\n", encoding="utf-8-sig")
    assert read_cohort(file)[0].row_id == "x"
