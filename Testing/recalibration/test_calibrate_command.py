"""`cliplung calibrate`, run as its user would: a table of cases in, weights out, and every refusal in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.cohort import write_image
from helpers.synthetic_dicom import write_series

from CLIPLungLib.calibration.truth import OUTCOME, READERS
from CLIPLungLib.cli import main
from CLIPLungLib.dataset.case_table import read_cases
from CLIPLungLib.dataset.data_folder import write_nodules
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.checkpoint import load_checkpoint, save_checkpoint
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.recalibration.answers import answer_cases
from CLIPLungLib.recalibration.cases import read_local_cases
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

PATIENTS = 14
POINTS_RAS = ((0.0, 0.0, 0.0), (18.0, 10.0, 4.0))
HEAD = "id,image,r,a,s,malignancy,patient_id"


def chest(seed: int) -> CTVolume:
    """Lung with two balls of other size and density in each patient; the origin lies within the first."""
    rng = np.random.default_rng(seed)
    matrix = np.diag([1.0, 1.0, 2.0, 1.0])
    matrix[:3, 3] = (-40.0, -40.0, -30.0)
    volume = CTVolume(rng.normal(-850, 20, (30, 80, 80)).astype(np.int16), matrix, "chest")
    k, j, i = np.indices(volume.hu.shape)
    place = volume.to_ras(np.stack([i, j, k], axis=-1))
    for point in POINTS_RAS:
        volume.hu[np.linalg.norm(place - point, axis=-1) <= rng.uniform(3, 8)] = rng.uniform(-300, 100)
    return volume


@pytest.fixture(scope="module")
def scores(tmp_path_factory, tiny_checkpoint_file) -> tuple[Path, dict[str, float]]:
    """A folder with a CT per patient, and the network's score of every case."""
    folder = tmp_path_factory.mktemp("cases")
    for patient in range(PATIENTS):
        write_image(chest(patient), folder / f"ct{patient}.nrrd")
    file = table(folder, "all.csv", {f"n{i}": 1 + 4 * (i % 2) for i in range(2 * PATIENTS)})
    answers = answer_cases(read_cases(file).cases, NoduleClassifier.load(tiny_checkpoint_file, "cpu"))
    assert answers.left_out == {}
    names = [case.row.row_id for case in answers.cases]
    return folder, dict(zip(names, answers.malignancy_score.tolist(), strict=True))


def table(folder: Path, name: str, labels: dict[str, object], *more: str) -> Path:
    lines = [HEAD]
    for i in range(2 * PATIENTS):
        r, a, s = POINTS_RAS[i % 2]
        lines.append(f"n{i},ct{i // 2}.nrrd,{r},{a},{s},{labels[f'n{i}']},p{i // 2}")
    (folder / name).write_text("\n".join([*lines, *more]) + "\n", encoding="utf-8")
    return folder / name


def labels_by(scores: dict[str, float], low: object, high: object) -> dict[str, object]:
    """The upper half is high, but for two on either side of the middle."""
    ordered = sorted(scores, key=lambda name: scores[name])
    half = len(ordered) // 2
    ordered[half - 2], ordered[half + 1] = ordered[half + 1], ordered[half - 2]
    return {name: high if place >= half else low for place, name in enumerate(ordered)}


def calibrate(file: Path, weights: Path, output: Path) -> int:
    return main(
        ["calibrate", str(file), "--checkpoint", str(weights), "--output", str(output), "--device", "cpu"],
    )


def test_outcomes_make_weights_that_say_so(scores, tiny_checkpoint_file, tmp_path, capsys):
    folder, found = scores
    broken = "bad,none.nrrd,0,0,0,1,p99"
    outside = "out,ct0.nrrd,500,0,0,0,p0\nempty,ct1.nrrd,0,0,0,,p1"
    file = table(folder, "outcomes.csv", labels_by(found, 0, 1), broken, *outside.split("\n"))
    assert calibrate(file, tiny_checkpoint_file, tmp_path / "new" / "local.safetensors") == 0
    said = capsys.readouterr().out
    assert "3 of 31 cases left out" in said
    for name in ("bad: ", "out: ", "empty: neither a rating nor an outcome"):
        assert f"  {name}" in said
    assert "28 cases of 14 patients, 14 with the event: P(malignant by outcome of 28 local cases)" in said
    assert "Cases of the same mix for +-0.05:" in said
    old, new = load_checkpoint(tiny_checkpoint_file), load_checkpoint(tmp_path / "new" / "local.safetensors")
    for name, value in old.network.state_dict().items():
        assert torch.equal(value, new.network.state_dict()[name]), name
    assert new.calibrations.truth.whose == OUTCOME
    assert new.calibrations.outline == old.calibrations.outline
    record = new.provenance["local_calibration"]
    assert record["calibrated_from_sha256"] == old.sha256
    assert record["figures"]["log_loss"]["before"]["n"] == 28
    assert record["table"] == "outcomes.csv"
    # Neither a patient nor a path leaves the place.
    text = json.dumps(record)
    assert str(folder) not in text
    assert "p99" not in text
    assert "ct1" not in text
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["local.safetensors"]


