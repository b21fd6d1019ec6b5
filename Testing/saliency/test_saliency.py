"""What heat maps are worth: maps made up so that the figures are known, and made-up nodules in files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.tiny_training import nodule

from CLIPLungLib.dataset.nodule_images import NoduleOutline
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import Patch, PatchSpec
from CLIPLungLib.inference.checkpoint import load_checkpoint
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.model_card.saliency_plot import saliency_figure
from CLIPLungLib.model_card.saliency_table import saliency_table
from CLIPLungLib.saliency.case_scores import CLICK_MM, CaseScores, MapScores, outline_on_patch, score_case
from CLIPLungLib.saliency.map_metrics import (
    NODULE_VOLUMES,
    deletion_and_insertion,
    energy_inside,
    lung_hu,
    peak_inside,
    rank_correlation,
)
from CLIPLungLib.saliency.methods import chosen_methods
from CLIPLungLib.saliency.run import outlined_cases, sampled
from CLIPLungLib.saliency.summary import summarise

SPEC = PatchSpec(shape=(5, 20, 20), spacing_mm=(2.0, 1.0, 1.0))
EXISTS = np.array([True, True, True, True, False])
CENTER_RAS = np.array([3.0, -4.0, 50.0])
LUNG, NODULE = -850.0, 40.0


def outline_and_heat():
    """An outline off the middle, and a map that lies on it with three quarters of its sum; its peak lies outside."""
    outline = np.zeros(SPEC.shape, bool)
    outline[1:3, 2:6, 2:6] = True
    heat = np.where(outline, 0.75 / outline.sum(), 0.0)
    heat[0, 15:18, 15] = 0.25 / 3
    return outline, heat


def patch_of(outline: np.ndarray) -> Patch:
    hu = np.where(outline, NODULE, LUNG).astype(np.float32)
    return Patch(CENTER_RAS, hu, EXISTS, SPEC.grid_to_ras(CENTER_RAS), 1.0)


def test_energy_and_peak_are_the_maps_own():
    outline, heat = outline_and_heat()
    assert energy_inside(heat, outline) == pytest.approx(0.75)
    assert not peak_inside(heat, outline)
    heat[2, 3, 4] = 0.1
    assert peak_inside(heat, outline)


def test_a_map_that_marks_nothing_is_no_hit():
    outline, heat = outline_and_heat()
    assert energy_inside(heat * 0, outline) == 0
    everywhere = np.ones_like(outline)
    assert not peak_inside(heat * 0, everywhere)


def test_rank_correlation_sees_existing_planes_and_what_can_be_seen():
    _, heat = outline_and_heat()
    assert rank_correlation(heat, heat * 2, EXISTS) == pytest.approx(1.0)
    assert rank_correlation(heat, 1 - heat, EXISTS) == pytest.approx(-1.0)
    assert np.isnan(rank_correlation(heat, heat * 0, EXISTS))
    other = heat.copy()
    other[4] = 1.0  # a plane that does not exist
    other += 1e-4 * np.random.default_rng(0).random(heat.shape)  # nothing a reader sees
    assert rank_correlation(heat, other, EXISTS) == pytest.approx(1.0)


def test_lung_is_the_patchs_own_where_there_is_any():
    outline, _ = outline_and_heat()
    patch = patch_of(outline)
    assert lung_hu(patch) == LUNG
    patch.hu[:4] = NODULE  # lung in the absent plane does not count
    assert lung_hu(patch) == -850.0
    patch.hu[0, 0, :3] = -700.0
    assert lung_hu(patch) == -700.0


def test_deletion_takes_the_marked_voxels_and_insertion_brings_them():
    outline, _ = outline_and_heat()
    patch = patch_of(outline)

    def share_of_nodule(hu: np.ndarray) -> np.ndarray:
        return (hu == NODULE).mean(axis=(1, 2, 3)) / outline.mean()

    count = int(outline.sum())
    right, wrong = outline.astype(float), (~outline).astype(float)
    deletion, insertion = deletion_and_insertion(right, patch, count, share_of_nodule, 0)
    assert deletion == pytest.approx([max(0, 1 - volumes) for volumes in NODULE_VOLUMES])
    assert insertion == pytest.approx([min(1, volumes) for volumes in NODULE_VOLUMES])
    deletion, insertion = deletion_and_insertion(wrong, patch, count, share_of_nodule, 0)
    assert deletion == pytest.approx(1.0)
    assert insertion == pytest.approx(0.0)
    again = deletion_and_insertion(wrong, patch, count, share_of_nodule, 0)
    assert np.array_equal(again, (deletion, insertion))


def test_outline_of_another_frame_is_laid_on_its_point():
    matrix = np.diag([-1.0, -1.0, 2.0, 1.0])
    inside = np.zeros((5, 20, 20), np.uint8)
    inside[2, 10, 10] = 1
    found = NoduleOutline(CTVolume(inside, matrix, "mask"), np.array([-10.0, -10.0, 4.0]))
    outline, _ = outline_and_heat()
    patch = patch_of(outline)
    point = patch.ijk_to_ras @ (7, 4, 3, 1)
    laid = outline_on_patch(found, point[:3], patch)
    assert np.argwhere(laid).tolist() == [[3, 4, 7]]


def scored(energy: float, blob: float, called_malignant: bool, patient: str, **more) -> CaseScores:
    def map_of(share: float) -> MapScores:
        return MapScores(share, share > 0.5, share, np.full(4, 0.9 - share), np.full(4, share))

    own = replace(map_of(energy), cascade={"heads": 0.5, "stem": 0.1}, cost=2.0, **more)
    maps = {"shipped": own, "blob": map_of(blob), "random": map_of(0.01)}
    diameter_mm, kind = (12.0, "crop") if called_malignant else (5.0, "volume")
    return CaseScores(patient, diameter_mm, kind, called_malignant, 0.9, 0.4, maps)


def test_summary_puts_every_map_in_its_groups_and_compares_with_the_blob():
    cases = [scored(0.8, 0.4, True, "a"), scored(0.6, 0.2, True, "b"), scored(0.1, 0.3, False, "c")]
    found = summarise(cases)
    groups = found["groups"]
    assert {name: own["n"] for name, own in groups.items()} == {
        "all": 3,
        "below 8 mm": 1,
        "8 mm and more": 2,
        "volumes": 1,
        "true context": 2,
        "called malignant": 2,
        "called benign": 1,
    }
    own = groups["8 mm and more"]["methods"]["shipped"]
    assert own["energy"]["value"] == pytest.approx(0.7)
    assert own["energy_over_blob"]["value"] == pytest.approx(0.7 / 0.3)
    assert own["pointing"]["value"] == 1.0
    assert own["deletion_less_blob"]["value"] == pytest.approx(-0.4)
    assert own["insertion_less_random"]["value"] == pytest.approx(0.69)
    assert own["random_weights"]["value"] == pytest.approx(0.1)
    assert own["seeds"]["value"] is None
    assert groups["all"]["methods"]["shipped"]["empty"]["value"] == pytest.approx(1 / 3)
    assert groups["all"]["patients"] == 3
    assert found["cascade"]["shipped"]["heads"]["value"] == pytest.approx(0.5)
    assert found["cost"] == {"shipped": 2.0}
    assert found["curves"]["whole"] == pytest.approx(0.9)


def test_a_map_without_a_rival_correlation_does_not_count_there():
    cases = [scored(0.8, 0.4, True, "a", seeds=0.6), scored(0.6, 0.2, True, "b", seeds=float("nan"))]
    seeds = summarise(cases)["groups"]["all"]["methods"]["shipped"]["seeds"]
    assert (seeds["value"], seeds["n"]) == (0.6, 1)


def test_table_and_picture_show_the_figures():
    cases = [scored(0.8, 0.4, True, "a"), scored(0.1, 0.3, False, "b")]
    found = {"images": 2, "refused": 1, "click_mm": CLICK_MM} | summarise(cases)
    table = saliency_table(found)
    assert "by up to 8 mm" in table
    assert "| the map shown |" in table
    assert "| control: blob at the click |" in table
    assert "| called benign | 1 (1) |" in table
    assert "another run" not in table.split("|", 1)[1]
    assert len(saliency_figure(found).axes) == 4


def test_sample_takes_half_in_true_context_and_is_the_same_again():
    volumes = [(nodule(index), "volume") for index in range(20)]
    context = [(nodule(index), "crop") for index in range(6)]
    found = sampled([*volumes, *context], 8)
    assert [kind for _, kind in found].count("crop") == 4
    assert found == sampled([*volumes, *context], 8)
    assert [kind for _, kind in sampled([*volumes, *context], 20)].count("crop") == 6
    assert [kind for _, kind in sampled([*volumes[:2], *context], 6)].count("volume") == 2
    assert sampled(volumes, None) == volumes


def test_unknown_methods_are_refused_by_name():
    assert list(chosen_methods(["gate", "shipped"])) == ["shipped", "gate"]
    assert len(chosen_methods(["all"])) > 8
    with pytest.raises(InputError, match="no saliency method 'magic'"):
        chosen_methods(["gate", "magic"])


@pytest.fixture
def ball_folder(tmp_path, ball_ct):
    """A data folder with a ball, its outline, and a nodule without one."""
    origin = ball_ct.ijk_to_ras[:3, 3] * (-1, -1, 1)
    for name, voxels in (("volume", ball_ct.hu), ("mask", (ball_ct.hu > 0).astype(np.uint8))):
        image = sitk.GetImageFromArray(voxels)
        image.SetSpacing((0.8, 0.8, 1.5))
        image.SetOrigin(origin)
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    whole = replace(nodule(0), point_ras=(10.0, -20.0, 30.0), images={"volume": "volume.nii.gz", "mask": "mask.nii.gz"})
    return tmp_path, whole


def test_only_outlined_images_are_judged(ball_folder):
    _, whole = ball_folder
    images = {"volume": "v", "cube": "c", "crop": "r"}
    kinds = {
        name: [kind for _, kind in outlined_cases([replace(whole, images=images | more)])]
        for name, more in (("none", {}), ("volume", {"mask": "m"}), ("crop", {"crop_mask": "m"}))
    }
    assert kinds["none"] == []
    assert kinds["volume"] == ["volume", "cube", "crop"]
    assert kinds["crop"] == ["cube", "crop"]


def test_nodules_in_files_are_judged_off_their_middle(ball_folder, tiny_checkpoint_file):
    folder, whole = ball_folder
    classifier = NoduleClassifier(load_checkpoint(tiny_checkpoint_file), "cpu")
    methods = chosen_methods(["shipped", "outline"])
    found = score_case(folder, whole, "volume", classifier, methods, load_checkpoint(tiny_checkpoint_file))
    assert found.patient == whole.patient_id
    assert list(found.maps) == ["shipped", "outline", "blob", "random"]
    for name in methods:
        own = found.maps[name]
        assert own.seeds == pytest.approx(1.0)
        assert next(iter(own.cascade)) == "heads"
        assert own.cascade["heads"] != own.cascade["stem"]
        assert own.cost > 0
    # The outline does not hang on the heads, so that random heads leave it as it was.
    assert found.maps["outline"].cascade["heads"] == pytest.approx(1.0)
    assert found.maps["blob"].energy > found.maps["random"].energy
    assert 0 < found.maps["random"].energy < 0.1
    again = score_case(folder, whole, "volume", classifier, methods)
    assert again.maps["shipped"].energy == found.maps["shipped"].energy
    assert np.array_equal(again.maps["shipped"].deletion, found.maps["shipped"].deletion)
    assert again.maps["shipped"].cascade == found.maps["shipped"].cascade


def test_refused_click_is_no_case(ball_folder, tiny_checkpoint_file):
    folder, whole = ball_folder
    classifier = NoduleClassifier(load_checkpoint(tiny_checkpoint_file), "cpu")
    in_air = sitk.ReadImage(str(folder / "volume.nii.gz")) * 0 - 1000
    sitk.WriteImage(in_air, str(folder / "volume.nii.gz"))
    assert score_case(folder, whole, "volume", classifier, {}) is None
