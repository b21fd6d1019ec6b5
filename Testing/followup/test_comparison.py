"""One nodule in two scans, as value, picture and command."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from helpers.cohort import write_image
from helpers.synthetic_dicom import write_series

from CLIPLungLib.cli import main
from CLIPLungLib.errors import InputError
from CLIPLungLib.followup.comparison import compare, comparison_of
from CLIPLungLib.followup.dates import date_of_scan
from CLIPLungLib.followup.wording import change_lines
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.dicom.acquisition_date import acquisition_date
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.result import NoduleMeasurement

POINT = (10.0, -20.0, 30.0)
DATES = (date(2024, 7, 1), date(2024, 1, 1))


@pytest.fixture
def prior_ct(ball_ct) -> CTVolume:
    return CTVolume(ball_ct.hu.copy(), ball_ct.ijk_to_ras, "earlier")


def sized(result, volume_mm3: float):
    """The answer with a measured size."""
    diameter_mm = 2 * (volume_mm3 * 3 / 4 / np.pi) ** (1 / 3)
    interval = (volume_mm3 / 1.5, volume_mm3 * 1.5)
    size = NoduleMeasurement(diameter_mm, (1.0, 99.0), diameter_mm, volume_mm3, interval, POINT)
    return replace(result, measurement=size, diameter_mm=diameter_mm)


def test_comparison_holds_both_answers_and_the_change(ball_ct, prior_ct, tiny):
    found = compare(ball_ct, POINT, prior_ct, tiny, POINT, DATES)
    assert found.match is None
    assert found.current.malignancy_probability == pytest.approx(tiny.classify(ball_ct, POINT).malignancy_probability)
    grown = comparison_of(sized(found.current, 900.0), sized(found.prior, 300.0), (ball_ct, prior_ct), None, DATES)
    longer = sized(found.prior, 300.0)
    longer = replace(longer, measurement=replace(longer.measurement, diameter_mm=40.0))
    opposite = comparison_of(sized(found.current, 900.0), longer, (ball_ct, prior_ct), None, DATES)
    assert [any("opposite ways" in warning for warning in one.warnings) for one in (grown, opposite)] == [False, True]
    plain = json.loads(grown.to_json())
    assert plain["growth"]["days"] == 182
    assert plain["growth"]["doubling_days"] == pytest.approx(182 * np.log(2) / np.log(3))
    assert plain["registration"] is None
    assert (plain["current_date"], plain["prior_date"]) == ("2024-07-01", "2024-01-01")
    assert plain["malignancy_probability_change"] == pytest.approx(0.0, abs=1e-6)
    words = " ".join(line for _, lines in change_lines(grown) for line in lines)
    assert "+200 %" in words
    assert "doubling time 115 days" in words


def test_missing_dates_and_outlines_are_told(ball_ct, prior_ct, tiny):
    found = compare(ball_ct, POINT, prior_ct, tiny, POINT)
    bare = replace(found.prior, measurement=None, outline=None)
    told = comparison_of(sized(found.current, 900.0), bare, (ball_ct, prior_ct))
    assert told.growth is None
    assert any("outlined in the prior CT" in warning for warning in told.warnings)
    assert any("give the dates" in warning for warning in told.warnings)


def test_copies_of_one_scan_and_scans_of_two_patients_are_told(ball_ct, prior_ct, tiny):
    answer = tiny.classify(ball_ct, POINT)

    def told(current, prior):
        return " ".join(comparison_of(answer, answer, (current, prior)).warnings)

    assert "one scan was given twice" in told(ball_ct, prior_ct)
    changed = replace(prior_ct, hu=prior_ct.hu + np.int16(1))
    assert "given twice" not in told(ball_ct, changed)
    assert "given twice" not in told(ball_ct, replace(changed, hu=changed.hu[:-1]))
    for first, second, is_told in (("A", "B", True), ("A", "A", False), ("A", "", False), ("", "", False)):
        pair = (replace(ball_ct, patient_id=first), replace(changed, patient_id=second))
        assert ("different patients" in told(*pair)) is is_told
        assert "A" not in repr(pair[0]).replace("CTVolume", "")


def test_same_scan_and_reversed_dates_are_refused(ball_ct, prior_ct, tiny):
    with pytest.raises(InputError, match="as current and as prior"):
        compare(ball_ct, POINT, ball_ct, tiny, POINT)
    with pytest.raises(InputError, match="Exchange the two CTs"):
        compare(ball_ct, POINT, prior_ct, tiny, POINT, DATES[::-1])


def test_command_writes_numbers_and_picture(tmp_path, ball_ct, tiny_checkpoint_file, capsys):
    write_image(ball_ct, tmp_path / "now.nrrd", tmp_path / "then.nrrd")
    command = [
        "compare",
        str(tmp_path / "now.nrrd"),
        "--point",
        *map(str, POINT),
        "--prior",
        str(tmp_path / "then.nrrd"),
    ]
    command += ["--prior-point", "-1e1", "-20", "30", "--checkpoint", str(tiny_checkpoint_file), "--device", "cpu"]
    command[command.index("-1e1")] = "1e1"
    output = tmp_path / "out"
    dates = ["--date", "2024-07-01", "--prior-date", "20240101"]
    assert main([*command, *dates, "--output", str(output)]) == 0
    assert json.loads((output / "comparison.json").read_text())["prior"]["point_ras_mm"] == list(POINT)
    assert (output / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in output.iterdir()) == ["comparison.json", "comparison.png"]
    assert "Research use only" in capsys.readouterr().out
    for wrong, words in (
        (["--date", "2024-01-01", "--prior-date", "2024-01-01"], "nothing grows in no time"),
        (["--date", "yesterday"], "no date of the current CT"),
    ):
        assert main([*command, *wrong, "--output", str(tmp_path / "none")]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        ("20240328", date(2024, 3, 28)),
        ("2024.03.28", date(2024, 3, 28)),
        ("00010101", None),
        ("19000101", None),
        ("", None),
    ]
    + [("2024", None), ("20241328", None)],
)
def test_a_date_of_dicom_that_is_none_is_unknown_and_a_given_one_refused(tmp_path, stated, found):
    write_series(tmp_path, np.full((4, 6, 6), -800, np.int16), StudyDate=stated)
    ct = read_ct(tmp_path)
    assert date_of_scan(None, "the CT", tmp_path, ct) == date_of_scan("", "the CT", tmp_path, ct) == found
    assert date_of_scan("2020-01-02", "the CT", tmp_path, ct) == date(2020, 1, 2)
    with pytest.raises(InputError, match="is no date of the CT"):
        date_of_scan(stated + "?", "the CT", tmp_path, ct)


def test_date_of_a_dicom_series_is_read_where_it_is(tmp_path):
    hu = np.full((4, 6, 6), -800, np.int16)
    write_series(tmp_path / "dated", hu, SeriesDate="20230405", StudyDate="20230404")
    write_series(tmp_path / "bare", hu)
    (tmp_path / "bare" / "notes.txt").write_text("no DICOM")
    assert acquisition_date(tmp_path / "dated") == "20230405"
    assert acquisition_date(tmp_path / "dated" / "001.dcm", "1.2.3.1") == "20230405"
    assert acquisition_date(tmp_path / "dated", "9.9.9") == ""
    assert acquisition_date(tmp_path / "bare") == ""
    assert acquisition_date(tmp_path / "bare" / "notes.txt") == ""
