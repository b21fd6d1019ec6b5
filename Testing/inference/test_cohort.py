"""Cohorts: one row out per row in, whatever happens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.cohort import cohort, rows
from helpers.synthetic_dicom import write_series

from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference import cohort as batch
from CLIPLungLib.inference.cohort import run_batch


def ball_hu() -> np.ndarray:
    """(K, J, I) int16 HU: lung with a ball of 5 mm radius around RAS (-10, -10, 0), as `write_series` places it."""
    k, j, i = np.indices((40, 60, 60))
    distance_mm = np.hypot(np.hypot(i - 40, j - 30), 2.5 * (k - 20))
    return np.where(distance_mm < 5, 40, -850).astype(np.int16)


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
        "commas,one.nrrd,10,0,-20,0,30,0",
        "no image,,10,-20,30",
    )
    assert run_batch(file, folder / "out", tiny) == 8
    found = rows(folder / "out")
    assert [found[name]["status"] for name in ("good", "other")] == ["ok", "ok"]
    assert "lies outside" in found["outside"]["error"]
    assert "must be numbers" in found["words"]["error"]
    assert "three finite coordinates" in found["nan"]["error"]
    assert "nowhere.nrrd" in found["missing"]["error"]
    assert "broken.nrrd" in found["broken"]["error"]
    assert "2 cells for 5 columns: r, a, s missing" in found["short"]["error"]
    assert "8 cells for 5 columns: write numbers with a point, or quote them" in found["commas"]["error"]
    assert "The path of the CT is empty" in found["no image"]["error"]
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


def test_what_the_reader_noticed_stands_beside_the_answer(folder, tiny):
    hu = ball_hu()
    write_series(folder / "study" / "first", hu)
    write_series(folder / "study" / "second", hu[:-1], series_uid="1.2.3.2", SeriesDescription="follow-up")
    note = read_ct(folder / "study").source["note"]
    assert "1.2.3.2" in note or "follow-up" in note
    assert run_batch(cohort(folder, "a,study,-10,-10,0"), folder / "out", tiny) == 0
    assert rows(folder / "out")["a"]["notes"] == " ".join(note.split())


def test_a_row_is_answered_from_the_series_it_names(folder, tiny):
    hu = ball_hu()
    write_series(folder / "study" / "first", hu)
    # Without a name this one would be chosen.
    write_series(folder / "study" / "second", np.where(hu > 0, -700, hu).astype(np.int16), series_uid="1.2.3.2")
    file = folder / "cohort.csv"
    series = {"a": "1.2.3.1", "b": "1.2.3.2", "c": "3.1", "none": "", "other": "1.2.3.9"}
    lines = [f"{name},study,{uid},-10,-10,0" for name, uid in series.items()]
    file.write_text("\n".join(["id,image,SeriesInstanceUID,r,a,s", *lines]), encoding="utf-8")
    assert run_batch(file, folder / "out", tiny) == 1
    found = rows(folder / "out")
    wanted = {
        uid: tiny.classify(read_ct(folder / "study", uid), (-10, -10, 0)).malignancy_probability
        for uid in ("3.1", "3.2")
    }
    assert abs(wanted["3.1"] - wanted["3.2"]) > 1e-4
    for name, uid in (("a", "3.1"), ("b", "3.2"), ("c", "3.1"), ("none", "3.2")):
        assert float(found[name]["malignancy_probability"]) == pytest.approx(wanted[uid], abs=1e-5)
    assert "gave the series 1.2.3.2, and the column seriesuid names 1.2.3.9. Correct the UID" in found["other"]["error"]


def test_a_file_that_knows_no_series_is_taken_for_the_named_one(folder, tiny):
    file = folder / "cohort.csv"
    file.write_text("id,image,seriesuid,r,a,s\na,one.nrrd,1.2.3.1,10,-20,30\n", encoding="utf-8")
    assert run_batch(file, folder / "out", tiny) == 0


def test_one_point_the_network_fails_on_does_not_fail_its_neighbours(folder, tiny, monkeypatch):
    whole = type(tiny).classify_patches

    def fail_at_one(self, patches, volumes, heatmaps):
        if any(patch.center_ras[0] == 12.0 for patch in patches):
            raise RuntimeError("no convolution for this one")
        return whole(self, patches, volumes, heatmaps)

    monkeypatch.setattr(type(tiny), "classify_patches", fail_at_one)
    file = cohort(folder, "a,one.nrrd,10,-20,30", "b,one.nrrd,12,-20,30", "c,one.nrrd,11,-20,30")
    assert run_batch(file, folder / "out", tiny) == 1
    found = rows(folder / "out")
    assert [found[name]["status"] for name in "abc"] == ["ok", "failed", "ok"]
    assert "no convolution" in found["b"]["error"]


def test_answer_with_a_number_that_is_none_is_a_failed_row(folder, tiny, monkeypatch):
    whole = type(tiny).classify_patches

    def damaged(self, patches, volumes, heatmaps):
        return [replace(result, diameter_mm=float("nan")) for result in whole(self, patches, volumes, heatmaps)]

    monkeypatch.setattr(type(tiny), "classify_patches", damaged)
    assert run_batch(cohort(folder, "a,one.nrrd,10,-20,30"), folder / "out", tiny) == 1
    assert "NaN" in rows(folder / "out")["a"]["error"]
