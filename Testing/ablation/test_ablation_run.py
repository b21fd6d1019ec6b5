"""A whole ablation of tiny networks: trained, answered, continued, shared, and asked by the command."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers.tiny_reproduction import nodule
from helpers.tiny_training import PATCH, LetterEncoder

from CLIPLungLib.ablation.rows import ROWS
from CLIPLungLib.ablation.run import AblationData, Part, parts_of, read_parts, run_ablation
from CLIPLungLib.ablation.table import BEGIN, END
from CLIPLungLib.cli import main
from CLIPLungLib.dataset.data_folder import PATCHES_NAME, write_crop, write_mask, write_nodules
from CLIPLungLib.dataset.nodule_table import read_nodules
from CLIPLungLib.dataset.training_patches import prepare_patches
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.training import DEFAULT_CONFIG
from CLIPLungLib.training.config import TrainConfig

DEFAULT = TrainConfig.read(DEFAULT_CONFIG)
RECIPE = replace(
    DEFAULT,
    epochs=1,
    batch_size=6,
    validation_share=0.0,
    patch=PATCH,
    network=replace(DEFAULT.network, planes=PATCH.shape[0], pixels=PATCH.shape[1], text_dim=LetterEncoder.dim),
)
pytestmark = pytest.mark.usefixtures("one_thread")
ROW_NAMES, TESTED_FOLD = ("cross-entropy", "measuring", "all"), 2


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> AblationData:
    """Eighteen outlined balls in lung, each in a volume and a crop of 4 mm voxels; three folds, and one of the last has too few readers."""
    folder = tmp_path_factory.mktemp("data")
    k, j, i = np.indices((11, 11, 11)) - 5.0
    distance_mm = 4.0 * np.sqrt(k**2 + j**2 + i**2)
    matrix = np.diag([-4.0, -4.0, 4.0, 1.0])
    matrix[:3, 3] = (20.0, 20.0, -20.0)
    nodules = []
    for index in range(18):
        images = {kind: f"{kind}s/n{index}.nrrd" for kind in ("volume", "crop", "mask")}
        own = {"fold": index // 6, "images": images, "point_ras": (0.0, 0.0, 0.0), "n_readers": 1 if index == 17 else 4}
        nodules.append(nodule(index, **own))
        inside = distance_mm <= nodules[-1].diameter_mm / 2
        for kind in ("volume", "crop"):
            write_crop(folder / images[kind], CTVolume(np.where(inside, 40, -850), matrix, nodules[-1].nodule_id))
        write_mask(folder / images["mask"], inside, matrix)
    write_nodules(folder, nodules)
    patches = prepare_patches(folder, RECIPE.patch)
    patches.save(folder / PATCHES_NAME)
    return AblationData(folder, read_nodules(folder), patches, (TESTED_FOLD,))


PARTS = parts_of([ROWS[name] for name in ROW_NAMES], (0,))


def run_in(folder, data, recipe=RECIPE, parts=PARTS, **options):
    return run_ablation(recipe, data, parts, folder, LetterEncoder(), "cpu", **options)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder, told = tmp_path_factory.mktemp("run"), []
    found = run_in(folder, data, progress=lambda *state: told.append(state))
    assert told == [(1, 3, "cross-entropy-seed0"), (2, 3, "measuring-seed0"), (3, 3, "all-seed0")]
    return folder, found


def same(one, other) -> bool:
    return all(np.array_equal(vars(one)[name], values, equal_nan=True) for name, values in vars(other).items())


def test_every_network_answers_for_the_trusted_nodules_of_the_tested_folds(data, finished):
    _, found = finished
    tested = [index for index, one in enumerate(data.nodules) if one.fold == TESTED_FOLD and one.n_readers >= 3]
    assert len(tested) == 5
    for answers in found.values():
        for kind in ("volume", "crop"):
            assert answers.nodule[answers.is_kind(kind)].tolist() == tested
        assert len(answers.nodule) == 2 * len(tested)
        assert np.isfinite(answers.malignancy_score).all()
    one, other = (found[part].malignancy_score for part in PARTS[1:])
    assert not np.array_equal(one, other)


def test_networks_learn_the_terms_of_their_row_from_the_other_folds(finished):
    folder, _ = finished
    for part in PARTS:
        config = TrainConfig.read(folder / part.name / "config.json")
        assert config == part.row.config(RECIPE, 0, (0, 1))
        checkpoint = load_checkpoint(folder / part.name / "cliplung.safetensors")
        assert checkpoint.provenance["trained_on"].endswith("patient folds [0, 1]")
        assert checkpoint.draws_outline == part.row.measures
    assert "image_class" not in (folder / "measuring-seed0" / "log.csv").read_text(encoding="utf-8")
    assert "image_class" in (folder / "all-seed0" / "log.csv").read_text(encoding="utf-8")


def test_the_same_run_again_trains_nothing_and_answers_the_same(data, finished):
    folder, found = finished
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    again = run_in(folder, data, progress=lambda *state: pytest.fail("it trains"))
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
    there = read_parts(RECIPE, data, folder)
    assert list(there) == list(again) == PARTS
    assert all(same(there[part], found[part]) and same(again[part], found[part]) for part in PARTS)


def test_a_stopped_run_goes_on_and_answers_like_one_that_was_not(data, finished, tmp_path):
    def stop(done, total, name):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path, data, progress=stop)
    # The second part is trained, but has not answered.
    assert list(read_parts(RECIPE, data, tmp_path)) == PARTS[:1]
    told = []
    found = run_in(tmp_path, data, progress=lambda done, total, name: told.append(name))
    assert "cross-entropy-seed0" not in told
    assert all(same(found[part], finished[1][part]) for part in PARTS)


def test_parts_of_any_row_and_seed_are_read_and_other_folders_left_alone(data, finished, tmp_path):
    run_in(tmp_path, data, parts=[Part(ROWS["all"], 3)])
    shutil.copytree(finished[0] / "measuring-seed0", tmp_path / "measuring-seed0")
    for name in ("other-seed0", "all-seed03", "all-seedx"):
        shutil.copytree(finished[0] / "all-seed0", tmp_path / name)
    assert list(read_parts(RECIPE, data, tmp_path)) == [Part(ROWS["measuring"], 0), Part(ROWS["all"], 3)]
    assert read_parts(RECIPE, data, tmp_path / "none") == {}


def test_other_settings_data_and_folds_need_another_folder(data, finished):
    folder, _ = finished
    longer, less = replace(RECIPE, epochs=2), replace(data, nodules=[*data.nodules[:-1], nodule(17, fold=2)])
    for changed, own, said in (
        (longer, data, "other settings"),
        (RECIPE, less, "other data"),
        (RECIPE, replace(data, tested_folds=(1,)), "other settings"),
    ):
        with pytest.raises(InputError, match=said):
            read_parts(changed, own, folder)
        with pytest.raises(InputError, match=said):
            run_in(folder, own, changed)


@pytest.mark.parametrize("folds", [(7,), (), (0, 1, 2)])
def test_folds_that_cannot_judge_are_refused_before_anything_is_trained(data, tmp_path, folds):
    with pytest.raises(InputError, match=r"cannot judge: the table has \[0, 1, 2\]"):
        run_in(tmp_path, replace(data, tested_folds=folds))
    assert list(tmp_path.iterdir()) == []


def command(data, output, *options) -> list[str]:
    settings = output.parent / "recipe.json"
    settings.write_text(json.dumps(RECIPE.to_dict()), encoding="utf-8")
    usual = {"--config": str(settings), "--test-folds": str(TESTED_FOLD)}
    words = [word for name, value in usual.items() if name not in options for word in (name, value)]
    return ["ablation", "--data", str(data.folder), "--output", str(output), "--device", "cpu", *words, *options]


def test_the_command_judges_what_is_there_and_writes_figures_and_page(data, finished, tmp_path, capsys):
    output, page = tmp_path / "run", tmp_path / "page.md"
    shutil.copytree(finished[0], output)
    page.write_text(f"# Page\n{BEGIN}\n{END}\n", encoding="utf-8")
    # The parts that are asked for are finished; another process made one more.
    assert main(command(data, output, "--rows", "measuring", "all", "--seeds", "0", "--page", str(page))) == 0
    told, results = capsys.readouterr().out, json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert list(results["figures"]) == list(ROW_NAMES)
    assert results["judged"] == {name: {"nodules": 5, "patients": 3} for name in ("volumes", "true_context")}
    assert "cross-entropy-seed0" not in results["missing"]
    assert len(results["missing"]) == len(ROWS) - len(ROW_NAMES)
    table = page.read_text(encoding="utf-8").partition(f"{BEGIN}\n")[2].partition(f"\n{END}")[0]
    assert table in told
    assert "Trained on the folds 0, 1 for 1 epoch, evaluated on the folds 2: 5 nodules of 3 patients" in table


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--rows", "all", "x"), "Row 'x' is not in the ablation"),
        (("--seeds", "-1"), "A seed must be a whole number of at least 0, not -1"),
        (("--test-folds", "2", "7"), "The folds [2, 7] cannot judge"),
        (("--patches", "none.npz"), "no file of training patches none.npz"),
        (("--config", "none.json"), "none.json cannot be read"),
    ],
)
def test_the_command_refuses_in_one_line(data, tmp_path, capsys, options, said):
    assert main(command(data, tmp_path / "run", *options)) == 2
    told = capsys.readouterr().err
    assert told.startswith("cliplung: ")
    assert told.count("\n") == 1
    assert said in told
    assert not (tmp_path / "run").exists()