def test_weights_of_outcomes_answer_and_can_be_calibrated_again(scores, tiny_checkpoint_file, tmp_path, capsys):
    folder, found = scores
    assert (
        calibrate(table(folder, "o.csv", labels_by(found, 0, 1)), tiny_checkpoint_file, tmp_path / "a.safetensors") == 0
    )
    arguments = ["--point", "0", "0", "0", "--device", "cpu", "--checkpoint", str(tmp_path / "a.safetensors")]
    assert main(["classify", str(folder / "ct0.nrrd"), *arguments, "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "P(malignant by outcome of 28 local cases) = " in said
    assert "calibrated on 28 local cases" in said
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["truth"]["cases"] == 28
    assert result["class_probabilities"]["unsure"] == 0
    ratings = table(folder, "r.csv", labels_by(found, 2, "4 5"))
    assert calibrate(ratings, tmp_path / "a.safetensors", tmp_path / "b.safetensors") == 0
    assert load_checkpoint(tmp_path / "b.safetensors").calibrations.truth.whose == READERS


def test_a_data_folder_is_a_table_as_well(scores, tiny_checkpoint_file, tmp_path):
    folder, found = scores
    labels = labels_by(found, 1.0, 5.0)
    nodules = [
        Nodule(
            nodule_id=f"n{i}",
            patient_id=f"p{i // 2}",
            fold=0,
            n_readers=0,
            diameter_mm=float("nan"),
            volume_mm3=float("nan"),
            malignancy=float(labels[f"n{i}"]),
            ratings=dict.fromkeys(ATTRIBUTE_NAMES, ()),
            point_ras=None,
            images={"crop": f"ct{i // 2}.nrrd"} if i else {},
            slice_index=None,
            slice_pixel_mm=float("nan"),
            truth=OUTCOME,
        )
        for i in range(0, 2 * PATIENTS, 2)
    ]
    write_nodules(folder, nodules)
    local = read_local_cases(folder)
    assert local.whose == OUTCOME
    answers = answer_cases(local.cases, NoduleClassifier.load(tiny_checkpoint_file, "cpu"))
    assert answers.left_out == {"n0": "the data folder holds no crop, cube or volume of it"}
    named = {case.row.row_id: score for case, score in zip(answers.cases, answers.malignancy_score, strict=True)}
    assert named == pytest.approx({name: found[name] for name in named})


def refusal(capsys, file: Path, weights: Path, output: Path) -> str:
    before = sorted(output.parent.iterdir())
    assert calibrate(file, weights, output) == 2
    said = capsys.readouterr().err
    assert said.startswith("cliplung: ")
    assert said.count("\n") == 1
    assert sorted(output.parent.iterdir()) == before
    return said


@pytest.mark.parametrize(
    ("low", "high", "reason"),
    [
        ("", "", "no label"),
        (1, 1, "ambiguous"),
        (2, 2, "too few"),
        (0, 0, "too few"),
        (0, 3, "mixes"),
        (7, 8, "neither rating nor outcome"),
        (1, 0, "does not rise"),
        ("a", "b", "must be numbers"),
    ],
)
def test_labels_that_are_no_use_are_refused(scores, tiny_checkpoint_file, tmp_path, capsys, low, high, reason):
    folder, found = scores
    file = table(folder, "bad.csv", labels_by(found, low, high))
    assert reason in refusal(capsys, file, tiny_checkpoint_file, tmp_path / "new.safetensors")


def test_images_that_cannot_be_read_are_named(scores, tiny_checkpoint_file, tmp_path, capsys):
    folder, _ = scores
    (folder / "text.nrrd").write_text("no image", encoding="utf-8")
    lines = [f"a{i},{'gone' if i else 'text'}{i or ''}.nrrd,0,0,0,{i % 2},p{i}" for i in range(10)]
    (folder / "none.csv").write_text("\n".join([HEAD, *lines, ""]), encoding="utf-8")
    said = refusal(capsys, folder / "none.csv", tiny_checkpoint_file, tmp_path / "new.safetensors")
    assert "None of 10 cases has an answer; 'a1':" in said
    assert "gone1.nrrd" in said


def test_the_series_that_a_row_names_is_asked_about(tiny_checkpoint_file, tmp_path):
    for uid, slices in (("1.2.3.1", 30), ("1.2.3.2", 28)):
        hu = np.full((slices, 60, 60), -850, np.int16)
        hu[12:18, 27:33, 27:33] = 40
        write_series(tmp_path / "study" / uid, hu, series_uid=uid)
    # The middle of the block, LPS (0, 10, -12.5). The other series has more slices.
    file = tmp_path / "cases.csv"
    file.write_text(
        "id,image,SeriesInstanceUID,r,a,s,malignancy,patient\na,study,1.2.3.2,0,-10,-12.5,1 2,p\n", encoding="utf-8"
    )
    local = read_local_cases(file)
    assert answer_cases(local.cases, NoduleClassifier.load(tiny_checkpoint_file, "cpu")).left_out == {}
    assert "columns that are not used: patient." in local.notes


def test_output_that_would_be_lost_or_cannot_be_is_refused_before_the_work(tmp_path, tiny_checkpoint_file, capsys):
    # No table: the output is looked at first.
    there = tmp_path / "there.safetensors"
    there.write_bytes(b"weights")
    assert "exists already" in refusal(capsys, tmp_path / "none.csv", tiny_checkpoint_file, there)
    assert there.read_bytes() == b"weights"
    assert "ends in .safetensors" in refusal(capsys, tmp_path / "none.csv", tiny_checkpoint_file, tmp_path / "new.pt")
    below = there / "new.safetensors"
    assert calibrate(tmp_path / "none.csv", tiny_checkpoint_file, below) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_weights_without_calibrations_are_refused_with_what_is_missing(scores, tiny_checkpoint_file, tmp_path, capsys):
    from dataclasses import replace

    folder, found = scores
    bare = tmp_path / "bare.safetensors"
    save_checkpoint(bare, replace(load_checkpoint(tiny_checkpoint_file), calibrations=None))
    file = table(folder, "x.csv", labels_by(found, 0, 1))
    assert "no calibrations" in refusal(capsys, file, bare, tmp_path / "new.safetensors")
