"""LIDC-IDRI: the table and the preparation, on a made-up folder."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.lidc.nodule_table import read_nodules
from CLIPLungLib.lidc.training_patches import (
    BACKGROUND_POINTS,
    MARGIN_PIXELS,
    PATCH_KINDS,
    background_points,
    prepare_patches,
)
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, malignancy_class

SPEC = PatchSpec(shape=(5, 32, 32), spacing_mm=(2.0, 1.0, 1.0))
NODULES = 30


def write_volume(
    array: np.ndarray, file: Path, origin: tuple[float, float, float], spacing: tuple[float, float, float]
) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)  # LPS
    file.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Thirty nodules of 6 or 14 mm with a slice each; number 0 has a volume with a mask off its centre, too."""
    root = tmp_path_factory.mktemp("lidc")
    y, x = np.mgrid[:71, :71] - 35.0
    slices, rows = [], []
    for index in range(NODULES):
        large = index % 2
        diameter = 14.0 if large else 6.0
        slices.append(np.where(np.hypot(x, y) * 0.7 <= diameter / 2, 40, -850))
        ratings = dict.fromkeys(ATTRIBUTE_NAMES, "3 4") | {
            "internalStructure": "1 5",
            "malignancy": "5 4 4" if large else "1 2 2",
        }
        row = dict.fromkeys(("volume", "mask", "cube", "crop", "point_ras"), "")
        row |= {"nodule_id": f"n{index}", "patient_id": f"p{index // 2}", "fold": str(index // 2 % 5), "n_readers": "3"}
        row |= {
            "diameter_mm": str(diameter),
            "volume_mm3": str(round(diameter**3 * np.pi / 6, 1)),
            "malignancy_mean": "4.33" if large else "1.67",
            "slice_index": str(index),
            "slice_pixel_mm": "0.7",
        }
        rows.append(row | ratings)
    mask = np.zeros((3, 40, 40), np.uint8)
    mask[:, 18:23, 23:28] = 1
    write_volume(
        np.where(mask > 0, 40, -850).astype(np.int16),
        root / "volumes" / "n0.nii.gz",
        (10.0, 20.0, -30.0),
        (0.8, 0.8, 2.0),
    )
    write_volume(mask, root / "masks" / "n0.nii.gz", (10.0, 20.0, -30.0), (0.8, 0.8, 2.0))
    # The mask's middle, index (25, 20, 1), in RAS.
    rows[0] |= {"volume": "volumes/n0.nii.gz", "mask": "masks/n0.nii.gz", "point_ras": "-30.0 -36.0 -28.0"}
    np.savez(root / "slices.npz", hu=np.array(slices, np.int16))
    with (root / "nodules.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


def test_table_gives_ratings_and_labels(folder):
    first, second = read_nodules(folder)[:2]
    assert (first.label, second.label) == (0, 2)
    assert first.point_ras == (-30.0, -36.0, -28.0)
    assert second.point_ras is None
    assert first.mean_rating("margin") == 3.5


def test_code_outside_the_scale_does_not_count(folder):
    shares = read_nodules(folder)[0].level_shares()
    np.testing.assert_allclose(shares[:5], [0, 0, 0.5, 0.5, 0])
    np.testing.assert_allclose(shares[5:9], [1, 0, 0, 0])  # internal structure, codes 1 and 5 of 1..4


@pytest.mark.parametrize(("rating", "expected"), [(2.49, 0), (2.5, 1), (3.5, 1), (3.51, 2)])
def test_classes_follow_the_papers_rule(rating, expected):
    assert malignancy_class(rating) == expected


def test_missing_table_and_bad_row_are_named(folder, tmp_path):
    with pytest.raises(InputError, match=r"No nodules\.csv"):
        read_nodules(tmp_path)
    text = (folder / "nodules.csv").read_text(encoding="utf-8").replace("p1,", "p1,not-a-fold,", 1)
    (tmp_path / "nodules.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="line 4: cannot be read"):
        read_nodules(tmp_path)


def test_views_are_centred_on_the_click_with_their_outline(folder):
    views = prepare_patches(folder, SPEC)
    assert len(views.kind) == NODULES + 1
    view = int(np.flatnonzero(views.kind == PATCH_KINDS.index("volume"))[0])
    planes = views.planes(view)
    # The volume is 6 mm long: the planes at -2, 0 and 2 mm exist, those at -4 and 4 do not.
    np.testing.assert_allclose(views.height_mm[planes], [-2, 0, 2])
    middle = (SPEC.shape[1] + 2 * MARGIN_PIXELS) // 2
    hu, outline = views.hu[planes][1], views.outline[planes][1]
    assert hu[middle - 1 : middle + 1, middle - 1 : middle + 1].min() == 40
    assert outline[middle - 1 : middle + 1, middle - 1 : middle + 1].min() == 255
    # 5 x 5 voxels of 0.8 mm are 16 mm2.
    assert outline.sum() / 255 == pytest.approx(16, abs=3)
    assert hu[0, 0] == -850


def test_only_readers_outlines_and_background_count_as_outlined(folder):
    views = prepare_patches(folder, SPEC)
    assert views.is_outlined.tolist() == [PATCH_KINDS[kind] == "volume" for kind in views.kind]


def test_background_of_a_cube_lies_beyond_its_nodule_and_is_the_same_in_every_run(folder, tmp_path):
    (tmp_path / "nodules.csv").write_text((folder / "nodules.csv").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "slices.npz").write_bytes((folder / "slices.npz").read_bytes())
    with (folder / "nodules.csv").open(newline="", encoding="utf-8") as stream:
        row = list(csv.DictReader(stream))[1] | {"cube": "cubes/n1.nii.gz"}
    with (tmp_path / "nodules.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, row)
        writer.writeheader()
        writer.writerow(row)
    cube = np.full((65, 65, 65), -850, np.int16)
    cube[32, 32, 32] = 40
    write_volume(cube, tmp_path / "cubes" / "n1.nii.gz", (-32.0, -32.0, -32.0), (1.0, 1.0, 1.0))
    nodule = read_nodules(tmp_path)[0]
    points = background_points(read_ct(tmp_path / "cubes" / "n1.nii.gz"), nodule)
    assert points.shape == (BACKGROUND_POINTS, 3)
    assert np.linalg.norm(points, axis=1).min() > 7 + 10
    np.testing.assert_array_equal(points, background_points(read_ct(tmp_path / "cubes" / "n1.nii.gz"), nodule))
    views = prepare_patches(tmp_path, SPEC)
    background = views.kind == PATCH_KINDS.index("background")
    assert background.sum() == BACKGROUND_POINTS
    assert views.is_outlined[background].all()
    assert not views.is_outlined[~background].any()  # a ball stands for this cube's outline
    for view in np.flatnonzero(background):
        assert views.outline[views.planes(view)].max() == 0


@pytest.mark.lidc
def test_real_table_keeps_patients_within_their_fold(lidc_folder):
    nodules = read_nodules(lidc_folder)
    assert len(nodules) == 2183
    folds_of_patient: dict[str, set[int]] = {}
    for nodule in nodules:
        folds_of_patient.setdefault(nodule.patient_id, set()).add(nodule.fold)
    assert all(len(folds) == 1 for folds in folds_of_patient.values())


@pytest.mark.lidc
def test_size_floor_of_fold_4_is_the_known_one(lidc_folder):
    metrics = pytest.importorskip("CLIPLungLib.evaluation.metrics", reason="needs the extra 'train'")
    chosen = [
        n
        for n in read_nodules(lidc_folder)
        if n.fold == 4 and n.n_readers >= 3 and "volume" in n.images and n.malignancy != 3
    ]
    assert len(chosen) == 123
    positive = np.array([n.malignancy > 3 for n in chosen])
    assert metrics.auc(positive, np.array([n.diameter_mm for n in chosen])) == pytest.approx(0.886, abs=0.001)
