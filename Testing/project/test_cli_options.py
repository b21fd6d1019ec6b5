"""Options of the command line: none is dropped in silence, and letters that a console lacks do not end a command."""

from __future__ import annotations

import io
import sys

import pytest

from CLIPLungLib.cli import _parser, main

GUIDELINES = [
    "guidelines",
    "--guideline",
    "lung-rads",
    "--type",
    "solid",
    "--context",
    "screening",
    "--seen",
    "baseline",
]


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ([*GUIDELINES, "--size", "8", "--size", "12"], "--size"),
        ([*GUIDELINES, "--size", "8", "--four-x", "spiculation", "--four-x", "metastasis"], "--four-x"),
        ([*GUIDELINES, "--size", "8", "--type", "part-solid"], "--type"),
        (["batch", "a.csv", "--output", "a", "--output", "b"], "--output"),
        (["compare", "a", "--point", "1 2 3", "--prior", "b", "--prior", "c", "--output", "o"], "--prior"),
        (["train", "--data", "a", "--lidc", "b", "--output", "o"], "--lidc"),
        (["lidc", "prepare", "a", "--output", "a", "--output", "b"], "--output"),
        (["ablation", "--data", "a", "--output", "o", "--seeds", "0", "--seeds", "1"], "--seeds"),
    ],
)
def test_an_option_given_twice_is_refused(arguments, option, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert f"{option} is given twice, and the first would not count" in capsys.readouterr().err


def test_what_counts_each_time_and_the_device_may_come_again():
    options = _parser().parse_args(
        [
            "classify",
            "ct.nrrd",
            "--point=1,2,3",
            "--output",
            "o",
            "--device",
            "cpu",
            "--device",
            "cuda",
            "--explain",
            "margin",
            "--explain",
            "texture",
        ]
    )
    assert (options.device, options.explain) == ("cuda", ["margin", "texture"])
    assert _parser().parse_args(["ablation", "--data", "d", "--output", "o", "--seeds", "3", "4"]).seeds == [3, 4]


@pytest.mark.parametrize("option", ["--size", "--nodules", "--prior-days", "--age"])
def test_underscores_are_no_part_of_a_number(option, capsys):
    with pytest.raises(SystemExit):
        main([*GUIDELINES, option, "1_0"])
    assert "'1_0'" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_console_of_few_letters_shows_the_others_as_codes(tmp_path, monkeypatch, encoding):
    # A file name of no encoding, as old archives hold them, comes with surrogates.
    file = tmp_path / "\u7d50\u679c \udcff.json"
    said = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(said, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert main([*GUIDELINES, "--size", "8"]) == 0
    print(file)
    sys.stdout.flush()
    assert r"\udcff.json" in said.getvalue().decode(encoding)
