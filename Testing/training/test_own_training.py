"""From a table of someone's own cases to an answer of the network trained on them, by the commands a user types."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.cohort import write_image
from helpers.tiny_training import CONFIG, NODULES, LetterEncoder, tiny_patches

pytest.importorskip("sklearn", reason="needs the extra 'train'")
pytest.importorskip("matplotlib", reason="needs the extra 'report'")

from CLIPLungLib.calibration.truth import OUTCOME, READERS
from CLIPLungLib.cli import main, training_commands
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.checkpoint import load_checkpoint, save_checkpoint
from CLIPLungLib.training import starting_point
from CLIPLungLib.training.data_source import DataSource, learned_from

CASES, POINT_RAS = 12, (10.0, -20.0, 30.0)


def ball(radius_mm: float, seed: int) -> CTVolume:
    """Lung with a ball at POINT_RAS."""
    matrix = np.diag([-1.0, -1.0, 2.0, 1.0])
    matrix[:3, 3] = (40.0, 10.0, 0.0)
    rng = np.random.default_rng(seed)
    ct = CTVolume(rng.normal(-850, 20, (30, 60, 60)).astype(np.int16), matrix, "ball")
    k, j, i = np.indices(ct.hu.shape)
    distance_mm = np.linalg.norm(ct.to_ras(np.stack([i, j, k], axis=-1)) - np.array(POINT_RAS), axis=-1)
    ct.hu[distance_mm <= radius_mm] = 40
    return ct


def write_cases(folder: Path, header: str, cells: list[str]) -> Path:
    """A CT and a row for every case; the odd ones are large."""
    lines = [f"id,image,r,a,s,patient_id,fold,{header}"]
    for index, cell in enumerate(cells):
        write_image(ball(9.0 if index % 2 else 4.0, index), folder / f"ct{index}.nrrd")
        lines.append(f"n{index},ct{index}.nrrd,10,-20,30,p{index},{index // 2 % 3},{cell}")
    file = folder / "hospital.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def write_settings(folder: Path, checkpoint_file: Path) -> Path:
    """Those of the tiny checkpoint's network, for all folds of any table."""
    init = load_checkpoint(checkpoint_file)
    config = replace(
        CONFIG, train_folds=(), epochs=1, validation_share=0.0, network=init.network.config, patch=init.patch
    )
    file = folder / "settings.json"
    file.write_text(json.dumps(config.to_dict()), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, tiny_checkpoint_file) -> Path:
    """Outcomes alone: prepared, and a network fine-tuned on them."""
    root = tmp_path_factory.mktemp("own")
    table = write_cases(root, "malignancy", [str(index % 2) for index in range(CASES)])
    settings = write_settings(root, tiny_checkpoint_file)
    assert main(["prepare", str(table), "--output", str(root / "DATA"), "--config", str(settings)]) == 0
    assert main(train_words(root, tiny_checkpoint_file)) == 0
    return root


def train_words(root: Path, init: Path, command: str = "train", output: Path | None = None) -> list[str]:
    return [
        *(command, "--data", str(root / "DATA"), "--init", str(init), "--output", str(output or root / "run")),
        *("--config", str(root / "settings.json"), "--device", "cpu"),
    ]


def test_fine_tuned_network_answers_with_the_outcome_of_these_cases(tuned, capsys):
    checkpoint = tuned / "run" / "cliplung.safetensors"
    words = ["classify", str(tuned / "ct1.nrrd"), "--checkpoint", str(checkpoint), "--output", str(tuned / "answer")]
    assert main([*words, "--point", "10", "-20", "30", "--device", "cpu"]) == 0
    assert f"outcome of {CASES} local cases" in capsys.readouterr().out
    assert (tuned / "answer" / "result.json").is_file()


def test_checkpoint_tells_what_it_learned_from(tuned, tiny_checkpoint_file):
    init, tuned_checkpoint = (
        load_checkpoint(f) for f in (tiny_checkpoint_file, tuned / "run" / "cliplung.safetensors")
    )
    facts, truth = tuned_checkpoint.provenance, tuned_checkpoint.calibrations.truth
    assert facts["trained_on"] == "hospital, patient folds [0, 1, 2]"
    assert (facts["nodules"], facts["patients"]) == (CASES, CASES)
    assert facts["init"] == {"sha256": init.sha256, "trained_on": "nothing"}
    assert [(entry["name"], entry["truth"]) for entry in facts["learned_from"]] == [("hospital", OUTCOME)]
    # LIDC-IDRI has no part in it.
    assert "data" not in facts
    assert (truth.whose, truth.cases, truth.patients, truth.events) == (OUTCOME, CASES, CASES, CASES // 2)
    assert len(set(tuned_checkpoint.calibrations.probability.offsets)) == 1
    # What these cases do not tell stays as it was: texts, and what an outline's size means.
    assert (tuned_checkpoint.level_text == init.level_text).all()
    assert tuned_checkpoint.draws_outline
    assert tuned_checkpoint.calibrations.outline.diameter == init.calibrations.outline.diameter


def test_same_command_again_trains_nothing(tuned, tiny_checkpoint_file):
    run = tuned / "run"
    before = (run / "cliplung.safetensors").read_bytes(), (run / "all" / "log.csv").stat().st_mtime_ns
    assert main(train_words(tuned, tiny_checkpoint_file)) == 0
    assert ((run / "cliplung.safetensors").read_bytes(), (run / "all" / "log.csv").stat().st_mtime_ns) == before


def test_progress_goes_on_through_predictions_and_final_network(tuned, tmp_path, tiny_checkpoint_file, monkeypatch):
    told = []
    monkeypatch.setattr(training_commands, "progress_bar", lambda _unit: lambda *step: told.append(step))
    assert main(train_words(tuned, tiny_checkpoint_file, output=tmp_path / "run")) == 0
    # Of each of three folds and of the final network one epoch, and the predictions of three folds.
    assert [done for done, *_ in told] == [1, 1, 2, 2, 3, 3, 4, 5, 6, 7]
    assert {total for _, total, _ in told} == {7}
    assert [name for *_, name in told][:2] == ["fold 0", "fold 0: second reader"]
    assert [name for *_, name in told][-2:] == ["predictions", "all folds"]


def test_changed_table_is_noticed(tuned, tiny_checkpoint_file, capsys):
    table = tuned / "DATA" / "nodules.csv"
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace(",5,", ",1,", 1), encoding="utf-8")
    try:
        assert main(train_words(tuned, tiny_checkpoint_file)) == 2
    finally:
        table.write_text(text, encoding="utf-8")
    assert "holds a run on other data" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "crossvalidate"])
