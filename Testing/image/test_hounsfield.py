"""CT is told from other images, and from CT whose rescale intercept is missing or was applied twice, by how its values are spread."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.hounsfield import hounsfield_problem, sparse_sample
from CLIPLungLib.image.read import read_ct

NOISE = np.random.default_rng(0)
PADDINGS = (-1000, -1024, -2000, -2048, -3024, -4096, -10_240, -32_768)


def chest(noise_hu: float = 20.0) -> np.ndarray:
    """(24, 64, 64) HU: a body with two lungs, in air."""
    _, y, x = np.mgrid[:24, -32:32, -32:32]
    hu = np.full(x.shape, -1000.0)
    hu[np.hypot(x, y * 1.3) < 28] = 40
    hu[np.hypot(np.abs(x) - 13, y) < 10] = -850
    return (hu + NOISE.normal(0, noise_hu, hu.shape)).astype(np.int16)


def padded(hu: np.ndarray, padding: int) -> np.ndarray:
    """The corners outside the scanner's circle replaced."""
    y, x = np.mgrid[-1 : 1 : hu.shape[1] * 1j, -1 : 1 : hu.shape[2] * 1j]
    return np.where(np.hypot(x, y) > 0.98, padding, hu.astype(np.int32))


def lung_with_nodule() -> np.ndarray:
    """A block of 30 mm, nearly all lung."""
    k, j, i = np.mgrid[-15:15, -15:15, -15:15]
    hu = np.where(np.sqrt(i**2 + j**2 + k**2) < 6, 30.0, -870.0)
    return (hu + NOISE.normal(0, 40, hu.shape)).astype(np.int16)


def soft_tissue(median: float = 40.0, noise_hu: float = 25.0) -> np.ndarray:
    """Muscle with a third of fat and no lung."""
    hu = np.where(np.arange(27000).reshape(30, 30, 30) % 3 == 0, -100.0, median)
    return (hu + NOISE.normal(0, noise_hu, hu.shape)).astype(np.int16)


def enhanced_heart() -> np.ndarray:
    hu = chest()
    hu[:, 24:40, 24:40] = 350
    return hu


def metal() -> np.ndarray:
    hu = chest().astype(np.int32)
    hu[10:12, 30:34, 30:34], hu[10:12, 34:36, 20:44] = 30_000, -1800
    return hu


CT_IMAGES = {
    "whole chest": chest(),
    "noisy": chest(120.0),
    "tight around a nodule": lung_with_nodule(),
    "tight with a little lung": np.concatenate([soft_tissue(), lung_with_nodule()[:3]]),
    "soft tissue without lung": soft_tissue(),
    "clipped at -1200..400": np.clip(chest(), -1200, 400),
    "clipped at -1000..400": np.clip(chest(), -1000, 400),
    "one slice of 71 x 71": np.pad(lung_with_nodule()[15:16], ((0, 0), (20, 21), (20, 21)), mode="wrap"),
    "contrast agent": enhanced_heart(),
    "metal and its streaks": metal(),
    "one value only": np.full((8, 9, 10), -500, np.int16),
    "two values only": np.where(np.arange(1000).reshape(10, 10, 10) < 30, 40, -850).astype(np.int16),
    "a ball of soft tissue in air": np.where(np.arange(1000).reshape(10, 10, 10) < 30, 40, -1000).astype(np.int16),
    "stored in steps of four": chest() // 4 * 4,
}


@pytest.mark.parametrize("hu", CT_IMAGES.values(), ids=CT_IMAGES)
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_ct_is_accepted(hu, dtype):
    CTVolume(hu.astype(dtype), np.eye(4)).require_ct()


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("hu", [chest(), lung_with_nodule(), soft_tissue()], ids=["chest", "tight", "soft tissue"])
def test_padding_of_any_value_says_nothing(hu, padding):
    CTVolume(padded(hu, padding), np.eye(4)).require_ct()


