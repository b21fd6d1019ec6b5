"""A patch shows what lies around a point in patient space, whatever the scan's own axes, and says what it could not see."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec, extract_patch

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SPEC = PatchSpec(shape=(9, 20, 24), spacing_mm=(2.0, 0.75, 0.9))
GEOMETRIES = ("plain", "flipped", "permuted", "oblique", "anisotropic", "thick", "tilted gantry")
SEEDS_PER_GEOMETRY = 8


def random_axes(geometry: str, rng: np.random.Generator) -> np.ndarray:
    """(3, 3) RAS steps of i, j, k as columns."""
    spacing_mm = rng.uniform(0.6, 1.4, 3)
    if geometry == "anisotropic":
        spacing_mm = rng.permutation([0.4, 1.0, 2.6])
    if geometry == "thick":
        spacing_mm = np.array([0.7, 0.7, 5.0])
    axes = np.diag([-1.0, -1.0, 1.0])
    if geometry == "flipped":
        axes = np.diag(rng.choice([-1.0, 1.0], 3))
    if geometry == "permuted":
        axes = axes[:, rng.permutation(3)]
    if geometry in ("oblique", "anisotropic"):
        axes = Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix()
    if geometry == "tilted gantry":
        axes[1, 2] = np.tan(np.radians(rng.uniform(-30, 30)))
    return axes * spacing_mm


def random_ct(geometry: str, seed: int) -> tuple[CTVolume, np.ndarray]:
    """A volume of noise, the hardest to interpolate, and a point in its middle half."""
    rng = np.random.default_rng([GEOMETRIES.index(geometry), seed])
    size_ijk = rng.integers(24, 48, 3) if geometry != "thick" else np.array([44, 40, 8])
    matrix = np.eye(4)
    matrix[:3, :3] = random_axes(geometry, rng)
    matrix[:3, 3] = rng.uniform(-200, 200, 3)
    ct = CTVolume(rng.integers(-1000, 1500, size_ijk[::-1], dtype=np.int16), matrix, geometry)
    return ct, ct.to_ras(rng.uniform(0.25, 0.75, 3) * size_ijk)


def to_sitk(hu: np.ndarray, ijk_to_ras: np.ndarray) -> sitk.Image:
    ijk_to_lps = LPS_TO_RAS @ ijk_to_ras
    spacing_mm = np.linalg.norm(ijk_to_lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(spacing_mm.tolist())
    image.SetDirection((ijk_to_lps[:3, :3] / spacing_mm).ravel().tolist())
    image.SetOrigin(ijk_to_lps[:3, 3].tolist())
    return image


def resampled_by_sitk(ct: CTVolume, point_ras: np.ndarray, spec: PatchSpec) -> np.ndarray:
    """The same block by SimpleITK on its own reference grid; NaN outside the scan. In LPS all of the block's axes grow."""
    spacing_mm = np.array(spec.spacing_mm[::-1])
    middle_lps = (LPS_TO_RAS[:3, :3] @ point_ras).tolist()
    grid = sitk.Image([int(n) for n in spec.shape[::-1]], sitk.sitkFloat32)
    grid.SetSpacing(spacing_mm.tolist())
    grid.SetOrigin((np.array(middle_lps) - spacing_mm * (np.array(spec.shape[::-1]) - 1) / 2).tolist())
    image = to_sitk(ct.hu.astype(np.float64), ct.ijk_to_ras)
    return sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, np.nan))


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("seed", range(SEEDS_PER_GEOMETRY))
def test_patch_equals_simpleitks_resampling(geometry, seed):
    ct, point_ras = random_ct(geometry, seed)
    patch = extract_patch(ct, point_ras, SPEC)
    reference = resampled_by_sitk(ct, point_ras, SPEC)
    seen = np.isfinite(reference)
    assert seen.mean() > 0.3
    assert np.abs(patch.hu - reference)[seen].max() < 1e-3
    assert patch.inside_fraction == pytest.approx(seen.mean(), abs=0.01)


