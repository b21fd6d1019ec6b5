"""The synthetic chest and its nodules of LIDC-IDRI shape."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import pdist

from CLIPLungLib.errors import InputError, MissingPackageError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec, extract_patch
from CLIPLungLib.lidc.annotations import Contour, Reading, database_path, read_annotations
from CLIPLungLib.phantom.chest import synthetic_chest
from CLIPLungLib.phantom.nodules import DEMO_NODULES, DemoNodule, PlacedNodule, place_nodules
from CLIPLungLib.phantom.shapes import GRID_MM, nodule_shape

SHAPE, SPACING_MM = (150, 228, 292), (2.0, 1.25, 1.25)
COARSE = {"shape": (75, 72, 92), "spacing_mm": (4.0, 4.0, 4.0)}
needs_pylidc = pytest.mark.skipif(importlib.util.find_spec("pylidc") is None, reason="pylidc is not installed")


@pytest.fixture(scope="module")
def chest() -> CTVolume:
    return synthetic_chest(0, SHAPE, SPACING_MM)


@pytest.fixture(scope="module")
def with_nodules(chest: CTVolume) -> tuple[CTVolume, list[PlacedNodule]]:
    if importlib.util.find_spec("pylidc") is None:
        pytest.skip("pylidc is not installed")
    copy = CTVolume(chest.hu.copy(), chest.ijk_to_ras, chest.name)
    return copy, place_nodules(copy)


def mean_hu(ct: CTVolume, point_ras: tuple[float, float, float]) -> float:
    """Mean over 3 x 3 x 3 voxels, which averages the noise down."""
    i, j, k = np.rint(ct.to_ijk(np.array(point_ras))).astype(int)
    return float(ct.hu[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].mean())


def test_same_seed_gives_same_voxels_and_another_seed_does_not():
    first, second, other = (synthetic_chest(seed, **COARSE).hu for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).mean() > 0.5


def test_grid_follows_shape_and_spacing_and_keeps_its_middle():
    chest = synthetic_chest(0, **COARSE)
    assert chest.hu.shape == COARSE["shape"]
    assert chest.hu.dtype == np.int16
    np.testing.assert_allclose(chest.spacing_mm, [4.0, 4.0, 4.0], atol=1e-5)
    np.testing.assert_allclose(chest.to_ras((chest.size_ijk - 1) / 2), [0.0, -12.0, 150.0], atol=1e-3)


@pytest.mark.parametrize(
    ("region", "point_ras", "low", "high"),
    [
        ("air in front of the chest", (0.0, 115.0, 150.0), -1024, -980),
        ("windpipe", (0.0, -13.0, 240.0), -1010, -900),
        ("liver, on the right", (62.0, 4.0, 60.0), 45, 75),
        ("heart, on the left", (-25.0, 40.0, 120.0), 25, 65),
        ("descending aorta, left of the spine", (-26.0, -45.0, 160.0), 25, 60),
        ("fat under the skin", (-150.0, -4.0, 120.0), -130, -75),
        ("muscle beside the spine", (20.0, -105.0, 120.0), 20, 75),
        ("body of a vertebra, at the back", (0.0, -58.0, 160.0), 90, 320),
        ("breastbone, at the front", (0.0, 97.0, 150.0), 60, 900),
    ],
)
def test_tissues_have_their_density_where_anatomy_has_them(chest, region, point_ras, low, high):
    assert low <= mean_hu(chest, point_ras) <= high, region


def test_lungs_have_an_adults_volume_and_get_denser_towards_the_back(chest):
    # Inside the rib cage, so without the skin's edge and the table.
    low, high = np.sort(chest.to_ijk(np.array([[122.0, 85.0, 30.0], [-122.0, -85.0, 275.0]])).astype(int), axis=0)
    hu = chest.hu[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
    smooth = ndimage.gaussian_filter(hu.astype(np.float32), 1.5)
    lung = (smooth < -700) & (smooth > -940)
    assert 3.0 < lung.sum() * np.prod(SPACING_MM) / 1e6 < 6.0
    middle = lung.shape[2] // 2
    right, left = lung[:, :, :middle].sum(), lung[:, :, middle:].sum()
    assert 0.8 < left / right < 1.05  # the heart takes its room on the left
    quarter = lung.shape[1] // 4
    front, back = (np.median(hu[:, rows][lung[:, rows]]) for rows in (slice(0, quarter), slice(-quarter, None)))
    assert -910 < front < back < -830
    assert back - front > 15


def test_bone_has_a_dense_shell_and_vessels_reach_into_the_lung(chest):
    assert np.percentile(chest.hu, 99.9) > 500
    # A third of the way from the hilum to the chest wall.
    k = round((170.0 - chest.ijk_to_ras[2, 3]) / SPACING_MM[0])
    i_low, i_high = np.sort(chest.to_ijk(np.array([[90.0, 0.0, 170.0], [60.0, 0.0, 170.0]]))[:, 0]).astype(int)
    j_low, j_high = np.sort(chest.to_ijk(np.array([[0.0, 30.0, 170.0], [0.0, -40.0, 170.0]]))[:, 1]).astype(int)
    block = chest.hu[k - 5 : k + 5, j_low:j_high, i_low:i_high]
    assert 0.005 < (block > -500).mean() < 0.15


def test_noise_is_that_of_a_chest_ct(chest):
    i, j, k = np.rint(chest.to_ijk(np.array([70.0, 0.0, 60.0]))).astype(int)
    liver = chest.hu[k - 2 : k + 3, j - 10 : j + 11, i - 10 : i + 11].astype(np.float32)
    assert 18.0 < liver.std() < 28.0


@needs_pylidc
def test_every_nodule_is_accepted_and_is_tissue_in_lung(with_nodules, chest):
    ct, placed = with_nodules
    assert [nodule.label for nodule in placed] == [nodule.label for nodule in DEMO_NODULES]
    for nodule in placed:
        patch = extract_patch(ct, nodule.center_ras, PatchSpec())
        middle = patch.hu[11:14, 30:34, 30:34].mean()
        assert middle > -350.0, nodule.label
        # Before, the same place was lung.
        assert np.median(extract_patch_hu(chest, nodule.center_ras)) < -750.0, nodule.label


def extract_patch_hu(ct: CTVolume, point_ras: np.ndarray) -> np.ndarray:
    """Voxels within about 4 mm of a point."""
    i, j, k = np.rint(ct.to_ijk(point_ras)).astype(int)
    return ct.hu[k - 2 : k + 3, j - 3 : j + 4, i - 3 : i + 4]


@needs_pylidc
def test_calcified_nodule_is_denser_than_any_soft_one(with_nodules):
    ct, placed = with_nodules
    hu = {nodule.label: mean_hu(ct, tuple(nodule.center_ras)) for nodule in placed}
    assert hu["calcified"] > 300.0
    assert all(value < 120.0 for label, value in hu.items() if label != "calcified")


@needs_pylidc
@pytest.mark.parametrize("label", ["calcified", "small-smooth", "indeterminate"])
def test_nodule_in_the_ct_is_as_wide_as_the_reader_said(with_nodules, chest, label):
    ct, placed = with_nodules
    nodule = next(nodule for nodule in placed if nodule.label == label)
    added = ct.hu.astype(np.int32) - chest.hu
    i, j, k = np.rint(ct.to_ijk(nodule.center_ras)).astype(int)
    box = added[k - 8 : k + 9, j - 12 : j + 13, i - 12 : i + 13]
    inside = box > added[k, j, i] / 2
    # Between the centres of the outermost voxels, plus half a voxel on either side.
    widest_mm = (max(pdist(np.argwhere(plane)).max() for plane in inside if plane.sum() > 1) + 1.0) * SPACING_MM[1]
    assert widest_mm == pytest.approx(nodule.diameter_mm, abs=2.0)


@needs_pylidc
def test_nodules_touch_only_their_surroundings(with_nodules, chest):
    ct, placed = with_nodules
    changed = chest.to_ras(np.argwhere(ct.hu != chest.hu)[:, ::-1])
    away = np.min([np.linalg.norm(changed - nodule.center_ras, axis=1) for nodule in placed], axis=0)
    assert away.max() < 45.0
    assert (chest.hu > 150)[ct.hu != chest.hu].mean() < 0.01


@needs_pylidc
def test_ratings_are_means_over_the_four_readers(with_nodules):
    by_label = {nodule.label: nodule for nodule in with_nodules[1]}
    assert by_label["calcified"].malignancy == 1.0
    assert by_label["calcified"].ratings["calcification"] == 3.0
    assert by_label["indeterminate"].malignancy == 3.0
    assert by_label["spiculated"].ratings["spiculation"] == pytest.approx(4.25)
    assert by_label["spiculated"].malignancy == pytest.approx(4.75)
    assert by_label["part-solid"].ratings["texture"] == pytest.approx(2.75)


@needs_pylidc
@pytest.mark.parametrize("nodule", DEMO_NODULES, ids=lambda nodule: nodule.label)
def test_shape_keeps_the_outlined_width(nodule: DemoNodule):
    reading = read_annotations([nodule.annotation_id])[0]
    inside = nodule_shape(reading).depth_mm > 0
    widest_mm = max(pdist(np.argwhere(plane)).max() for plane in inside if plane.sum() > 1) * GRID_MM
    assert reading.diameter_mm * 0.82 < widest_mm < reading.diameter_mm * 1.08


@needs_pylidc
def test_readings_come_from_the_database_as_they_are():
    reading = read_annotations([5648])[0]
    assert len(reading.contours) == 11
    assert reading.pixel_mm == pytest.approx(0.644531)
    assert reading.diameter_mm == pytest.approx(6.35, abs=0.01)
    assert reading.ratings["sphericity"] == 5


@needs_pylidc
def test_unknown_annotation_is_refused():
    with pytest.raises(InputError, match="Annotation 99999999 has no outline"):
        read_annotations([99999999])


@needs_pylidc
def test_nodule_outside_the_lungs_is_refused():
    chest = synthetic_chest(0, **COARSE)
    in_liver = DemoNodule("liver", 5648, (5648,), (-60.0, 0.0, 40.0))
    with pytest.raises(InputError, match=r"cannot go to \(-60, 0, 40\)"):
        place_nodules(chest, (in_liver,))


def test_other_ct_is_refused(ball_ct):
    with pytest.raises(InputError, match="does not lie where a synthetic chest lies"):
        place_nodules(ball_ct)


def test_missing_pylidc_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pylidc", None)
    with pytest.raises(MissingPackageError, match=r"pip install pylidc==0\.2\.3"):
        database_path()


def test_pylidc_without_its_database_is_named(monkeypatch, tmp_path: Path):
    (tmp_path / "pylidc").mkdir()
    (tmp_path / "pylidc" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "pylidc", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingPackageError, match=r"lacks its database pylidc\.sqlite"):
        database_path()


def square(low: float, high: float) -> np.ndarray:
    return np.array([[low, low], [high, low], [high, high], [low, high]], dtype=np.float64)


def test_shape_of_a_block_has_its_volume_and_holes_are_cut_out():
    # 12 x 12 pixels of 1 mm in 9 slices 1 mm apart: 12 * 12 * 9 = 1296 mm3; the hole takes 6 * 6 * 9 = 324 away.
    outer = [Contour(float(z), True, square(20.0, 32.0)) for z in range(9)]
    holes = [Contour(float(z), False, square(23.0, 29.0)) for z in range(9)]
    solid = Reading(1, 1.0, {}, tuple(outer))
    hollow = Reading(2, 1.0, {}, tuple(outer + holes))
    assert solid.diameter_mm == pytest.approx(12.0 * np.sqrt(2.0))
    volumes = [(nodule_shape(reading).depth_mm > 0).sum() * GRID_MM**3 for reading in (solid, hollow)]
    assert volumes[0] == pytest.approx(1296.0, rel=0.08)
    assert volumes[1] == pytest.approx(1296.0 - 324.0, rel=0.12)


def test_shape_depth_is_read_at_offsets_from_its_centre():
    reading = Reading(1, 1.0, {}, tuple(Contour(float(z), True, square(20.0, 32.0)) for z in range(11)))
    shape = nodule_shape(reading)
    zero = np.zeros(1)
    assert shape.depth_at(zero, zero, zero)[0] > 4.0
    assert shape.depth_at(np.array([5.0, 7.0]), zero, zero) == pytest.approx([1.0, -1.0], abs=0.7)
    assert shape.depth_at(np.array([50.0]), zero, zero)[0] < 0.0
