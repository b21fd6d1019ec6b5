"""Nodules put into other lung: on made-up scans, against what must be true of the joined image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.dataset_folder import make_folder

from CLIPLungLib.dataset.insertion import RIM_MM, Host, insert_nodule, insertions, read_hosts
from CLIPLungLib.dataset.nodule_images import NoduleImage, Surroundings, images_of_nodule
from CLIPLungLib.dataset.nodule_table import read_nodules
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.write import write_volume

SPACING_MM = 0.75


def volume(hu: np.ndarray, spacing_mm: tuple[float, float, float], middle_ras: tuple[float, float, float]) -> CTVolume:
    """With the middle of the grid at a place in space; rows run to the back, columns to the left."""
    matrix = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    matrix[:3, 3] = np.array(middle_ras) - matrix[:3, :3] @ ((np.array(hu.shape[::-1]) - 1) / 2)
    return CTVolume(hu, matrix)


def ball(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], diameter_mm: float) -> np.ndarray:
    k, j, i = np.indices(shape)
    offsets = [(index - (n - 1) / 2) * mm for index, n, mm in zip((i, j, k), shape[::-1], spacing_mm, strict=True)]
    return np.asarray(np.sqrt(sum(offset**2 for offset in offsets)) <= diameter_mm / 2)


@pytest.fixture
def nodule() -> tuple[CTVolume, CTVolume, np.ndarray]:
    """Scan, outline and click: a ball of 8 mm and 40 HU in tissue of -300 HU, so that the rim can be told from host and nodule."""
    spacing_mm, at = (0.6, 0.6, 1.0), (100.0, -20.0, 300.0)
    inside = ball((9, 41, 41), spacing_mm, 8.0)
    hu = np.where(inside, 40, -300).astype(np.int16)
    return volume(hu, spacing_mm, at), volume(inside.astype(np.uint8), spacing_mm, at), np.array(at)


@pytest.fixture
def host() -> CTVolume:
    return volume(np.full((17, 60, 60), -850, np.int16), (SPACING_MM, SPACING_MM, 2.0), (-40.0, 10.0, 77.0))


def test_the_nodule_lies_at_the_place_with_its_size_and_its_host_beyond_the_rim(nodule, host):
    place_ras = host.to_ras(np.array([25.0, 33.0, 8.0]))
    found = insert_nodule(*nodule, host, place_ras)
    assert found.ct.hu[8, 33, 25] == 40
    distance_mm = np.linalg.norm(host.to_ras(np.indices(host.hu.shape)[::-1].reshape(3, -1).T) - place_ras, axis=1)
    hu = found.ct.hu.reshape(-1)
    # Half a voxel of doubt on either side: both grids round the ball.
    assert (hu[distance_mm < 3.0] == 40).all()
    assert (hu[distance_mm > 4.0 + RIM_MM + 1.0] == -850).all()
    in_plane = found.ct.hu[8] > -130
    assert in_plane.sum() * SPACING_MM**2 == pytest.approx(np.pi * 16, rel=0.15)


def test_the_rim_fades_from_the_nodules_scan_to_the_hosts(nodule, host):
    found = insert_nodule(*nodule, host, host.to_ras(np.array([30.0, 30.0, 8.0])))
    profile = found.ct.hu[8, 30, 30:].astype(int)
    after_nodule = profile[np.argmax(profile < 0) :]
    rim = after_nodule[: int(RIM_MM / SPACING_MM)]
    assert (np.diff(rim) < 0).all()
    assert -850 < rim[-1] < -300 < rim[0] < 40
    assert (after_nodule[5:] == -850).all()


def test_the_outline_comes_along_and_the_host_stays_as_it_was(nodule, host):
    before = host.hu.copy()
    found = insert_nodule(*nodule, host, host.to_ras(np.array([30.0, 30.0, 8.0])))
    np.testing.assert_array_equal(host.hu, before)
    middle = found.outline.to_ras((found.outline.size_ijk - 1) / 2)
    np.testing.assert_allclose(middle, found.point_ras, atol=1e-9)


def test_a_nodule_at_the_border_of_its_host_is_cut_there(nodule, host):
    found = insert_nodule(*nodule, host, host.to_ras(np.array([0.0, 30.0, 8.0])))
    assert found.ct.hu[8, 30, 0] == 40
    assert found.ct.hu.shape == host.hu.shape
    far = insert_nodule(*nodule, host, host.to_ras(np.array([500.0, 30.0, 8.0])))
    np.testing.assert_array_equal(far.ct.hu, host.hu)


def with_hosts(folder: Path, host: CTVolume, rows: str) -> None:
    (folder / "hosts").mkdir()
    for name in ("a", "b", "c"):
        write_volume(host.hu, host.ijk_to_ras, folder / "hosts" / f"{name}.nrrd")
    (folder / "hosts.csv").write_text("file,patient_id,fold,center_hu\n" + rows, encoding="utf-8")


ROWS = "hosts/a.nrrd,P1,0,-820\nhosts/b.nrrd,P2,,-900\nhosts/c.nrrd,P3,1,-880\nhosts/a.nrrd,P1,0,-300\n"


def test_only_lung_is_a_host(tmp_path, host):
    with_hosts(tmp_path, host, ROWS)
    assert read_hosts(tmp_path) == (Host("hosts/a.nrrd", 0), Host("hosts/b.nrrd", None), Host("hosts/c.nrrd", 1))
    (tmp_path / "hosts.csv").unlink()
    assert read_hosts(tmp_path) == ()


@pytest.mark.parametrize("rows", ["hosts/a.nrrd,P1,zero,-820\n", "hosts/a.nrrd,P1,0,lung\n", "hosts/a.nrrd\n"])
def test_a_damaged_table_of_hosts_is_refused(tmp_path, host, rows):
    with_hosts(tmp_path, host, rows)
    with pytest.raises(InputError, match=r"hosts\.csv cannot be read as a table of hosts"):
        read_hosts(tmp_path)


def test_nodules_go_into_hosts_of_their_own_fold_or_of_none_the_same_in_every_run(tmp_path, host):
    folder = tmp_path
    make_folder(folder)
    with_hosts(folder, host, ROWS)
    nodules, hosts = read_nodules(folder), read_hosts(folder)
    index = next(i for i, n in enumerate(nodules) if "mask" in n.images and n.fold == 0)

    def inserted() -> list[NoduleImage]:
        images = images_of_nodule(folder, index, nodules[index], None, Surroundings(0, hosts, 9))
        return [image for image in images if image.kind == "inserted"]

    first, again = inserted(), inserted()
    assert {image.ct.name for image in first} == {"a.nrrd", "b.nrrd"}
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.ct.hu, other.ct.hu)
        assert one.outline is not None
        np.testing.assert_array_equal(one.point_ras, other.point_ras)
    assert insertions(folder, nodules[index], first[0].ct, first[0].outline.inside, (Host("c", 1),), 3) == []