def test_patch_axes_go_to_the_left_to_the_back_and_upwards():
    matrix = PatchSpec(shape=(3, 5, 7), spacing_mm=(2.0, 1.0, 0.5)).grid_to_ras(np.array([10.0, 20.0, 30.0]))
    assert matrix.tolist() == [[-0.5, 0, 0, 11.5], [0, -1, 0, 22], [0, 0, 2, 28], [0, 0, 0, 1]]


@pytest.mark.parametrize("shape", [(3, 5, 7), (4, 6, 8), (1, 1, 1)])
def test_patch_is_centred_on_the_point(shape):
    spec = PatchSpec(shape=shape, spacing_mm=(2.0, 0.75, 0.75))
    middle_ijk = [*((np.array(shape[::-1]) - 1) / 2), 1.0]
    assert np.allclose(spec.grid_to_ras(np.array([1.0, 2.0, 3.0])) @ middle_ijk, [1, 2, 3, 1])


def test_the_middle_voxel_shows_the_point(ball_ct):
    ct = CTVolume(ball_ct.hu.copy(), ball_ct.ijk_to_ras)
    ct.hu[20, 50, 50] = 777
    patch = extract_patch(ct, ct.to_ras([50, 50, 20]), PatchSpec(shape=(5, 7, 9)))
    assert patch.hu[2, 3, 4] == pytest.approx(777, abs=1e-3)
    assert np.count_nonzero(patch.hu > 700) == 1


def test_a_ball_keeps_its_mass_in_mm3(ball_ct):
    spec = PatchSpec(shape=(33, 33, 33), spacing_mm=(0.5, 0.5, 0.5))
    patch = extract_patch(ball_ct, np.array([10.0, -20.0, 30.0]), spec)
    stored_mm3 = np.count_nonzero(ball_ct.hu == 40) * 0.8 * 0.8 * 1.5
    seen_mm3 = ((patch.hu + 850) / 890).sum() * 0.5**3
    assert seen_mm3 == pytest.approx(stored_mm3, rel=0.01)


def layered_ct(planes: int = 5) -> CTVolume:
    """1 mm voxels; HU tell the plane and the column: 100 * k + i - 900."""
    k, _, i = np.indices((planes, 21, 21))
    return CTVolume((100 * k + i - 900).astype(np.int16), np.diag([-1.0, -1.0, 1.0, 1.0]), "layers")


def test_beyond_the_border_the_borders_value_is_repeated():
    patch = extract_patch(
        layered_ct(), np.array([-1.0, -10.0, 2.0]), PatchSpec(shape=(1, 3, 9), spacing_mm=(1.0, 1.0, 1.0))
    )
    # Column 1 is in the middle; three columns to its right lie outside and repeat column 0.
    assert patch.hu[0, 1].tolist() == [-700, -700, -700, -700, -699, -698, -697, -696, -695]
    assert patch.inside_fraction == pytest.approx(6 / 9)


def test_planes_outside_the_scan_are_marked_absent_and_repeat_the_last():
    patch = extract_patch(
        layered_ct(5), np.array([-10.0, -10.0, 3.0]), PatchSpec(shape=(7, 3, 3), spacing_mm=(1.0, 1.0, 1.0))
    )
    # Planes 0 .. 6 of the patch lie at 0 .. 6 mm; the scan ends at 4 mm.
    assert patch.exists.tolist() == [True, True, True, True, True, False, False]
    assert patch.hu[:, 1, 1].tolist() == [-890, -790, -690, -590, -490, -490, -490]


def test_planes_further_than_half_a_slice_are_absent():
    patch = extract_patch(
        layered_ct(1), np.array([-10.0, -10.0, 0.0]), PatchSpec(shape=(5, 3, 3), spacing_mm=(0.3, 1.0, 1.0))
    )
    assert patch.exists.tolist() == [False, True, True, True, False]


def test_a_single_slice_gives_one_plane_and_a_warning():
    patch = extract_patch(
        layered_ct(1), np.array([-10.0, -10.0, 0.4]), PatchSpec(shape=(5, 3, 3), spacing_mm=(2.0, 1.0, 1.0))
    )
    assert patch.exists.tolist() == [False, False, True, False, False]
    assert any("Only 1 plane" in text for text in patch.warnings)