@pytest.mark.parametrize("padding", [None, *PADDINGS])
@pytest.mark.parametrize("hu", [chest(), chest(0.0), lung_with_nodule()], ids=["chest", "without noise", "tight"])
@pytest.mark.parametrize("offset", [1000, 1024])
def test_ct_without_its_intercept_is_refused_whatever_its_padding(hu, padding, offset):
    stored = hu.astype(np.int32) + offset
    for image in (stored,) if padding is None else (padded(stored, padding), padded(hu, padding) + offset):
        with pytest.raises(
            InputError, match=r"'CT' does not look like a chest CT.*stored without its rescale intercept"
        ):
            CTVolume(image, np.eye(4)).require_ct()


@pytest.mark.parametrize("padding", [None, 0, *PADDINGS])
@pytest.mark.parametrize("hu", [chest(), chest(0.0), lung_with_nodule()], ids=["chest", "without noise", "tight"])
def test_ct_with_its_intercept_applied_twice_is_refused_whatever_its_padding(hu, padding):
    twice = hu.astype(np.int32) - 1024
    for image in (twice,) if padding is None else (padded(twice, padding), padded(hu, padding) - 1024):
        with pytest.raises(InputError, match=r"far below -1000 HU.*intercept was applied twice.*add 1024"):
            CTVolume(image, np.eye(4)).require_ct()


def mr() -> np.ndarray:
    return np.abs(NOISE.normal(0, 20, (20, 40, 40)) + np.where(np.arange(40) > 8, 400, 0)).astype(np.int16)


NO_CT = {
    "MR": mr(),
    "MR in air-like padding": padded(mr(), -1000),
    "PET": NOISE.exponential(1.5, (20, 40, 40)).astype(np.float32),
    "PET resampled into padding": padded(NOISE.exponential(1.5, (20, 40, 40)), -1024),
    "label map": NOISE.integers(0, 6, (20, 40, 40)).astype(np.uint8),
    "mask": np.arange(1000).reshape(10, 10, 10) < 30,
    "normalised to zero mean": NOISE.normal(0, 1, (20, 40, 40)).astype(np.float32),
    "normalised to -1..1": NOISE.uniform(-1, 1, (20, 40, 40)).astype(np.float32),
    "all zero": np.zeros((8, 9, 10), np.int16),
    "nothing but padding": np.full((8, 9, 10), -3024, np.int16),
}


@pytest.mark.parametrize("values", NO_CT.values(), ids=NO_CT)
def test_other_images_are_refused(values):
    with pytest.raises(InputError, match=r"'CT' (does not look like a chest CT|has lung or air far below)"):
        CTVolume(values.astype(np.float32), np.eye(4)).require_ct()


@pytest.mark.parametrize("intercept", [0, -1024])
def test_negative_numbers_read_as_unsigned_are_refused_with_their_remedy(intercept):
    hu = (chest() - intercept - 1024).astype(np.uint16) + np.int32(intercept)
    with pytest.raises(InputError, match=r"cannot be Hounsfield units. Negative numbers .* subtract 65536"):
        CTVolume(hu, np.eye(4)).require_ct()
    with pytest.raises(InputError, match=r"cannot be Hounsfield units. Load the CT from DICOM"):
        CTVolume(chest() * np.int32(50), np.eye(4)).require_ct()


def greys(hu: np.ndarray, level_hu: float = 40.0, width_hu: float = 400.0) -> np.ndarray:
    """0 to 255 of a window."""
    return np.clip((hu - level_hu) / width_hu * 255 + 127.5, 0, 255).astype(np.int16)


@pytest.mark.parametrize("black", [-1024, -1000, -128])
def test_a_window_of_greys_is_refused_whatever_its_black_is(black):
    bones = chest()
    bones[:, 28:36, 28:36] = 700
    values = greys(bones) + np.int16(black)
    with pytest.raises(InputError, match=rf"no more than 256 greys \(from {black} to {black + 255}\)"):
        CTVolume(values, np.eye(4)).require_ct()


@pytest.mark.parametrize("black", [-1024, -1000])
def test_a_window_without_white_is_refused_where_all_of_it_would_be_lung(black):
    with pytest.raises(InputError, match=r"no more than 256 greys"):
        CTVolume(greys(chest()) + np.int16(black), np.eye(4)).require_ct()


