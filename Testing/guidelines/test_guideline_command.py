"""`cliplung guidelines`, run as its user would, and what it takes from an answer of the program."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers.repository import ROOT

from CLIPLungLib.cli import main
from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.case import Case, Size
from CLIPLungLib.guidelines.proposal import proposed_type, read_proposal
from CLIPLungLib.guidelines.recommendation import NOTICE
from CLIPLungLib.guidelines.registry import GUIDELINES, ask, key_of_other_size
from CLIPLungLib.inference.result import AttributeResult, NoduleMeasurement, NoduleResult
from CLIPLungLib.inference.result_files import write_json
from CLIPLungLib.vocabulary import ATTRIBUTES

PATIENT = (
    "--age=66 --sex=female --smoking=former --nodules=1 --immunosuppressed=no --known-cancer=no --high-risk=yes",
    "--emphysema=yes --family-history=no --upper-lobe=yes --spiculation=no",
)


def guidelines(*words: str) -> int:
    """One command; words may hold several options."""
    return main(["guidelines", *(part for word in words for part in word.split())])


def result_file(folder, texture_level: float = 4.8, measured: bool = True):
    """What `cliplung classify` writes."""
    attributes = tuple(
        AttributeResult(
            one.name,
            0.1,
            texture_level if one.name == "texture" else 2.0,
            (1.0,) + (0.0,) * (len(one.levels) - 1),
            one.levels[0],
        )
        for one in ATTRIBUTES
    )
    size = NoduleMeasurement(9.04, (7.4, 11.1), 8.21, 310.4, (180.0, 520.0), (0.0, 0.0, 0.0))
    result = NoduleResult(
        (1.0, 2.0, 3.0),
        0.97,
        (0.1, 0.2, 0.7),
        9.04,
        attributes,
        np.zeros((2, 2, 2), np.float32),
        np.eye(4),
        warnings=("cut at the edge",),
        measurement=size if measured else None,
    )
    write_json(result, folder / "result.json")
    return folder / "result.json"


def test_all_guidelines_answer_or_say_what_they_miss(capsys):
    assert guidelines("--size", "8.2", "--type", "solid", "--context", "screening", "--seen", "baseline") == 0
    said = capsys.readouterr().out
    assert "Lung-RADS v2022: 4A" in said
    assert said.count("not answered: ") == 3
    assert "Fleischner Society 2017 needs more: age (--age)" in said
    assert said.rstrip().endswith(NOTICE)


def test_incidental_nodule_is_answered_by_three(capsys):
    assert guidelines("--long", "9", "--short", "7.4", "--type", "solid", "--context", "incidental", *PATIENT) == 0
    said = capsys.readouterr().out
    assert "single solid, 6 to 8 mm, high risk" in said
    assert "BTS 2015: pet_ct" in said
    # -6.7892 + 0.0287*4 + 0.6011 + 0.2953 - 5.3854*(0.9**-0.5 - 1.58113883) + 0.6581 + 0.0824*3 by `bc -l`: 11.64 %.
    assert "Brock (PanCan) 2013: 11.6%" in said
    assert "Lung-RADS v2022 is not for nodules found by chance" in said


def test_json_holds_case_answers_and_reasons(capsys):
    assert guidelines("--json", "--size", "5", "--type", "ground-glass", "--context", "screening", "--seen", "new") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["case"]["nodule_type"] == "ground_glass"
    assert [(one["guideline"], one["key"], one["probability"]) for one in said["answers"]] == [("Lung-RADS", "2", None)]
    assert set(said["not_answered"]) == {"fleischner", "bts", "brock"}
    assert said["notice"] == NOTICE


@pytest.mark.parametrize("name", GUIDELINES)
def test_a_single_guideline_without_inputs_is_one_line_and_exit_2(name, capsys):
    assert guidelines("--guideline", name, "--size", "8.2") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("cliplung: ")
    assert said.err.count("\n") == 1
    assert "--" in said.err


def test_nothing_answered_at_all_is_exit_2(capsys):
    assert guidelines("--size", "8.2") == 2
    assert capsys.readouterr().out.count("not answered: ") == 4


@pytest.mark.parametrize("size", ["-3", "0", "nan", "inf", "1e9"])
def test_sizes_that_cannot_be_are_refused(size, capsys):
    assert guidelines("--size", size, "--type", "solid") == 2
    assert "mean diameter cannot be" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--type", "soft"], ["--emphysema", "maybe"], ["--size", "eight"], ["--four-x", "halo"]]
)
def test_words_that_do_not_exist_are_refused_by_the_parser(words, capsys):
    with pytest.raises(SystemExit) as ended:
        guidelines(*words)
    assert ended.value.code == 2
    assert words[1] in capsys.readouterr().err


def test_known_nodule_and_4x(capsys):
    words = "--guideline lung-rads --type part_solid --context screening --seen known --size 10 --solid 4.2 "
    words += "--prior-size 9.8 --prior-solid 0 --prior-days 360 --prior-category 2"
    assert guidelines(words) == 0
    assert "Lung-RADS v2022: 4B" in capsys.readouterr().out
    assert guidelines(words, "--four-x", "spiculation", "other") == 0
    assert "Lung-RADS v2022: 4X" in capsys.readouterr().out


def test_surveillance_and_brock_models(capsys):
    words = "--guideline bts --type solid --volume 200 --prior-volume 100 --prior-days 300 --surveillance 1-year"
    assert guidelines(words) == 0
    assert "volume doubles in 300 days" in capsys.readouterr().out
    assert guidelines("--guideline brock --brock-model 1a --long 10 --sex female --upper-lobe yes") == 0
    assert "Brock (PanCan) 2013: 12.3%" in capsys.readouterr().out


def test_result_proposes_a_type_that_must_be_confirmed(tmp_path, capsys):
    file = result_file(tmp_path)
    assert guidelines("--result", str(file), "--context", "screening", "--seen", "baseline") == 2
    said = capsys.readouterr().err
    assert "speaks for 'solid'. Confirm it or correct it with --type." in said
    assert said.count("\n") == 1
    assert guidelines("--result", str(file), "--context", "screening", "--seen", "baseline", "--type", "solid") == 0
    said = capsys.readouterr().out
    assert "longest diameter 9.0 mm (7.4 to 11.1), mean diameter 8.2 mm, volume 310 mm3" in said
    assert "Lung-RADS v2022: 4A" in said
    assert "cut at the edge" in said
    # 9.0 mm less 7.4 is 1.6: a mean of 6.6 mm and of 10.3 mm at the ends.
    assert "with a longest diameter of 7.4 mm, the answer is '3'" in said
    assert "with a longest diameter of 11.1 mm" not in said


def test_answer_for_another_size_is_none_where_there_is_no_such_nodule():
    case = Case(Size(mean_mm=8.2), "part_solid", solid_mm=8.0, context="screening", seen="baseline")
    assert key_of_other_size("lung-rads", case, 1.0) == "4B"
    # The solid component would be larger than the nodule; nothing would be left of it.
    assert key_of_other_size("lung-rads", case, -1.0) is None
    assert key_of_other_size("lung-rads", case, -9.0) is None


def test_there_are_four_guidelines():
    with pytest.raises(InputError, match="lung-rads, fleischner, bts, brock"):
        ask("nccn", Case(Size(mean_mm=8.0)))


def test_readers_size_and_type_win_over_the_result(tmp_path, capsys):
    file = result_file(tmp_path)
    words = ["--json", "--result", str(file), "--context", "screening", "--seen", "baseline", "--type", "ground-glass"]
    assert guidelines(*words, "--size", "31") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["answers"][0]["key"] == "3"
    assert said["case"]["size"] == {"mean_mm": 31.0, "long_mm": None, "short_mm": None, "volume_mm3": None}
    assert said["proposal"]["nodule_type"] == "solid"
    assert "Measured by the program" not in " ".join(said["answers"][0]["warnings"])


def test_probability_of_the_network_is_never_used(tmp_path, capsys):
    file = result_file(tmp_path)
    words = [
        "--json",
        "--result",
        str(file),
        "--type",
        "solid",
        "--context",
        "screening",
        "--seen",
        "baseline",
        *PATIENT,
    ]
    assert guidelines(*words) == 0
    before = capsys.readouterr().out
    plain = json.loads(file.read_text(encoding="utf-8"))
    plain["malignancy_probability"] = 0.01
    file.write_text(json.dumps(plain), encoding="utf-8")
    assert guidelines(*words) == 0
    assert capsys.readouterr().out == before


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (1.0, "ground_glass"),
        (1.49, "ground_glass"),
        (1.5, "part_solid"),
        (4.49, "part_solid"),
        (4.5, "solid"),
        (5.0, "solid"),
    ],
)
def test_texture_proposes_a_type(level, expected):
    assert proposed_type(level) == expected


def test_proposal_is_what_was_measured(tmp_path):
    found = read_proposal(result_file(tmp_path, 3.0))
    assert found.size == Size(mean_mm=8.2, long_mm=9.0, volume_mm3=310)
    assert (found.interval_mm, found.nodule_type) == ((7.4, 11.1), "part_solid")


@pytest.mark.parametrize(
    "damage",
    [
        lambda plain: plain | {"measurement": None},
        lambda plain: plain | {"measurement": plain["measurement"] | {"volume_mm3": "large"}},
        lambda plain: plain | {"measurement": plain["measurement"] | {"diameter_mm": True}},
        lambda plain: plain | {"measurement": plain["measurement"] | {"mean_diameter_mm": -1.0}},
        lambda plain: plain | {"measurement": plain["measurement"] | {"diameter_mm": float("nan")}},
        lambda plain: plain | {"measurement": plain["measurement"] | {"diameter_interval_mm": [1.0]}},
        lambda plain: plain | {"measurement": plain["measurement"] | {"diameter_interval_mm": [11.1, 7.4]}},
        lambda plain: plain | {"measurement": plain["measurement"] | {"volume_mm3": 310e3}},
        lambda plain: plain | {"attributes": {"texture": {"level": 300}}},
        lambda plain: plain | {"attributes": {"texture": {"level": 0.2}}},
        lambda plain: plain | {"attributes": {}},
        lambda plain: plain | {"attributes": []},
        lambda plain: [plain],
        lambda plain: None,
    ],
)
def test_damaged_results_are_refused(damage, tmp_path):
    file = result_file(tmp_path)
    file.write_text(json.dumps(damage(json.loads(file.read_text(encoding="utf-8")))), encoding="utf-8")
    with pytest.raises(InputError, match=r"result\.json"):
        read_proposal(file)


@pytest.mark.parametrize("content", [b"", b"no json", b"\xff\xfe\x00", b"[" * 100_000, b"{" * 50])
def test_files_that_are_no_json_are_refused(content, tmp_path, capsys):
    file = tmp_path / "result.json"
    file.write_bytes(content)
    assert guidelines("--result", str(file), "--type", "solid") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_results_that_cannot_be_read_are_refused(tmp_path, capsys):
    assert guidelines("--result", str(tmp_path / "missing.json"), "--type", "solid") == 2
    assert guidelines("--result", str(tmp_path), "--type", "solid") == 2
    assert capsys.readouterr().err.count("cliplung: ") == 2


def test_rules_need_neither_numpy_nor_torch():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('numpy', 'torch', 'scipy', 'SimpleITK', 'slicer')));"
        "import CLIPLungLib.guidelines.registry, CLIPLungLib.guidelines.proposal"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