def test_the_plane_of_the_point_exists_also_between_planes_of_an_even_patch():
    patch = extract_patch(
        layered_ct(1), np.array([-10.0, -10.0, 0.0]), PatchSpec(shape=(4, 3, 3), spacing_mm=(2.0, 1.0, 1.0))
    )
    assert patch.exists.sum() == 1


def test_thick_slices_are_warned_about():
    thick = CTVolume(layered_ct().hu, np.diag([-1.0, -1.0, 5.0, 1.0]))
    assert any(
        "Thick slices (5.0 mm)" in text for text in extract_patch(thick, np.array([-10.0, -10.0, 10.0]), SPEC).warnings
    )
    assert not extract_patch(layered_ct(30), np.array([-10.0, -10.0, 15.0]), SPEC).warnings


def test_values_that_are_not_numbers_far_from_the_patch_do_no_harm(ball_ct):
    hu = ball_ct.hu.astype(np.float32)
    hu[0, 0, 0] = np.nan
    patch = extract_patch(CTVolume(hu, ball_ct.ijk_to_ras), np.array([10.0, -20.0, 30.0]), PatchSpec(shape=(5, 9, 9)))
    assert np.isfinite(patch.hu).all()


def test_a_point_beside_a_small_nodule_in_lung_is_no_air(ball_ct):
    assert extract_patch(ball_ct, np.array([25.0, -20.0, 30.0]), SPEC).hu.shape == SPEC.shape


@pytest.mark.parametrize("padding", [-2048, -10_240, -32_768])
def test_tissue_beside_padding_is_no_darker_than_beside_air(ball_ct, padding):
    point_ras = np.array([10.0, -20.0, 30.0])
    patches = []
    for value in (padding, -1024):
        hu = ball_ct.hu.astype(np.int32)
        hu[:, :, 56:] = value  # Through the ball.
        patches.append(extract_patch(CTVolume(hu, ball_ct.ijk_to_ras), point_ras, SPEC).hu)
    assert (patches[0] == patches[1]).all()
    assert patches[0].min() == -1024


def test_window_maps_to_0_and_1_and_clips():
    grey = PatchSpec(window_hu=(-1000.0, 400.0)).normalise(np.array([-2000.0, -1000.0, -300.0, 400.0, 3000.0]))
    assert grey.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert grey.dtype == np.float32


@pytest.mark.parametrize(
    ("field", "value"),
    [("shape", (0, 4, 4)), ("shape", (4, 4)), ("spacing_mm", (1.0, -1.0, 1.0)), ("window_hu", (400.0, -1000.0))],
)
def test_a_spec_that_makes_no_sense_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        PatchSpec(**{field: value})


@pytest.mark.parametrize("axes", [np.eye(3), Rotation.from_euler("xyz", [20, 30, 40], degrees=True).as_matrix()])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_only_the_neighbourhood_is_touched_in_memory(axes, dtype):
    # 800 slices that would fill 419 MB and more, but take no memory: all voxels are the same one.
    hu = np.broadcast_to(dtype(-850), (800, 512, 512))
    matrix = np.eye(4)
    matrix[:3, :3] = axes * 0.7
    ct = CTVolume(hu, matrix)
    tracemalloc.start()
    try:
        extract_patch(ct, ct.to_ras([256, 256, 400]), PatchSpec())
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < hu.nbytes / 20


def test_a_volume_on_disk_is_not_loaded_and_not_changed(tmp_path):
    stored = np.memmap(tmp_path / "hu.raw", dtype=np.int16, mode="w+", shape=(40, 64, 64))
    stored[:] = -850
    stored.flush()
    ct = CTVolume(np.memmap(tmp_path / "hu.raw", dtype=np.int16, mode="r", shape=(40, 64, 64)), np.eye(4))
    assert extract_patch(ct, np.array([32.0, 32.0, 20.0]), SPEC).hu.max() == -850