def test_lung_that_spans_256_numbers_is_no_window():
    assert hounsfield_problem(np.repeat(np.arange(-1000, -744), 40)) == ""


@pytest.mark.parametrize("hu", [chest(), soft_tissue()], ids=["chest", "soft tissue"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_hu_that_overflowed_a_byte_are_refused(hu, dtype):
    with pytest.raises(InputError, match="does not look like a chest CT"):
        CTVolume(hu.astype(dtype), np.eye(4)).require_ct()


@pytest.mark.lidc
@pytest.mark.parametrize("kind", ["volumes", "crops", "cubes", "hosts"])
def test_real_images_are_accepted_and_refused_once_shifted(lidc_folder, kind):
    # A twentieth of the tight volumes, a tenth of the others: seconds. All 1,084 were counted the same way.
    files = sorted((lidc_folder / kind).glob("*.nii.gz"))[:: 20 if kind == "volumes" else 10]
    refused = Counter()
    for file in files:
        hu = sparse_sample(read_ct(file).hu).astype(np.int32)
        refused["as they are"] += bool(hounsfield_problem(hu))
        for offset in (1024, -1024):
            for padding in ((), (-1024,), (-2048,), (-3024,)):
                values = np.concatenate([hu, np.repeat(padding, hu.size // 3).astype(np.int32)]) + offset
                refused[f"{offset:+d} {padding}"] += bool(hounsfield_problem(values))
    print(f"{kind}: {len(files)} images, refused: {dict(refused)}")
    assert refused.pop("as they are") == 0
    assert min(refused.values()) >= 0.95 * len(files)


@pytest.mark.lidc
@pytest.mark.parametrize("name", ["LIDC-IDRI-0001", "LIDC-IDRI-0012"])
def test_whole_series_are_accepted_and_refused_once_shifted(lidc_folder, name):
    ct = read_ct(lidc_folder / "dicom" / name)
    ct.require_ct()
    for offset in (1024, -1024):
        with pytest.raises(InputError):
            CTVolume(ct.hu + offset, ct.ijk_to_ras).require_ct()


@pytest.mark.parametrize("padding", [2500, 3071, 4095, 31_743, 32_767])
@pytest.mark.parametrize("hu", [chest(), lung_with_nodule(), soft_tissue()], ids=["chest", "tight", "soft tissue"])
def test_padding_that_looks_like_metal_is_refused_with_its_remedy(hu, padding):
    with pytest.raises(InputError, match=rf"one value {padding} in \d+% of its voxels.*Set them to -1024"):
        CTVolume(padded(hu, padding), np.eye(4)).require_ct()


@pytest.mark.parametrize(
    ("spacing_mm", "is_ct"),
    [((1, 1, 1), True), ((7, 1, 1), True), ((5, 5, 1), True), ((5.01, 5.01, 1), False), ((1, 7, 7), False)],
)
@pytest.mark.parametrize("padding", [None, -1024])
def test_what_is_as_wide_as_a_chest_shows_lung(spacing_mm, is_ct, padding):
    """A cut may hold nothing but soft tissue; an iodine map, or the CT of a liver, is no CT of a chest."""
    place = np.diag([*spacing_mm, 1.0])
    if is_ct:
        CTVolume(soft_tissue() if padding is None else padded(soft_tissue(), padding), place).require_ct()
    else:
        with pytest.raises(InputError, match="does not look like a chest CT"):
            CTVolume(soft_tissue() if padding is None else padded(soft_tissue(), padding), place).require_ct()
    CTVolume(chest(), place).require_ct()


@pytest.mark.parametrize(("value", "share", "is_metal"), [(3071, 0.02, True), (3200, 0.005, True), (3200, 0.02, False)])
def test_a_little_clipped_metal_is_no_padding(value, share, is_metal):
    hu = chest()
    hu.reshape(-1)[: int(share * hu.size)] = value
    assert ("one value" not in hounsfield_problem(hu.reshape(-1))) is is_metal
