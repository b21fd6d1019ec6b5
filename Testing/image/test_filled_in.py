"""Masked, clipped and filled voxels that look like tissue are told; what a scanner measures, clipped air and made-up images are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.filled_in import carries_noise, filled_in
from CLIPLungLib.image.patch import PatchSpec, extract_patch

SPEC = PatchSpec(shape=(15, 32, 32), spacing_mm=(1.5, 0.75, 0.75))
MIDDLE_RAS = np.array([20.0, 20.0, 20.0])
STRAIGHT, ASLANT = np.eye(3), Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()


def chest(noise_hu: float = 25.0) -> np.ndarray:
    """(40, 40, 40) HU: lung with a nodule in its middle, beside the wall of the chest."""
    k, j, i = np.mgrid[:40, :40, :40] - 20.0
    hu = np.where(i > 6, 40.0, -850.0)
    hu[np.sqrt(i**2 + j**2 + k**2) < 4] = 30
    return np.rint(hu + np.random.default_rng(0).normal(0, noise_hu, hu.shape)).astype(np.int16)


def beyond_the_lung(value: int) -> np.ndarray:
    hu = chest()
    hu[..., 27:] = value
    return hu


def warnings(hu: np.ndarray, axes: np.ndarray = STRAIGHT) -> str:
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = MIDDLE_RAS - axes @ MIDDLE_RAS
    return " ".join(extract_patch(CTVolume(hu, matrix), MIDDLE_RAS, SPEC).warnings)


FILLED = {
    "masked to the lung with 0": (beyond_the_lung(0), "0"),
    "masked with the grey of a window": (beyond_the_lung(170), "170"),
    "resampled into 0": (np.where(np.mgrid[:40, :40, :40][1] > 24, 0, chest()), "0"),
    "a click on what was masked": (np.where(np.mgrid[:40, :40, :40][2] > 3, 0, chest()), "0"),
    "clipped above lung": (np.clip(chest(), -600, 600), "-600"),
}


@pytest.mark.parametrize("axes", [STRAIGHT, ASLANT], ids=["straight", "aslant"])
@pytest.mark.parametrize(("hu", "value"), FILLED.values(), ids=FILLED)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_filled_voxels_are_told(hu, value, axes, dtype):
    assert f"% of the block around the point hold the one value {value} HU, which no scanner" in warnings(
        hu.astype(dtype), axes
    )


MEASURED = {
    "a scan": chest(),
    "little noise": chest(4.0),
    "clipped to the usual window": np.clip(chest(), -1000, 400),
    "clipped at bone": np.clip(chest() + np.int16(600) * (np.mgrid[:40, :40, :40][2] > 30), -1000, 400),
    "masked with air": beyond_the_lung(-1000),
    "padding": beyond_the_lung(-2048),
    "without noise": np.where(np.mgrid[:40, :40, :40][2] > 26, 40, -850).astype(np.int16),
    "one value": np.full((40, 40, 40), -850, np.int16),
    "coarse steps": chest() // 8 * 8,
}


@pytest.mark.parametrize("hu", MEASURED.values(), ids=MEASURED)
def test_what_is_measured_is_not(hu):
    assert "the one value" not in warnings(hu)


@pytest.mark.parametrize(("rows", "is_told"), [(10, True), (8, False)])
def test_a_tenth_of_a_block_is_told(rows, is_told):
    hu = np.random.default_rng(0).normal(-850, 40, (10, 100, 100)).astype(np.float32)
    hu[:, :rows] = 0
    assert filled_in(hu, 400.0) == ((0.0, 0.1) if is_told else None)


@pytest.mark.parametrize(("rows", "is_noise"), [(50, True), (49, False)])
def test_a_twentieth_of_all_neighbours_differs_in_a_scan(rows, is_noise):
    hu = np.zeros((10, 10, 11), np.int16)
    hu.reshape(100, 11)[:rows, 5:] = 1  # One of ten pairs in each of these rows.
    assert carries_noise(hu) is is_noise


def test_a_volume_of_one_column_tells_nothing():
    assert not carries_noise(np.zeros((5, 5, 1), np.int16))