def test_weights_that_know_these_patients_are_refused(tuned, capsys, command):
    assert main(train_words(tuned, tuned / "run" / "cliplung.safetensors", command)) == 2
    error = capsys.readouterr().err
    assert "were trained on 'hospital' already" in error
    assert "without --init" in error


def test_the_bundled_weights_know_lidc_and_other_names_do_not_hide_it(tuned, tmp_path):
    nodules = [replace(item, nodule_id=f"LIDC-IDRI-{item.nodule_id}") for item in NODULES]
    init = load_checkpoint()
    assert [entry["name"] for entry in learned_from(init)] == ["LIDC-IDRI"]
    (tmp_path / "prepared.json").write_text('{"name": "mine"}', encoding="utf-8")
    with pytest.raises(InputError, match="trained on LIDC-IDRI, and 'mine' holds nodules or patients whose ids begin"):
        DataSource.of(tmp_path, nodules, tiny_patches()).require_unseen(init)
    other = DataSource.of(tmp_path, NODULES, tiny_patches())
    assert (other.name, other.is_lidc) == ("mine", False)
    other.require_unseen(init)
    # The same data under another name.
    seen = load_checkpoint(tuned / "run" / "cliplung.safetensors")
    known = replace(other, sha256=seen.provenance["learned_from"][0]["sha256"])
    with pytest.raises(InputError, match="were trained on 'mine' already"):
        known.require_unseen(seen)


def test_what_an_earlier_checkpoint_learned_from_is_passed_on(tuned, tmp_path, tiny_checkpoint_file):
    old = load_checkpoint(tiny_checkpoint_file)
    save_checkpoint(
        tmp_path / "old.safetensors", replace(old, provenance={"trained_on": "LIDC-IDRI, patient folds [0]"})
    )
    words = train_words(tuned, tmp_path / "old.safetensors", "crossvalidate", tmp_path / "run")
    assert main(words) == 0
    facts = load_checkpoint(tmp_path / "run" / "fold0" / "cliplung.safetensors").provenance
    assert [entry["name"] for entry in facts["learned_from"]] == ["LIDC-IDRI", "hospital"]
    assert "10.7937/K9/TCIA.2015.LO9QL9SX" in facts["data"]


def test_table_given_for_the_data_folder_is_told_what_to_do(tuned, tmp_path, capsys):
    for command in ("train", "crossvalidate"):
        table = str(tuned / "hospital.csv")
        assert main([command, "--data", table, "--output", str(tmp_path / "run")]) == 2
        assert f"'cliplung prepare {table} --output DATA'" in capsys.readouterr().err


def test_network_trained_anew_says_nothing_of_what_no_case_tells(tmp_path, tiny_checkpoint_file, monkeypatch, capsys):
    """Readers' ratings of malignancy and one sign, no sizes, no outlines."""
    monkeypatch.setattr(starting_point, "build_text_encoder", lambda _: LetterEncoder())
    table = write_cases(
        tmp_path, "malignancy,margin", ["4 5 4,4" if index % 2 else "1 2 2,2 1" for index in range(CASES)]
    )
    settings = write_settings(tmp_path, tiny_checkpoint_file)
    values = json.loads(settings.read_text(encoding="utf-8"))
    values["network"]["text_dim"] = LetterEncoder.dim
    settings.write_text(json.dumps(values), encoding="utf-8")
    assert main(["prepare", str(table), "--output", str(tmp_path / "DATA"), "--config", str(settings)]) == 0
    words = train_words(tmp_path, Path("none"), "crossvalidate")
    del words[3:5]
    assert main(words) == 0
    assert "no case has a label for diameter, subtlety, internalStructure" in capsys.readouterr().err
    checkpoint = load_checkpoint(tmp_path / "run" / "fold0" / "cliplung.safetensors")
    assert not checkpoint.draws_outline
    assert checkpoint.calibrations.outline is None
    assert checkpoint.calibrations.truth.whose == READERS
    assert "margin" not in checkpoint.provenance["not_learned"]
    assert "diameter" in checkpoint.provenance["not_learned"]
    assert "init" not in checkpoint.provenance
