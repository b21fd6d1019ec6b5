"""Images of nodules become training patches, on a made-up folder; the file of patches."""

from __future__ import annotations

import csv
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.dataset_folder import NODULES, write_volume
from helpers.tiny_training import NODULES as TINY_NODULES
from helpers.tiny_training import nodule, tiny_patches

from CLIPLungLib.dataset.data_folder import write_nodules
from CLIPLungLib.dataset.nodule_images import (
    BACKGROUND_POINTS,
    PATCH_KINDS,
    background_points,
    background_points_per_image,
    nodule_outlines,
)
from CLIPLungLib.dataset.nodule_table import read_nodules
from CLIPLungLib.dataset.training_patches import MARGIN_PIXELS, TrainingPatches, one_patch_per_nodule, prepare_patches
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.image.read import read_ct

SPEC = PatchSpec(shape=(5, 32, 32), spacing_mm=(2.0, 1.0, 1.0))


def test_patches_are_centred_on_the_click_with_their_outline(folder):
    patches = prepare_patches(folder, SPEC)
    assert len(patches.kind) == NODULES + 1
    patch = int(np.flatnonzero(patches.kind == PATCH_KINDS.index("volume"))[0])
    planes = patches.planes(patch)
    # The volume is 6 mm long: the planes at -2, 0 and 2 mm exist, those at -4 and 4 do not.
    np.testing.assert_allclose(patches.height_mm[planes], [-2, 0, 2])
    middle = (SPEC.shape[1] + 2 * MARGIN_PIXELS) // 2
    hu, outline = patches.hu[planes][1], patches.outline[planes][1]
    assert hu[middle - 1 : middle + 1, middle - 1 : middle + 1].min() == 40
    assert outline[middle - 1 : middle + 1, middle - 1 : middle + 1].min() == 255
    # 5 x 5 voxels of 0.8 mm are 16 mm2.
    assert outline.sum() / 255 == pytest.approx(16, abs=3)
    assert hu[0, 0] == -850


def test_only_readers_outlines_and_background_count_as_outlined(folder):
    patches = prepare_patches(folder, SPEC)
    assert patches.is_outlined.tolist() == [PATCH_KINDS[kind] == "volume" for kind in patches.kind]


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
    patches = prepare_patches(tmp_path, SPEC)
    background = patches.kind == PATCH_KINDS.index("background")
    assert background.sum() == BACKGROUND_POINTS
    assert patches.is_outlined[background].all()
    assert not patches.is_outlined[~background].any()  # a ball stands for this cube's outline
    for patch in np.flatnonzero(background):
        assert patches.outline[patches.planes(patch)].max() == 0


def test_progress_tells_the_nodules_done(folder):
    calls = []
    prepare_patches(folder, SPEC, lambda *call: calls.append(call))
    assert calls[0] == (0, NODULES)
    assert calls[-1] == (NODULES, NODULES)
    assert calls == sorted(calls)


def copied(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def test_folder_without_slices_gives_the_other_images(folder, tmp_path, caplog):
    own = copied(folder, tmp_path / "lidc")
    (own / "slices.npz").unlink()
    patches = prepare_patches(own, SPEC)
    assert [PATCH_KINDS[kind] for kind in patches.kind] == ["volume"]
    assert "30 nodules go without their slice" in caplog.text


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(100)])
def test_damaged_slices_are_named(folder, tmp_path, content):
    own = copied(folder, tmp_path / "lidc")
    (own / "slices.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"slices\.npz cannot be read .* remove it"):
        prepare_patches(own, SPEC)


def test_slices_of_another_table_are_refused(folder, tmp_path):
    own = copied(folder, tmp_path / "lidc")
    np.savez(own / "slices.npz", hu=np.zeros((29, 71, 71), np.int16))
    with pytest.raises(InputError, match="names slice 29"):
        prepare_patches(own, SPEC)


def test_folder_without_any_image_is_refused(folder, tmp_path):
    lines = (folder / "nodules.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "nodules.csv").write_text("\n".join([lines[0], *lines[2:]]), encoding="utf-8")
    with pytest.raises(InputError, match="holds no image of any nodule"):
        prepare_patches(tmp_path, SPEC)


def test_click_outside_its_volume_is_refused(folder, tmp_path):
    own = copied(folder, tmp_path / "lidc")
    table = own / "nodules.csv"
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("-30.0 -36.0 -28.0", "-30.0 -36.0 500.0"), encoding="utf-8")
    with pytest.raises(InputError, match="The volume of nodule n0 does not hold the click"):
        prepare_patches(own, SPEC)


def test_patches_survive_the_disk(tmp_path):
    patches = tiny_patches()
    patches.save(tmp_path / "new" / "patches.npz")
    again = TrainingPatches.load(tmp_path / "new" / "patches.npz")
    assert all(np.array_equal(getattr(patches, name), getattr(again, name)) for name in vars(patches))
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["patches.npz"]


def test_failed_writing_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "patches.npz"
    tiny_patches().save(file)
    before = file.read_bytes()

    def full(stream, **arrays):
        stream.write(b"half")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match=os.strerror(28)):
        tiny_patches().save(file)
    assert file.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["patches.npz"]


