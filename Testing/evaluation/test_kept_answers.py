"""Answers kept in a file give the figures of their run; other files are refused with a reason."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from helpers.finished_run import NODULES, made_up_run
from helpers.repository import ROOT

from CLIPLungLib.cli import main
from CLIPLungLib.dataset.data_folder import write_nodules
from CLIPLungLib.dataset.nodule_table import read_nodules
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.comparison import evaluate
from CLIPLungLib.evaluation.kept_answers import keep_answers, read_kept_answers, rounded
from CLIPLungLib.evaluation.tables import results_text
from CLIPLungLib.inference.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from CLIPLungLib.lidc.patient_folds import read_folds
from CLIPLungLib.training.fold_answers import FoldAnswers
from CLIPLungLib.training.fold_calibrations import fit_calibrations


@pytest.fixture(scope="module")
def run():
    return made_up_run(NODULES)


@pytest.fixture
def kept(tmp_path, run) -> Path:
    file = tmp_path / "answers.npz"
    keep_answers(file, run, NODULES)
    return file


def changed(file: Path, **arrays: np.ndarray) -> Path:
    with np.load(file) as stored:
        np.savez(file, **({name: stored[name] for name in stored.files} | arrays))
    return file


def facts_of(file: Path) -> dict:
    with np.load(file) as stored:
        return json.loads(stored["facts"].tobytes())


def as_bytes(facts: object) -> np.ndarray:
    return np.frombuffer(json.dumps(facts).encode(), np.uint8)


def test_figures_of_the_file_are_those_of_the_run_to_the_last_digit(kept, run):
    from_run = evaluate([rounded(run)], NODULES, repeats=20)
    from_file = evaluate([read_kept_answers(kept, NODULES)], NODULES, repeats=20)
    assert json.dumps(from_file) == json.dumps(from_run)
    assert results_text(from_file) == results_text(from_run)


def test_rounding_stays_below_what_any_figure_shows(run):
    near, exact = rounded(run).answers, run.answers
    np.testing.assert_allclose(near.level_probabilities, exact.level_probabilities, atol=0.5e-4)
    for name in ("malignancy_score", "diameter_mm", "presence", "distance"):
        np.testing.assert_allclose(getattr(near, name), getattr(exact, name), rtol=1e-6)
    again = rounded(replace(run, answers=near)).answers
    for part in fields(FoldAnswers):
        np.testing.assert_array_equal(getattr(again, part.name), getattr(near, part.name))


def test_rows_are_found_by_their_ids_whatever_their_order(kept, run):
    turned = NODULES[::-1]
    found = read_kept_answers(kept, turned)
    ids = [NODULES[index].nodule_id for index in run.answers.nodule]
    assert [turned[index].nodule_id for index in found.answers.nodule] == ids
    assert (found.name, found.epochs, found.folds) == (run.name, run.epochs, run.folds)
    assert found.calibrations == run.calibrations


def test_the_same_run_writes_the_same_bytes(kept, run):
    before = kept.read_bytes()
    keep_answers(kept, run, NODULES)
    assert kept.read_bytes() == before


def test_nodules_that_the_table_lacks_are_left_out_and_counted(kept, run):
    fewer = NODULES[:3] + NODULES[4:]
    found = read_kept_answers(kept, fewer)
    ids = [NODULES[index].nodule_id for index in run.answers.nodule]
    assert [fewer[index].nodule_id for index in found.answers.nodule] == [one for one in ids if one != "n3"]
    assert found.missing == 1
    assert read_kept_answers(kept, NODULES).missing == 0


def test_answers_for_no_nodule_of_the_table_are_refused(kept):
    with pytest.raises(InputError, match=r"answers for no nodule of the table \(it has 'n0'\)"):
        read_kept_answers(kept, [replace(nodule, nodule_id=f"other{nodule.nodule_id}") for nodule in NODULES])


def test_a_table_with_other_folds_gives_the_same_figures(kept):
    """Whoever prepares LIDC-IDRI anew has folds of his own; those of the networks are in the file."""
    others = [replace(nodule, fold=(nodule.fold + index) % 5) for index, nodule in enumerate(NODULES)]
    assert json.dumps(evaluate([read_kept_answers(kept, others)], others, repeats=20)) == json.dumps(
        evaluate([read_kept_answers(kept, NODULES)], NODULES, repeats=20)
    )


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:300]), "not a zip file"),
        (lambda file: file.write_bytes(b"{}"), "not a zip file"),
        (lambda file: file.unlink(), "No such file"),
        (lambda file: np.savez(file, nodule=np.zeros(3)), "without facts"),
        (lambda file: changed(file, facts=as_bytes(facts_of(file) | {"format": 3})), "it is of format 3"),
        (lambda file: changed(file, facts=as_bytes([])), "list indices"),
        (lambda file: changed(file, facts=as_bytes({"format": 2})), "'nodule_ids' is missing"),
        (lambda file: changed(file, facts=as_bytes(facts_of(file) | {"calibrations": {"0": {}}})), "is missing"),
        (lambda file: changed(file, facts=as_bytes(facts_of(file) | {"nodule_ids": ["n0"]})), "lead nowhere"),
        (lambda file: changed(file, facts=np.frombuffer(b"{" * 100_000, np.uint8)), "property name"),
        (lambda file: changed(file, kind=np.full(3, 77, np.uint8)), "shape"),
        (lambda file: changed(file, malignancy_score=np.array(["x"])), "no numbers"),
        (lambda file: changed(file, nodule=np.zeros(len(np.load(file)["nodule"]))), "other numbers"),
    ],
)
def test_damaged_and_foreign_files_are_refused_in_one_line(kept, damage, reason):
    damage(kept)
    with pytest.raises(InputError, match=reason) as caught:
        read_kept_answers(kept, NODULES)
    assert "\n" not in str(caught.value)
    assert "--keep-answers" in str(caught.value)


def test_calibrations_of_the_bundled_weights_follow_from_the_kept_answers(lidc_folder):
    nodules, bundled = read_nodules(lidc_folder), load_checkpoint(DEFAULT_CHECKPOINT)
    kept = read_kept_answers(ROOT / "Resources" / "ModelCard" / "answers.npz", nodules)
    found = fit_calibrations(kept.answers, nodules, bundled.draws_outline).to_dict()
    stored = bundled.calibrations.to_dict()
    # Kept answers are rounded; the weights were calibrated before.
    assert found["probability"]["offsets"] == pytest.approx(stored["probability"]["offsets"], abs=1e-3)
    assert found["probability"]["slope"] == pytest.approx(stored["probability"]["slope"], abs=1e-3)
    assert found["class_set_threshold"] == pytest.approx(stored["class_set_threshold"], abs=1e-3)
    for part, values in stored["outline"].items():
        assert found["outline"][part] == pytest.approx(values, abs=1e-3)


def test_published_figures_are_those_of_the_kept_answers(lidc_folder):
    nodules = read_nodules(lidc_folder)
    kept = read_kept_answers(ROOT / "Resources" / "ModelCard" / "answers.npz", nodules)
    published = json.loads((ROOT / "Resources" / "ModelCard" / "results.json").read_text(encoding="utf-8"))
    found = evaluate([kept], nodules, repeats=20)
    for setting, values in published["settings"].items():
        own = found["settings"][setting]["figures"][published["main_run"]]
        for key, figure in values["figures"][published["main_run"]].items():
            # Other processors round otherwise.
            assert own[key]["value"] == pytest.approx(figure["value"], abs=1e-5), (setting, key)


def test_the_published_folds_are_those_of_the_kept_answers():
    folder = ROOT / "Resources" / "ModelCard"
    with np.load(folder / "answers.npz") as stored:
        ids = json.loads(stored["facts"].tobytes())["nodule_ids"]
        answered = {
            (ids[nodule].split("_")[0], int(fold))
            for nodule, fold in zip(stored["nodule"], stored["fold"], strict=True)
        }
    assert set(read_folds(folder / "folds.csv").fold.items()) == answered


def test_the_command_says_how_many_nodules_are_left_out(kept, tmp_path, capsys):
    write_nodules(tmp_path, NODULES[1:])
    words = ["--data", str(tmp_path), "--answers", str(kept), "--output", str(tmp_path / "results.json")]
    assert main(["evaluate", *words]) == 0
    assert "warning: 1 nodule(s) of" in capsys.readouterr().err