def test_missing_file_of_patches_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.npz.*cliplung prepare DATA --output"):
        TrainingPatches.load(tmp_path / "absent.npz")
    with pytest.raises(InputError, match="cliplung prepare DATA --output"):
        TrainingPatches.load(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file_of_patches_is_named(tmp_path, share):
    file = tmp_path / "patches.npz"
    tiny_patches().save(file)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"patches\.npz.*damaged.*cliplung prepare DATA --output"):
        TrainingPatches.load(file)


def test_file_of_patches_with_a_flipped_byte_is_named(tmp_path):
    file = tmp_path / "patches.npz"
    tiny_patches().save(file)
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(InputError, match="cliplung prepare DATA --output"):
        TrainingPatches.load(file)


def test_foreign_files_are_named(folder, tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", **vars(tiny_patches()) | {"hu": np.array([{}], dtype=object)})
    (tmp_path / "text.npz").write_text("nothing of the kind", encoding="utf-8")
    for file in (folder / "slices.npz", folder / "nodules.csv", *sorted(tmp_path.iterdir())):
        with pytest.raises(InputError, match="holds no training patches"):
            TrainingPatches.load(file)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("hu", lambda a: a.astype(np.float32)),
        ("hu", lambda a: a[:-1]),
        ("hu", lambda a: a[:, :-1]),
        ("outline", lambda a: a[:, :, :-1]),
        ("height_mm", lambda a: a[:-1]),
        ("height_mm", lambda a: np.full_like(a, np.nan)),
        ("first_plane", lambda a: a + 1),
        ("first_plane", lambda a: a - 1),
        ("first_plane", lambda a: a.astype(float)),
        ("plane_count", lambda a: a * 0),
        ("nodule", lambda a: a[:-1]),
        ("nodule", lambda a: a - 1),
        ("kind", lambda a: a + 9),
        ("is_outlined", lambda a: a.astype(int)),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, name, change):
    patches = tiny_patches()
    replace(patches, **{name: change(getattr(patches, name))}).save(tmp_path / "patches.npz")
    with pytest.raises(InputError, match=r"patches\.npz holds no training patches"):
        TrainingPatches.load(tmp_path / "patches.npz")


def test_one_patch_per_nodule_prefers_the_volume():
    """Of nodule 0 there are slice, cube and background, of 1 a slice and a volume, of 2 a volume; 3 has one reader only."""
    names = [(0, "slice"), (0, "cube"), (0, "background"), (1, "slice"), (1, "volume"), (2, "volume"), (3, "slice")]
    patches = replace(
        tiny_patches(),
        nodule=np.array([owner for owner, _ in names]),
        kind=np.array([PATCH_KINDS.index(kind) for _, kind in names]),
    )
    nodules = [nodule(index) for index in range(3)] + [replace(nodule(3), n_readers=1)]
    assert one_patch_per_nodule(patches, nodules, range(4), 2).tolist() == [4, 5, 0]
    assert one_patch_per_nodule(patches, nodules, range(4), 1).tolist() == [4, 5, 0, 6]
    assert one_patch_per_nodule(patches, nodules, [0], 2).tolist() == [0]
    assert one_patch_per_nodule(patches, nodules, [], 2).tolist() == []


def test_patches_that_fit_their_table_and_size_pass():
    tiny_patches().require_fit(TINY_NODULES, SPEC)


def test_outline_of_a_crop_lies_on_its_patch(tmp_path):
    """The crop's outline is on its own grid, and is not that of a volume."""
    hu = np.full((31, 41, 41), -850, np.int16)
    hu[14:17, 18:23, 17:24] = 40
    origin = (-20.0, -20.0, -30.0)
    write_volume(hu, tmp_path / "crops" / "n.nrrd", origin, (1.0, 1.0, 2.0))
    write_volume((hu > 0).astype(np.uint8), tmp_path / "crop_masks" / "n.nrrd", origin, (1.0, 1.0, 2.0))
    images = {"crop": "crops/n.nrrd", "crop_mask": "crop_masks/n.nrrd"}
    write_nodules(tmp_path, [replace(nodule(0), nodule_id="n1", slice_index=None, images=images)])
    outlines = nodule_outlines(tmp_path, read_nodules(tmp_path)[0])
    assert sorted(outlines) == ["crop", "cube"]
    patches = prepare_patches(tmp_path, SPEC)
    planes = patches.planes(0)
    assert patches.is_outlined[0]
    np.testing.assert_array_equal(patches.outline[planes] == 255, patches.hu[planes] == 40)
    assert (patches.outline[planes] > 0).any(axis=(1, 2)).tolist() == [False, True, True, True, False]


def test_patches_are_the_same_from_several_processes(folder):
    one, two = prepare_patches(folder, SPEC), prepare_patches(folder, SPEC, jobs=2)
    for name, values in vars(one).items():
        np.testing.assert_array_equal(values, getattr(two, name))


@pytest.mark.parametrize(("crops", "points"), [(1, 6), (333, 6), (334, 5), (2600, 1)])
def test_many_crops_give_fewer_background_points_each(crops, points):
    assert background_points_per_image([replace(nodule(0), images={"crop": "c"})] * crops) == points
